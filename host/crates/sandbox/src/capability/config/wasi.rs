//! wasi:config, in its draft under two versions, and in its first release candidate.

use wasmtime::{Result, component::Linker};

use super::{Config, HasConfig, StoreData, config};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod draft {
    wasmtime::component::bindgen!({ path: "wit/config-draft.wit", world: "imports" });
}

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod wasmcloud {
    wasmtime::component::bindgen!({ path: "wit/config-wasmcloud.wit", world: "imports" });
}

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod rc1 {
    wasmtime::component::bindgen!({ path: "wit/config-rc1.wit", world: "imports" });
}

pub(super) fn link<T: StoreData>(linker: &mut Linker<T>) -> Result<()> {
    draft::wasi::config::store::add_to_linker::<T, HasConfig>(linker, config)?;
    wasmcloud::wasi::config::store::add_to_linker::<T, HasConfig>(linker, config)?;
    rc1::wasi::config::store::add_to_linker::<T, HasConfig>(linker, config)
}

/// Implements one version of wasi:config.
macro_rules! wasi_config {
    ($version:ident) => {
        impl $version::wasi::config::store::Host for Config {
            fn get(
                &mut self,
                key: String,
            ) -> Result<Option<String>, $version::wasi::config::store::Error> {
                if let Some(value) = self.variable(&key) {
                    return Ok(Some(value));
                }
                let secret = self.granted(&key).transpose();
                secret.map_err(|(_, text)| $version::wasi::config::store::Error::Upstream(text))
            }

            /// All variables. Secrets are read one by one, so that a listing shows none.
            fn get_all(
                &mut self,
            ) -> Result<Vec<(String, String)>, $version::wasi::config::store::Error> {
                Ok(self.env.clone())
            }
        }
    };
}

wasi_config!(draft);
wasi_config!(wasmcloud);
wasi_config!(rc1);
