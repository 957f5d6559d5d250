//! How long they have waited whom a thread serves.
//!
//! What can go on stands in line on an event loop, and nobody knows since when. So a marker goes to the end of the line from time to
//! time: whoever is served before it was there before it, and has waited for at least as long as it has.
//!
//! ```text
//!   front  a b c d M e f  end         M since 30 ms: a, b, c and d have waited for 30 ms, or longer
//! ```
//!
//! A moment in which the whole process stood still counts little: nobody has made others wait in it.
//!
//! Where a lap of the marker takes longer than somebody's patience, those at its end have waited in vain, if it is their own party that
//! has made the line what it is: one whose time in it is [too much](super::bill) of the time that there is. The others are
//! served, however many ask for that one.
//!
//! Clients that ask again as soon as they are answered stand in the same order on the next lap, and the same ones would be served on
//! each. So each lap serves those that come after the ones that the lap before has served, and where there are too few of them, the first
//! ones again:
//!
//! ```text
//!   a b c d e f g h      one lap serves      A B C d e f g h
//!                        the next ones       a b c D E F g h
//!                                            A b c d e f G H
//!                                            a B C D e f g h
//! ```
//!
//! Where all can be served on a lap that takes no longer than they bear, none are refused. Only where they cannot, those that are refused
//! have to hear of it soon, and laps are short.
//!
//! What is served goes on afterwards, when it was interrupted, or comes back from where it computed; and those that are not served have
//! to hear of it. So a lap takes longer than what begins in it; what may begin in the next one is measured so that this takes as long as
//! the patience.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::poll_fn,
    ops::Range,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use super::bill::{Bill, level};
use crate::fair::Party;

/// Between two markers where no lap takes long: what one costs is then not to be seen.
const PAUSE: Duration = Duration::from_millis(5);
/// What lies between two that are served on an event loop takes no longer, unless the thread is kept from running.
const LONGEST_STEP: Duration = Duration::from_millis(5);
/// Who takes no more on a lap is in nobody's way, however small its share is: one request may take that before it is moved.
const LITTLE: Duration = Duration::from_millis(2);
/// For so long laps are short after one that had no time for all: what is seen on a lap is not all that is to come.
const SETTLING: Duration = Duration::from_millis(500);
/// The longest step's part of what may begin on a lap, at the most: of those that can begin, more than one does.
const STEPS: u32 = 4;

thread_local! {
    static LINE: RefCell<Line> = const { RefCell::new(Line::new()) };
}

/// How long a request may stand in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Where some are refused.
    pub some: Duration,
    /// Where none are. No less than the other.
    pub none: Duration,
}

/// For how long, at least, what is polled now has stood in line on this thread; it asks for `party`. None: for longer than it has patience,
/// or soon others would, and it is its party that the line waits for. Where it is another one, all that is said is that its patience is
/// used up. Nobody is known to stand in line elsewhere than on an event loop.
///
/// Who came right behind the marker has waited for the rest of its lap already when the next one begins, so a lap is half of the patience.
pub fn waited(party: Party, patience: Patience) -> Option<Duration> {
    let lap = Patience { some: patience.some / 2, none: patience.none / 2 };
    LINE.with_borrow_mut(|line| line.waited(Instant::now(), party, lap))
}

/// Says for which party it is what follows in this poll, and in those of the same task after it. What lies between two polls, as a look at
/// the sockets, is for nobody.
pub fn asks_for(party: Option<Party>) {
    LINE.with_borrow_mut(|line| {
        line.polled();
        line.party = party;
    });
}

/// A poll has ended. Gives for which party it was.
pub(super) fn polled() -> Option<Party> {
    LINE.with_borrow_mut(Line::polled)
}

/// The party for which something is polled now.
pub(super) fn party() -> Option<Party> {
    LINE.with_borrow(|line| line.party)
}

/// The marker of this thread's line: it stands there whenever it was woken.
pub(super) async fn marker() -> Infallible {
    poll_fn(|cx| {
        LINE.with_borrow_mut(|line| {
            line.marker.get_or_insert_with(|| cx.waker().clone());
            line.passed(Instant::now());
        });
        Poll::Pending
    })
    .await
}

#[derive(Debug)]
struct Line {
    /// None: there is no line on this thread.
    marker: Option<Waker>,
    state: State,
    /// Laps are short until then.
    short_until: Option<Instant>,
    /// For which the poll is that is under way.
    party: Option<Party>,
}

#[derive(Debug, PartialEq)]
enum State {
    /// No marker stands in line, and none has to before that time.
    Unmarked { until: Option<Instant> },
    /// One does.
    Marked(Box<Lap>),
}

/// A lap of the marker.
#[derive(Debug, PartialEq)]
struct Lap {
    begun: Instant,
    /// For how long those that are to be served may begin. None: none were refused of late, and all begin for as long as they have patience.
    allowed: Option<Duration>,
    /// The places of those that are not to be served, in the order of the lap.
    skip: Range<u32>,
    /// So many have been seen, and so many served, of whom the last one stood before that place. Those who are served although there is
    /// no time for them are none of these.
    seen: u32,
    served: u32,
    end: u32,
    /// On the lap before.
    seen_before: u32,
    /// What served them has taken so long, until then.
    waited: Duration,
    at: Instant,
    /// The patience of one that has waited in vain.
    in_vain: Option<Patience>,
    /// What was taken on this lap, until then, and on the one before.
    bill: Bill,
    billed: Instant,
    bill_before: Bill,
    /// The level from which on a party is what the others wait for. None: it was not needed so far.
    level: Option<f64>,
}

impl Line {
    const fn new() -> Line {
        Line {
            marker: None,
            state: State::Unmarked { until: None },
            short_until: None,
            party: None,
        }
    }

    fn waited(&mut self, now: Instant, party: Party, patience: Patience) -> Option<Duration> {
        let before = self.party.replace(party);
        let Some(marker) = &self.marker else { return Some(Duration::ZERO) };
        match &mut self.state {
            State::Marked(lap) => {
                lap.charge(now, before);
                return lap.waited(now, party, patience);
            }
            State::Unmarked { until } if until.is_some_and(|until| now < until) => {}
            State::Unmarked { .. } => {
                marker.wake_by_ref();
                let is_short = self.short_until.is_some_and(|until| now < until);
                let mut lap = Lap { allowed: is_short.then_some(patience.some), ..Lap::new(now) };
                let waited = lap.waited(now, party, patience);
                self.state = State::Marked(Box::new(lap));
                return waited;
            }
        }
        Some(Duration::ZERO)
    }

    fn polled(&mut self) -> Option<Party> {
        match self.state {
            State::Marked(_) => self.polled_at(Instant::now()),
            State::Unmarked { .. } => self.party.take(),
        }
    }

    fn polled_at(&mut self, now: Instant) -> Option<Party> {
        let party = self.party.take();
        if let State::Marked(lap) = &mut self.state {
            lap.charge(now, party);
        }
        party
    }

    fn passed(&mut self, now: Instant) {
        let (State::Marked(lap), Some(marker)) = (&mut self.state, &self.marker) else { return };
        match lap.in_vain {
            None => self.state = State::Unmarked { until: Some(now + PAUSE) },
            Some(patience) => {
                if !lap.has_time_for_all(now, patience.none) {
                    self.short_until = Some(now + SETTLING);
                }
                if self.short_until.is_some_and(|until| now < until) {
                    marker.wake_by_ref();
                    **lap = lap.next(now, patience);
                } else {
                    self.state = State::Unmarked { until: None };
                }
            }
        }
    }
}

impl Lap {
    fn new(begun: Instant) -> Lap {
        Lap {
            begun,
            allowed: None,
            skip: 0..0,
            seen: 0,
            served: 0,
            end: 0,
            seen_before: 0,
            waited: Duration::ZERO,
            at: begun,
            in_vain: None,
            bill: Bill::default(),
            billed: begun,
            bill_before: Bill::default(),
            level: None,
        }
    }

    fn charge(&mut self, now: Instant, party: Option<Party>) {
        let time = now.saturating_duration_since(self.billed).min(LONGEST_STEP);
        self.billed = now;
        self.bill.charge(party, time);
    }

    fn waited(&mut self, now: Instant, party: Party, patience: Patience) -> Option<Duration> {
        let place = self.seen;
        self.seen = place.saturating_add(1);
        let limit = self.allowed.map_or(patience.none, |allowed| allowed.min(patience.some));
        let step = now.saturating_duration_since(self.at).min(LONGEST_STEP).min(limit / STEPS);
        self.at = now;
        let is_skipped = self.skip.contains(&place);
        if !is_skipped {
            self.waited += step;
        }
        // One of those whose turn it is begins on each lap, whatever lay before it.
        if is_skipped || self.served > 0 && self.waited > limit {
            if !self.is_of(party, patience.some) {
                return Some(patience.some);
            }
            self.in_vain = Some(patience);
            return None;
        }
        self.served += 1;
        self.end = self.seen;
        Some(self.waited)
    }

    /// Whether this lap takes so long because of that party.
    fn is_of(&mut self, party: Party, patience: Duration) -> bool {
        let allowed = *self.level.get_or_insert_with(|| self.bill.too_much(patience));
        let taken = self.bill.of(party).max(self.bill_before.of(party));
        taken > LITTLE && level(taken, party.weight) >= allowed
    }

    /// Whether a lap would take no longer than that if it served all that this one has seen, or the one before. Where none were refused
    /// before, it is not known what a lap takes.
    fn has_time_for_all(&self, now: Instant, patience: Duration) -> bool {
        let (took, all) =
            (now.saturating_duration_since(self.begun), self.seen.max(self.seen_before));
        self.allowed.is_some() && took.saturating_mul(all) <= patience.saturating_mul(self.served)
    }

    /// The next lap, of as many as this one.
    fn next(&mut self, now: Instant, patience: Patience) -> Lap {
        let took = now.saturating_duration_since(self.begun);
        // Whose turn it is: who stood behind the last one that was served, or after him the first that was skipped.
        let first = if self.end == self.seen { self.skip.start } else { self.end };
        let behind = self.seen.saturating_sub(first);
        // Those who were refused may stay away, and after the first lap it is not known. Then nobody's place is what it was.
        let came_again = self.seen >= self.seen_before / 10 * 9;
        let skip = match self.allowed {
            Some(_) if came_again => self.served.saturating_sub(behind)..first,
            Some(_) | None => 0..0,
        };
        let bill = std::mem::take(&mut self.bill);
        Lap {
            allowed: Some(self.allowed_next(took, patience)),
            skip,
            seen_before: self.seen,
            level: Some(bill.too_much(patience.some)),
            bill_before: bill,
            ..Lap::new(now)
        }
    }

    /// What is allowed on the next lap, when this one took so long.
    fn allowed_next(&self, took: Duration, patience: Patience) -> Duration {
        let allowed = self.allowed.unwrap_or(patience.none).as_secs_f64();
        let patience = patience.some;
        let next = allowed * patience.as_secs_f64() / took.as_secs_f64().max(f64::MIN_POSITIVE);
        // Not so little that it never recovers, from a lap in which the thread was kept from running.
        let least = patience.as_secs_f64() / 8.0;
        Duration::from_secs_f64(next.clamp(least, patience.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering::Relaxed},
        },
        task::Wake,
    };

    use proptest::{collection::vec, prelude::*};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);
    /// Of those that are not refused as long as all can be served.
    const ALL: Patience = Patience { some: PATIENCE, none: Duration::from_millis(250) };
    const SOME: Patience = Patience { some: PATIENCE, none: PATIENCE };
    const MS: Duration = Duration::from_millis(1);
    const ONE: Party = Party { id: 1, weight: 1 };
    const OTHER: Party = Party { id: 2, weight: 1 };

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// A line whose marker was woken so often.
    fn line() -> (Line, Arc<Woken>) {
        let (mut line, woken) = (Line::new(), Arc::new(Woken::default()));
        line.marker = Some(woken.clone().into());
        (line, woken)
    }

    #[test]
    fn where_there_is_no_line_nobody_waits() {
        let (mut line, now) = (Line::new(), Instant::now());
        assert_eq!(line.waited(now, ONE, SOME), Some(Duration::ZERO));
        assert_eq!(line.waited(now + 100 * MS, ONE, SOME), Some(Duration::ZERO));
        assert_eq!(waited(ONE, SOME), Some(Duration::ZERO));
    }

    /// Serves for so long, one after the other; gives for how long the last one has waited.
    fn serve(line: &mut Line, from: Instant, time: Duration) -> Option<Duration> {
        let steps = (0..=time.as_millis()).map(|step| from + MS * u32::try_from(step).unwrap());
        steps.map(|now| line.waited(now, ONE, SOME)).last().unwrap()
    }

    #[test]
    fn who_stands_before_the_marker_has_waited_since_it_was_put_there() {
        let now = Instant::now();
        let (mut line, woken) = line();
        assert_eq!(serve(&mut line, now, 30 * MS), Some(30 * MS));
        assert_eq!(serve(&mut line, now + 30 * MS, 20 * MS), Some(50 * MS));
        assert_eq!(line.waited(now + 51 * MS, ONE, SOME), None);
        // Who has more of it waits on.
        assert_eq!(line.waited(now + 51 * MS, ONE, ALL), Some(51 * MS));
        assert_eq!(woken.0.load(Relaxed), 1);
    }

    #[test]
    fn time_in_which_nothing_ran_is_hardly_counted() {
        let now = Instant::now();
        let (mut line, _) = line();
        line.waited(now, ONE, SOME);
        let later = now + 1000 * MS;
        assert_eq!(line.waited(later, ONE, SOME), Some(LONGEST_STEP));
        assert_eq!(serve(&mut line, later, 40 * MS), Some(40 * MS + LONGEST_STEP));
        assert_eq!(serve(&mut line, later + 40 * MS, 6 * MS), None);
    }

    #[test]
    fn a_short_lap_costs_one_marker_in_a_while() {
        let now = Instant::now();
        let (mut line, woken) = line();
        line.waited(now, ONE, SOME);
        line.passed(now + MS);
        for _ in 0..100 {
            assert_eq!(line.waited(now + 2 * MS, ONE, SOME), Some(Duration::ZERO));
        }
        assert_eq!(woken.0.load(Relaxed), 1);
        line.waited(now + MS + PAUSE, ONE, SOME);
        assert_eq!(woken.0.load(Relaxed), 2);
    }

    proptest! {
        /// Of those that ask again as soon as they are answered, none is served much less often than another, and in each lap are as many
        /// as it has time for.
        #[test]
        fn each_lap_serves_those_that_waited_in_vain_on_the_one_before(
            ones in 1_usize..300,
            cost_us in 100_u64..5_000,
        ) {
            let mut now = Instant::now();
            let (mut line, _) = line();
            let cost = Duration::from_micros(cost_us);
            let in_a_lap = u32::try_from(PATIENCE.as_micros() / cost.as_micros()).unwrap();
            let mut served = vec![0_u32; ones];
            for lap in 1..=20 {
                for one in &mut served {
                    if line.waited(now, ONE, SOME).is_some() {
                        *one += 1;
                        now += cost;
                    }
                }
                line.passed(now);
                let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
                prop_assert!(most - least <= 2 + lap / 4, "after {lap} laps: {served:?}");
                let expected = lap * in_a_lap.min(u32::try_from(ones).unwrap());
                let all: u32 = served.iter().sum();
                prop_assert!(all + 1 >= expected * 9 / 10, "after {lap} laps {all} of {expected}");
            }
        }
    }

    proptest! {
        /// However many ask for one party, who asks for another one now and then is served each time; and where something else takes the
        /// time, some of each are served on each lap.
        #[test]
        fn who_asks_now_and_then_is_always_served(
            ones in 50_usize..2_000,
            others in vec(0_usize..2_000, 1..5),
            cost_us in 50_u64..5_000,
            idle_us in 0_u64..8_000,
        ) {
            let mut now = Instant::now();
            let (mut line, _) = line();
            for lap in 0..20 {
                let mut served = 0;
                for place in 0..ones {
                    // Something that asks for nothing.
                    now += Duration::from_micros(idle_us);
                    line.polled_at(now);
                    let party = if others.contains(&place) { OTHER } else { ONE };
                    let is_served = line.waited(now, party, SOME).is_some();
                    prop_assert!(is_served || party == ONE, "on lap {lap}, at {place}");
                    if is_served {
                        served += 1;
                        // No more than the one takes, in all.
                        now += if party == OTHER { MS / 20 } else { Duration::from_micros(cost_us) };
                    }
                    line.polled_at(now);
                }
                line.passed(now);
                prop_assert!(served > 0, "on lap {lap}");
            }
        }
    }

    #[test]
    fn what_nobody_asked_for_sheds_nobody() {
        let mut now = Instant::now();
        let (mut line, _) = line();
        for _ in 0..10 {
            for _ in 0..10 {
                assert!(line.waited(now, ONE, SOME).is_some());
                now += MS / 10;
                line.polled_at(now);
                for _ in 0..100 {
                    now += MS / 10;
                    line.polled_at(now);
                }
            }
            line.passed(now);
        }
    }

    #[test]
    fn a_burst_costs_nobody_a_second_refusal() {
        let mut now = Instant::now();
        let (mut line, _) = line();
        assert_eq!(serve(&mut line, now, 100 * MS), None);
        now += 100 * MS;
        line.passed(now);
        // Only those come again who were served.
        for _ in 0..20 {
            assert!(line.waited(now, ONE, SOME).is_some());
            now += MS / 10;
        }
    }

    #[test]
    fn where_those_that_were_refused_stay_away_the_others_are_refused_once() {
        let mut now = Instant::now();
        let (mut line, _) = line();
        let mut lap = |ones: u32| {
            let mut served = 0;
            for _ in 0..ones {
                if line.waited(now, ONE, SOME).is_some() {
                    served += 1;
                    now += MS;
                }
                line.polled_at(now);
            }
            line.passed(now);
            served
        };
        lap(100);
        let ones = lap(100).min(45);
        let served: Vec<u32> = (0..10).map(|_| lap(ones)).collect();
        let fewer = served.iter().filter(|served| **served < ones).count();
        assert!(ones >= 30 && fewer <= 1, "{served:?} of {ones}");
    }

    #[test]
    fn what_one_task_did_before_is_not_charged_to_the_next() {
        let now = Instant::now();
        let (mut line, _) = line();
        line.waited(now, ONE, SOME);
        line.polled_at(now + MS);
        // A look at the sockets.
        line.polled_at(now + 3 * MS);
        line.party = Some(ONE);
        line.polled_at(now + 4 * MS);
        let State::Marked(lap) = &line.state else { panic!("no lap") };
        assert_eq!(lap.bill.of(ONE), 2 * MS);
    }

    #[test]
    fn where_all_can_be_served_none_are_refused() {
        let mut now = Instant::now();
        let (mut line, _) = line();
        // Two milliseconds for each that is served, and a fiftieth for each that is refused.
        let mut lap = |ones: u32| {
            let (from, mut served) = (now, 0);
            for _ in 0..ones {
                let is_served = line.waited(now, ONE, ALL).is_some();
                served += u32::from(is_served);
                now += if is_served { 2 * MS } else { MS / 50 };
                line.polled_at(now);
            }
            line.passed(now);
            (served, now - from)
        };
        for _ in 0..10 {
            assert_eq!(lap(120).0, 120);
        }
        lap(1000);
        for _ in 0..10 {
            let (served, took) = lap(1000);
            assert!((10..30).contains(&served) && took <= 2 * PATIENCE, "{served} in {took:?}");
        }
        // A lap on which few come is followed by a short one.
        lap(3);
        let (served, took) = lap(1000);
        assert!(served < 40 && took <= 2 * PATIENCE, "{served} in {took:?}");
        // Those that were refused stay away, but for a few.
        for _ in 0..12 {
            lap(100);
        }
        for _ in 0..10 {
            assert_eq!(lap(100).0, 100);
        }
    }

    #[test]
    fn what_begins_is_measured_so_that_a_lap_takes_as_long_as_the_patience() {
        let mut now = Instant::now();
        let (mut line, _) = line();
        let mut laps = Vec::new();
        for _ in 0..20 {
            let (from, mut begun) = (now, 0);
            // What begins takes a millisecond now and one later; 20 ms go to those that are refused.
            for _ in 0..200 {
                if line.waited(now, ONE, SOME).is_some() {
                    now += MS;
                    begun += 1;
                }
            }
            now += MS * begun + 20 * MS;
            laps.push(now - from);
            line.passed(now);
        }
        assert!(laps[0] > 2 * PATIENCE, "{laps:?}");
        let settled = &laps[10..];
        assert!(settled.iter().all(|lap| lap.abs_diff(PATIENCE) <= 6 * MS), "{laps:?}");
    }

    #[test]
    fn after_the_longest_lap_some_still_begin() {
        let now = Instant::now();
        let mut lap = Lap::new(now);
        let next = lap.allowed_next(Duration::from_secs(100), SOME);
        assert_eq!(next, PATIENCE / 8);
        lap.allowed = Some(next);
        assert_eq!(lap.allowed_next(Duration::ZERO, SOME), PATIENCE);
    }

    #[test]
    fn who_comes_when_the_line_is_gone_is_served() {
        let now = Instant::now();
        let (mut line, _) = line();
        assert_eq!(serve(&mut line, now, 60 * MS), None);
        let late = now + 60 * MS;
        line.passed(late);
        // Woken at once, with nobody before it.
        line.passed(late);
        assert_eq!(line.waited(late, ONE, SOME), Some(Duration::ZERO));
        assert_eq!(line.state, State::Unmarked { until: Some(late + PAUSE) });
    }
}
