//! Routes: which requests a function answers.
//!
//! # Patterns
//! A pattern begins with a slash. Each of its segments is a literal, or a parameter: `{name}` takes
//! one segment, which is not empty, and `{*name}`, at the end only, takes all the rest of the path,
//! which may be empty. So `/files/{*rest}` answers `/files/`, with an empty `rest`, and everything
//! below it, but not `/files`. Nothing is guessed about slashes at the end: `/users` and `/users/`
//! are two paths, and `/users/{id}` answers neither.
//!
//! Where several patterns fit a path, the first segment in which they differ decides: a literal is
//! taken before a parameter. `/files/` is thus taken before `/files/{*rest}`.
//!
//! # Paths
//! Patterns and the paths of requests are brought to one form, the *canonical* one, before they are
//! compared, byte by byte: each byte that may stand in a path (RFC 3986's `pchar`) stands for
//! itself, and every other is `%XX` with upper-case digits. So `/caf%C3%A9`, `/caf%c3%a9` and a
//! manifest's `/café` are the same, and so are `/%40me` and `/@me`, while an encoded slash, `%2F`,
//! is part of a segment and never divides two. Parameters are decoded after matching, once, so that
//! one of them may hold a slash.
//!
//! A request whose path has a segment `.` or `..`, even encoded, is refused, because two readers of
//! such a path can take it for two places; so is one whose `{*rest}` decodes to such a path, and
//! one whose parameters are no UTF-8. Repeated slashes are not merged: an empty segment of a
//! request's path fits only within `{*rest}`, or at the end of a pattern that ends in a slash.

mod canonical;
mod clash;
mod methods;
mod set;

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use http::Method;

pub use self::{
    canonical::{InvalidPath, canonical_path, decode_parameter},
    clash::{Clash, Clashes},
    methods::Methods,
    set::RouteSet,
};
use crate::HostPattern;

/// The longest route pattern, in bytes of its canonical form.
pub const MAX_ROUTE_BYTES: usize = 1024;

/// The most parameters in one route pattern: `matchit` names them by the letters of the alphabet.
pub const MAX_ROUTE_PARAMETERS: usize = 16;

/// One route of a function.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Route {
    /// The pattern of the path.
    pub path: RoutePath,
    /// The methods.
    pub methods: Methods,
    /// The host names; `None` is every host name of the tenant.
    pub host: Option<HostPattern>,
}

impl fmt::Display for Route {
    /// As in `GET,POST api.example.com/users/{id}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Methods::Only(methods) = &self.methods {
            let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
            write!(f, "{} ", methods.join(","))?;
        }
        if let Some(host) = &self.host {
            write!(f, "{host}")?;
        }
        write!(f, "{}", self.path)
    }
}

/// The pattern of a path, in canonical form. The module's documentation has its syntax.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RoutePath {
    pattern: Arc<str>,
}

impl RoutePath {
    /// The pattern, its literals in canonical form.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// The same text, shared.
    pub fn to_shared(&self) -> Arc<str> {
        Arc::clone(&self.pattern)
    }

    /// Whether its last parameter takes all the rest of a path.
    pub fn takes_rest(&self) -> bool {
        self.segments().last().is_some_and(|last| matches!(last, Segment::Rest(_)))
    }

    /// The names of the parameters, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::One(name) | Segment::Rest(name) => Some(name),
        })
    }

    /// The pattern with its parameters named by their number, as in `/users/{0}/{*1}`, which is
    /// `matchit`'s syntax: equal for patterns that fit the same paths.
    /// [`RoutePath::parameters`] has the names, in the same order.
    pub fn shape(&self) -> String {
        let mut shape = String::with_capacity(self.pattern.len());
        let mut numbers = 0..;
        for segment in self.segments() {
            shape.push('/');
            match segment {
                Segment::Literal(text) => shape.push_str(text),
                Segment::One(_) => {
                    shape.extend(numbers.next().map(|number: usize| format!("{{{number}}}")))
                }
                Segment::Rest(_) => {
                    shape.extend(numbers.next().map(|number| format!("{{*{number}}}")))
                }
            }
        }
        shape
    }

    fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.pattern.split('/').skip(1).map(Segment::of)
    }
}

enum Segment<'a> {
    Literal(&'a str),
    One(&'a str),
    Rest(&'a str),
}

impl Segment<'_> {
    fn of(text: &str) -> Segment<'_> {
        match text.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => name.strip_prefix('*').map_or(Segment::One(name), Segment::Rest),
            None => Segment::Literal(text),
        }
    }
}

impl fmt::Display for RoutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl fmt::Debug for RoutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.pattern)
    }
}

crate::text_form::serde_as_text!(RoutePath);

/// Why a text is no route pattern. Displays as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a route: {reason}")]
pub struct InvalidRoute {
    pattern: String,
    reason: String,
    /// The remedy, where there is something particular.
    pub help: Option<String>,
}

type Refusal = (String, Option<String>);

impl FromStr for RoutePath {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<RoutePath, InvalidRoute> {
        parse(text).map_err(|(reason, help)| InvalidRoute {
            pattern: text.to_owned(),
            reason,
            help,
        })
    }
}

fn parse(text: &str) -> Result<RoutePath, Refusal> {
    let Some(segments) = text.strip_prefix('/') else {
        return Err(("it does not begin with a slash".to_owned(), begun(text)));
    };
    // A canonical byte is written as three at the most. A longer text is not looked at.
    if text.len() > 3 * MAX_ROUTE_BYTES {
        return Err((format!("it is longer than {MAX_ROUTE_BYTES} bytes"), None));
    }
    if let Some(at) = text.find(['?', '#']) {
        let help = format!("write `{}`; a function sees the query of every request", &text[..at]);
        return Err(("a route is a path without query or fragment".to_owned(), Some(help)));
    }
    let segments: Vec<&str> = segments.split('/').collect();
    let mut pattern = String::with_capacity(text.len());
    let mut names: Vec<&str> = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        pattern.push('/');
        if segment.is_empty() && !last {
            return Err((
                "it has an empty segment".to_owned(),
                Some("write one slash between segments".to_owned()),
            ));
        }
        match parameter(segment, last)? {
            Some(name) if names.contains(&name) => {
                return Err((format!("it has two parameters named `{name}`"), None));
            }
            Some(name) => {
                names.push(name);
                pattern.push_str(segment);
            }
            None => pattern.push_str(&literal(segment)?),
        }
    }
    if names.len() > MAX_ROUTE_PARAMETERS {
        return Err((format!("it has more than {MAX_ROUTE_PARAMETERS} parameters"), None));
    }
    if pattern.len() > MAX_ROUTE_BYTES {
        return Err((format!("it is longer than {MAX_ROUTE_BYTES} bytes"), None));
    }
    Ok(RoutePath { pattern: pattern.into() })
}

/// The right form of text that does not begin with a slash. Other routers have methods before the
/// path: `GET /hello`.
fn begun(text: &str) -> Option<String> {
    let is_method = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase());
    match text.split_once(char::is_whitespace) {
        Some((methods, path)) if methods.split([',', '|']).all(is_method) => {
            let methods: Vec<&str> = methods.split([',', '|']).collect();
            let path = path.trim_start();
            Some(format!("write `{{ path = {path:?}, methods = {methods:?} }}`"))
        }
        _ => (!text.contains("://")).then(|| format!("write `/{text}`")),
    }
}

/// Whether it can be the name of a parameter.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The name of the parameter that a segment is, if it is one.
fn parameter(segment: &str, last: bool) -> Result<Option<&str>, Refusal> {
    if !segment.contains(['{', '}']) {
        return Ok(None);
    }
    let Some(inner) = segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) else {
        let half = segment.strip_prefix('{').or_else(|| segment.strip_suffix('}'));
        let help = match half.filter(|name| is_name(name)) {
            Some(name) => format!("write `{{{name}}}`"),
            None => "write a literal brace as `%7B` or `%7D`".to_owned(),
        };
        return Err(("a parameter, as in `{id}`, takes a whole segment".to_owned(), Some(help)));
    };
    let name = inner.strip_prefix('*').unwrap_or(inner);
    if name.len() < inner.len() && !last {
        return Err((
            format!("`{{*{name}}}` takes all the rest, so that nothing can follow it"),
            None,
        ));
    }
    if !is_name(name) {
        let reason =
            format!("a parameter's name takes ASCII letters, digits and `_`, and {name:?} is none");
        return Err((
            reason,
            Some("write it as in `{id}`, or `{*rest}` for all the rest".to_owned()),
        ));
    }
    Ok(Some(name))
}

/// The right form of a segment that means a parameter to other routers.
fn other_routers(segment: &str) -> Option<String> {
    if segment == "..." {
        let help = "write `{*rest}` for all the rest of the path, `%2E%2E%2E` for literal dots";
        return Some(help.to_owned());
    }
    let within = |open: char, close: char| {
        segment.strip_prefix(open)?.strip_suffix(close).filter(|name| is_name(name))
    };
    let name = segment.strip_prefix(':').filter(|name| !name.is_empty());
    let name = name.or_else(|| within('<', '>')).or_else(|| within('[', ']'))?;
    Some(format!("write a parameter as `{{{name}}}`"))
}

/// The canonical form of a literal segment.
fn literal(segment: &str) -> Result<Cow<'_, str>, Refusal> {
    if let Some(right) = other_routers(segment) {
        return Err((format!("`{segment}` is a literal here"), Some(right)));
    }
    if segment.contains('*') {
        let help = "write `{*rest}` for all the rest of the path, `{name}` for one segment, `%2A` for a literal star";
        return Err(("`*` is allowed only inside a parameter".to_owned(), Some(help.to_owned())));
    }
    if let Some(c) = segment.chars().find(|c| c.is_control()) {
        return Err((format!("it has the control character {c:?}"), None));
    }
    let literal = canonical::encoded(segment).map_err(|_| {
        let help = "write a literal percent sign as `%25`".to_owned();
        ("a percent sign is not followed by two hexadecimal digits".to_owned(), Some(help))
    })?;
    match canonical::refuse_dot_segments(&literal) {
        Ok(()) => Ok(literal),
        Err(_) => Err(("clients resolve `.` and `..` before they send a request".to_owned(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RoutePath {
        text.parse().unwrap()
    }

    #[test]
    fn literals_are_canonical() {
        let canonical = [
            ("/", "/"),
            ("/a/b/", "/a/b/"),
            ("/café", "/caf%C3%A9"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/%7Euser", "/~user"),
            ("/a b", "/a%20b"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2Ab", "/a*b"),
            ("/%7Bid%7D", "/%7Bid%7D"),
            ("/v1:go,(x)@", "/v1:go,(x)@"),
            ("/users/{id}/{*rest}", "/users/{id}/{*rest}"),
            ("/....", "/...."),
            ("/%2e%2E%2e", "/..."),
        ];
        for (text, expected) in canonical {
            assert_eq!(path(text).as_str(), expected);
        }
    }

    #[test]
    fn parameters_and_shape() {
        let route = path("/users/{id}/files/{*rest}");
        assert_eq!(route.parameters().collect::<Vec<_>>(), ["id", "rest"]);
        assert_eq!(route.shape(), "/users/{0}/files/{*1}");
        assert!(route.takes_rest() && path("/{*all}").takes_rest());
        assert!(!path("/{id}").takes_rest() && !path("/").takes_rest());
        assert_eq!(path("/a").shape(), "/a");
    }

    #[test]
    fn patterns_of_other_routers_have_advice_that_is_right() {
        for (text, reason, help) in [
            (
                "GET /hello",
                "it does not begin with a slash",
                r#"write `{ path = "/hello", methods = ["GET"] }`"#,
            ),
            (
                "GET,POST  /a b",
                "it does not begin with a slash",
                r#"write `{ path = "/a b", methods = ["GET", "POST"] }`"#,
            ),
            ("Get /hello", "it does not begin with a slash", "write `/Get /hello`"),
            (
                "/files/...",
                "`...` is a literal here",
                "write `{*rest}` for all the rest of the path, `%2E%2E%2E` for literal dots",
            ),
            ("/a/:id/b", "`:id` is a literal here", "write a parameter as `{id}`"),
            ("/a/<id>", "`<id>` is a literal here", "write a parameter as `{id}`"),
            ("/a/[id]", "`[id]` is a literal here", "write a parameter as `{id}`"),
        ] {
            let error = text.parse::<RoutePath>().unwrap_err();
            assert_eq!((error.reason.as_str(), error.help.as_deref()), (reason, Some(help)));
        }
    }

    #[test]
    fn bounds() {
        let segments = |count: usize| (0..count).map(|n| format!("/{{p{n}}}")).collect::<String>();
        assert!(segments(MAX_ROUTE_PARAMETERS).parse::<RoutePath>().is_ok());
        let error = segments(MAX_ROUTE_PARAMETERS + 1).parse::<RoutePath>().unwrap_err();
        assert!(
            error.to_string().ends_with("is not a route: it has more than 16 parameters"),
            "{error}"
        );
        let long = |length: usize| format!("/{}", "a".repeat(length - 1)).parse::<RoutePath>();
        assert!(long(MAX_ROUTE_BYTES).is_ok());
        let error = long(MAX_ROUTE_BYTES + 1).unwrap_err();
        assert!(error.to_string().ends_with("is not a route: it is longer than 1024 bytes"));
    }

    #[test]
    fn an_invalid_pattern_has_a_reason() {
        for (text, reason) in [
            ("users", "it does not begin with a slash"),
            ("/{1a}", "a parameter's name takes ASCII letters, digits and `_`, and \"1a\" is none"),
            ("/a/{*}", "a parameter's name takes ASCII letters, digits and `_`, and \"\" is none"),
            ("/a{b}", "a parameter, as in `{id}`, takes a whole segment"),
            ("/a#b", "a route is a path without query or fragment"),
            ("/a\u{7f}b", "it has the control character '\\u{7f}'"),
            ("//", "it has an empty segment"),
            ("/a/.", "clients resolve `.` and `..` before they send a request"),
            ("/%2e%2E/b", "clients resolve `.` and `..` before they send a request"),
        ] {
            let error = text.parse::<RoutePath>().unwrap_err().to_string();
            assert_eq!(error, format!("{text:?} is not a route: {reason}"));
        }
    }
}
