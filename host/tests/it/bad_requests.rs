//! Requests that are no requests, or not the ones that a route is for: what each is answered, and
//! that the next one is served.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    attacks::http2::reset_upload,
    harness::{Reply, eventually, guest},
    tenants::{NEIGHBOUR, SUSPECT, Tenants, assert_problem},
};

/// A response as it came over the wire.
struct Raw {
    head: String,
    body: String,
}

impl Raw {
    fn parse(text: &str) -> Raw {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        Raw { head: head.to_lowercase() + "\r\n", body: body.to_owned() }
    }

    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| *found == name).map(|(_, value)| value).next()
    }

    fn assert_problem(&self, outcome: &str, status: u16, sentence: &str) {
        let Raw { head, body } = self;
        assert_eq!(
            (self.status(), self.header("lacewing-outcome")),
            (status, Some(outcome)),
            "{head}{body}"
        );
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["detail"], sentence);
        assert_eq!(problem["outcome"], outcome);
        assert_eq!(problem["status"], status);
    }
}

async fn raw(tenants: &Tenants, request: impl AsRef<[u8]>) -> Raw {
    Raw::parse(&tenants.raw_reply(request.as_ref()).await)
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\n\r\n")
}

/// The suspect with these routes, beside its neighbour.
async fn routed(routes: &str) -> Tenants {
    let tenants = Tenants::hostile("").await;
    let manifest = format!(
        "app = \"suspect\"\n[functions.suspect]\ncomponent = {:?}\nroutes = [{routes}]",
        guest("hostile")
    );
    tenants.deploy_manifest(&manifest).await.unwrap();
    tenants
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_http_are_refused_and_the_next_request_is_served() {
    let tenants = Tenants::hostile("").await;
    let no_http = "the request's first line or its header is not valid HTTP/1.1";
    for request in [
        "GET\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nhost: {SUSPECT}\r\nno colon\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: {SUSPECT}\r\nx y: z\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: {SUSPECT}\r\nx: a\0b\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nhost: {SUSPECT}\r\ncontent-length: -1\r\n\r\n"),
        format!(
            "POST / HTTP/1.1\r\nhost: {SUSPECT}\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
        ),
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03 a TLS client's hello\r\n\r\n".to_owned(),
    ] {
        raw(&tenants, &request).await.assert_problem("bad_request", 400, no_http);
    }
    for (request, sentence) in [
        ("GET / HTTP/1.1\r\nconnection: close\r\n\r\n", "the request has no Host header"),
        (
            "GET / HTTP/1.1\r\nconnection: close\r\nhost: a\r\nhost: b\r\n\r\n",
            "the request has more than one Host header",
        ),
        (
            "GET / HTTP/1.1\r\nconnection: close\r\nhost: a/b\r\n\r\n",
            "the Host header is not a valid host name",
        ),
    ] {
        raw(&tenants, request).await.assert_problem("bad_request", 400, sentence);
    }
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
}

/// Refused while the function is asked, and before the function runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_invocation_that_the_log_has() {
    for suspect in ["hostile", "portable-03"] {
        let limits = "request_body_kib = 1\nheaders = 5\nheader_kib = 1";
        let tenants = Tenants::with(&guest(suspect), limits, |_| {}).await;
        let post = format!("POST /count HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\n");
        for (request, status) in [
            (format!("{post}content-length: 2000\r\n\r\n"), 413),
            (format!("{post}{}\r\n", "x: 1\r\n".repeat(9)), 431),
            (format!("{post}transfer-encoding: chunked\r\n\r\nzz\r\n"), 400),
        ] {
            let reply = raw(&tenants, request).await;
            assert_eq!(reply.status(), status, "{}", reply.body);
            let problem: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
            let ended = tenants.ended().await;
            assert_eq!(problem["invocation"], ended.record["invocation"], "{problem}");
            assert_eq!(problem["request_id"], serde_json::Value::Null, "{problem}");
            assert_eq!(reply.header("x-request-id"), ended.record["request_id"].as_str());
        }
    }
}

/// A stream of HTTP/2 may end without an error, and its body has not ended for that.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_its_client_resets_is_not_run_as_a_whole_one() {
    for (suspect, path) in
        [("hostile", "/body"), ("portable-02", "/count"), ("portable-03", "/count")]
    {
        let tenants = Tenants::with(&guest(suspect), "", |_| {}).await;
        for declared in [None, Some("100")] {
            for code in [0, 8] {
                let frames = reset_upload(SUSPECT, path, declared, code);
                let _socket = tenants.raw(&frames).await;
                let ended = tenants.ended().await;
                assert_eq!(ended.outcome(), "canceled", "{suspect} {code}: {}", ended.record);
                assert_eq!(tenants.counted("ok"), 0);
            }
        }
        tenants.neighbour_is_served().await;
        tenants.served.assert_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_too_large_are_refused_before_any_function() {
    let tenants = Tenants::with(&guest("hostile"), "headers = 1024\nheader_kib = 1024", |file| {
        file.settings.connections.max_headers = 30;
        file.settings.connections.max_header_bytes = 16 << 10;
    })
    .await;
    raw(&tenants, get(&format!("/{}", "a".repeat(8191)))).await.assert_no_error();
    raw(&tenants, get(&format!("/{}", "a".repeat(8192)))).await.assert_problem(
        "bad_request",
        414,
        "the request's path and query are longer than 8192 bytes",
    );
    let fields = |count: usize, value: &str| {
        let fields: String = (0..count).map(|n| format!("x-{n}: {value}\r\n")).collect();
        format!("GET / HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\n{fields}\r\n")
    };
    raw(&tenants, fields(28, "v")).await.assert_no_error();
    let sentence =
        "the request's line and header are more than 16384 bytes, or more than 30 fields";
    for request in [fields(29, "v"), fields(500, "v"), fields(10, &"v".repeat(2000))] {
        raw(&tenants, request).await.assert_problem("bad_request", 431, sentence);
    }
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
}

impl Raw {
    fn assert_no_error(&self) {
        assert_eq!(
            (self.status(), self.header("lacewing-outcome")),
            (200, Some("ok")),
            "{}{}",
            self.head,
            self.body
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_whose_encoding_is_wrong() {
    let tenants = routed("\"/echo\", \"/files/{*rest}\", \"/users/{id}\"").await;
    for (path, at) in [("/users/%", 7), ("/users/%2", 7), ("/users/%zz", 7), ("/files/a/%g0", 9)] {
        let reply = raw(&tenants, get(path)).await;
        let sentence = format!(
            "the path has a percent sign at byte {at} that is not followed by two hexadecimal digits; a percent sign itself is written %25"
        );
        reply.assert_problem("bad_request", 400, &sentence);
    }
    for (path, name) in [("/users/%ff", "id"), ("/users/%c3%28", "id"), ("/files/%80", "rest")] {
        let sentence = format!(
            "the path's parameter \"{name}\" is not UTF-8 once its percent-encoding is decoded"
        );
        raw(&tenants, get(path)).await.assert_problem("bad_request", 400, &sentence);
    }
    // A query is the function's own affair.
    raw(&tenants, get("/echo?%zz=%ff")).await.assert_no_error();
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_headers_that_are_no_utf_8_reach_the_guest() {
    let tenants = Tenants::hostile("").await;
    let mut headers = HeaderMap::new();
    headers.append("x-bytes", HeaderValue::from_bytes(b"\xff\xe9 caf\xc3\xa9").unwrap());
    headers.append("x-bytes", HeaderValue::from_static("again"));
    let reply = tenants.send(SUSPECT, Method::GET, "/echo", headers, "").await;
    let text = reply.text();
    assert!(text.contains("\nx-bytes: \\xff\\xe9 caf\\xc3\\xa9\nx-bytes: again\n"), "{text}");
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn route_parameters_reach_the_guest() {
    let tenants = routed("\"/echo/two/{a}/{b}\", \"/echo/rest/{*rest}\"").await;
    let text = async |path: &str| tenants.get(path).await.text().to_owned();
    let one = text("/echo/two/caf%C3%A9%2Fbar/1%202?q=%20").await;
    assert!(one.starts_with("GET http://suspect.test/echo/two/caf%C3%A9%2Fbar/1%202?q=%20\nroute /echo/two/{a}/{b}\nparam a = \"caf\u{e9}/bar\"\nparam b = \"1 2\"\n"), "{one}");
    let rest = text("/echo/rest/a/b%20c//d/").await;
    assert!(rest.contains("\nroute /echo/rest/{*rest}\nparam rest = \"a/b c//d/\"\n"), "{rest}");
    for path in ["/", "/Echo/rest/a", "/echo/two/a", "/other"] {
        let reply = tenants.get(path).await;
        assert_problem(&reply, "no_route", 404, "no function is served at this address");
    }
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_a_route_does_not_have() {
    let tenants = routed("{ path = \"/echo\", methods = [\"GET\", \"PUT\"] }, { path = \"/ok\", methods = [\"OPTIONS\"] }").await;
    let send = async |method: &str, path: &str| -> Reply {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        tenants.send(SUSPECT, method, path, HeaderMap::new(), "").await
    };
    let sentence =
        "this path does not take this method; the Allow header lists the methods that it takes";
    for method in ["POST", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
        let reply = send(method, "/echo").await;
        assert_problem(&reply, "no_route", 405, sentence);
        assert_eq!(reply.headers["allow"], "GET, HEAD, PUT, OPTIONS", "{method}");
    }
    let reply = send("OPTIONS", "/echo").await;
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    assert_eq!(reply.headers["allow"], "GET, HEAD, PUT, OPTIONS");
    let reply = send("OPTIONS", "/ok").await;
    assert_eq!((reply.status, reply.text()), (200, "fine\n"), "a route may have OPTIONS itself");
    assert_eq!(send("PUT", "/echo").await.status, 200);
    let star = raw(
        &tenants,
        format!("OPTIONS * HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\n\r\n"),
    )
    .await;
    assert_eq!(
        (star.status(), star.header("allow")),
        (204, Some("get, head, post, put, patch, delete, options"))
    );
    let connect = raw(
        &tenants,
        format!(
            "CONNECT {SUSPECT}:443 HTTP/1.1\r\nhost: {SUSPECT}:443\r\nconnection: close\r\n\r\n"
        ),
    )
    .await;
    connect.assert_problem("bad_request", 405, "this server is not a proxy and opens no tunnels");
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    for (suspect, path, length) in [
        ("hostile", "/bytes/70000", Some("70000")),
        ("portable-02", "/generate/70000", None),
        ("portable-03", "/generate/70000", None),
    ] {
        let tenants = Tenants::with(&guest(suspect), "", |_| {}).await;
        let head = format!("HEAD {path} HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n");
        // The second request's answer begins right behind the first one's head.
        let both = tenants.raw_reply(format!("{head}{}", get("/ok")).as_bytes()).await;
        let first = Raw::parse(&both);
        assert_eq!((first.status(), first.header("content-length")), (200, length), "{both}");
        assert!(first.body.starts_with("HTTP/1.1 200 OK\r\n"), "{both}");
        Raw::parse(&first.body).assert_no_error();
        tenants.neighbour_is_served().await;
        tenants.served.assert_idle().await;
    }
    // A failure has no body either.
    let tenants = Tenants::hostile("").await;
    let reply = tenants
        .raw_reply(
            format!("HEAD /panic HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        )
        .await;
    let reply = Raw::parse(&reply);
    assert_eq!(
        (reply.status(), reply.header("lacewing-outcome"), reply.body.as_str()),
        (502, Some("trap"), "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_go_on_is_given_up() {
    for suspect in ["hostile", "portable-02", "portable-03"] {
        let tenants = Tenants::with(&guest(suspect), "", |file| {
            file.settings.connections.body_idle_timeout = Duration::from_millis(200);
        })
        .await;
        let path = if suspect == "hostile" { "/body" } else { "/count" };
        for head in
            ["transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", "content-length: 100\r\n\r\nhello"]
        {
            tenants.served.sink.take();
            let request =
                format!("POST {path} HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\n{head}");
            let reply = raw(&tenants, &request).await;
            let ended = tenants.ended().await;
            let sentence = "nothing of the request's body arrived for 200 ms";
            reply.assert_problem("bad_request", 408, sentence);
            assert_eq!(ended.outcome(), "bad_request", "{suspect}: {}", ended.record);
            tenants.neighbour_is_served().await;
            tenants.served.assert_idle().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_chunks_is_refused() {
    let tenants = Tenants::hostile("").await;
    for body in ["zz\r\n", "5\r\nhello!!\r\n", "ffffffffffffffffff\r\n"] {
        let request = format!(
            "POST /body HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{body}0\r\n\r\n"
        );
        raw(&tenants, request).await.assert_problem(
            "bad_request",
            400,
            "the chunked encoding of the request's body is malformed",
        );
    }
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_in_the_middle_of_its_body() {
    for suspect in ["hostile", "portable-02", "portable-03"] {
        let tenants = Tenants::with(&guest(suspect), "", |_| {}).await;
        let path = if suspect == "hostile" { "/body" } else { "/count" };
        for head in
            ["transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", "content-length: 100\r\n\r\nhello"]
        {
            tenants.served.sink.take();
            let request = format!("POST {path} HTTP/1.1\r\nhost: {SUSPECT}\r\n{head}");
            let socket = tenants.raw(request.as_bytes()).await;
            if suspect != "hostile" {
                eventually("the guest waits for the body", || tenants.in_flight() == 1).await;
            }
            drop(socket);
            let ended = tenants.ended().await;
            assert_eq!(ended.outcome(), "canceled", "{suspect}: {}", ended.record);
            tenants.neighbour_is_served().await;
            tenants.served.assert_idle().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_told_to_go_on_or_not() {
    let tenants = Tenants::hostile("request_body_kib = 1").await;
    let head = |length: usize| {
        format!(
            "POST /body HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut socket = tenants.raw(head(5).as_bytes()).await;
    let mut reply = vec![0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    socket.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"hello").await.unwrap();
    let mut rest = String::new();
    socket.read_to_string(&mut rest).await.unwrap();
    let reply = Raw::parse(&rest);
    reply.assert_no_error();
    assert_eq!(reply.body, "hello");
    let reply = raw(&tenants, head(5000)).await;
    reply.assert_problem(
        "bad_request",
        413,
        "the request's body is larger than 1024 bytes (`request_body_kib`)",
    );
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_sent_at_once_are_answered_in_order() {
    let tenants = Tenants::hostile("cpu_ms = 20").await;
    let keep = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n");
    let requests = ["/work/3", "/panic", "/spin", "/work/5"].map(keep).concat() + &get("/work/7");
    let replies = tenants.raw_reply(requests.as_bytes()).await;
    let statuses: Vec<&str> =
        replies.lines().filter_map(|line| line.split("HTTP/1.1 ").nth(1)).collect();
    assert_eq!(
        statuses,
        ["200 OK", "502 Bad Gateway", "504 Gateway Timeout", "200 OK", "200 OK"],
        "{replies}"
    );
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_requests_are_known_by_their_host() {
    let tenants = Tenants::hostile("").await;
    let ask = async |host: &str| {
        let reply = tenants.send(host, Method::GET, "/ok", HeaderMap::new(), "").await;
        (reply.status, reply.text().to_owned())
    };
    for host in [SUSPECT, "SUSPECT.test", "suspect.test:8080"] {
        assert_eq!(ask(host).await, (200, "fine\n".to_owned()), "{host}");
    }
    assert_eq!(ask(NEIGHBOUR).await, (200, "Hello, world!\n".to_owned()));
    for host in ["localhost", "test", "a.suspect.test", "suspect.test.evil", "[::1]:80"] {
        let reply = tenants.send(host, Method::GET, "/ok", HeaderMap::new(), "").await;
        assert_problem(&reply, "no_route", 404, "no function is served at this address");
    }
    // The target names another host than the header: neither is believed.
    let reply = raw(&tenants, get(&format!("http://{NEIGHBOUR}/"))).await;
    reply.assert_problem(
        "bad_request",
        400,
        "the Host header names another host than the request's target; they have to agree",
    );
    raw(&tenants, get(&format!("http://{SUSPECT}/ok"))).await.assert_no_error();
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cors_of_a_manifest_is_applied() {
    let tenants = Tenants::hostile("").await;
    let manifest = format!(
        "app = \"suspect\"
        [functions.suspect]
        component = {:?}
        routes = [\"/ok\", \"/panic\", \"/echo\"]
        [functions.suspect.cors]
        origins = [\"https://*.example.com\"]
        methods = [\"GET\", \"PUT\"]
        headers = [\"x-token\"]
        expose = [\"etag\"]
        credentials = true
        max_age_s = 600",
        guest("hostile")
    );
    tenants.deploy_manifest(&manifest).await.unwrap();
    let ask = async |method: Method, path: &str, origin: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("origin", HeaderValue::from_static(origin));
        if method == Method::OPTIONS {
            headers.insert("access-control-request-method", HeaderValue::from_static("PUT"));
        }
        tenants.send(SUSPECT, method, path, headers, "").await
    };
    let shop = "https://shop.example.com";
    let preflight = ask(Method::OPTIONS, "/ok", shop).await;
    assert_eq!((preflight.status, preflight.body.len()), (204, 0));
    for (name, value) in [
        ("access-control-allow-origin", shop),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "x-token"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
    ] {
        assert_eq!(preflight.headers[name], value, "{name}");
    }
    // The function's own answer, and the host's where the function failed.
    for (path, status) in [("/ok", 200), ("/panic", 502)] {
        let reply = ask(Method::GET, path, shop).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.headers["access-control-allow-origin"], shop);
        assert_eq!(reply.headers["access-control-expose-headers"], "etag");
        assert!(reply.headers.get_all("vary").iter().any(|vary| vary == "origin"), "{path}");
    }
    for method in [Method::OPTIONS, Method::GET] {
        let reply = ask(method, "/ok", "https://example.org").await;
        assert!(!reply.headers.contains_key("access-control-allow-origin"), "{reply:?}");
    }
    tenants.served.assert_idle().await;
}
