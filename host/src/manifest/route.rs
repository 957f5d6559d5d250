//! Routes: which requests a function answers.
//!
//! # How paths are compared
//! Patterns and the paths of requests are brought to one form, the *canonical* one, before they are compared: each
//! byte that may stand in a path (RFC 3986's `pchar`) stands for itself, and every other is `%XX` with upper-case
//! digits. So `/caf%C3%A9`, `/caf%c3%a9` and a manifest's `/café` are the same, and so are `/%7Euser` and `/~user`,
//! while an encoded slash, `%2F`, is part of a segment and never divides two. Parameters are decoded after matching, so
//! that one of them may hold a slash. Dot segments and repeated slashes are not resolved: they match only a
//! parameter.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use http::Method;

use super::{HostPattern, Place};

/// The longest route pattern, in bytes of its canonical form.
pub const MAX_ROUTE_BYTES: usize = 1024;

/// The most parameters in one route pattern: `matchit` names them by the letters of the alphabet.
pub const MAX_ROUTE_PARAMETERS: usize = 16;

/// One route of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The pattern of the path.
    pub path: RoutePath,
    /// The methods.
    pub methods: Methods,
    /// The host names; `None` is every host name of the tenant.
    pub host: Option<HostPattern>,
    /// Where the route is written.
    pub place: Place,
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

/// The methods of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Every method.
    Any,
    /// These methods: at least one, each once, in the order of the manifest.
    Only(Vec<Method>),
}

impl Methods {
    /// Whether `method` is one of them.
    pub fn contains(&self, method: &Method) -> bool {
        match self {
            Methods::Any => true,
            Methods::Only(methods) => methods.contains(method),
        }
    }

    /// Whether some method is in both.
    pub fn overlap(&self, other: &Methods) -> bool {
        match (self, other) {
            (Methods::Any, _) | (_, Methods::Any) => true,
            (Methods::Only(methods), other) => methods.iter().any(|method| other.contains(method)),
        }
    }
}

/// The pattern of a path: literal segments, `{name}` for one segment, and at the end `{*name}` for all the rest.
///
/// A parameter stands for at least one character. A pattern that ends in a slash is another than the one without.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RoutePath {
    pattern: Arc<str>,
}

impl RoutePath {
    /// The pattern in `matchit`'s syntax, its literals in canonical form.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// For a pattern that ends in `/{*rest}`, the pattern without it (ending in the slash), which the route should
    /// answer too unless another route has it: `/files/{*rest}` is meant for `/files/`, which `matchit` leaves out.
    pub fn empty_rest(&self) -> Option<&str> {
        let (before, last) = self.pattern.rsplit_once('/')?;
        last.starts_with("{*").then(|| &self.pattern[..=before.len()])
    }

    /// The names of the parameters, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::One(name) | Segment::Rest(name) => Some(name),
        })
    }

    /// The pattern with its parameters named by their number, as in `/users/{0}/{*1}`: still `matchit`'s syntax, and
    /// equal for patterns that match the same paths, so that routes which differ in their methods can share an entry
    /// of a router. [`RoutePath::parameters`] has the names, in the same order.
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

/// Why a text is no route pattern. Displays as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a route: {reason}")]
pub struct InvalidRoute {
    pattern: String,
    reason: String,
    /// What would be right, where there is something particular.
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
        let help = (!text.contains("://")).then(|| format!("write `/{text}`"));
        return Err(("it does not begin with a slash".to_owned(), help));
    };
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

/// The name of the parameter that a segment is, if it is one.
fn parameter(segment: &str, last: bool) -> Result<Option<&str>, Refusal> {
    if !segment.contains(['{', '}']) {
        return Ok(None);
    }
    let Some(inner) = segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) else {
        let help = "write a literal brace as `%7B` or `%7D`".to_owned();
        return Err(("a parameter, as in `{id}`, takes a whole segment".to_owned(), Some(help)));
    };
    let name = inner.strip_prefix('*').unwrap_or(inner);
    if name.len() < inner.len() && !last {
        return Err((
            format!("`{{*{name}}}` takes all the rest, so that nothing can follow it"),
            None,
        ));
    }
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        let reason =
            format!("a parameter's name takes ASCII letters, digits and `_`, and {name:?} is none");
        return Err((
            reason,
            Some("write it as in `{id}`, or `{*rest}` for all the rest".to_owned()),
        ));
    }
    Ok(Some(name))
}

/// The canonical form of a literal segment.
fn literal(segment: &str) -> Result<Cow<'_, str>, Refusal> {
    if let Some(name) = segment.strip_prefix(':').filter(|name| !name.is_empty()) {
        return Err((
            format!("`:{name}` is a literal here"),
            Some(format!("write a parameter as `{{{name}}}`")),
        ));
    }
    if segment.contains('*') {
        let help = "write `{*rest}` for all the rest of the path, `{name}` for one segment, `%2A` for a literal star";
        return Err(("a star stands in a parameter only".to_owned(), Some(help.to_owned())));
    }
    if matches!(segment, "." | "..") {
        return Err(("clients resolve `.` and `..` before they send a request".to_owned(), None));
    }
    if let Some(c) = segment.chars().find(|c| c.is_control()) {
        return Err((format!("it has the control character {c:?}"), None));
    }
    canonical_path(segment).map_err(|error| {
        let help = "write a literal percent sign as `%25`".to_owned();
        (error.to_string(), Some(help))
    })
}

/// Why a request's path cannot be compared or decoded: answered as a bad request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// A percent sign without two hexadecimal digits after it.
    #[error("a percent sign is not followed by two hexadecimal digits")]
    Percent,
    /// What a parameter stands for, decoded, is no text.
    #[error("the percent-encoding is not of UTF-8 text")]
    NotUtf8,
}

/// The canonical form of a path as it came in a request, or of a part of it. Borrows where it is canonical already,
/// as nearly all are.
///
/// # Errors
/// [`InvalidPath::Percent`].
pub fn canonical_path(path: &str) -> Result<Cow<'_, str>, InvalidPath> {
    let bytes = path.as_bytes();
    let Some(first) = bytes.iter().position(|byte| !is_literal(*byte)) else {
        return Ok(Cow::Borrowed(path));
    };
    let mut canonical = String::with_capacity(path.len() + 8);
    canonical.push_str(&path[..first]);
    let mut at = first;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte == b'%' {
            let decoded = hex_pair(bytes.get(at..at + 2)).ok_or(InvalidPath::Percent)?;
            at += 2;
            // A slash that was encoded stays so: it does not divide segments.
            push(&mut canonical, decoded, decoded != b'/');
        } else {
            push(&mut canonical, byte, true);
        }
    }
    Ok(Cow::Owned(canonical))
}

/// What a parameter stands for, decoded.
///
/// # Errors
/// [`InvalidPath::NotUtf8`].
pub fn decode_parameter(value: &str) -> Result<Cow<'_, str>, InvalidPath> {
    percent_encoding::percent_decode_str(value).decode_utf8().map_err(|_| InvalidPath::NotUtf8)
}

fn push(canonical: &mut String, byte: u8, may_be_literal: bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if may_be_literal && is_literal(byte) {
        canonical.push(char::from(byte));
    } else {
        let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        canonical.push('%');
        canonical.extend(digits.map(char::from));
    }
}

fn hex_pair(digits: Option<&[u8]>) -> Option<u8> {
    let value =
        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    match digits? {
        [high, low] => Some(value(*high)? << 4 | value(*low)?),
        _ => None,
    }
}

/// RFC 3986's `pchar` without the percent sign, and the slash.
fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
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
            ("/...", "/..."),
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
        assert_eq!(route.empty_rest(), Some("/users/{id}/files/"));
        assert_eq!(path("/{*all}").empty_rest(), Some("/"));
        assert_eq!(path("/{id}").empty_rest(), None);
        assert_eq!(path("/a").shape(), "/a");
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
    fn paths_of_requests() {
        assert!(matches!(canonical_path("/a/b-c_d.e~f!"), Ok(Cow::Borrowed("/a/b-c_d.e~f!"))));
        assert_eq!(canonical_path("/caf\u{e9}").unwrap(), "/caf%C3%A9");
        assert_eq!(canonical_path("/%ff%00").unwrap(), "/%FF%00");
        for wrong in ["/%", "/%4", "/%4g", "/%g4", "/%%41", "/%+1"] {
            assert_eq!(canonical_path(wrong), Err(InvalidPath::Percent), "{wrong}");
        }
        assert_eq!(decode_parameter("a%2Fb%20c").unwrap(), "a/b c");
        assert_eq!(decode_parameter("%FF"), Err(InvalidPath::NotUtf8));
        assert_eq!(InvalidPath::NotUtf8.to_string(), "the percent-encoding is not of UTF-8 text");
    }
}
