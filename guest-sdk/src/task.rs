//! Work that goes on beside a handler, and time that passes.

use std::future::Future;
use std::time::Duration;

#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;

/// Runs a future beside the handler, and after it: until the future ends, the invocation goes on.
///
/// This is how a body is written after the head of its response was returned: see
/// [`Body::channel`](crate::Body::channel). Only an `async` handler can do this. In tests it works within
/// `test::block_on` and what is built on it.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    #[cfg(target_family = "wasm")]
    wit_bindgen::spawn_local(future);
    #[cfg(not(target_family = "wasm"))]
    native::spawn(future);
}

/// Waits, without using CPU time.
///
/// Only an `async` handler can do this; others have [`std::thread::sleep`]. In tests it works within
/// `test::block_on` and what is built on it.
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
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        wasip3::clocks::monotonic_clock::wait_for(nanoseconds).await;
    }
    #[cfg(not(target_family = "wasm"))]
    native::sleep(duration).await;
}
