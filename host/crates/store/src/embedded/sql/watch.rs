//! The clock of a running statement: the moments at which it ends, and the reason for which it
//! ended.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

/// The limit that ended a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The statement's own time.
    Time,
    /// The CPU budget of the invocation.
    Cpu,
    /// The invocation has gone.
    Abandoned,
}

impl Ended {
    const ALL: [Ended; 3] = [Ended::Time, Ended::Cpu, Ended::Abandoned];

    fn code(self) -> u8 {
        self as u8 + 1
    }
}

/// The clock of one connection. The thread of a statement sets and reads the times; any thread may
/// abandon the statement.
#[derive(Debug)]
pub(super) struct Watch {
    /// The origin of the times below, which are in nanoseconds.
    origin: Instant,
    until: AtomicU64,
    /// The next look at the thread's CPU clock: no earlier can the CPU time be spent.
    cpu_look: AtomicU64,
    /// The reading of the thread's CPU clock at which the CPU time is spent.
    cpu_until: AtomicU64,
    is_abandoned: AtomicBool,
    /// Whether the host itself uses the connection.
    is_host: AtomicBool,
    ended: AtomicU8,
    /// Whether the statement adds to the schema.
    creates: AtomicBool,
    refusal: Mutex<Option<String>>,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch {
            origin: Instant::now(),
            until: AtomicU64::new(u64::MAX),
            cpu_look: AtomicU64::new(u64::MAX),
            cpu_until: AtomicU64::new(u64::MAX),
            is_abandoned: AtomicBool::new(false),
            is_host: AtomicBool::new(false),
            ended: AtomicU8::new(0),
            creates: AtomicBool::new(false),
            refusal: Mutex::default(),
        }
    }

    /// Begins a statement on this thread, with so much time and so much CPU time.
    pub(super) fn begin(&self, time: Duration, cpu: Duration) {
        let now = self.now();
        self.until.store(now.saturating_add(nanoseconds(time)), Relaxed);
        self.cpu_look.store(now.saturating_add(nanoseconds(cpu)), Relaxed);
        self.cpu_until.store(thread_cpu().saturating_add(nanoseconds(cpu)), Relaxed);
        self.ended.store(0, Relaxed);
        self.creates.store(false, Relaxed);
        *self.refusal.lock() = None;
    }

    /// Does the host's own work on the connection, which no rule for guests holds up.
    pub(super) fn as_host<T>(&self, work: impl FnOnce() -> T) -> T {
        self.is_host.store(true, Relaxed);
        let done = work();
        self.is_host.store(false, Relaxed);
        done
    }

    /// Whether the host itself uses the connection.
    pub(super) fn is_host(&self) -> bool {
        self.is_host.load(Relaxed)
    }

    /// Has the statement end, for which no answer waits.
    pub(super) fn abandon(&self) {
        self.is_abandoned.store(true, Relaxed);
    }

    /// Whether a limit is reached.
    pub(super) fn is_over(&self) -> bool {
        let ended = self.check();
        if let Some(ended) = ended {
            self.ended.store(ended.code(), Relaxed);
        }
        ended.is_some()
    }

    fn check(&self) -> Option<Ended> {
        if self.is_host() {
            return None;
        }
        if self.is_abandoned.load(Relaxed) {
            return Some(Ended::Abandoned);
        }
        let now = self.now();
        if now >= self.until.load(Relaxed) {
            return Some(Ended::Time);
        }
        if now >= self.cpu_look.load(Relaxed) {
            let left = self.cpu_until.load(Relaxed).saturating_sub(thread_cpu());
            if left == 0 {
                return Some(Ended::Cpu);
            }
            self.cpu_look.store(now.saturating_add(left), Relaxed);
        }
        None
    }

    /// The limit that ended the statement.
    pub(super) fn ended(&self) -> Option<Ended> {
        let code = self.ended.load(Relaxed);
        Ended::ALL.into_iter().find(|ended| ended.code() == code)
    }

    /// Notes that the statement adds to the schema.
    pub(super) fn note_create(&self) {
        self.creates.store(true, Relaxed);
    }

    /// Whether the statement adds to the schema.
    pub(super) fn creates(&self) -> bool {
        self.creates.load(Relaxed)
    }

    /// Notes why a statement is refused: the first reason counts.
    pub(super) fn note_refusal(&self, sentence: String) {
        self.refusal.lock().get_or_insert(sentence);
    }

    /// Why the statement was refused.
    pub(super) fn take_refusal(&self) -> Option<String> {
        self.refusal.lock().take()
    }

    fn now(&self) -> u64 {
        nanoseconds(self.origin.elapsed())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The CPU time of this thread, in nanoseconds.
fn thread_cpu() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = time.tv_sec.unsigned_abs().saturating_mul(1_000_000_000);
    seconds.saturating_add(time.tv_nsec.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_statement_ends_for_the_limit_that_it_reaches() {
        let watch = Watch::new();
        watch.begin(LONG, LONG);
        assert!(!watch.is_over());
        assert_eq!(watch.ended(), None);
        watch.begin(Duration::ZERO, LONG);
        assert!(watch.is_over());
        assert_eq!(watch.ended(), Some(Ended::Time));
        watch.begin(LONG, Duration::ZERO);
        assert!(watch.is_over());
        assert_eq!(watch.ended(), Some(Ended::Cpu));
        watch.begin(LONG, LONG);
        assert_eq!(watch.ended(), None);
        watch.abandon();
        assert!(watch.is_over());
        assert_eq!(watch.ended(), Some(Ended::Abandoned));
    }

    #[test]
    fn waiting_spends_no_cpu_time() {
        let watch = Watch::new();
        let cpu = Duration::from_millis(20);
        watch.begin(LONG, cpu);
        let begun = Instant::now();
        std::thread::sleep(cpu * 2);
        assert!(begun.elapsed() >= cpu * 2 && !watch.is_over());
    }
}
