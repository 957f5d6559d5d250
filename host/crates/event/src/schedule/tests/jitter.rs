//! Jitter: delays that are the same after a restart, and keep the order of ticks.

use std::time::Duration;

use super::{
    super::{Missed, Policy, Ticks},
    instant, schedule,
};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn ticks(id: &str, text: &str, window: Duration) -> Ticks {
    Ticks::new(id, schedule(text, "UTC")).with_jitter(window).unwrap()
}

#[test]
fn a_delay_depends_on_the_id_and_the_tick() {
    let start = instant("2026-06-01T00:00:00Z");
    let delays = |id| -> Vec<String> {
        let delays = ticks(id, "0 3 * * *", HOUR);
        delays.after(start).take(3).map(|tick| tick.deliver_at.to_string()).collect()
    };
    // These instants are a promise: a new version keeps them.
    assert_eq!(
        delays("shop.report"),
        [
            "2026-06-01T03:32:14.705167729Z",
            "2026-06-02T03:12:31.448529213Z",
            "2026-06-03T03:27:53.461736273Z"
        ]
    );
    assert_ne!(delays("shop.report"), delays("shop.reports"));
}

#[test]
fn a_delay_ends_before_the_next_tick() {
    for (text, gap) in [("* * * * * *", 1), ("*/10 * * * *", 600), ("0 0 * * *", 24 * 60 * 60)] {
        let ticks = ticks("shop.report", text, 24 * HOUR);
        let mut parts = Vec::new();
        let mut last = instant("2026-06-01T00:00:00Z");
        for tick in ticks.after(last).take(1000) {
            assert!(last < tick.deliver_at, "{text}");
            assert!(tick.at <= tick.deliver_at, "{text}");
            let delay = tick.deliver_at.duration_since(tick.at);
            parts.push(delay.as_secs_f64() / f64::from(gap));
            last = tick.at.checked_add(Duration::from_secs(gap.try_into().unwrap())).unwrap();
            assert!(tick.deliver_at < last, "{text}");
        }
        // The delays fill the window evenly.
        for tenth in 0..10 {
            let range = f64::from(tenth) / 10.0..f64::from(tenth + 1) / 10.0;
            let count = parts.iter().filter(|part| range.contains(part)).count();
            assert!((60..140).contains(&count), "{count} of 1000 in tenth {tenth}");
        }
    }
}

#[test]
fn a_tick_is_due_after_its_delay() {
    let ticks = ticks("shop.report", "0 3 * * *", HOUR);
    let start = instant("2026-06-01T00:00:00Z");
    let tick = ticks.after(start).next().unwrap();
    for missed in [Missed::Skip, Missed::Once, Missed::All] {
        let policy = Policy { missed, tolerance: Duration::ZERO };
        let early = ticks.due(start, tick.at, policy);
        assert_eq!((early.ticks.len(), early.missed, early.last), (0, 0, start));
        assert_eq!(early.next, Some(tick.deliver_at));
        let due = ticks.due(early.last, tick.deliver_at, policy);
        assert_eq!((due.ticks, due.missed, due.last), (vec![tick], 0, tick.at));
    }
}

#[test]
fn the_longest_window_is_a_day() {
    let ticks = Ticks::new("shop.report", schedule("* * * * *", "UTC"));
    assert!(ticks.clone().with_jitter(24 * HOUR).is_ok());
    let error = ticks.with_jitter(25 * HOUR).unwrap_err();
    assert_eq!(error.to_string(), "the jitter is 90000s; write at most 86400s");
}
