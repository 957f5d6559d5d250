//! Cross-origin resource sharing as configuration (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! A route with a [`Cors`] has its preflights answered and its responses decorated here; its function never
//! sees a preflight, and what it says itself about sharing is replaced.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::route::host_key;

/// What a route shares with which origins. Made by [`Cors::new`], which refuses what browsers would not accept.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Origins,
    /// The value of `Access-Control-Allow-Methods`; none: those that the path serves.
    methods: Option<HeaderValue>,
    /// The value of `Access-Control-Allow-Headers`; none: those that the preflight asks for.
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

/// What the manifest says about sharing, unchecked.
#[derive(Clone, Debug, Default)]
pub struct CorsConfig {
    /// Origins such as `https://app.example.com`, wildcards such as `https://*.example.com`, or only `*`.
    pub origins: Vec<String>,
    /// Methods that may be used. None: those that the path serves.
    pub methods: Vec<Method>,
    /// Request headers that may be sent. None, or `*`: any.
    pub headers: Vec<String>,
    /// Response headers that scripts may read, besides the few that they always may.
    pub expose: Vec<String>,
    /// Whether cookies and authorization may be sent.
    pub credentials: bool,
    /// How long a browser may remember a preflight.
    pub max_age: Duration,
}

/// Why a configuration cannot be used. Displays as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCors {
    /// Nothing is shared.
    #[error(
        "cors names no origins; name some, such as \"https://app.example.com\", or leave cors out"
    )]
    NoOrigins,
    /// Not an origin.
    #[error(
        "{origin:?} is not an origin: a scheme and a host, with a port where it is not the usual one, as in \"https://app.example.com\"; no path and no slash at the end"
    )]
    Origin {
        /// The text at fault.
        origin: String,
    },
    /// Credentials for everyone, which browsers refuse.
    #[error("cors cannot share credentials with every origin: name the origins instead of \"*\"")]
    CredentialsForAll,
    /// Not a header's name.
    #[error("{name:?} is not a header's name")]
    Header {
        /// The text at fault.
        name: String,
    },
}

#[derive(Clone, Debug)]
enum Origins {
    All,
    These(Vec<Origin>),
}

/// An origin in lower case; or the parts before and after the `*` of a wildcard.
#[derive(Clone, Debug)]
enum Origin {
    Exact(String),
    Below { scheme: String, suffix: String },
}

impl Cors {
    /// Checks a configuration.
    pub fn new(config: &CorsConfig) -> Result<Cors, BadCors> {
        let origins = match config.origins.as_slice() {
            [] => return Err(BadCors::NoOrigins),
            all if all.iter().any(|origin| origin == "*") => Origins::All,
            some => Origins::These(some.iter().map(|o| parse_origin(o)).collect::<Result<_, _>>()?),
        };
        if config.credentials && matches!(origins, Origins::All) {
            return Err(BadCors::CredentialsForAll);
        }
        let any_header = config.headers.is_empty() || config.headers.iter().any(|h| h == "*");
        let methods: Vec<&str> = config.methods.iter().map(Method::as_str).collect();
        Ok(Cors {
            origins,
            methods: list(&methods),
            headers: if any_header { None } else { header_list(&config.headers)? },
            expose: header_list(&config.expose)?,
            credentials: config.credentials,
            max_age: HeaderValue::from(config.max_age.as_secs()),
        })
    }

    /// Writes the headers of the answer to a preflight. `allow` are the methods that the path serves.
    pub(super) fn preflight(&self, request: &HeaderMap, allow: &str, response: &mut HeaderMap) {
        const ASKED: &str = "origin, access-control-request-method, access-control-request-headers";
        response.insert(header::VARY, HeaderValue::from_static(ASKED));
        if !self.allow_origin(request.get(header::ORIGIN), response) {
            return;
        }
        let methods = self.methods.clone().or_else(|| HeaderValue::from_str(allow).ok());
        if let Some(methods) = methods {
            response.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        let asked = || request.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        if let Some(headers) = self.headers.clone().or_else(asked) {
            response.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers);
        }
        response.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
    }

    /// Writes the headers of an answer to a request that is no preflight, in the place of the function's own.
    pub(super) fn decorate(&self, origin: Option<&HeaderValue>, response: &mut HeaderMap) {
        response.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        response.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        response.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
        if matches!(self.origins, Origins::These(_)) {
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
        let value = match &self.origins {
            Origins::All => HeaderValue::from_static("*"),
            Origins::These(these) if these.iter().any(|this| this.is(origin)) => origin.clone(),
            Origins::These(_) => return false,
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

impl Origin {
    fn is(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        match self {
            Origin::Exact(exact) => origin == exact,
            Origin::Below { scheme, suffix } => origin
                .strip_prefix(scheme.as_str())
                .and_then(|host| host.strip_suffix(suffix.as_str()))
                .is_some_and(|name| {
                    let in_name = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
                    !name.is_empty() && name.bytes().all(in_name)
                }),
        }
    }
}

fn parse_origin(text: &str) -> Result<Origin, BadCors> {
    let bad = || BadCors::Origin { origin: text.to_owned() };
    let lower = text.to_ascii_lowercase();
    let (scheme, host) = lower.split_once("://").ok_or_else(bad)?;
    let scheme_char = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    let usual_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_lowercase()) && scheme.bytes().all(scheme_char);
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_host = host_key(name).is_some() && !name.ends_with(['.', ':']);
    if !is_scheme || !is_host || (!usual_port.is_empty() && host.ends_with(usual_port)) {
        return Err(bad());
    }
    Ok(match host.strip_prefix('*') {
        Some(suffix) => Origin::Below { scheme: format!("{scheme}://"), suffix: suffix.to_owned() },
        None => Origin::Exact(lower),
    })
}

fn header_list(names: &[String]) -> Result<Option<HeaderValue>, BadCors> {
    for name in names {
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(BadCors::Header { name: name.clone() });
        }
    }
    Ok(list(&names.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// Tokens as a header's value; none if there are none.
fn list(tokens: &[&str]) -> Option<HeaderValue> {
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
    use super::*;

    fn config(origins: &[&str]) -> CorsConfig {
        CorsConfig {
            origins: origins.iter().map(ToString::to_string).collect(),
            max_age: Duration::from_mins(10),
            ..CorsConfig::default()
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    fn decorated(
        config: &CorsConfig,
        origin: Option<&'static str>,
        own: &[(&'static str, &'static str)],
    ) -> Vec<String> {
        let mut response = headers(own);
        let origin = origin.map(HeaderValue::from_static);
        Cors::new(config).unwrap().decorate(origin.as_ref(), &mut response);
        lines(&response)
    }

    #[test]
    fn a_preflight_names_what_is_shared() {
        let request = headers(&[
            ("origin", "https://a.com"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-a, authorization"),
        ]);
        assert_eq!(preflight_method(&Method::OPTIONS, &request), Some(Method::PUT));
        assert_eq!(preflight_method(&Method::GET, &request), None);
        let mut response = HeaderMap::new();
        Cors::new(&config(&["https://a.com"])).unwrap().preflight(
            &request,
            "PUT, OPTIONS",
            &mut response,
        );
        assert_eq!(
            lines(&response),
            [
                "access-control-allow-headers: x-a, authorization",
                "access-control-allow-methods: PUT, OPTIONS",
                "access-control-allow-origin: https://a.com",
                "access-control-max-age: 600",
                "vary: origin, access-control-request-method, access-control-request-headers",
            ]
        );
        let given = CorsConfig {
            methods: vec![Method::GET, Method::PUT],
            headers: vec!["X-A".to_owned()],
            credentials: true,
            ..config(&["https://a.com"])
        };
        let mut response = HeaderMap::new();
        Cors::new(&given).unwrap().preflight(&request, "PUT, OPTIONS", &mut response);
        assert_eq!(response["access-control-allow-methods"], "GET, PUT");
        assert_eq!(response["access-control-allow-headers"], "X-A");
        assert_eq!(response["access-control-allow-credentials"], "true");
        let mut response = HeaderMap::new();
        Cors::new(&config(&["https://b.com"])).unwrap().preflight(&request, "PUT", &mut response);
        assert_eq!(
            lines(&response),
            ["vary: origin, access-control-request-method, access-control-request-headers"]
        );
    }

    #[test]
    fn responses_are_decorated_in_the_place_of_the_functions_own_words() {
        let some = CorsConfig { expose: vec!["x-sum".to_owned()], ..config(&["https://a.com"]) };
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
        let all = config(&["*"]);
        assert_eq!(decorated(&all, Some("null"), &[]), ["access-control-allow-origin: *"]);
        assert!(decorated(&all, None, &own[..1]).is_empty());
    }

    #[test]
    fn origins_match_as_wholes() {
        let cors = config(&["https://*.a.com:8443", "HTTP://localhost:3000", "app://x"]);
        for (origin, shared) in [
            ("https://x.a.com:8443", true),
            ("https://x.y.a.com:8443", true),
            ("https://a.com:8443", false),
            ("https://.a.com:8443", false),
            ("https://evil.com/x.a.com:8443", false),
            ("https://x.a.com", false),
            ("http://x.a.com:8443", false),
            ("http://localhost:3000", true),
            ("http://localhost:30000", false),
            ("app://x", true),
            ("null", false),
        ] {
            let found = decorated(&cors, Some(origin), &[]);
            assert_eq!(
                found.contains(&format!("access-control-allow-origin: {origin}")),
                shared,
                "{origin}"
            );
        }
    }

    #[test]
    fn what_browsers_would_not_accept_is_refused() {
        let error = |config: CorsConfig| Cors::new(&config).unwrap_err().to_string();
        assert_eq!(
            error(config(&[])),
            "cors names no origins; name some, such as \"https://app.example.com\", or leave cors out"
        );
        for bad in [
            "a.com",
            "https://a.com/",
            "https://a.com:443",
            "https://",
            "https://a.com.",
            "https://a.*.com",
            "null",
            "https://u@a.com",
        ] {
            assert_eq!(
                error(config(&[bad])),
                format!(
                    "{bad:?} is not an origin: a scheme and a host, with a port where it is not the usual one, as in \"https://app.example.com\"; no path and no slash at the end"
                )
            );
        }
        assert_eq!(
            error(CorsConfig { credentials: true, ..config(&["*"]) }),
            "cors cannot share credentials with every origin: name the origins instead of \"*\""
        );
        assert_eq!(
            error(CorsConfig { expose: vec!["a b".to_owned()], ..config(&["*"]) }),
            "\"a b\" is not a header's name"
        );
    }
}
