//! Delays that spread the ticks of many schedules over a window.

use std::time::Duration;

use jiff::Timestamp;

/// The delay of a tick: at least zero, and less than `window`. It is a part of a hash of the
/// schedule's id and the tick, so that it is the same after a restart and on each host.
pub(super) fn delay(schedule: &str, tick: Timestamp, window: Duration) -> Duration {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&tick.as_second().to_le_bytes());
    hasher.update(schedule.as_bytes());
    let mut part = [0; 4];
    hasher.finalize_xof().fill(&mut part);
    let part = u32::from_le_bytes(part);
    // The product of a fraction below 1 and the window, as in Lemire's "Fast Random Integer
    // Generation in an Interval" (2019).
    let nanos = (window.as_nanos() * u128::from(part)) >> u32::BITS;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
