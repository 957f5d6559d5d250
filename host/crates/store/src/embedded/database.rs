//! One tenant's open database: connections that read, and the one that writes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    commit::{CommitQueue, Writer},
    directory, schema,
    snapshot::EmbeddedSnapshot,
};
use crate::StoreError;

/// The file of a tenant's database.
const FILE: &str = "state.db";

/// Snapshots of one database at once. Each has a connection, with some 100 KiB of memory.
const MAX_SNAPSHOTS: usize = 128;

/// Connections without a snapshot that a database keeps.
const IDLE_CONNECTIONS: usize = 8;

/// The page cache of a connection, in KiB. The system caches the file.
const CACHE_KIB: i64 = 256;

/// One tenant's database.
pub(super) struct Database {
    file: PathBuf,
    snapshots: AtomicUsize,
    idle: Mutex<Vec<Connection>>,
    pub(super) writer: Mutex<Writer>,
    pub(super) queue: CommitQueue,
}

impl Database {
    pub(super) fn open(folder: &Path) -> Result<Database, StoreError> {
        directory::make(folder).map_err(|error| StoreError::Failed(error.to_string().into()))?;
        let file = folder.join(FILE);
        let is_new = !fs::exists(&file).unwrap_or(true);
        let mut connection = connect(&file)?;
        schema::migrate(&mut connection)?;
        if is_new {
            directory::sync_folder(folder)
                .map_err(|error| StoreError::Failed(error.to_string().into()))?;
        }
        Ok(Database {
            file,
            snapshots: AtomicUsize::new(0),
            idle: Mutex::default(),
            writer: Mutex::new(Writer::new(connection)?),
            queue: CommitQueue::default(),
        })
    }

    /// The state as it is now.
    pub(super) fn snapshot(self: &Arc<Database>) -> Result<EmbeddedSnapshot, StoreError> {
        if self.snapshots.fetch_add(1, Relaxed) >= MAX_SNAPSHOTS {
            self.snapshots.fetch_sub(1, Relaxed);
            return Err(StoreError::TooManySnapshots { limit: MAX_SNAPSHOTS });
        }
        let idle = self.idle.lock().pop();
        let begun = idle.map_or_else(|| connect(&self.file), Ok);
        let begun = begun.and_then(|connection| EmbeddedSnapshot::begin(self.clone(), connection));
        if begun.is_err() {
            self.snapshots.fetch_sub(1, Relaxed);
        }
        begun
    }

    /// Takes the connection of a snapshot back, unless it is not to be used again.
    pub(super) fn end_snapshot(&self, connection: Option<Connection>) {
        self.snapshots.fetch_sub(1, Relaxed);
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_CONNECTIONS {
            idle.extend(connection);
        }
    }
}

/// Opens a connection.
///
/// The VFS `unix-excl` keeps other processes out of the database, and the index of the write-ahead
/// log in this process: an older SQLite that opened the file could lose commits.
fn connect(file: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connected =
        Connection::open_with_flags_and_vfs(file, flags, c"unix-excl").and_then(|connection| {
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
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreError::ReadOnly(text())
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(text()),
        _ => StoreError::Failed(text()),
    }
}
