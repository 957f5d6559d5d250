//! The times at which requests of a fixed rate are due.
//!
//! A closed loop sends the next request when the last one was answered: it finds the highest
//! throughput, and it asks less of a server that stalls. An open loop sends at a fixed rate
//! whatever comes back: slot `n` is due at `start + n * interval`, and latency counts from there,
//! so that a stall is charged with every request that it held up (that is what coordinated omission
//! leaves out).

use std::{
    cell::Cell,
    io,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// The slots of one thread's connections.
pub(crate) struct PacedSlots {
    start: Instant,
    end: Instant,
    open: Option<Open>,
}

struct Open {
    interval: Duration,
    // Permits are slots that are due and not yet taken.
    due: Semaphore,
    taken: Cell<u64>,
}

impl PacedSlots {
    /// As fast as answers come, from `start` to `end`.
    pub(crate) fn closed(start: Instant, end: Instant) -> PacedSlots {
        PacedSlots { start, end, open: None }
    }

    /// One each `interval`.
    pub(crate) fn open(start: Instant, end: Instant, interval: Duration) -> PacedSlots {
        let open = Open { interval, due: Semaphore::new(0), taken: Cell::new(0) };
        PacedSlots { start, end, open: Some(open) }
    }

    /// Waits for the next slot that nobody has, and says when it was due. `None` after the end.
    pub(crate) async fn next(&self) -> Option<Instant> {
        let Some(open) = &self.open else {
            let now = Instant::now();
            return (now < self.end).then_some(now);
        };
        open.due.acquire().await.ok()?.forget();
        let slot = open.taken.replace(open.taken.get() + 1);
        Some(self.due(open, slot))
    }

    /// Whether there are no more slots.
    pub(crate) fn is_over(&self) -> bool {
        match &self.open {
            Some(open) => open.due.is_closed(),
            None => Instant::now() >= self.end,
        }
    }

    /// Makes slots due as time passes, and ends when the last of them is taken. A closed loop needs
    /// none of it.
    pub(crate) async fn run(&self) -> io::Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let mut ticks = Ticks::new(open.interval.max(SHORTEST_TICK))?;
        let mut released = 0;
        loop {
            let slots = self.slots_until(open, Instant::now().min(self.end));
            if slots > released {
                open.due.add_permits(usize::try_from(slots - released).unwrap_or(usize::MAX));
                released = slots;
            }
            let now = Instant::now();
            let taken = open.due.available_permits() == 0;
            if now >= self.end && (taken || now >= self.end + GRACE) {
                // A connection with a request under way finishes it; none begins another one.
                open.due.close();
                return Ok(());
            }
            ticks.tick().await?;
        }
    }

    /// The slots that were due by the end and that nobody took.
    pub(crate) fn left_over(&self) -> impl Iterator<Item = Instant> {
        self.open.iter().flat_map(|open| {
            let all = self.slots_until(open, self.end);
            (open.taken.get()..all).map(|slot| self.due(open, slot))
        })
    }

    fn due(&self, open: &Open, slot: u64) -> Instant {
        self.start + Duration::from_nanos(nanos(open.interval).saturating_mul(slot))
    }

    /// Slots that are due before `now`; the first is due at the start.
    fn slots_until(&self, open: &Open, now: Instant) -> u64 {
        match now.checked_duration_since(self.start) {
            Some(passed) if !passed.is_zero() => {
                nanos(passed).div_ceil(nanos(open.interval).max(1))
            }
            Some(_) | None => 0,
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The time after the end in which requests that were due by then may still be sent. The others are
/// left over.
const GRACE: Duration = Duration::from_secs(1);

/// Above 20,000 requests per second and thread, a tick releases several: each costs system calls,
/// and who sends may share its cores with who answers.
const SHORTEST_TICK: Duration = Duration::from_micros(50);

/// The runtime's own timer has a resolution of a millisecond, which is ten times what is to be
/// measured.
#[cfg(target_os = "linux")]
struct Ticks(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Ticks {
    fn new(period: Duration) -> io::Result<Ticks> {
        use rustix::time::{
            Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
            timerfd_settime,
        };
        let fd = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let period = Timespec::try_from(period).map_err(io::Error::other)?;
        let spec = Itimerspec { it_interval: period, it_value: period };
        timerfd_settime(&fd, TimerfdTimerFlags::empty(), &spec)?;
        // Its successor is unsafe, for types that might give their descriptor away. This one owns
        // it to the end.
        #[allow(deprecated)]
        let fd = tokio::io::unix::AsyncFd::new(fd)?;
        Ok(Ticks(fd))
    }

    async fn tick(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut count = [0; 8];
            let read = ready.try_io(|fd| {
                // The number of expirations; the clock says more.
                rustix::io::read(fd.get_ref(), &mut count).map(drop).map_err(io::Error::from)
            });
            match read {
                Ok(result) => {
                    // It goes on from here, and says so.
                    ready.clear_ready();
                    return result;
                }
                Err(_not_yet) => {}
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
struct Ticks(tokio::time::Interval);

#[cfg(not(target_os = "linux"))]
impl Ticks {
    fn new(period: Duration) -> io::Result<Ticks> {
        Ok(Ticks(tokio::time::interval(period.max(Duration::from_millis(1)))))
    }

    async fn tick(&mut self) -> io::Result<()> {
        self.0.tick().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(slots: u32, interval: Duration) -> PacedSlots {
        let start = Instant::now();
        PacedSlots::open(start, start + interval * slots, interval)
    }

    #[tokio::test]
    async fn every_slot_comes_once_and_is_due_when_the_rate_says() {
        let interval = Duration::from_micros(700);
        let pace = pace(20, interval);
        let takes = async {
            let mut due = Vec::new();
            while let Some(at) = pace.next().await {
                assert!(at <= Instant::now(), "no slot is given away before it is due");
                due.push(at);
            }
            due
        };
        let (run, taken) = tokio::join!(pace.run(), takes);
        run.unwrap();
        let expected: Vec<Instant> = (0..20).map(|slot| pace.start + interval * slot).collect();
        assert_eq!(taken, expected);
        assert_eq!(pace.left_over().count(), 0);
    }

    #[tokio::test]
    async fn requests_that_are_not_taken_are_left_over() {
        let pace = pace(10, Duration::from_micros(100));
        pace.run().await.unwrap();
        assert_eq!(pace.next().await, None);
        assert_eq!(pace.left_over().count(), 10);
    }

    #[tokio::test]
    async fn a_closed_loop_is_always_due_until_its_end() {
        let start = Instant::now();
        assert!(PacedSlots::closed(start, start + Duration::from_secs(60)).next().await.is_some());
        assert_eq!(PacedSlots::closed(start, start).next().await, None);
    }
}
