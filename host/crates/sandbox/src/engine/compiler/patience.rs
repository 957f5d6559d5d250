//! The wall time of a compilation: the time in which its process could have run.
//!
//! The compiler is niced. On a machine whose cores serve, it waits in the kernel's queue for most
//! of the time, and that says nothing about the component. So the time that its threads spend in
//! that queue does not count, as the turns of other compilations do not. The limit of CPU time
//! bounds the rest. A compiler that does nothing, and waits for nothing, is ended after the limit.

use std::{
    collections::HashMap,
    fs,
    time::{Duration, Instant},
};

/// The longest time that a compilation has on a machine that lets it not run, as a multiple of its
/// limit.
const STARVED: u32 = 10;

/// The time that is left for a process.
pub(super) struct Patience {
    pid: u32,
    left: Duration,
    /// However much of the time does not count.
    at_most: Duration,
    began: Instant,
    queued: Queued,
}

/// The time that each thread has spent in the queue for a core so far.
type Queued = HashMap<u32, Duration>;

impl Patience {
    pub(super) fn new(pid: u32, wall: Duration) -> Patience {
        let (began, queued) = (Instant::now(), queued(pid));
        Patience { pid, left: wall, at_most: wall.saturating_mul(STARVED), began, queued }
    }

    /// The time after which to look again.
    pub(super) fn left(&self) -> Duration {
        self.left.min(self.at_most)
    }

    /// Counts the time since the beginning, or since the process went on. Says whether there is
    /// more.
    pub(super) fn is_left(&mut self) -> bool {
        let (now, elapsed) = (queued(self.pid), self.began.elapsed());
        self.left = self.left.saturating_sub(counted(elapsed, &self.queued, &now));
        self.at_most = self.at_most.saturating_sub(elapsed);
        (self.began, self.queued) = (Instant::now(), now);
        !self.left().is_zero()
    }

    /// Begins again, after time in which others had their turn.
    pub(super) fn go_on(&mut self) {
        (self.began, self.queued) = (Instant::now(), queued(self.pid));
    }
}

/// The part of a time in which the process could run: all of it, less that of the thread that was
/// longest in the queue.
fn counted(elapsed: Duration, before: &Queued, now: &Queued) -> Duration {
    let waited = |(thread, total): (&u32, &Duration)| {
        total.saturating_sub(before.get(thread).copied().unwrap_or_default())
    };
    elapsed.saturating_sub(now.iter().map(waited).max().unwrap_or_default())
}

/// Reads Linux's statistics of the scheduler (Documentation/scheduler/sched-stats.rst). Nothing,
/// where the system has none.
fn queued(pid: u32) -> Queued {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let queued = threads.filter_map(|entry| {
        let thread = entry.file_name().to_str()?.parse().ok()?;
        let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
        Some((thread, in_queue(&text)?))
    });
    queued.collect()
}

/// The second number of a `schedstat`, in nanoseconds.
fn in_queue(text: &str) -> Option<Duration> {
    Some(Duration::from_nanos(text.split_whitespace().nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn time_in_the_queue_does_not_count() {
        assert_eq!(in_queue("5 2000000000 7\n"), Some(2 * S));
        assert_eq!(in_queue("5"), None);
        let before = Queued::from([(1, 5 * S)]);
        // The second thread is new, and waited less.
        let now = Queued::from([(1, 5 * S + S * 3 / 4), (2, S / 2)]);
        assert_eq!(counted(S, &before, &now), S / 4);
        assert_eq!(counted(S, &before, &before), S);
        assert_eq!(counted(S, &before, &Queued::new()), S);
        assert_eq!(counted(S, &Queued::new(), &Queued::from([(1, 9 * S)])), Duration::ZERO);
    }

    #[test]
    fn a_process_that_never_runs_is_not_waited_for_without_end() {
        let mut patience = Patience::new(0, S);
        patience.at_most = Duration::ZERO;
        assert!(!patience.is_left() && patience.left().is_zero());
    }
}
