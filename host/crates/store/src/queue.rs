//! Messages of queues: their form in the store, and the order in which they wait.
//!
//! ```text
//!   sent ──> ready ──delivered──> removed, in the transaction of its effects
//!     │        ^ │
//!     │        │ └──failed──> delayed, or in its place in a queue that is first in, first out
//!     │        │                 │ due                │ too often
//!     └─delay──┴─────────────────┘                    v
//!              ^                                 dead letters
//!              └─────────────redrive──────────────────┘
//! ```
//!
//! A message is an entry of the queue's store. Ready messages have keys in the order of their
//! commits, so a reader goes on behind the last key that it has seen and misses none. Delayed
//! messages have keys in the order of the times at which they are due.
//!
//! The store knows nothing of leases: one host has a state directory, so leases are in its memory,
//! and end with it.

use std::time::Duration;

use lacewing_base::Queue;
use serde::{Deserialize, Serialize};

use crate::{
    Snapshot, StoreError,
    kv::{Entry, KeyRange, KvStore, Version, is_live},
};

/// The beginning of the keys of messages that are ready.
pub(crate) const READY: &str = "r";

/// The beginning of the keys of delayed messages, before the time at which they are due.
pub(crate) const DELAYED: &str = "d";

/// Bytes of the text of a failure that a message keeps.
pub(crate) const MAX_FAILURE_BYTES: usize = 1024;

/// The first byte of a message. Another form has another one.
const FORM: u8 = 1;

/// A message that is to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMessage {
    /// The group whose messages keep their order, in a queue that is first in, first out. All
    /// messages without one are a group.
    pub group: Option<String>,
    /// The time before which the message is not delivered.
    pub delay: Duration,
    /// A message with the same id is sent once in [`Queue::DEDUPLICATION`].
    pub deduplication_id: Option<String>,
    /// The message. The store does not read it.
    pub payload: Vec<u8>,
}

/// The facts of a message that its delivery needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageHead {
    /// When it was sent, in milliseconds since 1970.
    pub sent_ms: i64,
    /// Deliveries that have failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// When it is due, in milliseconds since 1970; `None`: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<i64>,
    /// Why its last delivery failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What its delivery needs.
    pub head: MessageHead,
    /// The message.
    pub payload: Vec<u8>,
}

impl Message {
    /// The value of the entry of the message: the form, the length of the head, the head in JSON,
    /// and the payload.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let head = serde_json::to_vec(&self.head).unwrap_or_default();
        let head_bytes = u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes();
        [&[FORM], &head_bytes[..], &head, &self.payload].concat()
    }

    fn decode(value: &[u8]) -> Option<Message> {
        let value = value.strip_prefix(&[FORM])?;
        let (head_bytes, rest) = value.split_first_chunk()?;
        let head_bytes = usize::try_from(u32::from_le_bytes(*head_bytes)).ok()?;
        let (head, payload) = rest.split_at_checked(head_bytes)?;
        Some(Message { head: serde_json::from_slice(head).ok()?, payload: payload.to_vec() })
    }
}

/// A message in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// The key of its entry.
    pub key: String,
    /// The commit that wrote it.
    pub version: Version,
    /// When it is dropped, in milliseconds since 1970.
    pub expires_ms: Option<i64>,
    /// The message; `None` if the entry is none.
    pub message: Option<Message>,
}

/// A message, by the key of its entry.
///
/// # Errors
/// The store cannot be read.
pub fn message(
    snapshot: &mut dyn Snapshot,
    queue: &Queue,
    key: &str,
) -> Result<Option<StoredMessage>, StoreError> {
    let now_ms = snapshot.taken_ms();
    let found = snapshot.get(&queue.messages.id, key)?;
    let live = found.filter(|entry| is_live(entry.expires_ms, now_ms));
    Ok(live.map(|entry| stored(key.to_owned(), &entry)))
}

/// The keys of the messages that are ready behind a key, at most `limit`, in their order.
///
/// # Errors
/// The store cannot be read.
pub fn ready_keys(
    snapshot: &mut dyn Snapshot,
    queue: &Queue,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    keys(snapshot, queue, &KeyRange::new(READY, after), limit)
}

/// The messages that are ready behind a key, at most `limit`, in their order.
///
/// # Errors
/// The store cannot be read.
pub fn ready(
    snapshot: &mut dyn Snapshot,
    queue: &Queue,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<StoredMessage>, StoreError> {
    read(snapshot, &queue.messages, &KeyRange::new(READY, after), limit)
}

/// The keys of the delayed messages that are due at a time, at most `limit`, in the order in which
/// they are due.
///
/// # Errors
/// The store cannot be read.
pub fn due_keys(
    snapshot: &mut dyn Snapshot,
    queue: &Queue,
    now_ms: i64,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let behind = delayed_prefix(now_ms.saturating_add(1));
    let range = KeyRange { from: DELAYED.into(), to: behind.into() };
    keys(snapshot, queue, &range, limit)
}

/// The time at which the next delayed message is due that is not due at `now_ms`.
///
/// # Errors
/// The store cannot be read.
pub fn next_due_ms(
    snapshot: &mut dyn Snapshot,
    queue: &Queue,
    now_ms: i64,
) -> Result<Option<i64>, StoreError> {
    let from = delayed_prefix(now_ms.saturating_add(1)).into();
    let range = KeyRange { from, ..KeyRange::new(DELAYED, None) };
    let next = snapshot.list(&queue.messages.id, &range, 1)?;
    let due = |key: &[u8]| {
        let digits = key.get(DELAYED.len()..DELAYED.len() + TIME_DIGITS)?;
        i64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    Ok(next.first().and_then(|listed| due(&listed.key)))
}

/// The dead letters behind a key, at most `limit`, in the order in which they died.
///
/// # Errors
/// The store cannot be read.
pub fn dead_letters(
    snapshot: &mut dyn Snapshot,
    queue: &Queue,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<StoredMessage>, StoreError> {
    read(snapshot, &queue.dead_letters, &KeyRange::new(READY, after), limit)
}

/// Digits of a time in a key: until the year 10889.
const TIME_DIGITS: usize = 12;

/// The beginning of the key of a message that is due at a time.
pub(crate) fn delayed_prefix(due_ms: i64) -> String {
    format!("{DELAYED}{:0TIME_DIGITS$x}", due_ms.clamp(0, (1 << (4 * TIME_DIGITS)) - 1))
}

fn read(
    snapshot: &mut dyn Snapshot,
    store: &KvStore,
    range: &KeyRange,
    limit: usize,
) -> Result<Vec<StoredMessage>, StoreError> {
    let now_ms = snapshot.taken_ms();
    let found = snapshot.scan(&store.id, range, limit)?.into_iter();
    let live = found.filter(|(_, entry)| is_live(entry.expires_ms, now_ms));
    Ok(live.map(|(key, entry)| stored(text(&key), &entry)).collect())
}

fn stored(key: String, entry: &Entry) -> StoredMessage {
    let Entry { version, expires_ms, .. } = *entry;
    StoredMessage { key, version, expires_ms, message: Message::decode(&entry.value) }
}

fn keys(
    snapshot: &mut dyn Snapshot,
    queue: &Queue,
    range: &KeyRange,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let now_ms = snapshot.taken_ms();
    let found = snapshot.list(&queue.messages.id, range, limit)?.into_iter();
    let live = found.filter(|listed| is_live(listed.expires_ms, now_ms));
    Ok(live.map(|listed| text(&listed.key)).collect())
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_in_keys_are_in_their_order() {
        let mut keys: Vec<String> =
            [i64::MAX, -1, 0, 16, 1_764_547_200_000].map(delayed_prefix).into();
        assert_eq!(keys[1], keys[2]);
        keys.sort();
        let sorted = [-1, 0, 16, 1_764_547_200_000, i64::MAX].map(delayed_prefix);
        assert_eq!(keys, sorted);
    }

    proptest! {
        #[test]
        fn a_message_is_read_as_it_was_written(
            sent_ms: i64,
            attempts: u32,
            group: Option<String>,
            due_ms: Option<i64>,
            failure: Option<String>,
            payload: Vec<u8>,
        ) {
            let head = MessageHead { sent_ms, attempts, group, due_ms, failure };
            let message = Message { head, payload };
            prop_assert_eq!(Message::decode(&message.encode()), Some(message));
        }

        #[test]
        fn no_bytes_are_a_panic(mut value: Vec<u8>) {
            let _ = Message::decode(&value);
            value.insert(0, FORM);
            let _ = Message::decode(&value);
        }
    }
}
