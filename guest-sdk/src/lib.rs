#![doc = include_str!("../README.md")]

// The attributes' output names this crate by its path, also in this crate's own tests.
extern crate self as lacewing_sdk;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::too_many_lines)]
pub mod bindings {
    //! What crosses the boundary, generated from `wit/function.wit` by `tests/bindings.rs`.
    #[rustfmt::skip]
    pub mod call;
    #[rustfmt::skip]
    pub mod events;
    #[rustfmt::skip]
    pub mod http;
}

pub mod body;
pub mod call;
#[cfg(any(feature = "stream", feature = "fetch"))]
pub mod client;
mod codec;
mod context;
pub mod error;
pub mod event;
pub mod extract;
#[doc(hidden)]
pub mod handler;
mod json;
pub mod log;
pub mod respond;
mod routes;
#[cfg(feature = "stream")]
pub mod sse;
#[cfg(feature = "stream")]
mod task;
#[cfg(not(target_family = "wasm"))]
pub mod test;

#[cfg(all(target_family = "wasm", feature = "stream"))]
mod wasi3;

#[doc(hidden)]
pub mod export;

pub use ::http;
pub use ::http::{HeaderMap, Method, StatusCode, Uri};
pub use bytes::Bytes;

pub use body::Body;
pub use context::Context;
pub use error::{Error, Result};
pub use event::Event;
pub use extract::{FromRequest, Json, Path, Query, Route};
pub use respond::{Html, IntoResponse, Response};
pub use routes::Routes;
#[cfg(feature = "stream")]
pub use sse::Sse;
#[cfg(feature = "stream")]
pub use task::{sleep, spawn};

pub use lacewing_sdk_macros::{call, event, events, http};

/// A request: that of the `http` crate.
pub type Request = ::http::Request<Body>;
