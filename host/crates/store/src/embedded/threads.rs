//! The threads of the store: they open databases, commit and close, so that the threads that serve
//! requests wait for no disk.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    thread::{self, JoinHandle},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{database::Database, tenant::EmbeddedTenant};
use crate::StoreError;

/// Work of a thread.
pub(super) enum Job {
    /// Opens a tenant's database.
    Open(Arc<EmbeddedTenant>, oneshot::Sender<Result<(), StoreError>>),
    /// Commits a batch of a database. Each database has one such job at most.
    Commit(Arc<Database>),
    /// Closes the retired database of a tenant, if the tenant is still there.
    Close(Weak<EmbeddedTenant>),
    /// Work on files.
    Work(Box<dyn FnOnce() + Send>),
}

/// The threads, and the work that waits for them, in the order of its arrival.
pub(super) struct StoreThreads {
    jobs: Arc<Jobs>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Jobs {
    queue: Mutex<JobQueue>,
    changed: Condvar,
}

#[derive(Default)]
struct JobQueue {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Jobs {
    fn push(&self, job: Job) {
        self.queue.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// The next job; `None` at the end.
    fn pop(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.is_closed {
                return None;
            }
            self.changed.wait(&mut queue);
        }
    }

    fn run(&self) {
        while let Some(job) = self.pop() {
            match job {
                // An invocation that has gone does not wait for its answer.
                Job::Open(tenant, opened) => drop(opened.send(tenant.open_now())),
                Job::Commit(database) => {
                    // A bug in one batch ends neither the thread nor the other batches. The
                    // invocations of the batch hear that their answers are gone.
                    let committed = catch_unwind(AssertUnwindSafe(|| database.commit_batch()));
                    if committed.is_err() {
                        tracing::error!("a batch of commits panicked");
                    }
                    if database.queue.end_batch() {
                        self.push(Job::Commit(database));
                    }
                }
                Job::Close(tenant) => {
                    if let Some(tenant) = tenant.upgrade() {
                        tenant.close_now();
                    }
                }
                Job::Work(work) => {
                    if catch_unwind(AssertUnwindSafe(work)).is_err() {
                        tracing::error!("work on the files of a tenant panicked");
                    }
                }
            }
        }
    }
}

impl StoreThreads {
    pub(super) fn start(threads: usize) -> io::Result<StoreThreads> {
        let jobs = Arc::new(Jobs::default());
        let start = |_| {
            let jobs = jobs.clone();
            thread::Builder::new().name("store".to_owned()).spawn(move || jobs.run())
        };
        let threads = (0..threads.max(1)).map(start).collect::<io::Result<_>>()?;
        Ok(StoreThreads { jobs, threads })
    }

    pub(super) fn push(&self, job: Job) {
        self.jobs.push(job);
    }
}

impl Drop for StoreThreads {
    /// Waits for the work that was accepted.
    fn drop(&mut self) {
        self.jobs.queue.lock().is_closed = true;
        self.jobs.changed.notify_all();
        for thread in self.threads.drain(..) {
            // The last user of the store may be a job.
            if thread.thread().id() != thread::current().id() {
                // A panic was logged where it happened.
                let _ = thread.join();
            }
        }
    }
}
