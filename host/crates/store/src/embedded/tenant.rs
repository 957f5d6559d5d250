//! The state of one tenant, whose database is open while it is in use and for some time after it.

use std::{
    any::Any,
    cmp::Reverse,
    hash::{BuildHasher, Hasher, RandomState},
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::{
    SharedStore,
    appended::AppendSignals,
    database::Database,
    failures::FailureLog,
    files::{EmbeddedReader, EmbeddedWriter, Pinned},
    sql::SqlTenant,
    threads::{Job, StoreThreads},
};
use crate::{
    Changes, Commit, Opening, Snapshot, StoreError, TenantState,
    kv::Version,
    object::{FileId, FileReader, FileWriter, OpenFile},
};

/// The state of one tenant.
pub(super) struct EmbeddedTenant {
    this: Weak<EmbeddedTenant>,
    pub(super) shared: Arc<SharedStore>,
    pub(super) sql: Arc<SqlTenant>,
    /// Of openings.
    failures: FailureLog,
    max_bytes: AtomicU64,
    last_use: AtomicU64,
    appended: Arc<AppendSignals>,
    /// Held for a moment only.
    database: Mutex<Option<Arc<Database>>>,
    /// Held while the database is opened or closed.
    opening: Mutex<()>,
    /// A database that nothing uses. It is closed before the next opening: SQLite refuses some
    /// locks to a connection while another one of the same file is being closed.
    retired: Mutex<Option<Arc<Database>>>,
}

impl EmbeddedTenant {
    pub(super) fn new(
        shared: Arc<SharedStore>,
        folder: PathBuf,
        max_bytes: u64,
    ) -> Arc<EmbeddedTenant> {
        let sql = SqlTenant::new(&folder, max_bytes, shared.sql.share());
        Arc::new_cyclic(|this| EmbeddedTenant {
            this: this.clone(),
            shared,
            failures: FailureLog::new(folder),
            sql,
            max_bytes: max_bytes.into(),
            last_use: AtomicU64::new(0),
            appended: Arc::default(),
            database: Mutex::default(),
            opening: Mutex::default(),
            retired: Mutex::default(),
        })
    }

    /// The database, if it is open.
    fn opened(&self) -> Option<Arc<Database>> {
        self.last_use.store(self.shared.open.tick(), Relaxed);
        self.database.lock().clone()
    }

    /// Opens the database, if it is not open. Waits for the disk.
    pub(super) fn open_now(&self) -> Result<(), StoreError> {
        self.database().map(drop)
    }

    pub(super) fn database(&self) -> Result<Arc<Database>, StoreError> {
        if let Some(database) = self.opened() {
            return Ok(database);
        }
        let _one = self.opening.lock();
        if let Some(database) = self.opened() {
            return Ok(database);
        }
        self.close_retired();
        let (appended, around) = (self.appended.clone(), self.shared.surroundings());
        let opened = Database::open(self.failures.folder(), appended, around);
        let database = Arc::new(opened.inspect_err(|error| self.failures.note(error))?);
        *self.database.lock() = Some(database.clone());
        self.shared.open.add(self.this.clone(), &self.shared.threads);
        Ok(database)
    }

    /// Retires the database, if nothing uses it. Returns whether it did.
    fn retire_unused(&self) -> bool {
        let mut database = self.database.lock();
        let unused = database.take_if(|database| Arc::strong_count(database) == 1);
        let is_retired = unused.is_some();
        if is_retired {
            *self.retired.lock() = unused;
        }
        is_retired
    }

    /// Closes the retired database, if the next opening has not done so. Waits for the disk.
    pub(super) fn close_now(&self) {
        let _one = self.opening.lock();
        self.close_retired();
    }

    fn close_retired(&self) {
        let retired = self.retired.lock().take();
        drop(retired);
    }
}

impl TenantState for EmbeddedTenant {
    fn set_max_bytes(&self, max_bytes: u64) {
        self.max_bytes.store(max_bytes, Relaxed);
        self.sql.set_max_bytes(max_bytes);
    }

    fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Relaxed)
    }

    fn open(&self) -> Option<Opening> {
        if self.opened().is_some() {
            return None;
        }
        let (told, opened) = oneshot::channel();
        let this = self.this.upgrade()?;
        self.shared.threads.push(Job::Open(this, told));
        Some(Box::pin(async { opened.await.unwrap_or_else(|_| Err(given_up())) }))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(self.database()?.snapshot()?))
    }

    fn commit(&self, changes: Changes) -> Commit {
        let database = match self.database() {
            Ok(database) => database,
            Err(error) => return Box::pin(async { Err(error.into()) }),
        };
        let (committed, needs_job) =
            match database.queue.push(changes, self.max_bytes.load(Relaxed)) {
                Ok(pushed) => pushed,
                Err(error) => return Box::pin(async { Err(error) }),
            };
        if needs_job {
            self.shared.threads.push(Job::Commit(database));
        }
        // The answer is missing only where the thread that commits panicked.
        Box::pin(async { committed.await.unwrap_or_else(|_| Err(given_up().into())) })
    }

    fn create_file(&self) -> Result<Box<dyn FileWriter>, StoreError> {
        let this = self.this.upgrade().ok_or_else(given_up)?;
        let (database, max_bytes) = (self.database()?, self.max_bytes.load(Relaxed));
        Ok(Box::new(EmbeddedWriter::new(this, database, new_file_id(), max_bytes)))
    }

    fn open_file(&self, id: FileId, offset: u64) -> OpenFile {
        let database = self.database();
        Box::pin(async move {
            let reader: Box<dyn FileReader> =
                Box::new(EmbeddedReader::open(database?, id, offset).await?);
            Ok(reader)
        })
    }

    fn pin_files(&self, ids: &[FileId]) -> Result<Box<dyn Any + Send + Sync>, StoreError> {
        Ok(Box::new(Pinned::new(self.database()?.files.clone(), ids)))
    }

    fn appended(&self, store: &Arc<str>) -> watch::Receiver<Version> {
        self.appended.receiver(store)
    }
}

/// A number that no file has: 63 bits of a hash whose key is random.
fn new_file_id() -> FileId {
    let random = RandomState::new().build_hasher().finish();
    FileId(random >> 1)
}

fn given_up() -> StoreError {
    StoreError::Failed("the work of the store was given up".into())
}

/// The tenants whose databases are open, at most so many; more only while all are in use.
pub(super) struct OpenTenants {
    bound: usize,
    uses: AtomicU64,
    tenants: Mutex<Vec<Weak<EmbeddedTenant>>>,
}

impl OpenTenants {
    pub(super) fn new(bound: usize) -> OpenTenants {
        OpenTenants { bound: bound.max(1), uses: AtomicU64::new(0), tenants: Mutex::default() }
    }

    pub(super) fn count(&self) -> usize {
        self.tenants.lock().iter().filter(|tenant| tenant.strong_count() > 0).count()
    }

    /// The number of one more use.
    fn tick(&self) -> u64 {
        self.uses.fetch_add(1, Relaxed)
    }

    /// Notes that a tenant's database is open, and has those closed that were used longest ago.
    fn add(&self, tenant: Weak<EmbeddedTenant>, threads: &StoreThreads) {
        let mut tenants = self.tenants.lock();
        tenants.push(tenant);
        if tenants.len() <= self.bound {
            return;
        }
        let mut known: Vec<_> = tenants.drain(..).filter_map(|tenant| tenant.upgrade()).collect();
        known.sort_by_cached_key(|tenant| Reverse(tenant.last_use.load(Relaxed)));
        while known.len() > self.bound {
            // From the one used longest ago, which is the last.
            let unused = known.iter().enumerate().skip(1).rev();
            let mut unused = unused.filter(|(_, tenant)| tenant.retire_unused());
            let Some((at, _)) = unused.next() else { break };
            threads.push(Job::Close(Arc::downgrade(&known.remove(at))));
        }
        tenants.extend(known.iter().map(Arc::downgrade));
    }
}
