//! Buckets of the host.

use std::collections::BTreeMap;

use super::{Condition, Described, Object, Page};
use crate::Result;
use crate::bindings::state::lacewing::state::objects as wit;
use crate::kv::wit::error;

/// A body that is read.
#[derive(Debug)]
pub(super) struct Reader(wit::Reader);

/// A body that is written.
#[derive(Debug)]
pub(super) struct Writer(wit::Writer);

impl Reader {
    pub(super) fn read(&mut self, limit: u32) -> Result<Vec<u8>> {
        self.0.read(limit).map_err(error)
    }
}

impl Writer {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write(bytes).map_err(error)
    }
}

pub(super) fn head(bucket: &str, key: &str) -> Result<Option<Object>> {
    Ok(wit::head(bucket, key).map_err(error)?.map(object))
}

pub(super) fn get(
    bucket: &str,
    key: &str,
    first: u64,
    last: Option<u64>,
) -> Result<Option<(Object, Reader)>> {
    let range = match last {
        Some(last) => wit::ByteRange::Between((first, last)),
        None => wit::ByteRange::From(first),
    };
    let opened = wit::get(bucket, key, range).map_err(error)?;
    Ok(opened.map(|(opened, reader)| (object(opened), Reader(reader))))
}

pub(super) fn create(bucket: &str) -> Result<Writer> {
    wit::create(bucket).map(Writer).map_err(error)
}

pub(super) fn put(
    bucket: &str,
    key: &str,
    body: Writer,
    content_type: Option<String>,
    metadata: BTreeMap<String, String>,
    condition: Condition,
) -> Result<bool> {
    let attributes = wit::Attributes { content_type, metadata: metadata.into_iter().collect() };
    wit::put(bucket, key, body.0, &attributes, condition.into()).map_err(error)
}

pub(super) fn delete(bucket: &str, key: &str, condition: Condition) -> Result<bool> {
    wit::delete(bucket, key, condition.into()).map_err(error)
}

pub(super) fn copy((from, from_key): (&str, &str), (to, to_key): (&str, &str)) -> Result<bool> {
    wit::copy(from, from_key, to, to_key).map_err(error)
}

pub(super) fn list(
    bucket: &str,
    prefix: &str,
    delimiter: Option<&str>,
    after: Option<&str>,
    limit: u32,
) -> Result<Page> {
    let page = wit::list(bucket, prefix, delimiter, after, limit).map_err(error)?;
    let objects = page.objects.into_iter().map(object).collect();
    Ok(Page { objects, folders: page.prefixes, next: page.next })
}

fn object(object: wit::Object) -> Object {
    let wit::Object { key, size, etag, modified_ms, version, attributes } = object;
    let (content_type, metadata) =
        (attributes.content_type, attributes.metadata.into_iter().collect());
    Object::new(key, Described { size, etag, modified_ms, version, content_type, metadata })
}
