//! lacewing:secrets, the interface of the SDK.

use wasmtime::{Result, component::Linker};

use super::{Config, FailureKind, HasConfig, StoreData, config};
use bindings::lacewing::secrets::secrets::{self, Error};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../../guest-sdk/wit/deps/lacewing-secrets.wit",
        world: "secrets-client",
    });
}

pub(super) fn link<T: StoreData>(linker: &mut Linker<T>) -> Result<()> {
    secrets::add_to_linker::<T, HasConfig>(linker, config)
}

impl secrets::Host for Config {
    fn get(&mut self, name: String) -> Result<String, Error> {
        self.secrets.get(&name).map_err(|failure| match failure.kind {
            FailureKind::NotGranted => Error::NotGranted(failure.text),
            FailureKind::NotSet => Error::NotSet(failure.text),
            FailureKind::Unavailable => Error::Unavailable(failure.text),
        })
    }
}
