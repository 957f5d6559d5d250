//! Mistakes in the text of a schedule.

use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use super::{Schedule, Ticks, rate::Rate};

/// A mistake in a schedule: the part that is wrong, its text, and one that would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// A text over [`Schedule::MAX_BYTES`].
    #[error("the schedule has {bytes} bytes; write at most {}", Schedule::MAX_BYTES)]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// A text that is none of the forms.
    #[error(
        "{text:?} is no schedule; write a cron expression such as \"30 2 * * *\", \"rate(5 \
         minutes)\" or \"at(2026-12-24T18:00:00)\""
    )]
    Form {
        /// The text.
        text: String,
    },
    /// A cron expression with too many or too few fields.
    #[error(
        "a cron expression has 5 fields (minute, hour, day, month, weekday), or 6 with the second \
         first; {text:?} has {found}"
    )]
    Fields {
        /// The expression.
        text: String,
        /// The number of fields.
        found: usize,
    },
    /// A field of a cron expression that has no meaning.
    #[error(
        "field {position} of {of}, the {name}, is {found:?}; write {values}, * for all, a range \
         a-b, a step */n or a-b/n with n inside the field, or a list of these with commas{}",
        if *of == 6 { "; six fields begin with the second and have no year" } else { "" }
    )]
    Field {
        /// Its place, from 1.
        position: usize,
        /// The number of fields.
        of: usize,
        /// Its name.
        name: &'static str,
        /// Its text.
        found: String,
        /// The values that it may have.
        values: &'static str,
    },
    /// A cron expression for days that no year has.
    #[error("the cron expression {text:?} never fires: no year has such a day; write one that has")]
    NeverFires {
        /// The expression.
        text: String,
    },
    /// A rate without a number and a unit, or out of bounds.
    #[error(
        "the rate is {found:?}; write a whole number and second, minute, hour or day, with an s \
         unless the number is 1, such as \"rate(5 minutes)\": at least 1 second and at most {} \
         days",
        Rate::MAX_DAYS
    )]
    Rate {
        /// The text between the brackets.
        found: String,
    },
    /// A single time that is no date and time.
    #[error(
        "the time is {found:?}; write a date and a time without an offset, such as \
         \"at(2026-12-24T18:00:00)\", and the zone beside it"
    )]
    At {
        /// The text between the brackets.
        found: String,
    },
    /// A single time that has passed.
    #[error("the schedule {text:?} has no tick after {now}; write a time that is still to come")]
    Past {
        /// The schedule.
        text: String,
        /// The time of the check.
        now: Timestamp,
    },
    /// A window of jitter over [`Ticks::MAX_JITTER`].
    #[error("the jitter is {found:?}; write at most {:?}", Ticks::MAX_JITTER)]
    Jitter {
        /// The window.
        found: Duration,
    },
    /// A zone that is not in the time zone database.
    #[error(
        "{found:?} is no time zone; write a name of the IANA time zone database, such as \
         \"Europe/Berlin\" or \"UTC\""
    )]
    Zone {
        /// The name.
        found: String,
    },
}
