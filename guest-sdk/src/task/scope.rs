//! The scope of an `async` handler: only within it can the component model wait, or run tasks.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;

thread_local! {
    static IS_ASYNC: Cell<bool> = const { Cell::new(false) };
}

/// The future, in the scope of an `async` handler whenever it runs.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        let outer = IS_ASYNC.replace(true);
        let poll = future.as_mut().poll(context);
        IS_ASYNC.set(outer);
        poll
    })
    .await
}

/// Panics outside of that scope, with a sentence that says what is wrong.
#[track_caller]
pub(crate) fn require(function: &str) {
    assert!(
        IS_ASYNC.get(),
        "`lacewing_sdk::{function}` works only in an `async` handler: make the handler an `async fn`"
    );
}
