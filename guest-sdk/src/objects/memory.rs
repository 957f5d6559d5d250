//! Buckets of a native test: in the memory of its thread, beside its stores.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use md5::{Digest, Md5};

use super::{Condition, Described, Object, Page};
use crate::Result;
use crate::kv::{Kind, failure, memory};

/// The longest key, in bytes, and the most objects of one page: as on a host.
const KEY_BYTES: usize = 1024;
const OBJECTS: usize = 1000;

/// An object with its body.
#[derive(Clone)]
pub(crate) struct Held {
    body: Bytes,
    modified_ms: u64,
    version: u64,
    content_type: Option<String>,
    metadata: BTreeMap<String, String>,
}

/// A body that is read.
#[derive(Debug)]
pub(super) struct Reader(Bytes);

/// A body that is written.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Reader {
    #[expect(clippy::unnecessary_wraps, reason = "a host's reader may fail")]
    pub(super) fn read(&mut self, limit: u32) -> Result<Vec<u8>> {
        let bytes = self.0.len().min(limit as usize);
        Ok(self.0.split_to(bytes).into())
    }
}

impl Writer {
    #[expect(clippy::unnecessary_wraps, reason = "a host's writer may fail")]
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

pub(super) fn head(bucket: &str, key: &str) -> Result<Option<Object>> {
    check(key)?;
    Ok(held(bucket, key).map(|held| object(key, &held)))
}

pub(super) fn get(
    bucket: &str,
    key: &str,
    first: u64,
    last: Option<u64>,
) -> Result<Option<(Object, Reader)>> {
    check(key)?;
    let Some(held) = held(bucket, key) else { return Ok(None) };
    let end = last.map_or(u64::MAX, |last| last.saturating_add(1));
    let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(held.body.len());
    let (first, end) = (at(first), at(end));
    let part = held.body.slice(first.min(end)..end);
    Ok(Some((object(key, &held), Reader(part))))
}

#[expect(clippy::unnecessary_wraps, reason = "a host may refuse")]
pub(super) fn create(_bucket: &str) -> Result<Writer> {
    Ok(Writer::default())
}

pub(super) fn put(
    bucket: &str,
    key: &str,
    body: Writer,
    content_type: Option<String>,
    metadata: BTreeMap<String, String>,
    condition: Condition,
) -> Result<bool> {
    check(key)?;
    if !holds(condition, held(bucket, key).as_ref()) {
        return Ok(false);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let modified_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let version = memory::next_version();
    let held = Held { body: body.0.into(), modified_ms, version, content_type, metadata };
    memory::with_buckets(|buckets| {
        buckets.entry(bucket.to_owned()).or_default().insert(key.to_owned(), held);
    });
    Ok(true)
}

pub(super) fn delete(bucket: &str, key: &str, condition: Condition) -> Result<bool> {
    check(key)?;
    let found = held(bucket, key);
    if found.is_none() || !holds(condition, found.as_ref()) {
        return Ok(false);
    }
    memory::with_buckets(|buckets| {
        buckets.get_mut(bucket).and_then(|objects| objects.remove(key));
    });
    Ok(true)
}

pub(super) fn copy((from, from_key): (&str, &str), (to, to_key): (&str, &str)) -> Result<bool> {
    let Some(Held { body, content_type, metadata, .. }) = held(from, from_key) else {
        return Ok(false);
    };
    put(to, to_key, Writer(body.into()), content_type, metadata, Condition::Any)
}

pub(super) fn list(
    bucket: &str,
    prefix: &str,
    delimiter: Option<&str>,
    after: Option<&str>,
    limit: u32,
) -> Result<Page> {
    let limit = (limit as usize).clamp(1, OBJECTS);
    memory::with_buckets(|buckets| {
        let mut page = Page::default();
        let mut seen = BTreeSet::new();
        let objects = buckets.get(bucket).into_iter().flatten();
        for (key, held) in objects.filter(|(key, _)| key.starts_with(prefix)) {
            let rest = &key[prefix.len()..];
            let folder = delimiter.and_then(|delimiter| {
                rest.find(delimiter).map(|at| &key[..prefix.len() + at + delimiter.len()])
            });
            let name = folder.unwrap_or(key);
            if after.is_some_and(|after| name <= after) || !seen.insert(name.to_owned()) {
                continue;
            }
            if page.objects.len() + page.folders.len() == limit {
                break;
            }
            page.next = Some(name.to_owned());
            match folder {
                Some(folder) => page.folders.push(folder.to_owned()),
                None => page.objects.push(object(key, held)),
            }
        }
        if seen.len() == page.objects.len() + page.folders.len() {
            page.next = None;
        }
        Ok(page)
    })
}

fn check(key: &str) -> Result<()> {
    match key.len() {
        1..=KEY_BYTES => Ok(()),
        bytes => {
            let text = format!("the key has {bytes} bytes; a key has 1 to {KEY_BYTES}");
            Err(failure(Kind::Invalid, text))
        }
    }
}

fn held(bucket: &str, key: &str) -> Option<Held> {
    memory::with_buckets(|buckets| buckets.get(bucket)?.get(key).cloned())
}

fn object(key: &str, held: &Held) -> Object {
    let etag = Md5::digest(&held.body).iter().map(|byte| format!("{byte:02x}")).collect();
    let described = Described {
        size: held.body.len() as u64,
        etag,
        modified_ms: held.modified_ms,
        version: held.version,
        content_type: held.content_type.clone(),
        metadata: held.metadata.clone(),
    };
    Object::new(key.to_owned(), described)
}

fn holds(condition: Condition, found: Option<&Held>) -> bool {
    match condition {
        Condition::Any => true,
        Condition::Absent => found.is_none(),
        Condition::Version(version) => found.is_some_and(|held| held.version == version.0),
    }
}
