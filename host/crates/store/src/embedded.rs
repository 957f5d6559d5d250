//! The embedded store: a directory with one SQLite database for each tenant.
//!
//! ```text
//!   DIR/lacewing.state     the form of the directory; locked by the host that uses it
//!   DIR/TENANT/state.db    all state of a tenant, with its write-ahead log beside it
//!   DIR/TENANT/objects     the bodies of its larger objects
//!   DIR/TENANT/secrets     sealed secrets; DIR/secrets.key opens them
//!   DIR/TENANT/sql/        the SQL databases of its functions
//! ```
//!
//! A database is open while it is in use, and for some time after it. One thread writes to it at a
//! time, and commits all transactions that wait with one sync of the disk.

mod appended;
mod apply;
mod commit;
mod database;
mod directory;
mod failures;
mod files;
mod maintain;
mod schema;
pub mod secrets;
mod snapshot;
mod sql;
mod stopper;
mod tenant;
#[cfg(test)]
mod tests;
mod threads;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Weak},
};

use lacewing_base::name::TenantName;
use parking_lot::Mutex;

use self::{
    database::Surroundings,
    directory::Directory,
    sql::SharedSql,
    tenant::{EmbeddedTenant, OpenTenants},
    threads::StoreThreads,
};
pub use self::{
    directory::DirectoryError,
    maintain::{BackupError, Inspection},
    stopper::Stopper,
};
use super::{StateStore, StoreFigures, TenantState, sql::TenantSql};

/// The bounds of an embedded store.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedOptions {
    /// Databases that are open at once, if not more are in use. Each has a few file descriptors.
    pub open_databases: usize,
    /// Threads that open, commit and close, and as many that read and write the files of objects. A
    /// thread works for one tenant at a time.
    pub threads: usize,
    /// The time of day, in milliseconds since 1970.
    pub clock: fn() -> i64,
    /// Threads that execute SQL of guests. A tenant has half of them at most.
    pub sql_threads: usize,
}

impl Default for EmbeddedOptions {
    fn default() -> EmbeddedOptions {
        let (open_databases, threads, sql_threads) = (64, 4, 4);
        EmbeddedOptions { open_databases, threads, clock: snapshot::now_ms, sql_threads }
    }
}

/// Has SQLite allocate from a heap with a bound for each SQL connection of a guest.
///
/// An opening of a store does so. A program that uses SQLite before that calls this first: SQLite
/// never changes its allocator once it was in use, and every SQL connection of a guest then fails.
/// Returns whether SQLite allocates there.
pub fn install_heap() -> bool {
    sql::memory::install()
}

/// The state of all tenants in a directory.
pub struct EmbeddedStore {
    tenants: Mutex<HashMap<TenantName, Weak<EmbeddedTenant>>>,
    shared: Arc<SharedStore>,
}

/// The parts of the store that its tenants use.
struct SharedStore {
    figures: Arc<StoreFigures>,
    clock: fn() -> i64,
    open: OpenTenants,
    /// Ends when the work that was accepted is done.
    threads: StoreThreads,
    /// The same for work on files, which is slower: a commit does not wait for it.
    file_threads: Arc<StoreThreads>,
    sql: SharedSql,
    /// Unlocked last.
    directory: Arc<Directory>,
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStore").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens a directory, which is made if it is not there.
    ///
    /// # Errors
    /// Another process has it open, it is no directory of state, or it cannot be written.
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<EmbeddedStore, DirectoryError> {
        let directory = Directory::open(path)?;
        // Without it no guest gets a SQL connection.
        install_heap();
        let directory = Arc::new(directory);
        let start = || {
            StoreThreads::start(options.threads)
                .map_err(|error| DirectoryError::System { path: path.to_owned(), error })
        };
        let (threads, file_threads) = (start()?, Arc::new(start()?));
        let open = OpenTenants::new(options.open_databases);
        let figures = Arc::default();
        let (clock, sql) =
            (options.clock, SharedSql::new(options.open_databases, options.sql_threads));
        let shared = SharedStore { figures, clock, open, threads, file_threads, sql, directory };
        let shared = Arc::new(shared);
        Ok(EmbeddedStore { tenants: Mutex::default(), shared })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.shared.directory.path()
    }

    /// The counts of what it has done.
    pub fn figures(&self) -> &Arc<StoreFigures> {
        &self.shared.figures
    }

    /// Databases that are open.
    pub fn open_databases(&self) -> usize {
        self.shared.open.count()
    }

    /// SQL databases that are open.
    pub fn open_sql_databases(&self) -> usize {
        self.shared.sql.files.count()
    }

    /// The SQL databases of a tenant, with the bound that [`StateStore::tenant`] takes.
    pub fn sql(&self, name: &TenantName, max_bytes: u64) -> Arc<dyn TenantSql> {
        self.embedded_tenant(name, max_bytes)
    }
}

impl SharedStore {
    fn surroundings(&self) -> Surroundings {
        Surroundings {
            figures: self.figures.clone(),
            clock: self.clock,
            file_threads: self.file_threads.clone(),
            directory: self.directory.clone(),
        }
    }
}

impl EmbeddedStore {
    fn embedded_tenant(&self, name: &TenantName, max_bytes: u64) -> Arc<EmbeddedTenant> {
        let mut tenants = self.tenants.lock();
        if let Some(tenant) = tenants.get(name).and_then(Weak::upgrade) {
            return tenant;
        }
        // Only before the map grows: a sweep for each new tenant takes quadratic time.
        if tenants.len() == tenants.capacity() {
            tenants.retain(|_, tenant| tenant.strong_count() > 0);
        }
        let folder = self.path().join(name.as_str());
        let tenant = EmbeddedTenant::new(self.shared.clone(), folder, max_bytes);
        tenants.insert(name.clone(), Arc::downgrade(&tenant));
        tenant
    }
}

impl StateStore for EmbeddedStore {
    fn tenant(&self, name: &TenantName, max_bytes: u64) -> Arc<dyn TenantState> {
        self.embedded_tenant(name, max_bytes)
    }
}
