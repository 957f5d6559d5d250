//! The threads that execute statements of guests, in the order of a fair queue over tenants.
//!
//! They are others than the threads that commit: a statement may take seconds. One tenant has half
//! of them at most, so that the next tenant finds one free. The first connection starts them.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use lacewing_base::fair::{FairQueue, Flow, Weight};
use parking_lot::{Condvar, Mutex};

/// Statements of one tenant that wait for a thread.
const WAITING: usize = 256;

/// The stack of a thread, of which SQLite's compiler takes most. Memory that was never touched
/// costs nothing.
const STACK_BYTES: usize = 16 << 20;

/// The part of one tenant in the threads.
pub(super) struct SqlLane {
    flow: Arc<Flow>,
    waiting: AtomicUsize,
    running: AtomicUsize,
}

impl Default for SqlLane {
    fn default() -> SqlLane {
        let flow = Flow::new(&Weight::new(1));
        SqlLane { flow, waiting: AtomicUsize::new(0), running: AtomicUsize::new(0) }
    }
}

impl SqlLane {
    /// Whether another statement of the tenant may wait.
    pub(super) fn check_room(&self) -> Result<(), TooMany> {
        match self.waiting.load(Relaxed) < WAITING {
            true => Ok(()),
            false => Err(TooMany(WAITING)),
        }
    }
}

type Work = Box<dyn FnOnce() + Send>;

struct Job {
    lane: Arc<SqlLane>,
    work: Work,
}

/// Too many statements of the tenant wait.
#[derive(Debug)]
pub(super) struct TooMany(pub(super) usize);

/// The threads, and the work that waits for them.
pub(in super::super) struct SqlThreads {
    jobs: Arc<Jobs>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Jobs {
    queue: Mutex<Queue>,
    changed: Condvar,
    threads: usize,
}

#[derive(Default)]
struct Queue {
    jobs: FairQueue<Job>,
    is_closed: bool,
}

impl Jobs {
    /// The next job; `None` at the end.
    fn pop(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        let most = self.threads.div_ceil(2);
        loop {
            // At the end nothing is left but to close connections.
            let is_closed = queue.is_closed;
            let may = |job: &Job| is_closed || job.lane.running.load(Relaxed) < most;
            if let Some((_, job)) = queue.jobs.next(may) {
                job.lane.waiting.fetch_sub(1, Relaxed);
                job.lane.running.fetch_add(1, Relaxed);
                return Some(job);
            }
            if is_closed {
                return None;
            }
            self.changed.wait(&mut queue);
        }
    }

    fn run(&self) {
        while let Some(Job { lane, work }) = self.pop() {
            let begun = Instant::now();
            // A bug ends one connection, whose invocation hears that its answer is gone.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!("a SQL statement panicked");
            }
            let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            let mut queue = self.queue.lock();
            lane.running.fetch_sub(1, Relaxed);
            queue.jobs.charge(&lane.flow, took);
            // Another job of the lane may run now.
            self.changed.notify_one();
        }
    }
}

impl SqlThreads {
    pub(in super::super) fn new(threads: usize) -> SqlThreads {
        let threads = threads.max(1);
        let jobs = Jobs { queue: Mutex::default(), changed: Condvar::new(), threads };
        SqlThreads { jobs: Arc::new(jobs), threads: Mutex::default() }
    }

    /// Starts the threads, if they are not there.
    pub(super) fn start(&self) -> io::Result<()> {
        let mut threads = self.threads.lock();
        while threads.len() < self.jobs.threads {
            let jobs = self.jobs.clone();
            let thread = thread::Builder::new().name("sql".to_owned()).stack_size(STACK_BYTES);
            threads.push(thread.spawn(move || jobs.run())?);
        }
        Ok(())
    }

    /// Has a thread do some work for a tenant. Work that takes more than it frees asks
    /// [`SqlLane::check_room`] first.
    pub(super) fn push(&self, lane: &Arc<SqlLane>, work: Work) {
        lane.waiting.fetch_add(1, Relaxed);
        self.jobs.queue.lock().jobs.push(&lane.flow, Job { lane: lane.clone(), work });
        self.jobs.changed.notify_one();
    }
}

impl Drop for SqlThreads {
    /// Waits for the work that was accepted.
    fn drop(&mut self) {
        self.jobs.queue.lock().is_closed = true;
        self.jobs.changed.notify_all();
        for thread in self.threads.get_mut().drain(..) {
            // The last user of the store may be a job.
            if thread.thread().id() != thread::current().id() {
                // A panic was logged where it happened.
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_tenant_has_half_of_the_threads() {
        let threads = SqlThreads::new(2);
        threads.start().unwrap();
        let (busy, other) = (Arc::<SqlLane>::default(), Arc::<SqlLane>::default());
        let (release, held) = mpsc::channel::<()>();
        let (told, done) = mpsc::channel();
        let held = Arc::new(Mutex::new(held));
        for _ in 0..2 {
            let held = held.clone();
            threads.push(&busy, Box::new(move || held.lock().recv().unwrap()));
        }
        threads.push(&other, Box::new(move || told.send(()).unwrap()));
        done.recv().unwrap();
        release.send(()).unwrap();
        release.send(()).unwrap();
    }

    #[test]
    fn a_tenant_has_so_many_statements_that_wait() {
        // No thread is started, so that all wait.
        let threads = SqlThreads::new(1);
        let lane = Arc::<SqlLane>::default();
        for _ in 0..WAITING {
            lane.check_room().unwrap();
            threads.push(&lane, Box::new(|| {}));
        }
        assert_eq!(lane.check_room().unwrap_err().0, WAITING);
        assert!(SqlLane::default().check_room().is_ok());
    }
}
