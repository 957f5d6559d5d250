//! The stocks that the sandboxes of all tenants take from, and the part of each that one tenant
//! holds.
//!
//! ```text
//!   Stocks (a host's)                         Holdings (a tenant's, one share of each stock)
//!     guests       bytes of guests' memories, and of what the host holds for guests
//!     provisioned  slots for what is made ahead, and for instances that are used again
//!     memories     linear memories over the one that each sandbox has
//!     tables       tables over those that each sandbox has
//! ```
//!
//! Each is shared by the rule of [`Budget`]: where there are several tenants, none can use one up.

use std::sync::Arc;

use lacewing_base::{
    budget::{Budget, Exhausted, Lease, Share},
    fair::Weight,
};

use super::pool::{PoolOptions, TABLES};

/// The stocks of one host.
#[derive(Debug)]
pub(super) struct Stocks {
    first_bytes: u64,
    pub(super) guests: Arc<Budget>,
    provisioned: Arc<Budget>,
    memories: Arc<Budget>,
    tables: Arc<Budget>,
}

/// One tenant's holdings of the stocks.
#[derive(Debug)]
pub struct Holdings {
    /// The bytes that each sandbox has without being charged.
    first_bytes: u64,
    memory: Arc<Share>,
    provisioned: Arc<Share>,
    memories: Arc<Share>,
    tables: Arc<Share>,
}

/// Memories and tables that a sandbox has over what every one has. Given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    _memories: Option<Lease>,
    _tables: Option<Lease>,
}

impl Stocks {
    /// Of a pool that was made for so many sandboxes, which may be fewer than were asked for.
    pub(super) fn new(pool: &PoolOptions, sandboxes: u32) -> Stocks {
        Stocks {
            first_bytes: pool.first_bytes,
            guests: Budget::new(pool.guest_bytes),
            provisioned: Budget::new(pool.provisioned().into()),
            memories: Budget::new(pool.more_memories(sandboxes).into()),
            tables: Budget::new(pool.more_tables(sandboxes).into()),
        }
    }

    fn all(&self) -> [&Arc<Budget>; 4] {
        [&self.guests, &self.provisioned, &self.memories, &self.tables]
    }

    pub(super) fn holdings(&self, weight: &Weight) -> Holdings {
        let [memory, provisioned, memories, tables] = self.all().map(|stock| stock.share(weight));
        let first_bytes = self.first_bytes;
        Holdings { first_bytes, memory, provisioned, memories, tables }
    }
}

impl Holdings {
    /// Memories, tables and heap that each of its sandboxes has without being charged, in bytes.
    pub fn first_bytes(&self) -> u64 {
        self.first_bytes
    }

    /// The account of its sandboxes.
    pub fn memory(&self) -> &Arc<Share> {
        &self.memory
    }

    /// A slot for a sandbox that is made ahead, if one is left for this tenant.
    pub fn provision(&self) -> Option<Lease> {
        take(&self.provisioned, 1).ok()
    }

    /// Leave to have as many memories and tables as a component needs, if so many are left for this
    /// tenant: none has to be given for what every sandbox has.
    pub(crate) fn claim(&self, memories: u32, tables: u32) -> Option<Claim> {
        let claim = |share: &Arc<Share>, more: u32| match more {
            0 => Some(None),
            more => take(share, more).ok().map(Some),
        };
        Some(Claim {
            _memories: claim(&self.memories, memories.saturating_sub(1))?,
            _tables: claim(&self.tables, tables.saturating_sub(TABLES))?,
        })
    }
}

fn take(share: &Arc<Share>, count: u32) -> Result<Lease, Exhausted> {
    let mut lease = share.lease();
    lease.grow(count.into())?;
    Ok(lease)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Of a tenant of a small host.
    pub(in crate::engine) fn holdings(weight: &Weight) -> Holdings {
        Stocks::new(&PoolOptions::default(), 1).holdings(weight)
    }

    #[test]
    fn no_tenant_of_several_has_all_of_a_stock() {
        let pool = PoolOptions { sandboxes: 40, ..PoolOptions::default() };
        let stocks = Stocks::new(&pool, 40);
        let one = stocks.holdings(&Weight::new(1));
        let alone: Vec<Lease> = std::iter::from_fn(|| one.provision()).collect();
        assert_eq!(alone.len(), 10, "a quarter of the slots");
        drop(alone);
        let other = stocks.holdings(&Weight::new(1));
        let slots: Vec<Lease> = std::iter::from_fn(|| one.provision()).collect();
        assert_eq!(slots.len(), 8);
        assert!(other.provision().is_some());
        let memories: Vec<Claim> = std::iter::from_fn(|| one.claim(8, 1)).collect();
        assert_eq!(memories.len(), 2, "14 of 24, and 21 would leave 3");
        assert!(other.claim(8, 1).is_some());
        let tables: Vec<Claim> = std::iter::from_fn(|| one.claim(1, 32)).collect();
        assert_eq!(tables.len(), 5, "30 each of 192");
        assert!(other.claim(1, 3).is_some());
        drop((slots, memories, tables));
        assert!(stocks.all().iter().all(|stock| stock.used() == 0));
    }

    #[test]
    fn memories_and_tables_of_every_sandbox_are_not_claimed() {
        let holdings = holdings(&Weight::new(1));
        let claims: Vec<Option<Claim>> = (0..10_000).map(|_| holdings.claim(1, TABLES)).collect();
        assert!(claims.iter().all(Option::is_some));
        assert_eq!(holdings.tables.used() + holdings.memories.used(), 0);
    }
}
