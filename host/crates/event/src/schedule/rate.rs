//! Rates: ticks at the multiples of a period.

use jiff::Timestamp;

use super::ScheduleError;

/// A period. The ticks are its multiples since the Unix epoch, so that neither a restart nor a
/// deployment moves them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    seconds: i64,
}

const UNITS: [(&str, i64); 4] =
    [("second", 1), ("minute", 60), ("hour", 60 * 60), ("day", 24 * 60 * 60)];

impl Rate {
    /// The days of the longest period.
    pub(super) const MAX_DAYS: i64 = 366;

    /// Parses `5 minutes`. The unit is plural unless the number is 1, as in EventBridge.
    pub(super) fn parse(text: &str) -> Result<Rate, ScheduleError> {
        let rate = || {
            let (number, unit) = text.split_once(' ')?;
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse::<i64>().ok().filter(|_| is_number)?;
            let unit = unit.trim_start();
            let singular = if number == 1 { Some(unit) } else { unit.strip_suffix('s') }?;
            let (_, unit_seconds) = UNITS.into_iter().find(|(name, _)| *name == singular)?;
            let seconds = number.checked_mul(unit_seconds)?;
            (1..=Rate::MAX_DAYS * 24 * 60 * 60).contains(&seconds).then_some(Rate { seconds })
        };
        rate().ok_or_else(|| ScheduleError::Rate { found: text.into() })
    }

    /// The first tick after a whole second.
    pub(super) fn next_after(self, second: Timestamp) -> Option<Timestamp> {
        let periods = second.as_second().div_euclid(self.seconds) + 1;
        Timestamp::from_second(periods.checked_mul(self.seconds)?).ok()
    }
}
