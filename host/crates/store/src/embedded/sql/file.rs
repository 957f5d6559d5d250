//! The open database files: each is kept open while it is in use, and for some time after it.
//!
//! ```text
//!   OpenFiles ── Database ── keeper: a connection of the host's, so that the log stays
//!                    │
//!                    ├── turn of writing, in the order of arrival
//!                    └── connections of guests
//! ```

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use lacewing_base::{Access, heap};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

use super::{
    super::{
        database::{failure, system},
        directory,
    },
    memory,
};
use crate::StoreError;

/// The folder of a tenant's SQL databases, beside the database of its other state.
pub(in super::super) const FOLDER: &str = "sql";

/// The ending of a database's file.
const ENDING: &str = "db";

/// The size of the write-ahead log above which it is begun anew before the next write.
const LOG_BYTES: u64 = 64 << 20;

/// The size of the log above which a statement that writes is refused: transactions that read hold
/// it up.
const MAX_LOG_BYTES: u64 = 256 << 20;

/// The longest wait of an opening for the last close of the same file.
const WAIT: Duration = Duration::from_secs(5);

/// The page cache of a guest's connection, in KiB. The system caches the file.
const CACHE_KIB: i64 = 512;

/// The file of a database that is called `APP/NAME`.
pub(super) fn path(folder: &Path, id: &str) -> PathBuf {
    folder.join(FOLDER).join(id).with_extension(ENDING)
}

/// A database file that is open.
pub(super) struct Database {
    file: PathBuf,
    pub(super) page_bytes: u64,
    /// Bytes of the file, with what was written and not committed.
    pub(super) bytes: AtomicU64,
    keeper: Mutex<Connection>,
    /// Held by the one connection that may write.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}

impl Database {
    fn open(file: &Path) -> Result<Database, StoreError> {
        let folder = file.parent().unwrap_or(Path::new("."));
        directory::make(folder).map_err(|error| system(&error))?;
        let opened = (|| {
            let keeper = connect(file, Access::ReadWrite, WAIT)?;
            keeper.pragma_update(None, "journal_mode", "WAL")?;
            let number = |pragma: &str| -> rusqlite::Result<u64> {
                keeper.query_row(pragma, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
            };
            let page_bytes = number("PRAGMA page_size")?;
            let bytes = number("PRAGMA page_count")?.saturating_mul(page_bytes);
            Ok(Database {
                file: file.to_owned(),
                page_bytes,
                bytes: bytes.into(),
                keeper: Mutex::new(keeper),
                turn: Arc::default(),
            })
        })();
        let database = opened.map_err(|error: rusqlite::Error| failure(&error))?;
        directory::sync_folder(folder).map_err(|error| system(&error))?;
        Ok(database)
    }

    /// A connection for a guest. It waits for no lock: the guest waits for its turn.
    pub(super) fn connect(&self, access: Access) -> Result<Connection, StoreError> {
        connect(&self.file, access, Duration::ZERO).map_err(|error| failure(&error))
    }

    /// Begins the log anew if it is large. Returns whether it may grow.
    pub(super) fn bound_log(&self) -> bool {
        let log_bytes = || {
            let log = self.file.with_extension("db-wal");
            fs::metadata(log).map_or(0, |log| log.len())
        };
        if log_bytes() <= LOG_BYTES {
            return true;
        }
        // The memory is the host's, and so is the time: it is the price of a smaller log.
        let truncated = memory::unbounded(|| {
            let keeper = self.keeper.lock();
            keeper.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        });
        if let Err(error) = truncated {
            tracing::warn!(%error, "the log of a SQL database cannot be made shorter");
        }
        log_bytes() <= MAX_LOG_BYTES
    }
}

/// Opens a connection: durable, and without a file for temporary data.
///
/// The VFS `unix-excl` keeps other processes out, as it does for the state beside it.
fn connect(file: &Path, access: Access, wait: Duration) -> rusqlite::Result<Connection> {
    let mode = match access {
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Access::ReadWrite => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    };
    let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags_and_vfs(file, flags, c"unix-excl")?;
    connection.busy_timeout(wait)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// A connection that reads a file which no guest uses, for a check or a copy.
pub(super) fn connect_to_read(file: &Path) -> Result<Connection, StoreError> {
    let connected = (|| {
        let connection = connect(file, Access::ReadWrite, WAIT)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    })();
    connected.map_err(|error: rusqlite::Error| failure(&error))
}

/// The databases of a tenant that are on the disk: each with its id and its file, by id.
pub(super) fn files(folder: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let apps = match fs::read_dir(folder.join(FOLDER)) {
        Ok(apps) => apps,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for app in apps {
        let app = app?;
        for file in fs::read_dir(app.path())? {
            let file = file?.path();
            let is_database = file.extension().is_some_and(|ending| ending == ENDING);
            if let (true, Some(name)) = (is_database, file.file_stem()) {
                let id =
                    format!("{}/{}", app.file_name().to_string_lossy(), name.to_string_lossy());
                found.push((id, file));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The files of all tenants that are open, at most so many; more only while all are in use.
pub(in super::super) struct OpenFiles {
    bound: usize,
    uses: AtomicU64,
    open: Mutex<HashMap<PathBuf, OpenFile>>,
}

struct OpenFile {
    database: Arc<Database>,
    last_use: u64,
}

impl OpenFiles {
    pub(in super::super) fn new(bound: usize) -> OpenFiles {
        OpenFiles { bound: bound.max(1), uses: AtomicU64::new(0), open: Mutex::default() }
    }

    pub(in super::super) fn count(&self) -> usize {
        self.open.lock().len()
    }

    fn opened(&self, file: &Path) -> Option<Arc<Database>> {
        let mut open = self.open.lock();
        let found = open.get_mut(file)?;
        found.last_use = self.uses.fetch_add(1, Relaxed);
        Some(found.database.clone())
    }

    /// The database of a file, which is opened if it is not. Waits for the disk. `opening` is held
    /// meanwhile: it is the tenant's.
    pub(super) fn get(
        &self,
        file: &Path,
        opening: &Mutex<()>,
    ) -> Result<Arc<Database>, StoreError> {
        if let Some(database) = self.opened(file) {
            return Ok(database);
        }
        let _one = opening.lock();
        if let Some(database) = self.opened(file) {
            return Ok(database);
        }
        // The keeper outlives the invocation that needed the file first.
        let _host = heap::enter_host();
        let database = Arc::new(Database::open(file)?);
        let mut open = self.open.lock();
        let last_use = self.uses.fetch_add(1, Relaxed);
        open.insert(file.to_owned(), OpenFile { database: database.clone(), last_use });
        let closed = self.take_unused(&mut open);
        drop(open);
        // Outside of the lock: a close waits for the disk.
        drop(closed);
        Ok(database)
    }

    /// Takes out the files over the bound that nothing uses, from the one used longest ago.
    fn take_unused(&self, open: &mut HashMap<PathBuf, OpenFile>) -> Vec<OpenFile> {
        let mut taken = Vec::new();
        while open.len() > self.bound {
            let unused = open.iter().filter(|(_, one)| Arc::strong_count(&one.database) == 1);
            let oldest = unused.min_by_key(|(_, one)| one.last_use);
            let Some(file) = oldest.map(|(file, _)| file.clone()) else { break };
            taken.extend(open.remove(&file));
        }
        taken
    }
}
