//! Cross-origin resource sharing as configuration
//! (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! A route with a [`Cors`] has its preflights answered and its responses decorated here; its
//! function never sees a preflight, and what it says itself about sharing is replaced.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use lacewing_base::cors::{Headers, Origins};

/// The sharing of a function with other origins, as header values.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Origins,
    /// The value of `Access-Control-Allow-Methods`.
    methods: Option<HeaderValue>,
    headers: Allowed,
    /// The value of `Access-Control-Expose-Headers`.
    expose: Option<HeaderValue>,
    credentials: bool,
    /// The value of `Access-Control-Max-Age`.
    max_age: Option<HeaderValue>,
}

/// The value of `Access-Control-Allow-Headers`.
#[derive(Clone, Debug)]
enum Allowed {
    /// The headers that the preflight asks for: to browsers, `*` would not be `authorization` as
    /// well.
    Asked,
    These(Option<HeaderValue>),
}

impl Cors {
    /// The sharing that a manifest says.
    pub fn new(cors: &lacewing_base::Cors) -> Cors {
        let names = |headers: &Headers| match headers {
            Headers::Any => Some(HeaderValue::from_static("*")),
            Headers::Only(names) => list(names.iter().map(HeaderName::as_str)),
        };
        Cors {
            origins: cors.origins.clone(),
            methods: list(cors.methods.iter().map(Method::as_str)),
            headers: match &cors.headers {
                Headers::Any => Allowed::Asked,
                only @ Headers::Only(_) => Allowed::These(names(only)),
            },
            expose: names(&cors.expose),
            credentials: cors.credentials,
            max_age: cors.max_age.map(|age| HeaderValue::from(age.as_secs())),
        }
    }

    /// Writes the headers of the answer to a preflight.
    pub(super) fn preflight(&self, request: &HeaderMap, response: &mut HeaderMap) {
        const ASKED: &str = "origin, access-control-request-method, access-control-request-headers";
        response.insert(header::VARY, HeaderValue::from_static(ASKED));
        if !self.allow_origin(request.get(header::ORIGIN), response) {
            return;
        }
        let headers = match &self.headers {
            Allowed::Asked => request.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
            Allowed::These(names) => names.clone(),
        };
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone()),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, headers),
            (header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone()),
        ] {
            if let Some(value) = value {
                response.insert(name, value);
            }
        }
    }

    /// Writes the headers of an answer to a request that is no preflight, in the place of the
    /// function's own.
    pub(super) fn decorate(&self, origin: Option<&HeaderValue>, response: &mut HeaderMap) {
        response.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        response.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        response.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
        if matches!(self.origins, Origins::Only(_)) {
            // Also where no origin asks: a cache would give this answer to one that does.
            vary_by_origin(response);
        }
        if self.allow_origin(origin, response)
            && let Some(expose) = &self.expose
        {
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    /// Says that the origin may read the response, if it may.
    fn allow_origin(&self, origin: Option<&HeaderValue>, response: &mut HeaderMap) -> bool {
        let Some(origin) = origin else { return false };
        if !origin.to_str().is_ok_and(|origin| self.origins.allow(origin)) {
            return false;
        }
        let value = match self.origins {
            Origins::Any => HeaderValue::from_static("*"),
            Origins::Only(_) => origin.clone(),
        };
        response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
        if self.credentials {
            let name = header::ACCESS_CONTROL_ALLOW_CREDENTIALS;
            response.insert(name, HeaderValue::from_static("true"));
        }
        true
    }
}

/// Whether a request asks what it may do, and is to be answered here: the method that it asks for.
pub(super) fn preflight_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

/// Tokens as a header's value; none if there are none.
fn list<'a>(tokens: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let tokens: Vec<&str> = tokens.collect();
    HeaderValue::from_str(&tokens.join(", ")).ok().filter(|_| !tokens.is_empty())
}

fn vary_by_origin(headers: &mut HeaderMap) {
    let varies = headers.get_all(header::VARY).iter().any(|line| {
        let mut names = line.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"))
    });
    if !varies {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use lacewing_base::fields::testing::lines;

    fn shared_with(origins: &[&str]) -> lacewing_base::Cors {
        let origins = match origins {
            ["*"] => Origins::Any,
            some => Origins::Only(some.iter().map(|origin| origin.parse().unwrap()).collect()),
        };
        lacewing_base::Cors {
            origins,
            methods: vec![Method::GET, Method::PUT],
            headers: Headers::Only(Vec::new()),
            expose: Headers::Only(Vec::new()),
            credentials: false,
            max_age: None,
        }
    }

    fn names(names: &[&str]) -> Headers {
        Headers::Only(names.iter().map(|name| name.parse().unwrap()).collect())
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    fn decorated(
        cors: &lacewing_base::Cors,
        origin: Option<&'static str>,
        own: &[(&'static str, &'static str)],
    ) -> Vec<String> {
        let mut response = headers(own);
        let origin = origin.map(HeaderValue::from_static);
        Cors::new(cors).decorate(origin.as_ref(), &mut response);
        lines(&response)
    }

    #[test]
    fn a_preflight_lists_methods_and_headers() {
        let request = headers(&[
            ("origin", "https://a.com"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-a, authorization"),
        ]);
        assert_eq!(preflight_method(&Method::OPTIONS, &request), Some(Method::PUT));
        assert_eq!(preflight_method(&Method::GET, &request), None);
        let preflight = |cors: &lacewing_base::Cors| {
            let mut response = HeaderMap::new();
            Cors::new(cors).preflight(&request, &mut response);
            lines(&response)
        };
        let vary = "vary: origin, access-control-request-method, access-control-request-headers";
        assert_eq!(
            preflight(&shared_with(&["https://a.com"])),
            [
                "access-control-allow-methods: GET, PUT",
                "access-control-allow-origin: https://a.com",
                vary,
            ]
        );
        let more = lacewing_base::Cors {
            headers: names(&["x-a", "x-b"]),
            credentials: true,
            max_age: Some(Duration::from_mins(10)),
            ..shared_with(&["https://a.com"])
        };
        assert_eq!(
            preflight(&more),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: x-a, x-b",
                "access-control-allow-methods: GET, PUT",
                "access-control-allow-origin: https://a.com",
                "access-control-max-age: 600",
                vary,
            ]
        );
        assert_eq!(preflight(&shared_with(&["https://b.com"])), [vary]);
        let any = lacewing_base::Cors { headers: Headers::Any, ..shared_with(&["*"]) };
        assert_eq!(
            preflight(&any),
            [
                "access-control-allow-headers: x-a, authorization",
                "access-control-allow-methods: GET, PUT",
                "access-control-allow-origin: *",
                vary,
            ]
        );
    }

    #[test]
    fn responses_are_decorated_in_the_place_of_the_functions_own_words() {
        let some =
            lacewing_base::Cors { expose: names(&["x-sum"]), ..shared_with(&["https://a.com"]) };
        let own = [("access-control-allow-origin", "*"), ("vary", "accept")];
        assert_eq!(
            decorated(&some, Some("https://a.com"), &own),
            [
                "access-control-allow-origin: https://a.com",
                "access-control-expose-headers: x-sum",
                "vary: accept",
                "vary: origin"
            ]
        );
        assert_eq!(decorated(&some, Some("https://b.com"), &own), ["vary: accept", "vary: origin"]);
        assert_eq!(decorated(&some, None, &[("vary", "Accept, Origin")]), ["vary: Accept, Origin"]);
        let all = lacewing_base::Cors { expose: Headers::Any, ..shared_with(&["*"]) };
        assert_eq!(
            decorated(&all, Some("null"), &[]),
            ["access-control-allow-origin: *", "access-control-expose-headers: *"]
        );
        assert!(decorated(&all, None, &own[..1]).is_empty());
    }
}
