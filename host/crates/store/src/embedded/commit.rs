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
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    apply::{
        Applying,
        files::{STEP, remove_unused},
        sizes::StoreSizes,
    },
    database::{Database, failure},
    files::ObjectFiles,
};
use crate::{Changes, CommitError, kv::Version};

/// Transactions of one batch. More would have the first wait for long.
const BATCH: usize = 256;

/// Rows that one batch looks at, unless one transaction has more: some ten milliseconds of work.
const BATCH_ROWS: usize = 10_000;

/// Bytes of writes in one batch, unless one transaction has more.
const BATCH_BYTES: usize = 4 << 20;

/// The time between two removals of files, in milliseconds.
const SWEEP_MS: u64 = 1000;

/// Steps of one removal: files go faster than clients make them.
const STEPS: usize = 16;

/// The time that a file stays that no entry has, unless the tenant has no room.
const UNUSED_FOR_MS: i64 = 60_000;

/// Transactions of a database that wait.
const WAITING: usize = 4096;

/// Bytes of the writes that wait.
const WAITING_BYTES: usize = 64 << 20;

pub(super) type Answer = Result<Version, CommitError>;

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
        let results = self.writer.lock().commit(&changes, &self.files, (self.clock)());
        note_files(&changes, &results);
        self.tell_appended(&changes, &results);
        // The files of bodies hold their tenant, which a client that has its answer may close.
        drop(changes);
        self.count(&results, begun.elapsed());
        for (answer, result) in answers.into_iter().zip(results) {
            if let Err(CommitError::Store(error)) = &result {
                self.failures.note(error);
            }
            // An invocation that has gone does not wait for its answer.
            let _ = answer.send(result);
        }
        self.bound_log();
        self.remove_unused_files();
    }

    /// Tells those that wait for appended entries.
    fn tell_appended(&self, changes: &[(Changes, u64)], results: &[Answer]) {
        for ((changes, _), result) in changes.iter().zip(results) {
            let Ok(commit) = result else { continue };
            let mut last = None;
            for append in &changes.appends {
                if last.replace(&append.store.id) != Some(&append.store.id) {
                    self.appended.tell(&append.store.id, *commit);
                }
            }
        }
    }

    /// Removes files that no entry has for a minute: a snapshot that is older may still read them.
    fn remove_unused_files(&self) {
        let now = (self.clock)();
        let mut swept_ms = self.swept_ms.lock();
        if now.abs_diff(*swept_ms) < SWEEP_MS {
            return;
        }
        *swept_ms = now;
        for _ in 0..STEPS {
            let removed = self.writer.lock().remove_unused_files(&self.files, now - UNUSED_FOR_MS);
            match removed {
                Ok(STEP) => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "files of objects that were deleted stay");
                    return;
                }
            }
        }
    }

    /// Removes all files that no entry has, to make room.
    pub(super) fn remove_all_unused_files(&self) {
        let removed = self.writer.lock().remove_unused_files(&self.files, i64::MAX);
        if let Err(error) = removed {
            tracing::warn!(%error, "files of objects that were deleted stay");
        }
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
pub(super) struct Writer {
    pub(super) connection: Connection,
    /// The sizes of the stores, if the last batch left them.
    sizes: Option<StoreSizes>,
}

impl Writer {
    /// The writer of a database that was opened, whose unused files it removes.
    pub(super) fn open(connection: Connection, files: &ObjectFiles) -> rusqlite::Result<Writer> {
        let sizes = StoreSizes::read(&connection)?;
        let mut writer = Writer { connection, sizes: None };
        writer.keep(sizes, files);
        writer.remove_unused_files(files, i64::MAX)?;
        Ok(writer)
    }

    /// Commits a batch, and answers each transaction of it.
    pub(super) fn commit(
        &mut self,
        batch: &[(Changes, u64)],
        files: &ObjectFiles,
        now_ms: i64,
    ) -> Vec<Answer> {
        match self.write(batch, files, now_ms) {
            Ok(answers) => answers,
            // A row that cannot be read fails the transactions that need it, and no others.
            Err(_) if batch.len() > 1 => {
                let one = |one| self.commit(std::slice::from_ref(one), files, now_ms);
                batch.iter().flat_map(one).collect()
            }
            Err(error) => batch.iter().map(|_| Err(failure(&error).into())).collect(),
        }
    }

    /// Removes a step of the files that no entry has since a time. Returns their number.
    pub(super) fn remove_unused_files(
        &mut self,
        files: &ObjectFiles,
        since_ms: i64,
    ) -> rusqlite::Result<usize> {
        let has_some: bool = self
            .connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM file WHERE unused_since <= ?1)")?
            .query_row([since_ms], |row| row.get(0))?;
        if !has_some {
            return Ok(0);
        }
        let transaction = self.connection.transaction()?;
        let removed = remove_unused(&transaction, files, since_ms)?;
        let mut sizes = self.sizes.take().map_or_else(|| StoreSizes::read(&transaction), Ok)?;
        sizes.read_unused(&transaction)?;
        transaction.commit()?;
        self.keep(sizes, files);
        Ok(removed)
    }

    fn write(
        &mut self,
        batch: &[(Changes, u64)],
        files: &ObjectFiles,
        now_ms: i64,
    ) -> rusqlite::Result<Vec<Answer>> {
        let transaction = self.connection.transaction()?;
        let mut applying = Applying::begin(&transaction, files, now_ms, self.sizes.take())?;
        let mut answers = Vec::with_capacity(batch.len());
        for (changes, max_bytes) in batch {
            answers.push(applying.apply(changes, *max_bytes)?);
        }
        if answers.iter().all(Result::is_err) {
            return Ok(answers);
        }
        let sizes = applying.end()?;
        transaction.commit()?;
        self.keep(sizes, files);
        Ok(answers)
    }

    /// Keeps the sizes of a commit for the next one.
    fn keep(&mut self, sizes: StoreSizes, files: &ObjectFiles) {
        files.set_committed_bytes(sizes.bytes());
        self.sizes = Some(sizes);
    }
}

/// Moves the files of objects that were committed to their place.
fn note_files(changes: &[(Changes, u64)], answers: &[Answer]) {
    let committed = changes.iter().zip(answers).filter(|(_, answer)| answer.is_ok());
    let writes = committed.flat_map(|((changes, _), _)| &changes.writes);
    writes.flat_map(|write| &write.body.staged).for_each(|file| file.committed());
}
