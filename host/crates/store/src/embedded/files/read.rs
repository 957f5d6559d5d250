//! A file that is being read.

use std::{
    fs::File,
    io::{self, ErrorKind},
    sync::Arc,
};

use bytes::Bytes;

use super::{ObjectFiles, form::CheckedFile};
use crate::{
    StoreError,
    embedded::database::Database,
    object::{FileId, FileReader, NextBytes},
};

/// The most bytes that one step reads.
const STEP: usize = 256 << 10;

/// A file that is being read.
pub(in crate::embedded) struct EmbeddedReader {
    database: Arc<Database>,
    file: Arc<CheckedFile>,
    at: u64,
}

impl EmbeddedReader {
    /// Opens a file at a byte.
    pub(in crate::embedded) async fn open(
        database: Arc<Database>,
        id: FileId,
        at: u64,
    ) -> Result<EmbeddedReader, StoreError> {
        let files = database.files.clone();
        let file = database.files.run(move || CheckedFile::open(files.find(id)?)).await?;
        Ok(EmbeddedReader { database, file: Arc::new(file), at })
    }
}

impl ObjectFiles {
    /// Opens a file where it is: the commit of its entry may be under way.
    pub(in crate::embedded) fn find(&self, id: FileId) -> io::Result<File> {
        let mut not_found = None;
        for path in [self.committed(id), self.incoming(id), self.committed(id)] {
            match File::open(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => not_found = Some(error),
                opened => return opened,
            }
        }
        Err(not_found.unwrap_or_else(|| ErrorKind::NotFound.into()))
    }

    /// Reads all of a file, and checks it.
    pub(in crate::embedded) fn check(&self, id: FileId) -> io::Result<u64> {
        let file = CheckedFile::open(self.find(id)?)?;
        file.check()?;
        Ok(file.bytes)
    }
}

impl FileReader for EmbeddedReader {
    fn next(&mut self, limit: usize) -> NextBytes<'_> {
        Box::pin(async move {
            let (file, at, limit) = (self.file.clone(), self.at, limit.min(STEP));
            let bytes = self.database.files.run(move || file.read(at, limit)).await?;
            self.at += bytes.len() as u64;
            Ok(Bytes::from(bytes))
        })
    }
}
