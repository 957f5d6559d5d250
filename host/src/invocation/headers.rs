//! Header fields that concern one connection only, or only us, and how large a header may be.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use lacewing_base::Limits;

/// The prefix of the names of headers that only the host may set.
const OWN_PREFIX: &str = "lacewing-";

/// How a header is over the limits of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It has too many fields.
    Count {
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: u32,
    },
    /// Its names and values are too long together.
    Bytes {
        /// How many bytes they have.
        bytes: usize,
        /// How many they may have.
        limit_bytes: u32,
    },
}

impl Excess {
    /// How so many fields, with so many bytes of names and values, are over a function's limits, if they are.
    pub(super) fn of(count: usize, bytes: usize, limits: &Limits) -> Option<Excess> {
        Excess::over(count, bytes, limits.headers, limits.header_bytes)
    }

    fn over(count: usize, bytes: usize, limit: u32, limit_bytes: u32) -> Option<Excess> {
        let over = |measure: usize, limit: u32| u32::try_from(measure).map_or(true, |m| m > limit);
        if over(count, limit) {
            return Some(Excess::Count { count, limit });
        }
        over(bytes, limit_bytes).then_some(Excess::Bytes { bytes, limit_bytes })
    }

    /// How a header is over a function's limits, if it is.
    pub fn of_headers(headers: &HeaderMap, limits: &Limits) -> Option<Excess> {
        Excess::of_fields(headers, limits.headers, limits.header_bytes)
    }

    /// The same for a header that may have so many fields, and bytes of names and values.
    pub(super) fn of_fields(headers: &HeaderMap, limit: u32, limit_bytes: u32) -> Option<Excess> {
        let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        Excess::over(headers.len(), bytes, limit, limit_bytes)
    }
}

/// The direction of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To a function.
    Request,
    /// From a function.
    Response,
}

/// Removes what concerns one connection only (RFC 9110, section 7.6.1, and what older clients use), and what begins
/// with our prefix. Looks at each name once, and allocates only where there is something unusual to remove.
pub fn strip(headers: &mut HeaderMap, direction: Direction) {
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

    #[test]
    fn a_header_is_over_its_limits_in_fields_or_in_bytes() {
        let limits = Limits { headers: 3, header_bytes: 40, ..Limits::default() };
        let excess = |pairs: &[(&str, &str)]| Excess::of_headers(&map(pairs), &limits);
        let count = Excess::Count { count: 4, limit: 3 };
        assert_eq!(excess(&[("a", "1"), ("a", "2"), ("a", "3")]), None);
        assert_eq!(excess(&[("a", "1"), ("a", "2"), ("a", "3"), ("a", "4")]), Some(count));
        assert_eq!(excess(&[("a", &"x".repeat(39))]), None);
        let bytes = Excess::Bytes { bytes: 41, limit_bytes: 40 };
        assert_eq!(excess(&[("a", &"x".repeat(40))]), Some(bytes));
    }
}
