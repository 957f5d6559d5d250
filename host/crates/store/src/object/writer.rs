//! A writer of the body of an object.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use md5::{Digest, Md5};

use super::{EntryBody, FileWriter, MAX_INLINE_BYTES, Segment, StagedBody};
use crate::{TenantState, kv::KvError};

/// The body of an object that is being written. Dropping it removes what was written.
///
/// The MD5 digest is taken by the caller's thread, so that a guest pays for it.
pub struct ObjectWriter {
    state: Arc<dyn TenantState>,
    limit_bytes: u64,
    bytes: u64,
    md5: Md5,
    /// The body, as long as it may be in the database.
    small: BytesMut,
    /// The largest body that is in the database.
    inline_bytes: Option<usize>,
    file: Option<Box<dyn FileWriter>>,
}

impl std::fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectWriter").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl ObjectWriter {
    /// A writer of up to `limit_bytes`.
    pub fn new(state: Arc<dyn TenantState>, limit_bytes: u64) -> ObjectWriter {
        let (md5, small, inline_bytes) = (Md5::new(), BytesMut::new(), Some(MAX_INLINE_BYTES));
        ObjectWriter { state, limit_bytes, bytes: 0, md5, small, inline_bytes, file: None }
    }

    /// A writer of up to `limit_bytes` into a file, however small the body is: the body is to be
    /// joined with others. An empty body has no file.
    pub fn in_file(state: Arc<dyn TenantState>, limit_bytes: u64) -> ObjectWriter {
        ObjectWriter { inline_bytes: None, ..ObjectWriter::new(state, limit_bytes) }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// More bytes than the object may have, more than the tenant may have, and errors of the disk.
    /// Nothing can be written after an error.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), KvError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let size = self.bytes.saturating_add(bytes.len() as u64);
        if size > self.limit_bytes {
            return Err(KvError::ObjectSize { limit_bytes: self.limit_bytes });
        }
        self.bytes = size;
        self.md5.update(&bytes);
        let is_small = |limit| self.small.len() + bytes.len() <= limit;
        if self.file.is_none() && self.inline_bytes.is_some_and(is_small) {
            self.small.extend_from_slice(&bytes);
            return Ok(());
        }
        Ok(self.file().await?.write(bytes).await?)
    }

    /// The file, which is made if it is not there.
    async fn file(&mut self) -> Result<&mut Box<dyn FileWriter>, KvError> {
        if self.file.is_none() {
            if let Some(opening) = self.state.open() {
                opening.await?;
            }
            let mut file = self.state.create_file()?;
            let small = std::mem::take(&mut self.small).freeze();
            if !small.is_empty() {
                file.write(small).await?;
            }
            self.file = Some(file);
        }
        Ok(self.file.as_mut().expect("the lines above made it"))
    }

    /// Ends the body. A body in a file is on the disk then.
    ///
    /// # Errors
    /// Errors of the disk.
    pub async fn finish(self) -> Result<StagedBody, KvError> {
        let ObjectWriter { bytes, md5, small, file, .. } = self;
        let md5 = md5.finalize().into();
        let Some(file) = file else {
            let body = EntryBody { bytes, inline: Some(small.freeze()), ..Default::default() };
            return Ok(StagedBody { md5, segments: Vec::new(), body });
        };
        let file = file.finish().await?;
        let segments = vec![Segment { file: file.id(), offset: 0, bytes }];
        let (files, staged) = (vec![file.id()], vec![file]);
        let body = EntryBody { bytes, inline: None, files, staged };
        Ok(StagedBody { md5, segments, body })
    }
}
