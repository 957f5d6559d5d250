//! The transaction of an invocation, which has no effect where the handler returns an error.

#[cfg(not(target_family = "wasm"))]
use memory as host;
#[cfg(not(target_family = "wasm"))]
pub(crate) use memory::run;
#[cfg(target_family = "wasm")]
use wit as host;

/// Notes that the invocation uses state.
pub(crate) fn begin() {
    host::begin();
}

/// Drops what the invocation has written.
pub(crate) fn discard() {
    host::discard();
}

#[cfg(target_family = "wasm")]
mod wit {
    use std::cell::Cell;

    use crate::bindings::state::lacewing::state::transaction;

    thread_local! {
        // A pointer, so that a component without state does not import the function.
        static DISCARD: Cell<Option<fn()>> = const { Cell::new(None) };
    }

    pub(super) fn begin() {
        DISCARD.set(Some(transaction::discard));
    }

    pub(super) fn discard() {
        if let Some(discard) = DISCARD.get() {
            discard();
        }
    }
}

#[cfg(not(target_family = "wasm"))]
mod memory {
    use std::cell::RefCell;

    use crate::kv::memory::{self, Stores};

    thread_local! {
        /// The stores before the transaction that runs.
        static BEFORE: RefCell<Option<Stores>> = const { RefCell::new(None) };
    }

    pub(super) fn begin() {}

    pub(super) fn discard() {
        if let Some(before) = BEFORE.take() {
            memory::restore(before);
        }
    }

    /// Runs a handler as a transaction, which has no effect if its answer is a failure.
    pub(crate) fn run<T>(handler: impl FnOnce() -> T, failed: impl FnOnce(&T) -> bool) -> T {
        BEFORE.set(Some(memory::snapshot()));
        let answer = handler();
        if failed(&answer) {
            discard();
        }
        BEFORE.set(None);
        answer
    }
}
