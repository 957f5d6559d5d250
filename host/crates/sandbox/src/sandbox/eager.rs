//! Immediate polls of guests that wake themselves.
//!
//! One response of wasi:http 0.3 takes several rounds of its store's event loop, which ends each by
//! waking itself: the head, the end of the guest's function, each piece of the body. If each went
//! through the scheduler, the connection would be polled in between, and would write the head
//! before the body is there. Rounds are few and short: a guest that a tick has interrupted, or that
//! has used half of one, gives way like any other.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::AcqRel, Ordering::Relaxed, Ordering::Release},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;

use super::budget;
use crate::engine::TICK;

/// How often a guest is polled in one poll of its task.
const ROUNDS: usize = 32;

/// How long it may have run when it is polled again.
const SHORT: Duration = TICK.checked_div(2).unwrap();

const RESTING: u8 = 0;
const POLLED: u8 = 1;
const WOKEN: u8 = 2;

/// Polls `guest` anew, a few times, as long as it was woken during the poll before.
pub(super) fn eagerly<F: Future>(guest: F) -> Eager<F> {
    let wakes = Arc::new(Wakes { state: AtomicU8::new(RESTING), task: AtomicWaker::new() });
    Eager { guest, waker: Waker::from(wakes.clone()), wakes }
}

pin_project_lite::pin_project! {
    /// See [`eagerly`].
    pub(super) struct Eager<F> {
        #[pin]
        guest: F,
        wakes: Arc<Wakes>,
        // Of `wakes`.
        waker: Waker,
    }
}

struct Wakes {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, AcqRel) == RESTING {
            self.task.wake();
        }
    }
}

impl<F: Future> Future for Eager<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        this.wakes.task.register(cx.waker());
        let start = Instant::now();
        for _ in 0..ROUNDS {
            this.wakes.state.swap(POLLED, AcqRel);
            let mut inner = Context::from_waker(this.waker);
            if let Poll::Ready(output) = this.guest.as_mut().poll(&mut inner) {
                return Poll::Ready(output);
            }
            let state = &this.wakes.state;
            if state.compare_exchange(POLLED, RESTING, Release, Relaxed).is_ok() {
                return Poll::Pending;
            }
            // At a tick it waits for others to be polled, and polled again at once it would see
            // that they were.
            if budget::is_interrupted() || start.elapsed() >= SHORT {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicUsize};

    use futures_util::{FutureExt, task::noop_waker_ref};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// Wakes itself so many times before it is done.
    fn waking_itself(mut times: usize) -> impl Future<Output = ()> + Unpin {
        poll_fn(move |cx| {
            if times == 0 {
                return Poll::Ready(());
            }
            times -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    #[test]
    fn a_few_rounds_are_one_poll() {
        assert_eq!(eagerly(waking_itself(ROUNDS - 1)).now_or_never(), Some(()));
    }

    #[test]
    fn a_task_that_always_wakes_itself_gives_way_and_is_woken() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let mut guest = eagerly(waking_itself(2 * ROUNDS + 1));
        for polls in 1..=2 {
            assert!(guest.poll_unpin(&mut cx).is_pending());
            assert_eq!(count.0.load(Relaxed), polls);
        }
        assert!(guest.poll_unpin(&mut cx).is_ready());
    }

    #[test]
    fn a_task_that_has_run_for_long_gives_way() {
        let mut polls = 0;
        let mut guest = eagerly(poll_fn(|cx| {
            polls += 1;
            let start = Instant::now();
            while start.elapsed() < SHORT {
                std::hint::spin_loop();
            }
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        assert!(guest.poll_unpin(&mut Context::from_waker(noop_waker_ref())).is_pending());
        drop(guest);
        assert_eq!(polls, 1);
    }

    #[tokio::test]
    async fn a_tick_is_a_poll_of_others_however_the_guest_is_woken() {
        let clock = Arc::new(budget::Consumption::default());
        let guest = eagerly(async {
            for _ in 0..3 {
                poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::Ready(())
                })
                .await;
                clock.at_tick(Duration::ZERO).await;
            }
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut limited = std::pin::pin!(budget::limited(&clock, deadline, guest));
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            limited.as_mut().poll(cx).map(|ended| ended.unwrap())
        })
        .await;
        assert_eq!(polls, 4, "one for each tick, and the last");
    }

    #[test]
    fn a_waiting_task_is_polled_when_others_wake_it() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let (send, receive) = tokio::sync::oneshot::channel();
        let mut guest = eagerly(receive);
        assert!(guest.poll_unpin(&mut cx).is_pending());
        assert_eq!(count.0.load(Relaxed), 0);
        send.send(7).unwrap();
        assert_eq!(count.0.load(Relaxed), 1);
        assert_eq!(guest.poll_unpin(&mut cx), Poll::Ready(Ok(7)));
    }

    #[test]
    fn the_task_that_polled_last_is_woken() {
        let (send, receive) = tokio::sync::oneshot::channel::<()>();
        let mut guest = eagerly(receive);
        assert!(guest.poll_unpin(&mut Context::from_waker(noop_waker_ref())).is_pending());
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        assert!(guest.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        drop(send);
        assert_eq!(count.0.load(Relaxed), 1);
    }
}
