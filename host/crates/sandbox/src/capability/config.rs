//! Configuration: the variables of a function's environment, under the interfaces of others.
//!
//! A variable of Spin has a name in lower case, and environments have names in upper case as a
//! rule. So the variable `api_key` is `api_key` of the environment, or else `API_KEY`.

use wasmtime::{
    Result,
    component::{HasSelf, Linker},
};

use super::{
    extension::{Capability, Opening, StoreData},
    interfaces::Versions,
};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod draft {
    wasmtime::component::bindgen!({ path: "wit/config-draft.wit", world: "imports" });
}

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod rc1 {
    wasmtime::component::bindgen!({ path: "wit/config-rc1.wit", world: "imports" });
}

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod spin {
    wasmtime::component::bindgen!({ path: "wit/spin.wit", world: "variables-client" });
}

/// The configuration of one revision.
pub(crate) struct Config {
    env: Vec<(String, String)>,
}

impl Config {
    fn value(&self, name: &str) -> Option<String> {
        let mut variables = self.env.iter();
        variables.find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

impl Capability for Config {
    const PACKAGES: &'static [Versions] = &[
        ("wasi:config", &["0.2.0-draft-2024-09-27", "0.2.0-rc.1"]),
        ("fermyon:spin/variables", &["2.0"]),
    ];

    const PER_INVOCATION: bool = false;

    const SHOWS_PROGRESS: bool = true;

    fn why_not_during_init(_: &str) -> &'static str {
        "an init reads the environment: the same values are there"
    }

    fn open(opening: Opening<'_>) -> Config {
        match opening.is_over {
            true => Config { env: Vec::new() },
            false => Config { env: opening.settings.env.clone() },
        }
    }

    fn link<T: StoreData>(linker: &mut Linker<T>, _tasks: bool) -> Result<()> {
        fn config<T: StoreData>(data: &mut T) -> &mut Config {
            data.capability::<Config>().0
        }
        draft::wasi::config::store::add_to_linker::<T, HasSelf<Config>>(linker, config)?;
        rc1::wasi::config::store::add_to_linker::<T, HasSelf<Config>>(linker, config)?;
        spin::fermyon::spin::variables::add_to_linker::<T, HasSelf<Config>>(linker, config)
    }
}

/// Implements one version of wasi:config.
macro_rules! wasi_config {
    ($version:ident) => {
        impl $version::wasi::config::store::Host for Config {
            fn get(
                &mut self,
                key: String,
            ) -> Result<Option<String>, $version::wasi::config::store::Error> {
                Ok(self.value(&key))
            }

            fn get_all(
                &mut self,
            ) -> Result<Vec<(String, String)>, $version::wasi::config::store::Error> {
                Ok(self.env.clone())
            }
        }
    };
}

wasi_config!(draft);
wasi_config!(rc1);

impl spin::fermyon::spin::variables::Host for Config {
    fn get(&mut self, name: String) -> Result<String, spin::fermyon::spin::variables::Error> {
        use spin::fermyon::spin::variables::Error;

        let is_name = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !is_name {
            return Err(Error::InvalidName(format!("{name:?} is no name of a variable")));
        }
        let value = self.value(&name).or_else(|| self.value(&name.to_ascii_uppercase()));
        let missing =
            || Error::Undefined(format!("the manifest sets no variable `{name}` in `env`"));
        value.ok_or_else(missing)
    }
}
