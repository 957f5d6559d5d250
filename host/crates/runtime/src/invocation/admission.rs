//! The admission of invocations: now, later, or not.
//!
//! ```text
//!   rate of function, of tenant, of host -- none left: wait for the next token ------+
//!        |                                                                           |
//!   a part of the function's quota, of the tenant's, a slot of the host;             |
//!   a turn on a core, where the tenant has taken more than its share of them         |
//!        |  all free            |  one is not: wait, one after the other             |
//!        v                      |                                                    |
//!     admitted  <---------------+--> throttled (function, tenant) or load_shed <-----+
//!                                    (host), with the time after which to come back
//! ```
//!
//! A request waits for [`QueueOptions::wait`] at most, and at most [`QueueOptions::length`]
//! requests of a tenant wait. Requests that wait for their function or tenant are served in the
//! order of their arrival. Requests that wait for the host are in a fair queue over the tenants. So
//! a tenant that asks for more than it gets delays only itself.
//!
//! Admission without a wait takes a few atomic operations. Only a request that waits takes a lock,
//! and one that ends while others wait.

mod slots;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use lacewing_base::{budget::Budget, event_loop, outcome::Outcome};
use lacewing_sandbox::engine::{Lane, Turn};
use tokio::time::{Instant, sleep, timeout_at};

use crate::function::{Quota, QuotaPermit, Rate, Tenant, WaitingPlace};
use slots::{Slot, Slots};

/// The bounds of waiting: how long, how many, and how many invocations may come.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// The longest wait.
    pub wait: Duration,
    /// Requests of one tenant that may wait at once. The next one is refused at once.
    pub length: u32,
    /// Invocations in a second, in the whole host.
    pub rate_per_s: Option<u32>,
}

/// Admits invocations to the host's sandboxes.
#[derive(Debug)]
pub struct Admission {
    slots: Arc<Slots>,
    queue: QueueOptions,
    rate: Rate,
    waiting: AtomicU32,
}

/// The resources that one invocation holds. Dropping the permit gives them back.
#[derive(Debug)]
pub struct InvocationPermit {
    turn: Option<Turn>,
    _slot: Slot,
    _tenant: QuotaPermit,
    _function: QuotaPermit,
}

impl InvocationPermit {
    /// The turn on a core that the invocation begins with, if it needs one. An invocation that does
    /// not begin at once drops it.
    pub fn take_turn(&mut self) -> Option<Turn> {
        self.turn.take()
    }
}

/// A refusal of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionRefusal {
    /// `throttled` or `load_shed`.
    pub outcome: Outcome,
    /// The limit, in words for the client.
    pub reason: &'static str,
    /// The time after which a slot or a token is to be expected.
    pub retry_after: Duration,
}

/// The `Retry-After` of a refusal when the host cannot say when a slot will be free.
const RETRY_AFTER: Duration = Duration::from_secs(1);

const FUNCTION_RATE: &str = "the function's rate is used up";
const TENANT_RATE: &str = "the tenant's rate is used up";
const HOST_RATE: &str = "the host's rate is used up";
const FUNCTION_FULL: &str =
    "the function has as many invocations running as its concurrency limit allows";
const TENANT_FULL: &str = "the tenant has as many invocations running as its quota allows";
const TENANT_MEMORY: &str = "the tenant's sandboxes have as much memory as its quota allows";
const HOST_FULL: &str = "the host has as many invocations running as it can hold";
const CORES_FULL: &str = "the host's cores have as much to do as they can";
const MEMORY_FULL: &str = "the host has no memory left for the tenant now";
const QUEUE_FULL: &str = "as many of the tenant's requests are waiting as the host lets wait";
const DRAINING: &str = "the host is stopping";

impl Admission {
    /// Admits up to `capacity` invocations at once.
    pub fn new(capacity: u32, queue: QueueOptions) -> Admission {
        Admission {
            slots: Slots::new(Budget::new(capacity.into())),
            queue,
            rate: Rate::new(queue.rate_per_s),
            waiting: AtomicU32::new(0),
        }
    }

    /// Invocations that may run at once.
    pub fn capacity(&self) -> u32 {
        self.slots.capacity()
    }

    /// Invocations that run.
    pub fn in_flight(&self) -> u32 {
        self.slots.in_use()
    }

    /// Requests that wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// The slots for sandboxes, for tenants to have shares of.
    pub fn slots(&self) -> &Arc<Budget> {
        self.slots.budget()
    }

    /// Admits no more invocations, and waits until none runs: for the end of the host.
    pub async fn idle(&self) {
        self.slots.drain().await;
    }

    /// Waits until an invocation may start, if need be. `memory_mib` is the memory limit of the
    /// sandbox that is to be made.
    pub async fn admit(
        &self,
        tenant: &Arc<Tenant>,
        function: &Arc<Quota>,
        memory_mib: u32,
    ) -> Result<InvocationPermit, AdmissionRefusal> {
        // Each invocation needs some memory, and would begin in vain.
        if !tenant.lane().memory().has_room(0) {
            return Err(load_shed(MEMORY_FULL)(RETRY_AFTER));
        }
        let patience = self.queue.wait;
        let pause = self.take_rates(tenant, function, patience)?;
        if pause.is_zero()
            && let Some(permit) = self.try_enter(tenant, function, memory_mib)
        {
            return Ok(permit);
        }
        let until = Instant::now() + patience;
        let entered = self.wait(pause, until, tenant, function, memory_mib).await;
        if entered.is_err() {
            self.return_rates(tenant, function);
        }
        entered
    }

    /// Takes a token of each rate. Returns the time until all tokens are there, at most `patience`.
    fn take_rates(
        &self,
        tenant: &Tenant,
        function: &Quota,
        patience: Duration,
    ) -> Result<Duration, AdmissionRefusal> {
        let mut pause = function.take_rate(patience).map_err(throttled(FUNCTION_RATE))?;
        match tenant.quota().take_rate(patience) {
            Ok(wait) => pause = pause.max(wait),
            Err(wait) => {
                function.return_rate();
                return Err(throttled(TENANT_RATE)(wait));
            }
        }
        match self.rate.take(patience) {
            Ok(wait) => Ok(pause.max(wait)),
            Err(wait) => {
                function.return_rate();
                tenant.quota().return_rate();
                Err(load_shed(HOST_RATE)(wait))
            }
        }
    }

    fn return_rates(&self, tenant: &Tenant, function: &Quota) {
        function.return_rate();
        tenant.quota().return_rate();
        self.rate.put_back();
    }

    /// Admits without waiting, if nothing is lacking.
    fn try_enter(
        &self,
        tenant: &Arc<Tenant>,
        function: &Arc<Quota>,
        memory_mib: u32,
    ) -> Option<InvocationPermit> {
        if !tenant.lane().has_credit() {
            return None;
        }
        let _function = function.try_enter(memory_mib)?;
        let _tenant = tenant.quota().try_enter(memory_mib)?;
        let _slot = self.slots.try_enter(tenant)?;
        Some(InvocationPermit { turn: None, _slot, _tenant, _function })
    }

    async fn wait(
        &self,
        pause: Duration,
        until: Instant,
        tenant: &Arc<Tenant>,
        function: &Arc<Quota>,
        memory_mib: u32,
    ) -> Result<InvocationPermit, AdmissionRefusal> {
        let mut queued = Queued { admission: self, tenant, until, place: None };
        if !pause.is_zero() {
            queued.take_place(|| throttled(QUEUE_FULL)(pause))?;
            sleep(pause).await;
        }
        let of_function = || throttled(FUNCTION_FULL)(function.until_free());
        let _function = queued
            .enter(function.try_enter(memory_mib), || function.enter(memory_mib), of_function)
            .await?;
        let quota = tenant.quota();
        let of_tenant = || {
            let reason = if quota.lacks_memory() { TENANT_MEMORY } else { TENANT_FULL };
            throttled(reason)(quota.until_free())
        };
        let _tenant = queued
            .enter(quota.try_enter(memory_mib), || quota.enter(memory_mib), of_tenant)
            .await?;
        if self.slots.is_draining() {
            return Err(load_shed(DRAINING)(RETRY_AFTER));
        }
        let of_host = || load_shed(HOST_FULL)(self.slots.until_free());
        let _slot = queued
            .enter(self.slots.try_enter(tenant), || self.slots.enter(tenant), of_host)
            .await?;
        let turn = queued.turn(tenant.lane()).await?;
        Ok(InvocationPermit { turn, _slot, _tenant, _function })
    }
}

/// A request that may have to wait.
struct Queued<'a> {
    admission: &'a Admission,
    tenant: &'a Tenant,
    until: Instant,
    place: Option<QueuePlace<'a>>,
}

impl Queued<'_> {
    /// Gives `now`, or else waits for `later`.
    async fn enter<T, F: Future<Output = T>>(
        &mut self,
        at_once: Option<T>,
        wait: impl FnOnce() -> F,
        refused: impl Fn() -> AdmissionRefusal,
    ) -> Result<T, AdmissionRefusal> {
        if let Some(entered) = at_once {
            return Ok(entered);
        }
        self.take_place(|| AdmissionRefusal { reason: QUEUE_FULL, ..refused() })?;
        let entry = wait();
        timeout_at(self.until, entry).await.map_err(|_| refused())
    }

    /// A turn on a core, for a tenant that has taken more than its share of them.
    async fn turn(&mut self, lane: &Arc<Lane>) -> Result<Option<Turn>, AdmissionRefusal> {
        if lane.has_credit() {
            return Ok(None);
        }
        let refused = || load_shed(CORES_FULL)(RETRY_AFTER);
        let turn = self.enter(lane.try_turn(), || lane.turn(), refused).await?;
        // A guest that takes turns computes for long. It begins where it is in the way of no other.
        event_loop::compute().await;
        Ok(Some(turn))
    }

    fn take_place(
        &mut self,
        refused: impl FnOnce() -> AdmissionRefusal,
    ) -> Result<(), AdmissionRefusal> {
        if self.place.is_some() {
            return Ok(());
        }
        let Admission { waiting, queue, .. } = self.admission;
        let place = self.tenant.wait(queue.length).ok_or_else(refused)?;
        waiting.fetch_add(1, Relaxed);
        self.place = Some(QueuePlace { waiting, _of_tenant: place });
        Ok(())
    }
}

/// A place among the waiting requests of the host and of the tenant.
struct QueuePlace<'a> {
    waiting: &'a AtomicU32,
    _of_tenant: WaitingPlace<'a>,
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Relaxed);
    }
}

fn throttled(reason: &'static str) -> impl Fn(Duration) -> AdmissionRefusal {
    move |retry_after| AdmissionRefusal { outcome: Outcome::Throttled, reason, retry_after }
}

fn load_shed(reason: &'static str) -> impl Fn(Duration) -> AdmissionRefusal {
    move |retry_after| AdmissionRefusal { outcome: Outcome::LoadShed, reason, retry_after }
}

#[cfg(test)]
mod tests;
