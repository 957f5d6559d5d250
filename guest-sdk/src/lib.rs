#![doc = include_str!("../README.md")]

// The attributes' output names this crate by its path, also in this crate's own tests.
extern crate self as lacewing_sdk;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[allow(missing_docs, unsafe_code, unreachable_pub)]
#[allow(clippy::too_many_lines, clippy::unwrap_used, clippy::cast_possible_truncation)]
pub mod bindings {
    //! The types that cross the boundary, generated from `wit/function.wit` by `tests/bindings.rs`.
    #[rustfmt::skip]
    pub mod call;
    #[rustfmt::skip]
    pub mod events;
    #[rustfmt::skip]
    pub mod http;
    #[rustfmt::skip]
    pub mod init;
    #[cfg(feature = "secrets")]
    #[rustfmt::skip]
    pub mod secrets;
    #[cfg(feature = "kv")]
    #[rustfmt::skip]
    pub mod state;
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
#[doc(hidden)]
pub mod init;
mod json;
#[cfg(feature = "kv")]
pub mod kv;
pub mod log;
#[cfg(feature = "objects")]
pub mod objects;
pub mod respond;
mod routes;
#[cfg(feature = "secrets")]
mod secrets;
#[cfg(feature = "stream")]
pub mod sse;
#[cfg(all(target_family = "wasm", feature = "stdio"))]
mod stdio;
#[cfg(feature = "stream")]
mod task;
#[cfg(not(target_family = "wasm"))]
pub mod test;
#[cfg(feature = "kv")]
mod transaction;

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
#[cfg(feature = "stream")]
pub use routes::AsyncRoutes;
pub use routes::Routes;
#[cfg(feature = "secrets")]
pub use secrets::{Secret, secret};
#[cfg(feature = "stream")]
pub use sse::Sse;
#[cfg(feature = "stream")]
pub use task::{sleep, spawn};

/// Makes a function the component's HTTP handler.
///
/// Its arguments say what it needs of the request ([`extract`] has the list), its result
/// becomes the response ([`respond`] has the list). It stays an ordinary function, which a
/// native test can call.
///
/// ```
/// use lacewing_sdk::{Error, Json, Path, Query, Result};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize)]
/// struct User { id: u32, name: String }
///
/// #[derive(Deserialize)]
/// struct Options { #[serde(default)] shout: bool }
///
/// #[lacewing_sdk::http]
/// fn user(Path(id): Path<u32>, Query(options): Query<Options>) -> Result<Json<User>> {
///     let name = match id {
///         1 => "Ada",
///         _ => return Err(Error::not_found(format!("there is no user {id}"))),
///     };
///     let name = if options.shout { name.to_uppercase() } else { name.to_owned() };
///     Ok(Json(User { id, name }))
/// }
///
/// # use lacewing_sdk::test;
/// let response = test::get("/users/1?shout=true").param("id", "1").call(user);
/// assert_eq!(response.text(), r#"{"id":1,"name":"ADA"}"#);
/// ```
///
/// A component has one handler of each kind, and a second does not compile; [`Routes`] and
/// [`AsyncRoutes`] pass a request on to one of several functions.
///
/// # Streaming
/// An `async fn` exports `wasi:http/handler@0.3` instead of `lacewing:function/http`: the body
/// of the request can be read as it arrives, that of the response written while it is sent,
/// and meanwhile other servers can be asked. It costs more to start, so a handler whose bodies
/// are small and in memory is better off without.
///
/// ```
/// use lacewing_sdk::{Body, Result, test};
///
/// #[lacewing_sdk::http]
/// async fn shout(mut body: Body) -> Body {
///     let (mut sender, loud) = Body::channel();
///     lacewing_sdk::spawn(async move {
///         while let Some(Ok(chunk)) = body.chunk().await {
///             if sender.send(chunk.to_ascii_uppercase()).await.is_err() {
///                 return; // the client went away
///             }
///         }
///     });
///     loud
/// }
///
/// assert_eq!(test::post("/").body("is anyone there?").call_async(shout).text(), "IS ANYONE THERE?");
/// ```
///
/// An argument that needs the whole body ([`Json`], [`Bytes`], `String`) is awaited before the
/// handler is called.
///
/// # Errors at compile time
/// An argument or a result of a type that does not fit is an error at its place. So is an
/// argument that takes the body and is not the last:
///
/// ```compile_fail
/// #[lacewing_sdk::http]
/// fn twice(first: String, second: String) {}
/// ```
pub use lacewing_sdk_macros::http;

/// Makes a function the component's call handler: for direct and asynchronous invocations, and
/// for the tasks of workflows.
///
/// It takes what [`serde::Deserialize`] can read and returns a [`Result`] of what
/// [`serde::Serialize`] can write; payloads are JSON. `Bytes` and `Vec<u8>` are payloads as
/// they are. A [`Context`] may come first.
///
/// ```
/// use lacewing_sdk::{Error, Result, test};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Payment { amount: u64, card: String }
///
/// #[derive(Serialize)]
/// struct Receipt { paid: u64 }
///
/// #[lacewing_sdk::call]
/// fn pay(payment: Payment) -> Result<Receipt> {
///     if payment.card.is_empty() {
///         return Err(Error::named("PaymentDeclined", "there is no card"));
///     }
///     Ok(Receipt { paid: payment.amount })
/// }
///
/// let receipt = test::call(pay, r#"{"amount": 7, "card": "4242"}"#);
/// assert_eq!(receipt.unwrap(), br#"{"paid":7}"#);
///
/// let failure = test::call(pay, r#"{"amount": 7, "card": ""}"#).unwrap_err();
/// assert_eq!((failure.name.as_str(), failure.message.as_str()), ("PaymentDeclined", "there is no card"));
///
/// let failure = test::call(pay, r#"{"amount": "seven", "card": ""}"#).unwrap_err();
/// assert_eq!(failure.name, "InvalidInput");
/// ```
///
/// The name is what a workflow's `ErrorEquals` matches. An error that `?` made has the name of
/// its type.
pub use lacewing_sdk_macros::call;

/// Makes a function the component's handler of events, one at a time.
///
/// It takes an [`Event<T>`](Event), whose data is read as JSON, and returns a [`Result`] of
/// nothing. Where the host delivers a batch, each event fails on its own; one whose data does
/// not fit fails without a retry. A [`Context`] may come first.
///
/// ```
/// use std::time::Duration;
/// use lacewing_sdk::{Error, Event, Result, error::Retry, test};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Order { id: u32 }
///
/// #[lacewing_sdk::event]
/// fn on_order(event: Event<Order>) -> Result<()> {
///     match event.data.id {
///         0 => Err(Error::fatal("there is no order 0")), // to the dead-letter queue
///         1 => Err(Error::retry_after(Duration::from_secs(60), "the stock is being counted")),
///         id => Ok(println!("order {id} from {}, attempt {}", event.source, event.attempt)),
///     }
/// }
///
/// let batch = [r#"{"id": 0}"#, r#"{"id": 1}"#, r#"{"id": 2}"#].map(test::event);
/// let results = test::deliver(on_order, batch);
/// assert_eq!(results[0].as_ref().unwrap_err().retry, Retry::Never);
/// assert_eq!(results[1].as_ref().unwrap_err().retry, Retry::After(Duration::from_secs(60)));
/// assert!(results[2].is_ok());
/// ```
pub use lacewing_sdk_macros::event;

/// Makes a function the component's handler of events, a batch at a time.
///
/// It takes a vector of [events](Event) and returns a vector with a [`Result`] for each, in
/// the same order, or one [`Result`] for all of them. Events whose data does not fit fail
/// without a retry, and are not in the batch. A [`Context`] may come first. For one event at a
/// time there is [`event`](macro@event).
///
/// ```
/// use lacewing_sdk::{Error, Event, Result, test};
///
/// #[lacewing_sdk::events]
/// fn on_readings(batch: Vec<Event<f64>>) -> Vec<Result<()>> {
///     println!("{} readings at once", batch.len());
///     batch
///         .into_iter()
///         .map(|event| if event.data.is_sign_positive() { Ok(()) } else { Err(Error::fatal("negative")) })
///         .collect()
/// }
///
/// let results = test::deliver(on_readings, ["1.5", "none", "-1"].map(test::event));
/// assert_eq!(results.iter().map(|result| result.is_ok()).collect::<Vec<_>>(), [true, false, false]);
/// ```
pub use lacewing_sdk_macros::events;

/// Makes a function the component's init: what is run once when a revision is deployed, and by
/// no invocation.
///
/// Every request starts the component anew, so what is slow to prepare, such as a dictionary
/// that is parsed or patterns that are compiled, would be prepared for each. With an init, the
/// host prepares it once, takes a snapshot of the component's memory, and every sandbox of the
/// revision starts as a copy of that. It takes no arguments, and returns nothing or a
/// [`Result<()>`](Result), whose error refuses the deployment. The state that it prepares
/// stays in a `static`:
///
/// ```
/// use std::{collections::HashMap, sync::OnceLock};
///
/// use lacewing_sdk::{Error, Path, Result};
///
/// static CAPITALS: OnceLock<HashMap<&str, &str>> = OnceLock::new();
///
/// fn capitals() -> &'static HashMap<&'static str, &'static str> {
///     CAPITALS.get_or_init(|| "France: Paris\nJapan: Tokyo".lines().filter_map(|line| line.split_once(": ")).collect())
/// }
///
/// #[lacewing_sdk::init]
/// fn prepare() -> Result<()> {
///     if capitals().is_empty() {
///         return Err(Error::fatal("there is no capital"));
///     }
///     println!("{} capitals", capitals().len()); // once, in the log of the deployment
///     Ok(())
/// }
///
/// #[lacewing_sdk::http]
/// fn capital(Path(country): Path<String>) -> Result<&'static str> {
///     capitals().get(&*country).copied().ok_or_else(|| Error::not_found("no such country"))
/// }
///
/// # use lacewing_sdk::test;
/// # prepare().unwrap();
/// assert_eq!(test::get("/Japan").param("country", "Japan").call(capital).text(), "Tokyo");
/// ```
///
/// As above, let the handler prepare what is missing: then a host without snapshots, and a
/// native test, need no init.
///
/// # What an init can do
/// What has the same result wherever and whenever it is done: compute, read the variables that
/// the manifest sets (`LACEWING_*`, which describe an invocation, are not there), and print.
/// It is refused, with the reason, if it
///
/// - reads a clock: the time would stand still in every sandbox;
/// - asks for random numbers, for a token or a key: they would be the same in every sandbox.
///   The seed that [`HashMap`] asks for is given: it is another for each snapshot, and the
///   same in all sandboxes of it, as it is in all requests to an ordinary server;
/// - sends a request, or asks the host for anything else;
/// - keeps a handle of the host's open, panics, or takes more time (`init_cpu_ms` in the
///   manifest) or memory than its limits.
///
/// Memory that it frees is not used again, unless it is more than half of all: an invocation
/// allocates from memory beside the statics first, which is cheapest for the host to reset,
/// and then from beyond all that the init has had. The most that the init had at once counts
/// against `memory_mib`.
///
/// The environment that it has seen is in the snapshot, and so in the host's cache directory.
/// A function with another environment is another revision, with an init and a snapshot of its
/// own. Secrets belong into [`secret`], which an init may not call.
///
/// [`HashMap`]: std::collections::HashMap
pub use lacewing_sdk_macros::init;

/// A request: that of the `http` crate.
pub type Request = ::http::Request<Body>;
