//! A component whose init asks for a secret, by the interface that the variable `BY` names.

#![cfg(target_os = "wasi")]

use lacewing_sdk::{Error, Result};

mod config {
    wit_bindgen::generate!({
        path: "../../crates/sandbox/wit/config-rc1.wit",
        world: "imports",
    });
}

#[lacewing_sdk::init]
fn prepare() -> Result<()> {
    match std::env::var("BY")?.as_str() {
        "sdk" => drop(lacewing_sdk::secret("KEY")?),
        "wasi" => drop(config::wasi::config::store::get("KEY").map_err(|_| Error::msg("no key"))?),
        _ => {}
    }
    Ok(())
}

#[lacewing_sdk::http]
fn read() -> Result<String> {
    Ok(lacewing_sdk::secret("KEY")?.expose().to_owned())
}
