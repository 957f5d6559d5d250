//! Waits for as many milliseconds as its path names, as a function does that asks another service:
//! `/20`.

#![cfg(target_os = "wasi")]

use std::time::Duration;

use lacewing_sdk::Path;

#[lacewing_sdk::http]
fn pauses(Path(ms): Path<u64>) -> &'static str {
    std::thread::sleep(Duration::from_millis(ms));
    "paused\n"
}
