//! The consumption of one sandbox, and the budgets and the deadline that bound it.
//!
//! A guest runs only inside polls of its future, so the time of those polls is the CPU time it is
//! charged: a guest that waits pays nothing. A poll that is shorter than a tick, as most are, is
//! measured by the wall clock, which costs no system call. A longer poll is measured by the
//! thread's CPU clock, so that a guest does not pay for time in which the kernel ran another
//! thread. The clock's first reading may be a tick older than the poll, and the wall clock bounds
//! the error.
//!
//! The epoch callback runs on the guest's stack, in the middle of a slice. It finds that slice in a
//! thread-local, because everything else is borrowed by the call.
//!
//! The time of an invocation is charged to its tenant's [`Lane`] too. A guest takes a
//! [turn](crate::engine::Turns) for each tick after its first, and waiting for a turn costs it
//! nothing but time. A guest that waits for something else has no turn.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use lacewing_base::{budget::Lease, event_loop, heap::HeapAccount};
use parking_lot::{Mutex, MutexGuard};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Sleep;

use crate::{
    capability::Payer,
    engine::{Lane, TICK, Turn, ticks},
};

/// The limit that ended the guest. It travels through Wasmtime as an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StopReason {
    #[error("the CPU budget is spent")]
    Cpu,
    #[error(
        "the guest called the host for {} ms of CPU time in one step: it met no loop and no function at which it can be interrupted",
        LONGEST_STEP.as_millis()
    )]
    Step,
    #[error("the deadline has passed")]
    Deadline,
    /// The limiter's refusal says which limit.
    #[error("the host holds more memory for the guest than the guest's limit allows")]
    Held,
    #[error(
        "the host's resident memory was over its limit, and no sandbox or connection had more blocks of the host's heap"
    )]
    CalledIn,
}

impl StopReason {
    const ALL: [StopReason; 5] = [
        StopReason::Cpu,
        StopReason::Step,
        StopReason::Deadline,
        StopReason::Held,
        StopReason::CalledIn,
    ];

    fn code(self) -> u8 {
        self as u8 + 1
    }
}

/// The CPU time and heap of one sandbox: its guest's, and that of the host's tasks that work for
/// the guest.
#[derive(Debug)]
pub(super) struct Consumption {
    spent_ns: AtomicU64,
    /// Taken when the account is closed.
    heap: Option<HeapAccount>,
    /// The lane that pays. None: no tenant pays, and the guest takes no turns.
    lane: OnceLock<Arc<Lane>>,
    has_turn: AtomicBool,
    turn: Mutex<Option<HeldTurn>>,
    /// The code of the limit for which the guest is to be stopped; 0 for none.
    stop: AtomicU8,
    /// Whether one poll took longer than ticks let it.
    overran: AtomicBool,
}

/// The CPU time that a poll may take: a tick interrupts a guest well before.
const OVERRUN: Duration = TICK.saturating_mul(4);

/// The CPU time that calls of the host may take between two points at which the guest can be
/// interrupted. Compilers make a function for each call of the host, and a function begins with
/// such a point: only a guest that was written to hold a core meets this limit.
const LONGEST_STEP: Duration = TICK.saturating_mul(20);

/// A turn, and the CPU time that had been spent when it began.
#[derive(Debug)]
struct HeldTurn {
    turn: Turn,
    since: Duration,
}

impl Default for Consumption {
    fn default() -> Consumption {
        Consumption {
            spent_ns: AtomicU64::new(0),
            heap: Some(HeapAccount::open()),
            lane: OnceLock::new(),
            has_turn: AtomicBool::new(false),
            turn: Mutex::default(),
            stop: AtomicU8::new(0),
            overran: AtomicBool::new(false),
        }
    }
}

/// Bytes that a sandbox may leave behind at no charge. The host makes some blocks once and for
/// good, such as the names of a program for its first trap, and these happen to be allocated for
/// one sandbox.
const LEFT_FREE_BYTES: u64 = 4096;

impl Drop for Consumption {
    fn drop(&mut self) {
        let Some(heap) = self.heap.take() else { return };
        let lane = self.lane.get();
        // A tenant pays for what its guests leave behind, such as a response that is not read, as
        // long as that is there.
        heap.close(|bytes| {
            if bytes <= LEFT_FREE_BYTES {
                return None;
            }
            let mut part: Lease = lane?.memory().lease();
            part.add(bytes);
            Some(part)
        });
    }
}

impl Consumption {
    /// Whether the guest is to be stopped because the host needs the memory back.
    pub(super) fn is_called_in(&self) -> bool {
        self.heap.as_ref().is_some_and(HeapAccount::is_called_in)
    }

    /// The same, for a guest that waits: the guest's task is woken once that changes.
    fn is_called_in_or_wakes(&self, task: &Waker) -> bool {
        self.heap.as_ref().is_some_and(|heap| heap.is_called_in_or_wakes(task))
    }

    /// Counts CPU time from zero: no invocation pays for the time so far.
    pub(super) fn restart(&self) {
        self.spent_ns.store(0, Ordering::Relaxed);
        self.overran.store(false, Ordering::Relaxed);
    }

    /// Bytes of the heap that are in use for the sandbox.
    pub(super) fn heap_bytes(&self) -> usize {
        self.heap.as_ref().map_or(0, HeapAccount::bytes)
    }

    /// Charges the time from now on to a lane, which may have given the first turn already.
    pub(super) fn charge_to(&self, lane: Arc<Lane>, turn: Option<Turn>) {
        // Set once, before anything runs.
        let _ = self.lane.set(lane);
        if let Some(turn) = turn {
            self.hold(turn, self.spent());
        }
    }

    pub(super) fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent_ns.load(Ordering::Relaxed))
    }

    /// Has the guest stopped at its next tick, or when it next waits, by a limit that it does not
    /// meet in its own code.
    pub(super) fn stop(&self, stop: StopReason) {
        self.stop.store(stop.code(), Ordering::Relaxed);
    }

    /// The limit that [`Consumption::stop`] named.
    pub(super) fn stopped(&self) -> Option<StopReason> {
        match self.stop.load(Ordering::Relaxed) {
            0 => None,
            code => StopReason::ALL.into_iter().find(|stop| stop.code() == code),
        }
    }

    /// Whether the guest was in one step for long: in a call of the host, or in an instruction over
    /// much memory.
    pub(super) fn overran(&self) -> bool {
        self.overran.load(Ordering::Relaxed)
    }

    fn add(&self, time: Duration) {
        if time >= OVERRUN {
            self.overran.store(true, Ordering::Relaxed);
        }
        self.add_elsewhere(time);
    }

    /// Adds time of a thread that holds up no other guest.
    fn add_elsewhere(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.spent_ns.fetch_add(ns, Ordering::Relaxed);
        if let Some(lane) = self.lane.get() {
            lane.charge(time);
        }
    }

    fn turn(&self) -> MutexGuard<'_, Option<HeldTurn>> {
        self.turn.lock()
    }

    fn hold(&self, turn: Turn, since: Duration) {
        *self.turn() = Some(HeldTurn { turn, since });
        self.has_turn.store(true, Ordering::Relaxed);
    }

    /// The guest's turn, with the time that was spent of it.
    fn take_turn(&self, spent: Duration) -> Option<Turn> {
        if !self.has_turn.load(Ordering::Relaxed) {
            return None;
        }
        self.has_turn.store(false, Ordering::Relaxed);
        let HeldTurn { mut turn, since } = self.turn().take()?;
        turn.set_used(spent.saturating_sub(since));
        Some(turn)
    }

    /// The wait of a guest at a tick. `spent` is the time that the guest had spent then.
    pub(super) fn at_tick(
        self: &Arc<Consumption>,
        spent: Duration,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let turn = self.take_turn(spent);
        let has_just_begun =
            turn.is_none() && spent.saturating_sub(spent_before_poll()) < event_loop::LONG;
        match self.lane.get() {
            Some(lane) if !(has_just_begun && lane.has_credit()) => {
                let next = next_turn(self.clone(), lane.clone(), turn);
                Box::pin(interrupted(Duration::MAX, next))
            }
            // Wasmtime's own yield would be polled again at once, before all other tasks of this
            // thread.
            _ => Box::pin(interrupted(Duration::ZERO, tokio::task::yield_now())),
        }
    }
}

async fn next_turn(clock: Arc<Consumption>, lane: Arc<Lane>, turn: Option<Turn>) {
    let next = match turn {
        Some(turn) => turn.next(),
        None => lane.try_turn().ok_or_else(|| lane.turn()),
    };
    let turn = match next {
        Ok(turn) => turn,
        Err(waiting) => waiting.await,
    };
    // Other work of this thread comes first, reading from sockets included.
    tokio::task::yield_now().await;
    clock.hold(turn, spent_at_tick());
}

/// One poll of a guest's future.
#[derive(Clone, Copy)]
struct Slice {
    start: Instant,
    // The thread's CPU clock at the start, or up to a tick before it.
    cpu: Duration,
    before: Duration,
    // The time that the computation has taken at least, if a tick has interrupted the guest.
    interrupted: Option<Duration>,
    // Ticks of the process at the start.
    ticks: u64,
}

thread_local! {
    static SLICE: Cell<Option<Slice>> = const { Cell::new(None) };
    // The last reading of this thread's CPU clock, and when it was taken.
    static READING: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

impl Slice {
    fn begin(clock: &Consumption, interrupted: Option<Duration>) -> Slice {
        let start = Instant::now();
        let cpu = match READING.get() {
            Some((at, cpu)) if start.saturating_duration_since(at) < TICK => cpu,
            _ => read_cpu(start),
        };
        Slice { start, cpu, before: clock.spent(), interrupted, ticks: ticks() }
    }

    fn elapsed(&self) -> Duration {
        let now = Instant::now();
        let wall = now.saturating_duration_since(self.start);
        if wall < TICK { wall } else { wall.min(read_cpu(now).saturating_sub(self.cpu)) }
    }
}

fn read_cpu(now: Instant) -> Duration {
    let cpu = thread_cpu();
    READING.set(Some((now, cpu)));
    cpu
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs().try_into().unwrap_or(0))
}

/// The CPU time of the invocation that runs on this thread, up to now. For the epoch callback.
pub(super) fn spent_at_tick() -> Duration {
    SLICE.with(|cell| cell.get().map_or(Duration::ZERO, |slice| slice.before + slice.elapsed()))
}

/// The CPU time of the invocation that runs on this thread, and the limit on its step if that is
/// exceeded. For calls of the host.
///
/// `None`: the guest has met a tick a moment ago.
pub(super) fn spent_at_call() -> Option<(Duration, Option<StopReason>)> {
    let slice = SLICE.get()?;
    // A step begins between two ticks.
    if ticks().wrapping_sub(slice.ticks) < 2 {
        return None;
    }
    let step = slice.elapsed();
    Some((slice.before + step, (step >= LONGEST_STEP).then_some(StopReason::Step)))
}

/// The CPU time of the invocation that runs on this thread, before its poll began.
fn spent_before_poll() -> Duration {
    SLICE.get().map_or(Duration::ZERO, |slice| slice.before)
}

/// The wait of a guest that a tick has interrupted, and that has computed for `time` at least.
async fn interrupted(time: Duration, until: impl Future<Output = ()>) {
    set_interrupted(Some(time));
    until.await;
    set_interrupted(None);
}

/// Whether the guest that is polled on this thread waits at a tick.
pub(super) fn is_interrupted() -> bool {
    SLICE.get().is_some_and(|slice| slice.interrupted.is_some())
}

fn set_interrupted(interrupted: Option<Duration>) {
    SLICE.set(SLICE.get().map(|slice| Slice { interrupted, ..slice }));
}

/// Runs `guest` until it is done or the deadline has passed, and charges `clock` for its polls.
pub(super) fn limited<F: Future>(
    clock: &Consumption,
    deadline: Instant,
    guest: F,
) -> Limited<'_, F> {
    Limited { guest, clock, deadline, timer: None, interrupted: None }
}

pin_project_lite::pin_project! {
    /// See [`limited`].
    pub(super) struct Limited<'a, F> {
        #[pin]
        guest: F,
        clock: &'a Consumption,
        deadline: Instant,
        // Made when the guest first waits: most never do.
        timer: Option<Pin<Box<Sleep>>>,
        interrupted: Option<Duration>,
    }
}

impl<F: Future> Future for Limited<'_, F> {
    type Output = Result<F::Output, StopReason>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        SLICE.set(Some(Slice::begin(this.clock, *this.interrupted)));
        let scope = this.clock.heap.as_ref().map(HeapAccount::enter);
        let poll = this.guest.poll(cx);
        drop(scope);
        let mut time = Duration::ZERO;
        if let Some(slice) = SLICE.take() {
            time = slice.elapsed();
            this.clock.add(time);
            *this.interrupted = slice.interrupted;
        }
        // A guest that is done, or waits for something else, has no turn.
        drop(this.clock.take_turn(this.clock.spent()));
        if let Poll::Ready(output) = poll {
            return Poll::Ready(Ok(output));
        }
        if this.clock.is_called_in_or_wakes(cx.waker()) {
            this.clock.stop(StopReason::CalledIn);
        }
        if let Some(stop) = this.clock.stopped() {
            return Poll::Ready(Err(stop));
        }
        if let Some(at_least) = *this.interrupted {
            event_loop::computing(time.max(at_least));
        }
        let deadline = *this.deadline;
        let timer =
            this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        timer.as_mut().poll(cx).map(|()| Err(StopReason::Deadline))
    }
}

/// The host's own work for a guest, in whichever task, which the guest's sandbox pays for.
///
/// Work that takes the sandbox over its CPU budget is not polled again: the guest is stopped, and
/// the work with it.
pub(super) struct SandboxPayer {
    pub(super) consumption: Arc<Consumption>,
    pub(super) cpu_limit: Duration,
}

impl Payer for SandboxPayer {
    fn charge(&self, poll: &mut dyn FnMut() -> bool) -> bool {
        let SandboxPayer { consumption, cpu_limit } = self;
        if consumption.stopped().is_some() {
            return false;
        }
        let scope = consumption.heap.as_ref().map(HeapAccount::enter);
        // Inside the guest's own poll the time is the guest's already.
        if SLICE.get().is_some() {
            poll();
            drop(scope);
            return true;
        }
        let slice = Slice::begin(consumption, None);
        let is_done = poll();
        drop(scope);
        consumption.add(slice.elapsed());
        if !is_done && consumption.spent() >= *cpu_limit {
            consumption.stop(StopReason::Cpu);
            return false;
        }
        true
    }

    fn charge_thread(&self, work: &mut dyn FnMut()) {
        let SandboxPayer { consumption, cpu_limit } = self;
        let scope = consumption.heap.as_ref().map(HeapAccount::enter);
        let begun = thread_cpu();
        work();
        consumption.add_elsewhere(thread_cpu().saturating_sub(begun));
        drop(scope);
        if consumption.spent() >= *cpu_limit {
            consumption.stop(StopReason::Cpu);
        }
    }

    fn cpu_left(&self) -> Duration {
        match self.consumption.stopped() {
            Some(_) => Duration::ZERO,
            None => self.cpu_limit.saturating_sub(self.consumption.spent()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burn(time: Duration) {
        let start = thread_cpu();
        while thread_cpu() - start < time {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn waiting_is_not_charged_and_running_is() {
        let clock = Consumption::default();
        let guest = async {
            burn(Duration::from_millis(2));
            tokio::time::sleep(Duration::from_millis(50)).await;
            burn(Duration::from_millis(2));
        };
        let start = Instant::now();
        limited(&clock, start + Duration::from_secs(60), guest).await.unwrap();
        assert!(clock.spent() >= Duration::from_millis(4), "{:?}", clock.spent());
        assert!(
            start.elapsed() - clock.spent() >= Duration::from_millis(45),
            "{:?}",
            clock.spent()
        );
    }

    #[tokio::test]
    async fn the_deadline_ends_a_guest_that_waits() {
        let clock = Consumption::default();
        let guest = std::future::pending::<()>();
        let result = limited(&clock, Instant::now() + Duration::from_millis(5), guest).await;
        assert_eq!(result, Err(StopReason::Deadline));
    }

    #[tokio::test]
    async fn a_tick_sees_this_slice_and_all_before_it() {
        let clock = Consumption::default();
        let guest = async {
            burn(Duration::from_millis(2));
            tokio::task::yield_now().await;
            burn(Duration::from_millis(2));
            spent_at_tick()
        };
        let seen = limited(&clock, Instant::now() + Duration::from_secs(60), guest).await.unwrap();
        assert!(seen >= Duration::from_millis(4), "{seen:?}");
        assert!(clock.spent() >= seen);
    }

    #[tokio::test]
    async fn time_of_other_threads_is_not_charged() {
        let clock = Consumption::default();
        // One poll, in which this thread does not run for most of the time.
        let guest = async {
            burn(Duration::from_millis(2));
            std::thread::sleep(Duration::from_millis(100));
            spent_at_tick()
        };
        let seen = limited(&clock, Instant::now() + Duration::from_secs(60), guest).await.unwrap();
        assert!(seen >= Duration::from_millis(2) && seen < Duration::from_millis(50), "{seen:?}");
        assert!(clock.spent() < Duration::from_millis(50), "{:?}", clock.spent());
    }
}
