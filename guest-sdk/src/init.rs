//! The preparation of a function before its first invocation.

use crate::Error;

/// The return value of an init: nothing, or a [`Result`](crate::Result) of nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the outcome of an init",
    label = "an init cannot return this",
    note = "return nothing or `lacewing_sdk::Result<()>`; what it prepares stays in a `static`"
)]
pub trait InitOutcome {
    /// Why there is to be no revision.
    #[doc(hidden)]
    fn outcome(self) -> Result<(), String>;
}

impl InitOutcome for () {
    fn outcome(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Into<Error>> InitOutcome for Result<(), E> {
    fn outcome(self) -> Result<(), String> {
        self.map_err(|error| error.into().to_string())
    }
}
