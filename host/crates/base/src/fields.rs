//! Header fields that concern one connection only, or only the host.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The prefix of the names of headers that only the host may set.
const OWN_PREFIX: &str = "lacewing-";

/// The direction of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Of a client's request, to a function.
    Request,
    /// Of a function's response, to a client.
    Response,
    /// Of a function's request, to another server.
    OutboundRequest,
    /// Of another server's response, to a function.
    OutboundResponse,
}

impl Direction {
    /// Whether the field says something about trailers that is as true on the next connection.
    fn keeps(self, name: &HeaderName, headers: &HeaderMap) -> bool {
        match (self, name) {
            (Direction::Request, &header::TE) => asks_for_trailers(headers),
            // A response needs the name for its trailers to be sent; in a request it promises what
            // a guest sees anyway.
            (Direction::Response | Direction::OutboundResponse, &header::TRAILER) => true,
            // Another host may speak of itself.
            (Direction::OutboundResponse, name) => is_own(name),
            _ => false,
        }
    }
}

/// Removes what concerns one connection only (RFC 9110, section 7.6.1, and what older clients use),
/// and what begins with our prefix. Looks at each name once, and allocates only where there is
/// something unusual to remove.
pub fn strip(headers: &mut HeaderMap, direction: Direction) {
    let mut unwanted: Vec<HeaderName> = Vec::new();
    let mut has_connection = false;
    for name in headers.keys() {
        match *name {
            header::CONNECTION => has_connection = true,
            _ if !(concerns_connection(name) || is_own(name)) => {}
            _ if direction.keeps(name, headers) => {}
            _ => unwanted.push(name.clone()),
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

/// Headers for tests of this crate and others.
#[cfg(any(test, feature = "testing"))]
#[allow(clippy::unwrap_used, missing_docs)]
pub mod testing {
    use super::*;

    /// A header with these fields.
    pub fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers
                .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    /// The fields of a header as sorted lines.
    pub fn lines(headers: &HeaderMap) -> Vec<String> {
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        let mut lines: Vec<String> = headers.iter().map(line).collect();
        lines.sort();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::map, *};

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn fields_of_the_connection_are_removed() {
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
        let mut outbound = map(&all);
        strip(&mut outbound, Direction::OutboundRequest);
        assert_eq!(names(&outbound), ["accept", "host"]);
        let mut answer = map(&all);
        strip(&mut answer, Direction::OutboundResponse);
        assert_eq!(names(&answer), ["accept", "host", "lacewing-", "lacewing-outcome", "trailer"]);
        let mut gzip = map(&[("te", "trailers"), ("te", "gzip")]);
        strip(&mut gzip, Direction::Request);
        assert!(gzip.is_empty());
    }
}
