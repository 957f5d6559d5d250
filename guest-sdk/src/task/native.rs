//! A stand-in for the host's tasks and clocks in native tests: a tokio runtime of one thread.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::task::{self, LocalSet};
use tokio::time;

/// Runs a future to its end, and meanwhile the tasks that it spawns. Tasks that are left afterwards
/// are dropped.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    assert!(Handle::try_current().is_err(), "`block_on` within a runtime: use `.await`");
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without input and output takes nothing of the system");
    LocalSet::new().block_on(&runtime, future)
}

pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    require_runtime();
    task::spawn_local(future);
}

pub(crate) async fn sleep(duration: Duration) {
    require_runtime();
    time::sleep(duration).await;
}

#[track_caller]
fn require_runtime() {
    let is_running = Handle::try_current().is_ok();
    assert!(is_running, "in a test, call this within `lacewing_sdk::test::block_on`");
}

#[cfg(test)]
mod tests {
    use std::task::Poll;
    use std::thread;

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
