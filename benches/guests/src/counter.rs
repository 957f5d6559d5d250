//! One read and one write of a key-value store for each request, in a transaction.

#![cfg(target_os = "wasi")]

use lacewing_sdk::{Path, Result, kv};

#[lacewing_sdk::http]
fn counter(Path(key): Path<String>) -> Result<()> {
    kv::open("store")?.increment(&key, 1).map(drop)
}
