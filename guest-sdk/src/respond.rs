//! The values that a handler may return, and how each becomes a response.
//!
//! | result | response |
//! |---|---|
//! | `&'static str`, `String` | 200, `text/plain` |
//! | [`Html<T>`], [`Json<T>`](crate::Json) | 200, `text/html` or `application/json` |
//! | `Vec<u8>`, [`Bytes`], [`Body`] | 200, `application/octet-stream` |
//! | `()`, [`StatusCode`] | 204, or that status, without a body |
//! | `(StatusCode, T)` | what `T` gives, under that status |
//! | `(headers, T)`, `(StatusCode, headers, T)` | the same with headers: a [`HeaderMap`] or an array of pairs |
//! | `Option<T>` | what `T` gives, or 404 |
//! | [`Result<T, E>`](crate::Result) | what `T` or `E` gives: [`Error`] is a problem document |
//! | [`Response`], [`Sse<S>`](crate::Sse) | itself |

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::{Body, Error};

/// A response: that of the `http` crate.
pub type Response = http::Response<Body>;

/// A value that becomes a response.
///
/// ```
/// use lacewing_sdk::{IntoResponse, Response, Html};
///
/// struct Greeting { name: String }
///
/// impl IntoResponse for Greeting {
///     fn into_response(self) -> Response {
///         Html(format!("<h1>Hello, {}!</h1>", self.name)).into_response()
///     }
/// }
///
/// #[lacewing_sdk::http]
/// fn greet() -> Greeting {
///     Greeting { name: "world".into() }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a response",
    label = "an HTTP handler cannot return this",
    note = "return a `String`, `Json<T>`, `(StatusCode, T)`, `Response`, a `Result` of them, or another type that implements `IntoResponse`",
    note = "in `Json<T>`, `T` must implement `serde::Serialize`"
)]
pub trait IntoResponse {
    /// Makes the response.
    fn into_response(self) -> Response;

    /// The same without a header map, for what has no header but its type.
    #[doc(hidden)]
    fn into_reply(self) -> Reply
    where
        Self: Sized,
    {
        Reply::Full(self.into_response())
    }
}

/// A response, in its cheapest form.
#[doc(hidden)]
#[derive(Debug)]
pub enum Reply {
    /// Status 200 and one header.
    Plain { content_type: &'static str, body: Body },
    /// Anything else.
    Full(Response),
}

impl Reply {
    #[doc(hidden)]
    pub fn into_response(self) -> Response {
        match self {
            Reply::Plain { content_type, body } => {
                let mut response = Response::new(body);
                let value = HeaderValue::from_static(content_type);
                response.headers_mut().insert(header::CONTENT_TYPE, value);
                response
            }
            Reply::Full(response) => response,
        }
    }
}

/// A page: `text/html` in UTF-8.
///
/// ```
/// use lacewing_sdk::Html;
///
/// #[lacewing_sdk::http]
/// fn page() -> Html<&'static str> {
///     Html("<!doctype html><title>Hello</title>")
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Html<T>(pub T);

/// Responses that consist of a body of a known type.
macro_rules! plain {
    ($($type:ty, $content_type:literal;)*) => {$(
        impl IntoResponse for $type {
            fn into_response(self) -> Response {
                self.into_reply().into_response()
            }

            fn into_reply(self) -> Reply {
                Reply::Plain { content_type: $content_type, body: self.into() }
            }
        }
    )*};
}

plain! {
    &'static str, "text/plain; charset=utf-8";
    String, "text/plain; charset=utf-8";
    Cow<'static, str>, "text/plain; charset=utf-8";
    &'static [u8], "application/octet-stream";
    Vec<u8>, "application/octet-stream";
    Bytes, "application/octet-stream";
    Body, "application/octet-stream";
}

impl<T: Into<Body>> IntoResponse for Html<T> {
    fn into_response(self) -> Response {
        self.into_reply().into_response()
    }

    fn into_reply(self) -> Reply {
        Reply::Plain { content_type: "text/html; charset=utf-8", body: self.0.into() }
    }
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for () {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = self;
        response
    }
}

impl<T: IntoResponse> IntoResponse for (StatusCode, T) {
    fn into_response(self) -> Response {
        let mut response = self.1.into_response();
        *response.status_mut() = self.0;
        response
    }
}

impl<H: IntoHeaders, T: IntoResponse> IntoResponse for (H, T) {
    fn into_response(self) -> Response {
        let mut response = self.1.into_response();
        match self.0.add_to(response.headers_mut()) {
            Ok(()) => response,
            Err(error) => error.into_response(),
        }
    }
}

impl<H: IntoHeaders, T: IntoResponse> IntoResponse for (StatusCode, H, T) {
    fn into_response(self) -> Response {
        let (status, headers, content) = self;
        let mut response = (status, content).into_response();
        match headers.add_to(response.headers_mut()) {
            Ok(()) => response,
            Err(error) => error.into_response(),
        }
    }
}

impl<T: IntoResponse> IntoResponse for Option<T> {
    fn into_response(self) -> Response {
        self.into_reply().into_response()
    }

    fn into_reply(self) -> Reply {
        match self {
            Some(content) => content.into_reply(),
            None => Error::not_found("there is nothing here").into_reply(),
        }
    }
}

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        self.into_reply().into_response()
    }

    fn into_reply(self) -> Reply {
        match self {
            Ok(content) => content.into_reply(),
            Err(error) => {
                #[cfg(feature = "kv")]
                crate::transaction::discard();
                error.into_reply()
            }
        }
    }
}

/// Headers that a handler returns beside its content: they replace those of the same name.
///
/// ```
/// use lacewing_sdk::http::header;
///
/// #[lacewing_sdk::http]
/// fn picture() -> ([(header::HeaderName, &'static str); 1], Vec<u8>) {
///     ([(header::CONTENT_TYPE, "image/png")], b"\x89PNG".to_vec())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not hold headers",
    note = "use a `HeaderMap`, or an array of pairs such as `[(header::CONTENT_TYPE, \"image/png\")]`"
)]
pub trait IntoHeaders {
    /// Adds them to a response's.
    ///
    /// # Errors
    /// If a name or a value is not one: the response is then a 500.
    fn add_to(self, headers: &mut HeaderMap) -> Result<(), Error>;
}

impl IntoHeaders for HeaderMap {
    fn add_to(self, headers: &mut HeaderMap) -> Result<(), Error> {
        headers.extend(self);
        Ok(())
    }
}

impl<K, V, const N: usize> IntoHeaders for [(K, V); N]
where
    K: TryInto<HeaderName>,
    K::Error: Into<http::Error>,
    V: TryInto<HeaderValue>,
    V::Error: Into<http::Error>,
{
    fn add_to(self, headers: &mut HeaderMap) -> Result<(), Error> {
        for (name, value) in self {
            let name = name.try_into().map_err(Into::into)?;
            headers.insert(name, value.try_into().map_err(Into::into)?);
        }
        Ok(())
    }
}
