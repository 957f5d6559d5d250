//! One read of a key-value store for each request. The first request sets the value.

#![cfg(target_os = "wasi")]

use lacewing_sdk::{Result, kv};

#[lacewing_sdk::http]
fn one_read() -> Result<Vec<u8>> {
    let store = kv::open("store")?;
    match store.bytes("key")? {
        Some(entry) => Ok(entry.value),
        None => {
            store.write("key").bytes("hello, world!\n")?;
            Ok(Vec::new())
        }
    }
}
