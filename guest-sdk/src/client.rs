//! Requests to other servers.
//!
//! A function may only speak to hosts that its manifest grants: `grants.http`. In native tests the
//! other server is `test::upstream`.
//!
//! [`fetch`] is for handlers that are not `async` and has the whole body in memory; [`send`] is for
//! those that are, and streams. Neither follows redirects. A failure on the way is a 502, or a 504
//! if it took too long; the log has the reason. A status is not an error, whatever it is.

use http::{Method, Uri};

#[cfg(not(target_family = "wasm"))]
use crate::test::upstream as wire;
use crate::{Body, Error, Request, Response, Result};

#[cfg(all(target_family = "wasm", feature = "fetch"))]
mod fetch;
#[cfg(all(target_family = "wasm", feature = "stream"))]
mod stream;

/// A request to send: a URL, which is a GET, or a request of the `http` crate with any body.
pub trait IntoRequest {
    /// Makes the request.
    ///
    /// # Errors
    /// If it is malformed.
    fn into_request(self) -> Result<Request>;
}

impl<B: Into<Body>> IntoRequest for http::Request<B> {
    fn into_request(self) -> Result<Request> {
        Ok(self.map(Into::into))
    }
}

impl<B: Into<Body>> IntoRequest for http::Result<http::Request<B>> {
    fn into_request(self) -> Result<Request> {
        Ok(self?.map(Into::into))
    }
}

impl IntoRequest for Uri {
    fn into_request(self) -> Result<Request> {
        let mut request = Request::default();
        *request.uri_mut() = self;
        Ok(request)
    }
}

impl IntoRequest for &str {
    fn into_request(self) -> Result<Request> {
        self.parse::<Uri>()?.into_request()
    }
}

impl IntoRequest for String {
    fn into_request(self) -> Result<Request> {
        self.as_str().into_request()
    }
}

impl IntoRequest for &String {
    fn into_request(self) -> Result<Request> {
        self.as_str().into_request()
    }
}

/// Sends a request, and waits for the whole response. For handlers that are not `async`.
///
/// ```
/// use lacewing_sdk::{Result, client, http, test};
///
/// #[lacewing_sdk::http]
/// fn exchange_rate() -> Result<String> {
///     let request = http::Request::post("https://api.example.com/rates").body(r#"{"of":"EUR"}"#);
///     let response = client::fetch(request)?;
///     Ok(format!("{}: {:?}", response.status(), response.into_body().into_bytes()?))
/// }
///
/// let _upstream = test::upstream(|request| {
///     assert_eq!(request.uri(), "https://api.example.com/rates");
///     http::Response::new("1.08".into())
/// });
/// assert_eq!(test::get("/").call(exchange_rate).text(), r#"200 OK: b"1.08""#);
/// ```
///
/// # Errors
/// If there was no response.
#[cfg(feature = "fetch")]
pub fn fetch(request: impl IntoRequest) -> Result<Response> {
    let request = checked(request)?;
    #[cfg(target_family = "wasm")]
    return fetch::send(request);
    #[cfg(not(target_family = "wasm"))]
    wire::send(request)
}

/// Sends a request, and waits for the head of the response. For `async` handlers.
///
/// ```
/// use lacewing_sdk::{Response, Result, client, http, test};
///
/// #[lacewing_sdk::http]
/// async fn mirror() -> Result<Response> {
///     client::send("https://example.com/").await // its body streams through
/// }
///
/// let _upstream = test::upstream(|_| http::Response::new("far away".into()));
/// assert_eq!(test::get("/").call_async(mirror).text(), "far away");
/// ```
///
/// # Errors
/// If there was no response.
///
/// # Panics
/// In a handler that is not `async`: such a handler has [`fetch`].
#[cfg(feature = "stream")]
pub async fn send(request: impl IntoRequest) -> Result<Response> {
    let request = checked(request)?;
    #[cfg(target_family = "wasm")]
    {
        crate::task::scope::require("client::send");
        stream::send(request).await
    }
    #[cfg(not(target_family = "wasm"))]
    wire::send(request)
}

/// The request, if it says where it goes.
fn checked(request: impl IntoRequest) -> Result<Request> {
    let request = request.into_request()?;
    let uri = request.uri();
    if uri.authority().is_none() || request.method() == Method::CONNECT {
        return Err(Error::msg(format_args!("`{uri}` is not a URL with scheme and host")));
    }
    Ok(request)
}

/// Why another server did not answer, from the name that WASI has for it.
#[cfg(target_family = "wasm")]
pub(crate) fn failure(code: &str, what: &str) -> Error {
    let code = code.rsplit_once("ErrorCode::").map_or(code, |(_, code)| code);
    let name = code.split(['(', ' ']).next().unwrap_or(code).to_owned();
    let status = if name.contains("Timeout") {
        http::StatusCode::GATEWAY_TIMEOUT
    } else {
        http::StatusCode::BAD_GATEWAY
    };
    let error =
        if code == name { Error::msg(what) } else { Error::msg(format_args!("{what}: {code}")) };
    error.with_status(status).with_name(name)
}
