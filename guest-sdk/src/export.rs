//! What the attributes' output calls: not for users, and without any promise.

use crate::extract::{BodyUse, FromRequest};
use crate::respond::IntoResponse;

#[cfg(target_family = "wasm")]
mod lean;
#[cfg(target_family = "wasm")]
pub use lean::http;

/// Fails to compile, at the place of the type, if it cannot be an argument.
pub const fn argument<T: FromRequest>() {}

/// Fails to compile, at the place of the value, if it cannot be a response.
pub fn response<T: IntoResponse>(_: T) {}

/// Fails to compile if an argument that is not the last takes the body.
pub const fn leaves_body<T: FromRequest>() {
    assert!(
        matches!(T::BODY, BodyUse::Untouched),
        "only the last argument of a handler may take the request's body: move this one to the end"
    );
}

/// Exports a handler that is not `async`.
#[macro_export]
#[doc(hidden)]
macro_rules! __export_lean {
    ($handler:ident) => {
        const _: () = {
            struct Export;

            impl $crate::bindings::http::exports::lacewing::function::http::Guest for Export {
                fn handle(
                    request: $crate::bindings::http::exports::lacewing::function::http::Request,
                ) -> $crate::bindings::http::exports::lacewing::function::http::Response {
                    $crate::export::http(request, $handler)
                }
            }

    $crate::bindings::http::__export_http!(Export with_types_in $crate::bindings::http);
        };
    };
}
