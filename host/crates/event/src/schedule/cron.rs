//! Cron expressions: times on the clock of a zone, and their instants.

use jiff::{Timestamp, ToSpan, civil::DateTime, tz::TimeZone};

use super::{ScheduleError, field, zone::Segment};

/// A cron expression in a zone. [`croner`] finds times on the clock, and [`Segment`] their
/// instants. Croner's own rules for daylight saving take `0 2,14 * * *` for elapsed time, and would
/// run it twice at 02:00 in autumn.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Cron {
    times: croner::Cron,
    zone: TimeZone,
    /// Whether each time fires exactly once, as opposed to whenever the clock matches.
    is_fixed: bool,
}

impl Cron {
    /// Parses the fields of an expression.
    pub(super) fn parse(text: &str, zone: TimeZone) -> Result<Cron, ScheduleError> {
        field::check(text)?;
        // Each field has been parsed alone, so that all of them parse together.
        let never_fires = || ScheduleError::NeverFires { text: text.into() };
        // Croner would take `*/1` for a restriction, as no other cron does.
        let fields = text.split_whitespace().map(|field| if field == "*/1" { "*" } else { field });
        let fields: Vec<&str> = fields.collect();
        let times: croner::Cron = fields.join(" ").parse().map_err(|_| never_fires())?;
        let pattern = &times.pattern;
        let is_fixed = ![&pattern.seconds, &pattern.minutes, &pattern.hours]
            .iter()
            .any(|field| field.from_wildcard);
        let cron = Cron { times, zone, is_fixed };
        // The calendar repeats itself every 400 years, and croner's ends with the year 5000.
        cron.next_time(DateTime::constant(4600, 1, 1, 0, 0, 0, 0)).ok_or_else(never_fires)?;
        Ok(cron)
    }

    /// The first time on the clock from `time` on that matches.
    fn next_time(&self, time: DateTime) -> Option<DateTime> {
        self.times.find_next_occurrence(&time, true).ok()
    }

    /// The first tick after a whole second.
    pub(super) fn next_after(&self, second: Timestamp) -> Option<Timestamp> {
        let mut segment = Segment::of(&self.zone, second);
        let mut from = segment.clock(second).checked_add(1.second()).ok()?;
        loop {
            let first = if self.is_fixed { segment.first_owed() } else { segment.first_shown() };
            let time = self.next_time(from.max(first))?;
            if let Some(tick) = segment.instant(time) {
                return Some(tick);
            }
            segment = Segment::of(&self.zone, segment.end?);
            from = DateTime::MIN;
        }
    }
}
