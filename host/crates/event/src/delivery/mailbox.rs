//! The messages of a queue that one host delivers: which are known, and which are leased.
//!
//! ```text
//!   store ──fill: keys──> waiting ──lease──> leased ──settled──> forgotten
//!                           ^  ^               │
//!                           │  └── its group ──┤ (first in, first out)
//!                           └───── parked <────┘ not now, or again later
//! ```
//!
//! One host has a state directory, so leases are in its memory. They end with the host, and another
//! host delivers what this one had leased.
//!
//! The mailbox has keys of messages, and no messages: a message is read when it is delivered. The
//! numbers of waiting, parked and held keys are bounded, so a backlog costs no memory.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use lacewing_base::Queue;
use lacewing_store::{Snapshot, StoreError, queue};
use tokio::time::Instant;

/// Keys that wait for a delivery.
const WAITING: usize = 64;

/// Keys that wait for another message of their group. A queue whose first messages are all of busy
/// groups waits for those: SQS looks ahead in the same way.
const HELD: usize = 4096;

/// The keys of messages that are known, in the order in which they are delivered.
pub(super) struct Mailbox {
    queue: Arc<Queue>,
    /// The last ready key that was read.
    read_to: Option<String>,
    waiting: VecDeque<Lease>,
    leased: HashSet<String>,
    /// Leases that go on at a time.
    parked: BTreeMap<(Instant, u64), Lease>,
    parked_count: u64,
    /// The groups of which a message is waiting, leased or parked, with the keys behind it.
    groups: HashMap<String, VecDeque<String>>,
    held: usize,
}

/// A message that is to be delivered, or is being delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) key: String,
    /// The group, in a queue that is first in, first out.
    pub(super) group: Option<String>,
    /// Whether the key is one of a delayed message.
    is_delayed: bool,
}

/// The rest of the store behind what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// Whether there may be more messages that are ready or due.
    pub(super) more: bool,
    /// The time until the next delayed message is due.
    pub(super) due_after: Option<Duration>,
}

impl Mailbox {
    pub(super) fn new(queue: Arc<Queue>) -> Mailbox {
        Mailbox {
            queue,
            read_to: None,
            waiting: VecDeque::new(),
            leased: HashSet::new(),
            parked: BTreeMap::new(),
            parked_count: 0,
            groups: HashMap::new(),
            held: 0,
        }
    }

    /// The next message to deliver.
    pub(super) fn lease(&mut self, now: Instant) -> Option<Lease> {
        let due = self.parked.first_entry().filter(|parked| parked.key().0 <= now);
        let lease = due.map(|parked| parked.remove()).or_else(|| self.waiting.pop_front())?;
        self.leased.insert(lease.key.clone());
        Some(lease)
    }

    /// When a parked message goes on.
    pub(super) fn next_parked(&self) -> Option<Instant> {
        self.parked.keys().next().map(|(at, _)| *at)
    }

    /// Whether there is room to read more.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() + self.parked.len() < WAITING && self.held < HELD
    }

    /// Ends a lease whose message is gone from its place: handled, removed, delayed or dead.
    pub(super) fn settle(&mut self, lease: Lease) {
        self.leased.remove(&lease.key);
        let Some(group) = lease.group else { return };
        let Some(behind) = self.groups.get_mut(&group) else { return };
        match behind.pop_front() {
            Some(key) => {
                self.held -= 1;
                self.waiting.push_back(Lease { key, group: Some(group), is_delayed: false });
            }
            None => drop(self.groups.remove(&group)),
        }
    }

    /// Has a lease go on at a time. Its message is still in its place, and its group waits.
    pub(super) fn park(&mut self, lease: Lease, until: Instant) {
        self.parked_count += 1;
        self.parked.insert((until, self.parked_count), lease);
    }

    /// Reads keys from the store, as far as there is room.
    pub(super) fn fill(&mut self, snapshot: &mut dyn Snapshot) -> Result<Rest, StoreError> {
        let now_ms = snapshot.taken_ms();
        let mut more = self.fill_due(snapshot, now_ms)?;
        let due_ms = queue::next_due_ms(snapshot, &self.queue, now_ms)?;
        if self.has_room() {
            more |= match self.queue.is_fifo {
                true => self.fill_in_order(snapshot, now_ms)?,
                false => self.fill_ready(snapshot)?,
            };
        } else {
            more = true;
        }
        let due_after = due_ms.map(|due_ms| {
            Duration::from_millis(u64::try_from(due_ms.saturating_sub(now_ms)).unwrap_or_default())
        });
        Ok(Rest { more, due_after })
    }

    /// Adds delayed messages that are due. Those that are known already are read again, and passed
    /// over.
    fn fill_due(&mut self, snapshot: &mut dyn Snapshot, now_ms: i64) -> Result<bool, StoreError> {
        let is_delayed = |lease: &&Lease| lease.is_delayed;
        let waiting = self.waiting.iter().chain(self.parked.values()).filter(is_delayed);
        let known: HashSet<&String> =
            waiting.map(|lease| &lease.key).chain(self.leased.iter()).collect();
        let limit = known.len() + WAITING;
        let keys = queue::due_keys(snapshot, &self.queue, now_ms, limit)?;
        let more = keys.len() == limit;
        let mut new: Vec<String> = keys.into_iter().filter(|key| !known.contains(key)).collect();
        new.truncate(WAITING);
        let lease = |key| Lease { key, group: None, is_delayed: true };
        self.waiting.extend(new.into_iter().map(lease));
        Ok(more)
    }

    fn fill_ready(&mut self, snapshot: &mut dyn Snapshot) -> Result<bool, StoreError> {
        let keys = queue::ready_keys(snapshot, &self.queue, self.read_to.as_deref(), WAITING)?;
        self.read_to = keys.last().cloned().or(self.read_to.take());
        let more = keys.len() == WAITING;
        let lease = |key| Lease { key, group: None, is_delayed: false };
        self.waiting.extend(keys.into_iter().map(lease));
        Ok(more)
    }

    /// Adds messages of a queue that is first in, first out: to its group, if one is before it.
    fn fill_in_order(
        &mut self,
        snapshot: &mut dyn Snapshot,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let after = self.read_to.as_deref();
        let found = queue::ready(snapshot, &self.queue, after, WAITING)?;
        self.read_to = found.last().map(|last| last.key.clone()).or(self.read_to.take());
        let more = found.len() == WAITING;
        for stored in found {
            let head = stored.message.map(|message| message.head).unwrap_or_default();
            let group = head.group.unwrap_or_default();
            if let Some(behind) = self.groups.get_mut(&group) {
                behind.push_back(stored.key);
                self.held += 1;
                continue;
            }
            self.groups.insert(group.clone(), VecDeque::new());
            let lease = Lease { key: stored.key, group: Some(group), is_delayed: false };
            match head.due_ms.filter(|due_ms| *due_ms > now_ms) {
                // The message failed before this host began.
                Some(due_ms) => {
                    let after = u64::try_from(due_ms.saturating_sub(now_ms)).unwrap_or_default();
                    self.park(lease, Instant::now() + Duration::from_millis(after));
                }
                None => self.waiting.push_back(lease),
            }
        }
        Ok(more)
    }
}
