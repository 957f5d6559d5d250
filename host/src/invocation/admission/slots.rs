//! The host's slots for sandboxes, and the fair queue of those that wait for one.
//!
//! Where there is more than one tenant, one may have no more slots than [`HELD`] times those that are free, times its
//! weight: the first has four fifths of them, the next four fifths of the rest, and there are some for another one (dynamic
//! thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking, 1998).

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU32,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll},
    time::Duration,
};

use lacewing_base::fair::{FairQueue, Ticket};
use tokio::sync::{Notify, oneshot};

use crate::function::{Pace, Tenant};

/// How many slots a tenant of weight 1 may have for each that is free.
const HELD: u64 = 4;

/// All slots of a host.
#[derive(Debug)]
pub(super) struct Slots {
    capacity: u32,
    in_use: AtomicU32,
    waiting: AtomicU32,
    queue: Mutex<Queue>,
    /// Whether there is more than one tenant.
    is_shared: AtomicBool,
    is_draining: AtomicBool,
    idle: Notify,
}

#[derive(Debug)]
struct Queue {
    waiting: FairQueue<Waiter>,
    pace: Pace,
}

#[derive(Debug)]
struct Waiter {
    slots: Arc<Slots>,
    tenant: Arc<Tenant>,
    sender: oneshot::Sender<Slot>,
}

/// One slot. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Slot {
    // None when it was given back already.
    slots: Option<Arc<Slots>>,
    tenant: Arc<Tenant>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slots) = self.slots.take() {
            slots.give_back(&self.tenant);
        }
    }
}

/// Waits for a slot. Dropping it is leaving the queue.
#[derive(Debug)]
pub(super) struct Entry {
    slots: Arc<Slots>,
    ticket: Ticket,
    slot: oneshot::Receiver<Slot>,
    is_over: bool,
}

impl Future for Entry {
    type Output = Slot;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Slot> {
        match Pin::new(&mut self.slot).poll(cx) {
            Poll::Ready(Ok(slot)) => {
                self.is_over = true;
                Poll::Ready(slot)
            }
            // The sender goes only when it has sent, or with this.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // A slot that was granted a moment ago goes with the receiver, once the lock is free.
        let mut queue = self.slots.lock();
        if queue.waiting.remove(self.ticket).is_some() {
            self.slots.waiting.fetch_sub(1, SeqCst);
        }
    }
}

impl Slots {
    pub(super) fn new(capacity: u32) -> Arc<Slots> {
        Arc::new(Slots {
            capacity,
            in_use: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            queue: Mutex::new(Queue { waiting: FairQueue::default(), pace: Pace::new() }),
            is_shared: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            idle: Notify::new(),
        })
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    pub(super) fn in_use(&self) -> u32 {
        self.in_use.load(SeqCst)
    }

    pub(super) fn set_tenants(&self, tenants: usize) {
        self.is_shared.store(tenants > 1, Relaxed);
    }

    /// Whether no invocation is admitted any more.
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(SeqCst)
    }

    /// Admits no further invocation, and waits until every slot is free.
    pub(super) async fn drain(&self) {
        self.is_draining.store(true, SeqCst);
        loop {
            let idle = self.idle.notified();
            if self.in_use() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// A slot, unless others wait.
    pub(super) fn try_enter(self: &Arc<Slots>, tenant: &Arc<Tenant>) -> Option<Slot> {
        let enters = self.waiting.load(SeqCst) == 0 && self.take(tenant);
        enters.then(|| Slot { slots: Some(self.clone()), tenant: tenant.clone() })
    }

    /// The same, waiting for its tenant's turn.
    pub(super) fn enter(self: &Arc<Slots>, tenant: &Arc<Tenant>) -> Entry {
        let (sender, slot) = oneshot::channel();
        let mut queue = self.lock();
        // Set before the free slots are read: a returned slot is followed by a look at this.
        if self.waiting.fetch_add(1, SeqCst) == 0 {
            queue.pace = Pace::new();
        }
        let waiter = Waiter { slots: self.clone(), tenant: tenant.clone(), sender };
        let ticket = queue.waiting.push(tenant.share(), waiter);
        self.grant(&mut queue);
        drop(queue);
        Entry { slots: self.clone(), ticket, slot, is_over: false }
    }

    /// How long it takes now until one more of the tenant's can enter.
    pub(super) fn until_free(&self) -> Duration {
        let queue = self.lock();
        queue.pace.until(queue.waiting.len())
    }

    fn take(&self, tenant: &Tenant) -> bool {
        let more = |in_use: u32| {
            let free = self.capacity.saturating_sub(in_use);
            (free > 0 && self.may_have_more(tenant, free)).then_some(in_use + 1)
        };
        let taken = !self.is_draining() && self.in_use.fetch_update(SeqCst, SeqCst, more).is_ok();
        if taken {
            tenant.running().fetch_add(1, Relaxed);
        }
        taken
    }

    fn may_have_more(&self, tenant: &Tenant, free: u32) -> bool {
        let most = HELD * u64::from(free) * u64::from(tenant.share().weight());
        !self.is_shared.load(Relaxed) || u64::from(tenant.running().load(Relaxed)) < most
    }

    fn give_back(&self, tenant: &Tenant) {
        tenant.running().fetch_sub(1, Relaxed);
        let before = self.in_use.fetch_sub(1, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            self.grant(&mut self.lock());
        }
        if before == 1 && self.is_draining() {
            self.idle.notify_waiters();
        }
    }

    /// Gives free slots to those that wait.
    fn grant(&self, queue: &mut Queue) {
        while let Some((share, waiter)) = queue.waiting.next(|waiter| self.take(&waiter.tenant)) {
            self.waiting.fetch_sub(1, SeqCst);
            queue.waiting.charge(&share, 1);
            queue.pace.served();
            let Waiter { slots, tenant, sender } = waiter;
            if let Err(mut slot) = sender.send(Slot { slots: Some(slots), tenant }) {
                slot.slots = None;
                slot.tenant.running().fetch_sub(1, Relaxed);
                self.in_use.fetch_sub(1, SeqCst);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
