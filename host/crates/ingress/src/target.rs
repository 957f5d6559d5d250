//! The request's target: which host and path a request is for (RFC 9112, section 3; RFC 9113,
//! section 8.3.1).

use http::{
    HeaderMap, Method, Uri, Version, header,
    request::Parts,
    uri::{Authority, Scheme},
};

use super::{
    respond::{BadInput, Problem},
    route::{host_key, port_of},
};

/// The host and path that a request is for.
#[derive(Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The authority as the client wrote it. Empty in HTTP/1.0 without `Host`.
    pub authority: &'a str,
    /// The path as the client wrote it. `*` in `OPTIONS *`.
    pub path: &'a str,
}

/// Reads the target, and refuses a request that two readers could take for two targets.
pub fn read(parts: &Parts, max_bytes: usize) -> Result<Target<'_>, Problem> {
    if parts.method == Method::CONNECT {
        return Err(Problem::bad_input(BadInput::Connect));
    }
    let target_bytes = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target_bytes > max_bytes {
        return Err(Problem::bad_input(BadInput::TargetTooLong)
            .detail(format!("the request's path and query are longer than {max_bytes} bytes")));
    }
    if parts.uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS)
    {
        return Err(malformed("the scheme of the request's target is neither http nor https"));
    }
    let authority = authority(parts)?;
    let path = match (parts.uri.path(), parts.uri.scheme()) {
        // HTTP/2 has a scheme beside it.
        ("*", _) if parts.method == Method::OPTIONS => "*",
        // `GET http://host HTTP/1.1` has no path, and means the root.
        ("", Some(_)) => "/",
        (path, _) if path.starts_with('/') => path,
        _ => {
            return Err(malformed(
                "the request's target is neither a path nor a URL; a path begins with a slash",
            ));
        }
    };
    Ok(Target { authority, path })
}

/// The authority of the target or, where it has none, of `Host`. Where both are there they have to
/// agree.
pub(super) fn authority(parts: &Parts) -> Result<&str, Problem> {
    let host = host_header(&parts.headers)?;
    let named = parts.uri.authority().map(Authority::as_str);
    match (named, host) {
        (Some(named), Some(host)) if !same(&parts.uri, named, host) => Err(malformed(
            "the Host header names another host than the request's target; they have to agree",
        )),
        (Some(authority), _) | (None, Some(authority)) if is_allowed(authority) => Ok(authority),
        (Some(_), _) => Err(malformed("the host in the request's target is not a valid host name")),
        // `Host:` with nothing after it is what a client without a host has to send.
        (None, Some("")) => Ok(""),
        (None, Some(_)) => Err(malformed("the Host header is not a valid host name")),
        (None, None) if parts.version < Version::HTTP_11 => Ok(""),
        (None, None) => Err(malformed("the request has no Host header")),
    }
}

fn is_allowed(authority: &str) -> bool {
    host_key(authority).is_some()
}

fn same(uri: &Uri, named: &str, host: &str) -> bool {
    let usual = if uri.scheme() == Some(&Scheme::HTTPS) { "443" } else { "80" };
    let port = |authority| port_of(authority).filter(|port| !port.is_empty()).unwrap_or(usual);
    host_key(named).is_some_and(|key| host_key(host) == Some(key)) && port(named) == port(host)
}

fn host_header(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(header::HOST).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(malformed("the request has more than one Host header")),
        (Some(value), None) => value
            .to_str()
            .map(Some)
            .map_err(|_| malformed("the Host header is not a valid host name")),
    }
}

fn malformed(detail: &'static str) -> Problem {
    Problem::bad_input(BadInput::Malformed).detail(detail)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn read_one(
        method: &str,
        uri: &str,
        version: Version,
        hosts: &[&str],
    ) -> Result<(String, String), String> {
        let mut request = Request::builder().method(method).uri(uri).version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        match read(&parts, 64) {
            Ok(Target { authority, path }) => Ok((authority.to_owned(), path.to_owned())),
            Err(problem) => Err(format!("{} {}", problem.status().as_u16(), problem.sentence())),
        }
    }

    #[test]
    fn targets_of_every_form() {
        let v11 = Version::HTTP_11;
        for (method, uri, version, hosts, authority, path) in [
            ("GET", "/a?b", v11, ["h:80"].as_slice(), "h:80", "/a"),
            ("GET", "/", v11, &[""], "", "/"),
            ("GET", "/", Version::HTTP_10, &[], "", "/"),
            ("GET", "http://h/a", v11, &["H"], "h", "/a"),
            ("GET", "http://h", v11, &["h"], "h", "/"),
            ("GET", "http://h", v11, &["h:80"], "h", "/"),
            ("GET", "https://h:443", v11, &["h"], "h:443", "/"),
            ("GET", "http://h?q", v11, &["h"], "h", "/"),
            ("GET", "http://h:81/a", Version::HTTP_2, &[], "h:81", "/a"),
            ("OPTIONS", "*", v11, &["h"], "h", "*"),
            ("GET", "HTTPS://h/a", Version::HTTP_2, &[], "h", "/a"),
        ] {
            assert_eq!(
                read_one(method, uri, version, hosts),
                Ok((authority.to_owned(), path.to_owned())),
                "{method} {uri}"
            );
        }
    }

    #[test]
    fn a_request_with_two_possible_targets_is_refused() {
        let long = format!("/{}", "x".repeat(64));
        for (method, uri, hosts, error) in [
            (
                "CONNECT",
                "h:443",
                ["h:443"].as_slice(),
                "405 this server is not a proxy and opens no tunnels",
            ),
            ("GET", "/", &[], "400 the request has no Host header"),
            (
                "GET",
                "ftp://h/",
                &["h"],
                "400 the scheme of the request's target is neither http nor https",
            ),
            ("GET", "/", &["a", "a"], "400 the request has more than one Host header"),
            ("GET", "/", &["a b"], "400 the Host header is not a valid host name"),
            ("GET", "/", &["u@a"], "400 the Host header is not a valid host name"),
            (
                "GET",
                "http://u@a/",
                &["u@a"],
                "400 the Host header names another host than the request's target; they have to agree",
            ),
            (
                "GET",
                "http://u@a/",
                &[],
                "400 the host in the request's target is not a valid host name",
            ),
            (
                "GET",
                "http://a/",
                &["b"],
                "400 the Host header names another host than the request's target; they have to agree",
            ),
            (
                "GET",
                "http://a/",
                &["a:81"],
                "400 the Host header names another host than the request's target; they have to agree",
            ),
            (
                "GET",
                "*",
                &["a"],
                "400 the request's target is neither a path nor a URL; a path begins with a slash",
            ),
            (
                "GET",
                "a",
                &["a"],
                "400 the request's target is neither a path nor a URL; a path begins with a slash",
            ),
            ("GET", &long, &["a"], "414 the request's path and query are longer than 64 bytes"),
        ] {
            assert_eq!(
                read_one(method, uri, Version::HTTP_11, hosts),
                Err(error.to_owned()),
                "{method} {uri}"
            );
        }
    }
}
