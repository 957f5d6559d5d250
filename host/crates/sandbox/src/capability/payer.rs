//! Work of the host for one guest, outside of the guest's own calls, and the account that pays for
//! it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// The account of one sandbox.
pub(crate) trait Payer: Send + Sync {
    /// Runs one poll of the host's work, and charges the CPU time and the heap of the poll. `poll`
    /// returns whether the work is done.
    ///
    /// Returns whether the work may go on. False: the sandbox is over a limit, and its guest is
    /// stopped.
    fn charge(&self, poll: &mut dyn FnMut() -> bool) -> bool;

    /// Runs work that is no future on this thread, which is none that serves, and charges its CPU
    /// time and heap. Work that takes the sandbox over its CPU budget has the guest stopped.
    fn charge_thread(&self, work: &mut dyn FnMut());

    /// The CPU time that the sandbox has left. Zero: the guest is to be stopped.
    fn cpu_left(&self) -> Duration;
}

pin_project_lite::pin_project! {
    /// Work that a [`Payer`] pays for, in whichever task it is polled. Its output is `None` if the
    /// payer is over a limit.
    pub(crate) struct Charged<F> {
        #[pin]
        work: F,
        payer: Arc<dyn Payer>,
    }
}

impl<F> Charged<F> {
    pub(crate) fn new(payer: Arc<dyn Payer>, work: F) -> Charged<F> {
        Charged { work, payer }
    }
}

impl<F: Future> Future for Charged<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut polled = Poll::Pending;
        let goes_on = this.payer.charge(&mut || {
            polled = this.work.as_mut().poll(cx);
            polled.is_ready()
        });
        match polled {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if goes_on => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        }
    }
}
