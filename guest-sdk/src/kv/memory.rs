//! Stores of a native test: in the memory of its thread.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Condition, Entry, Kind, Page, Version, failure};
use crate::Result;

/// The longest key and the largest value, in bytes, and the most keys of one call: as on a host.
const KEY_BYTES: usize = 512;
const VALUE_BYTES: usize = 1 << 20;
const KEYS: usize = 1000;

#[derive(Clone)]
struct Held {
    value: Vec<u8>,
    version: u64,
    expires: Option<Instant>,
}

impl Held {
    fn is_live(&self) -> bool {
        self.expires.is_none_or(|expires| expires > Instant::now())
    }
}

#[derive(Clone, Default)]
pub(crate) struct Stores {
    version: u64,
    stores: BTreeMap<String, BTreeMap<String, Held>>,
    #[cfg(feature = "objects")]
    buckets: Buckets,
}

/// The objects of each bucket.
#[cfg(feature = "objects")]
type Buckets = BTreeMap<String, BTreeMap<String, crate::objects::memory::Held>>;

/// The version of the next write.
#[cfg(feature = "objects")]
pub(crate) fn next_version() -> u64 {
    STORES.with_borrow_mut(|stores| {
        stores.version += 1;
        stores.version
    })
}

#[cfg(feature = "objects")]
pub(crate) fn with_buckets<T>(work: impl FnOnce(&mut Buckets) -> T) -> T {
    STORES.with_borrow_mut(|stores| work(&mut stores.buckets))
}

thread_local! {
    static STORES: RefCell<Stores> = RefCell::default();
}

/// All stores as they are, to be put back if a transaction is not to have an effect.
pub(crate) fn snapshot() -> Stores {
    STORES.with_borrow(Clone::clone)
}

/// Puts stores back. Versions go on, because they never repeat.
pub(crate) fn restore(stores: Stores) {
    STORES.with_borrow_mut(|now| {
        let version = now.version;
        *now = Stores { version, ..stores };
    });
}

pub(super) fn get(store: &str, key: &str) -> Result<Option<Entry<Vec<u8>>>> {
    check(key)?;
    Ok(held(store, key).map(entry))
}

pub(super) fn get_many(store: &str, keys: &[&str]) -> Result<Vec<Option<Entry<Vec<u8>>>>> {
    if keys.len() > KEYS {
        let text = format!("the call names {} keys; the limit is {KEYS}", keys.len());
        return Err(failure(Kind::Limit, text));
    }
    keys.iter().map(|key| get(store, key)).collect()
}

pub(super) fn set(
    store: &str,
    key: &str,
    value: Vec<u8>,
    ttl_ms: Option<u64>,
    condition: Condition,
) -> Result<bool> {
    check(key)?;
    if value.len() > VALUE_BYTES {
        let text = format!("the value has {} bytes; the limit is {VALUE_BYTES}", value.len());
        return Err(failure(Kind::Limit, text));
    }
    if !holds(condition, held(store, key).as_ref()) {
        return Ok(false);
    }
    let expires = ttl_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
    put(store, key, value, expires);
    Ok(true)
}

pub(super) fn delete(store: &str, key: &str, condition: Condition) -> Result<bool> {
    check(key)?;
    let found = held(store, key);
    if found.is_none() || !holds(condition, found.as_ref()) {
        return Ok(false);
    }
    STORES.with_borrow_mut(|stores| {
        stores.stores.get_mut(store).and_then(|entries| entries.remove(key));
    });
    Ok(true)
}

pub(super) fn increment(store: &str, key: &str, delta: i64) -> Result<i64> {
    check(key)?;
    let found = held(store, key);
    let number = match &found {
        None => 0,
        Some(held) => {
            let text = std::str::from_utf8(&held.value).ok();
            let text = text.and_then(|text| text.parse::<i64>().ok());
            text.ok_or_else(|| {
                failure(Kind::Invalid, "the value is no whole number of 64 bits in decimal digits")
            })?
        }
    };
    let sum = number
        .checked_add(delta)
        .ok_or_else(|| failure(Kind::Invalid, "the sum does not fit into 64 bits"))?;
    put(store, key, sum.to_string().into_bytes(), found.and_then(|held| held.expires));
    Ok(sum)
}

pub(super) fn list(store: &str, prefix: &str, after: Option<&str>, limit: u32) -> Result<Page> {
    let limit = (limit as usize).clamp(1, KEYS);
    STORES.with_borrow(|stores| {
        let entries = stores.stores.get(store).into_iter().flatten();
        let mut keys = entries
            .filter(|(key, held)| key.starts_with(prefix) && held.is_live())
            .map(|(key, _)| key)
            .filter(|key| after.is_none_or(|after| key.as_str() > after));
        let page: Vec<String> = keys.by_ref().take(limit).cloned().collect();
        let next = keys.next().and(page.last().cloned());
        Ok(Page { keys: page, next })
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

fn held(store: &str, key: &str) -> Option<Held> {
    STORES.with_borrow(|stores| {
        let held = stores.stores.get(store)?.get(key)?;
        held.is_live().then(|| held.clone())
    })
}

fn put(store: &str, key: &str, value: Vec<u8>, expires: Option<Instant>) {
    STORES.with_borrow_mut(|stores| {
        stores.version += 1;
        let held = Held { value, version: stores.version, expires };
        stores.stores.entry(store.to_owned()).or_default().insert(key.to_owned(), held);
    });
}

fn entry(held: Held) -> Entry<Vec<u8>> {
    Entry { value: held.value, version: Version(held.version) }
}

fn holds(condition: Condition, found: Option<&Held>) -> bool {
    match condition {
        Condition::Any => true,
        Condition::Absent => found.is_none(),
        Condition::Version(Version(version)) => found.is_some_and(|held| held.version == version),
    }
}
