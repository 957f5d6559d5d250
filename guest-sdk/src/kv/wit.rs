//! Stores of the host.

use super::{Condition, Entry, Kind, Page, Version, failure};
use crate::bindings::state::lacewing::state::kv as wit;
use crate::{Error, Result};

pub(super) fn get(store: &str, key: &str) -> Result<Option<Entry<Vec<u8>>>> {
    Ok(wit::get(store, key).map_err(error)?.map(entry))
}

pub(super) fn get_many(store: &str, keys: &[&str]) -> Result<Vec<Option<Entry<Vec<u8>>>>> {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    let found = wit::get_many(store, &keys).map_err(error)?;
    Ok(found.into_iter().map(|found| found.map(entry)).collect())
}

pub(super) fn set(
    store: &str,
    key: &str,
    value: Vec<u8>,
    ttl_ms: Option<u64>,
    condition: Condition,
) -> Result<bool> {
    wit::set(store, key, &value, ttl_ms, condition.into()).map_err(error)
}

pub(super) fn delete(store: &str, key: &str, condition: Condition) -> Result<bool> {
    wit::delete(store, key, condition.into()).map_err(error)
}

pub(super) fn increment(store: &str, key: &str, delta: i64) -> Result<i64> {
    wit::increment(store, key, delta).map_err(error)
}

pub(super) fn list(store: &str, prefix: &str, after: Option<&str>, limit: u32) -> Result<Page> {
    let wit::Page { keys, next } = wit::list(store, prefix, after, limit).map_err(error)?;
    Ok(Page { keys, next })
}

fn entry(entry: wit::Entry) -> Entry<Vec<u8>> {
    Entry { value: entry.value, version: Version(entry.version) }
}

impl From<Condition> for wit::Condition {
    fn from(condition: Condition) -> wit::Condition {
        match condition {
            Condition::Any => wit::Condition::Any,
            Condition::Absent => wit::Condition::Absent,
            Condition::Version(Version(version)) => wit::Condition::Version(version),
        }
    }
}

pub(crate) fn error(error: wit::Error) -> Error {
    let (kind, text) = match error {
        wit::Error::NotGranted(text) | wit::Error::ReadOnly(text) => (Kind::NotGranted, text),
        wit::Error::Invalid(text) => (Kind::Invalid, text),
        wit::Error::Limit(text) => (Kind::Limit, text),
        wit::Error::Conflict(text) => (Kind::Conflict, text),
        wit::Error::Unavailable(text) => (Kind::Unavailable, text),
    };
    failure(kind, text)
}
