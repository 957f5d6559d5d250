//! Secrets: values that the operator sets, and that the manifest grants.

use std::fmt;

#[cfg(not(target_family = "wasm"))]
use memory as host;
#[cfg(target_family = "wasm")]
use wit as host;

use crate::{Error, Result};

/// The value of a secret. Only [`Secret::expose`] shows the value: `{:?}` does not.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Reads a secret that the manifest grants:
///
/// ```toml
/// [functions.pay.grants]
/// secrets = ["STRIPE_KEY"]
/// ```
///
/// ```
/// use lacewing_sdk::{Result, secret, test};
///
/// #[lacewing_sdk::http]
/// fn pay() -> Result<String> {
///     let key = secret("STRIPE_KEY")?;
///     Ok(format!("the key has {} characters", key.expose().len()))
/// }
///
/// // A native test sets its secrets itself.
/// assert_eq!(test::get("/").call(pay).status(), 503);
/// test::set_secret("STRIPE_KEY", "sk_test_1");
/// assert_eq!(test::get("/").call(pay).text(), "the key has 9 characters");
/// ```
///
/// An invocation reads the same value each time. The next one reads what `lacewing secret set` has
/// set since. An [`init`](macro@crate::init) has no secrets: they would be in its snapshot.
///
/// # Errors
/// 500, if the manifest does not grant the secret. 503, if the operator has not set it, or if the
/// host cannot read it now. The client reads no reason; the log of the function has it.
pub fn secret(name: &str) -> Result<Secret> {
    host::get(name).map(Secret)
}

/// A secret that may be there later. The client reads nothing of it.
fn unavailable(text: String) -> Error {
    Error::unavailable("the function is not ready").with_cause(text)
}

#[cfg(target_family = "wasm")]
mod wit {
    use super::unavailable;
    use crate::bindings::secrets::lacewing::secrets::secrets::{self as wit, Error as WitError};
    use crate::{Error, Result};

    pub(super) fn get(name: &str) -> Result<String> {
        wit::get(name).map_err(|error| match error {
            WitError::NotGranted(text) => Error::msg(text),
            WitError::NotSet(text) | WitError::Unavailable(text) => unavailable(text),
        })
    }
}

#[cfg(not(target_family = "wasm"))]
pub(crate) mod memory {
    use std::{cell::RefCell, collections::BTreeMap};

    use super::unavailable;
    use crate::Result;

    thread_local! {
        /// The secrets of a native test.
        static SECRETS: RefCell<BTreeMap<String, String>> = const { RefCell::new(BTreeMap::new()) };
    }

    pub(crate) fn set(name: &str, value: String) {
        SECRETS.with_borrow_mut(|secrets| secrets.insert(name.to_owned(), value));
    }

    pub(super) fn get(name: &str) -> Result<String> {
        let value = SECRETS.with_borrow(|secrets| secrets.get(name).cloned());
        value.ok_or_else(|| {
            unavailable(format!(
                "the secret `{name}` is not set: this test sets it with `test::set_secret`"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IntoResponse;

    #[test]
    fn a_secret_is_shown_only_where_it_is_asked_for() {
        memory::set("KEY", "hunter2".to_owned());
        let key = secret("KEY").unwrap();
        assert_eq!((key.expose(), format!("{key:?}").as_str()), ("hunter2", "Secret(..)"));
    }

    #[test]
    fn a_missing_secret_is_a_503_that_says_nothing_of_it() {
        let error = secret("NONE").unwrap_err();
        assert_eq!(
            error.cause().unwrap(),
            "the secret `NONE` is not set: this test sets it with `test::set_secret`"
        );
        let response = error.into_response();
        assert_eq!(response.status(), 503);
        let text = response.into_body().into_bytes().unwrap();
        assert_eq!(
            text,
            r#"{"title":"Service Unavailable","status":503,"detail":"the function is not ready"}"#
        );
    }
}
