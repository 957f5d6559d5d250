//! A handler of the SDK's that says something in every way that there is, and panics where it is
//! asked to.

#![cfg(target_os = "wasi")]

use lacewing_sdk::{Path, log};

#[lacewing_sdk::http]
fn says(Path(what): Path<String>) -> String {
    println!("printed");
    eprintln!("printed as an error");
    log::warn!(target: "shop::orders", order = 7; "logged");
    log::trace!("logged for nobody");
    tracing::error!(order = 7, waited = "2 s", "traced");
    tracing::debug!(target: "shop::stock", "counted\ntwice");
    if what == "panic" {
        panic!("it was asked to");
    }
    std::env::var("GREETING").unwrap_or_default()
}
