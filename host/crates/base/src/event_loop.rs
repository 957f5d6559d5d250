//! The event loops: threads that each run the connections they were given, and nothing that takes
//! long.
//!
//! ```text
//!   connection ──> event loop, one per core: reads, runs the guest, writes; nothing is handed between threads
//!                      │        ^
//!     a guest's tick   │        │   it waits, or is done
//!                      v        │
//!                  compute threads, which take work from each other
//! ```
//!
//! An invocation that is over within a tick, as nearly all are, wakes no other thread. A longer one
//! is in the way of no other: its task moves to the compute threads in the middle of its
//! computation, and moves back when it waits. A guest that had just begun when the tick came has
//! another tick before it moves. A guest calls [`computing`] from inside a poll to say that it
//! computes.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    num::NonZero,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use futures_util::future::{AbortHandle, Abortable};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// Event loops. Dropping them ends their threads, and drops what runs there.
#[derive(Debug)]
pub struct EventLoops {
    handle: LoopsHandle,
    // Dropped, they end the threads.
    _running: Vec<oneshot::Sender<Infallible>>,
}

/// Spawns on [`EventLoops`], as long as those are there.
#[derive(Clone, Debug)]
pub struct LoopsHandle(Arc<[EventLoop]>);

/// One thread.
#[derive(Debug)]
struct EventLoop {
    home: Home,
    tasks: Arc<AtomicUsize>,
}

/// The two runtimes of a task: one where it runs, and one where it computes.
#[derive(Clone, Debug)]
struct Home {
    index: usize,
    event_loop: Handle,
    compute: Handle,
}

thread_local! {
    /// The event loop that this thread is, if it is one.
    static HOME: RefCell<Option<Home>> = const { RefCell::new(None) };
    /// The event loop of the task that this thread polls, if the task is away from its loop.
    static AWAY_FROM: RefCell<Option<Home>> = const { RefCell::new(None) };
    static COMPUTING: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// The time after which a computing task is moved: half of a tick, which is the time between two
/// moments at which it can be moved.
pub const LONG: Duration = Duration::from_micros(500);

/// Notes that the polled task is in the middle of a computation, and has used the thread for
/// `time`.
pub fn computing(time: Duration) {
    COMPUTING.set(Some(time));
}

/// The event loop that this thread is, if it is one. To wake a task on another loop costs a system
/// call.
pub fn here() -> Option<usize> {
    HOME.with_borrow(|home| home.as_ref().map(|home| home.index))
}

/// Lets other tasks run first, and moves this task to where tasks compute.
pub async fn compute() {
    let mut others = pin!(tokio::task::yield_now());
    poll_fn(|cx| {
        let poll = others.as_mut().poll(cx);
        if poll.is_pending() {
            computing(Duration::MAX);
        }
        poll
    })
    .await;
}

/// The cores that this process may use.
pub fn cores() -> NonZero<usize> {
    thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

impl EventLoops {
    /// Starts as many threads as there are cores that this process may use.
    pub fn per_core() -> io::Result<EventLoops> {
        EventLoops::start(cores())
    }

    /// Starts `count` threads. Tasks that compute move to the runtime of the caller.
    pub fn start(count: NonZero<usize>) -> io::Result<EventLoops> {
        let compute = Handle::current();
        let started: io::Result<Vec<_>> =
            (0..count.get()).map(|index| EventLoop::start(index, compute.clone())).collect();
        let (loops, running): (Vec<_>, Vec<_>) = started?.into_iter().unzip();
        Ok(EventLoops { handle: LoopsHandle(loops.into()), _running: running })
    }

    /// The handle with which tasks are spawned.
    pub fn handle(&self) -> &LoopsHandle {
        &self.handle
    }
}

impl LoopsHandle {
    /// Runs a connection on the thread that has the fewest.
    pub fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let Some(event_loop) = self.0.iter().min_by_key(|one| one.tasks.load(Relaxed)) else {
            return;
        };
        let counted = Counted::new(&event_loop.tasks);
        let task = Box::pin(async move {
            connection.await;
            drop(counted);
        });
        event_loop.home.event_loop.spawn(Roaming {
            task: Some(task),
            home: event_loop.home.clone(),
            away: false,
        });
    }

    /// Runs `task` once on each thread of the event loops, and of the runtime where tasks compute.
    pub fn on_each_thread(&self, task: impl FnOnce() + Clone + Send + 'static) {
        for event_loop in &*self.0 {
            let task = task.clone();
            event_loop.home.event_loop.spawn(async move { task() });
        }
        let Some(first) = self.0.first() else { return };
        for _ in 0..first.home.compute.metrics().num_workers() {
            let task = task.clone();
            first.home.compute.spawn(async move {
                task();
                // Blocks the worker, so that no worker takes two of the tasks.
                thread::sleep(Duration::from_millis(1));
            });
        }
    }

    /// Tasks of any kind that have not ended: here, and in the runtime where tasks compute.
    pub fn alive(&self) -> usize {
        let alive = |handle: &Handle| handle.metrics().num_alive_tasks();
        let compute = self.0.first().map_or(0, |first| alive(&first.home.compute));
        self.0.iter().map(|one| alive(&one.home.event_loop)).sum::<usize>() + compute
    }
}

impl EventLoop {
    fn start(
        index: usize,
        compute: Handle,
    ) -> io::Result<(EventLoop, oneshot::Sender<Infallible>)> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .global_queue_interval(REMOTE_INTERVAL)
            .build()?;
        let home = Home { index, event_loop: runtime.handle().clone(), compute };
        let (running, ended) = oneshot::channel::<Infallible>();
        let here = home.clone();
        thread::Builder::new().name(format!("lacewing-io-{index}")).spawn(move || {
            HOME.set(Some(here));
            runtime.block_on(async {
                tokio::select! {
                    _ = ended => {}
                    never = beat() => match never {},
                }
            });
        })?;
        Ok((EventLoop { home, tasks: Arc::default() }, running))
    }
}

/// Tasks between two looks at sockets and timers. Each may run a guest for a tick and more, and no
/// new request is seen meanwhile.
const EVENT_INTERVAL: u32 = 16;

/// Tasks for each one that another thread has woken. A task that comes back from where it computed
/// has done most of its work; with tokio's default it would stand behind 30 tasks that begin.
const REMOTE_INTERVAL: u32 = 2;

/// The time after which an event loop wakes up in any case. A deadline after that time costs no
/// system call.
const BEAT: Duration = Duration::from_millis(500);

/// Tokio writes to a descriptor to wake a loop for each timer that ends before all other timers.
/// Without a timer that is every new one; beside this timer, it is those that end soon.
pub async fn beat() -> Infallible {
    loop {
        tokio::time::sleep(BEAT).await;
    }
}

/// A task that is counted until it ends.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(tasks: &Arc<AtomicUsize>) -> Counted {
        tasks.fetch_add(1, Relaxed);
        Counted(Arc::clone(tasks))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A task that moves to where it computes, and back. It is polled at once where it arrives, so that
/// it misses no event.
struct Roaming {
    /// None: it was moved.
    task: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    home: Home,
    away: bool,
}

impl Future for Roaming {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Roaming { task: Some(task), home, away } = &mut *self else {
            return Poll::Ready(());
        };
        COMPUTING.set(None);
        if *away {
            AWAY_FROM.set(Some(home.clone()));
        }
        let poll = task.as_mut().poll(cx);
        if *away {
            AWAY_FROM.set(None);
        }
        // A task that is away stays away until it waits, however short its last poll was.
        let computing = COMPUTING.take().is_some_and(|time| *away || time >= LONG);
        if poll.is_ready() || computing == *away {
            return poll;
        }
        let home = self.home.clone();
        let to = if computing { home.compute.clone() } else { home.event_loop.clone() };
        let task = self.task.take();
        to.spawn(Roaming { task, home, away: computing });
        Poll::Ready(())
    }
}

/// A task that was spawned, wherever it is.
#[derive(Debug)]
pub struct Task<T> {
    result: oneshot::Receiver<T>,
    abort: AbortHandle,
}

impl<T> Task<T> {
    /// Ends the task, and wakes it for that.
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }

    /// The task's result. None: the task was aborted, or it panicked.
    pub async fn result(self) -> Option<T> {
        self.result.await.ok()
    }
}

/// Spawns a task beside the calling task: on its event loop, or where the calling task computes.
/// Elsewhere the task goes to the caller's runtime.
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
    let (send, result) = oneshot::channel();
    let (abort, registration) = AbortHandle::new_pair();
    let task = Abortable::new(
        async move {
            // The caller may have dropped the receiver.
            let _ = send.send(future.await);
        },
        registration,
    );
    let task = async move {
        let _ = task.await;
    };
    let task = Box::pin(task);
    let roaming = |task, home, away| Roaming { task: Some(task), home, away };
    if let Some(home) = HOME.with_borrow(Clone::clone) {
        home.event_loop.clone().spawn(roaming(task, home, false));
    } else if let Some(home) = AWAY_FROM.with_borrow(Clone::clone) {
        home.compute.clone().spawn(roaming(task, home, true));
    } else {
        tokio::spawn(task);
    }
    Task { result, abort }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::mpsc};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn one() -> EventLoops {
        EventLoops::start(NonZero::<usize>::MIN).unwrap()
    }

    fn name() -> String {
        thread::current().name().unwrap_or_default().to_owned()
    }

    /// Takes `ticks` ticks; `seen` hears on which thread each was.
    async fn compute(ticks: u32, seen: mpsc::Sender<String>) {
        let mut left = ticks;
        poll_fn(|cx| {
            seen.send(name()).unwrap();
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            computing(LONG);
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_computing_task_moves_to_a_compute_thread_and_back() {
        let loops = one();
        let (seen, threads) = mpsc::channel();
        let (done, ended) = oneshot::channel();
        loops.handle.spawn(async move {
            compute(2, seen.clone()).await;
            tokio::task::yield_now().await;
            seen.send(name()).unwrap();
            done.send(()).unwrap();
        });
        ended.await.unwrap();
        let threads: Vec<String> = threads.iter().collect();
        let at_home: Vec<bool> =
            threads.iter().map(|name| name.starts_with("lacewing-io")).collect();
        // The first tick, the second, the end of the computation, and what came after it had
        // waited.
        assert_eq!(at_home, [true, false, false, true], "{threads:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_task_that_has_just_begun_is_not_moved() {
        let loops = one();
        let (done, ended) = oneshot::channel();
        loops.handle.spawn(async move {
            let mut polls = [LONG / 2, LONG, LONG / 2].into_iter();
            let mut seen = Vec::new();
            poll_fn(|cx| {
                seen.push(name());
                let Some(time) = polls.next() else { return Poll::Ready(()) };
                computing(time);
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            done.send(seen).unwrap();
        });
        let seen = ended.await.unwrap();
        let at_home: Vec<bool> = seen.iter().map(|name| name.starts_with("lacewing-io")).collect();
        assert_eq!(at_home, [true, true, false, false], "{seen:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_computation_without_end_is_in_nobodys_way() {
        let loops = one();
        let (seen, threads) = mpsc::channel();
        loops.handle.spawn(compute(u32::MAX, seen));
        threads.recv_timeout(PATIENCE).unwrap();
        let (done, ended) = oneshot::channel();
        loops.handle.spawn(async move {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            done.send(name()).unwrap();
        });
        assert!(ended.await.unwrap().starts_with("lacewing-io"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_task_is_aborted_wherever_it_is() {
        let loops = one();
        let (seen, threads) = mpsc::channel();
        let (handle, spawned) = oneshot::channel();
        loops.handle.spawn(async move {
            let waits = spawn(pending::<()>());
            let computes = spawn(compute(u32::MAX, seen));
            handle.send((waits, computes)).unwrap();
            pending::<()>().await;
        });
        let (waits, computes) = spawned.await.unwrap();
        threads.recv_timeout(PATIENCE).unwrap();
        for task in [waits, computes] {
            task.abort_handle().abort();
            assert_eq!(task.result().await, None);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn connections_go_where_there_are_fewest() {
        let loops = EventLoops::start(NonZero::new(3).unwrap()).unwrap();
        let counts =
            || loops.handle.0.iter().map(|one| one.tasks.load(Relaxed)).collect::<Vec<_>>();
        let (end, mut ends) = (|| oneshot::channel::<()>(), Vec::new());
        for _ in 0..7 {
            let (sender, receiver) = end();
            ends.push(sender);
            loops.handle.spawn(async move { drop(receiver.await) });
        }
        assert_eq!(counts(), [3, 2, 2]);
        drop(ends);
        tokio::time::timeout(PATIENCE, async {
            while counts() != [0, 0, 0] {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn tasks_end_with_their_event_loops() {
        let loops = one();
        let (kept, gone) = oneshot::channel::<()>();
        loops.handle.spawn(async move {
            let _kept = kept;
            pending::<()>().await;
        });
        drop(loops);
        assert!(tokio::time::timeout(PATIENCE, gone).await.unwrap().is_err());
    }
}
