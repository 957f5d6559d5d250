//! HEAD, OPTIONS, preflights, and methods that a route does not serve.

use super::*;

async fn ask(host: &Host, request: &str) -> Reply {
    let mut client = host.connect().await;
    client.send(format!("{request}\r\n\r\n")).await;
    client.reply().await
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let host = Host::start().await;
    let mut client = host.connect().await;
    for path in ["/", "/show", "/nowhere", "/stream", "/endless"] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        let head = client.head().await;
        let expected = match path {
            "/" => (200, Some("5")),
            "/nowhere" => (404, head.header("content-length")),
            "/show" => (200, head.header("content-length")),
            _ => (200, None),
        };
        assert_eq!((head.status, head.header("content-length")), expected, "{path}");
    }
    // Had any of them had a body, this would not be the next thing on the connection.
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.reply().await.body, "hello");
}

#[tokio::test]
async fn options_are_answered_from_the_routes() {
    let host = Host::start().await;
    for (request, status, allow, body) in [
        (
            "OPTIONS / HTTP/1.1\r\nhost: h",
            204,
            Some("DELETE, GET, HEAD, PATCH, POST, PUT, OPTIONS"),
            "",
        ),
        ("OPTIONS /show HTTP/1.1\r\nhost: h", 204, Some("GET, HEAD, OPTIONS"), ""),
        (
            "OPTIONS * HTTP/1.1\r\nhost: h",
            204,
            Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            "",
        ),
        ("OPTIONS /own-options HTTP/1.1\r\nhost: h", 200, None, "hello"),
        ("OPTIONS /every HTTP/1.1\r\nhost: h", 200, None, "hello"),
        // A request that is a preflight to others is the function's own here.
        (
            "OPTIONS /every HTTP/1.1\r\nhost: h\r\norigin: https://a.com\r\naccess-control-request-method: PUT",
            200,
            None,
            "hello",
        ),
    ] {
        let reply = ask(&host, request).await;
        assert_eq!(
            (reply.status, reply.header("allow"), reply.body.as_str()),
            (status, allow, body),
            "{request}"
        );
        assert_eq!(reply.header("lacewing-outcome"), Some("ok"));
        assert!(reply.header("x-request-id").is_some());
    }
    assert_eq!(ask(&host, "OPTIONS /nowhere HTTP/1.1\r\nhost: h").await.status, 404);
}

#[tokio::test]
async fn a_method_that_no_route_serves_is_405_with_those_that_are() {
    let host = Host::start().await;
    let reply = ask(&host, "DELETE /show HTTP/1.1\r\nhost: h").await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert_eq!(reply.header("lacewing-outcome"), Some("no_route"));
    assert_eq!(
        reply.problem("detail"),
        "this path does not take this method; the Allow header lists the methods that it takes"
    );
    let reply = ask(&host, "CONNECT h:443 HTTP/1.1\r\nhost: h:443").await;
    assert_eq!((reply.status, reply.header("lacewing-outcome")), (405, Some("bad_request")));
    assert_eq!(reply.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    assert_eq!(reply.problem("detail"), "this server is not a proxy and opens no tunnels");
}

#[tokio::test]
async fn preflights_are_answered_and_responses_are_decorated() {
    let host = Host::start().await;
    let preflight = |origin: &str, path: &str, method: &str| {
        format!(
            "OPTIONS {path} HTTP/1.1\r\nhost: h\r\norigin: {origin}\r\naccess-control-request-method: {method}"
        )
    };
    let reply = ask(&host, &preflight("https://a.com", "/shared", "PUT")).await;
    assert_eq!(reply.status, 204);
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://a.com"));
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET, PUT"));
    let reply = ask(&host, &preflight("https://b.com", "/shared", "PUT")).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, None));
    assert!(reply.header("vary").is_some_and(|vary| vary.starts_with("origin")));
    // Nothing is shared there, or the method is not served: an answer that browsers take as a no.
    for path in ["/", "/show"] {
        let reply = ask(&host, &preflight("https://a.com", path, "PUT")).await;
        assert_eq!(
            (reply.status, reply.header("access-control-allow-origin")),
            (204, None),
            "{path}"
        );
    }
    let reply = ask(&host, "GET /shared HTTP/1.1\r\nhost: h\r\norigin: https://a.com").await;
    assert_eq!(
        (reply.status, reply.header("access-control-allow-origin")),
        (200, Some("https://a.com"))
    );
    // A script may read why it failed.
    let reply = ask(&host, "GET /spin HTTP/1.1\r\nhost: h\r\norigin: https://a.com").await;
    assert_eq!(
        (reply.status, reply.header("access-control-allow-origin")),
        (504, Some("https://a.com"))
    );
    assert_eq!(reply.header("vary"), Some("origin"));
}

#[tokio::test]
async fn refusals_at_an_address_that_is_shared_can_be_read_by_other_origins() {
    let host = Host::start().await;
    let long = "x".repeat(9000);
    for (request, status, shared) in [
        ("DELETE /shared HTTP/1.1\r\nhost: h".to_owned(), 405, true),
        ("GET /shared/%zz HTTP/1.1\r\nhost: h".to_owned(), 400, true),
        ("GET /shared/%ff HTTP/1.1\r\nhost: h".to_owned(), 400, true),
        (format!("GET /shared/{long} HTTP/1.1\r\nhost: h"), 414, true),
        (format!("GET /shared?{long} HTTP/1.1\r\nhost: h"), 414, true),
        (
            "POST /shared HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\nhost: h".to_owned(),
            400,
            true,
        ),
        ("DELETE /show HTTP/1.1\r\nhost: h".to_owned(), 405, false),
        ("GET /nowhere HTTP/1.1\r\nhost: h".to_owned(), 404, false),
        ("GET /u/%zz HTTP/1.1\r\nhost: h".to_owned(), 400, false),
    ] {
        let reply = ask(&host, &format!("{request}\r\norigin: https://a.com")).await;
        let origin = shared.then_some("https://a.com");
        assert_eq!(
            (reply.status, reply.header("access-control-allow-origin")),
            (status, origin),
            "{request}"
        );
        assert_eq!(reply.header("vary"), shared.then_some("origin"), "{request}");
        let reply = ask(&host, &format!("{request}\r\norigin: https://b.com")).await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{request}");
    }
}
