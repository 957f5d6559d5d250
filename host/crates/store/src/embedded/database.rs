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

use super::{
    commit::{CommitQueue, Writer},
    directory::{self, Directory},
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

/// Statements that a connection keeps prepared: more than this crate has.
const STATEMENTS: usize = 32;

/// The page cache of a connection, in KiB. The system caches the file.
const CACHE_KIB: i64 = 256;

/// One tenant's database.
pub(super) struct Database {
    file: PathBuf,
    _directory: Arc<Directory>,
    pub(super) figures: Arc<StoreFigures>,
    count: AtomicUsize,
    snapshots: Mutex<Vec<Weak<Held>>>,
    idle: Mutex<Vec<Connection>>,
    pub(super) writer: Mutex<Writer>,
    pub(super) queue: CommitQueue,
    pub(super) files: Arc<ObjectFiles>,
    /// When files that no entry has were removed last.
    pub(super) swept_ms: Mutex<i64>,
}

/// The parts of a store that its databases share.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) figures: Arc<StoreFigures>,
    /// The threads that read and write files.
    pub(super) file_threads: Arc<StoreThreads>,
    /// Locked as long as a database is open.
    pub(super) directory: Arc<Directory>,
}

impl Database {
    pub(super) fn open(folder: &Path, around: Surroundings) -> Result<Database, StoreError> {
        directory::make(folder).map_err(|error| system(&error))?;
        let file = folder.join(FILE);
        let mut connection = connect(&file, WAIT)?;
        schema::migrate(&mut connection)?;
        // Only an opening waits. A checkpoint that a copy of the database holds up is tried again
        // after the next batch, which does not wait for the copy.
        connection.busy_timeout(Duration::ZERO).map_err(|error| failure(&error))?;
        directory::sync_folder(folder).map_err(|error| system(&error))?;
        let files = ObjectFiles::open(folder, &connection, around.file_threads)?;
        let mut writer = Writer(connection);
        writer.remove_unused_files(&files, i64::MAX).map_err(|error| failure(&error))?;
        let bytes = bytes_of(&writer.0).map_err(|error| failure(&error))?;
        files.set_committed_bytes(bytes);
        Ok(Database {
            file,
            files: Arc::new(files),
            _directory: around.directory,
            figures: around.figures,
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
            Err(_) => {
                self.count.fetch_sub(1, Relaxed);
            }
        }
        begun
    }

    /// Lets a log that is too large begin anew: ends the old snapshots that need it.
    pub(super) fn bound_log(&self) {
        let log = self.file.with_extension("db-wal");
        if fs::metadata(log).is_ok_and(|log| log.len() > LOG_BYTES) {
            let held: Vec<_> = self.snapshots.lock().iter().filter_map(Weak::upgrade).collect();
            held.iter().for_each(|held| held.end_if_older(OLD));
            let writer = self.writer.lock();
            // One that is busy is tried again after the next batch.
            let truncated = writer.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            if let Err(error) = truncated {
                tracing::warn!(%error, "the log of a tenant's state cannot be made shorter");
            }
        }
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

/// The bytes that a tenant is charged with.
pub(super) fn bytes_of(connection: &Connection) -> rusqlite::Result<u64> {
    let sum = "SELECT coalesce((SELECT sum(bytes) FROM store), 0)
             + coalesce((SELECT sum(bytes) FROM file WHERE unused_since IS NOT NULL), 0)";
    connection.query_row(sum, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

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
    connected.map_err(|error| failure(&error))
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
