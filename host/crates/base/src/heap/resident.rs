//! The watch over the resident memory of a process.
//!
//! Accounts count bytes, and the system gives pages. A guest that frees nearly all of many blocks,
//! and keeps one on each page of the allocator, holds many times the pages that its bytes need. The
//! allocator cannot give such a page back, and no account shows it. So the watch looks at the pages
//! themselves:
//!
//! ```text
//!   look --over the limit--> have all threads give free pages back --still over--> call in the account with the most blocks
//!    ^                                                                                      |
//!    +------------------------------------ once the account is closed ----------------------+
//! ```
//!
//! One victim at a time, and the next one only when its memory is back, is how Linux treats a full
//! machine (`mm/oom_kill.c`). The choice by blocks follows the longest queue drop of Suter et al.,
//! "Buffer management schemes for supporting TCP in gigabit routers with per-flow queueing", 1999:
//! the party that fills the buffer pays.

use std::{
    fs, io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use super::{CalledIn, call_in_largest, host_bytes};

/// Time between two looks: at least the first, at most the second.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// Bytes that guests on one core can make resident in a second, by the cost of a page fault. The
/// next look comes before they can have used up the room that is left.
const GROWTH_PER_CORE: u64 = 1 << 30;

/// Time between two times that the threads give pages back, while more than [`KEPT_BYTES`] are
/// resident.
const GIVE_BACK: Duration = Duration::from_secs(5);
/// Bytes that may stay resident without being given back.
const KEPT_BYTES: u64 = 64 << 20;

/// Has each thread give its free pages back to the system, and waits until all have.
type GiveBack = Box<dyn Fn() + Send>;

/// Time in which the owner of an account closes it, before the next one is called in.
const CLOSING: Duration = Duration::from_millis(100);
/// Time between two looks at whether an account is closed.
const CLOSING_LOOK: Duration = Duration::from_millis(1);

/// Keeps the watch until dropped.
#[derive(Debug)]
pub struct ResidentWatch {
    stopped: Arc<Stopped>,
    called_in: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stopped {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Stopped {
    /// Waits for `time`. Returns whether the watch has ended.
    fn wait(&self, time: Duration) -> bool {
        let is_set = self.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(is_set, time, |is_set| !*is_set);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn set(&self) {
        *self.is_set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

impl ResidentWatch {
    /// Starts the watch: over what is resident now, and over the host's own heap, no more than
    /// `limit_bytes` stay resident.
    ///
    /// `give_back` has each thread give its free pages back to the system: an allocator does so by
    /// itself only while the thread that owns the pages allocates.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(limit_bytes: u64, give_back: GiveBack) -> io::Result<ResidentWatch> {
        let stopped = Arc::new(Stopped::default());
        let called_in = Arc::new(AtomicU64::new(0));
        let watch = PageWatch {
            base_bytes: own_bytes().unwrap_or(0),
            limit_bytes,
            give_back,
            cores: thread::available_parallelism().map_or(1, usize::from) as u64,
            called_in: called_in.clone(),
        };
        let thread = {
            let stopped = stopped.clone();
            thread::Builder::new()
                .name("lacewing-resident".into())
                .spawn(move || watch.run(&stopped))?
        };
        Ok(ResidentWatch { stopped, called_in, thread: Some(thread) })
    }

    /// Counts the accounts that the watch has called in.
    pub fn counter(&self) -> Arc<AtomicU64> {
        self.called_in.clone()
    }
}

impl Drop for ResidentWatch {
    fn drop(&mut self) {
        self.stopped.set();
        if let Some(thread) = self.thread.take() {
            // A watch that has panicked has nothing left to say.
            let _ = thread.join();
        }
    }
}

struct PageWatch {
    /// Resident at the start, less the host's own heap then.
    base_bytes: u64,
    limit_bytes: u64,
    give_back: GiveBack,
    cores: u64,
    called_in: Arc<AtomicU64>,
}

impl PageWatch {
    fn run(&self, stopped: &Stopped) {
        let mut given_back = Instant::now();
        loop {
            let mut resident = self.resident_bytes();
            let is_due = given_back.elapsed() >= GIVE_BACK && resident > KEPT_BYTES;
            if is_due || resident > self.limit_bytes {
                (self.give_back)();
                given_back = Instant::now();
                resident = self.resident_bytes();
            }
            if resident > self.limit_bytes
                && let Some(called_in) = call_in_largest()
            {
                self.called_in.fetch_add(1, Relaxed);
                report(&called_in, resident, self.limit_bytes);
                if closes(&called_in, stopped) {
                    continue;
                }
            }
            if stopped.wait(self.until_next_look(resident)) {
                return;
            }
        }
    }

    /// Bytes that are resident for tenants and clients.
    fn resident_bytes(&self) -> u64 {
        own_bytes().unwrap_or(0).saturating_sub(self.base_bytes)
    }

    fn until_next_look(&self, resident: u64) -> Duration {
        let room = self.limit_bytes.saturating_sub(resident);
        let growth_per_ms = GROWTH_PER_CORE / 1000 * self.cores;
        Duration::from_millis(room / growth_per_ms).clamp(LOOKS.0, LOOKS.1)
    }
}

fn report(called_in: &CalledIn, resident: u64, limit_bytes: u64) {
    tracing::warn!(
        resident_mib = resident >> 20,
        limit_mib = limit_bytes >> 20,
        blocks = called_in.blocks,
        heap_bytes = called_in.bytes,
        "resident memory is over its limit; the sandbox or connection with the most blocks of the heap is closed"
    );
}

/// Whether the account is closed soon.
fn closes(called_in: &CalledIn, stopped: &Stopped) -> bool {
    let until = Instant::now() + CLOSING;
    while !called_in.is_closed() {
        if Instant::now() >= until || stopped.wait(CLOSING_LOOK) {
            return false;
        }
    }
    true
}

/// Bytes of this process that are resident, without pages of files and the host's own blocks.
/// `None`: the system does not tell.
fn own_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split(' ').skip(1).map_while(|field| field.parse::<u64>().ok());
    let (resident, of_files) = (pages.next()?, pages.next()?);
    let bytes = resident.saturating_sub(of_files) * rustix::param::page_size() as u64;
    Some(bytes.saturating_sub(host_bytes() as u64))
}
