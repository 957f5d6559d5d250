//! Budgets, fair queues and permits of `lacewing-base`, with the synchronisation primitives of
//! shuttle.
//!
//! Shuttle chooses the order of all threads' steps at random (Burckhardt, Kothari, Musuvathi,
//! Nagarakatte: "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS
//! 2010).

#[path = "../../src/budget.rs"]
pub mod budget;
#[path = "../../src/fair.rs"]
pub mod fair;
#[path = "../../src/permits.rs"]
pub mod permits;

/// Primitives in place of the crate's own.
mod sync {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard, atomic};
}
