//! The checks and writes of the transactions of one batch, in a transaction of the database.

pub(super) mod files;
pub(super) mod sizes;

use std::{borrow::Cow, collections::HashMap};

use rusqlite::{Connection, OptionalExtension, params};

use self::{
    files::remove_unused,
    sizes::{EntrySize, StoreSizes},
};
use super::{
    commit::Answer,
    files::ObjectFiles,
    snapshot::{list, version},
};
use crate::{
    Changes, CommitError, KeyRead, RangeRead, Write,
    kv::{KvStore, ListDigest, Version, entry_bytes},
};

/// Expired entries that each batch removes, besides two for each of its writes: they go faster than
/// entries come.
const EXPIRED: usize = 32;

/// Expired entries that go at once where a store is full.
const EXPIRED_IF_FULL: usize = 1000;

/// The time that an expired entry stays, unless a store is full: a transaction that has read it
/// conflicts when it goes.
const EXPIRED_FOR_MS: i64 = 60_000;

/// A batch that is being applied.
pub(super) struct Applying<'c> {
    connection: &'c Connection,
    now_ms: i64,
    writes: usize,
    sizes: StoreSizes,
    files: &'c ObjectFiles,
}

/// A row of an entry.
#[derive(Clone, Copy)]
struct FoundRow {
    id: i64,
    version: Version,
    /// The bytes that its store is charged with.
    bytes: u64,
    /// Whether it has bytes besides its value.
    has_body: bool,
}

/// The rows that a transaction has read, by store and key.
type Seen<'a> = HashMap<(&'a str, &'a str), Option<FoundRow>>;

/// The size of a store before some writes, and after them.
struct Growth {
    before: u64,
    after: u64,
    limit_bytes: u64,
}

/// A write, with the row that it replaces.
struct PlannedWrite<'a> {
    write: &'a Write,
    key: Cow<'a, str>,
    replaced: Option<FoundRow>,
}

impl<'c> Applying<'c> {
    /// Begins a batch. `sizes` are those that the batch before it has left.
    pub(super) fn begin(
        connection: &'c Connection,
        files: &'c ObjectFiles,
        now_ms: i64,
        sizes: Option<StoreSizes>,
    ) -> rusqlite::Result<Applying<'c>> {
        let sizes = sizes.map_or_else(|| StoreSizes::read(connection), Ok)?;
        Ok(Applying { connection, now_ms, writes: 0, sizes, files })
    }

    /// Checks what a transaction has read, and makes its writes. It makes none if it is refused.
    pub(super) fn apply(&mut self, changes: &Changes, max_bytes: u64) -> rusqlite::Result<Answer> {
        let mut seen = Seen::with_capacity(changes.reads.len());
        for read in &changes.reads {
            let row = self.find(&read.store, &read.key)?;
            if row.map_or(Version::ABSENT, |row| row.version) != read.version {
                return Ok(Err(conflict_on_key(read)));
            }
            seen.insert((&read.store, &read.key), row);
        }
        for read in &changes.ranges {
            if !self.is_range_unchanged(read)? {
                return Ok(Err(conflict_on_range(read)));
            }
        }
        let commit = Version(self.sizes.commit + 1);
        let mut planned = self.plan(changes, commit, &seen)?;
        if self.over_quota(&planned, max_bytes).is_some() && self.make_room()? {
            // Rows of entries that have expired are gone.
            planned = self.plan(changes, commit, &Seen::new())?;
        }
        if let Some(refused) = self.over_quota(&planned, max_bytes) {
            return Ok(Err(refused));
        }
        self.sizes.commit = commit.0;
        for write in planned {
            self.put(&write)?;
        }
        Ok(Ok(commit))
    }

    /// Frees the room of expired entries and unused files. Returns whether there was some.
    ///
    /// The files that this batch has left stay: they are in use again if the batch fails.
    fn make_room(&mut self) -> rusqlite::Result<bool> {
        let entries = self.remove_expired(self.now_ms, EXPIRED_IF_FULL)?;
        let files = remove_unused(self.connection, self.files, self.now_ms - 1)?;
        self.sizes.read_unused(self.connection)?;
        Ok(entries + files > 0)
    }

    /// Writes what the batch has changed besides entries. Returns the sizes for the next batch.
    pub(super) fn end(mut self) -> rusqlite::Result<StoreSizes> {
        self.remove_expired(self.now_ms - EXPIRED_FOR_MS, EXPIRED + 2 * self.writes)?;
        self.sizes.save(self.connection)?;
        Ok(self.sizes)
    }

    fn find(&self, store: &str, key: &str) -> rusqlite::Result<Option<FoundRow>> {
        let Some(id) = self.sizes.id(store) else { return Ok(None) };
        let mut statement = self.connection.prepare_cached(
            "SELECT id, version, length(value), held FROM kv WHERE store = ?1 AND key = ?2",
        )?;
        statement
            .query_row(params![id, key.as_bytes()], |row| {
                let value_bytes: u32 = row.get(2)?;
                let Version(held) = version(row, 3)?;
                let bytes = entry_bytes(key.len() as u64, value_bytes.into()) + held;
                let (id, version) = (row.get(0)?, version(row, 1)?);
                Ok(FoundRow { id, version, bytes, has_body: held > 0 })
            })
            .optional()
    }

    fn is_range_unchanged(&self, read: &RangeRead) -> rusqlite::Result<bool> {
        // One row more than was seen is a change.
        let listed = list(self.connection, &read.store, &read.range, read.rows + 1)?;
        Ok(listed.len() == read.rows && ListDigest::of(&listed) == read.digest)
    }

    fn plan<'a>(
        &self,
        changes: &'a Changes,
        commit: Version,
        seen: &Seen<'_>,
    ) -> rusqlite::Result<Vec<PlannedWrite<'a>>> {
        let plan = |write: &'a Write| {
            let replaced = match seen.get(&(&*write.store.id, write.key.as_str())) {
                Some(row) => *row,
                None => self.find(&write.store.id, &write.key)?,
            };
            Ok(PlannedWrite { write, key: Cow::Borrowed(&write.key), replaced })
        };
        let appended = changes.appends.iter().enumerate().map(|(place, write)| {
            let key = Changes::appended_key(&write.key, commit, place);
            // No entry has the key of an append.
            Ok(PlannedWrite { write, key: Cow::Owned(key), replaced: None })
        });
        changes.writes.iter().map(plan).chain(appended).collect()
    }

    /// The bound that some writes exceed. Writes that make nothing larger are always within them,
    /// so that a tenant can delete.
    fn over_quota(&self, planned: &[PlannedWrite<'_>], max_bytes: u64) -> Option<CommitError> {
        let mut growths: HashMap<&str, Growth> = HashMap::new();
        for one in planned {
            let (store, replaced) = (&*one.write.store, one.replaced);
            let growth = growths.entry(&store.id).or_insert_with(|| {
                let before = self.sizes.bytes_of(&store.id);
                Growth { before, after: before, limit_bytes: store.max_bytes }
            });
            let replaced_bytes = replaced.map_or(0, |row| row.bytes);
            growth.after = growth.after.saturating_sub(replaced_bytes) + one.bytes();
        }
        let over = |growth: &Growth| growth.after > growth.before.max(growth.limit_bytes);
        if let Some((id, growth)) = growths.iter().find(|(_, growth)| over(growth)) {
            return Some(CommitError::OverQuota {
                subject: KvStore::describe(id).into(),
                bytes: growth.after,
                limit_bytes: growth.limit_bytes,
            });
        }
        let removed: u64 = growths.values().map(|growth| growth.before).sum();
        let added: u64 = growths.values().map(|growth| growth.after).sum();
        let bytes = self.sizes.bytes().saturating_sub(removed).saturating_add(added);
        (added > removed && bytes > max_bytes).then(|| CommitError::OverQuota {
            subject: "the state of the tenant".into(),
            bytes,
            limit_bytes: max_bytes,
        })
    }

    fn put(&mut self, planned: &PlannedWrite<'_>) -> rusqlite::Result<()> {
        let PlannedWrite { write, key, replaced } = planned;
        let number = signed(self.sizes.commit);
        let (connection, now_ms) = (self.connection, self.now_ms);
        let id = self.sizes.make(connection, &write.store.id)?;
        let old = replaced.map(|row| EntrySize(row.bytes));
        self.sizes.replace(id, old, write.value.is_some().then(|| EntrySize(planned.bytes())));
        self.writes += 1;
        if let Some(row) = replaced.filter(|row| row.has_body) {
            self.sizes.unused_bytes += files::leave(connection, row.id, now_ms)?;
        }
        let (held, inline) = (signed(write.body.charged_bytes()), write.body.inline.as_deref());
        let row = match (&write.value, replaced) {
            (Some(value), Some(row)) => {
                connection
                    .prepare_cached(
                        "UPDATE kv SET version = ?2, expires = ?3, value = ?4, held = ?5, body = ?6
                         WHERE id = ?1",
                    )?
                    .execute(params![row.id, number, write.expires_ms, value, held, inline])?;
                row.id
            }
            (Some(value), None) => {
                let key = key.as_bytes();
                connection
                    .prepare_cached(
                        "INSERT INTO kv (store, key, version, expires, value, held, body)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    )?
                    .insert(params![id, key, number, write.expires_ms, value, held, inline])?
            }
            (None, Some(row)) => {
                connection.prepare_cached("DELETE FROM kv WHERE id = ?1")?.execute([row.id])?;
                return Ok(());
            }
            (None, None) => return Ok(()),
        };
        let revived = files::enter(connection, row, &write.body)?;
        self.sizes.unused_bytes = self.sizes.unused_bytes.saturating_sub(revived);
        Ok(())
    }

    /// Removes up to `limit` entries that expired before a time. Returns their number.
    fn remove_expired(&mut self, before_ms: i64, limit: usize) -> rusqlite::Result<usize> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, store, length(key), length(value), held FROM kv
             WHERE expires IS NOT NULL AND expires <= ?1 ORDER BY expires LIMIT ?2",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let expired: Vec<(i64, i64, u32, u32, u64)> = statement
            .query_map(params![before_ms, limit], |row| {
                let Version(held) = version(row, 4)?;
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, held))
            })?
            .collect::<rusqlite::Result<_>>()?;
        for (row, store, key_bytes, value_bytes, held) in &expired {
            if *held > 0 {
                self.sizes.unused_bytes += files::leave(self.connection, *row, self.now_ms)?;
            }
            self.connection.prepare_cached("DELETE FROM kv WHERE id = ?1")?.execute([row])?;
            let bytes = entry_bytes((*key_bytes).into(), (*value_bytes).into()) + held;
            self.sizes.replace(*store, Some(EntrySize(bytes)), None);
        }
        Ok(expired.len())
    }
}

impl PlannedWrite<'_> {
    /// The bytes that its store is charged with.
    fn bytes(&self) -> u64 {
        let bytes = |value: &Vec<u8>| {
            entry_bytes(self.key.len() as u64, value.len() as u64)
                .saturating_add(self.write.body.charged_bytes())
        };
        self.write.value.as_ref().map_or(0, bytes)
    }
}

fn conflict_on_key(read: &KeyRead) -> CommitError {
    let what = format!("key {:?} of {}", read.key, KvStore::describe(&read.store)).into();
    CommitError::Conflict { what }
}

fn conflict_on_range(read: &RangeRead) -> CommitError {
    let what = format!("keys that it listed of {}", KvStore::describe(&read.store)).into();
    CommitError::Conflict { what }
}

/// A number as SQLite has it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
