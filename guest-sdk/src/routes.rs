//! One function with several routes.

#[cfg(feature = "stream")]
use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
};

use http::{HeaderValue, Method, header};
use percent_encoding::percent_decode_str;

use crate::extract::{BodyUse, FromRequest, Incoming};
#[cfg(feature = "stream")]
use crate::handler::AnyHttpHandler;
use crate::handler::HttpHandler;
use crate::respond::{IntoResponse, Reply, Response};
use crate::{Error, Result, Route};

/// Passes a request on to the handler of its route: for a function that has several.
///
/// Each of them is a plain function with the arguments and results of a handler. The host has
/// matched the request against the manifest's routes already, so where the patterns here are the
/// same ones, this only compares them. Others are matched against the path: `{name}` captures a
/// segment, `{*rest}` all that is left. The first that fits is taken; a GET handler answers HEAD
/// too. Without one the answer is 404, or 405 where only the method is wrong.
///
/// ```
/// use lacewing_sdk::{Json, Path, Routes, test};
///
/// #[lacewing_sdk::http]
/// fn users(routes: Routes) -> Routes {
///     routes.get("/users", list).get("/users/{id}", read).post("/users", add)
/// }
///
/// fn list() -> &'static str {
///     "all of them"
/// }
///
/// fn read(Path(id): Path<u32>) -> String {
///     format!("user {id}")
/// }
///
/// fn add(Json(name): Json<String>) -> String {
///     format!("welcome, {name}")
/// }
///
/// assert_eq!(test::get("/users/7").call(users).text(), "user 7");
/// assert_eq!(test::post("/users").json(&"Ada").call(users).text(), "welcome, Ada");
/// let refused = test::delete("/users").call(users);
/// assert_eq!((refused.status().as_u16(), refused.header("allow")), (405, Some("GET, HEAD, POST")));
/// ```
///
/// In an `async` handler the body is awaited first, and the handlers of the routes are not `async`;
#[cfg_attr(feature = "stream", doc = "[`AsyncRoutes`] has those that are.")]
#[cfg_attr(
    not(feature = "stream"),
    doc = "with the feature `stream` there are `AsyncRoutes` for those that are."
)]
#[derive(Debug)]
pub struct Routes {
    search: Search,
    /// The answer, once a route fitted.
    reply: Option<Reply>,
}

/// Makes the functions of the usual methods.
macro_rules! methods {
    ($($function:ident $method:ident;)*) => {$(
        #[doc = concat!("Adds a handler for ", stringify!($method), " and a pattern.")]
        #[must_use]
        pub fn $function<Args>(self, pattern: &str, handler: impl HttpHandler<Args>) -> Routes {
            self.on(Method::$method, pattern, handler)
        }
    )*};
}

impl Routes {
    methods! {
        get GET;
        post POST;
        put PUT;
        patch PATCH;
        delete DELETE;
    }

    /// Adds a handler for a method and a pattern.
    #[must_use]
    pub fn on<Args>(
        mut self,
        method: Method,
        pattern: &str,
        handler: impl HttpHandler<Args>,
    ) -> Routes {
        if self.reply.is_none() && self.search.finds(method, pattern) {
            self.reply = Some(handler.reply(self.search.take()));
        }
        self
    }
}

impl FromRequest for Routes {
    const BODY: BodyUse = BodyUse::Whole;

    fn from_request(request: &mut Incoming) -> Result<Routes> {
        Ok(Routes { search: Search::of(request)?, reply: None })
    }
}

impl IntoResponse for Routes {
    fn into_response(self) -> Response {
        self.into_reply().into_response()
    }

    fn into_reply(self) -> Reply {
        self.reply.unwrap_or_else(|| self.search.nothing())
    }
}

/// Passes a request on to the handler of its route, `async` or not: [`Routes`] for an `async`
/// function, which awaits it.
///
/// The body is a stream, as in other `async` handlers; for a handler that is not `async`, or takes
/// the whole body, it is awaited first, once the route is found.
///
/// ```
/// use lacewing_sdk::{AsyncRoutes, Body, Path, Response, Sse, sse, test};
///
/// #[lacewing_sdk::http]
/// async fn clock(routes: AsyncRoutes) -> Response {
///     routes.get("/", about).get("/ticks/{count}", ticks).post("/echo", echo).await
/// }
///
/// fn about() -> &'static str {
///     "a clock"
/// }
///
/// async fn ticks(Path(count): Path<u32>) -> Sse {
///     let (mut events, response) = sse::channel();
///     lacewing_sdk::spawn(async move {
///         for tick in 1..=count {
///             if events.send(sse::Event::data(tick.to_string())).await.is_err() {
///                 return; // the client went away
///             }
///         }
///     });
///     response
/// }
///
/// async fn echo(body: Body) -> Body {
///     body
/// }
///
/// assert_eq!(test::get("/").call_async(clock).text(), "a clock");
/// assert_eq!(test::get("/ticks/2").call_async(clock).text(), "data: 1\n\ndata: 2\n\n");
/// assert_eq!(test::post("/echo").body("x").call_async(clock).text(), "x");
/// assert_eq!(test::get("/echo").call_async(clock).header("allow"), Some("POST"));
/// ```
#[cfg(feature = "stream")]
#[must_use = "nothing is answered unless it is awaited"]
pub struct AsyncRoutes {
    search: Search,
    /// The answer that is on its way, once a route fitted.
    reply: Option<Replying>,
}

#[cfg(feature = "stream")]
type Replying = Pin<Box<dyn Future<Output = Reply>>>;

/// Makes the functions of the usual methods.
#[cfg(feature = "stream")]
macro_rules! async_methods {
    ($($function:ident $method:ident;)*) => {$(
        #[doc = concat!("Adds a handler for ", stringify!($method), " and a pattern.")]
        pub fn $function<How: 'static>(
            self,
            pattern: &str,
            handler: impl AnyHttpHandler<How> + 'static,
        ) -> AsyncRoutes {
            self.on(Method::$method, pattern, handler)
        }
    )*};
}

#[cfg(feature = "stream")]
impl AsyncRoutes {
    async_methods! {
        get GET;
        post POST;
        put PUT;
        patch PATCH;
        delete DELETE;
    }

    /// Adds a handler for a method and a pattern.
    pub fn on<How: 'static>(
        mut self,
        method: Method,
        pattern: &str,
        handler: impl AnyHttpHandler<How> + 'static,
    ) -> AsyncRoutes {
        if self.reply.is_none() && self.search.finds(method, pattern) {
            let request = self.search.take();
            self.reply = Some(Box::pin(async move { handler.reply(request).await }));
        }
        self
    }
}

#[cfg(feature = "stream")]
impl FromRequest for AsyncRoutes {
    const BODY: BodyUse = BodyUse::Stream;

    fn from_request(request: &mut Incoming) -> Result<AsyncRoutes> {
        Ok(AsyncRoutes { search: Search::of(request)?, reply: None })
    }
}

#[cfg(feature = "stream")]
impl IntoFuture for AsyncRoutes {
    type Output = Response;
    type IntoFuture = Pin<Box<dyn Future<Output = Response>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.reply {
                Some(reply) => reply.await,
                None => self.search.nothing(),
            }
            .into_response()
        })
    }
}

#[cfg(feature = "stream")]
impl fmt::Debug for AsyncRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRoutes").field("search", &self.search).finish_non_exhaustive()
    }
}

/// A request that looks for its route.
#[derive(Debug)]
struct Search {
    request: Incoming,
    /// The methods of the routes that fitted but for the method.
    allowed: Vec<Method>,
}

impl Search {
    /// Takes a request whose method is one.
    fn of(request: &mut Incoming) -> Result<Search> {
        request.method()?;
        Ok(Search { request: std::mem::take(request), allowed: Vec::new() })
    }

    /// Whether the request is for this method and pattern; if so, what the pattern captures is in
    /// the request's route.
    fn finds(&mut self, method: Method, pattern: &str) -> bool {
        if !self.fits(pattern) {
            return false;
        }
        let asked = self.request.method().ok();
        let right = asked.is_some_and(|asked| {
            *asked == method || *asked == Method::HEAD && method == Method::GET
        });
        if !right {
            self.allowed.push(method);
        }
        right
    }

    /// Whether the request's path is of this pattern; if so, what it captures is in the request's
    /// route.
    fn fits(&mut self, pattern: &str) -> bool {
        if self.request.route().pattern == pattern {
            return true;
        }
        let Some(params) = captures(pattern, self.request.path()) else { return false };
        self.request.set_route(Route { pattern: pattern.to_owned(), params });
        true
    }

    /// The request, for the handler that was found.
    fn take(&mut self) -> Incoming {
        std::mem::take(&mut self.request)
    }

    /// The answer where no handler was found.
    fn nothing(self) -> Reply {
        if self.allowed.is_empty() {
            return Error::not_found("there is nothing at this path").into_reply();
        }
        let mut names: Vec<&str> = Vec::new();
        for method in &self.allowed {
            names.push(method.as_str());
            if *method == Method::GET {
                names.push("HEAD");
            }
        }
        let names = names.join(", ");
        let error = Error::method_not_allowed(format_args!("this path allows {names}"));
        match HeaderValue::try_from(names) {
            Ok(names) => error.with_header(header::ALLOW, names).into_reply(),
            Err(_) => error.into_reply(),
        }
    }
}

/// The captures of a pattern in a path, if the path is of it.
fn captures(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
    let mut params = Vec::new();
    let mut rest = path.strip_prefix('/').map(|rest| rest.split('/'))?;
    for part in pattern.strip_prefix('/')?.split('/') {
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        let value = match name {
            None if rest.next()? == part => continue,
            None => return None,
            Some(name) if name.starts_with('*') => {
                let all: Vec<_> = rest.by_ref().collect();
                all.join("/")
            }
            Some(_) => rest.next().filter(|value| !value.is_empty())?.to_owned(),
        };
        let name = name?.trim_start_matches('*').to_owned();
        let value = percent_decode_str(&value).decode_utf8().ok()?.into_owned();
        params.push((name, value));
    }
    rest.next().is_none().then_some(params)
}

#[cfg(test)]
mod tests {
    use super::captures;

    fn pairs(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        captures(pattern, path)
    }

    fn some(params: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(params.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn a_pattern_without_captures_is_the_path() {
        assert_eq!(pairs("/", "/"), some(&[]));
        assert_eq!(pairs("/a/b", "/a/b"), some(&[]));
        assert_eq!(pairs("/a/b", "/a"), None);
        assert_eq!(pairs("/a", "/a/b"), None);
        assert_eq!(pairs("/a", "/a/"), None);
    }

    #[test]
    fn a_capture_is_one_segment_that_is_decoded_and_not_empty() {
        assert_eq!(pairs("/users/{id}", "/users/a%2Fb"), some(&[("id", "a/b")]));
        assert_eq!(pairs("/users/{id}", "/users/"), None);
        assert_eq!(pairs("/users/{id}", "/users/7/files"), None);
        assert_eq!(pairs("/{a}/x/{b}", "/1/x/2"), some(&[("a", "1"), ("b", "2")]));
    }

    #[test]
    fn a_wildcard_takes_the_rest() {
        assert_eq!(pairs("/files/{*path}", "/files/a/b"), some(&[("path", "a/b")]));
        assert_eq!(pairs("/files/{*path}", "/file/a"), None);
    }
}
