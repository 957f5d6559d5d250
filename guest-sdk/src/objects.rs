//! Objects in buckets: files of any size, with a media type and metadata.
//!
//! The manifest declares a bucket, and grants it to a function:
//!
//! ```toml
//! [buckets.uploads]
//!
//! [functions.api.grants]
//! buckets = { uploads = "read-write" }
//! ```
//!
//! The function opens it by its name:
//!
//! ```
//! use lacewing_sdk::{Bytes, Error, Path, Result, objects};
//!
//! #[lacewing_sdk::http]
//! fn page(Path(name): Path<String>) -> Result<Bytes> {
//!     let page = objects::open("pages")?.get(&name)?;
//!     let page = page.ok_or_else(|| Error::not_found(format!("there is no page {name}")))?;
//!     page.bytes()
//! }
//!
//! # use lacewing_sdk::test;
//! objects::open("pages").unwrap().put("home", "Welcome").unwrap();
//! let response = test::get("/pages/home").param("name", "home").call(page);
//! assert_eq!(response.text(), "Welcome");
//! ```
//!
//! An object is whole or not there: its body and its attributes change together, with the commit of
//! the invocation. See [`kv`](crate::kv) for transactions and tests; a call on an object is part of
//! the same transaction.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt, io,
    ops::{Bound, RangeBounds},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use crate::Result;
pub use crate::kv::{Condition, Version};

#[cfg(not(target_family = "wasm"))]
pub(crate) mod memory;
#[cfg(target_family = "wasm")]
mod wit;

#[cfg(not(target_family = "wasm"))]
use memory as host;
#[cfg(target_family = "wasm")]
use wit as host;

/// A bucket that the function was granted.
///
/// Keys have 1 to 1,024 bytes. Slashes in keys make folders for [`Bucket::list`].
#[derive(Clone, Debug)]
pub struct Bucket {
    name: Cow<'static, str>,
}

/// Opens a bucket by the name that the manifest gives it.
///
/// # Errors
/// None today: the first call says that the bucket is not granted.
pub fn open(name: impl Into<Cow<'static, str>>) -> Result<Bucket> {
    crate::transaction::begin();
    Ok(Bucket { name: name.into() })
}

/// An object, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// The bytes of its body.
    pub size: u64,
    /// The MD5 digest of its body in hexadecimal digits, or what S3 makes of the digests of parts.
    pub etag: String,
    /// When it was written.
    pub modified: SystemTime,
    /// The commit that wrote it.
    pub version: Version,
    /// Its media type.
    pub content_type: Option<String>,
    /// Names and values of its writer.
    pub metadata: BTreeMap<String, String>,
}

/// The fields of an [`Object`] as a host says them.
pub(crate) struct Described {
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) modified_ms: u64,
    pub(crate) version: u64,
    pub(crate) content_type: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Object {
    pub(crate) fn new(key: String, described: Described) -> Object {
        let Described { size, etag, modified_ms, version, content_type, metadata } = described;
        let modified = UNIX_EPOCH + Duration::from_millis(modified_ms);
        Object { key, size, etag, modified, version: Version(version), content_type, metadata }
    }
}

/// A part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Objects, in the order of the bytes of their keys.
    pub objects: Vec<Object>,
    /// The folders below the listed prefix, each with its slash. None without a delimiter.
    pub folders: Vec<String>,
    /// Where the listing goes on, for [`List::after`]; `None` at its end.
    pub next: Option<String>,
}

impl Bucket {
    /// An object without its body.
    ///
    /// # Errors
    /// A key that is none, a bucket that is not granted or cannot be read.
    pub fn head(&self, key: &str) -> Result<Option<Object>> {
        host::head(&self.name, key)
    }

    /// An object, whose body can be read.
    ///
    /// # Errors
    /// As [`Bucket::head`].
    pub fn get(&self, key: &str) -> Result<Option<Opened>> {
        self.range(key, ..)
    }

    /// An object, of whose body a part can be read. The part is empty if the range has no byte of
    /// the body.
    ///
    /// ```
    /// use lacewing_sdk::objects;
    ///
    /// let logs = objects::open("logs")?;
    /// logs.put("today", "first second")?;
    /// assert_eq!(logs.range("today", 6..)?.unwrap().bytes()?, "second");
    /// # Ok::<(), lacewing_sdk::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Bucket::head`].
    pub fn range(&self, key: &str, range: impl RangeBounds<u64>) -> Result<Option<Opened>> {
        let first = match range.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let last = match range.end_bound() {
            Bound::Included(last) => Some(*last),
            // A range that ends before its first byte is empty.
            Bound::Excluded(0) => return self.part(key, u64::MAX, None),
            Bound::Excluded(end) => Some(end - 1),
            Bound::Unbounded => None,
        };
        self.part(key, first, last)
    }

    fn part(&self, key: &str, first: u64, last: Option<u64>) -> Result<Option<Opened>> {
        let opened = host::get(&self.name, key, first, last)?;
        Ok(opened.map(|(object, reader)| Opened { object, reader }))
    }

    /// Sets an object with this body.
    ///
    /// # Errors
    /// A key that is none, more bytes than the object or the tenant may have, a bucket that is not
    /// granted for writing or cannot be written.
    pub fn put(&self, key: &str, body: impl AsRef<[u8]>) -> Result<()> {
        self.write(key).bytes(body).map(drop)
    }

    /// Begins a write with attributes, a condition, or a body that comes in pieces.
    ///
    /// ```
    /// use lacewing_sdk::objects;
    ///
    /// let pages = objects::open("pages")?;
    /// let mut page = pages.write("home").content_type("text/html").absent().begin()?;
    /// page.write("<h1>")?;
    /// page.write("Welcome")?;
    /// assert!(page.finish()?);
    /// assert_eq!(pages.head("home")?.unwrap().content_type.as_deref(), Some("text/html"));
    /// # Ok::<(), lacewing_sdk::Error>(())
    /// ```
    pub fn write<'a>(&'a self, key: &'a str) -> Write<'a> {
        let (content_type, metadata) = (None, BTreeMap::new());
        Write { bucket: self, key, content_type, metadata, condition: Condition::Any }
    }

    /// Deletes an object. Returns whether there was one.
    ///
    /// # Errors
    /// As [`Bucket::put`].
    pub fn delete(&self, key: &str) -> Result<bool> {
        self.delete_if(key, Condition::Any)
    }

    /// Deletes an object, if a condition holds. Returns whether it was deleted.
    ///
    /// # Errors
    /// As [`Bucket::put`].
    pub fn delete_if(&self, key: &str, condition: Condition) -> Result<bool> {
        host::delete(&self.name, key, condition)
    }

    /// Sets an object of another bucket, or of this one, with the body and attributes of one of
    /// this. Returns whether there is such an object.
    ///
    /// # Errors
    /// As [`Bucket::put`].
    pub fn copy(&self, key: &str, to: &Bucket, to_key: &str) -> Result<bool> {
        host::copy((&self.name, key), (&to.name, to_key))
    }

    /// The objects whose keys begin with a prefix, in the order of the bytes of their keys: the
    /// first 1,000.
    ///
    /// # Errors
    /// As [`Bucket::head`].
    pub fn list(&self, prefix: &str) -> Result<Page> {
        self.listing(prefix).page()
    }

    /// Begins a listing with folders or in pages.
    ///
    /// ```
    /// use lacewing_sdk::objects;
    ///
    /// let photos = objects::open("photos")?;
    /// photos.put("cover.png", "")?;
    /// photos.put("2026/may.png", "")?;
    /// photos.put("2026/june.png", "")?;
    /// let top = photos.listing("").in_folders().page()?;
    /// assert_eq!(top.objects[0].key, "cover.png");
    /// assert_eq!(top.folders, ["2026/"]);
    /// # Ok::<(), lacewing_sdk::Error>(())
    /// ```
    pub fn listing<'a>(&'a self, prefix: &'a str) -> List<'a> {
        List { bucket: self, prefix, delimiter: None, after: None, limit: u32::MAX }
    }
}

/// An object whose body is read: at once by [`Opened::bytes`], or piece by piece as [`io::Read`].
#[derive(Debug)]
pub struct Opened {
    /// The object.
    pub object: Object,
    reader: host::Reader,
}

/// Bytes that one call of the host reads.
const STEP: u32 = 64 << 10;

impl Opened {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// A body that cannot be read, or is not what was written.
    pub fn chunk(&mut self) -> Result<Option<Bytes>> {
        let bytes = self.reader.read(STEP)?;
        Ok(Some(Bytes::from(bytes)).filter(|bytes| !bytes.is_empty()))
    }

    /// All bytes that are left. They have to fit into the memory of the function.
    ///
    /// # Errors
    /// As [`Opened::chunk`].
    pub fn bytes(mut self) -> Result<Bytes> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk()? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.into())
    }
}

impl io::Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = u32::try_from(buffer.len()).unwrap_or(STEP).min(STEP);
        if limit == 0 {
            return Ok(0);
        }
        let bytes = self.reader.read(limit).map_err(|error| io::Error::other(error.to_string()))?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

/// A write that is described step by step: see [`Bucket::write`].
#[derive(Clone, Debug)]
#[must_use = "a write does nothing before `bytes` or `begin`"]
pub struct Write<'a> {
    bucket: &'a Bucket,
    key: &'a str,
    content_type: Option<String>,
    metadata: BTreeMap<String, String>,
    condition: Condition,
}

impl<'a> Write<'a> {
    /// The media type.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// A name and value to keep with the object.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Writes only if there is no object.
    pub fn absent(self) -> Self {
        self.only_if(Condition::Absent)
    }

    /// Writes only if a condition holds.
    pub fn only_if(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// Sets the object with this body. Returns whether the condition held.
    ///
    /// # Errors
    /// As [`Bucket::put`].
    pub fn bytes(self, body: impl AsRef<[u8]>) -> Result<bool> {
        let mut writer = self.begin()?;
        writer.write(body)?;
        writer.finish()
    }

    /// Begins the body.
    ///
    /// # Errors
    /// As [`Bucket::put`].
    pub fn begin(self) -> Result<ObjectWriter<'a>> {
        let writer = host::create(&self.bucket.name)?;
        Ok(ObjectWriter { write: self, writer })
    }
}

/// The body of an object that comes in pieces. Without [`ObjectWriter::finish`] nothing is written.
#[derive(Debug)]
#[must_use = "nothing is written before `finish`"]
pub struct ObjectWriter<'a> {
    write: Write<'a>,
    writer: host::Writer,
}

impl ObjectWriter<'_> {
    /// Appends bytes.
    ///
    /// # Errors
    /// As [`Bucket::put`].
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        for chunk in bytes.as_ref().chunks(STEP as usize) {
            self.writer.write(chunk)?;
        }
        Ok(())
    }

    /// Sets the object. Returns whether the condition held.
    ///
    /// # Errors
    /// As [`Bucket::put`].
    pub fn finish(self) -> Result<bool> {
        let Write { bucket, key, content_type, metadata, condition } = self.write;
        host::put(&bucket.name, key, self.writer, content_type, metadata, condition)
    }
}

impl io::Write for ObjectWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        ObjectWriter::write(self, bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A listing that is described step by step: see [`Bucket::listing`].
#[derive(Clone, Debug)]
#[must_use = "a listing does nothing before `page`"]
pub struct List<'a> {
    bucket: &'a Bucket,
    prefix: &'a str,
    delimiter: Option<&'a str>,
    after: Option<&'a str>,
    limit: u32,
}

impl<'a> List<'a> {
    /// Lists keys with a slash behind the prefix as folders.
    pub fn in_folders(mut self) -> Self {
        self.delimiter = Some("/");
        self
    }

    /// Goes on where an earlier page ended.
    pub fn after(mut self, next: &'a str) -> Self {
        self.after = Some(next);
        self
    }

    /// At most so many objects and folders. A page has 1,000 at most.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// The page.
    ///
    /// # Errors
    /// As [`Bucket::head`].
    pub fn page(self) -> Result<Page> {
        let List { bucket, prefix, delimiter, after, limit } = self;
        host::list(&bucket.name, prefix, delimiter, after, limit)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.key, self.size)
    }
}
