//! The heap that the connections of a listener may have together.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use super::{connection::Connection, drain::DrainGate};

/// The steps in which a connection's heap is noted, in bytes: most connections have less.
const STEP_BYTES: i64 = 16 * 1024;

/// Bytes of the heap, over all connections of a listener.
#[derive(Debug)]
pub(super) struct HeapBudget {
    limit_bytes: i64,
    used_bytes: AtomicI64,
}

impl HeapBudget {
    pub(super) fn new(limit_bytes: u64) -> Arc<HeapBudget> {
        let limit_bytes = i64::try_from(limit_bytes).unwrap_or(i64::MAX);
        Arc::new(HeapBudget { limit_bytes, used_bytes: AtomicI64::new(0) })
    }

    pub(super) fn is_over(&self) -> bool {
        self.used_bytes.load(Relaxed) > self.limit_bytes
    }

    pub(super) fn used_bytes(&self) -> u64 {
        u64::try_from(self.used_bytes.load(Relaxed)).unwrap_or(0)
    }
}

/// The part of one connection in a budget, as it was last noted.
#[derive(Debug)]
pub(super) struct HeapShare {
    budget: Arc<HeapBudget>,
    noted_bytes: AtomicI64,
    /// Whether the connection is about to be closed: its heap is as good as given back.
    closing: AtomicBool,
}

impl HeapShare {
    pub(super) fn of(budget: &Arc<HeapBudget>) -> HeapShare {
        HeapShare {
            budget: Arc::clone(budget),
            noted_bytes: AtomicI64::new(0),
            closing: AtomicBool::new(false),
        }
    }

    /// Notes what the connection has now. Returns whether that is news.
    pub(super) fn note(&self, bytes: usize) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let before = self.noted_bytes.load(Relaxed);
        if (bytes - before).abs() < STEP_BYTES || self.closing.load(Relaxed) {
            return false;
        }
        self.set(bytes);
        true
    }

    /// Whether the connection has anything in the budget.
    pub(super) fn is_noted(&self) -> bool {
        self.noted_bytes.load(Relaxed) > 0
    }

    /// Gives back what was noted: the connection is about to be closed.
    pub(super) fn give_back(&self) {
        self.closing.store(true, Relaxed);
        self.set(0);
    }

    fn set(&self, bytes: i64) {
        let before = self.noted_bytes.swap(bytes, Relaxed);
        self.budget.used_bytes.fetch_add(bytes - before, Relaxed);
    }
}

impl Drop for HeapShare {
    fn drop(&mut self) {
        self.give_back();
    }
}

pin_project_lite::pin_project! {
    /// A task of a connection: what it allocates is the connection's.
    pub(super) struct OfConnection<F> {
        #[pin]
        task: F,
        connection: Arc<Connection>,
        gate: Arc<DrainGate>,
    }
}

impl<F> OfConnection<F> {
    pub(super) fn new(
        task: F,
        connection: Arc<Connection>,
        gate: Arc<DrainGate>,
    ) -> OfConnection<F> {
        OfConnection { task, connection, gate }
    }
}

impl<F: Future> Future for OfConnection<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let scope = this.connection.heap().enter();
        let poll = this.task.poll(cx);
        drop(scope);
        if this.connection.note_heap() {
            this.gate.keep_heap_budget();
        }
        if poll.is_pending() && this.connection.is_called_in_or_wakes(cx.waker()) {
            this.connection.close();
        }
        poll
    }
}
