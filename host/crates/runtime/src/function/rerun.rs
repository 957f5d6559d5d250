//! The queues of invocations that run again after a conflict.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Queues of one tenant. Conflicts over different entries seldom share one.
const QUEUES: usize = 16;

/// The queues of one tenant, by what its invocations lost over. Each lets one invocation run at a
/// time, in the order of their losses.
#[derive(Debug, Default)]
pub struct RerunQueues([Arc<Mutex<()>>; QUEUES]);

impl RerunQueues {
    /// Waits for the turn of an invocation that lost over `what`.
    pub async fn turn(&self, what: &str) -> OwnedMutexGuard<()> {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        let queue = usize::try_from(hasher.finish() % QUEUES as u64).unwrap_or(0);
        self.0[queue].clone().lock_owned().await
    }
}
