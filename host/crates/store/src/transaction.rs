//! The transaction of one invocation: its snapshot, what it read, and what it is to write.

mod objects;
mod queue;
mod run;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use super::{
    Changes, KeyRead, RangeRead, Snapshot, StoreError, TenantState, Write,
    kv::{
        Condition, Entry, KeyRange, KvError, KvStore, ListDigest, ListedKey, MAX_GET_BYTES,
        MAX_KEY_BYTES, MAX_KEYS, Page, Version, check_key, check_length, entry_bytes, is_live,
    },
    object::EntryBody,
};

pub use objects::{ListedObject, ObjectPage};
pub use run::{ATTEMPTS, RunError};

/// The most that one invocation may have to write. The invocation is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectLimits {
    /// Effects.
    pub count: u32,
    /// Bytes of all effects.
    pub bytes: u64,
}

impl EffectLimits {
    fn check(&self, count: u32, bytes: u64) -> Result<(), KvError> {
        if bytes > self.bytes {
            return Err(KvError::EffectBytes { limit_kib: self.bytes >> 10 });
        }
        if count > self.count {
            return Err(KvError::TooManyEffects { limit: self.count });
        }
        Ok(())
    }
}

/// The most rows that an invocation with effects may have read: its commit looks at each again, and
/// the other commits of the tenant wait for that.
pub(crate) const MAX_ROWS_READ: usize = 10_000;

/// A value that is to be written.
struct Effect {
    store: Arc<KvStore>,
    value: Option<Vec<u8>>,
    expires_ms: Option<i64>,
    version: Version,
    body: EntryBody,
}

impl Effect {
    fn bytes(&self, key: &str) -> u64 {
        let value_bytes = self.value.as_ref().map_or(0, Vec::len);
        let inline_bytes = self.body.inline.as_ref().map_or(0, |inline| inline.len());
        entry_bytes(key.len() as u64, (value_bytes + inline_bytes) as u64)
    }
}

/// Reads and writes of one invocation. Dropping it discards the writes.
pub struct Transaction {
    state: Arc<dyn TenantState>,
    limits: EffectLimits,
    snapshot: Option<Box<dyn Snapshot>>,
    /// Versions of the keys that were read from the snapshot, by store.
    reads: HashMap<Arc<str>, HashMap<String, Version>>,
    ranges: Vec<RangeRead>,
    /// By store, then in the order of the keys.
    effects: HashMap<Arc<str>, BTreeMap<String, Effect>>,
    appends: Vec<Write>,
    effect_count: u32,
    effect_bytes: u64,
    /// Rows that the commit has to look at again.
    rows_read: usize,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("effects", &self.effect_count)
            .field("effect_bytes", &self.effect_bytes)
            .finish_non_exhaustive()
    }
}

impl Transaction {
    /// A transaction over a tenant's state. It takes its snapshot with its first read.
    pub fn new(state: Arc<dyn TenantState>, limits: EffectLimits) -> Transaction {
        Transaction {
            state,
            limits,
            snapshot: None,
            reads: HashMap::new(),
            ranges: Vec::new(),
            effects: HashMap::new(),
            appends: Vec::new(),
            effect_count: 0,
            effect_bytes: 0,
            rows_read: 0,
        }
    }

    /// Allows so many effects more.
    pub fn allow(&mut self, more: EffectLimits) {
        let EffectLimits { count, bytes } = self.limits;
        self.limits = EffectLimits {
            count: count.saturating_add(more.count),
            bytes: bytes.saturating_add(more.bytes),
        };
    }

    /// Whether it has nothing to commit.
    pub fn is_read_only(&self) -> bool {
        self.effect_count == 0
    }

    /// Whether it has its snapshot. The state is open as long as it has.
    pub fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// The entry of a key.
    ///
    /// # Errors
    /// A key that is none, and errors of the store.
    pub fn get(&mut self, store: &KvStore, key: &str) -> Result<Option<Entry>, KvError> {
        check_key(key, MAX_KEY_BYTES)?;
        self.entry(store, key)
    }

    fn entry(&mut self, store: &KvStore, key: &str) -> Result<Option<Entry>, KvError> {
        if let Some(effect) = self.effects.get(&store.id).and_then(|effects| effects.get(key)) {
            let (version, expires_ms) = (effect.version, effect.expires_ms);
            return Ok(effect.value.clone().map(|value| Entry { value, version, expires_ms }));
        }
        let snapshot = self.snapshot()?;
        let found = snapshot.get(&store.id, key)?;
        let now = snapshot.taken_ms();
        let version = found.as_ref().map_or(Version::ABSENT, |entry| entry.version);
        self.note_read(store, key, version)?;
        Ok(found.filter(|entry| is_live(entry.expires_ms, now)))
    }

    /// The entries of some keys, in their order.
    ///
    /// # Errors
    /// Too many keys or bytes for one call, and those of [`Transaction::get`].
    pub fn get_many(
        &mut self,
        store: &KvStore,
        keys: &[String],
    ) -> Result<Vec<Option<Entry>>, KvError> {
        if keys.len() > MAX_KEYS {
            return Err(KvError::TooManyKeys { keys: keys.len() });
        }
        let mut bytes = 0;
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            let entry = self.get(store, key)?;
            bytes += entry.as_ref().map_or(0, |entry| entry.value.len());
            if bytes > MAX_GET_BYTES {
                return Err(KvError::TooManyBytes { limit_kib: MAX_GET_BYTES >> 10 });
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Sets the entry of a key, if the condition holds. Returns whether it does.
    ///
    /// # Errors
    /// A key or value that is none, limits on effects, and errors of the store.
    pub fn set(
        &mut self,
        store: &Arc<KvStore>,
        key: &str,
        value: Vec<u8>,
        time_to_live: Option<Duration>,
        condition: Condition,
    ) -> Result<bool, KvError> {
        check_key(key, MAX_KEY_BYTES)?;
        let bytes = value.len() as u64;
        if bytes > store.max_value_bytes {
            return Err(KvError::ValueSize { bytes, limit_bytes: store.max_value_bytes });
        }
        if condition != Condition::Any {
            let found = self.get(store, key)?.map(|entry| entry.version);
            if !condition.holds(found) {
                return Ok(false);
            }
        }
        let expires_ms = match time_to_live {
            Some(time) => {
                let now = self.snapshot()?.taken_ms();
                Some(now.saturating_add(millis(time)))
            }
            None => None,
        };
        self.write(store, key, Some(value), expires_ms, EntryBody::default())?;
        Ok(true)
    }

    /// Deletes the entry of a key, if the condition holds. Returns whether there was an entry that
    /// is deleted.
    ///
    /// # Errors
    /// A key that is none, limits on effects, and errors of the store.
    pub fn delete(
        &mut self,
        store: &Arc<KvStore>,
        key: &str,
        condition: Condition,
    ) -> Result<bool, KvError> {
        let found = self.get(store, key)?.map(|entry| entry.version);
        if found.is_none() || !condition.holds(found) {
            return Ok(false);
        }
        self.write(store, key, None, None, EntryBody::default())?;
        Ok(true)
    }

    /// Adds to the decimal number that a key has, and keeps its time to live. A key without an
    /// entry has 0. Returns the sum.
    ///
    /// # Errors
    /// A value that is no number, a sum that does not fit, and the errors of [`Transaction::set`].
    pub fn increment(
        &mut self,
        store: &Arc<KvStore>,
        key: &str,
        delta: i64,
    ) -> Result<i64, KvError> {
        let (number, expires_ms) = match self.get(store, key)? {
            Some(entry) => (decimal(&entry.value).ok_or(KvError::NotANumber)?, entry.expires_ms),
            None => (0, None),
        };
        let sum = number.checked_add(delta).ok_or(KvError::Overflow)?;
        let sum_text = sum.to_string().into_bytes();
        self.write(store, key, Some(sum_text), expires_ms, EntryBody::default())?;
        Ok(sum)
    }

    /// Lists keys that begin with `prefix` and come after the key `after`: at most `limit`, and at
    /// most [`MAX_KEYS`]. A page may have fewer keys and still not be the last one.
    ///
    /// # Errors
    /// Limits on reads, and errors of the store.
    pub fn list(
        &mut self,
        store: &KvStore,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, KvError> {
        let limit = limit.clamp(1, MAX_KEYS);
        for text in [Some(prefix), after].into_iter().flatten() {
            check_length(text)?;
        }
        let range = KeyRange::new(prefix, after);
        if range.is_empty() {
            return Ok(Page::default());
        }
        let listed = self.snapshot()?.list(&store.id, &range, limit)?;
        let last = listed.last().filter(|_| listed.len() == limit);
        let seen = last.map_or_else(|| range.clone(), |last| range.up_to(&last.key));
        let next = last.map(|last| text(&last.key));
        let now = self.snapshot()?.taken_ms();
        self.note_range(store, seen.clone(), &listed)?;
        let live = listed.iter().filter(|listed| is_live(listed.expires_ms, now));
        let mut keys: BTreeSet<String> = live.map(|listed| text(&listed.key)).collect();
        for (key, effect) in self.effects_in(store, &seen) {
            match effect.value {
                Some(_) => keys.insert(key.clone()),
                None => keys.remove(key),
            };
        }
        match keys.iter().nth(limit).cloned() {
            None => Ok(Page { keys: keys.into_iter().collect(), next }),
            Some(first_left) => {
                let _left = keys.split_off(&first_left);
                let next = keys.last().cloned();
                Ok(Page { keys: keys.into_iter().collect(), next })
            }
        }
    }

    /// The reads and writes, for a commit. `None` if nothing was written: a transaction that only
    /// reads is consistent by its snapshot.
    pub fn into_changes(self) -> Option<(Arc<dyn TenantState>, Changes)> {
        if self.is_read_only() {
            return None;
        }
        let reads = self.reads.into_iter().flat_map(|(store, keys)| {
            keys.into_iter().map(move |(key, version)| KeyRead {
                store: store.clone(),
                key,
                version,
            })
        });
        let writes = self.effects.into_values().flatten().map(|(key, effect)| {
            let Effect { store, value, expires_ms, body, .. } = effect;
            Write { store, key, value, expires_ms, body }
        });
        let changes = Changes {
            reads: reads.collect(),
            ranges: self.ranges,
            writes: writes.collect(),
            appends: self.appends,
        };
        Some((self.state, changes))
    }

    /// Drops what was written.
    pub fn discard(&mut self) {
        self.effects.clear();
        self.appends.clear();
        (self.effect_count, self.effect_bytes) = (0, 0);
    }

    fn snapshot(&mut self) -> Result<&mut Box<dyn Snapshot>, StoreError> {
        if self.snapshot.is_none() {
            self.snapshot = Some(self.state.snapshot()?);
        }
        Ok(self.snapshot.as_mut().expect("the line above took it"))
    }

    /// Whether the commit may look at `rows` more rows. Reads over the bound are not noted: the
    /// transaction cannot write any more.
    fn note_rows(&mut self, rows: usize) -> Result<bool, KvError> {
        self.rows_read = self.rows_read.saturating_add(rows);
        self.check_rows()
            .map(|()| self.rows_read <= MAX_ROWS_READ)
            .or_else(|error| if self.is_read_only() { Ok(false) } else { Err(error) })
    }

    fn check_rows(&self) -> Result<(), KvError> {
        match self.rows_read <= MAX_ROWS_READ {
            true => Ok(()),
            false => Err(KvError::TooManyReads),
        }
    }

    fn note_read(&mut self, store: &KvStore, key: &str, version: Version) -> Result<(), KvError> {
        if self.reads.get(&store.id).is_some_and(|keys| keys.contains_key(key)) {
            return Ok(());
        }
        if self.note_rows(1)? {
            let keys = self.reads.entry(store.id.clone()).or_default();
            keys.insert(key.to_owned(), version);
        }
        Ok(())
    }

    fn note_range(
        &mut self,
        store: &KvStore,
        range: KeyRange,
        listed: &[ListedKey],
    ) -> Result<(), KvError> {
        let (rows, digest) = (listed.len(), ListDigest::of(listed));
        let read = RangeRead { store: store.id.clone(), range, rows, digest };
        if !self.ranges.contains(&read) && self.note_rows(rows + 1)? {
            self.ranges.push(read);
        }
        Ok(())
    }

    /// The effects of this transaction on keys of a range.
    fn effects_in(
        &self,
        store: &KvStore,
        range: &KeyRange,
    ) -> impl Iterator<Item = (&String, &Effect)> {
        let effects = self.effects.get(&store.id);
        let (from, to) = (text(&range.from), range.to.clone());
        let from = (Bound::Included(from), Bound::Unbounded);
        let effects = effects.into_iter().flat_map(move |effects| effects.range(from.clone()));
        effects.take_while(move |(key, _)| key.as_bytes() < to.as_slice())
    }

    fn write(
        &mut self,
        store: &Arc<KvStore>,
        key: &str,
        value: Option<Vec<u8>>,
        expires_ms: Option<i64>,
        body: EntryBody,
    ) -> Result<(), KvError> {
        self.check_rows()?;
        let version = Version::uncommitted();
        let effect = Effect { store: store.clone(), value, expires_ms, version, body };
        let effects = self.effects.entry(store.id.clone()).or_default();
        let replaced = effects.get(key).map(|replaced| replaced.bytes(key));
        let bytes = self.effect_bytes - replaced.unwrap_or(0) + effect.bytes(key);
        let count = self.effect_count + u32::from(replaced.is_none());
        self.limits.check(count, bytes)?;
        effects.insert(key.to_owned(), effect);
        (self.effect_count, self.effect_bytes) = (count, bytes);
        Ok(())
    }

    /// Appends an entry, whose commit completes its key. The transaction's own reads do not see the
    /// entry.
    fn append(
        &mut self,
        store: &Arc<KvStore>,
        beginning: String,
        value: Vec<u8>,
        expires_ms: Option<i64>,
    ) -> Result<(), KvError> {
        self.check_rows()?;
        let key_bytes = beginning.len() + Changes::NUMBER_BYTES;
        let entry_bytes = entry_bytes(key_bytes as u64, value.len() as u64);
        let (count, bytes) = (self.effect_count + 1, self.effect_bytes + entry_bytes);
        self.limits.check(count, bytes)?;
        let (store, body) = (store.clone(), EntryBody::default());
        self.appends.push(Write { store, key: beginning, value: Some(value), expires_ms, body });
        (self.effect_count, self.effect_bytes) = (count, bytes);
        Ok(())
    }
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn decimal(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
