//! Missed ticks by policy, and clocks that step, in simulated time.

use std::{collections::HashSet, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    super::{Due, Missed, Policy, Tick, Ticks},
    instant, schedule,
};

fn ticks(text: &str, zone: &str) -> Ticks {
    Ticks::new("shop.report", schedule(text, zone))
}

fn policy(missed: Missed) -> Policy {
    Policy { missed, ..Policy::default() }
}

/// The ids of the ticks that are due.
fn ids(ticks: &Ticks, due: &Due) -> Vec<String> {
    due.ticks.iter().map(|tick| ticks.id(tick)).collect()
}

const START: &str = "2026-06-01T00:00:00Z";

/// A delivery loop in simulated time: it knows the last tick only, as after a restart.
struct Loop {
    ticks: Ticks,
    policy: Policy,
    last: Timestamp,
    delivered: Vec<String>,
    missed: usize,
}

impl Loop {
    fn new(ticks: Ticks, missed: Missed) -> Loop {
        let last = instant(START);
        Loop { ticks, policy: policy(missed), last, delivered: Vec::new(), missed: 0 }
    }

    /// Delivers all that is due at an instant.
    fn wake(&mut self, now: Timestamp) {
        loop {
            let due = self.ticks.due(self.last, now, self.policy);
            self.delivered.extend(ids(&self.ticks, &due));
            self.missed += due.missed;
            self.last = due.last;
            if due.next.is_none_or(|next| next > now) {
                return;
            }
        }
    }
}

#[test]
fn defaults() {
    let policy = Policy::default();
    assert_eq!(policy, Policy { missed: Missed::Once, tolerance: Duration::from_secs(60) });
}

#[test]
fn a_tick_is_due_at_its_instant() {
    let ticks = ticks("0 3 * * *", "UTC");
    for missed in [Missed::Skip, Missed::Once, Missed::All] {
        let early = ticks.due(instant(START), instant("2026-06-01T02:59:59.999Z"), policy(missed));
        assert_eq!(early.ticks, []);
        assert_eq!(early.last, instant(START));
        assert_eq!(early.next, Some(instant("2026-06-01T03:00:00Z")));
        let due = ticks.due(early.last, instant("2026-06-01T03:00:00Z"), policy(missed));
        assert_eq!(ids(&ticks, &due), ["shop.report@2026-06-01T03:00:00Z"]);
        assert_eq!((due.missed, due.last), (0, instant("2026-06-01T03:00:00Z")));
        assert_eq!(due.next, Some(instant("2026-06-02T03:00:00Z")));
    }
}

#[test]
fn a_tick_is_on_time_up_to_the_tolerance() {
    let ticks = ticks("0 3 * * *", "UTC");
    let at = |now| ticks.due(instant(START), instant(now), policy(Missed::Skip));
    let on_time = at("2026-06-01T03:01:00Z");
    assert_eq!((on_time.ticks.len(), on_time.missed), (1, 0));
    let missed = at("2026-06-01T03:01:00.000000001Z");
    assert_eq!((missed.ticks.len(), missed.missed), (0, 1));
    assert_eq!(missed.last, instant("2026-06-01T03:00:00Z"));
    assert_eq!(missed.next, Some(instant("2026-06-02T03:00:00Z")));
}

/// Five hourly ticks, of which the last is on time.
#[test]
fn missed_ticks_go_by_the_policy() {
    let ticks = ticks("0 * * * *", "UTC");
    let at = |missed| ticks.due(instant(START), instant("2026-06-01T05:00:10Z"), policy(missed));
    let skip = at(Missed::Skip);
    assert_eq!(ids(&ticks, &skip), ["shop.report@2026-06-01T05:00:00Z"]);
    assert_eq!(skip.missed, 4);
    let once = at(Missed::Once);
    assert_eq!(ids(&ticks, &once), ["shop.report@2026-06-01T05:00:00Z"]);
    assert_eq!(once.missed, 4);
    let all = at(Missed::All);
    assert_eq!((all.ticks.len(), all.missed), (5, 0));
    for due in [skip, once, all] {
        assert_eq!(due.last, instant("2026-06-01T05:00:00Z"));
        assert_eq!(due.next, Some(instant("2026-06-01T06:00:00Z")));
    }
}

/// Five hourly ticks, of which none is on time.
#[test]
fn the_newest_missed_tick_stands_for_all() {
    let ticks = ticks("0 * * * *", "UTC");
    let at = |missed| ticks.due(instant(START), instant("2026-06-01T05:30:00Z"), policy(missed));
    let skip = at(Missed::Skip);
    assert_eq!((skip.ticks.len(), skip.missed), (0, 5));
    let once = at(Missed::Once);
    assert_eq!(ids(&ticks, &once), ["shop.report@2026-06-01T05:00:00Z"]);
    assert_eq!(once.missed, 4);
    assert_eq!(once.last, skip.last);
}

/// A CronJob of Kubernetes has stopped for good after 100 missed starts.
#[test]
fn a_year_of_missed_seconds_goes_by_the_policy() {
    let now = instant("2027-06-01T00:00:00Z");
    for text in ["* * * * * *", "rate(1 second)"] {
        let ticks = ticks(text, "Europe/Berlin");
        let skip = ticks.due(instant(START), now, policy(Missed::Skip));
        assert_eq!((skip.ticks.len(), skip.missed), (61, Ticks::MAX_COUNTED), "{text}");
        assert_eq!(skip.last, now);
        let strict = Policy { missed: Missed::Once, tolerance: Duration::ZERO };
        let once = ticks.due(instant(START), now, strict);
        assert_eq!((once.ticks.len(), once.missed), (1, Ticks::MAX_COUNTED));
        assert_eq!(once.last, now);
        let all = ticks.due(instant(START), now, policy(Missed::All));
        assert_eq!((all.ticks.len(), all.missed), (Ticks::MAX_DUE, 0));
        assert_eq!(all.last, instant("2026-06-01T00:01:40Z"));
        assert_eq!(all.next, Some(instant("2026-06-01T00:01:41Z")));
    }
}

#[test]
fn all_missed_ticks_come_in_order_and_once() {
    let mut simulated = Loop::new(ticks("*/5 * * * *", "America/St_Johns"), Missed::All);
    simulated.wake(instant("2026-12-01T00:00:00Z"));
    let expected: Vec<String> = simulated
        .ticks
        .after(instant(START))
        .take_while(|tick| tick.at <= instant("2026-12-01T00:00:00Z"))
        .map(|tick| simulated.ticks.id(&tick))
        .collect();
    assert_eq!(expected.len(), 183 * 24 * 12);
    assert_eq!(simulated.delivered, expected);
}

#[test]
fn a_single_time_fires_once_and_leaves_no_tick() {
    let ticks = ticks("at(2026-06-02T03:00:00)", "UTC");
    for missed in [Missed::Once, Missed::All] {
        let due = ticks.due(instant(START), instant("2026-07-01T00:00:00Z"), policy(missed));
        assert_eq!(ids(&ticks, &due), ["shop.report@2026-06-02T03:00:00Z"]);
        assert_eq!((due.missed, due.next), (0, None));
        let again = ticks.due(due.last, instant("2026-07-01T00:00:00Z"), policy(missed));
        assert_eq!((again.ticks.len(), again.next), (0, None));
    }
}

#[test]
fn a_clock_that_steps_back_fires_no_tick_twice() {
    for missed in [Missed::Skip, Missed::Once, Missed::All] {
        let mut simulated = Loop::new(ticks("* * * * *", "Europe/Berlin"), missed);
        for now in ["00:10:00", "00:11:00", "00:04:30", "00:05:00", "00:11:00", "00:12:00"] {
            simulated.wake(instant(&format!("2026-06-01T{now}Z")));
        }
        let unique: HashSet<_> = simulated.delivered.iter().collect();
        assert_eq!(unique.len(), simulated.delivered.len(), "{missed:?}");
        assert_eq!(simulated.delivered.last().unwrap(), "shop.report@2026-06-01T00:12:00Z");
    }
}

/// A clock that runs for two days around each change, ticks by the second, and stops or steps at
/// times. Each tick is delivered or counted, exactly once.
#[test]
fn every_tick_is_settled_once_through_both_changes() {
    for (zone, day) in [
        ("Europe/Berlin", "2026-10-24T00:00:00Z"),
        ("Europe/Berlin", "2026-03-28T00:00:00Z"),
        ("America/New_York", "2026-10-31T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T00:00:00Z"),
        ("Africa/Casablanca", "2026-02-14T00:00:00Z"),
        ("Asia/Kolkata", "2026-03-28T00:00:00Z"),
    ] {
        for text in ["*/10 * * * *", "7,37 0-3 * * *", "30 2 * * *", "rate(7 minutes)"] {
            for missed in [Missed::Skip, Missed::Once, Missed::All] {
                let ticks = ticks(text, zone).with_jitter(Duration::from_secs(400)).unwrap();
                let mut simulated = Loop::new(ticks, missed);
                let start = instant(day);
                simulated.last = start;
                let end = start + SignedDuration::from_hours(48);
                let mut now = start;
                for step in [13, 59, 3_600, -1_200, 1, 7_201].into_iter().cycle() {
                    now = (now + SignedDuration::from_secs(step)).min(end);
                    simulated.wake(now);
                    if now == end {
                        break;
                    }
                }
                let is_due = |tick: &Tick| tick.deliver_at <= end;
                let ticks = simulated.ticks.after(start).take_while(is_due).count();
                let settled = simulated.delivered.len() + simulated.missed;
                assert_eq!(settled, ticks, "{text} in {zone} with {missed:?}");
                let unique: HashSet<_> = simulated.delivered.iter().collect();
                assert_eq!(unique.len(), simulated.delivered.len());
            }
        }
    }
}

/// A CronJob of Kubernetes has run twice in autumn, and has run all at once on the day of a change.
#[test]
fn a_daily_tick_on_the_day_of_a_change_is_one_tick() {
    for (day, next_day) in [("2026-10-25", "2026-10-26"), ("2026-03-29", "2026-03-30")] {
        for missed in [Missed::Skip, Missed::Once, Missed::All] {
            let mut simulated = Loop::new(ticks("30 2 * * *", "Europe/Berlin"), missed);
            simulated.last = instant(&format!("{day}T00:00:00Z"));
            let end = instant(&format!("{next_day}T00:00:00Z"));
            while simulated.last < end {
                let next = simulated.ticks.after(simulated.last).next().unwrap();
                if next.at > end {
                    break;
                }
                simulated.wake(next.deliver_at);
            }
            assert_eq!(simulated.delivered.len(), 1, "{day} with {missed:?}");
            assert_eq!(simulated.missed, 0);
        }
    }
}
