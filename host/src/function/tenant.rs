//! The tenant: the party that is isolated and charged.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use lacewing_base::{fair::Share, memory::Account, name::TenantName};

use super::{Quota, QuotaLimits, Stake};
use crate::engine::{Engines, Lane};

/// The party that is isolated and charged. There is one object for a tenant as long as it is deployed: its invocations stay counted,
/// whatever a deploy changes.
#[derive(Debug)]
pub struct Tenant {
    name: TenantName,
    quota: Arc<Quota>,
    share: Arc<Share>,
    lane: Arc<Lane>,
    bodies: Arc<Account>,
    stake: Arc<Stake>,
    running: AtomicU32,
    waiting: AtomicU32,
}

/// A tenant's quota, and its part where there is not enough for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allotment {
    /// Over all its functions.
    pub quota: QuotaLimits,
    /// Its part of slots, cores, memory, resident programs and series when there is not enough for all, in proportion to the others'
    /// weights.
    pub weight: u32,
}

impl Tenant {
    /// A tenant of which nothing runs.
    pub fn new(name: TenantName, allotment: Allotment, engines: &Engines) -> Arc<Tenant> {
        let Allotment { quota, weight } = allotment;
        Arc::new(Tenant {
            name,
            quota: Quota::new(quota),
            share: Share::new(weight),
            lane: engines.lane(weight),
            bodies: engines.bodies().account(weight),
            stake: Stake::new(weight),
            running: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
        })
    }

    /// Changes what it may have from now on.
    pub fn set(&self, allotment: Allotment) {
        let Allotment { quota, weight } = allotment;
        self.quota.set(quota);
        self.share.set_weight(weight);
        self.lane.set_weight(weight);
        self.bodies.set_weight(weight);
        self.stake.set_weight(weight);
    }

    /// Its name.
    pub fn name(&self) -> &TenantName {
        &self.name
    }

    /// Over all its functions.
    pub fn quota(&self) -> &Arc<Quota> {
        &self.quota
    }

    /// Its share of the host's slots.
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Its share of the cores.
    pub fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// The account of its requests' and responses' bodies.
    pub fn bodies(&self) -> &Arc<Account> {
        &self.bodies
    }

    /// The count of its resident programs.
    pub fn stake(&self) -> &Arc<Stake> {
        &self.stake
    }

    /// Its invocations that have a slot of the host.
    pub fn running(&self) -> &AtomicU32 {
        &self.running
    }

    /// Its requests that wait to be admitted.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// One more that waits, unless as many do as may.
    pub fn wait(&self, most: u32) -> Option<WaitingPlace<'_>> {
        let more = |waiting: u32| (waiting < most).then_some(waiting + 1);
        self.waiting.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(WaitingPlace(&self.waiting))
    }
}

/// A place among the tenant's requests that wait.
#[derive(Debug)]
pub struct WaitingPlace<'a>(&'a AtomicU32);

impl Drop for WaitingPlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
