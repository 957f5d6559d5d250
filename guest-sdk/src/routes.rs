//! One function with several routes.

use http::{HeaderValue, Method, header};
use percent_encoding::percent_decode_str;

use crate::extract::{BodyUse, FromRequest, Incoming};
use crate::handler::HttpHandler;
use crate::respond::{IntoResponse, Reply, Response};
use crate::{Error, Result, Route};

/// Passes a request on to the handler of its route: for a function that has several.
///
/// Each of them is a plain function with the arguments and results of a handler. The host has matched the request
/// against the manifest's routes already, so where the patterns here are the same ones, this only compares them.
/// Others are matched against the path: `{name}` captures a segment, `{*rest}` all that is left. The first that
/// fits is taken; a GET handler answers HEAD too. Without one the answer is 404, or 405 where only the method is wrong.
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
/// In an `async` handler the body is awaited first, and the handlers of the routes are not `async`.
#[derive(Debug)]
pub struct Routes {
    request: Incoming,
    /// The answer, once a route fitted.
    reply: Option<Reply>,
    /// The methods of the routes that fitted but for the method.
    allowed: Vec<Method>,
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
        if self.reply.is_some() || !self.fits(pattern) {
            return self;
        }
        let right = match self.request.method() {
            Ok(asked) => *asked == method || *asked == Method::HEAD && method == Method::GET,
            Err(error) => {
                self.reply = Some(error.into_reply());
                return self;
            }
        };
        if right {
            self.reply = Some(handler.reply(std::mem::take(&mut self.request)));
        } else {
            self.allowed.push(method);
        }
        self
    }

    /// Whether the request's path is of this pattern; if so, what it captures is in the request's route.
    fn fits(&mut self, pattern: &str) -> bool {
        if self.request.route().pattern == pattern {
            return true;
        }
        let Some(params) = captures(pattern, self.request.path()) else { return false };
        self.request.set_route(Route { pattern: pattern.to_owned(), params });
        true
    }
}

/// What a pattern captures of a path, if the path is of it.
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

impl FromRequest for Routes {
    const BODY: BodyUse = BodyUse::Whole;

    fn from_request(request: &mut Incoming) -> Result<Routes> {
        Ok(Routes { request: std::mem::take(request), reply: None, allowed: Vec::new() })
    }
}

impl IntoResponse for Routes {
    fn into_response(self) -> Response {
        self.into_reply().into_response()
    }

    fn into_reply(self) -> Reply {
        if let Some(reply) = self.reply {
            return reply;
        }
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
