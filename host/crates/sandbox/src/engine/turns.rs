//! The turns of guests on the cores, when there are more guests than cores.
//!
//! Tenants share CPU time, and not requests: a tenant whose guests compute for long would have all
//! cores, however few its guests are. So a guest takes *turns*. There are as many turns as cores; a
//! turn lasts until the next tick of the epoch. A fair queue over the tenants that wait decides
//! about the next turn. A guest that ends within its first tick needs none, as in a multi-level
//! feedback queue (Corbató, Merwin-Daggett, Daley: "An experimental time-sharing system", 1962). A
//! tenant that has taken more than its share needs a turn for each start as well: its requests then
//! wait in the fair queue, and not in the runtime's.
//!
//! ```text
//!   a guest starts --credit left--> runs --tick--> waits in its lane --a turn is free--> runs --tick--> waits again
//!        |                           |                    ^          fair between lanes   |
//!        +------credit used up-------|--------------------+                               |
//!                                    +--> ends, or waits for something else: the turn is given back <--+
//! ```
//!
//! A *lane* is what one tenant has of this. Credit is earned by the share that a lane has among
//! those that run anything, of three quarters of the time that there is, and paid with the time
//! that its guests take, in turns or not. While guests wait for turns, the time that there is is
//! what all lanes together got: another process, or a limit on this one, may have the rest.
//!
//! A guest that gets a turn goes to the end of the runtime's queue first. Other work of these
//! threads (accepting, reading, first ticks) is then never behind more guests than there are cores.

use std::{
    num::NonZero,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{
            AtomicBool, AtomicI64, AtomicU32,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use lacewing_base::{
    budget::Share,
    fair::{Flow, Weight},
    permits::{self, Permit, Resource, Wait, Waiters},
};
use parking_lot::Mutex;

use super::Holdings;

/// The CPU time that a lane may save up, in nanoseconds: how long the guests of one that did
/// nothing for a while run before they have to take turns. Over all cores; so much longer may
/// others wait for the first time.
const MOST_CREDIT_NS: i64 = 10_000_000;

/// The CPU time that a lane may owe, in nanoseconds. Time that it took in turns, because no other
/// lane wanted them, is not held against it for longer than it takes to earn this.
const MOST_DEBT_NS: i64 = 100_000_000;

/// The part of the time that lanes earn as credit. The rest goes by turns, and to work that is no
/// guest's.
const CREDIT_PART: (u64, u64) = (3, 4);

/// The longest time that one refill covers. A refilling thread that comes late gives no credit for
/// time in which nothing ran.
const LONGEST_REFILL: Duration = Duration::from_millis(50);

/// Refills after which a lane that ran nothing no longer has a share.
const IDLE_REFILLS: u32 = 100;

/// The turns of one host.
#[derive(Debug)]
pub struct Turns {
    cores: u32,
    taken: AtomicU32,
    waiters: Waiters<Turns>,
    active: Mutex<Active>,
}

/// The lanes that have run something of late.
#[derive(Debug)]
struct Active {
    lanes: Vec<Weak<Lane>>,
    refilled: Instant,
}

/// A tenant's credit of CPU time and place in the queue for turns, and its holdings of the host's
/// stocks.
#[derive(Debug)]
pub struct Lane {
    turns: Arc<Turns>,
    holdings: Holdings,
    flow: Arc<Flow>,
    credit_ns: AtomicI64,
    /// The credit after the last refill.
    refilled_ns: AtomicI64,
    is_active: AtomicBool,
    idle_refills: AtomicU32,
}

/// The right to run until the next tick. Dropping the turn gives it to the next guest.
#[derive(Debug)]
pub struct Turn {
    permit: Permit<Turns>,
    used: Duration,
}

/// A guest that waits for its turn. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Waiting(Wait<Turns>);

impl Resource for Turns {
    type Demand = Arc<Lane>;

    fn waiters(&self) -> &Waiters<Turns> {
        &self.waiters
    }

    fn take(&self, _: &Arc<Lane>) -> bool {
        let more = |taken: u32| (taken < self.cores).then_some(taken + 1);
        self.taken.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    fn give_back(&self, _: &Arc<Lane>) {
        self.taken.fetch_sub(1, SeqCst);
    }

    /// A turn costs the time that it takes: see [`Turn::set_used`].
    fn cost(&self) -> u64 {
        0
    }
}

impl Turns {
    /// Makes as many turns as there are cores.
    pub(super) fn new() -> Arc<Turns> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Turns::of(u32::try_from(cores).unwrap_or(u32::MAX))
    }

    fn of(cores: u32) -> Arc<Turns> {
        Arc::new(Turns {
            cores,
            taken: AtomicU32::new(0),
            waiters: Waiters::default(),
            active: Mutex::new(Active { lanes: Vec::new(), refilled: Instant::now() }),
        })
    }

    /// A lane for a tenant, with its holdings of the host's stocks.
    pub(super) fn lane(self: &Arc<Turns>, weight: &Weight, holdings: Holdings) -> Arc<Lane> {
        Arc::new(Lane {
            turns: self.clone(),
            holdings,
            flow: Flow::new(weight),
            credit_ns: AtomicI64::new(MOST_CREDIT_NS),
            refilled_ns: AtomicI64::new(MOST_CREDIT_NS),
            is_active: AtomicBool::new(false),
            idle_refills: AtomicU32::new(0),
        })
    }

    /// Guests that wait for a turn.
    pub fn waiting(&self) -> u64 {
        self.waiters.len() as u64
    }

    /// Guests that have a turn.
    pub fn taken(&self) -> u32 {
        self.taken.load(SeqCst)
    }

    /// Gives the lanes the credit that they have earned since the last refill. The ticking thread
    /// calls this.
    pub(super) fn refill(&self, now: Instant) {
        let mut active = self.active.lock();
        let passed = now.saturating_duration_since(active.refilled).min(LONGEST_REFILL);
        active.refilled = now;
        if active.lanes.is_empty() {
            return;
        }
        let lanes: Vec<Arc<Lane>> = active.lanes.iter().filter_map(Weak::upgrade).collect();
        let weights: u64 = lanes.iter().map(|lane| u64::from(lane.flow.weight())).sum();
        let ran: u64 = lanes.iter().map(|lane| lane.ran_ns()).sum();
        let passed = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        let all = passed.saturating_mul(u64::from(self.cores));
        let (part, of) = CREDIT_PART;
        let whole = if self.waiting() > 0 { ran.min(all) } else { all }.saturating_mul(part) / of;
        for lane in &lanes {
            let earned = match lanes.len() {
                // No other tenant wants any of it: turns would only cost time.
                1 => u64::MAX,
                _ => whole.saturating_mul(u64::from(lane.flow.weight())) / weights.max(1),
            };
            lane.earn(i64::try_from(earned).unwrap_or(i64::MAX));
        }
        active.lanes.retain(|lane| lane.upgrade().is_some_and(|lane| lane.stays_active()));
    }

    /// Adds a lane that had not run anything of late.
    fn activate(&self, lane: &Arc<Lane>) {
        let mut active = self.active.lock();
        active.lanes.push(Arc::downgrade(lane));
    }
}

impl Lane {
    /// The holdings of the lane's guests of the host's stocks.
    pub fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    /// The account of the memories of the lane's guests.
    pub fn memory(&self) -> &Arc<Share> {
        self.holdings.memory()
    }

    /// Whether the lane's guests start without a turn.
    pub fn has_credit(&self) -> bool {
        self.credit_ns.load(Relaxed) >= 0
    }

    /// Charges the lane for the time that one of its guests has run.
    pub fn charge(self: &Arc<Lane>, time: Duration) {
        let ns = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        self.credit_ns.fetch_sub(ns, Relaxed);
        if !self.is_active() && !self.is_active.swap(true, Relaxed) {
            self.turns.activate(self);
        }
    }

    /// A turn, if one is free and no guest waits.
    pub fn try_turn(self: &Arc<Lane>) -> Option<Turn> {
        let permit = permits::try_acquire(&self.turns, self.clone())?;
        self.turns.waiters.pass(&self.flow);
        Some(Turn { permit, used: Duration::ZERO })
    }

    /// Waits for a turn.
    pub fn turn(self: &Arc<Lane>) -> Waiting {
        Waiting(permits::acquire(&self.turns, &self.flow, self.clone()))
    }

    fn is_active(&self) -> bool {
        self.is_active.load(Relaxed)
    }

    /// The time that the lane has run since the last refill, in nanoseconds.
    fn ran_ns(&self) -> u64 {
        let ran = self.refilled_ns.load(Relaxed).saturating_sub(self.credit_ns.load(Relaxed));
        u64::try_from(ran).unwrap_or(0)
    }

    fn earn(&self, ns: i64) {
        let after = |credit: i64| credit.max(-MOST_DEBT_NS).saturating_add(ns).min(MOST_CREDIT_NS);
        let refilled = self.refilled_ns.load(Relaxed);
        let earn = |credit| Some(after(credit));
        let before = self.credit_ns.fetch_update(Relaxed, Relaxed, earn).unwrap_or_default();
        self.refilled_ns.store(after(before), Relaxed);
        let idle = self.idle_refills.load(Relaxed);
        self.idle_refills.store(if before < refilled { 0 } else { idle + 1 }, Relaxed);
    }

    /// Whether the lane has run anything of late. If not, the lane is no longer active and has to
    /// be taken out; what it runs from then on puts it in again.
    fn stays_active(&self) -> bool {
        let stays = self.idle_refills.load(Relaxed) <= IDLE_REFILLS;
        if !stays {
            self.idle_refills.store(0, Relaxed);
            self.is_active.store(false, Relaxed);
        }
        stays
    }
}

impl Turn {
    /// Sets the time that was run of the turn.
    pub fn set_used(&mut self, used: Duration) {
        self.used = used;
    }

    /// The next turn, at the end of this one: at once if no other guest waits.
    pub fn next(mut self) -> Result<Turn, Waiting> {
        let lane = self.permit.demand().clone();
        if lane.turns.waiters.is_empty() {
            self.charge();
            lane.turns.waiters.pass(&lane.flow);
            return Ok(self);
        }
        // The wait begins before this turn ends, in the queue behind those that wait already.
        let waiting = lane.turn();
        drop(self);
        Err(waiting)
    }

    /// Charges the lane's flow for the time that was run.
    fn charge(&mut self) {
        let us = u64::try_from(std::mem::take(&mut self.used).as_micros()).unwrap_or(u64::MAX);
        let lane = self.permit.demand();
        lane.turns.waiters.charge(&lane.flow, us.max(1));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.charge();
    }
}

impl Future for Waiting {
    type Output = Turn;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        let permit = Pin::new(&mut self.0).poll(cx);
        permit.map(|permit| Turn { permit, used: Duration::ZERO })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::engine::stocks::tests::holdings;

    const MS: Duration = Duration::from_millis(1);

    fn lane(turns: &Arc<Turns>, weight: u32) -> Arc<Lane> {
        let weight = Weight::new(weight);
        turns.lane(&weight, holdings(&weight))
    }

    fn poor(turns: &Arc<Turns>, weight: u32) -> Arc<Lane> {
        let lane = lane(turns, weight);
        lane.charge(Duration::from_secs(1));
        lane
    }

    #[test]
    fn a_lane_that_is_alone_never_takes_turns() {
        let turns = Turns::of(1);
        let (first, second) = (lane(&turns, 1), lane(&turns, 1));
        let refill = || {
            let before = turns.active.lock().refilled;
            turns.refill(before + MS);
        };
        for _ in 0..100 {
            first.charge(10 * MS);
            refill();
        }
        assert!(first.has_credit());
        for _ in 0..100 {
            first.charge(10 * MS);
            second.charge(MS / 10);
            refill();
        }
        assert!(!first.has_credit() && second.has_credit());
        // Until the other one has run nothing for a while.
        for _ in 0..IDLE_REFILLS + 2 {
            first.charge(10 * MS);
            refill();
        }
        assert!(first.has_credit());
        assert_eq!(turns.active.lock().lanes.len(), 1);
        // And each is there once, however often it was idle.
        second.charge(MS / 10);
        second.charge(MS / 10);
        assert_eq!(turns.active.lock().lanes.len(), 2);
    }

    #[test]
    fn a_lane_with_credit_runs_and_one_without_takes_turns() {
        let turns = Turns::of(1);
        let (lane, other) = (lane(&turns, 1), lane(&turns, 1));
        other.charge(MS);
        assert!(lane.has_credit());
        lane.charge(Duration::from_millis(11));
        assert!(!lane.has_credit());
        let turn = lane.try_turn().unwrap();
        assert!(lane.try_turn().is_none());
        // A second of debt is forgotten, but for what may be owed: 100 ms, earned by half of three
        // quarters of the time.
        lane.charge(Duration::from_secs(1));
        let start = turns.active.lock().refilled;
        let refill = |ms: std::ops::RangeInclusive<u32>| {
            ms.step_by(20).for_each(|ms| turns.refill(start + ms * MS));
            lane.has_credit()
        };
        assert!(!refill(20..=240));
        assert!(refill(260..=280));
        drop(turn);
        assert_eq!((turns.taken(), turns.waiting()), (0, 0));
    }

    #[test]
    fn a_lane_that_is_alone_has_credit() {
        let turns = Turns::of(1);
        let lane = lane(&turns, 1);
        lane.charge(Duration::from_secs(1));
        let start = turns.active.lock().refilled;
        turns.refill(start + MS);
        assert!(lane.has_credit());
    }

    #[test]
    fn under_pressure_lanes_share_the_cores() {
        let turns = Turns::of(2);
        let (greedy, modest) = (lane(&turns, 1), lane(&turns, 1));
        let mut now = turns.active.lock().refilled;
        // No guest waits: each has half of three quarters of two cores, and that is more than both
        // take.
        let mut run = |greedy_ran: Duration, modest_ran: Duration| {
            for _ in 0..100 {
                greedy.charge(greedy_ran);
                modest.charge(modest_ran);
                now += 10 * MS;
                turns.refill(now);
            }
            (greedy.has_credit(), modest.has_credit())
        };
        assert_eq!(run(5 * MS, MS), (true, true));
        // Of the machine there is little: of what both get, one takes most.
        let held: Vec<_> = (0..2).map(|_| greedy.try_turn().unwrap()).collect();
        let waits = greedy.turn();
        assert_eq!(run(5 * MS, MS), (false, true));
        drop((held, waits));
        assert_eq!(run(5 * MS, MS), (true, true), "it is forgotten");
    }

    #[test]
    fn a_lane_that_runs_nothing_leaves_its_share_to_the_others() {
        let turns = Turns::of(4);
        let (busy, idle) = (lane(&turns, 1), lane(&turns, 1));
        busy.charge(MS);
        idle.charge(MS);
        let mut now = turns.active.lock().refilled;
        for _ in 0..=2 * IDLE_REFILLS {
            busy.charge(8 * MS);
            now += 4 * MS;
            turns.refill(now);
        }
        assert!(busy.is_active() && !idle.is_active());
        // Alone, three cores of four are its own; it takes two.
        assert!(busy.has_credit());
        idle.charge(MS);
        assert!(idle.is_active());
        assert_eq!(turns.active.lock().lanes.len(), 2);
    }

    #[test]
    fn a_turn_goes_to_the_next_when_it_ends_or_is_dropped() {
        let turns = Turns::of(1);
        let (a, b) = (poor(&turns, 1), poor(&turns, 1));
        let turn = a.try_turn().unwrap();
        let mut waits = b.turn();
        assert!((&mut waits).now_or_never().is_none());
        drop(turn);
        let turn = (&mut waits).now_or_never().unwrap();
        assert!(turn.next().is_ok(), "nobody else waits");
        assert_eq!((turns.taken(), turns.waiting()), (0, 0));
    }

    #[test]
    fn a_dropped_wait_gives_its_turn_back() {
        let turns = Turns::of(1);
        let lane = poor(&turns, 1);
        let turn = lane.try_turn().unwrap();
        let (first, second) = (lane.turn(), lane.turn());
        assert_eq!(turns.waiting(), 2);
        drop(second);
        assert_eq!(turns.waiting(), 1);
        drop(turn);
        // Granted, and never looked at.
        assert_eq!((turns.taken(), turns.waiting()), (1, 0));
        drop(first);
        assert_eq!((turns.taken(), turns.waiting()), (0, 0));
    }

    /// A guest: has a turn, or waits for one.
    enum Guest {
        Runs(Turn),
        Waits(Waiting),
    }

    proptest! {
        /// However many guests each lane has, and whichever leave in between, cores are shared as
        /// the weights say, no core is idle while somebody waits, and in the end every turn is
        /// back.
        #[test]
        fn cores_are_shared_by_weight(
            cores in 1_u32..4,
            lanes in vec((1_u32..5, 4_usize..12), 2..4),
            leaving in vec((any::<prop::sample::Index>(), 0_usize..2000), 0..20),
        ) {
            let turns = Turns::of(cores);
            let all: Vec<_> = lanes.iter().map(|(weight, _)| poor(&turns, *weight)).collect();
            let start = |lane: usize| (lane, Guest::Waits(all[lane].turn()));
            let mut guests: Vec<(usize, Guest)> = Vec::new();
            for (lane, (_, count)) in lanes.iter().enumerate() {
                guests.extend((0..*count).map(|_| start(lane)));
            }
            let mut ran = vec![0_u32; lanes.len()];
            for round in 0..2000 {
                for (index, _) in leaving.iter().filter(|(_, at)| *at == round) {
                    // One leaves, whatever it is doing, and another one of its lane comes.
                    let at = index.index(guests.len());
                    let lane = guests[at].0;
                    guests[at] = start(lane);
                }
                for (_, guest) in &mut guests {
                    if let Guest::Waits(waiting) = guest && let Some(turn) = waiting.now_or_never() {
                        *guest = Guest::Runs(turn);
                    }
                }
                let running = guests.iter().filter(|(_, guest)| matches!(guest, Guest::Runs(_))).count();
                prop_assert_eq!(running, cores as usize);
                guests = guests.into_iter().map(|(lane, guest)| match guest {
                    Guest::Runs(mut turn) => {
                        ran[lane] += 1;
                        turn.set_used(MS);
                        match turn.next() {
                            Ok(turn) => (lane, Guest::Runs(turn)),
                            Err(waiting) => (lane, Guest::Waits(waiting)),
                        }
                    }
                    waits @ Guest::Waits(_) => (lane, waits),
                }).collect();
            }
            for one in 0..lanes.len() {
                for other in 0..one {
                    let normal = |lane: usize| f64::from(ran[lane]) / f64::from(lanes[lane].0);
                    let (a, b): (f64, f64) = (normal(one), normal(other));
                    prop_assert!((a - b).abs() <= 0.1 * a.max(b) + 8.0, "{ran:?} {lanes:?}");
                }
            }
            drop(guests);
            prop_assert_eq!((turns.taken(), turns.waiting()), (0, 0));
        }
    }
}
