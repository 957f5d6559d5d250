//! Work that goes on beside a handler, and time that passes.

use std::future::Future;
use std::time::Duration;

#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;

#[cfg(target_family = "wasm")]
pub(crate) mod scope;

/// Runs a future beside the handler, and after it: until the future ends, the invocation goes on.
///
/// This is how a body is written after the head of its response was returned: see
/// [`Body::channel`](crate::Body::channel). In tests it works within `test::block_on` and what is
/// built on it.
///
/// # Panics
/// In a handler that is not `async`: its invocation is over when it returns.
#[track_caller]
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    #[cfg(target_family = "wasm")]
    {
        scope::require("spawn");
        wit_bindgen::spawn_local(scope::within(future));
    }
    #[cfg(not(target_family = "wasm"))]
    native::spawn(future);
}

/// Waits, without using CPU time.
///
/// In tests it works within `test::block_on` and what is built on it.
///
/// # Panics
/// In a handler that is not `async`: such a handler has [`std::thread::sleep`].
///
/// ```
/// use std::time::Duration;
///
/// # lacewing_sdk::test::block_on(async {
/// lacewing_sdk::sleep(Duration::from_millis(1)).await;
/// # });
/// ```
pub async fn sleep(duration: Duration) {
    #[cfg(target_family = "wasm")]
    {
        scope::require("sleep");
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        wasip3::clocks::monotonic_clock::wait_for(nanoseconds).await;
    }
    #[cfg(not(target_family = "wasm"))]
    native::sleep(duration).await;
}
