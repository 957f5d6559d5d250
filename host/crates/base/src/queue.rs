//! Queues of an app.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{KvStore, name::AppName};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const DAY: Duration = Duration::from_secs(86_400);

/// A queue of an app, with its bounds. The queue is charged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Queue {
    /// The name that tells the queue from the others of its tenant: app and name, as in
    /// `shop/orders`.
    pub id: Arc<str>,
    /// The store of its messages. `max_bytes` bounds all of them, `max_value_bytes` one message
    /// with its head. Default 1 GiB and 256 KiB. A send over a bound fails.
    pub messages: Arc<KvStore>,
    /// The store of its dead letters, with the same bounds.
    pub dead_letters: Arc<KvStore>,
    /// The store of the deduplication ids of the last [`Queue::DEDUPLICATION`].
    pub sent: Arc<KvStore>,
    /// The time after which a message is dropped. Default 4 days, as in SQS.
    pub retention: Duration,
    /// The time after which a dead letter is dropped. Default 14 days.
    pub dead_letter_retention: Duration,
    /// Whether the messages of a group are delivered one after the other, in the order in which
    /// they were sent.
    pub is_fifo: bool,
}

impl Queue {
    /// The bytes of a queue that the manifest does not bound.
    pub const MAX_BYTES: u64 = 1024 * MIB;
    /// The bytes of a message that the manifest does not bound.
    pub const MAX_MESSAGE_BYTES: u64 = 256 * KIB;
    /// The bytes that deduplication ids may have: those of 500,000 messages.
    pub const MAX_SENT_BYTES: u64 = 64 * MIB;
    /// The time for which a deduplication id keeps further messages away, as in SQS.
    pub const DEDUPLICATION: Duration = Duration::from_secs(300);
    /// The time for which a message waits that the manifest does not bound.
    pub const RETENTION: Duration = DAY.saturating_mul(4);
    /// The time for which a dead letter stays that the manifest does not bound.
    pub const DEAD_LETTER_RETENTION: Duration = DAY.saturating_mul(14);
    /// The longest delay of a message: a year.
    pub const MAX_DELAY: Duration = DAY.saturating_mul(366);

    /// The queue of an app, with the default bounds.
    pub fn of_app(app: &AppName, name: &str) -> Queue {
        Queue::new(&format!("{app}/{name}"), Queue::MAX_BYTES, Queue::MAX_MESSAGE_BYTES)
    }

    /// The queue of an id, with bounds of all its bytes and of one message.
    pub fn new(id: &str, max_bytes: u64, max_value_bytes: u64) -> Queue {
        let store = |kind: &str, max_bytes| {
            Arc::new(KvStore { id: format!("{kind}:{id}").into(), max_bytes, max_value_bytes })
        };
        Queue {
            id: id.into(),
            messages: store("queue", max_bytes),
            dead_letters: store("dead", max_bytes),
            sent: store("sent", Queue::MAX_SENT_BYTES),
            retention: Queue::RETENTION,
            dead_letter_retention: Queue::DEAD_LETTER_RETENTION,
            is_fifo: false,
        }
    }
}
