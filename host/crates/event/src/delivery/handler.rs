//! The seam between the delivery of messages and the function that handles them.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use lacewing_base::Queue;
use lacewing_runtime::invocation::Acknowledgement;
use lacewing_store::queue::Message;

/// One delivery of a message.
pub struct Delivery<'a> {
    /// The queue.
    pub queue: &'a Arc<Queue>,
    /// The message.
    pub message: &'a Message,
    /// 1 for the first delivery, 2 for the first retry, and so on.
    pub attempt: u32,
    /// The acknowledgement, for the transaction of the handler.
    pub acknowledgement: Acknowledgement<'a>,
}

/// The end of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// The handler's effects are committed, and the acknowledgement with them.
    Done,
    /// The message was removed meanwhile.
    Gone,
    /// The handler failed.
    Failed {
        /// Why, for people.
        failure: String,
        /// Whether the message is delivered again.
        retry: Retry,
    },
    /// The handler did not run, or is not to blame: the same attempt is made again.
    NotNow {
        /// The time before the next try.
        after: Duration,
    },
}

/// Whether a message is delivered again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// As the policy says.
    Backoff,
    /// After this time.
    After(Duration),
    /// Never: the message is a dead letter.
    Never,
}

/// Handles messages.
pub trait Handler: Send + Sync + 'static {
    /// Handles one message, and commits its acknowledgement with the effects.
    fn handle<'a>(&'a self, delivery: Delivery<'a>) -> BoxFuture<'a, Handled>;
}
