//! The turns of tenants: to read their files, and to load, and so perhaps compile, their
//! components.
//!
//! Reading a file may take for ever, where its file system does not answer. So a reader gives its
//! place among all tenants back after a while, and keeps its tenant's turn. Each tenant holds at
//! most one thread that reads, and delays no other tenant.
//!
//! Tenants are deployed side by side, and each has one component at a time that is read as a whole,
//! compiled and linked. A tenant that has had its turn and wants another goes to the end of the
//! line: a tenant of many bombs, or one that was told to deploy again before the compiler was done
//! with its components, stands there once.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use lacewing_base::name::TenantName;
use lacewing_manifest::config::Compilation;
use parking_lot::Mutex;
use tokio::{
    sync::{AcquireError, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore},
    task::JoinError,
};

/// Files, manifests or components, that are read and checked at once: as many as a disk is glad of.
const READS: usize = 4;

/// A disk reads the largest component in that time.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most components that are loaded at once: each is held in memory.
const LOADS: u32 = 16;

/// The places where components are loaded.
pub(crate) struct DeployLoads {
    places: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    loading: TenantTurns,
    reading: TenantTurns,
    /// How long one that is read may keep others waiting.
    patience: Duration,
}

/// One turn at a time for each tenant, first come, first served.
#[derive(Default)]
struct TenantTurns(Mutex<HashMap<TenantName, Weak<tokio::sync::Mutex<()>>>>);

/// Leave to do something that only so many do at once. Given back when dropped.
type LoadPlace = Option<Result<OwnedSemaphorePermit, AcquireError>>;

/// The leave to load one component. Given back when dropped.
pub(super) struct Load {
    places: Arc<Semaphore>,
    place: LoadPlace,
    patience: Duration,
    _tenant: OwnedMutexGuard<()>,
}

impl DeployLoads {
    /// As many that the compiler has something to do, and requests whose artifacts are lost find
    /// room in its queue.
    pub(crate) fn new(compilation: &Compilation) -> DeployLoads {
        let places = (compilation.places() + compilation.queue / 2).min(LOADS);
        DeployLoads {
            places: Arc::new(Semaphore::new(places as usize)),
            reads: Arc::new(Semaphore::new(READS)),
            loading: TenantTurns::default(),
            reading: TenantTurns::default(),
            patience: PATIENCE,
        }
    }

    /// Waits for a tenant's turn to load.
    pub(super) async fn enter(&self, tenant: &TenantName) -> Load {
        let tenant = self.loading.turn(tenant).await;
        let (places, patience) = (self.places.clone(), self.patience);
        Load { place: enter(&places).await, places, patience, _tenant: tenant }
    }

    /// Waits for a tenant's turn to read, and has `work` done on a thread that may wait. Work that
    /// is given up goes on to its end, and has the tenant's turn until then.
    ///
    /// # Errors
    /// `work` has panicked.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        tenant: &TenantName,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let turn = self.reading.turn(tenant).await;
        let mut place = enter(&self.reads).await;
        let reading = tokio::task::spawn_blocking(move || {
            let read = work();
            drop(turn);
            read
        });
        giving_way(&mut place, self.patience, reading).await
    }
}

impl Load {
    /// Waits for work that may take for ever; others have the place meanwhile, if it takes long.
    pub(super) async fn giving_way<T>(&mut self, work: impl Future<Output = T>) -> T {
        let done = giving_way(&mut self.place, self.patience, work).await;
        if self.place.is_none() {
            self.place = enter(&self.places).await;
        }
        done
    }
}

async fn enter(places: &Arc<Semaphore>) -> LoadPlace {
    // It is never closed.
    Some(places.clone().acquire_owned().await)
}

async fn giving_way<T>(
    place: &mut LoadPlace,
    patience: Duration,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    match tokio::time::timeout(patience, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            *place = None;
            work.await
        }
    }
}

impl TenantTurns {
    async fn turn(&self, name: &TenantName) -> OwnedMutexGuard<()> {
        self.of(name).lock_owned().await
    }

    fn of(&self, name: &TenantName) -> Arc<tokio::sync::Mutex<()>> {
        let mut tenants = self.0.lock();
        if let Some(tenant) = tenants.get(name).and_then(Weak::upgrade) {
            return tenant;
        }
        // Those whose tenants have nothing to do any more.
        tenants.retain(|_, tenant| tenant.strong_count() > 0);
        let tenant = Arc::default();
        tenants.insert(name.clone(), Arc::downgrade(&tenant));
        tenant
    }
}

#[cfg(test)]
mod tests;
