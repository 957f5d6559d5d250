//! Permits for a resource, and the fair queue of those that wait for one.
//!
//! ```text
//!   try_acquire --none waits, and there is room--> Permit --dropped--+
//!   acquire -----> Wait (in its flow) ---granted in turn--> Permit   |
//!                    ^      |                                        |
//!                    |      +--dropped: leaves, or passes it on      |
//!                    +-----------------------------------------------+
//! ```
//!
//! Acquiring without a wait, and giving back while none waits, take no lock. A waiter counts itself
//! before it looks for room, and a permit is given back before the count is read, both sequentially
//! consistent: so one of the two sees the other, and no waiter is forgotten.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    fair::{FairQueue, Flow, Ticket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

/// A resource that permits are given for.
pub trait Resource: Sized + Send + Sync + 'static {
    /// The part of the resource that one permit stands for.
    type Demand: fmt::Debug + Send;

    /// The queue of the resource.
    fn waiters(&self) -> &Waiters<Self>;

    /// Takes a part, if there is room. Sequentially consistent.
    fn take(&self, demand: &Self::Demand) -> bool;

    /// Gives a part back. Sequentially consistent.
    fn give_back(&self, demand: &Self::Demand);

    /// The charge to the flow of a waiter that is granted a permit. 0 where the cost is known only
    /// afterwards ([`Waiters::charge`]).
    fn cost(&self) -> u64 {
        1
    }
}

/// Those that wait for permits of one resource.
pub struct Waiters<R: Resource> {
    count: AtomicUsize,
    queue: Mutex<WaitQueue<R>>,
}

struct WaitQueue<R: Resource> {
    waiting: FairQueue<Waiter<R>>,
    pace: ServingPace,
}

struct Waiter<R: Resource> {
    resource: Arc<R>,
    demand: R::Demand,
    sender: oneshot::Sender<Permit<R>>,
}

/// A part of a resource. Dropping the permit gives the part back.
pub struct Permit<R: Resource> {
    // None: the part was given back already.
    resource: Option<Arc<R>>,
    demand: R::Demand,
}

/// A wait for a permit. Dropping it leaves the queue.
pub struct Wait<R: Resource> {
    resource: Arc<R>,
    ticket: Ticket,
    permit: oneshot::Receiver<Permit<R>>,
    is_over: bool,
}

impl<R: Resource> Default for Waiters<R> {
    fn default() -> Self {
        let queue = WaitQueue { waiting: FairQueue::default(), pace: ServingPace::new() };
        Waiters { count: AtomicUsize::new(0), queue: Mutex::new(queue) }
    }
}

impl<R: Resource> Waiters<R> {
    /// The number of waiters.
    pub fn len(&self) -> usize {
        self.count.load(SeqCst)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The expected time until one more waiter is served.
    pub fn until_served(&self) -> Duration {
        let queue = self.lock();
        queue.pace.until(queue.waiting.len())
    }

    /// Charges a flow for a permit whose cost is known now.
    pub fn charge(&self, flow: &Flow, cost: u64) {
        self.lock().waiting.charge(flow, cost);
    }

    /// Notes that a flow got a permit without a wait, where such permits are
    /// [charged](Waiters::charge).
    pub fn pass(&self, flow: &Flow) {
        self.lock().waiting.pass(flow);
    }

    fn lock(&self) -> MutexGuard<'_, WaitQueue<R>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A permit, unless others wait or there is no room.
pub fn try_acquire<R: Resource>(resource: &Arc<R>, demand: R::Demand) -> Option<Permit<R>> {
    let is_taken = resource.waiters().is_empty() && resource.take(&demand);
    is_taken.then(|| Permit { resource: Some(resource.clone()), demand })
}

/// Waits for a permit, at the end of a flow.
pub fn acquire<R: Resource>(resource: &Arc<R>, flow: &Arc<Flow>, demand: R::Demand) -> Wait<R> {
    let (sender, permit) = oneshot::channel();
    let waiters = resource.waiters();
    let mut queue = waiters.lock();
    if waiters.count.fetch_add(1, SeqCst) == 0 {
        queue.pace = ServingPace::new();
    }
    let waiter = Waiter { resource: resource.clone(), demand, sender };
    let ticket = queue.waiting.push(flow, waiter);
    grant(&**resource, &mut queue);
    drop(queue);
    Wait { resource: resource.clone(), ticket, permit, is_over: false }
}

/// Grants permits to waiters as far as there is room: for a resource that has just become larger.
pub fn regrant<R: Resource>(resource: &R) {
    grant(resource, &mut resource.waiters().lock());
}

fn grant<R: Resource>(resource: &R, queue: &mut WaitQueue<R>) {
    while let Some((flow, waiter)) = queue.waiting.next(|waiter| resource.take(&waiter.demand)) {
        resource.waiters().count.fetch_sub(1, SeqCst);
        queue.waiting.charge(&flow, resource.cost());
        queue.pace.served();
        let Waiter { resource: owned, demand, sender } = waiter;
        if let Err(mut permit) = sender.send(Permit { resource: Some(owned), demand }) {
            // The waiter left a moment ago. Its permit must not take the lock that is held here.
            permit.resource = None;
            resource.give_back(&permit.demand);
        }
    }
}

impl<R: Resource> Permit<R> {
    /// The part that the permit stands for.
    pub fn demand(&self) -> &R::Demand {
        &self.demand
    }
}

impl<R: Resource> Drop for Permit<R> {
    fn drop(&mut self) {
        if let Some(resource) = self.resource.take() {
            resource.give_back(&self.demand);
            if !resource.waiters().is_empty() {
                regrant(&*resource);
            }
        }
    }
}

impl<R: Resource> Future for Wait<R> {
    type Output = Permit<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit<R>> {
        match Pin::new(&mut self.permit).poll(cx) {
            Poll::Ready(Ok(permit)) => {
                self.is_over = true;
                Poll::Ready(permit)
            }
            // The queue keeps the sender until it has sent, or until this wait is dropped.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<R: Resource> Drop for Wait<R> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // A permit that was granted a moment ago goes with the receiver, once the lock is free.
        let waiters = self.resource.waiters();
        let mut queue = waiters.lock();
        if queue.waiting.remove(self.ticket).is_some() {
            waiters.count.fetch_sub(1, SeqCst);
            // The waiter that is first now may need less.
            grant(&*self.resource, &mut queue);
        }
    }
}

impl<R: Resource> fmt::Debug for Waiters<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").field("count", &self.len()).finish_non_exhaustive()
    }
}

impl<R: Resource> fmt::Debug for Permit<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("demand", &self.demand).finish_non_exhaustive()
    }
}

impl<R: Resource> fmt::Debug for Wait<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

/// The pace at which waiters are served, to tell others how long they would wait.
#[derive(Clone, Copy, Debug)]
struct ServingPace {
    since: Instant,
    served: u32,
}

impl ServingPace {
    fn new() -> ServingPace {
        ServingPace { since: Instant::now(), served: 0 }
    }

    fn served(&mut self) {
        self.served = self.served.saturating_add(1);
    }

    /// The time until one more is served, with so many before it. Where none was served so far, as
    /// long again as none was.
    fn until(&self, before: usize) -> Duration {
        const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
        let passed = self.since.elapsed();
        let before = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        let until = match self.served {
            0 => passed,
            served => passed.saturating_mul(before) / served,
        };
        until.clamp(BOUNDS.0, BOUNDS.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_until_one_is_served_follows_the_pace() {
        let ago = |s| Instant::now() - Duration::from_secs(s);
        let until = |since, served, before| ServingPace { since, served }.until(before).as_secs();
        assert_eq!(until(ago(0), 0, 0), 1, "at least a second");
        assert_eq!(until(ago(7), 0, 10), 7, "as long again");
        assert_eq!(until(ago(10), 100, 49), 5);
        assert_eq!(until(ago(10), 1, 49), 60, "at most a minute");
    }
}
