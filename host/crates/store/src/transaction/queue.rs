//! The messages that a transaction sends, acknowledges, gives back and buries.

use std::{sync::Arc, time::Duration};

use lacewing_base::{KvStore, Queue};

use super::{Transaction, millis, text};
use crate::{
    kv::{Condition, KeyRange, KvError, MAX_GROUP_BYTES},
    object::EntryBody,
    queue::{
        MAX_FAILURE_BYTES, Message, MessageHead, NewMessage, READY, StoredMessage, dead_letters,
        delayed_prefix,
    },
};

impl Transaction {
    /// Sends a message. Returns whether it was sent: a message with the deduplication id of an
    /// earlier one is not.
    ///
    /// # Errors
    /// A message over the bounds of its queue, a delay that the queue does not have, limits on
    /// effects, and errors of the store.
    pub fn send(&mut self, queue: &Queue, message: NewMessage) -> Result<bool, KvError> {
        let NewMessage { group, delay, deduplication_id, payload } = message;
        if let Some(group) = &group {
            let bytes = group.len();
            if !(1..=MAX_GROUP_BYTES).contains(&bytes) {
                return Err(KvError::GroupSize { bytes });
            }
        }
        if delay > Queue::MAX_DELAY {
            let (seconds, limit_s) = (delay.as_secs(), Queue::MAX_DELAY.as_secs());
            return Err(KvError::Delay { seconds, limit_s });
        }
        if queue.is_fifo && !delay.is_zero() {
            return Err(KvError::DelayInOrder);
        }
        let (bytes, limit_bytes) = (payload.len() as u64, queue.messages.max_value_bytes);
        if bytes > limit_bytes {
            return Err(KvError::MessageSize { bytes, limit_bytes });
        }
        if let Some(id) = deduplication_id {
            let time = Some(Queue::DEDUPLICATION);
            if !self.set(&queue.sent, &id, Vec::new(), time, Condition::Absent)? {
                return Ok(false);
            }
        }
        let sent_ms = self.snapshot()?.taken_ms();
        let due_ms = (!delay.is_zero()).then(|| sent_ms.saturating_add(millis(delay)));
        let head = MessageHead { sent_ms, group, due_ms, ..MessageHead::default() };
        let prefix = due_ms.map_or_else(|| READY.to_owned(), delayed_prefix);
        self.append_message(&queue.messages, prefix, Message { head, payload }, queue.retention)?;
        Ok(true)
    }

    /// Removes a message that was delivered. Returns whether it was there.
    ///
    /// # Errors
    /// Limits on effects, and errors of the store.
    pub fn acknowledge(&mut self, queue: &Queue, message: &StoredMessage) -> Result<bool, KvError> {
        self.delete(&queue.messages, &message.key, Condition::Version(message.version))
    }

    /// Has a message delivered again, not before some time from now. Returns whether it was there.
    ///
    /// # Errors
    /// Limits on effects, and errors of the store.
    pub fn give_back(
        &mut self,
        queue: &Queue,
        stored: &StoredMessage,
        after: Duration,
        failure: &str,
    ) -> Result<bool, KvError> {
        if !self.acknowledge(queue, stored)? {
            return Ok(false);
        }
        let now_ms = self.snapshot()?.taken_ms();
        let due_ms = now_ms.saturating_add(millis(after));
        let mut message = stored.message.clone().ok_or(KvError::NotAMessage)?;
        message.head.attempts = message.head.attempts.saturating_add(1);
        message.head.due_ms = Some(due_ms);
        message.head.failure = Some(shortened(failure));
        let expires_ms = stored.expires_ms;
        if queue.is_fifo {
            // The message keeps its place among those of its group.
            let (value, body) = (Some(message.encode()), EntryBody::default());
            self.write(&queue.messages, &stored.key, value, expires_ms, body)?;
        } else {
            let value = message.encode();
            self.append(&queue.messages, delayed_prefix(due_ms), value, expires_ms)?;
        }
        Ok(true)
    }

    /// Moves a message to the dead letters. Returns whether it was there.
    ///
    /// # Errors
    /// Limits on effects, and errors of the store.
    pub fn bury(
        &mut self,
        queue: &Queue,
        stored: &StoredMessage,
        failure: &str,
    ) -> Result<bool, KvError> {
        if !self.acknowledge(queue, stored)? {
            return Ok(false);
        }
        let mut message = stored
            .message
            .clone()
            .unwrap_or_else(|| Message { head: MessageHead::default(), payload: Vec::new() });
        message.head.attempts = message.head.attempts.saturating_add(1);
        message.head.due_ms = None;
        message.head.failure = Some(shortened(failure));
        let (prefix, retention) = (READY.to_owned(), queue.dead_letter_retention);
        self.append_message(&queue.dead_letters, prefix, message, retention)?;
        Ok(true)
    }

    /// Sends up to `limit` dead letters again, from the one that died first on. Returns how many.
    ///
    /// # Errors
    /// Limits on effects, and errors of the store.
    pub fn redrive(&mut self, queue: &Queue, limit: usize) -> Result<usize, KvError> {
        let found = dead_letters(&mut **self.snapshot()?, queue, None, limit)?;
        let mut redriven = 0;
        for dead in found {
            let Some(mut message) = dead.message else { continue };
            let at = Condition::Version(dead.version);
            if !self.delete(&queue.dead_letters, &dead.key, at)? {
                continue;
            }
            message.head.attempts = 0;
            let prefix = READY.to_owned();
            self.append_message(&queue.messages, prefix, message, queue.retention)?;
            redriven += 1;
        }
        Ok(redriven)
    }

    /// Removes up to `limit` messages, dead letters not included. Returns how many.
    ///
    /// # Errors
    /// Limits on effects, and errors of the store.
    pub fn purge(&mut self, queue: &Queue, limit: usize) -> Result<usize, KvError> {
        let all = KeyRange::new("", None);
        let found = self.snapshot()?.list(&queue.messages.id, &all, limit)?;
        for listed in &found {
            let key = text(&listed.key);
            self.write(&queue.messages, &key, None, None, EntryBody::default())?;
        }
        Ok(found.len())
    }

    fn append_message(
        &mut self,
        store: &Arc<KvStore>,
        prefix: String,
        message: Message,
        retention: Duration,
    ) -> Result<(), KvError> {
        let now_ms = self.snapshot()?.taken_ms();
        let expires_ms = Some(now_ms.saturating_add(millis(retention)));
        self.append(store, prefix, message.encode(), expires_ms)
    }
}

/// The beginning of a text that a message keeps.
fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_FAILURE_BYTES)].to_owned()
}
