//! Calls: direct and asynchronous invocations, and the tasks of workflows.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Context, Error, codec};

/// The name of the error for an input that cannot be read.
const INVALID_INPUT: &str = "InvalidInput";
/// The name of the error for an output that cannot be written.
const INVALID_OUTPUT: &str = "InvalidOutput";

/// Why a call failed, as the caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The name that a workflow's `ErrorEquals` matches.
    pub name: String,
    /// For people.
    pub message: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { name: error.name().into(), message: error.to_string() }
    }
}

/// The return value of a call handler: a [`Result`](crate::Result) of a value that is written as
/// JSON.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the outcome of a call",
    label = "a call handler cannot return this",
    note = "return `lacewing_sdk::Result<T>` where `T` implements `serde::Serialize`"
)]
pub trait CallOutcome {
    /// The payload for the caller.
    #[doc(hidden)]
    fn outcome(self) -> Result<Vec<u8>, Failure>;
}

impl<T: Serialize + 'static, E: Into<Error>> CallOutcome for Result<T, E> {
    fn outcome(self) -> Result<Vec<u8>, Failure> {
        let value = self.map_err(|error| error.into())?;
        codec::encode(value)
            .map_err(|error| Failure { name: INVALID_OUTPUT.into(), message: error.to_string() })
    }
}

/// A function that is called with a payload.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this is not a call handler",
    note = "a handler takes an input, with a `Context` before it if it wants one, and returns a `Result`"
)]
pub trait CallHandler<Args> {
    /// Runs one call.
    fn call(&self, payload: Vec<u8>) -> Result<Vec<u8>, Failure>;
}

fn input<T: DeserializeOwned + 'static>(payload: Vec<u8>) -> Result<T, Failure> {
    codec::decode(payload).map_err(|wrong| Failure {
        name: INVALID_INPUT.into(),
        message: wrong.sentence("the input"),
    })
}

impl<F: Fn() -> R, R: CallOutcome> CallHandler<()> for F {
    fn call(&self, _: Vec<u8>) -> Result<Vec<u8>, Failure> {
        self().outcome()
    }
}

impl<F, T, R> CallHandler<(T,)> for F
where
    F: Fn(T) -> R,
    T: DeserializeOwned + 'static,
    R: CallOutcome,
{
    fn call(&self, payload: Vec<u8>) -> Result<Vec<u8>, Failure> {
        self(input(payload)?).outcome()
    }
}

impl<F, T, R> CallHandler<(Context, T)> for F
where
    F: Fn(Context, T) -> R,
    T: DeserializeOwned + 'static,
    R: CallOutcome,
{
    fn call(&self, payload: Vec<u8>) -> Result<Vec<u8>, Failure> {
        self(Context::current(), input(payload)?).outcome()
    }
}
