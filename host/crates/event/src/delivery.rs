//! The delivery of messages to functions: one loop for each trigger.
//!
//! ```text
//!   Mailbox ──lease──> delivery (a task) ── handled ──> acknowledged, in the handler's transaction
//!      ^                  │     │   └────── failed ───> given back after a delay, or a dead letter
//!      └───── parked <────┘ the host is full, or the store cannot be read
//! ```
//!
//! A message is delivered at least once, and takes effect once: its acknowledgement is committed
//! with the effects of its handler, or neither is. A poisonous message is alone with its failure.
//! In a queue that is first in, first out, its group waits for it.

mod handler;
mod mailbox;
mod retry;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, OptionFuture};
use lacewing_base::Queue;
use lacewing_runtime::invocation::Acknowledgement;
use lacewing_sandbox::{EventFailure, Retry};
use lacewing_store::{
    EffectLimits, RunError, StoreError, TenantState, Transaction,
    kv::{KvError, Version},
    queue::{self, Message, StoredMessage},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use self::mailbox::{Lease, Mailbox, Rest};
pub use self::{
    handler::{Delivery, Handled, Handler},
    retry::RetryPolicy,
};

/// The pause after an error of the store.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// The most that one step of a delivery writes: a message that moves.
const LIMITS: EffectLimits = EffectLimits { count: 8, bytes: 8 << 20 };

/// Starts the tasks of deliveries.
pub type Spawn = Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>;

/// The trigger of a function by a queue.
pub struct QueueTrigger {
    /// The queue.
    pub queue: Arc<Queue>,
    /// The state of its tenant.
    pub state: Arc<dyn TenantState>,
    /// The handler.
    pub handler: Arc<dyn Handler>,
    /// Messages that are delivered at once. Default 16.
    pub concurrency: usize,
    /// The deliveries of one message.
    pub retry: RetryPolicy,
}

impl QueueTrigger {
    /// Messages that are delivered at once, where the manifest says nothing.
    pub const CONCURRENCY: usize = 16;

    /// Delivers messages until `stopped` changes, and then waits for the deliveries that are under
    /// way. Each delivery is a task of `spawn`.
    pub async fn run(self, spawn: Spawn, stopped: watch::Receiver<bool>) {
        let (settled, settlements) = mpsc::unbounded_channel();
        let appended = self.state.appended(&self.queue.messages.id);
        let delivering = DeliveryLoop {
            mailbox: Mailbox::new(self.queue.clone()),
            shared: Arc::new(self),
            spawn,
            settled,
            settlements,
            in_flight: 0,
            appended,
            read_at: Some(Instant::now()),
        };
        delivering.run(stopped).await;
    }
}

/// The end of a lease.
enum Settlement {
    /// The message is not in its place any more.
    Settled,
    /// The message is in its place, and is to be delivered at a time.
    Parked(Instant),
}

struct DeliveryLoop {
    shared: Arc<QueueTrigger>,
    mailbox: Mailbox,
    spawn: Spawn,
    /// Bounded by the number of deliveries.
    settled: mpsc::UnboundedSender<(Lease, Settlement)>,
    settlements: mpsc::UnboundedReceiver<(Lease, Settlement)>,
    in_flight: usize,
    appended: watch::Receiver<Version>,
    /// When the store is to be read, without an append before it.
    read_at: Option<Instant>,
}

impl DeliveryLoop {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow_and_update() {
            let now = Instant::now();
            if self.read_at.is_some_and(|at| at <= now) && self.mailbox.has_room() {
                self.read().await;
            }
            self.deliver(now);
            let is_free = self.in_flight < self.shared.concurrency.max(1);
            let parked = self.mailbox.next_parked().filter(|_| is_free);
            let read = self.read_at.filter(|_| self.mailbox.has_room());
            let wake: OptionFuture<_> =
                parked.into_iter().chain(read).min().map(sleep_until).into();
            tokio::select! {
                Some((lease, settlement)) = self.settlements.recv() => self.end(lease, settlement),
                Ok(()) = self.appended.changed() => self.read_at = Some(now),
                Some(()) = wake => {}
                changed = stopped.changed() => if changed.is_err() { break },
            }
        }
        while self.in_flight > 0 {
            let Some((lease, settlement)) = self.settlements.recv().await else { return };
            self.end(lease, settlement);
        }
    }

    fn end(&mut self, lease: Lease, settlement: Settlement) {
        self.in_flight -= 1;
        match settlement {
            Settlement::Settled => self.mailbox.settle(lease),
            Settlement::Parked(until) => self.mailbox.park(lease, until),
        }
    }

    /// Reads keys of messages from the store.
    async fn read(&mut self) {
        self.appended.mark_unchanged();
        match self.fill().await {
            Ok(Rest { more: true, .. }) => {}
            Ok(Rest { due_after, .. }) => {
                self.read_at = due_after.map(|after| Instant::now() + after);
            }
            // The store has told the operator.
            Err(_) => self.read_at = Some(Instant::now() + STORE_PAUSE),
        }
    }

    async fn fill(&mut self) -> Result<Rest, StoreError> {
        let state = &self.shared.state;
        if let Some(opening) = state.open() {
            opening.await?;
        }
        self.mailbox.fill(&mut *state.snapshot()?)
    }

    /// Starts deliveries, as many as may be under way.
    fn deliver(&mut self, now: Instant) {
        while self.in_flight < self.shared.concurrency.max(1)
            && let Some(lease) = self.mailbox.lease(now)
        {
            self.in_flight += 1;
            let (shared, settled) = (self.shared.clone(), self.settled.clone());
            // A task that is dropped before it begins tells the loop too.
            let ending = Ending { lease: Some(lease), settled };
            (self.spawn)(Box::pin(async move {
                let settlement = shared.deliver(ending.key()).await;
                ending.end(settlement);
            }));
        }
    }
}

/// The end of a delivery, which the loop is told of also when the task is dropped or panics.
struct Ending {
    lease: Option<Lease>,
    settled: mpsc::UnboundedSender<(Lease, Settlement)>,
}

impl Ending {
    fn key(&self) -> &str {
        self.lease.as_ref().map_or("", |lease| &lease.key)
    }

    fn end(mut self, settlement: Settlement) {
        self.tell(settlement);
    }

    fn tell(&mut self, settlement: Settlement) {
        if let Some(lease) = self.lease.take() {
            // A loop that has ended needs to know no more.
            let _ = self.settled.send((lease, settlement));
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.tell(Settlement::Parked(Instant::now() + STORE_PAUSE));
    }
}

impl QueueTrigger {
    /// Delivers a message once.
    async fn deliver(&self, key: &str) -> Settlement {
        let later = |after: Duration| Settlement::Parked(Instant::now() + after);
        let stored = match self.find(key).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Settlement::Settled,
            Err(_) => return later(STORE_PAUSE),
        };
        let Some(message) = &stored.message else {
            return self.moved(&stored, Next::Bury, "the message cannot be read").await;
        };
        let attempt = message.head.attempts.saturating_add(1);
        match self.handle(&stored, message, attempt).await {
            Handled::Done | Handled::Gone => Settlement::Settled,
            Handled::NotNow { after } => later(after),
            Handled::Failed(EventFailure { message: failure, retry }) => {
                let next = match retry {
                    Retry::Never => Next::Bury,
                    _ if attempt >= self.retry.max_attempts => Next::Bury,
                    Retry::AfterMs(after) => {
                        Next::Again(Duration::from_millis(after).min(Queue::MAX_DELAY))
                    }
                    Retry::Backoff => Next::Again(self.retry.delay(attempt)),
                };
                self.moved(&stored, next, &failure).await
            }
        }
    }

    async fn find(&self, key: &str) -> Result<Option<StoredMessage>, StoreError> {
        if let Some(opening) = self.state.open() {
            opening.await?;
        }
        queue::message(&mut *self.state.snapshot()?, &self.queue, key)
    }

    async fn handle(&self, stored: &StoredMessage, message: &Message, attempt: u32) -> Handled {
        let write = |transaction: &mut Transaction| transaction.acknowledge(&self.queue, stored);
        let acknowledgement = Acknowledgement { state: &self.state, write: &write };
        let queue = &self.queue;
        self.handler.handle(Delivery { queue, message, attempt, acknowledgement }).await
    }

    /// Moves a message that was not handled.
    async fn moved(&self, stored: &StoredMessage, next: Next, failure: &str) -> Settlement {
        let step = |transaction: &mut Transaction| match next {
            Next::Again(after) => transaction.give_back(&self.queue, stored, after, failure),
            Next::Bury => transaction.bury(&self.queue, stored, failure),
        };
        let moved: Result<_, RunError<KvError>> = Transaction::run(&self.state, LIMITS, step).await;
        match (moved, next) {
            (Ok((true, _)), Next::Again(after)) if self.queue.is_fifo => {
                Settlement::Parked(Instant::now() + after)
            }
            (Ok(_), _) => Settlement::Settled,
            // The message is where it was, with as many attempts.
            (Err(_), _) => Settlement::Parked(Instant::now() + STORE_PAUSE),
        }
    }
}

/// The way of a message that was not handled.
#[derive(Clone, Copy)]
enum Next {
    Again(Duration),
    Bury,
}
