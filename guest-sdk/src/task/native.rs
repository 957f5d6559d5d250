//! A stand-in for the host's tasks and clocks in native tests: one thread, tasks and timers.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

type Task = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
struct Executor {
    running: bool,
    /// Tasks that were spawned and not polled yet.
    spawned: Vec<Task>,
    /// When to poll again, at the latest.
    next_timer: Option<Instant>,
}

thread_local! {
    static EXECUTOR: RefCell<Executor> = RefCell::default();
}

/// Wakes the executor's thread.
struct Alarm {
    thread: Thread,
    rang: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Runs a future to its end, and meanwhile what it spawns; what is left of that afterwards is
/// dropped.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let outer = EXECUTOR.replace(Executor { running: true, ..Executor::default() });
    assert!(!outer.running, "`block_on` within `block_on`: use `.await`");
    let alarm = Arc::new(Alarm { thread: thread::current(), rang: AtomicBool::new(true) });
    let waker = Waker::from(Arc::clone(&alarm));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut tasks: Vec<Task> = Vec::new();
    let output = loop {
        wait(&alarm);
        EXECUTOR.with_borrow_mut(|executor| executor.next_timer = None);
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            break output;
        }
        tasks.append(
            &mut EXECUTOR.with_borrow_mut(|executor| std::mem::take(&mut executor.spawned)),
        );
        tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
        if EXECUTOR.with_borrow(|executor| !executor.spawned.is_empty()) {
            waker.wake_by_ref();
        }
    };
    drop(tasks);
    EXECUTOR.set(outer);
    output
}

/// Parks the thread until the alarm rings or a timer is due.
fn wait(alarm: &Alarm) {
    while !alarm.rang.swap(false, Ordering::Acquire) {
        match EXECUTOR.with_borrow(|executor| executor.next_timer) {
            None => thread::park(),
            Some(due) => match due.checked_duration_since(Instant::now()) {
                None => return,
                Some(left) => thread::park_timeout(left),
            },
        }
    }
}

pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    EXECUTOR.with_borrow_mut(|executor| {
        assert!(executor.running, "in a test, call this within `lacewing_sdk::test::block_on`");
        executor.spawned.push(Box::pin(future));
    });
}

pub(crate) async fn sleep(duration: Duration) {
    let due = Instant::now() + duration;
    std::future::poll_fn(|_| {
        if Instant::now() >= due {
            return Poll::Ready(());
        }
        EXECUTOR.with_borrow_mut(|executor| {
            assert!(executor.running, "in a test, call this within `lacewing_sdk::test::block_on`");
            executor.next_timer = Some(executor.next_timer.map_or(due, |timer| timer.min(due)));
        });
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spawned_task_runs_while_the_future_waits_for_it() {
        let (mut sender, body) = crate::Body::channel();
        let text = block_on(async move {
            spawn(async move {
                sleep(Duration::from_millis(1)).await;
                sender.send("from the task").await.unwrap();
            });
            body.collect().await.unwrap()
        });
        assert_eq!(text, "from the task");
    }

    #[test]
    fn a_task_may_spawn_another() {
        let (mut sender, body) = crate::Body::channel();
        let text = block_on(async move {
            spawn(async move {
                spawn(async move { sender.send("from the inner one").await.unwrap() });
            });
            body.collect().await.unwrap()
        });
        assert_eq!(text, "from the inner one");
    }

    #[test]
    fn other_threads_can_wake_it() {
        let (tell, told) = std::sync::mpsc::channel();
        let mut waiting = false;
        block_on(std::future::poll_fn(|context| {
            if !std::mem::replace(&mut waiting, true) {
                let (waker, tell) = (context.waker().clone(), tell.clone());
                thread::spawn(move || {
                    tell.send(()).unwrap();
                    waker.wake();
                });
                return Poll::Pending;
            }
            told.try_recv().map_or(Poll::Pending, Poll::Ready)
        }));
    }
}
