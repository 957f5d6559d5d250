//! The host's slots for sandboxes, and the fair queue of those that wait for one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use lacewing_base::{
    budget::Budget,
    permits::{self, Permit, Resource, Wait, Waiters},
};
use tokio::sync::Notify;

use crate::function::Tenant;

/// All slots of a host, a [`Budget`] that its tenants share.
#[derive(Debug)]
pub(super) struct Slots {
    budget: Arc<Budget>,
    waiters: Waiters<Slots>,
    is_draining: AtomicBool,
    idle: Notify,
}

/// One slot. Dropping it gives it back.
pub(super) type Slot = Permit<Slots>;

impl Resource for Slots {
    type Demand = Arc<Tenant>;

    fn waiters(&self) -> &Waiters<Slots> {
        &self.waiters
    }

    fn take(&self, tenant: &Arc<Tenant>) -> bool {
        !self.is_draining() && tenant.slots().take(1).is_ok()
    }

    fn give_back(&self, tenant: &Arc<Tenant>) {
        tenant.slots().give_back(1);
        if self.is_draining() && self.in_use() == 0 {
            self.idle.notify_waiters();
        }
    }
}

impl Slots {
    /// The slots of a budget that tenants have [shares](Tenant::slots) of.
    pub(super) fn new(budget: Arc<Budget>) -> Arc<Slots> {
        Arc::new(Slots {
            budget,
            waiters: Waiters::default(),
            is_draining: AtomicBool::new(false),
            idle: Notify::new(),
        })
    }

    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    pub(super) fn capacity(&self) -> u32 {
        u32::try_from(self.budget.capacity()).unwrap_or(u32::MAX)
    }

    pub(super) fn in_use(&self) -> u32 {
        u32::try_from(self.budget.used()).unwrap_or(u32::MAX)
    }

    /// Whether no invocation is let in any more.
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(SeqCst)
    }

    /// Lets no invocation in any more, and waits until every slot is free.
    pub(super) async fn drain(&self) {
        self.is_draining.store(true, SeqCst);
        loop {
            let idle = self.idle.notified();
            if self.in_use() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// A slot, unless others wait.
    pub(super) fn try_enter(self: &Arc<Slots>, tenant: &Arc<Tenant>) -> Option<Slot> {
        permits::try_acquire(self, tenant.clone())
    }

    /// Waits for a slot, fairly between tenants.
    pub(super) fn enter(self: &Arc<Slots>, tenant: &Arc<Tenant>) -> Wait<Slots> {
        permits::acquire(self, tenant.slot_flow(), tenant.clone())
    }

    /// The expected time until one more of those that wait can enter.
    pub(super) fn until_free(&self) -> Duration {
        self.waiters.until_served()
    }
}
