//! The arguments of a handler, and how a request is taken apart into them.
//!
//! | argument | what it holds |
//! |---|---|
//! | [`Path<T>`] | what the route captured: one value, a tuple in order, or a struct by name |
//! | [`Query<T>`] | the query string, as a struct or a map |
//! | [`Json<T>`](crate::Json) | the body, if it is JSON of that shape |
//! | [`Bytes`], `Vec<u8>`, [`String`] | the body as it is |
//! | [`Method`], [`Uri`], [`HeaderMap`] | that part of the request |
//! | [`Route`] | the pattern that matched, and its parameters as text |
//! | [`Context`] | which invocation this is |
//! | [`Routes`](crate::Routes), `AsyncRoutes` | all of it, to be passed on to one of several handlers |
//! | [`Request`], [`Body`] | all of it; the body in a form that can be streamed |
//! | `Result<T>` | any of the above, where the handler itself decides what to do about a request that does not fit |
//!
//! Only the last argument may take the body. A request that does not fit is answered before the
//! handler runs, with a problem document that says what was wrong and where.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::{Body, Context, Error, Request, Result};

mod json;
mod pairs;
mod path;
mod query;

pub use json::Json;
pub use path::Path;
pub use query::Query;

/// A type that a handler can have as an argument.
///
/// Your own types can be: an authenticated user, a page of a list, a tenant.
///
/// ```
/// use lacewing_sdk::extract::{FromRequest, Incoming};
/// use lacewing_sdk::{Error, Result};
///
/// struct Token(String);
///
/// impl FromRequest for Token {
///     fn from_request(request: &mut Incoming) -> Result<Token> {
///         let value = request.headers()?.get("authorization").and_then(|value| value.to_str().ok());
///         let token = value.and_then(|value| value.strip_prefix("Bearer "));
///         Ok(Token(token.ok_or_else(|| Error::unauthorized("send a bearer token"))?.into()))
///     }
/// }
///
/// #[lacewing_sdk::http]
/// fn whoami(Token(token): Token) -> String {
///     token
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of an HTTP handler",
    label = "not something that a request can be turned into",
    note = "an argument is `Request`, `Json<T>`, `Path<T>`, `Query<T>`, `Method`, `Uri`, `HeaderMap`, `Bytes`, `String` or another type that implements `FromRequest`",
    note = "in `Json<T>`, `Path<T>` and `Query<T>`, `T` must implement `serde::Deserialize`"
)]
pub trait FromRequest: Sized {
    /// The handler's use of the request's body.
    const BODY: BodyUse = BodyUse::Untouched;

    /// Takes what it needs from the request.
    ///
    /// # Errors
    /// If the request does not have it: the error is the response.
    fn from_request(request: &mut Incoming) -> Result<Self>;
}

/// An argument's use of the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyUse {
    /// Leaves it for another argument.
    Untouched,
    /// Takes all of it as bytes: an `async` handler starts when it has arrived.
    Whole,
    /// Takes it as a stream: an `async` handler starts at once.
    Stream,
}

/// The route that matched: its pattern, and the pattern's captures.
///
/// An argument of its own, and an extension of every [`Request`]:
///
/// ```
/// use lacewing_sdk::{Request, extract::Route, test};
///
/// #[lacewing_sdk::http]
/// fn where_am_i(request: Request) -> String {
///     let route = request.extensions().get::<Route>().unwrap();
///     format!("{} with id {}", route.pattern, route.param("id").unwrap())
/// }
///
/// let response = test::get("/users/7").route("/users/{id}").param("id", "7").call(where_am_i);
/// assert_eq!(response.text(), "/users/{id} with id 7");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The pattern, as in the manifest: `/users/{id}`.
    pub pattern: String,
    /// Names and percent-decoded values, in the order of the pattern.
    pub params: Vec<(String, String)>,
}

impl Route {
    /// The value of one parameter.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A request that is being taken apart.
///
/// Fields that no argument asks for are never converted: the head of a request arrives as plain
/// strings, and becomes the types of the `http` crate one by one.
#[derive(Debug, Default)]
pub struct Incoming {
    pub(crate) raw: Raw,
    method: Option<Method>,
    uri: Option<Uri>,
    headers: Option<HeaderMap>,
    extensions: http::Extensions,
    route: Route,
    body: Body,
}

/// The head of a request as it comes over the boundary.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub(crate) method: String,
    pub(crate) scheme: String,
    pub(crate) authority: String,
    pub(crate) path_with_query: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Incoming {
    #[cfg_attr(not(target_family = "wasm"), allow(dead_code))]
    pub(crate) fn from_raw(raw: Raw, route: Route, body: Body) -> Incoming {
        Incoming { raw, route, body, ..Incoming::default() }
    }

    /// The method.
    ///
    /// # Errors
    /// If it is not a token.
    pub fn method(&mut self) -> Result<&Method> {
        if self.method.is_none() {
            let method = Method::from_bytes(self.raw.method.as_bytes())
                .map_err(|_| Error::bad_request("the method is not a token"))?;
            self.method = Some(method);
        }
        Ok(self.method.get_or_insert_default())
    }

    /// The URI: with scheme and authority, as the client addressed it.
    ///
    /// # Errors
    /// If it is not one.
    pub fn uri(&mut self) -> Result<&Uri> {
        if self.uri.is_none() {
            let Raw { scheme, authority, path_with_query, .. } = &self.raw;
            let mut builder = Uri::builder();
            if !authority.is_empty() {
                builder = builder.scheme(scheme.as_str()).authority(authority.as_str());
            }
            let uri =
                builder.path_and_query(path_with_query.as_str()).build().map_err(|error| {
                    Error::bad_request(format_args!("the URI is malformed: {error}"))
                })?;
            self.uri = Some(uri);
        }
        Ok(self.uri.get_or_insert_default())
    }

    /// The path, percent-encoded as it was sent.
    #[must_use]
    pub fn path(&self) -> &str {
        match &self.uri {
            Some(uri) => uri.path(),
            None => self.raw.path_with_query.split('?').next().unwrap_or_default(),
        }
    }

    /// The query string, without its `?`; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        match &self.uri {
            Some(uri) => uri.query().unwrap_or_default(),
            None => self.raw.path_with_query.split_once('?').map_or("", |(_, query)| query),
        }
    }

    /// The headers.
    ///
    /// # Errors
    /// If one of them is malformed.
    pub fn headers(&mut self) -> Result<&HeaderMap> {
        if self.headers.is_none() {
            let raw = std::mem::take(&mut self.raw.headers);
            self.headers = Some(header_map(raw)?);
        }
        Ok(self.headers.get_or_insert_default())
    }

    /// The route that matched.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    pub(crate) fn set_route(&mut self, route: Route) {
        self.route = route;
    }

    /// Values that are attached to the request.
    #[must_use]
    pub fn extensions(&self) -> &http::Extensions {
        &self.extensions
    }

    /// Takes the body and leaves an empty one. A type that calls this says so in
    /// [`FromRequest::BODY`].
    pub fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }

    /// Takes everything.
    ///
    /// # Errors
    /// If a part of the head is malformed.
    pub fn take_request(&mut self) -> Result<Request> {
        self.method()?;
        self.uri()?;
        self.headers()?;
        let taken = std::mem::take(self);
        let mut request = Request::new(taken.body);
        *request.method_mut() = taken.method.unwrap_or_default();
        *request.uri_mut() = taken.uri.unwrap_or_default();
        *request.headers_mut() = taken.headers.unwrap_or_default();
        *request.extensions_mut() = taken.extensions;
        request.extensions_mut().insert(taken.route);
        Ok(request)
    }

    /// Waits until the body is in memory.
    pub(crate) async fn buffer(&mut self) -> Result<()> {
        self.body = self.take_body().collect().await?.into();
        Ok(())
    }
}

impl From<Request> for Incoming {
    fn from(request: Request) -> Incoming {
        let (mut parts, body) = request.into_parts();
        Incoming {
            raw: Raw::default(),
            method: Some(parts.method),
            uri: Some(parts.uri),
            headers: Some(parts.headers),
            route: parts.extensions.remove().unwrap_or_default(),
            extensions: parts.extensions,
            body,
        }
    }
}

/// Converts each field once: names that are well known cost no allocation, and values keep theirs.
pub(crate) fn header_map(fields: Vec<(String, Vec<u8>)>) -> Result<HeaderMap> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let malformed = || Error::bad_request(format_args!("the header `{name}` is malformed"));
        let value = HeaderValue::from_maybe_shared(Bytes::from(value)).map_err(|_| malformed())?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed())?;
        map.append(name, value);
    }
    Ok(map)
}

impl FromRequest for Request {
    const BODY: BodyUse = BodyUse::Stream;

    fn from_request(request: &mut Incoming) -> Result<Request> {
        request.take_request()
    }
}

impl FromRequest for Incoming {
    const BODY: BodyUse = BodyUse::Stream;

    fn from_request(request: &mut Incoming) -> Result<Incoming> {
        Ok(std::mem::take(request))
    }
}

impl FromRequest for Body {
    const BODY: BodyUse = BodyUse::Stream;

    fn from_request(request: &mut Incoming) -> Result<Body> {
        Ok(request.take_body())
    }
}

impl FromRequest for Bytes {
    const BODY: BodyUse = BodyUse::Whole;

    fn from_request(request: &mut Incoming) -> Result<Bytes> {
        request.take_body().into_bytes()
    }
}

impl FromRequest for Vec<u8> {
    const BODY: BodyUse = BodyUse::Whole;

    fn from_request(request: &mut Incoming) -> Result<Vec<u8>> {
        request.take_body().into_vec()
    }
}

impl FromRequest for String {
    const BODY: BodyUse = BodyUse::Whole;

    fn from_request(request: &mut Incoming) -> Result<String> {
        String::from_utf8(request.take_body().into_vec()?).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Error::bad_request(format_args!("the body is not UTF-8: see byte {at}"))
                .with_member("in", "body")
        })
    }
}

impl FromRequest for Method {
    fn from_request(request: &mut Incoming) -> Result<Method> {
        request.method().cloned()
    }
}

impl FromRequest for Uri {
    fn from_request(request: &mut Incoming) -> Result<Uri> {
        request.uri().cloned()
    }
}

impl FromRequest for HeaderMap {
    fn from_request(request: &mut Incoming) -> Result<HeaderMap> {
        request.headers().cloned()
    }
}

impl FromRequest for Route {
    fn from_request(request: &mut Incoming) -> Result<Route> {
        Ok(request.route.clone())
    }
}

impl FromRequest for Context {
    fn from_request(_: &mut Incoming) -> Result<Context> {
        Ok(Context::current())
    }
}

impl<T: FromRequest> FromRequest for Result<T> {
    const BODY: BodyUse = T::BODY;

    fn from_request(request: &mut Incoming) -> Result<Result<T>> {
        Ok(T::from_request(request))
    }
}
