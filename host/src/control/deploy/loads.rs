//! Whose component is loaded, and so perhaps compiled, next.
//!
//! Tenants are deployed side by side, and each has one component at a time that is read as a whole, compiled and linked.
//! Whoever has had its turn and wants another goes to the end of the line: a tenant of many bombs, or one that was told to
//! deploy again before the compiler was done with what it had, stands there once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{AcquireError, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::{config::Compilation, name::TenantName};

/// Components that are read at once only to know their digest: as many as a disk is glad of.
const READS: usize = 4;

/// The most components that are loaded at once: each is held in memory.
const LOADS: u32 = 16;

/// The places where components are loaded.
pub(in crate::control) struct Loads {
    places: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    tenants: Mutex<HashMap<TenantName, Weak<tokio::sync::Mutex<()>>>>,
}

/// The leave to load one. Given back when dropped.
pub(super) struct Load {
    _place: Result<OwnedSemaphorePermit, AcquireError>,
    _tenant: OwnedMutexGuard<()>,
}

impl Loads {
    /// So many that the compiler has something to do, and requests whose artifacts are lost find room in its queue.
    pub(in crate::control) fn new(compilation: &Compilation) -> Loads {
        let places = (compilation.places() + compilation.queue / 2).min(LOADS);
        Loads {
            places: Arc::new(Semaphore::new(places as usize)),
            reads: Arc::new(Semaphore::new(READS)),
            tenants: Mutex::default(),
        }
    }

    /// Waits for a tenant's turn. Who came first has it first.
    pub(super) async fn enter(&self, tenant: &TenantName) -> Load {
        let tenant = self.tenant(tenant).lock_owned().await;
        // It is never closed.
        let place = self.places.clone().acquire_owned().await;
        Load { _place: place, _tenant: tenant }
    }

    /// Waits until a file may be read. Given back when dropped.
    pub(super) async fn read(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.reads.clone().acquire_owned().await
    }

    fn tenant(&self, name: &TenantName) -> Arc<tokio::sync::Mutex<()>> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = tenants.get(name).and_then(Weak::upgrade) {
            return tenant;
        }
        // Those whose tenants have nothing to load any more.
        tenants.retain(|_, tenant| tenant.strong_count() > 0);
        let tenant = Arc::default();
        tenants.insert(name.clone(), Arc::downgrade(&tenant));
        tenant
    }
}

#[cfg(test)]
mod tests;
