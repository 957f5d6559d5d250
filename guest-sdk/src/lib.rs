#![doc = include_str!("../README.md")]

// The attributes' output names this crate by its path, also in this crate's own tests.
extern crate self as lacewing_sdk;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::too_many_lines)]
pub mod bindings {
    //! What crosses the boundary, generated from `wit/function.wit` by `tests/bindings.rs`.
    pub mod call;
    pub mod events;
    pub mod http;
}

pub mod body;
mod context;
pub mod error;
pub mod extract;
#[doc(hidden)]
pub mod handler;
mod json;
pub mod log;
pub mod respond;
pub mod test;

#[doc(hidden)]
pub mod export;

pub use ::http;
pub use ::http::{HeaderMap, Method, StatusCode, Uri};
pub use bytes::Bytes;

pub use body::Body;
pub use context::Context;
pub use error::{Error, Result};
pub use extract::{FromRequest, Json, Path, Query, Route};
pub use respond::{Html, IntoResponse, Response};

pub use lacewing_sdk_macros::http;

/// A request: that of the `http` crate.
pub type Request = ::http::Request<Body>;
