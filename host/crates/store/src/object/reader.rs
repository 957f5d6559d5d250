//! A reader of the body of an object.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{FileReader, Pin, Segment};
use crate::{StoreError, TenantState};

/// The body of an object, or a part of it, that is being read.
pub struct ObjectReader {
    state: Arc<dyn TenantState>,
    inline: Bytes,
    segments: VecDeque<Segment>,
    /// The file of the first segment, and how much of it is left.
    open: Option<(Box<dyn FileReader>, u64)>,
    _pin: Option<Pin>,
}

impl std::fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectReader").field("segments", &self.segments).finish_non_exhaustive()
    }
}

impl ObjectReader {
    pub(crate) fn inline(state: Arc<dyn TenantState>, bytes: Bytes) -> ObjectReader {
        ObjectReader { state, inline: bytes, segments: VecDeque::new(), open: None, _pin: None }
    }

    /// A reader of `bytes` bytes from the byte `first`.
    pub(crate) fn of_files(
        state: Arc<dyn TenantState>,
        segments: &[Segment],
        mut first: u64,
        mut bytes: u64,
    ) -> Result<ObjectReader, StoreError> {
        let mut part = VecDeque::new();
        for segment in segments {
            if first >= segment.bytes {
                first -= segment.bytes;
                continue;
            }
            let length = (segment.bytes - first).min(bytes);
            if length == 0 {
                break;
            }
            part.push_back(Segment { offset: segment.offset + first, bytes: length, ..*segment });
            (first, bytes) = (0, bytes - length);
        }
        let files: Vec<_> = part.iter().map(|segment| segment.file).collect();
        let pin = Some(state.pin_files(&files)?);
        Ok(ObjectReader { state, inline: Bytes::new(), segments: part, open: None, _pin: pin })
    }

    /// Opens the first file, so that a body that cannot be read at all is known before its first
    /// byte.
    ///
    /// # Errors
    /// As [`ObjectReader::next`].
    pub async fn ready(&mut self) -> Result<(), StoreError> {
        if self.open.is_none()
            && let Some(first) = self.segments.pop_front()
        {
            self.open = Some(self.open_segment(first).await?);
        }
        Ok(())
    }

    async fn open_segment(
        &self,
        segment: Segment,
    ) -> Result<(Box<dyn FileReader>, u64), StoreError> {
        if let Some(opening) = self.state.open() {
            opening.await?;
        }
        Ok((self.state.open_file(segment.file, segment.offset).await?, segment.bytes))
    }

    /// The next bytes, at most `limit`; none at the end.
    ///
    /// # Errors
    /// A file that cannot be read, or is not what was written.
    pub async fn next(&mut self, limit: usize) -> Result<Bytes, StoreError> {
        if !self.inline.is_empty() {
            return Ok(self.inline.split_to(limit.min(self.inline.len())));
        }
        loop {
            self.ready().await?;
            let Some((file, left)) = &mut self.open else { return Ok(Bytes::new()) };
            if *left == 0 {
                self.open = None;
                continue;
            }
            let limit = usize::try_from(*left).unwrap_or(usize::MAX).min(limit);
            let bytes = file.next(limit).await?;
            if bytes.is_empty() {
                return Err(StoreError::Damaged("a file of an object is too short".into()));
            }
            *left -= bytes.len() as u64;
            return Ok(bytes);
        }
    }
}
