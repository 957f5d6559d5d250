//! Routes of anybody's, and requests for them: what is found serves the request, and what is not is
//! not.
//!
//! Input: a line for each route, `METHODS HOST PATH OWNER`, then an empty one, then `METHOD HOST
//! PATH` for each request.

use http::Method;
use lacewing::ingress::route::{RouteKey, RouteLookup, Router};
use lacewing_base::Methods;

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let mut builder = Router::builder();
    let mut methods = Vec::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()).take(64) {
        let Some(key) = route(line) else { continue };
        methods.push(key.methods.clone());
        builder.route(key, methods.len() - 1);
    }
    let Ok(router) = builder.build() else { return };
    for line in lines.take(64) {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let &[method, host, path] = &words[..] else { continue };
        let Ok(method) = Method::from_bytes(method.as_bytes()) else { continue };
        ask(&router, &methods, host, &method, path);
    }
}

fn route(line: &str) -> Option<RouteKey> {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    let &[methods, host, path, owner] = &words[..] else { return None };
    let methods = match methods {
        "EVERY" => Methods::Every,
        "ANY" => Methods::Any,
        some => {
            let mut only = Vec::new();
            for method in some.split(',') {
                let method = Method::from_bytes(method.as_bytes()).ok()?;
                if method != Method::CONNECT && !only.contains(&method) {
                    only.push(method);
                }
            }
            Methods::Only(only)
        }
    };
    if methods == Methods::Only(Vec::new()) {
        return None;
    }
    Some(RouteKey {
        owner: owner.into(),
        hosts: host.split(',').filter_map(|host| host.parse().ok()).collect(),
        methods,
        path: path.parse().ok()?,
    })
}

fn ask(router: &Router<usize>, methods: &[Methods], host: &str, method: &Method, path: &str) {
    let allowed = router.allow(host, path);
    match router.find(host, method, path) {
        RouteLookup::Match(found) => {
            let route = found.route;
            assert!(methods[*route.value()].answers(method), "a route answers what it serves");
            let captured = route.params(&found.params).count();
            assert_eq!(captured, route.pattern().matches('{').count(), "{}", route.pattern());
            assert!(allowed.is_some(), "{method} {path} is served and not allowed");
        }
        RouteLookup::NoMethod { allow } => {
            assert!(!allow.is_empty() && allowed == Some(allow.clone()));
            let served = allow.split(", ").any(|name| name == method.as_str());
            assert!(!served || *method == Method::OPTIONS, "{method} is in {allow}, not served");
        }
        RouteLookup::None => assert_eq!(allowed, None),
        RouteLookup::BadPath(bad) => assert!(!bad.to_string().is_empty()),
    }
}
