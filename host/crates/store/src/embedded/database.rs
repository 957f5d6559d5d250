//! One tenant's open database: connections that read, and the one that writes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use lacewing_base::heap;
use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::Access;

use super::{
    appended::AppendSignals,
    commit::{CommitQueue, Writer},
    directory::{self, Directory},
    failures::FailureLog,
    files::ObjectFiles,
    schema,
    snapshot::{EmbeddedSnapshot, Held},
    threads::StoreThreads,
};
use crate::{StoreError, StoreFigures};

/// The file of a tenant's database.
pub(super) const FILE: &str = "state.db";

/// Snapshots of one database at once. Each has a connection, with some 100 KiB of memory.
const MAX_SNAPSHOTS: usize = 128;

/// Connections without a snapshot that a database keeps.
const IDLE_CONNECTIONS: usize = 4;

/// The size of the write-ahead log above which old snapshots end. A log can begin anew only when no
/// snapshot needs it.
const LOG_BYTES: u64 = 64 << 20;

/// The age of a snapshot that ends when the log is too large.
const OLD: Duration = Duration::from_secs(5);

/// The size of the log above which every snapshot ends: young ones that overlap each other would
/// let the log grow without end.
const MOST_LOG_BYTES: u64 = 4 * LOG_BYTES;

/// Statements that a connection keeps prepared: more than this crate has.
const STATEMENTS: usize = 32;

/// The page cache of a connection, in KiB. The system caches the file.
const CACHE_KIB: i64 = 256;

/// One tenant's database.
pub(super) struct Database {
    file: PathBuf,
    _directory: Arc<Directory>,
    pub(super) failures: FailureLog,
    pub(super) figures: Arc<StoreFigures>,
    pub(super) clock: fn() -> i64,
    count: AtomicUsize,
    snapshots: Mutex<Vec<Weak<Held>>>,
    idle: Mutex<Vec<Connection>>,
    pub(super) writer: Mutex<Writer>,
    pub(super) queue: CommitQueue,
    pub(super) files: Arc<ObjectFiles>,
    pub(super) appended: Arc<AppendSignals>,
    /// When files that no entry has were removed last.
    pub(super) swept_ms: Mutex<i64>,
}

/// The parts of a store that its databases share.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) figures: Arc<StoreFigures>,
    pub(super) clock: fn() -> i64,
    /// The threads that read and write files.
    pub(super) file_threads: Arc<StoreThreads>,
    /// Locked as long as a database is open.
    pub(super) directory: Arc<Directory>,
}

impl Database {
    pub(super) fn open(
        folder: &Path,
        appended: Arc<AppendSignals>,
        around: Surroundings,
    ) -> Result<Database, StoreError> {
        if folder.is_symlink() {
            // It may lead to the state of another tenant.
            return Err(StoreError::Failed("the folder is a symbolic link".into()));
        }
        directory::make(folder).map_err(|error| system(&error))?;
        let file = folder.join(FILE);
        let mut connection = connect(&file, WAIT)?;
        schema::migrate(&mut connection)?;
        // Only an opening waits. A checkpoint that a reader or a copy holds up is tried again after
        // the next batch: the thread goes on with the work of other tenants.
        connection.busy_timeout(Duration::ZERO).map_err(|error| failure(&error))?;
        directory::sync_folder(folder).map_err(|error| system(&error))?;
        let files = ObjectFiles::open(folder, &connection, around.file_threads)?;
        let writer = Writer::open(connection, &files).map_err(|error| failure(&error))?;
        Ok(Database {
            file,
            files: Arc::new(files),
            appended,
            _directory: around.directory,
            failures: FailureLog::new(folder.to_owned()),
            figures: around.figures,
            clock: around.clock,
            count: AtomicUsize::new(0),
            snapshots: Mutex::default(),
            idle: Mutex::default(),
            writer: Mutex::new(writer),
            queue: CommitQueue::default(),
            swept_ms: Mutex::default(),
        })
    }

    /// A connection for one long read, which no snapshot and no commit uses.
    pub(super) fn connection(&self) -> Result<Connection, StoreError> {
        connect(&self.file, WAIT)
    }

    /// The state as it is now.
    pub(super) fn snapshot(self: &Arc<Database>) -> Result<EmbeddedSnapshot, StoreError> {
        if self.count.fetch_add(1, Relaxed) >= MAX_SNAPSHOTS {
            self.count.fetch_sub(1, Relaxed);
            return Err(StoreError::TooManySnapshots { limit: MAX_SNAPSHOTS });
        }
        // A connection outlives the invocation that needed it first.
        let _host = heap::enter_host();
        let idle = self.idle.lock().pop();
        let begun = idle.map_or_else(|| connect(&self.file, Duration::ZERO), Ok);
        let begun = begun.and_then(|connection| EmbeddedSnapshot::begin(self.clone(), connection));
        match &begun {
            Ok(snapshot) => {
                let mut snapshots = self.snapshots.lock();
                snapshots.retain(|held| held.strong_count() > 0);
                snapshots.push(Arc::downgrade(snapshot.held()));
            }
            Err(error) => {
                self.count.fetch_sub(1, Relaxed);
                self.failures.note(error);
            }
        }
        begun
    }

    /// Lets a log that is too large begin anew: ends the old snapshots that need it. It waits for
    /// none; where a read is under way, the log is looked at again after the next batch.
    pub(super) fn bound_log(&self) {
        let log = fs::metadata(self.file.with_extension("db-wal"));
        let bytes = log.map_or(0, |log| log.len());
        if bytes <= LOG_BYTES {
            return;
        }
        let age = if bytes <= MOST_LOG_BYTES { OLD } else { Duration::ZERO };
        let writer = self.writer.lock();
        // A snapshot that began before all of the log was copied needs the log. One that began
        // after that does not, so the second round meets few.
        for checkpoint in ["PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(TRUNCATE)"] {
            self.end_snapshots(age);
            if let Err(error) = writer.connection.query_row(checkpoint, [], |_| Ok(())) {
                self.failures.note(&failure(&error));
            }
        }
    }

    fn end_snapshots(&self, age: Duration) {
        let held: Vec<_> = self.snapshots.lock().iter().filter_map(Weak::upgrade).collect();
        held.iter().for_each(|held| held.end_if_older(age));
    }

    /// An error that a read has met, which the operator is told of.
    pub(super) fn failed(&self, error: &rusqlite::Error) -> StoreError {
        let error = failure(error);
        self.failures.note(&error);
        error
    }

    /// Takes the connection of a snapshot back, unless it is not to be used again.
    pub(super) fn end_snapshot(&self, connection: Option<Connection>) {
        self.count.fetch_sub(1, Relaxed);
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_CONNECTIONS {
            idle.extend(connection);
        }
    }
}

/// The longest wait of an opening for another process, or for the last close of the database.
const WAIT: Duration = Duration::from_secs(5);

/// An error of the system, in the words of the store.
pub(super) fn system(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::InvalidData => StoreError::Damaged(error.to_string().into()),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull,
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            StoreError::ReadOnly(error.to_string().into())
        }
        _ => StoreError::Failed(error.to_string().into()),
    }
}

/// Why a file and its folder cannot be written to.
fn not_writable(file: &Path) -> Option<StoreError> {
    let refused = |path| rustix::fs::access(path, Access::WRITE_OK).err();
    let reason = file.parent().and_then(refused).or_else(|| refused(file))?;
    Some(system(&reason.into()))
}

/// Opens a connection. It waits for others that lock the database at most for `wait`.
///
/// The VFS `unix-excl` keeps other processes out of the database, and the index of the write-ahead
/// log in this process: an older SQLite that opened the file could lose commits.
fn connect(file: &Path, wait: Duration) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connected =
        Connection::open_with_flags_and_vfs(file, flags, c"unix-excl").and_then(|connection| {
            connection.set_prepared_statement_cache_capacity(STATEMENTS);
            connection.busy_timeout(wait)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            connection.pragma_update(None, "temp_store", "MEMORY")?;
            Ok(connection)
        });
    connected.map_err(|error| match error.sqlite_error_code() {
        // SQLite does not say why.
        Some(ErrorCode::CannotOpen) => not_writable(file).unwrap_or_else(|| failure(&error)),
        _ => failure(&error),
    })
}

/// The error of a database, in the words of the store.
pub(super) fn failure(error: &rusqlite::Error) -> StoreError {
    let text = || error.to_string().into();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::DiskFull,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::ReadOnly(text()),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(text()),
        _ => StoreError::Failed(text()),
    }
}
