//! Counts of what a store has done since it was opened.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one store, over all tenants.
#[derive(Debug, Default)]
pub struct StoreFigures {
    /// Transactions that were committed.
    pub commits: StoreCounter,
    /// Transactions that were refused, because what they had read has changed.
    pub conflicts: StoreCounter,
    /// Batches of commits that were written: each waits for the disk once.
    pub batches: StoreCounter,
    /// Time of all batches, in microseconds, the wait for the disk included.
    pub batch_us: StoreCounter,
}

/// A number that grows.
#[derive(Debug, Default)]
pub struct StoreCounter(AtomicU64);

impl StoreCounter {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }
}
