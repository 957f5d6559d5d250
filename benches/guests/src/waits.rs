//! Answers at the moment that its path names, in milliseconds since 1970: `/1790000000000`. Until
//! then it is suspended in one hostcall.

#![cfg(target_os = "wasi")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lacewing_sdk::Path;

#[lacewing_sdk::http]
fn waits(Path(until_ms): Path<u64>) -> &'static str {
    let until = UNIX_EPOCH + Duration::from_millis(until_ms);
    if let Ok(left) = until.duration_since(SystemTime::now()) {
        std::thread::sleep(left);
    }
    "waited\n"
}
