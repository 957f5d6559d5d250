//! Objects of buckets: their descriptions, and the bytes of their bodies.
//!
//! An object is an entry of the bucket's store, whose value describes the object. A small body is
//! beside the value in the database: one sync of the disk commits many. A larger one is in files,
//! which are written before the commit and belong to no object until then (for the size at which
//! files become better, see Sears, van Ingen and Gray, *To BLOB or Not To BLOB*, 2006).
//!
//! A file never changes. So a copy of an object shares its files, and a reader reads on while the
//! object is replaced.

mod reader;
mod writer;

use std::{any::Any, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use self::{reader::ObjectReader, writer::ObjectWriter};
use crate::{StoreError, kv::KvError};

/// The longest key of an object, in bytes, as S3 has it.
pub const MAX_OBJECT_KEY_BYTES: usize = 1024;

/// The largest body that is in the database, in bytes.
pub const MAX_INLINE_BYTES: usize = 64 << 10;

/// The bytes that the attributes of an object may have together.
pub const MAX_ATTRIBUTE_BYTES: usize = 16 << 10;

/// An object, without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// The size of its body.
    pub bytes: u64,
    /// The MD5 digest of its body in hexadecimal digits; of one that was uploaded in parts, what S3
    /// makes of the digests of the parts.
    pub etag: String,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// What its writer says of it.
    #[serde(default)]
    pub attributes: Attributes,
    /// The parts of files that make its body. None if the body is in the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) segments: Vec<Segment>,
}

impl Object {
    /// The sizes of the parts from which it was made; one of an object that was written whole.
    pub fn parts(&self) -> Vec<u64> {
        match self.segments.is_empty() {
            true => vec![self.bytes],
            false => self.segments.iter().map(|segment| segment.bytes).collect(),
        }
    }
}

/// What the writer of an object says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// Its media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Further fields of a response with it, such as `cache-control`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Names and values of its owner.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Tags of its owner.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Checksums of its body in base64, by the name of the algorithm.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub checksums: BTreeMap<String, String>,
}

impl Attributes {
    /// The bytes of all names and values.
    pub fn bytes(&self) -> usize {
        let maps = [&self.headers, &self.metadata, &self.tags, &self.checksums];
        let pairs = maps.into_iter().flatten().map(|(name, value)| name.len() + value.len());
        pairs.sum::<usize>() + self.content_type.as_ref().map_or(0, String::len)
    }
}

/// The number of a file, which no other file of the tenant has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileId(pub(crate) u64);

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(FileId, u64, u64)", into = "(FileId, u64, u64)")]
pub(crate) struct Segment {
    pub(crate) file: FileId,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

impl From<(FileId, u64, u64)> for Segment {
    fn from((file, offset, bytes): (FileId, u64, u64)) -> Segment {
        Segment { file, offset, bytes }
    }
}

impl From<Segment> for (FileId, u64, u64) {
    fn from(Segment { file, offset, bytes }: Segment) -> Self {
        (file, offset, bytes)
    }
}

/// The bytes that an entry has besides its value, for a commit.
#[derive(Clone, Debug, Default)]
pub struct EntryBody {
    /// Their number.
    pub bytes: u64,
    /// The bytes, if they are in the database.
    pub inline: Option<Bytes>,
    /// The files that have them, each once.
    pub files: Vec<FileId>,
    /// Those of the files that no entry had yet.
    pub staged: Vec<Arc<dyn StagedFile>>,
}

/// The bytes that a file of a body is charged with at least: a block of a file system.
pub(crate) const FILE_BYTES: u64 = 4 << 10;

impl EntryBody {
    /// The bytes that its entry is charged with. Many small parts of uploads have a file each.
    pub(crate) fn charged_bytes(&self) -> u64 {
        self.bytes.max(self.files.len() as u64 * FILE_BYTES)
    }
}

/// A body that is complete, and belongs to no object yet. Dropping it removes its files.
#[derive(Clone, Debug)]
pub struct StagedBody {
    /// The MD5 digest of the bytes.
    pub md5: [u8; 16],
    pub(crate) segments: Vec<Segment>,
    pub(crate) body: EntryBody,
}

impl StagedBody {
    /// The number of bytes.
    pub fn bytes(&self) -> u64 {
        self.body.bytes
    }

    /// The entity tag of an object with this body.
    pub fn etag(&self) -> String {
        hex(&self.md5)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that is complete and on the disk, and belongs to no object yet. Dropping it removes the
/// file, unless it was committed.
pub trait StagedFile: std::fmt::Debug + Send + Sync {
    /// Its number.
    fn id(&self) -> FileId;

    /// Its size.
    fn bytes(&self) -> u64;

    /// Notes that an entry has the file.
    fn committed(&self);
}

/// The end of a write of a file.
pub type Written<'a> = BoxFuture<'a, Result<(), FileError>>;

/// The end of a file.
pub type Finished = BoxFuture<'static, Result<Arc<dyn StagedFile>, FileError>>;

/// A file that is being written. Dropping it removes the file.
pub trait FileWriter: Send {
    /// Appends bytes.
    fn write(&mut self, bytes: Bytes) -> Written<'_>;

    /// Has the file on the disk.
    fn finish(self: Box<Self>) -> Finished;
}

/// The end of an opening.
pub type OpenFile = BoxFuture<'static, Result<Box<dyn FileReader>, StoreError>>;

/// The next bytes of a file.
pub type NextBytes<'a> = BoxFuture<'a, Result<Bytes, StoreError>>;

/// A file that is being read.
pub trait FileReader: Send + Sync {
    /// The next bytes, at most `limit` and at least one; none at the end of the file.
    fn next(&mut self, limit: usize) -> NextBytes<'_>;
}

/// Keeps files as long as it lives.
pub(crate) type Pin = Box<dyn Any + Send + Sync>;

/// Why bytes were not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The tenant's bound of bytes.
    #[error("the state of the tenant would have {bytes} bytes, and may have {limit_bytes}")]
    OverQuota {
        /// The size with these bytes.
        bytes: u64,
        /// The bound.
        limit_bytes: u64,
    },
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FileError> for KvError {
    fn from(error: FileError) -> KvError {
        match error {
            FileError::OverQuota { bytes, limit_bytes } => {
                KvError::OverQuota { bytes, limit_bytes }
            }
            FileError::Store(error) => error.into(),
        }
    }
}

/// A part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From a byte to its end.
    From(u64),
    /// From a byte to another one, included.
    Between(u64, u64),
    /// So many bytes at its end.
    Last(u64),
}

impl ByteRange {
    /// The first byte and the number of bytes of a body of this size; `None` if the range has none
    /// of its bytes.
    pub fn of(self, size: u64) -> Option<(u64, u64)> {
        let (first, last) = match self {
            ByteRange::From(first) => (first, size.checked_sub(1)?),
            ByteRange::Between(first, last) => (first, last.min(size.checked_sub(1)?)),
            ByteRange::Last(0) => return None,
            ByteRange::Last(bytes) => (size.saturating_sub(bytes), size.checked_sub(1)?),
        };
        (first <= last).then(|| (first, last - first + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_the_bytes_that_are_there() {
        assert_eq!(ByteRange::From(0).of(10), Some((0, 10)));
        assert_eq!(ByteRange::From(9).of(10), Some((9, 1)));
        assert_eq!(ByteRange::From(10).of(10), None);
        assert_eq!(ByteRange::Between(2, 4).of(10), Some((2, 3)));
        assert_eq!(ByteRange::Between(2, u64::MAX).of(10), Some((2, 8)));
        assert_eq!(ByteRange::Between(4, 2).of(10), None);
        assert_eq!(ByteRange::Last(3).of(10), Some((7, 3)));
        assert_eq!(ByteRange::Last(30).of(10), Some((0, 10)));
        assert_eq!(ByteRange::Last(0).of(10), None);
        for range in [ByteRange::From(0), ByteRange::Between(0, 0), ByteRange::Last(1)] {
            assert_eq!(range.of(0), None, "{range:?}");
        }
    }

    #[test]
    fn a_description_is_read_as_it_was_written() {
        let object = Object {
            bytes: 7,
            etag: "e".into(),
            modified_ms: 1,
            attributes: Attributes { content_type: Some("a/b".into()), ..Default::default() },
            segments: vec![Segment { file: FileId(3), offset: 1, bytes: 7 }],
        };
        let text = serde_json::to_string(&object).unwrap();
        assert_eq!(
            text,
            r#"{"bytes":7,"etag":"e","modified_ms":1,"attributes":{"content_type":"a/b"},"segments":[[3,1,7]]}"#
        );
        assert_eq!(serde_json::from_str::<Object>(&text).unwrap(), object);
    }
}
