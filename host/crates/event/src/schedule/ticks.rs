//! Ticks that are due, by the policy for those that were missed.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{Schedule, ScheduleError, jitter};

/// A schedule under the id that its ticks are known by.
///
/// A delivery loop keeps one durable instant for each schedule: the `last` tick that was delivered,
/// or the time at which the schedule was made. The loop calls [`Ticks::due`], delivers, stores
/// [`Due::last`], and sleeps until [`Due::next`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticks {
    id: Arc<str>,
    schedule: Schedule,
    jitter: Duration,
}

/// One instant of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The instant in the schedule. It names the tick.
    pub at: Timestamp,
    /// The instant to deliver the tick at: `at` and a delay within the jitter's window, before the
    /// next tick.
    pub deliver_at: Timestamp,
}

/// The fate of missed ticks: those that are later than the tolerance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// They are dropped.
    Skip,
    /// The first tick that is delivered stands for them. Where none is on time, that is the newest
    /// missed one.
    #[default]
    Once,
    /// Each is delivered, in order.
    All,
}

/// The treatment of ticks that could not be delivered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The fate of missed ticks. Default [`Missed::Once`].
    pub missed: Missed,
    /// The lateness up to which a tick is not missed, to the nanosecond. Default 60 s.
    pub tolerance: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { missed: Missed::default(), tolerance: Duration::from_secs(60) }
    }
}

/// The ticks to deliver now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The ticks, in order: at most [`Ticks::MAX_DUE`].
    pub ticks: Vec<Tick>,
    /// The number of missed ticks that are not in `ticks`. [`Ticks::MAX_COUNTED`] stands for that
    /// many or more.
    pub missed: usize,
    /// The `last` of the next call, once the ticks are delivered.
    pub last: Timestamp,
    /// The instant of the next call: one that has passed if more ticks are due already, and `None`
    /// if no tick is left.
    pub next: Option<Timestamp>,
}

impl Ticks {
    /// The most ticks of one call. The next call returns more.
    pub const MAX_DUE: usize = 100;
    /// The most missed ticks that a call counts.
    pub const MAX_COUNTED: usize = 1_000;
    /// The longest window of jitter: a day. A longer one is refused.
    pub const MAX_JITTER: Duration = Duration::from_secs(24 * 60 * 60);

    /// The ticks of a schedule, each delivered at its instant.
    pub fn new(id: impl Into<Arc<str>>, schedule: Schedule) -> Ticks {
        Ticks { id: id.into(), schedule, jitter: Duration::ZERO }
    }

    /// The same ticks, each delayed by a part of a window. The part depends on the id and the tick
    /// only, and a tick never waits for its successor.
    ///
    /// # Errors
    ///
    /// A window over [`Ticks::MAX_JITTER`].
    pub fn with_jitter(self, window: Duration) -> Result<Ticks, ScheduleError> {
        if window > Ticks::MAX_JITTER {
            return Err(ScheduleError::Jitter { found: window });
        }
        Ok(Ticks { jitter: window, ..self })
    }

    /// The id of a tick, unique among the ticks of all schedules:
    /// `shop.report@2026-12-24T18:00:00Z`.
    pub fn id(&self, tick: &Tick) -> String {
        format!("{}@{}", self.id, tick.at)
    }

    /// The first tick after an instant; `None` if there is none.
    pub fn next_after(&self, instant: Timestamp) -> Option<Tick> {
        self.schedule.next_after(instant).map(|at| self.tick(at))
    }

    /// The ticks after an instant, in order.
    pub fn after(&self, instant: Timestamp) -> impl Iterator<Item = Tick> {
        self.schedule.after(instant).map(|at| self.tick(at))
    }

    /// The ticks after `last` that are to be delivered at `now`.
    ///
    /// A clock that has stepped back gives a `now` before `last`: no tick is due until the clock
    /// has passed `last`, so that none fires twice. A clock that has stepped forward misses ticks.
    pub fn due(&self, last: Timestamp, now: Timestamp, policy: Policy) -> Due {
        let newest_missed = match policy.missed {
            Missed::All => None,
            Missed::Skip | Missed::Once => self.newest_before(last, now, policy.tolerance),
        };
        let settled = newest_missed.map_or(last, |tick| tick.at);
        let is_due = |tick: &Tick| tick.deliver_at <= now;
        let mut ticks: Vec<Tick> =
            self.after(settled).take_while(is_due).take(Ticks::MAX_DUE).collect();
        if policy.missed == Missed::Once && ticks.is_empty() {
            ticks.extend(newest_missed);
        }
        let first = ticks.first().map(|tick| tick.at);
        let is_missed = |at: &Timestamp| *at <= settled && Some(*at) != first;
        let missed =
            self.schedule.after(last).take_while(is_missed).take(Ticks::MAX_COUNTED).count();
        let last = ticks.last().map_or(settled, |tick| tick.at);
        let next = self.next_after(last).map(|tick| tick.deliver_at);
        Due { ticks, missed, last, next }
    }

    /// The newest tick after `last` that is later than the tolerance. Bisection: the number of
    /// steps is the logarithm of the time since `last`, however many ticks were missed.
    fn newest_before(&self, last: Timestamp, now: Timestamp, tolerance: Duration) -> Option<Tick> {
        let deadline = now.checked_sub(tolerance).ok()?;
        let first_after =
            |instant| self.next_after(instant).filter(|tick: &Tick| tick.deliver_at < deadline);
        let mut newest = first_after(last)?;
        // No missed tick is after `end`, and ticks are at least a second apart.
        let mut end = deadline;
        loop {
            let span = end.duration_since(newest.at);
            if span.as_secs() < 1 {
                return Some(newest);
            }
            let middle = newest.at.checked_add(span / 2).ok()?;
            match first_after(middle) {
                Some(tick) => newest = tick,
                None => end = middle,
            }
        }
    }

    fn tick(&self, at: Timestamp) -> Tick {
        let mut window = self.jitter;
        if window.is_zero() {
            return Tick { at, deliver_at: at };
        }
        if let Some(next) = self.schedule.next_after(at) {
            window = window.min(next.duration_since(at).unsigned_abs());
        }
        let delay = jitter::delay(&self.id, at, window);
        Tick { at, deliver_at: at.checked_add(delay).unwrap_or(at) }
    }
}
