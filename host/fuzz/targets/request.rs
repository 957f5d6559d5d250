//! A request's way to a guest: which host and path it is for, what of its header goes on, and what
//! the guest is handed.
//!
//! Input: the request as text, `METHOD TARGET VERSION`, then a line for each field.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Version, header::HOST, request::Parts};
use http_body_util::{BodyExt, Empty};
use lacewing::{
    fields::{Direction, strip},
    fuzzing,
    ingress::{
        RequestId, TraceContext,
        route::{RouteKey, RouteLookup, Router},
    },
    invocation::{Excess, HttpRequest},
};
use lacewing_base::{Limits, Methods};

const MAX_TARGET_BYTES: usize = 8192;

pub(crate) fn run(data: &[u8]) {
    let Some(mut parts) = parse(data) else { return };
    let id = RequestId::of(&parts.headers);
    assert!(!id.as_str().is_empty());
    let trace = TraceContext::of(&parts.headers);
    let (authority, path) = match fuzzing::target(&parts, MAX_TARGET_BYTES) {
        Ok((authority, path)) => (authority.to_owned(), path.to_owned()),
        Err(problem) => {
            assert!((400..500).contains(&problem.status().as_u16()), "{}", problem.sentence());
            return;
        }
    };
    assert!(path == "*" || path.starts_with('/'), "{path}");
    assert!(!authority.contains(['/', '@', ' ', '\r', '\n']), "{authority}");
    strip(&mut parts.headers, Direction::Request);
    for name in parts.headers.keys().map(HeaderName::as_str) {
        assert!(!name.starts_with("lacewing-") && !name.starts_with("proxy-"), "{name}");
        assert!(!["connection", "transfer-encoding", "upgrade", "keep-alive"].contains(&name));
    }
    let limits = Limits::default();
    if Excess::of_headers(&parts.headers, &limits).is_some() {
        return;
    }
    trace.write_to(&mut parts.headers);
    let router = router();
    let RouteLookup::Match(found) = router.find(&authority, &parts.method, &path) else { return };
    let params: Vec<(&str, &str)> = found.route.params(&found.params).collect();
    let fields = fuzzing::lean_fields(&parts.headers).len();
    assert_eq!(fields, parts.headers.len());
    let path_and_query = parts.uri.path_and_query().cloned();
    let request = HttpRequest {
        parts,
        scheme: "http",
        authority: &authority,
        route: found.route.pattern(),
        params: &params,
    };
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let (parts, _) = fuzzing::portable(request, body).into_parts();
    // A guest has to get a whole URL, for the host and the path that were routed.
    assert_eq!(parts.uri.scheme_str(), Some("http"));
    let named = parts.uri.authority().map(|authority| authority.as_str());
    assert!(named == Some(&authority) || (authority.is_empty() && named == Some("localhost")));
    assert_eq!(parts.uri.path(), path);
    assert_eq!(parts.uri.query(), path_and_query.as_ref().and_then(|path| path.query()));
    assert_eq!(parts.headers["lacewing-route"], found.route.pattern());
}

fn parse(data: &[u8]) -> Option<Parts> {
    let mut lines = data.split(|&byte| byte == b'\n');
    let mut line = lines.next()?.splitn(3, |&byte| byte == b' ');
    let (method, target, version) = (line.next()?, line.next()?, line.next()?);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).ok()?;
    *request.uri_mut() = http::Uri::try_from(target).ok()?;
    *request.version_mut() = match version {
        b"0" => Version::HTTP_10,
        b"2" => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    for line in lines {
        let mut halves = line.splitn(2, |&byte| byte == b':');
        let name = HeaderName::from_bytes(halves.next()?).ok()?;
        let value = HeaderValue::from_bytes(halves.next()?.trim_ascii()).ok()?;
        request.headers_mut().try_append(name, value).ok()?;
    }
    // Fields that hyper hands on are checked already.
    request.headers().get(HOST)?;
    Some(request.into_parts().0)
}

fn router() -> Router<()> {
    let mut builder = Router::builder();
    for path in ["/", "/users/{id}", "/files/{owner}/{*path}", "/{*rest}"] {
        let key = RouteKey {
            owner: "fuzz".into(),
            hosts: Vec::new(),
            methods: Methods::Every,
            path: path.parse().expect("a valid path"),
        };
        builder.route(key, ());
    }
    builder.build().expect("no two of them clash")
}
