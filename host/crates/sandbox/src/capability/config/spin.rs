//! The variables of Spin: fermyon:spin/variables@2.0.0, and spin:variables@3.0.0, which is async.
//!
//! A variable of Spin has a name in lower case, and environments have names in upper case as a
//! rule. So the variable `api_key` is `api_key` of the environment, or else `API_KEY`.

use wasmtime::{
    Result,
    component::{Accessor, Linker},
};

use super::{Config, FailureKind, HasConfig, StoreData, config};
use v2::fermyon::spin::variables as v2_variables;
use v3::spin::variables::variables as v3_variables;

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod v2 {
    wasmtime::component::bindgen!({ path: "wit/spin.wit", world: "variables-client" });
}

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod v3 {
    wasmtime::component::bindgen!({ path: "wit/spin-variables-3.wit", world: "imports" });
}

pub(super) fn link<T: StoreData>(linker: &mut Linker<T>, tasks: bool) -> Result<()> {
    v2_variables::add_to_linker::<T, HasConfig>(linker, config)?;
    if tasks {
        v3_variables::add_to_linker::<T, HasConfig>(linker, config)?;
    }
    Ok(())
}

/// Why there is no value, as both versions tell it.
enum NoValue {
    InvalidName(String),
    Undefined(String),
    Provider(String),
}

impl Config {
    fn of_spin(&mut self, name: &str) -> Result<String, NoValue> {
        if let Err(reason) = check_name(name) {
            return Err(NoValue::InvalidName(format!("{name:?}: {reason}")));
        }
        let variable = self.variable(name).or_else(|| self.variable(&name.to_ascii_uppercase()));
        if let Some(value) = variable {
            return Ok(value);
        }
        match self.granted(name) {
            Some(Ok(value)) => Ok(value),
            Some(Err((FailureKind::Unavailable, text))) => Err(NoValue::Provider(text)),
            Some(Err((_, text))) => Err(NoValue::Undefined(text)),
            None => Err(NoValue::Undefined(format!(
                "the manifest has no variable `{name}` in `env`, and grants no such secret"
            ))),
        }
    }
}

/// The rules of Spin for names of variables.
fn check_name(name: &str) -> Result<(), &'static str> {
    let is_known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() {
        Err("a name has at least one letter")
    } else if !name.chars().all(is_known) {
        Err("a name has lower-case letters, digits and underscores only")
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        Err("a name begins with a letter")
    } else if name.ends_with('_') || name.contains("__") {
        Err("an underscore stands alone between letters or digits")
    } else {
        Ok(())
    }
}

/// The error of one version.
macro_rules! spin_error {
    ($error:ty) => {
        impl From<NoValue> for $error {
            fn from(no_value: NoValue) -> $error {
                match no_value {
                    NoValue::InvalidName(text) => <$error>::InvalidName(text),
                    NoValue::Undefined(text) => <$error>::Undefined(text),
                    NoValue::Provider(text) => <$error>::Provider(text),
                }
            }
        }
    };
}

spin_error!(v2_variables::Error);
spin_error!(v3_variables::Error);

impl v2_variables::Host for Config {
    fn get(&mut self, name: String) -> Result<String, v2_variables::Error> {
        Ok(self.of_spin(&name)?)
    }
}

impl v3_variables::Host for Config {}

impl<T: StoreData> v3_variables::HostWithStore<T> for HasConfig {
    async fn get(
        accessor: &Accessor<T, Self>,
        name: String,
    ) -> Result<String, v3_variables::Error> {
        accessor.with(|mut access| Ok(access.get().of_spin(&name)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_spin_takes() {
        for name in ["a", "api_key", "key_2", "a1"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "A", "api-key", "_a", "1a", "a_", "a__b", "ä"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
