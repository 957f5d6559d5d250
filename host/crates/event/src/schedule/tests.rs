//! Tests of schedules in simulated time.

mod calendar;
mod daylight_saving;
mod due;
mod jitter;
mod reference;
mod texts;

use jiff::Timestamp;

use super::Schedule;

/// An instant from its text, such as `2026-03-29T01:00:00Z`.
fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A schedule in a zone.
fn schedule(text: &str, zone: &str) -> Schedule {
    Schedule::parse_in(text, zone).unwrap()
}
