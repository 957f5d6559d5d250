//! A tenant's account: its name, its weight, and its shares of the host's log and outbound HTTP.
//!
//! The account goes with each invocation, so that every layer charges the same shares. The layer
//! that owns a budget makes the tenant's share of it.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Semaphore;

use crate::{EgressBounds, budget::Share, fair::Weight, name::TenantName};

/// The shares of one tenant that the work of its invocations is charged to.
#[derive(Debug)]
pub struct TenantAccount {
    name: TenantName,
    weight: Weight,
    /// Its part of the log.
    pub lines: LineShares,
    /// Its part of outbound HTTP.
    pub outbound: OutboundShare,
}

/// A tenant's bytes of the log that wait to be written.
#[derive(Debug)]
pub struct LineShares {
    /// Lines of guests.
    pub guests: Arc<Share>,
    /// Records of invocations.
    pub records: Arc<Share>,
}

/// A tenant's part of outbound HTTP, and how far its grants may lead.
#[derive(Debug)]
pub struct OutboundShare {
    /// Connections at once.
    pub connections: Arc<Semaphore>,
    /// Look-ups of names at once, including those that are no longer waited for: the system's
    /// resolver goes on until it gives up.
    pub lookups: Arc<Semaphore>,
    bounds: RwLock<Arc<EgressBounds>>,
}

impl TenantAccount {
    /// The account of a tenant of which nothing runs.
    pub fn new(
        name: TenantName,
        weight: Weight,
        lines: LineShares,
        outbound: OutboundShare,
    ) -> Arc<TenantAccount> {
        Arc::new(TenantAccount { name, weight, lines, outbound })
    }

    /// The account of a tenant that is alone on a host without limits, and may reach the public
    /// internet only.
    #[cfg(any(test, feature = "testing"))]
    pub fn alone(name: &str) -> Arc<TenantAccount> {
        let (name, weight) = (name.parse().expect("a tenant's name"), Weight::new(1));
        let share = || crate::budget::Budget::new(u64::MAX).share(&weight);
        let lines = LineShares { guests: share(), records: share() };
        let outbound = OutboundShare::new(Semaphore::MAX_PERMITS, Semaphore::MAX_PERMITS);
        TenantAccount::new(name, weight.clone(), lines, outbound)
    }

    /// The tenant's name.
    pub fn name(&self) -> &TenantName {
        &self.name
    }

    /// The tenant's part of each resource that there is not enough of, in proportion to the weights
    /// of others.
    pub fn weight(&self) -> &Weight {
        &self.weight
    }
}

impl OutboundShare {
    /// So many connections and look-ups at once, and the bounds of a tenant that the host file says
    /// nothing of.
    pub fn new(connections: usize, lookups: usize) -> OutboundShare {
        OutboundShare {
            connections: Arc::new(Semaphore::new(connections)),
            lookups: Arc::new(Semaphore::new(lookups)),
            bounds: RwLock::default(),
        }
    }

    /// How far the tenant's grants lead now.
    pub fn bounds(&self) -> Arc<EgressBounds> {
        self.bounds.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says how far the tenant's grants lead from now on, for invocations that exist too.
    pub fn set_bounds(&self, bounds: Arc<EgressBounds>) {
        *self.bounds.write().unwrap_or_else(PoisonError::into_inner) = bounds;
    }
}
