//! The state of one tenant, whose database is open while it is in use and for some time after it.

use std::{
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use super::{SharedStore, database::Database};
use crate::{Changes, Commit, CommitError, Snapshot, StoreError, TenantState};

/// The state of one tenant.
pub(super) struct EmbeddedTenant {
    this: Weak<EmbeddedTenant>,
    shared: Arc<SharedStore>,
    folder: PathBuf,
    max_bytes: AtomicU64,
    last_use: AtomicU64,
    database: Mutex<Option<Arc<Database>>>,
}

impl EmbeddedTenant {
    pub(super) fn new(
        shared: Arc<SharedStore>,
        folder: PathBuf,
        max_bytes: u64,
    ) -> Arc<EmbeddedTenant> {
        Arc::new_cyclic(|this| EmbeddedTenant {
            this: this.clone(),
            shared,
            folder,
            max_bytes: max_bytes.into(),
            last_use: AtomicU64::new(0),
            database: Mutex::default(),
        })
    }

    pub(super) fn set_max_bytes(&self, max_bytes: u64) {
        self.max_bytes.store(max_bytes, Relaxed);
    }

    fn database(&self) -> Result<Arc<Database>, StoreError> {
        self.last_use.store(self.shared.open.tick(), Relaxed);
        let mut open = self.database.lock();
        if let Some(database) = &*open {
            return Ok(database.clone());
        }
        let database = Arc::new(Database::open(&self.folder)?);
        *open = Some(database.clone());
        drop(open);
        self.shared.open.add(self.this.clone());
        Ok(database)
    }

    /// The database, if nothing uses it: the caller closes it by dropping it.
    fn take_unused(&self) -> Option<Arc<Database>> {
        let mut open = self.database.try_lock()?;
        open.take_if(|database| Arc::strong_count(database) == 1)
    }
}

impl TenantState for EmbeddedTenant {
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(self.database()?.snapshot()?))
    }

    fn commit(&self, changes: Changes) -> Commit {
        let database = match self.database() {
            Ok(database) => database,
            Err(error) => return Box::pin(async { Err(error.into()) }),
        };
        let max_bytes = self.max_bytes.load(Relaxed);
        let committed = self.shared.committers.submit(&database, changes, max_bytes);
        Box::pin(async move {
            // The answer is missing only where the thread that commits panicked.
            let gone = || CommitError::Store(StoreError::Failed("the commit was given up".into()));
            committed.await.unwrap_or_else(|_| Err(gone()))
        })
    }
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

    /// Notes that a tenant's database is open, and closes those that were used longest ago.
    fn add(&self, tenant: Weak<EmbeddedTenant>) {
        let mut tenants = self.tenants.lock();
        tenants.push(tenant);
        if tenants.len() <= self.bound {
            return;
        }
        let mut known: Vec<_> = tenants.drain(..).filter_map(|tenant| tenant.upgrade()).collect();
        known.sort_by_key(|tenant| std::cmp::Reverse(tenant.last_use.load(Relaxed)));
        let mut closed = Vec::new();
        while known.len() > self.bound {
            // From the one used longest ago, which is the last.
            let unused = known.iter().enumerate().skip(1).rev();
            let mut unused = unused.map(|(at, tenant)| (at, tenant.take_unused()));
            let Some((at, database)) = unused.find(|(_, database)| database.is_some()) else {
                break;
            };
            known.remove(at);
            closed.extend(database);
        }
        tenants.extend(known.iter().map(Arc::downgrade));
        drop(tenants);
        // Closing a database may wait for the disk.
        drop(closed);
    }
}
