//! Instances that serve more than one invocation, where a function's manifest asks for it
//! (`reuse`).
//!
//! ```text
//!              +------------------- free: takes one more <------------------------+
//!              | take                                                             | has room, and is not over
//!              v                                                                  |
//!   start --> Seat of one invocation --serve--> inbox --> the instance's own task, which runs the guest
//!                  |                                                              |
//!                  +-- left undone: retired, takes no more                        +-- `reuse` invocations, idle, retired,
//!                                                                                     trap, limit: over
//! ```
//!
//! - An instance is of one revision, so of one tenant. It ends with its revision: what it serves it
//!   finishes.
//! - **What is shared**: memory, handles, what the component keeps in variables. The CPU budget is
//!   each invocation's own as far as that can be told ([`meter`]); deadline, outbound requests and
//!   log are. The output of a guest that serves several belongs to the one that began last.
//! - **A trap, or a limit of the sandbox, ends all that the instance serves**, each with that
//!   outcome, and its detail says that it was shared.
//! - An instance that does not answer takes no more. Where several in a row answered before and
//!   then did not, none of the revision's is used again: what the component was built with cannot
//!   do that.
//! - An invocation that is stopped (deadline, client gone) leaves guest code behind that cannot be
//!   stopped alone: the instance is retired, and gone when the others are.
//! - **Slots** are those that the host has for what is made ahead
//!   ([`Holdings::provision`](crate::engine::Holdings::provision)). Where none is left, an
//!   invocation has a sandbox of its own as without `reuse`; so an instance that is kept never
//!   takes a slot from an invocation. An idle one goes after [`IDLE`].
//! - An instance is on one event loop, and serves those that are on the same one, or any invocation
//!   while it is idle: each hand-over between threads costs more than the guest of a small function
//!   does.

mod drive;
mod meter;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use lacewing_base::{
    body::{RequestStream, ResponseStream},
    budget::Lease,
    event_loop,
};
use lacewing_telemetry::{FunctionMetrics, GuestLog, Usage, metrics::Tally};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{SetOnce, oneshot},
    time::timeout_at,
};

use super::{
    Fault, Sandbox, Spec,
    budget::{Consumption, StopReason},
    program::Program,
};
use crate::{
    capability::egress::Propagation,
    engine::{Engines, Lane},
};
use meter::Meter;

/// The time for which an idle instance is kept: long enough for the next request of a function that
/// is in use.
pub const IDLE: Duration = Duration::from_secs(2);

/// Invocations that one instance serves at the same time, where its component can: what one waits
/// for, others use.
pub const CONCURRENT: u32 = 16;

/// CPU time of a call after which others may wait for the next one to begin: a tick is sixteen of
/// them.
const BRISK: Duration = Duration::from_micros(60);

/// Instances in a row that answered once and then did not, after which no instance is used again.
const UNFIT_AFTER: u32 = 3;

/// The instances of one revision. Dropping it drops those that are idle.
pub struct Reused {
    // Those that take one more. The one that was used last comes first: its memory is in the
    // caches.
    free: Mutex<Vec<Arc<Instance>>>,
    closed: AtomicBool,
    /// Instances in a row that answered once and then did not.
    unfit: AtomicU32,
    engines: Arc<Engines>,
    spec: Arc<Spec>,
    metrics: Arc<FunctionMetrics>,
}

/// The state that an instance and its invocations share.
pub(super) struct Instance {
    pool: Weak<Reused>,
    spec: Arc<Spec>,
    engines: Arc<Engines>,
    /// The event loop that its task is on.
    home: Option<usize>,
    /// Locked after the pool's list.
    load: Mutex<InstanceLoad>,
    /// Calls that its task has not begun. `None` once it begins no more.
    inbox: Mutex<Option<VecDeque<Call>>>,
    /// Invocations that it serves at the same time, at the most.
    concurrent: u32,
    waker: AtomicWaker,
    cpu: Arc<Consumption>,
    meter: Mutex<Meter>,
    peak_bytes: AtomicU64,
    /// Invocations that its guest works for.
    open: AtomicU32,
    /// Whether its component would begin a call at once.
    ready: AtomicBool,
    /// Whether it has ever answered.
    answered: AtomicBool,
    /// Whether its last call was short.
    brisk: AtomicBool,
    /// Whether the guest was interrupted, and would go on, when it last came to rest.
    interrupted: AtomicBool,
    /// Why it ended, where that was not by itself.
    ended: SetOnce<Ended>,
}

#[derive(Clone, Debug)]
struct Ended {
    fault: Fault,
    /// Whether the guest said that all was well, as a program does that was written to serve once.
    well: bool,
}

#[derive(Debug, Default)]
struct InstanceLoad {
    /// Invocations that hold a seat.
    seats: u32,
    /// And that ever did.
    served: u32,
    /// Whether it takes one more.
    offer: Offer,
    /// Whether guest code of an invocation that has left may still be there.
    undone: bool,
    /// When the last seat was left.
    left: Option<Instant>,
}

/// Whether an instance takes one more invocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Offer {
    /// Yes: it is in the pool's list.
    Listed,
    /// Not now: it is full, or its guest computes.
    #[default]
    Withheld,
    /// Never again. It ends with its last invocation.
    Retired,
}

impl Offer {
    /// The state after one that is not in the list any more. A retired instance stays retired.
    fn or(self, next: Offer) -> Offer {
        if self == Offer::Retired { self } else { next }
    }
}

/// One invocation's request, for the instance.
struct Call {
    request: http::Request<RequestStream>,
    respond: oneshot::Sender<http::Response<ResponseStream>>,
    log: Arc<GuestLog>,
    propagation: Propagation,
    noted: Arc<Noted>,
    done: oneshot::Sender<Done>,
}

/// The progress of a call before it is done.
struct Noted {
    /// Where the meter was when it began, in nanoseconds; at first, that it has not.
    start_ns: AtomicU64,
    /// Whether the head of its response was sent.
    sent: AtomicBool,
}

const NOT_STARTED: u64 = u64::MAX;

struct Done {
    result: Result<(), Fault>,
    cpu: Duration,
    fuel: Option<u64>,
}

/// A place in an instance, for one invocation.
pub struct Seat {
    instance: Arc<Instance>,
    log: Arc<GuestLog>,
    propagation: Propagation,
    deadline: Instant,
    noted: Arc<Noted>,
    /// Whether the guest has been given something to do.
    handed: bool,
    done: Option<Usage>,
    instantiation: Option<Duration>,
}

impl Reused {
    /// For the instances of a revision; `None` if each invocation is to have its own.
    pub fn new(
        engines: &Arc<Engines>,
        spec: &Arc<Spec>,
        metrics: &Arc<FunctionMetrics>,
    ) -> Option<Arc<Reused>> {
        (spec.limits.reuse > 1).then(|| {
            Arc::new(Reused {
                free: Mutex::default(),
                closed: AtomicBool::new(false),
                unfit: AtomicU32::new(0),
                engines: engines.clone(),
                spec: spec.clone(),
                metrics: metrics.clone(),
            })
        })
    }

    /// A seat in an instance that is near, or that has nothing else to do, for the invocation of
    /// `log` and until `deadline`.
    pub fn take(
        &self,
        log: &Arc<GuestLog>,
        propagation: &mut Propagation,
        deadline: Instant,
    ) -> Option<Seat> {
        let instance = {
            let here = event_loop::here();
            let mut free = self.free();
            let near = free.iter().rposition(|one| one.home == here);
            let at = near.or_else(|| free.iter().rposition(|one| one.load().seats == 0))?;
            let instance = free[at].clone();
            let mut load = instance.load();
            load.seats += 1;
            load.served += 1;
            // Invocations behind one that is soon done need no instance of their own.
            let has_room = instance.brisk.load(Relaxed)
                && load.seats < instance.concurrent
                && load.served < self.spec.limits.reuse;
            if !has_room {
                load.offer = Offer::Withheld;
                free.remove(at);
            }
            drop(load);
            instance
        };
        self.metrics.tally(Tally::ReusedAgain);
        Some(Seat::new(instance, log.clone(), std::mem::take(propagation), deadline))
    }

    /// A seat in a new instance, if the host has a slot for it. It is instantiated under that
    /// invocation's limits; what it uses is charged to `lane`.
    pub async fn start(
        self: &Arc<Self>,
        program: &Arc<Program>,
        lane: &Arc<Lane>,
        log: &Arc<GuestLog>,
        propagation: &mut Propagation,
        deadline: Instant,
    ) -> Result<Option<Seat>, Fault> {
        if self.closed.load(Relaxed) {
            return Ok(None);
        }
        let Some(slot) = lane.holdings().provision() else { return Ok(None) };
        let began = Instant::now();
        let mut sandbox = Sandbox::new(
            &self.engines,
            program,
            &self.spec,
            log.clone(),
            Propagation::default(),
            deadline,
        )?
        .claim(lane)?;
        sandbox.charge_to(lane.clone(), None);
        let made = sandbox.instantiate().await?;
        let instantiation = Some(began.elapsed());
        let Sandbox { mut store, program, cpu, .. } = sandbox;
        let instance = Arc::new(Instance {
            pool: Arc::downgrade(self),
            spec: self.spec.clone(),
            engines: self.engines.clone(),
            home: event_loop::here(),
            load: Mutex::new(InstanceLoad { seats: 1, served: 1, ..InstanceLoad::default() }),
            inbox: Mutex::new(Some(VecDeque::new())),
            // One call of wasi:http 0.2 has the store for itself, and fuel is counted by store.
            concurrent: match program.wasi_03.is_some() && self.spec.limits.fuel.is_none() {
                true => CONCURRENT,
                false => 1,
            },
            waker: AtomicWaker::new(),
            cpu,
            meter: Mutex::default(),
            peak_bytes: AtomicU64::new(0),
            open: AtomicU32::new(0),
            ready: AtomicBool::new(true),
            answered: AtomicBool::new(false),
            brisk: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            ended: SetOnce::new(),
        });
        store.data_mut().share(instance.clone());
        let kept = Kept { slot, metrics: self.metrics.clone() };
        kept.metrics.tally(Tally::ReusedMade);
        kept.metrics.reused_instances().fetch_add(1, Relaxed);
        drop(event_loop::spawn(drive::drive(instance.clone(), store, made, program, kept)));
        let mut seat = Seat::new(instance, log.clone(), std::mem::take(propagation), deadline);
        seat.instantiation = instantiation;
        Ok(Some(seat))
    }

    /// Drops what is idle, and starts no more.
    pub fn close(&self) {
        self.closed.store(true, Relaxed);
        let idle = std::mem::take(&mut *self.free());
        for instance in idle {
            instance.load().offer = Offer::Retired;
            instance.waker.wake();
        }
    }

    /// Notes whether an instance that had answered before has answered again.
    fn note_again(&self, answered: bool, log: &GuestLog) {
        if answered {
            // Written seldom: a line of the cache that all threads write is slow.
            if self.unfit.load(Relaxed) > 0 {
                self.unfit.store(0, Relaxed);
            }
            return;
        }
        if self.unfit.fetch_add(1, Relaxed) + 1 == UNFIT_AFTER {
            self.close();
            log.note(&format!(
                "{UNFIT_AFTER} instances in a row answered one request and no second one: what the component was built with \
                 serves once; each invocation has an instance of its own from now on, as without `reuse`"
            ));
        }
    }

    fn free(&self) -> MutexGuard<'_, Vec<Arc<Instance>>> {
        self.free.lock()
    }
}

impl Drop for Reused {
    fn drop(&mut self) {
        self.close();
    }
}

/// The host's resources that an instance holds as long as it exists.
struct Kept {
    #[expect(dead_code, reason = "held")]
    slot: Lease,
    metrics: Arc<FunctionMetrics>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.metrics.reused_instances().fetch_sub(1, Relaxed);
    }
}

impl Instance {
    fn load(&self) -> MutexGuard<'_, InstanceLoad> {
        self.load.lock()
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock()
    }

    fn inbox(&self) -> MutexGuard<'_, Option<VecDeque<Call>>> {
        self.inbox.lock()
    }

    /// Takes one more, if it has room for it now and that is not one too many; or none, until it
    /// comes to rest. Asked whenever that may have changed.
    fn offer(self: &Arc<Self>) {
        let rests = self.ready.load(Relaxed) && !self.interrupted.load(Relaxed);
        if !rests || self.open.load(Relaxed) >= self.concurrent {
            return self.withdraw();
        }
        let Some(pool) = self.pool.upgrade() else {
            self.retire();
            return self.waker.wake();
        };
        let mut free = pool.free();
        let mut load = self.load();
        if pool.closed.load(Relaxed) || load.served >= self.spec.limits.reuse {
            if load.offer == Offer::Listed {
                self.unlist(&mut free);
            }
            load.offer = Offer::Retired;
            if load.seats == 0 {
                self.waker.wake();
            }
        } else if load.offer == Offer::Withheld && load.seats < self.concurrent {
            load.offer = Offer::Listed;
            free.push(self.clone());
        }
    }

    /// Takes no more.
    fn retire(&self) {
        self.close_offer(Offer::Retired);
    }

    /// Takes no more for now.
    fn withdraw(&self) {
        self.close_offer(Offer::Withheld);
    }

    fn close_offer(&self, next: Offer) {
        // Most are not in the list, and need no lock of the pool.
        {
            let mut load = self.load();
            if load.offer != Offer::Listed {
                load.offer = load.offer.or(next);
                return;
            }
        }
        let pool = self.pool.upgrade();
        let mut free = pool.as_ref().map(|pool| pool.free());
        let mut load = self.load();
        if let Some(free) = free.as_mut().filter(|_| load.offer == Offer::Listed) {
            self.unlist(free);
        }
        load.offer = load.offer.or(next);
    }

    fn unlist(&self, free: &mut Vec<Arc<Instance>>) {
        free.retain(|other| !std::ptr::eq(&raw const **other, self));
    }

    /// For the epoch: which limit ends it, if one does.
    pub(super) fn over_time(&self, spent: Duration) -> Option<StopReason> {
        if self.meter().is_over(spent, self.spec.limits.cpu) {
            return Some(StopReason::Cpu);
        }
        let load = self.load();
        (load.seats == 0 && load.undone).then_some(StopReason::Deadline)
    }

    /// Notes that a tick has interrupted the guest.
    pub(super) fn note_tick(&self) {
        self.interrupted.store(true, Relaxed);
    }
}

impl Seat {
    fn new(
        instance: Arc<Instance>,
        log: Arc<GuestLog>,
        propagation: Propagation,
        deadline: Instant,
    ) -> Seat {
        Seat {
            instance,
            log,
            propagation,
            deadline,
            noted: Arc::new(Noted {
                start_ns: AtomicU64::new(NOT_STARTED),
                sent: AtomicBool::new(false),
            }),
            handed: false,
            done: None,
            instantiation: None,
        }
    }

    /// As [`Sandbox::serve`]; the guest runs in the instance's own task.
    pub async fn serve(
        &mut self,
        request: http::Request<RequestStream>,
        respond: oneshot::Sender<http::Response<ResponseStream>>,
    ) -> Result<(), Fault> {
        let (done, ended) = oneshot::channel();
        let call = Call {
            request,
            respond,
            log: self.log.clone(),
            propagation: std::mem::take(&mut self.propagation),
            noted: self.noted.clone(),
            done,
        };
        self.handed = true;
        // If no invocation takes it, it is dropped, which is its end.
        if let Some(inbox) = &mut *self.instance.inbox() {
            inbox.push_back(call);
        }
        self.instance.waker.wake();
        let ended = async {
            match ended.await {
                Ok(done) => done,
                // It has ended, for all that it served.
                Err(_) => {
                    let Ended { fault, well } = self.instance.ended.wait().await.clone();
                    let answered = well && self.noted.sent.load(Relaxed);
                    let result = if answered { Ok(()) } else { Err(fault) };
                    Done { result, cpu: self.charged(), fuel: None }
                }
            }
        };
        let Ok(Done { result, cpu, fuel }) = timeout_at(self.deadline.into(), ended).await else {
            return Err(Fault::from(StopReason::Deadline));
        };
        self.done = Some(Usage { cpu, fuel, ..Usage::default() });
        result
    }

    /// Whether its instance was in one step for long.
    pub fn overran(&self) -> bool {
        self.instance.cpu.overran()
    }

    /// The usage so far, as [`Sandbox::usage`].
    pub fn usage(&self) -> Usage {
        let usage = self.done.unwrap_or_else(|| Usage { cpu: self.charged(), ..Usage::default() });
        Usage {
            memory_peak_bytes: self.instance.peak_bytes.load(Relaxed),
            instantiation: self.instantiation,
            ..usage
        }
    }

    fn charged(&self) -> Duration {
        match self.noted.start_ns.load(Relaxed) {
            NOT_STARTED => Duration::ZERO,
            start => self.instance.meter().charged(Duration::from_nanos(start)),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let undone = self.handed && self.done.is_none();
        if undone {
            self.instance.retire();
        }
        let mut load = self.instance.load();
        load.seats -= 1;
        load.undone |= undone;
        if load.seats == 0 {
            load.left = Some(Instant::now());
        }
        let last = load.seats == 0 && load.offer == Offer::Retired;
        drop(load);
        if last {
            self.instance.waker.wake();
        } else {
            self.instance.offer();
        }
    }
}
