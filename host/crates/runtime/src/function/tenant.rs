//! The tenant: the party that is isolated and charged.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use lacewing_base::{
    TenantAccount,
    budget::{Budget, Share},
    fair::{Flow, Weight},
    name::TenantName,
};
use lacewing_sandbox::engine::{Engines, Lane};

use super::{Quota, QuotaLimits, RerunQueues, ResidencyShare};

/// The party that is isolated and charged. There is one object for a tenant as long as it is
/// deployed: its invocations stay counted, whatever a deploy changes.
#[derive(Debug)]
pub struct Tenant {
    /// Its name, its weight, and its shares of the log and of outbound HTTP.
    account: Arc<TenantAccount>,
    quota: Arc<Quota>,
    slots: Arc<Share>,
    slot_flow: Arc<Flow>,
    lane: Arc<Lane>,
    bodies: Arc<Share>,
    resident: Arc<ResidencyShare>,
    waiting: AtomicU32,
    reruns: RerunQueues,
}

/// A tenant's quota, and its part where there is not enough for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allotment {
    /// Over all its functions.
    pub quota: QuotaLimits,
    /// Its part of slots, cores, memory, resident programs and series when there is not enough for
    /// all, in proportion to the others' weights.
    pub weight: u32,
}

impl Tenant {
    /// A tenant of which nothing runs, on a host with so many slots for sandboxes.
    pub fn new(
        account: Arc<TenantAccount>,
        quota: QuotaLimits,
        engines: &Engines,
        slots: &Arc<Budget>,
    ) -> Arc<Tenant> {
        let weight = account.weight();
        Arc::new(Tenant {
            quota: Quota::new(quota),
            slots: slots.share(weight),
            slot_flow: Flow::new(weight),
            lane: engines.lane(weight),
            bodies: engines.bodies().share(weight),
            resident: ResidencyShare::new(weight),
            waiting: AtomicU32::new(0),
            reruns: RerunQueues::default(),
            account,
        })
    }

    /// Changes the quota and the weight from now on.
    pub fn set(&self, allotment: Allotment) {
        let Allotment { quota, weight } = allotment;
        self.quota.set(quota);
        self.account.weight().set(weight);
    }

    /// Its name, its weight, and its shares of the log and of outbound HTTP.
    pub fn account(&self) -> &Arc<TenantAccount> {
        &self.account
    }

    /// Its name.
    pub fn name(&self) -> &TenantName {
        self.account.name()
    }

    /// Over all its functions.
    pub fn quota(&self) -> &Arc<Quota> {
        &self.quota
    }

    /// Its part of each resource when there is not enough for all, in proportion to the others'
    /// weights.
    pub fn weight(&self) -> &Weight {
        self.account.weight()
    }

    /// Its share of the host's slots, one for each invocation that is admitted.
    pub fn slots(&self) -> &Arc<Share> {
        &self.slots
    }

    /// Its flow in the queue for slots.
    pub fn slot_flow(&self) -> &Arc<Flow> {
        &self.slot_flow
    }

    /// Its share of the cores.
    pub fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// Its share of the memory for bodies of requests and responses.
    pub fn bodies(&self) -> &Arc<Share> {
        &self.bodies
    }

    /// The count of its resident programs.
    pub fn resident(&self) -> &Arc<ResidencyShare> {
        &self.resident
    }

    /// The queues of its invocations that run again after a conflict.
    pub fn reruns(&self) -> &RerunQueues {
        &self.reruns
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
