//! Time zones, as segments of one offset each.

use std::sync::LazyLock;

use jiff::{
    Timestamp, ToSpan,
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase},
};

use super::ScheduleError;

/// The database that is compiled in.
static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The zone of an IANA name, in any case.
pub(super) fn named(name: &str) -> Result<TimeZone, ScheduleError> {
    DATABASE.get(name).map_err(|_| ScheduleError::Zone { found: name.into() })
}

/// The instant of a time on the clock: the first of two, or the end of the gap that the time is in.
pub(super) fn fixed_time(zone: &TimeZone, clock: DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(clock);
    let earlier = ambiguous.earlier().ok()?;
    if let AmbiguousOffset::Gap { .. } = ambiguous.offset() {
        zone.following(earlier).next().map(|change| change.timestamp())
    } else {
        Some(earlier)
    }
}

/// A span of time in which a zone keeps its offset.
///
/// ```text
///           spring: the clock skips 02:00 to 03:00      autumn: it shows 02:00 to 03:00 twice
/// instants  ----------------|---------------------      ----------------|---------------------
/// clock       01:00   02:00 | 03:00   04:00               02:00   03:00 | 02:00   03:00   04:00
/// ```
///
/// The clock *owes* a segment the times since the one that it would have shown at the segment's
/// start without the change. In spring these include the gap, and in autumn they begin after the
/// times that it shows again.
pub(super) struct Segment {
    start: Timestamp,
    /// The start of the next segment, if there is one.
    pub(super) end: Option<Timestamp>,
    offset: Offset,
    offset_before: Offset,
}

impl Segment {
    /// The segment of a whole second.
    pub(super) fn of(zone: &TimeZone, second: Timestamp) -> Segment {
        let inclusive = second.checked_add(1.second()).unwrap_or(second);
        let start = zone.preceding(inclusive).next().map(|change| change.timestamp());
        let before = start.and_then(|start| start.checked_sub(1.second()).ok());
        let offset = zone.to_offset(second);
        Segment {
            start: start.unwrap_or(Timestamp::MIN),
            end: zone.following(second).next().map(|change| change.timestamp()),
            offset,
            offset_before: before.map_or(offset, |before| zone.to_offset(before)),
        }
    }

    /// The time on the clock at an instant of this segment.
    pub(super) fn clock(&self, instant: Timestamp) -> DateTime {
        self.offset.to_datetime(instant)
    }

    /// The first time that the clock shows in this segment.
    pub(super) fn first_shown(&self) -> DateTime {
        self.offset.to_datetime(self.start)
    }

    /// The first time that the clock owes this segment.
    pub(super) fn first_owed(&self) -> DateTime {
        self.offset_before.to_datetime(self.start)
    }

    /// The instant of a time that the clock shows or owes this segment; that of a time in a gap is
    /// the gap's end. `None` if the segment ends before.
    pub(super) fn instant(&self, clock: DateTime) -> Option<Timestamp> {
        let instant = self.offset.to_timestamp(clock).ok()?.max(self.start);
        Some(instant).filter(|instant| self.end.is_none_or(|end| *instant < end))
    }
}
