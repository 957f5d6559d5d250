//! The functions that the attributes' output calls. They are not for users, and carry no promise.

use serde::de::DeserializeOwned;

use crate::Context;
use crate::call::CallOutcome;
use crate::event::{BatchOutcome, Event, EventOutcome};
use crate::extract::{BodyUse, FromRequest};
use crate::init::InitOutcome;
use crate::respond::IntoResponse;

#[cfg(target_family = "wasm")]
mod heap;
#[cfg(target_family = "wasm")]
mod init;
#[cfg(target_family = "wasm")]
mod records;
#[cfg(all(target_family = "wasm", feature = "stream"))]
mod stream;

#[cfg(target_family = "wasm")]
pub use init::init;
#[cfg(target_family = "wasm")]
pub use records::{call, events, http};
#[cfg(all(target_family = "wasm", feature = "stream"))]
pub use stream::async_http;
#[cfg(all(target_family = "wasm", feature = "stream"))]
pub use wasip3;

/// Sends what a `print!` left behind that no line feed ended: nobody else would, as the sandbox is
/// gone after the invocation. A line that cannot be sent is lost, because no reader is left to
/// tell.
#[cfg(target_family = "wasm")]
pub(crate) fn flush() {
    let _ = std::io::Write::flush(&mut std::io::stdout());
}

/// Fails to compile, at the place of the type, if it cannot be an argument.
pub const fn argument<T: FromRequest>() {}

/// Fails to compile, at the place of the value, if it cannot be a response.
pub fn response<T: IntoResponse>(_: T) {}

/// Fails to compile, at the place of the type, if it cannot be read from a payload.
pub const fn input<T: DeserializeOwned + 'static>() {}

/// Fails to compile, at the place of the type, if it is not [`Context`].
pub const fn context<T: IsContext>() {}

/// Fails to compile, at the place of the type, if it is not one event.
pub const fn event<T: IsEvent>() {}

/// Fails to compile, at the place of the type, if it is not a vector of events.
pub const fn batch<T: IsBatch>() {}

/// Fails to compile, at the place of the value, if it cannot be the outcome of a call.
pub fn call_outcome<T: CallOutcome>(_: T) {}

/// Fails to compile, at the place of the value, if it cannot be the outcome of an event.
pub fn event_outcome<T: EventOutcome>(_: T) {}

/// Fails to compile, at the place of the value, if it cannot be the outcome of a batch.
pub fn batch_outcome<T: BatchOutcome>(_: T) {}

/// Fails to compile, at the place of the value, if it cannot be the outcome of an init.
pub fn init_outcome<T: InitOutcome>(_: T) {}

#[diagnostic::on_unimplemented(
    message = "the first of two arguments is `lacewing_sdk::Context`, not `{Self}`",
    label = "expected `Context`"
)]
pub trait IsContext {}
impl IsContext for Context {}

#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "expected `Event<T>`",
    note = "`#[lacewing_sdk::event]` handles one event at a time; for a `Vec<Event<T>>` there is `#[lacewing_sdk::events]`"
)]
pub trait IsEvent {}
impl<T: DeserializeOwned + 'static> IsEvent for Event<T> {}

#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a batch of events",
    label = "expected `Vec<Event<T>>`",
    note = "`#[lacewing_sdk::events]` handles a batch; for a single `Event<T>` there is `#[lacewing_sdk::event]`"
)]
pub trait IsBatch {}
impl<T: DeserializeOwned + 'static> IsBatch for Vec<Event<T>> {}

/// Fails to compile if an argument that is not the last takes the body.
pub const fn leaves_body<T: FromRequest>() {
    assert!(
        matches!(T::BODY, BodyUse::Untouched),
        "only the last argument of a handler may take the request's body: move this one to the end"
    );
}

/// Has a symbol that a crate can have only once.
#[macro_export]
#[doc(hidden)]
macro_rules! __only {
    ($symbol:literal) => {
        const _: () = {
            #[unsafe(export_name = $symbol)]
            extern "C" fn only() {}
        };
    };
}

/// Exports a handler that is not `async`.
#[macro_export]
#[doc(hidden)]
macro_rules! __export_http_handler {
    ($handler:ident) => {
        const _: () = {
            use $crate::bindings::http::exports::lacewing::function::http as wit;

            struct Export;

            impl wit::Guest for Export {
                fn handle(request: wit::Request) -> wit::Response {
                    $crate::export::http(request, $handler)
                }
            }

    $crate::bindings::http::__export_http!(Export with_types_in $crate::bindings::http);
        };
    };
}

/// Exports an `async` handler.
#[cfg(feature = "stream")]
#[macro_export]
#[doc(hidden)]
macro_rules! __export_async_http_handler {
    ($handler:ident) => {
        const _: () = {
            use $crate::export::wasip3;

            struct Export;

            impl wasip3::exports::http::handler::Guest for Export {
                async fn handle(
                    request: wasip3::http::types::Request,
                ) -> Result<wasip3::http::types::Response, wasip3::http::types::ErrorCode> {
                    $crate::export::async_http(request, $handler).await
                }
            }

    wasip3::http::service::export!(Export with_types_in $crate::export::wasip3);
        };
    };
}

/// Says what is missing.
#[cfg(not(feature = "stream"))]
#[macro_export]
#[doc(hidden)]
macro_rules! __export_async_http_handler {
    ($handler:ident) => {
        compile_error!("an `async` handler needs the feature `stream` of `lacewing-sdk`");
    };
}

/// Exports a handler of events.
#[macro_export]
#[doc(hidden)]
macro_rules! __export_event_handler {
    ($handler:ident) => {
        const _: () = {
            use $crate::bindings::events::exports::lacewing::function::events as wit;

            struct Export;

            impl wit::Guest for Export {
                fn handle(batch: Vec<wit::Event>) -> Vec<Result<(), wit::Failure>> {
                    $crate::export::events(batch, $handler)
                }
            }

            $crate::bindings::events::__export_events!(
                Export with_types_in $crate::bindings::events
            );
        };
    };
}

/// Exports a call handler.
#[macro_export]
#[doc(hidden)]
macro_rules! __export_call_handler {
    ($handler:ident) => {
        const _: () = {
            use $crate::bindings::call::exports::lacewing::function::call as wit;

            struct Export;

            impl wit::Guest for Export {
                fn call(payload: wit::Payload) -> Result<wit::Payload, wit::Error> {
                    $crate::export::call(payload, $handler)
                }
            }

    $crate::bindings::call::__export_call!(Export with_types_in $crate::bindings::call);
        };
    };
}

/// Exports what runs once, before the snapshot.
#[macro_export]
#[doc(hidden)]
macro_rules! __export_init {
    ($init:ident) => {
        const _: () = {
            use $crate::bindings::init::exports::lacewing::function::init as wit;

            struct Export;

            impl wit::Guest for Export {
                fn init() -> Result<(), String> {
                    $crate::export::init($init)
                }
            }

    $crate::bindings::init::__export_init!(Export with_types_in $crate::bindings::init);
        };
    };
}
