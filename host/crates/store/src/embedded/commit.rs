//! Group commit: the transactions that wait for one database, in one transaction of the database,
//! with one sync of the disk.
//!
//! ```text
//!   submit ─> queue of the database ─> the database is ready ─> a thread takes a batch
//!                                          ^                        │ check and write each
//!                                          └── more are waiting <── │ commit: one sync
//!                                                                   v
//!                                                          answer each that waited
//! ```
//!
//! While a thread waits for the disk, others arrive, and are the next batch (Gray and Reuter,
//! *Transaction Processing*, 1993, group commit). A thread takes one batch of a database and then
//! the next database that is ready, so tenants take turns.
//!
//! The check of a transaction and its writes see the writes of the transactions before it in the
//! batch. A transaction that is refused writes nothing.

use std::{collections::VecDeque, io, mem, sync::Arc, thread};

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::{
    database::{Database, failure},
    snapshot::{list, now_ms, version},
};
use crate::{
    Changes, CommitError, KeyRead, RangeRead, StoreError, Write,
    kv::{ListDigest, MAX_KEYS, Version, entry_bytes, is_live},
};

/// Transactions of one batch. More would have the first wait for long.
const BATCH: usize = 256;

/// Bytes of values in one batch, unless one transaction has more.
const BATCH_BYTES: usize = 4 << 20;

/// Expired entries that a batch removes, so that they go as fast as entries come.
const EXPIRED: usize = 32;

type Answer = Result<Version, CommitError>;

/// A transaction that waits for its commit.
struct Waiting {
    changes: Changes,
    max_bytes: u64,
    answer: oneshot::Sender<Answer>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.changes.writes.iter().filter_map(|write| write.value.as_ref()).map(Vec::len).sum()
    }
}

/// The transactions that wait for one database.
#[derive(Default)]
pub(super) struct CommitQueue(Mutex<QueueState>);

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Waiting>,
    /// Whether the database is ready, or a thread commits its batch.
    is_scheduled: bool,
}

impl CommitQueue {
    /// Adds one. Returns whether the database has to be scheduled.
    fn push(&self, waiting: Waiting) -> bool {
        let mut queue = self.0.lock();
        queue.waiting.push_back(waiting);
        !mem::replace(&mut queue.is_scheduled, true)
    }

    fn take_batch(&self) -> Vec<Waiting> {
        let mut queue = self.0.lock();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = queue.waiting.front() {
            bytes += next.bytes();
            if batch.len() == BATCH || (bytes > BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            batch.extend(queue.waiting.pop_front());
        }
        batch
    }

    /// Ends a batch. Returns whether the database has to be scheduled again.
    fn end_batch(&self) -> bool {
        let mut queue = self.0.lock();
        queue.is_scheduled = !queue.waiting.is_empty();
        queue.is_scheduled
    }
}

/// The threads that commit.
pub(super) struct Committers {
    ready: Arc<Ready>,
}

#[derive(Default)]
struct Ready {
    databases: Mutex<ReadyState>,
    changed: Condvar,
}

#[derive(Default)]
struct ReadyState {
    queue: VecDeque<Arc<Database>>,
    is_closed: bool,
}

impl Ready {
    fn push(&self, database: Arc<Database>) {
        self.databases.lock().queue.push_back(database);
        self.changed.notify_one();
    }

    /// The next database; `None` at the end.
    fn pop(&self) -> Option<Arc<Database>> {
        let mut state = self.databases.lock();
        loop {
            if let Some(database) = state.queue.pop_front() {
                return Some(database);
            }
            if state.is_closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }
}

impl Committers {
    pub(super) fn start(threads: usize) -> io::Result<Committers> {
        let ready = Arc::new(Ready::default());
        for _ in 0..threads.max(1) {
            let ready = ready.clone();
            let run = move || {
                while let Some(database) = ready.pop() {
                    commit_batch(&database);
                    if database.queue.end_batch() {
                        ready.push(database);
                    }
                }
            };
            thread::Builder::new().name("commit".to_owned()).spawn(run)?;
        }
        Ok(Committers { ready })
    }

    pub(super) fn submit(
        &self,
        database: &Arc<Database>,
        changes: Changes,
        max_bytes: u64,
    ) -> oneshot::Receiver<Answer> {
        let (answer, committed) = oneshot::channel();
        if database.queue.push(Waiting { changes, max_bytes, answer }) {
            self.ready.push(database.clone());
        }
        committed
    }
}

impl Drop for Committers {
    fn drop(&mut self) {
        self.ready.databases.lock().is_closed = true;
        self.ready.changed.notify_all();
    }
}

fn commit_batch(database: &Database) {
    let batch = database.queue.take_batch();
    let mut writer = database.writer.lock();
    let (changes, answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|one| ((one.changes, one.max_bytes), one.answer)).unzip();
    let results = writer.commit(&changes);
    drop(writer);
    for (answer, result) in answers.into_iter().zip(results) {
        // An invocation that has gone does not wait for its answer.
        let _ = answer.send(result);
    }
}

/// The connection that writes to one database.
pub(super) struct Writer {
    connection: Connection,
    /// The number of the last commit.
    version: u64,
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Result<Writer, StoreError> {
        let version = connection
            .query_row("SELECT version FROM clock", [], |row| version(row, 0))
            .map_err(|error| failure(&error))?;
        Ok(Writer { connection, version: version.0 })
    }

    /// Commits a batch, and answers each transaction of it.
    fn commit(&mut self, batch: &[(Changes, u64)]) -> Vec<Answer> {
        let before = self.version;
        match self.write(batch) {
            Ok(answers) => answers,
            Err(error) => {
                self.version = before;
                batch.iter().map(|_| Err(CommitError::Store(failure(&error)))).collect()
            }
        }
    }

    fn write(&mut self, batch: &[(Changes, u64)]) -> rusqlite::Result<Vec<Answer>> {
        let transaction = self.connection.transaction()?;
        let now = now_ms();
        let expired = remove_expired(&transaction, now)?;
        let mut answers = Vec::with_capacity(batch.len());
        for (changes, max_bytes) in batch {
            let number = self.version + 1;
            let written = apply(&transaction, changes, *max_bytes, number, now)?;
            if written.is_ok() {
                self.version = number;
            }
            answers.push(written.map(|()| Version(number)));
        }
        if expired == 0 && answers.iter().all(Result::is_err) {
            return Ok(answers);
        }
        let version = i64::try_from(self.version).unwrap_or(i64::MAX);
        transaction.prepare_cached("UPDATE clock SET version = ?1")?.execute([version])?;
        transaction.commit()?;
        Ok(answers)
    }
}

/// Checks what a transaction has read, and makes its writes. It makes none if it is refused.
fn apply(
    connection: &Connection,
    changes: &Changes,
    max_bytes: u64,
    number: u64,
    now_ms: i64,
) -> rusqlite::Result<Result<(), CommitError>> {
    for read in &changes.reads {
        if !is_unchanged(connection, read, now_ms)? {
            let what = format!("key {:?} of the kv store `{}`", read.key, read.store).into();
            return Ok(Err(CommitError::Conflict { what }));
        }
    }
    for read in &changes.ranges {
        if !is_range_unchanged(connection, read, now_ms)? {
            let what = format!("keys that it listed of the kv store `{}`", read.store).into();
            return Ok(Err(CommitError::Conflict { what }));
        }
    }
    let mut plans = Vec::with_capacity(changes.writes.len());
    let mut sizes: Vec<StoreSize<'_>> = Vec::new();
    for write in &changes.writes {
        let at = match sizes.iter().position(|size| size.name == &*write.store.id) {
            Some(at) => at,
            None => {
                sizes.push(StoreSize::read(connection, write)?);
                sizes.len() - 1
            }
        };
        let size = &mut sizes[at];
        let replaced = replaced(connection, size.id, &write.key)?;
        size.note(write, replaced.as_ref());
        plans.push((write, size.id, replaced.map(|replaced| replaced.row)));
    }
    if let Some(refused) = over_quota(connection, &sizes, max_bytes)? {
        return Ok(Err(refused));
    }
    for (write, store, row) in plans {
        put(connection, write, store, row, number)?;
    }
    for size in &sizes {
        size.save(connection)?;
    }
    Ok(Ok(()))
}

fn is_unchanged(connection: &Connection, read: &KeyRead, now_ms: i64) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT version, expires FROM kv
         WHERE store = (SELECT id FROM store WHERE name = ?1) AND key = ?2",
    )?;
    let found = statement
        .query_row(params![&*read.store, read.key.as_bytes()], |row| {
            Ok((version(row, 0)?, row.get(1)?))
        })
        .optional()?
        .filter(|(_, expires_ms)| is_live(*expires_ms, now_ms));
    Ok(found.map_or(Version::ABSENT, |(version, _)| version) == read.version)
}

fn is_range_unchanged(
    connection: &Connection,
    read: &RangeRead,
    now_ms: i64,
) -> rusqlite::Result<bool> {
    // A range that was seen has at most a page of keys.
    let listed = list(connection, &read.store, &read.range, MAX_KEYS + 1)?;
    Ok(ListDigest::of(&listed, now_ms) == read.digest)
}

/// The size of a named store, with the writes of one transaction.
struct StoreSize<'a> {
    id: i64,
    name: &'a str,
    max_bytes: u64,
    before_bytes: u64,
    bytes: u64,
    entries: u64,
}

impl StoreSize<'_> {
    /// Reads the size of the store that `write` is for; makes the store if it is not there.
    fn read<'a>(connection: &Connection, write: &'a Write) -> rusqlite::Result<StoreSize<'a>> {
        let name = &*write.store.id;
        let mut statement = connection.prepare_cached(
            "INSERT INTO store (name) VALUES (?1) ON CONFLICT (name) DO UPDATE SET name = name
             RETURNING id, bytes, entries",
        )?;
        statement.query_row([name], |row| {
            let (bytes, entries) = (version(row, 1)?.0, version(row, 2)?.0);
            let max_bytes = write.store.max_bytes;
            Ok(StoreSize { id: row.get(0)?, name, max_bytes, before_bytes: bytes, bytes, entries })
        })
    }

    fn note(&mut self, write: &Write, replaced: Option<&Replaced>) {
        if let Some(replaced) = replaced {
            self.bytes = self.bytes.saturating_sub(replaced.bytes);
            self.entries = self.entries.saturating_sub(1);
        }
        if let Some(value) = &write.value {
            self.bytes += entry_bytes(write.key.len() as u64, value.len() as u64);
            self.entries += 1;
        }
    }

    fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement =
            connection.prepare_cached("UPDATE store SET bytes = ?2, entries = ?3 WHERE id = ?1")?;
        let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
        statement.execute(params![self.id, number(self.bytes), number(self.entries)])?;
        Ok(())
    }
}

/// The bound that a transaction exceeds. One that makes nothing larger is always within them, so
/// that a tenant can delete.
fn over_quota(
    connection: &Connection,
    sizes: &[StoreSize<'_>],
    max_bytes: u64,
) -> rusqlite::Result<Option<CommitError>> {
    let grown: Vec<_> = sizes.iter().filter(|size| size.bytes > size.before_bytes).collect();
    if grown.is_empty() {
        return Ok(None);
    }
    if let Some(size) = grown.iter().find(|size| size.bytes > size.max_bytes) {
        return Ok(Some(CommitError::OverQuota {
            subject: format!("the kv store `{}`", size.name).into(),
            bytes: size.bytes,
            limit_bytes: size.max_bytes,
        }));
    }
    let before: u64 = connection
        .prepare_cached("SELECT coalesce(sum(bytes), 0) FROM store")?
        .query_row([], |row| version(row, 0))?
        .0;
    let removed: u64 = sizes.iter().map(|size| size.before_bytes).sum();
    let added: u64 = sizes.iter().map(|size| size.bytes).sum();
    let bytes = before.saturating_sub(removed).saturating_add(added);
    let over = added > removed && bytes > max_bytes;
    Ok(over.then(|| CommitError::OverQuota {
        subject: "the state of the tenant".into(),
        bytes,
        limit_bytes: max_bytes,
    }))
}

/// An entry that a write replaces.
struct Replaced {
    row: i64,
    bytes: u64,
}

fn replaced(connection: &Connection, store: i64, key: &str) -> rusqlite::Result<Option<Replaced>> {
    let mut statement = connection
        .prepare_cached("SELECT id, length(value) FROM kv WHERE store = ?1 AND key = ?2")?;
    statement
        .query_row(params![store, key.as_bytes()], |row| {
            let value_bytes: u32 = row.get(1)?;
            let bytes = entry_bytes(key.len() as u64, value_bytes.into());
            Ok(Replaced { row: row.get(0)?, bytes })
        })
        .optional()
}

fn put(
    connection: &Connection,
    write: &Write,
    store: i64,
    row: Option<i64>,
    number: u64,
) -> rusqlite::Result<()> {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    match (&write.value, row) {
        (Some(value), Some(row)) => {
            connection
                .prepare_cached(
                    "UPDATE kv SET version = ?2, expires = ?3, value = ?4 WHERE id = ?1",
                )?
                .execute(params![row, number, write.expires_ms, value])?;
        }
        (Some(value), None) => {
            connection
                .prepare_cached(
                    "INSERT INTO kv (store, key, version, expires, value) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![store, write.key.as_bytes(), number, write.expires_ms, value])?;
        }
        (None, Some(row)) => {
            connection.prepare_cached("DELETE FROM kv WHERE id = ?1")?.execute([row])?;
        }
        (None, None) => {}
    }
    Ok(())
}

/// Removes some entries that have expired. Returns their number.
fn remove_expired(connection: &Connection, now_ms: i64) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(
        "SELECT id, store, length(key), length(value) FROM kv
         WHERE expires IS NOT NULL AND expires <= ?1 ORDER BY expires LIMIT ?2",
    )?;
    let limit = i64::try_from(EXPIRED).unwrap_or(i64::MAX);
    let expired: Vec<(i64, i64, u32, u32)> = statement
        .query_map(params![now_ms, limit], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let count = expired.len();
    for (row, store, key_bytes, value_bytes) in expired {
        connection.prepare_cached("DELETE FROM kv WHERE id = ?1")?.execute([row])?;
        let bytes =
            i64::try_from(entry_bytes(key_bytes.into(), value_bytes.into())).unwrap_or(i64::MAX);
        connection
            .prepare_cached(
                "UPDATE store SET bytes = max(bytes - ?2, 0), entries = max(entries - 1, 0)
                 WHERE id = ?1",
            )?
            .execute(params![store, bytes])?;
    }
    Ok(count)
}
