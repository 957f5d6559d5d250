//! Headers that concern one connection only, or only us, and responses that are none.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header,
    response::Parts as ResponseParts,
};

use super::{
    body::ResponseBody,
    respond::{BadInput, Problem},
};

/// What begins the names of headers that only the host may set.
const OWN_PREFIX: &str = "lacewing-";

/// Why a guest's response cannot be sent. Displays as a sentence for the function's owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// Not a final status.
    #[error("the response's status is {status}; it has to be 200 to 599")]
    Status {
        /// The guest's status.
        status: u16,
    },
    /// A header's name has characters that no name can have, or none at all.
    #[error(
        "the response's header name {name:?} is not valid: letters, digits and any of !#$%&'*+-.^_`|~"
    )]
    HeaderName {
        /// The name at fault, cut where it is long.
        name: String,
    },
    /// A header's value has characters that no value can have.
    #[error(
        "the value of the response's header {name:?} is not valid: it may not have line breaks or other control characters"
    )]
    HeaderValue {
        /// The header's name.
        name: String,
    },
    /// More header fields than the function may answer with.
    #[error("the response has more than {limit} header fields")]
    HeaderCount {
        /// How many it may have.
        limit: u32,
    },
    /// More header bytes than the function may answer with.
    #[error("the names and values of the response's header fields are more than {limit} bytes")]
    HeaderBytes {
        /// How many they may be.
        limit: u32,
    },
    /// A `content-length` that is no number, or not one number.
    #[error("the response's content-length is not one number of bytes")]
    ContentLength,
    /// A `content-length` that is not the body's.
    #[error(
        "the response's content-length says {said} bytes and its body has {is}; leave the header out and it is set"
    )]
    ContentLengthWrong {
        /// What the header says.
        said: u64,
        /// What the body has.
        is: u64,
    },
    /// A body larger than the function may answer with.
    #[error("the response's body is larger than {limit} bytes")]
    BodyTooLarge {
        /// How many bytes it may have.
        limit: u64,
    },
}

/// How many header fields, and bytes of their names and values, a message may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderLimits {
    /// Fields.
    pub count: u32,
    /// Bytes of all names and values together.
    pub bytes: u32,
}

impl HeaderLimits {
    fn count_exceeded(self, count: usize) -> bool {
        u32::try_from(count).map_or(true, |count| count > self.count)
    }

    fn bytes_exceeded(self, bytes: usize) -> bool {
        u32::try_from(bytes).map_or(true, |bytes| bytes > self.bytes)
    }

    /// Whether a request is within the limits, which are its function's; if not, 431.
    pub fn check_request(self, headers: &HeaderMap) -> Result<(), Problem> {
        let over =
            |detail: String| Err(Problem::bad_input(BadInput::HeaderTooLarge).detail(detail));
        if self.count_exceeded(headers.len()) {
            return over(format!("the request has more than {} header fields", self.count));
        }
        if self.bytes_exceeded(header_bytes(headers)) {
            return over(format!(
                "the names and values of the request's header fields are more than {} bytes",
                self.bytes
            ));
        }
        Ok(())
    }

    /// Whether a response is within the limits.
    pub fn check_response(self, headers: &HeaderMap) -> Result<(), BadResponse> {
        if self.count_exceeded(headers.len()) {
            return Err(BadResponse::HeaderCount { limit: self.count });
        }
        if self.bytes_exceeded(header_bytes(headers)) {
            return Err(BadResponse::HeaderBytes { limit: self.bytes });
        }
        Ok(())
    }
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Makes a response's header out of what a guest returned as plain records.
pub fn response_parts<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    status: u16,
    fields: impl IntoIterator<Item = (N, V), IntoIter: ExactSizeIterator>,
    limits: HeaderLimits,
) -> Result<ResponseParts, BadResponse> {
    let fields = fields.into_iter();
    if limits.count_exceeded(fields.len()) {
        return Err(BadResponse::HeaderCount { limit: limits.count });
    }
    let mut headers = HeaderMap::with_capacity(fields.len() + 2);
    let mut bytes = 0;
    for (name, value) in fields {
        let (name, value) = (name.as_ref(), value.as_ref());
        bytes += name.len() + value.len();
        if limits.bytes_exceeded(bytes) {
            return Err(BadResponse::HeaderBytes { limit: limits.bytes });
        }
        let Ok(valid_name) = HeaderName::from_bytes(name) else {
            return Err(BadResponse::HeaderName { name: shown(name) });
        };
        let Ok(valid_value) = HeaderValue::from_bytes(value) else {
            return Err(BadResponse::HeaderValue { name: shown(name) });
        };
        headers.append(valid_name, valid_value);
    }
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(status).map_err(|_| BadResponse::Status { status })?;
    parts.headers = headers;
    Ok(parts)
}

/// The first characters of a name that may be anything.
fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(64).collect()
}

/// Makes a guest's response one that can be sent in answer to `method`, or says why it cannot be.
///
/// Headers that concern one connection, and the host's own, are dropped, so that a function can pass on what it
/// got from elsewhere. A body that its status forbids is dropped. A `content-length` that is wrong is refused and
/// not put right: the guest's idea of what it sends is wrong, and elsewhere its clients would get half of it.
pub fn sanitize_response(
    method: &Method,
    parts: &mut ResponseParts,
    body: ResponseBody,
) -> Result<ResponseBody, BadResponse> {
    let status = parts.status.as_u16();
    if !(200..=599).contains(&status) {
        return Err(BadResponse::Status { status });
    }
    strip(&mut parts.headers, Direction::Response);
    let body = match parts.status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => {
            parts.headers.remove(header::CONTENT_LENGTH);
            return Ok(ResponseBody::empty());
        }
        _ => body,
    };
    if body.is_full() {
        parts.headers.remove(header::TRAILER);
    }
    let said = content_length(&parts.headers)?;
    if let (Some(said), Some(is)) = (said, body.full_len())
        && said != is
        // In answer to HEAD, a length without a body is how it should be.
        && !(method == Method::HEAD && is == 0)
    {
        return Err(BadResponse::ContentLengthWrong { said, is });
    }
    Ok(body)
}

/// The `content-length`, if there is one. Several that agree are one.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, BadResponse> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let digits = value.as_bytes();
        let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let said = value.to_str().ok().filter(|_| all_digits).and_then(|text| text.parse().ok());
        let said = said.ok_or(BadResponse::ContentLength)?;
        if length.is_some_and(|other: u64| other != said) {
            return Err(BadResponse::ContentLength);
        }
        length = Some(said);
    }
    Ok(length)
}

/// Which way a header goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
}

/// Removes what concerns one connection only (RFC 9110, section 7.6.1, and what older clients use), and what begins
/// with our prefix. Looks at each name once, and allocates only where there is something unusual to remove.
pub(super) fn strip(headers: &mut HeaderMap, direction: Direction) {
    let mut unwanted: Vec<HeaderName> = Vec::new();
    let mut has_connection = false;
    for name in headers.keys() {
        match *name {
            header::CONNECTION => has_connection = true,
            header::TE if direction == Direction::Request && asks_for_trailers(headers) => {}
            // A response needs it for its trailers to be sent; in a request it promises what a guest sees anyway.
            header::TRAILER if direction == Direction::Response => {}
            _ if concerns_connection(name) || is_own(name) => unwanted.push(name.clone()),
            _ => {}
        }
    }
    if has_connection {
        for value in headers.get_all(header::CONNECTION) {
            listed(value, &mut unwanted);
        }
        headers.remove(header::CONNECTION);
    }
    for name in unwanted {
        headers.remove(name);
    }
}

fn concerns_connection(name: &HeaderName) -> bool {
    match *name {
        header::TE | header::TRAILER | header::TRANSFER_ENCODING | header::UPGRADE => true,
        _ => {
            let name = name.as_str();
            // `proxy` has no meaning, but becomes HTTP_PROXY in environments that copy headers.
            name.starts_with("proxy-") || matches!(name, "keep-alive" | "proxy" | "http2-settings")
        }
    }
}

fn is_own(name: &HeaderName) -> bool {
    name.as_str().starts_with(OWN_PREFIX)
}

fn asks_for_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().all(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"))
}

/// The header names that a `Connection` header lists, but for those that every reader needs.
fn listed(value: &HeaderValue, names: &mut Vec<HeaderName>) {
    for option in value.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii) {
        let usual =
            option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive");
        if !usual
            && let Ok(name) = HeaderName::from_bytes(option)
            && !matches!(name, header::HOST | header::CONTENT_LENGTH | header::CONTENT_TYPE)
        {
            names.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers
                .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_concerns_the_connection_is_removed() {
        let all = [
            ("connection", "keep-alive, X-Hop , host"),
            ("connection", "close,x-hop-2"),
            ("x-hop", "1"),
            ("x-hop-2", "1"),
            ("host", "a"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "secret"),
            ("proxy-connection", "close"),
            ("proxy", "http://evil"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("lacewing-outcome", "ok"),
            ("lacewing-", "x"),
            ("accept", "*/*"),
        ];
        let mut request = map(&all);
        strip(&mut request, Direction::Request);
        assert_eq!(names(&request), ["accept", "host", "te"]);
        let mut response = map(&all);
        strip(&mut response, Direction::Response);
        assert_eq!(names(&response), ["accept", "host", "trailer"]);
        let mut gzip = map(&[("te", "trailers"), ("te", "gzip")]);
        strip(&mut gzip, Direction::Request);
        assert!(gzip.is_empty());
    }

    fn limits() -> HeaderLimits {
        HeaderLimits { count: 3, bytes: 40 }
    }

    fn parts(status: u16, fields: &[(&str, &[u8])]) -> Result<ResponseParts, String> {
        response_parts(status, fields.iter().copied(), limits()).map_err(|bad| bad.to_string())
    }

    #[test]
    fn a_guests_header_is_checked_and_named() {
        let good = parts(200, &[("X-One", b"1"), ("x-one", b"\xff")]).unwrap();
        assert_eq!(good.headers.get_all("x-one").iter().count(), 2);
        for (status, fields, error) in [
            (99, [].as_slice(), "the response's status is 99; it has to be 200 to 599"),
            (1000, &[], "the response's status is 1000; it has to be 200 to 599"),
            (
                200,
                &[("a b", b"1".as_slice())],
                "the response's header name \"a b\" is not valid: letters, digits and any of !#$%&'*+-.^_`|~",
            ),
            (
                200,
                &[("", b"1")],
                "the response's header name \"\" is not valid: letters, digits and any of !#$%&'*+-.^_`|~",
            ),
            (
                200,
                &[("x-one", b"1\r\nset-cookie: a")],
                "the value of the response's header \"x-one\" is not valid: it may not have line breaks or other control characters",
            ),
            (
                200,
                &[("a", b"1"), ("b", b"1"), ("c", b"1"), ("d", b"1")],
                "the response has more than 3 header fields",
            ),
            (
                200,
                &[("a", b"1234567890123456789012345678901234567890")],
                "the names and values of the response's header fields are more than 40 bytes",
            ),
        ] {
            assert_eq!(parts(status, fields).unwrap_err(), error);
        }
    }

    fn sanitize(
        method: Method,
        status: u16,
        fields: &[(&str, &str)],
        body: &'static str,
    ) -> Result<(HeaderMap, u64), String> {
        let (mut parts, ()) =
            http::Response::builder().status(status).body(()).unwrap().into_parts();
        parts.headers = map(fields);
        let body = sanitize_response(&method, &mut parts, ResponseBody::full(body))
            .map_err(|bad| bad.to_string())?;
        Ok((parts.headers, body.full_len().unwrap()))
    }

    #[test]
    fn a_response_that_cannot_be_sent_is_refused() {
        for (status, fields, error) in [
            (101, [].as_slice(), "the response's status is 101; it has to be 200 to 599"),
            (600, &[], "the response's status is 600; it has to be 200 to 599"),
            (
                200,
                &[("content-length", "x")],
                "the response's content-length is not one number of bytes",
            ),
            (
                200,
                &[("content-length", "+3")],
                "the response's content-length is not one number of bytes",
            ),
            (
                200,
                &[("content-length", "3"), ("content-length", "4")],
                "the response's content-length is not one number of bytes",
            ),
            (
                200,
                &[("content-length", "5")],
                "the response's content-length says 5 bytes and its body has 3; leave the header out and it is set",
            ),
        ] {
            assert_eq!(sanitize(Method::GET, status, fields, "abc").unwrap_err(), error);
        }
        assert!(
            sanitize(Method::GET, 200, &[("content-length", "3"), ("content-length", "3")], "abc")
                .is_ok()
        );
    }

    #[test]
    fn bodies_go_where_they_may() {
        let length = [("content-length", "5")];
        assert_eq!(sanitize(Method::GET, 204, &length, "abc").unwrap(), (HeaderMap::new(), 0));
        assert_eq!(sanitize(Method::GET, 304, &length, "abc").unwrap(), (HeaderMap::new(), 0));
        assert_eq!(sanitize(Method::HEAD, 200, &length, "").unwrap(), (map(&length), 0));
        assert!(sanitize(Method::HEAD, 200, &length, "abc").is_err());
    }

    #[test]
    fn a_request_over_its_functions_limits_is_431() {
        let check = |headers: &HeaderMap| {
            limits()
                .check_request(headers)
                .map_err(|p| format!("{} {}", p.status().as_u16(), p.sentence()))
        };
        assert_eq!(check(&map(&[("a", "1"), ("a", "2"), ("a", "3")])), Ok(()));
        assert_eq!(
            check(&map(&[("a", "1"), ("a", "2"), ("a", "3"), ("a", "4")])),
            Err("431 the request has more than 3 header fields".to_owned())
        );
        assert_eq!(
            check(&map(&[("a", &"x".repeat(40))])),
            Err("431 the names and values of the request's header fields are more than 40 bytes"
                .to_owned())
        );
    }
}
