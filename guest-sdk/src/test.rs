//! For the tests of a function: requests, and calls through the same machinery as on the host.
//!
//! A handler stays an ordinary function, so a test can simply call it. To go through extractors and
//! responses as a request does, build one here:
//!
//! ```
//! use lacewing_sdk::{Path, test};
//!
//! #[lacewing_sdk::http]
//! fn user(Path(id): Path<u32>) -> String {
//!     format!("user {id}")
//! }
//!
//! assert_eq!(user(Path(7)), "user 7");
//!
//! let response = test::get("/users/7").route("/users/{id}").param("id", "7").call(user);
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.text(), "user 7");
//! ```
//!
//! These functions panic where a test would fail anyway.

#[cfg(feature = "stream")]
use std::future::Future;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::{self, CallHandler};
use crate::event::{self, EventHandler};
use crate::extract::{Incoming, Route};
#[cfg(feature = "stream")]
use crate::handler::AsyncHttpHandler;
use crate::handler::HttpHandler;
use crate::respond::{IntoResponse, Response};
use crate::{Body, Event, Request};

#[cfg(any(feature = "stream", feature = "fetch"))]
pub(crate) mod upstream;
#[cfg(any(feature = "stream", feature = "fetch"))]
pub use upstream::{Upstream, upstream};

/// A GET request for a path and query.
#[must_use]
pub fn get(path_with_query: &str) -> TestRequest {
    request(Method::GET, path_with_query)
}

/// A POST request for a path and query.
#[must_use]
pub fn post(path_with_query: &str) -> TestRequest {
    request(Method::POST, path_with_query)
}

/// A PUT request for a path and query.
#[must_use]
pub fn put(path_with_query: &str) -> TestRequest {
    request(Method::PUT, path_with_query)
}

/// A DELETE request for a path and query.
#[must_use]
pub fn delete(path_with_query: &str) -> TestRequest {
    request(Method::DELETE, path_with_query)
}

/// A request with any method for a path and query.
///
/// # Panics
/// If the path is not one.
#[must_use]
pub fn request(method: Method, path_with_query: &str) -> TestRequest {
    let uri = http::Uri::builder()
        .scheme("http")
        .authority("localhost")
        .path_and_query(path_with_query)
        .build()
        .unwrap_or_else(|error| panic!("`{path_with_query}` is not a path: {error}"));
    let route = Route { pattern: uri.path().into(), params: Vec::new() };
    let mut request = Request::default();
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    TestRequest { request, route }
}

/// Calls a handler with a request, through its extractors.
///
/// ```
/// use lacewing_sdk::{Request, test};
///
/// #[lacewing_sdk::http]
/// fn hello() -> &'static str {
///     "hello"
/// }
///
/// assert_eq!(test::call_http(hello, Request::default()).text(), "hello");
/// ```
pub fn call_http<Args>(handler: impl HttpHandler<Args>, request: Request) -> TestResponse {
    let reply = || TestResponse::of(handler.reply(Incoming::from(request)).into_response());
    transaction(reply, |response| response.status().is_server_error())
}

/// Calls an `async` handler with a request, through its extractors, and waits for the whole
/// response.
///
/// ```
/// use lacewing_sdk::{Bytes, Request, test};
///
/// #[lacewing_sdk::http]
/// async fn echo(body: Bytes) -> Bytes {
///     body
/// }
///
/// let request = test::post("/").body("anyone?").build();
/// assert_eq!(test::call_http_async(echo, request).text(), "anyone?");
/// ```
#[cfg(feature = "stream")]
pub fn call_http_async<Args>(
    handler: impl AsyncHttpHandler<Args>,
    request: Request,
) -> TestResponse {
    block_on(async {
        let response = handler.reply(Incoming::from(request)).await.into_response();
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await {
            bytes.extend_from_slice(&chunk.unwrap_or_else(|error| panic!("{error}")));
        }
        let trailers = body.trailers().cloned().unwrap_or_default();
        TestResponse { status: parts.status, headers: parts.headers, body: bytes.into(), trailers }
    })
}

/// Runs a future to its end: for tests of `async` handlers.
///
/// Tasks that it [spawns](crate::spawn) run meanwhile; what is left of them afterwards is dropped.
///
/// ```
/// assert_eq!(lacewing_sdk::test::block_on(async { 6 * 7 }), 42);
/// ```
#[cfg(feature = "stream")]
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    crate::task::native::block_on(future)
}

/// Calls a call handler with a payload, through its input and output types.
///
/// ```
/// use lacewing_sdk::{Result, test};
///
/// #[lacewing_sdk::call]
/// fn double(number: i64) -> Result<i64> {
///     Ok(2 * number)
/// }
///
/// assert_eq!(test::call(double, "21").unwrap(), b"42");
/// assert_eq!(test::call(double, "many").unwrap_err().name, "InvalidInput");
/// ```
///
/// # Errors
/// Those of the handler, and those of an input that does not fit.
pub fn call<Args>(
    handler: impl CallHandler<Args>,
    payload: impl Into<Vec<u8>>,
) -> Result<Vec<u8>, call::Failure> {
    transaction(|| handler.call(payload.into()), Result::is_err)
}

/// An event with some data and plausible attributes, to pass to a handler or to [`deliver`].
///
/// ```
/// use lacewing_sdk::{Event, Result, test};
///
/// #[lacewing_sdk::event]
/// fn greet(event: Event<String>) -> Result<()> {
///     println!("hello, {}", event.data);
///     Ok(())
/// }
///
/// greet(test::event("world".to_owned())).unwrap();
/// ```
#[must_use]
pub fn event<T>(data: T) -> Event<T> {
    let empty: Event<()> = Event {
        id: "1".into(),
        source: "test".into(),
        ty: "test".into(),
        attempt: 1,
        ..Event::default()
    };
    empty.map(|()| data)
}

/// Delivers a batch to a handler of events, through the type of its data.
///
/// ```
/// use lacewing_sdk::{Error, Event, Result, error::Retry, test};
///
/// #[lacewing_sdk::event]
/// fn count(event: Event<u32>) -> Result<()> {
///     if event.data == 0 {
///         return Err(Error::fatal("nothing to count"));
///     }
///     Ok(())
/// }
///
/// let results = test::deliver(count, ["1", "0", "many"].map(test::event));
/// assert!(results[0].is_ok());
/// assert_eq!(results[1].as_ref().unwrap_err().retry, Retry::Never);
/// assert!(results[2].as_ref().unwrap_err().message.starts_with("the event's data is not valid JSON"));
/// ```
pub fn deliver<Args, T: Into<Vec<u8>>>(
    handler: impl EventHandler<Args>,
    batch: impl IntoIterator<Item = Event<T>>,
) -> Vec<Result<(), event::Failure>> {
    let raw = |event: Event<T>| event.map(|data| Some(data.into()));
    let batch = batch.into_iter().map(raw).collect();
    transaction(|| handler.handle(batch), |results| results.iter().any(Result::is_err))
}

/// Sets a secret for the handlers that this test calls. Each test has secrets of its own, as long
/// as it stays on its thread. See [`secret`](crate::secret).
#[cfg(feature = "secrets")]
pub fn set_secret(name: &str, value: impl Into<String>) {
    crate::secrets::memory::set(name, value.into());
}

/// Runs a handler as the host does: as a transaction, which has no effect if it failed.
fn transaction<T>(handler: impl FnOnce() -> T, failed: impl FnOnce(&T) -> bool) -> T {
    #[cfg(feature = "kv")]
    return crate::transaction::run(handler, failed);
    #[cfg(not(feature = "kv"))]
    {
        let _ = failed;
        handler()
    }
}

/// A request that a test builds.
#[derive(Debug)]
pub struct TestRequest {
    request: Request,
    route: Route,
}

impl TestRequest {
    /// Adds a header.
    ///
    /// # Panics
    /// If the name or the value is malformed.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> TestRequest {
        let name: http::HeaderName =
            name.parse().unwrap_or_else(|_| panic!("`{name}` is not a header's name"));
        let value = value.parse().unwrap_or_else(|_| panic!("`{value}` is not a header's value"));
        self.request.headers_mut().append(name, value);
        self
    }

    /// Says which route matched; without this it is the path itself.
    #[must_use]
    pub fn route(mut self, pattern: &str) -> TestRequest {
        self.route.pattern = pattern.into();
        self
    }

    /// Adds a parameter that the route captured.
    #[must_use]
    pub fn param(mut self, name: &str, value: &str) -> TestRequest {
        self.route.params.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> TestRequest {
        *self.request.body_mut() = body.into();
        self
    }

    /// Sets the body to JSON, and the header that says so.
    ///
    /// # Panics
    /// If the value cannot be written as JSON.
    #[must_use]
    pub fn json(self, value: &impl Serialize) -> TestRequest {
        let text = serde_json::to_vec(value)
            .unwrap_or_else(|error| panic!("the body cannot be written as JSON: {error}"));
        self.header("content-type", "application/json").body(text)
    }

    /// The request itself.
    #[must_use]
    pub fn build(mut self) -> Request {
        self.request.extensions_mut().insert(self.route);
        self.request
    }

    /// Calls a handler with it: [`call_http`].
    pub fn call<Args>(self, handler: impl HttpHandler<Args>) -> TestResponse {
        call_http(handler, self.build())
    }

    /// Calls an `async` handler with it: [`call_http_async`].
    #[cfg(feature = "stream")]
    pub fn call_async<Args>(self, handler: impl AsyncHttpHandler<Args>) -> TestResponse {
        call_http_async(handler, self.build())
    }
}

/// The answer of a handler.
#[derive(Debug)]
pub struct TestResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

impl TestResponse {
    fn of(response: Response) -> TestResponse {
        let (parts, body) = response.into_parts();
        match body.into_bytes() {
            Ok(body) => {
                let (status, headers) = (parts.status, parts.headers);
                TestResponse { status, headers, body, trailers: HeaderMap::new() }
            }
            Err(error) => TestResponse::of(error.into_response()),
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The value of one header.
    ///
    /// # Panics
    /// If it is not text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.headers, name)
    }

    /// The value of one trailer: a header field behind a body that is a stream.
    ///
    /// # Panics
    /// If it is not text.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<&str> {
        field(&self.trailers, name)
    }

    /// The body.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// The body as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|_| panic!("the body is not UTF-8"))
    }

    /// The body, read as JSON.
    ///
    /// # Panics
    /// If it is not JSON of that shape.
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("the body is not the JSON expected: {error}: {}", self.text())
        })
    }
}

fn field<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = fields.get(name)?;
    Some(value.to_str().unwrap_or_else(|_| panic!("the field `{name}` is not text")))
}
