//! A tenant's share of what the host has for outbound HTTP: what one tenant holds, however it does it, leaves some for others.

use std::sync::Arc;

use lacewing_base::name::TenantName;
use tokio::sync::Semaphore;

/// A tenant's look-ups of names at once, including those that are no longer waited for: the system's resolver goes on until it
/// gives up. A quarter of what the host does at once.
const LOOKUPS: usize = 16;

/// The bound on what the invocations of one tenant hold together.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) connections: Arc<Semaphore>,
    pub(super) lookups: Arc<Semaphore>,
}

/// The shares of the tenants that have called out.
#[derive(Debug)]
pub(super) struct Shares {
    connections: usize,
    shares: dashmap::DashMap<TenantName, Share>,
}

impl Shares {
    /// Of so many connections of the host, a tenant may hold half.
    pub(super) fn of(connections: usize) -> Shares {
        Shares { connections: connections.div_ceil(2), shares: dashmap::DashMap::new() }
    }

    pub(super) fn get(&self, tenant: &TenantName) -> Share {
        if let Some(share) = self.shares.get(tenant) {
            return share.clone();
        }
        let share = || Share {
            connections: Arc::new(Semaphore::new(self.connections)),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        };
        self.shares.entry(tenant.clone()).or_insert_with(share).clone()
    }
}
