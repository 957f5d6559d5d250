//! The seam between the delivery of messages and the function that handles them.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use lacewing_base::Queue;
use lacewing_runtime::invocation::Acknowledgement;
use lacewing_sandbox::EventFailure;
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
#[derive(Clone, Debug, PartialEq)]
pub enum Handled {
    /// The handler's effects are committed, and the acknowledgement with them.
    Done,
    /// The message was removed meanwhile.
    Gone,
    /// The handler failed, and says whether the message is to be delivered again.
    Failed(EventFailure),
    /// The handler did not run, or is not to blame: the same attempt is made again.
    NotNow {
        /// The time before the next try.
        after: Duration,
    },
}

/// Handles messages.
pub trait Handler: Send + Sync + 'static {
    /// Handles one message, and commits its acknowledgement with the effects.
    fn handle<'a>(&'a self, delivery: Delivery<'a>) -> BoxFuture<'a, Handled>;
}
