//! The context of an invocation.

use std::time::Duration;

/// The invocation that a handler runs in, and what it belongs to.
///
/// An argument of any handler, before its input. Each part is read from the environment when it is
/// asked for, so that an invocation which does not ask does not pay; each is absent where the host
/// does not say.
///
/// ```
/// use lacewing_sdk::{Context, Result};
///
/// #[lacewing_sdk::call]
/// fn which(context: Context, input: String) -> Result<String> {
///     Ok(format!("{input}: {}", context.invocation().unwrap_or_default()))
/// }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Context {}

impl Context {
    /// The context of the invocation that is running.
    #[must_use]
    pub fn current() -> Context {
        Context {}
    }

    /// The id of this invocation, as the log and problem documents have it: `LACEWING_INVOCATION`.
    #[must_use]
    pub fn invocation(&self) -> Option<String> {
        variable("LACEWING_INVOCATION")
    }

    /// The tenant's name: `LACEWING_TENANT`.
    #[must_use]
    pub fn tenant(&self) -> Option<String> {
        variable("LACEWING_TENANT")
    }

    /// The app's name: `LACEWING_APP`.
    #[must_use]
    pub fn app(&self) -> Option<String> {
        variable("LACEWING_APP")
    }

    /// The function's name: `LACEWING_FUNCTION`.
    #[must_use]
    pub fn function(&self) -> Option<String> {
        variable("LACEWING_FUNCTION")
    }

    /// The revision's id: `LACEWING_REVISION`.
    #[must_use]
    pub fn revision(&self) -> Option<String> {
        variable("LACEWING_REVISION")
    }

    /// How much time this invocation was given altogether: `LACEWING_DEADLINE_MS`.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        variable("LACEWING_DEADLINE_MS")?.parse().ok().map(Duration::from_millis)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
