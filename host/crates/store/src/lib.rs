//! State of tenants: key-value stores, and transactions over them.
//!
//! ```text
//!   Transaction     the reads and writes of one invocation, until its commit
//!       │  reads                     │ Changes
//!       v                            v
//!   Snapshot  <──  TenantState  ──>  commit: check what was read, write, sync
//!                       │
//!   embedded        one SQLite database per tenant; one sync for all commits that wait
//! ```
//!
//! A transaction reads one snapshot of its tenant's state, and its own writes. Its commit succeeds
//! only if all that it read is still so. So the transactions of a tenant are serializable: their
//! effect is that of one after the other, in the order of their commits. The method is backward
//! validation of optimistic transactions (Kung and Robinson, *On Optimistic Methods for Concurrency
//! Control*, 1981).
//!
//! SQL of the host's, and the fact that there is a database, stay below [`embedded`]. SQL of guests
//! goes through [`sql`].

mod backend;
pub mod embedded;
mod error;
mod figures;
pub mod kv;
pub mod object;
pub mod queue;
pub mod sql;
#[cfg(test)]
mod testing;
mod transaction;

pub use backend::{
    Changes, Commit, KeyRead, Opening, RangeRead, Snapshot, StateStore, TenantState, Write,
};
pub use embedded::secrets;
pub use error::{CommitError, StoreError};
pub use figures::{StoreCounter, StoreFigures};
pub use transaction::{ATTEMPTS, EffectLimits, ListedObject, ObjectPage, RunError, Transaction};
