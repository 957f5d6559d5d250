//! Single times.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::{ScheduleError, zone};

/// Parses `2026-12-24T18:00:00` in a zone. Jiff's own parser would take an offset and ignore it.
pub(super) fn parse(text: &str, time_zone: &TimeZone) -> Result<Timestamp, ScheduleError> {
    DateTime::strptime("%Y-%m-%dT%H:%M:%S", text)
        .ok()
        .and_then(|civil| zone::fixed_time(time_zone, civil))
        .ok_or_else(|| ScheduleError::At { found: text.into() })
}
