//! A file that is being written, and one that waits for its commit.

use std::{
    fs::{self, File},
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::Bytes;

use super::form::Checksums;
use crate::{
    StoreError,
    embedded::{database::Database, directory, tenant::EmbeddedTenant, threads::Job},
    object::{FileError, FileId, FileWriter, Finished, StagedFile, Written},
};

/// A file in `incoming`, with its bytes, for which the tenant is charged. Dropping it removes the
/// file, unless it was committed.
#[derive(Debug)]
struct Incoming {
    /// Not opened a second time as long as the file is there: an opening removes files that no
    /// entry has.
    _tenant: Arc<EmbeddedTenant>,
    database: Arc<Database>,
    id: FileId,
    bytes: u64,
    is_committed: AtomicBool,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for EmbeddedTenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedTenant").finish_non_exhaustive()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let files = &self.database.files;
        files.refund(self.bytes);
        if !self.is_committed.load(Relaxed) {
            let path = files.incoming(self.id);
            files.threads.push(Job::Work(Box::new(move || {
                if let Err(error) = fs::remove_file(&path)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!(%error, path = %path.display(), "a file that was given up stays");
                }
            })));
        }
    }
}

impl StagedFile for Incoming {
    fn id(&self) -> FileId {
        self.id
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn committed(&self) {
        self.is_committed.store(true, Relaxed);
        let files = &self.database.files;
        // A file that stays is moved when the database is opened again; readers find it.
        if let Err(error) = fs::rename(files.incoming(self.id), files.committed(self.id)) {
            tracing::warn!(%error, "the file of an object stays in the folder of new ones");
        }
    }
}

/// The file and its checksums, while no thread writes to it.
struct Open {
    file: File,
    checksums: Checksums,
}

/// A file that is being written.
pub(in crate::embedded) struct EmbeddedWriter {
    incoming: Incoming,
    limit_bytes: u64,
    /// `None` before the first write, and after a failed one.
    open: Option<Open>,
    is_new: bool,
}

impl EmbeddedWriter {
    /// A new file of a tenant that may have `limit_bytes`.
    pub(in crate::embedded) fn new(
        tenant: Arc<EmbeddedTenant>,
        database: Arc<Database>,
        id: FileId,
        limit_bytes: u64,
    ) -> EmbeddedWriter {
        let is_committed = AtomicBool::new(false);
        let incoming = Incoming { _tenant: tenant, database, id, bytes: 0, is_committed };
        EmbeddedWriter { incoming, limit_bytes, open: None, is_new: true }
    }

    async fn open(&mut self) -> Result<Open, FileError> {
        if let Some(open) = self.open.take() {
            return Ok(open);
        }
        if !std::mem::take(&mut self.is_new) {
            return Err(StoreError::Failed("an earlier write of the object failed".into()).into());
        }
        let (files, id) = (self.incoming.database.files.clone(), self.incoming.id);
        let file = self.incoming.database.files.run(move || {
            files.make_folders()?;
            File::create_new(files.incoming(id))
        });
        Ok(Open { file: file.await?, checksums: Checksums::default() })
    }

    async fn append(&mut self, bytes: Bytes) -> Result<(), FileError> {
        let mut open = self.open().await?;
        let files = &self.incoming.database.files;
        let size = bytes.len() as u64;
        if files.charge(size, self.limit_bytes).is_err() {
            let database = self.incoming.database.clone();
            let make_room = move || {
                database.remove_all_unused_files();
                Ok(())
            };
            files.run(make_room).await?;
            files.charge(size, self.limit_bytes)?;
        }
        self.incoming.bytes += size;
        let written = files.run(move || {
            open.file.write_all(&bytes)?;
            open.checksums.add(&bytes);
            Ok(open)
        });
        self.open = Some(written.await?);
        Ok(())
    }
}

impl FileWriter for EmbeddedWriter {
    fn write(&mut self, bytes: Bytes) -> Written<'_> {
        Box::pin(self.append(bytes))
    }

    fn finish(mut self: Box<Self>) -> Finished {
        Box::pin(async move {
            let Open { mut file, checksums } = self.open().await?;
            let files = &self.incoming.database.files;
            let folder = files.folder.join(super::INCOMING);
            let ended = files.run(move || {
                file.write_all(&checksums.finish())?;
                file.sync_all()?;
                directory::sync_folder(&folder)
            });
            ended.await?;
            let EmbeddedWriter { incoming, .. } = *self;
            let staged: Arc<dyn StagedFile> = Arc::new(incoming);
            Ok(staged)
        })
    }
}
