//! The error that a handler returns.
//!
//! One type for all three kinds of handler. Over HTTP it becomes a problem document (RFC 9457), for
//! a call it becomes a name and a message, for an event a message and what to do about the retry.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::respond::{IntoResponse, Response};
use crate::{Body, json, log};

/// The result of a handler: [`Error`] unless said otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a handler failed.
///
/// `?` makes one of any error of the standard kind. Over HTTP that is a 500 whose text says nothing
/// of the cause; the cause, and the causes of that, go to the function's log.
///
/// ```
/// use lacewing_sdk::{Error, Result};
///
/// fn order(id: &str) -> Result<String> {
///     let id: u32 = id.parse()?; // 500, and the log says why
///     if id == 0 {
///         return Err(Error::not_found("there is no order 0")); // 404, and the client reads why
///     }
///     Ok(format!("order {id}"))
/// }
///
/// assert_eq!(order("x").unwrap_err().status(), 500);
/// assert_eq!(order("0").unwrap_err().status(), 404);
/// ```
///
/// It does not implement [`std::error::Error`] itself: that is what lets `?` take every type that
/// does.
pub struct Error(Box<Repr>);

struct Repr {
    status: StatusCode,
    name: Cow<'static, str>,
    /// The part that the client may read.
    detail: Option<String>,
    /// The part that only the log may have.
    cause: Option<Cause>,
    retry: Retry,
    type_uri: Option<Cow<'static, str>>,
    /// Extension members of the problem document: name and JSON.
    members: Vec<(Cow<'static, str>, String)>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

enum Cause {
    Text(String),
    Error(Box<dyn StdError + Send + Sync>),
}

/// Whether an event that failed is delivered again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// When the trigger's backoff says so.
    #[default]
    Backoff,
    /// Not before this much time has passed.
    After(Duration),
    /// Not at all: the event goes to the dead-letter queue.
    Never,
}

/// Makes the constructors of the usual statuses.
macro_rules! constructors {
    ($($(#[$doc:meta])* $function:ident $status:ident $name:literal;)*) => {$(
        $(#[$doc])*
        pub fn $function(detail: impl fmt::Display) -> Error {
            Error::with_parts(StatusCode::$status, $name, Some(detail.to_string()), None)
        }
    )*};
}

impl Error {
    constructors! {
        /// 400: the request is malformed. `detail` is for the client to read.
        bad_request BAD_REQUEST "BadRequest";
        /// 401: the client must say who it is.
        unauthorized UNAUTHORIZED "Unauthorized";
        /// 403: the client may not.
        forbidden FORBIDDEN "Forbidden";
        /// 404: there is no such thing.
        not_found NOT_FOUND "NotFound";
        /// 405: the thing is there, and cannot do that.
        method_not_allowed METHOD_NOT_ALLOWED "MethodNotAllowed";
        /// 409: it contradicts what is there already.
        conflict CONFLICT "Conflict";
        /// 415: the body is of a kind that is not understood.
        unsupported_media_type UNSUPPORTED_MEDIA_TYPE "UnsupportedMediaType";
        /// 422: well-formed, and still wrong.
        unprocessable UNPROCESSABLE_ENTITY "Unprocessable";
        /// 429: too much of it.
        too_many_requests TOO_MANY_REQUESTS "TooManyRequests";
        /// 502: what this function asked of another server went wrong.
        bad_gateway BAD_GATEWAY "BadGateway";
        /// 503: not now.
        unavailable SERVICE_UNAVAILABLE "Unavailable";
    }

    /// An error whose text is for the log: over HTTP the client gets a bare 500.
    pub fn msg(message: impl fmt::Display) -> Error {
        let cause = Cause::Text(message.to_string());
        Error::with_parts(StatusCode::INTERNAL_SERVER_ERROR, "Error", None, Some(cause))
    }

    /// An error with a status of your choice and a text for the client to read.
    pub fn new(status: StatusCode, detail: impl fmt::Display) -> Error {
        Error::with_parts(status, "Error", Some(detail.to_string()), None)
    }

    /// An error with a name that callers match on, as the `ErrorEquals` of a workflow does.
    ///
    /// ```
    /// use lacewing_sdk::Error;
    ///
    /// let error = Error::named("PaymentDeclined", "the bank said no");
    /// assert_eq!(error.name(), "PaymentDeclined");
    /// ```
    pub fn named(name: impl Into<Cow<'static, str>>, message: impl fmt::Display) -> Error {
        Error::msg(message).with_name(name)
    }

    /// An error after which the event is delivered again, but not before `wait` has passed.
    ///
    /// Any error can be given this: see [`with_retry`](Error::with_retry).
    pub fn retry_after(wait: Duration, message: impl fmt::Display) -> Error {
        Error::msg(message).with_retry(Retry::After(wait))
    }

    /// An error after which the event is not delivered again: trying once more would not help.
    pub fn fatal(message: impl fmt::Display) -> Error {
        Error::msg(message).with_retry(Retry::Never)
    }

    /// The same error under another status.
    ///
    /// An error that `?` made keeps its text to itself whatever its status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Error {
        self.0.status = status;
        self
    }

    /// The same error under another name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Cow<'static, str>>) -> Error {
        self.0.name = name.into();
        self
    }

    /// The same error with a text that the client may read.
    #[must_use]
    pub fn with_detail(mut self, detail: impl fmt::Display) -> Error {
        self.0.detail = Some(detail.to_string());
        self
    }

    /// The same error, caused by another one that only the log tells of.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.cause = Some(Cause::Error(cause.into()));
        self
    }

    /// The same error with an instruction about the retry: for events, and as `retry-after` over
    /// HTTP.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lacewing_sdk::{Error, error::Retry};
    ///
    /// let error = Error::unavailable("closed for lunch").with_retry(Retry::After(Duration::from_secs(60)));
    /// assert_eq!(error.retry(), Retry::After(Duration::from_secs(60)));
    /// ```
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Error {
        self.0.retry = retry;
        self
    }

    /// The same error with a `type` in its problem document: a URI that identifies the kind of
    /// problem.
    #[must_use]
    pub fn with_type(mut self, uri: impl Into<Cow<'static, str>>) -> Error {
        self.0.type_uri = Some(uri.into());
        self
    }

    /// The same error with one more member in its problem document.
    ///
    /// A value that cannot be written as JSON is left out.
    ///
    /// ```
    /// use lacewing_sdk::{Error, IntoResponse};
    ///
    /// let response = Error::conflict("the balance is too low").with_member("balance", 30).into_response();
    /// let text = response.into_body().into_bytes().unwrap();
    /// assert_eq!(
    ///     text,
    ///     r#"{"title":"Conflict","status":409,"detail":"the balance is too low","balance":30}"#
    /// );
    /// ```
    #[must_use]
    pub fn with_member(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Serialize,
    ) -> Error {
        if let Ok(value) = serde_json::to_string(&value) {
            self.0.members.push((name.into(), value));
        }
        self
    }

    /// The same error with one more header in its response.
    #[must_use]
    pub fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Error {
        self.0.headers.push((name, value));
        self
    }

    /// The status that it has over HTTP.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The name that callers match on.
    ///
    /// For an error that `?` made it is the name of that error's type, without path:
    /// `ParseIntError`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The text that the client reads, if any.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The treatment of a failed event.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The part that only the log may have: the cause, the cause of the cause and so on, joined by
    /// `: `.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        match self.0.cause.as_ref()? {
            Cause::Text(text) => Some(text.clone()),
            Cause::Error(error) => Some(chain(&**error)),
        }
    }

    /// The error that this one was made of, if it is a `T`.
    #[must_use]
    pub fn downcast_ref<T: StdError + 'static>(&self) -> Option<&T> {
        match self.0.cause.as_ref()? {
            Cause::Text(_) => None,
            Cause::Error(error) => error.downcast_ref(),
        }
    }

    fn with_parts(
        status: StatusCode,
        name: &'static str,
        detail: Option<String>,
        cause: Option<Cause>,
    ) -> Error {
        Error(Box::new(Repr {
            status,
            name: Cow::Borrowed(name),
            detail,
            cause,
            retry: Retry::default(),
            type_uri: None,
            members: Vec::new(),
            headers: Vec::new(),
        }))
    }

    /// The problem document of RFC 9457.
    fn problem(&self) -> String {
        let mut text = String::with_capacity(128);
        text.push('{');
        if let Some(uri) = &self.0.type_uri {
            json::member(&mut text, "type", uri);
        }
        let title = self.0.status.canonical_reason().unwrap_or("Error");
        json::member(&mut text, "title", title);
        json::raw_member(&mut text, "status", self.0.status.as_str());
        if let Some(detail) = &self.0.detail {
            json::member(&mut text, "detail", detail);
        }
        for (name, value) in &self.0.members {
            json::raw_member(&mut text, name, value);
        }
        text.push('}');
        text
    }

    /// Says in the log what the client is not told.
    pub(crate) fn log(&self) {
        if let Some(cause) = self.cause() {
            log::record(log::ERROR, "lacewing_sdk", &format_args!("{}: {cause}", self.name()));
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Error {
        let cause = Some(Cause::Error(Box::new(error)));
        let name = short_name(std::any::type_name::<E>());
        Error::with_parts(StatusCode::INTERNAL_SERVER_ERROR, name, None, cause)
    }
}

impl IntoResponse for Error {
    fn into_response(mut self) -> Response {
        self.log();
        let mut response = http::Response::new(Body::from(self.problem()));
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Retry::After(wait) = self.0.retry {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        headers.extend(self.0.headers.drain(..));
        response
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.detail(), self.cause()) {
            (Some(detail), None) => f.write_str(detail),
            (None, Some(cause)) => f.write_str(&cause),
            (Some(detail), Some(cause)) => write!(f, "{detail}: {cause}"),
            (None, None) => f.write_str(&self.0.name),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {self}", self.0.name, self.0.status.as_u16())
    }
}

/// An error's text and those of its sources.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// `core::num::ParseIntError` without its path and without type arguments.
fn short_name(path: &'static str) -> &'static str {
    let path = path.split_once('<').map_or(path, |(name, _)| name);
    path.rsplit_once("::").map_or(path, |(_, name)| name)
}
