//! The places of requests: of each tenant, of bodies in memory, and of strangers.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use lacewing_base::name::TenantName;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests of one tenant at once. Another one is told to slow down.
const PER_TENANT: usize = 64;

/// Requests of one tenant at once whose bodies are read into memory. Another one waits.
const IN_MEMORY_PER_TENANT: usize = 2;

/// Requests of all tenants at once whose bodies are read into memory. Another one waits. XML of
/// 2 MiB takes up to 100 MiB while it is read.
const IN_MEMORY: usize = 8;

/// Requests at once that look at the rules of a bucket before their signature is proven. Another
/// one waits.
const OF_STRANGERS: usize = 16;

/// The places of all requests.
pub(super) struct RequestPlaces {
    tenants: Mutex<HashMap<TenantName, TenantRequests>>,
    in_memory: Arc<Semaphore>,
    of_strangers: Arc<Semaphore>,
}

/// The requests of a tenant that are under way.
struct TenantRequests {
    count: usize,
    in_memory: Arc<Semaphore>,
}

impl Default for RequestPlaces {
    fn default() -> RequestPlaces {
        RequestPlaces {
            tenants: Mutex::default(),
            in_memory: Arc::new(Semaphore::new(IN_MEMORY)),
            of_strangers: Arc::new(Semaphore::new(OF_STRANGERS)),
        }
    }
}

impl RequestPlaces {
    /// A place for a request of a tenant; `None` if all of the tenant's are taken.
    pub(super) fn of_tenant(
        self: &Arc<RequestPlaces>,
        tenant: &TenantName,
    ) -> Option<RequestPlace> {
        let mut tenants = self.tenants.lock();
        let requests = tenants.entry(tenant.clone()).or_insert_with(|| TenantRequests {
            count: 0,
            in_memory: Arc::new(Semaphore::new(IN_MEMORY_PER_TENANT)),
        });
        if requests.count == PER_TENANT {
            return None;
        }
        requests.count += 1;
        let in_memory = requests.in_memory.clone();
        let tenant = TenantPlace { places: self.clone(), tenant: tenant.clone(), in_memory };
        Some(RequestPlace { tenant: Some(tenant), _permits: Vec::new() })
    }

    /// A place for a request whose signature is not proven.
    pub(super) async fn of_stranger(&self) -> RequestPlace {
        let permit = self.of_strangers.clone().acquire_owned().await;
        RequestPlace { tenant: None, _permits: permit.into_iter().collect() }
    }
}

/// The place of a request, until it is dropped.
pub(super) struct RequestPlace {
    tenant: Option<TenantPlace>,
    _permits: Vec<OwnedSemaphorePermit>,
}

impl RequestPlace {
    /// Waits until the request may have its body in memory: first for its tenant, so that a tenant
    /// waits for the host with as many requests as it may have there.
    pub(super) async fn read_into_memory(&mut self) {
        let Some(tenant) = &self.tenant else { return };
        for places in [&tenant.in_memory, &tenant.places.in_memory] {
            // Semaphores of this file are never closed.
            self._permits.extend(places.clone().acquire_owned().await);
        }
    }
}

/// A tenant's request in the count of its tenant.
struct TenantPlace {
    places: Arc<RequestPlaces>,
    tenant: TenantName,
    in_memory: Arc<Semaphore>,
}

impl Drop for TenantPlace {
    fn drop(&mut self) {
        let mut tenants = self.places.tenants.lock();
        if let Entry::Occupied(mut requests) = tenants.entry(self.tenant.clone()) {
            requests.get_mut().count -= 1;
            if requests.get().count == 0 {
                requests.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn tenant(name: &str) -> TenantName {
        name.parse().expect("a name")
    }

    #[test]
    fn a_tenant_has_its_places_and_leaves_no_trace() {
        let places = Arc::<RequestPlaces>::default();
        let taken: Vec<_> = (0..PER_TENANT).map_while(|_| places.of_tenant(&tenant("a"))).collect();
        assert_eq!(taken.len(), PER_TENANT);
        assert!(places.of_tenant(&tenant("a")).is_none());
        assert!(places.of_tenant(&tenant("b")).is_some());
        drop(taken);
        assert!(places.tenants.lock().is_empty());
        assert!(places.of_tenant(&tenant("a")).is_some());
    }

    #[test]
    fn bodies_in_memory_are_bounded_for_a_tenant_and_for_all() {
        let places = Arc::<RequestPlaces>::default();
        let mut in_memory = Vec::new();
        for number in 0..IN_MEMORY {
            let mut place = places.of_tenant(&tenant(&format!("t{}", number / 2))).expect("free");
            assert!(place.read_into_memory().now_or_never().is_some());
            in_memory.push(place);
        }
        let mut waits = places.of_tenant(&tenant("late")).expect("a place");
        assert!(waits.read_into_memory().now_or_never().is_none());
        in_memory.pop();
        let mut third_of_first = places.of_tenant(&tenant("t0")).expect("a place");
        assert!(third_of_first.read_into_memory().now_or_never().is_none());
        assert!(waits.read_into_memory().now_or_never().is_some());
    }
}
