//! Sandboxes that are made ahead: instantiated, never used, of one revision.
//!
//! ```text
//!   keep_filled --make: instantiate under the limits--> ready --take--> Sandbox of one invocation
//!        ^                                                |  |
//!        +------------------ woken by each taking --------+  +--close: swap, drain, the revision's end--> dropped
//! ```
//!
//! A provisioned sandbox has run nothing but what instantiation runs. The parts that belong to an
//! invocation are set when one takes it: deadline, CPU clock, epoch, log, and what the guest will
//! be told of the invocation. A component that asks the host for something while it is instantiated
//! would hold an answer that was not meant for the invocation: it is not provisioned.
//!
//! The slots are the host's own, besides those of invocations
//! ([`Holdings::provision`](crate::engine::Holdings::provision)): what is ready does not count
//! against its tenant's quotas, which count invocations, and a host that is full is as full as
//! without. The CPU time and memory for making one are charged to the tenant, as for an invocation.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use lacewing_base::budget::{Exhausted, Lease};
use lacewing_telemetry::{FunctionMetrics, GuestLog, metrics::Tally};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use wasmtime::{Store, component::Instance};

use super::{
    Fault, Sandbox, Spec,
    contract::http::HttpFunction,
    program::Program,
    state::{FIRST_TICK, State},
};
use crate::{
    capability::egress::Propagation,
    engine::{Engines, Lane},
};

/// How long after a failure, or in want of a slot, the next attempt is made.
const RETRY: Duration = Duration::from_secs(1);

/// The sandboxes that are ready for one revision. Dropping it drops them.
pub struct Provisioned {
    ready: Mutex<Vec<ReadySandbox>>,
    wake: Arc<Notify>,
    started: AtomicBool,
    closed: AtomicBool,
    engines: Arc<Engines>,
    lane: Arc<Lane>,
    spec: Arc<Spec>,
    metrics: Arc<FunctionMetrics>,
}

struct ReadySandbox {
    store: Store<State>,
    made: MadeSandbox,
    program: Arc<Program>,
    _slot: Lease,
}

/// An instance that waits for its call.
pub(super) struct MadeSandbox {
    pub(super) instance: Instance,
    http: Option<HttpFunction>,
}

impl MadeSandbox {
    pub(super) fn http(self, store: &mut Store<State>) -> wasmtime::Result<HttpFunction> {
        match self.http {
            Some(http) => Ok(http),
            None => HttpFunction::new(store, &self.instance),
        }
    }
}

/// Why there is none yet.
enum Obstacle {
    /// It may go away.
    Now(String),
    /// It will not.
    Ever,
}

impl From<Fault> for Obstacle {
    fn from(fault: Fault) -> Obstacle {
        Obstacle::Now(format!("{}: {}", fault.outcome, fault.detail))
    }
}

impl Provisioned {
    /// For the sandboxes of a revision, which `lane` is charged for; `None` if its limits say that
    /// there are to be none. None is made before [`Provisioned::start`].
    pub fn new(
        engines: &Arc<Engines>,
        lane: &Arc<Lane>,
        spec: &Arc<Spec>,
        metrics: &Arc<FunctionMetrics>,
    ) -> Option<Arc<Provisioned>> {
        (spec.limits.provisioned > 0).then(|| {
            Arc::new(Provisioned {
                ready: Mutex::default(),
                wake: Arc::default(),
                started: AtomicBool::new(false),
                closed: AtomicBool::new(false),
                engines: engines.clone(),
                lane: lane.clone(),
                spec: spec.clone(),
                metrics: metrics.clone(),
            })
        })
    }

    /// Makes them from now on, of `program`, in a task of its own. `log` takes the output of a
    /// guest before an invocation has the sandbox.
    pub fn start(self: &Arc<Self>, program: Arc<Program>, log: Arc<GuestLog>) {
        if !self.started.swap(true, Ordering::Relaxed) {
            tokio::spawn(keep_filled(Arc::downgrade(self), self.wake.clone(), program, log));
        }
    }

    /// Drops what is ready, and makes no more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.drop_ready();
        self.wake.notify_one();
    }

    /// A sandbox that is ready, for the invocation of `log` and until `deadline`.
    pub fn take(
        &self,
        log: &Arc<GuestLog>,
        propagation: &mut Propagation,
        deadline: Instant,
    ) -> Option<Sandbox> {
        let taken = self.ready().pop();
        self.wake.notify_one();
        let Some(ReadySandbox { mut store, made, program, _slot }) = taken else {
            self.metrics.tally(Tally::ProvisionedMissed);
            return None;
        };
        self.metrics.tally(Tally::ProvisionedTaken);
        self.metrics.provisioned_ready().fetch_sub(1, Ordering::Relaxed);
        // The epoch has moved on, and no invocation made the earlier readings of the clock.
        store.set_epoch_deadline(FIRST_TICK);
        let cpu = store.data_mut().adopt(log.clone(), std::mem::take(propagation), deadline);
        Some(Sandbox {
            store,
            made: Some(made),
            program,
            cpu,
            deadline,
            instantiated: None,
            _running: self.engines.running(),
        })
    }

    fn ready(&self) -> MutexGuard<'_, Vec<ReadySandbox>> {
        self.ready.lock()
    }

    fn drop_ready(&self) {
        let ready = std::mem::take(&mut *self.ready());
        self.metrics.provisioned_ready().fetch_sub(ready.len() as u64, Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.ready().len() >= self.spec.limits.provisioned as usize
    }

    /// Makes one more.
    async fn fill(&self, program: &Arc<Program>, log: &Arc<GuestLog>) -> Result<(), Obstacle> {
        let holdings = self.lane.holdings();
        if !holdings.memory().has_room(0) {
            return Err(Obstacle::Now(Exhausted.to_string()));
        }
        let slot = holdings.provision().ok_or_else(|| {
            let why = "the host's slots for provisioned sandboxes are taken, or this tenant's share of them";
            Obstacle::Now(why.to_owned())
        })?;
        let ready = self.make(program, log, slot).await?;
        let mut all = self.ready();
        if !self.closed.load(Ordering::Acquire) {
            all.push(ready);
            self.metrics.provisioned_ready().fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn make(
        &self,
        program: &Arc<Program>,
        log: &Arc<GuestLog>,
        slot: Lease,
    ) -> Result<ReadySandbox, Obstacle> {
        let deadline = Instant::now() + self.spec.limits.deadline;
        let mut sandbox = Sandbox::new(
            &self.engines,
            program,
            &self.spec,
            log.clone(),
            Propagation::default(),
            deadline,
        )?
        .claim(&self.lane)?;
        sandbox.charge_to(self.lane.clone(), None);
        let instance = sandbox.instantiate().await?;
        let mut store = sandbox.store;
        if !store.data().is_untouched() {
            return Err(Obstacle::Ever);
        }
        let http = program.exports().http.then(|| HttpFunction::new(&mut store, &instance));
        let made = MadeSandbox { instance, http: http.and_then(Result::ok) };
        Ok(ReadySandbox { store, made, program: program.clone(), _slot: slot })
    }
}

impl Drop for Provisioned {
    fn drop(&mut self) {
        self.drop_ready();
        self.wake.notify_one();
    }
}

/// Fills up whenever one was taken, until the revision is gone.
async fn keep_filled(
    provisioned: Weak<Provisioned>,
    wake: Arc<Notify>,
    program: Arc<Program>,
    log: Arc<GuestLog>,
) {
    let mut told = false;
    loop {
        let Some(one) = provisioned.upgrade() else { return };
        if one.closed.load(Ordering::Acquire) {
            return;
        }
        if one.is_full() {
            drop(one);
            wake.notified().await;
            continue;
        }
        match one.fill(&program, &log).await {
            Ok(()) => told = false,
            Err(Obstacle::Ever) => {
                tracing::warn!(
                    function = %log.context().origin,
                    "the component calls the host while it is instantiated, before there is an invocation: no sandbox of it is provisioned"
                );
                return one.close();
            }
            Err(Obstacle::Now(why)) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(function = %log.context().origin, why, "a sandbox could not be provisioned");
                }
                drop(one);
                tokio::time::sleep(RETRY).await;
            }
        }
        // Filling up waits for nothing: requests on this thread come first.
        tokio::task::yield_now().await;
    }
}
