//! Group commit: the transactions that wait for one database, in one transaction of the database,
//! with one sync of the disk.
//!
//! ```text
//!   submit ─> queue of the database ─> a job ─> a thread takes a batch
//!                                       ^            │ check and write each
//!                                       │            │ commit: one sync
//!                                       │            v
//!                      more are waiting └── answer each that waited
//! ```
//!
//! While a thread waits for the disk, others arrive, and are the next batch (Gray and Reuter,
//! *Transaction Processing*, 1993, group commit). A thread takes one batch of a database and then
//! the next job, so tenants take turns.
//!
//! The check of a transaction and its writes see the writes of the transactions before it in the
//! batch. A transaction that is refused writes nothing.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::{
    database::{Database, failure},
    snapshot::{list, now_ms, version},
};
use crate::{
    Changes, CommitError, KeyRead, RangeRead, Write,
    kv::{ListDigest, Version, entry_bytes},
};

/// Transactions of one batch. More would have the first wait for long.
const BATCH: usize = 256;

/// Rows that one batch looks at, unless one transaction has more: some ten milliseconds of work.
const BATCH_ROWS: usize = 10_000;

/// Bytes of writes in one batch, unless one transaction has more.
const BATCH_BYTES: usize = 4 << 20;

/// Transactions of a database that wait.
const WAITING: usize = 4096;

/// Bytes of the writes that wait.
const WAITING_BYTES: usize = 64 << 20;

/// Expired entries that each batch removes, besides two for each of its writes: they go faster than
/// entries come.
const EXPIRED: usize = 32;

/// Expired entries that go at once where a store is full.
const EXPIRED_IF_FULL: usize = 1000;

/// The time that an expired entry stays, unless a store is full: a transaction that has read it
/// conflicts when it goes.
const EXPIRED_FOR_MS: i64 = 60_000;

type Answer = Result<Version, CommitError>;

/// A transaction that waits for its commit.
struct Waiting {
    changes: Changes,
    max_bytes: u64,
    answer: oneshot::Sender<Answer>,
}

/// The transactions that wait for one database.
#[derive(Default)]
pub(super) struct CommitQueue(Mutex<QueueState>);

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Whether there is a job for the database.
    is_scheduled: bool,
}

impl QueueState {
    fn pop(&mut self) -> Option<Waiting> {
        let next = self.waiting.pop_front()?;
        self.waiting_bytes -= next.changes.bytes();
        Some(next)
    }

    /// Drops those whose invocations have gone.
    fn drop_abandoned(&mut self) {
        self.waiting.retain(|one| !one.answer.is_closed());
        self.waiting_bytes = self.waiting.iter().map(|one| one.changes.bytes()).sum();
    }
}

impl CommitQueue {
    /// Adds a transaction. Returns its answer, and whether the database needs a job.
    pub(super) fn push(
        &self,
        changes: Changes,
        max_bytes: u64,
    ) -> Result<(oneshot::Receiver<Answer>, bool), CommitError> {
        let mut queue = self.0.lock();
        let bytes = changes.bytes();
        let is_full = |queue: &QueueState| {
            queue.waiting.len() >= WAITING
                || (!queue.waiting.is_empty() && queue.waiting_bytes + bytes > WAITING_BYTES)
        };
        if is_full(&queue) {
            queue.drop_abandoned();
        }
        if is_full(&queue) {
            return Err(CommitError::TooManyWaiting { waiting: queue.waiting.len() });
        }
        let (answer, committed) = oneshot::channel();
        queue.waiting.push_back(Waiting { changes, max_bytes, answer });
        queue.waiting_bytes += bytes;
        Ok((committed, !mem::replace(&mut queue.is_scheduled, true)))
    }

    fn take_batch(&self) -> Vec<Waiting> {
        let mut queue = self.0.lock();
        let (mut batch, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while let Some(next) = queue.waiting.front() {
            if next.answer.is_closed() {
                queue.pop();
                continue;
            }
            rows += next.changes.rows();
            bytes += next.changes.bytes();
            let is_full = batch.len() == BATCH || rows > BATCH_ROWS || bytes > BATCH_BYTES;
            if is_full && !batch.is_empty() {
                break;
            }
            batch.extend(queue.pop());
        }
        batch
    }

    /// Ends a batch. Returns whether the database needs another job.
    pub(super) fn end_batch(&self) -> bool {
        let mut queue = self.0.lock();
        queue.is_scheduled = !queue.waiting.is_empty();
        queue.is_scheduled
    }
}

impl Database {
    /// Commits a batch of the transactions that wait, and answers each.
    pub(super) fn commit_batch(&self) {
        let batch = self.queue.take_batch();
        let (changes, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|one| ((one.changes, one.max_bytes), one.answer)).unzip();
        let begun = Instant::now();
        let results = self.writer.lock().commit(&changes);
        self.count(&results, begun.elapsed());
        for (answer, result) in answers.into_iter().zip(results) {
            // An invocation that has gone does not wait for its answer.
            let _ = answer.send(result);
        }
        self.bound_log();
    }

    fn count(&self, results: &[Answer], took: Duration) {
        let commits = results.iter().filter(|result| result.is_ok()).count() as u64;
        let is_conflict = |result: &&Answer| matches!(result, Err(CommitError::Conflict { .. }));
        self.figures.commits.add(commits);
        self.figures.conflicts.add(results.iter().filter(is_conflict).count() as u64);
        if commits > 0 {
            self.figures.batches.add(1);
            self.figures.batch_us.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
    }
}

/// The connection that writes to one database.
pub(super) struct Writer(pub(super) Connection);

impl Writer {
    /// Commits a batch, and answers each transaction of it.
    fn commit(&mut self, batch: &[(Changes, u64)]) -> Vec<Answer> {
        match self.write(batch) {
            Ok(answers) => answers,
            // A row that cannot be read fails the transactions that need it, and no others.
            Err(_) if batch.len() > 1 => {
                batch.iter().flat_map(|one| self.commit(std::slice::from_ref(one))).collect()
            }
            Err(error) => batch.iter().map(|_| Err(failure(&error).into())).collect(),
        }
    }

    fn write(&mut self, batch: &[(Changes, u64)]) -> rusqlite::Result<Vec<Answer>> {
        let transaction = self.0.transaction()?;
        let clock = "SELECT version FROM clock";
        let mut number = transaction.prepare_cached(clock)?.query_row([], |row| version(row, 0))?.0;
        let mut answers = Vec::with_capacity(batch.len());
        let mut writes = 0;
        for (changes, max_bytes) in batch {
            let written = apply(&transaction, changes, *max_bytes, number + 1)?;
            if written.is_ok() {
                number += 1;
                writes += changes.writes.len();
            }
            answers.push(written.map(|()| Version(number)));
        }
        if answers.iter().all(Result::is_err) {
            return Ok(answers);
        }
        remove_expired(&transaction, now_ms() - EXPIRED_FOR_MS, EXPIRED + 2 * writes)?;
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        transaction.prepare_cached("UPDATE clock SET version = ?1")?.execute([number])?;
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
) -> rusqlite::Result<Result<(), CommitError>> {
    for read in &changes.reads {
        if !is_unchanged(connection, read)? {
            let what = format!("key {:?} of the kv store `{}`", read.key, read.store).into();
            return Ok(Err(CommitError::Conflict { what }));
        }
    }
    for read in &changes.ranges {
        if !is_range_unchanged(connection, read)? {
            let what = format!("keys that it listed of the kv store `{}`", read.store).into();
            return Ok(Err(CommitError::Conflict { what }));
        }
    }
    let mut plan = Plan::of(connection, &changes.writes)?;
    if let Some(mut refused) = over_quota(connection, &plan.sizes, max_bytes)? {
        // Room that expired entries take is free.
        if remove_expired(connection, now_ms(), EXPIRED_IF_FULL)? > 0 {
            plan = Plan::of(connection, &changes.writes)?;
            match over_quota(connection, &plan.sizes, max_bytes)? {
                None => return plan.run(connection, number).map(Ok),
                Some(still) => refused = still,
            }
        }
        return Ok(Err(refused));
    }
    plan.run(connection, number).map(Ok)
}

/// The writes of a transaction, with the rows that they replace.
struct Plan<'a> {
    writes: Vec<(&'a Write, i64, Option<i64>)>,
    sizes: Vec<StoreSize<'a>>,
}

impl<'a> Plan<'a> {
    fn of(connection: &Connection, writes: &'a [Write]) -> rusqlite::Result<Plan<'a>> {
        let mut plan = Plan { writes: Vec::with_capacity(writes.len()), sizes: Vec::new() };
        for write in writes {
            let known = plan.sizes.iter().position(|size| size.name == &*write.store.id);
            let at = match known {
                Some(at) => at,
                None => {
                    plan.sizes.push(StoreSize::read(connection, write)?);
                    plan.sizes.len() - 1
                }
            };
            let size = &mut plan.sizes[at];
            let replaced = replaced(connection, size.id, &write.key)?;
            size.note(write, replaced.as_ref());
            plan.writes.push((write, size.id, replaced.map(|replaced| replaced.row)));
        }
        Ok(plan)
    }

    fn run(self, connection: &Connection, number: u64) -> rusqlite::Result<()> {
        for (write, store, row) in self.writes {
            put(connection, write, store, row, number)?;
        }
        self.sizes.iter().try_for_each(|size| size.save(connection))
    }
}

fn is_unchanged(connection: &Connection, read: &KeyRead) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT version FROM kv
         WHERE store = (SELECT id FROM store WHERE name = ?1) AND key = ?2",
    )?;
    let found = statement
        .query_row(params![&*read.store, read.key.as_bytes()], |row| version(row, 0))
        .optional()?;
    Ok(found.unwrap_or(Version::ABSENT) == read.version)
}

fn is_range_unchanged(connection: &Connection, read: &RangeRead) -> rusqlite::Result<bool> {
    // One row more than was seen is a change.
    let listed = list(connection, &read.store, &read.range, read.rows + 1)?;
    Ok(listed.len() == read.rows && ListDigest::of(&listed) == read.digest)
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

/// Removes up to `limit` entries that expired before a time. Returns their number.
fn remove_expired(
    connection: &Connection,
    before_ms: i64,
    limit: usize,
) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(
        "SELECT id, store, length(key), length(value) FROM kv
         WHERE expires IS NOT NULL AND expires <= ?1 ORDER BY expires LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let expired: Vec<(i64, i64, u32, u32)> = statement
        .query_map(params![before_ms, limit], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (row, store, key_bytes, value_bytes) in &expired {
        connection.prepare_cached("DELETE FROM kv WHERE id = ?1")?.execute([row])?;
        let bytes = entry_bytes((*key_bytes).into(), (*value_bytes).into());
        connection
            .prepare_cached(
                "UPDATE store SET bytes = max(bytes - ?2, 0), entries = max(entries - 1, 0)
                 WHERE id = ?1",
            )?
            .execute(params![store, i64::try_from(bytes).unwrap_or(i64::MAX)])?;
    }
    Ok(expired.len())
}
