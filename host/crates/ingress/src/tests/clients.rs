//! Answers that any client gets: ids, traces, headers, clean ends.

use super::*;

#[tokio::test]
async fn an_answer_carries_its_outcome_id_date_and_length() {
    let host = Host::start().await;
    let mut client = host.connect().await;
    client.send("GET /u/a%2Fb?x=1 HTTP/1.1\r\nhost: h\r\nx-request-id: my-id\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello id=a/b"));
    assert_eq!(reply.header("lacewing-outcome"), Some("ok"));
    assert_eq!(reply.header("x-request-id"), Some("my-id"));
    assert!(reply.header("date").is_some_and(|date| date.ends_with(" GMT")), "{reply:?}");
    // The same connection goes on.
    client.send("GET /nowhere HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.header("lacewing-outcome")), (404, Some("no_route")));
    assert_eq!(reply.problem("type"), "urn:lacewing:outcome:no_route");
    assert_eq!(reply.problem("detail"), "no function is served at this address");
    assert_eq!(Some(reply.problem("request_id").as_str()), reply.header("x-request-id"));
    assert_eq!(
        host.world.answered(),
        ["GET /u/a%2Fb?x=1 /u/{id} ok 200", "GET /nowhere - no_route 404"]
    );
}

#[tokio::test]
async fn a_function_sees_a_clean_request() {
    let host = Host::start().await;
    let mut client = host.connect().await;
    client
        .send(
            b"GET http://H:80/show?q=%20 HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
              Keep-Alive: 5\r\nProxy-Authorization: x\r\nTE: trailers\r\nUpgrade: h2c\r\nLacewing-Outcome: ok\r\n\
              X-Request-Id: not one\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
              X-Bytes: \xff\xfe\r\nAccept: a\r\nAccept: b\r\n\r\n",
        )
        .await;
    let reply = client.reply().await;
    let lines: Vec<&str> = reply.body.lines().collect();
    assert_eq!(lines[0], "GET http://H:80 /show?q=%20 /show");
    let names: Vec<&str> = lines[1..].iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "accept",
            "accept",
            "forwarded",
            "host",
            "te",
            "traceparent",
            "x-bytes",
            "x-forwarded-for",
            "x-request-id"
        ],
        "{reply:?}"
    );
    let value = |name: &str| {
        lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap()
    };
    assert_eq!(value("x-bytes"), "\u{fffd}\u{fffd}");
    assert_eq!(value("forwarded"), "for=127.0.0.1;proto=http");
    assert_eq!(value("x-forwarded-for"), "127.0.0.1");
    assert!(value("traceparent").starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    assert!(!value("traceparent").contains("b7ad6b7169203331"));
    assert_eq!(value("x-request-id").len(), 32);
    assert_eq!(reply.header("x-request-id"), Some(value("x-request-id")));
}

#[tokio::test]
async fn a_function_is_told_who_asked_and_only_trusted_proxies_are_believed() {
    let claims = "x-forwarded-for: 198.51.100.1\r\nx-forwarded-proto: https\r\nforwarded: for=198.51.100.1\r\n";
    for (trusted, list, proto) in
        [(None, "127.0.0.1", false), (Some("127.0.0.0/8"), "198.51.100.1, 127.0.0.1", true)]
    {
        let trusted_proxies = trusted.into_iter().map(|network| network.parse().unwrap()).collect();
        let host = Host::with(Options { trusted_proxies, ..Options::default() }).await;
        for version in ["1.1", "1.0"] {
            let mut client = host.connect().await;
            client.send(format!("GET /show HTTP/{version}\r\nhost: h\r\n{claims}\r\n")).await;
            let shown = client.reply().await.body;
            assert!(shown.contains(&format!("\nx-forwarded-for: {list}\n")), "{shown}");
            assert_eq!(shown.contains("x-forwarded-proto"), proto, "{shown}");
        }
    }
}

#[tokio::test]
async fn a_failure_is_reported_without_the_hosts_detail() {
    let host = Host::start().await;
    let reply = host.get("/spin").await;
    assert_eq!((reply.status, reply.header("lacewing-outcome")), (504, Some("cpu_exceeded")));
    assert_eq!(reply.problem("status"), "504");
    assert_eq!(reply.problem("detail"), "the function used up its CPU time before it answered");
    let reply = host.get("/u/%zz").await;
    assert_eq!((reply.status, reply.header("lacewing-outcome")), (400, Some("bad_request")));
    assert_eq!(
        reply.problem("detail"),
        "the path has a percent sign at byte 3 that is not followed by two hexadecimal digits; a percent sign itself is written %25"
    );
    let reply = host.get("/u/%ff").await;
    assert_eq!(
        reply.problem("detail"),
        "the path's parameter \"id\" is not UTF-8 once its percent-encoding is decoded"
    );
    let reply = host.get("/u/../").await;
    assert_eq!(
        reply.problem("detail"),
        "the path has a segment \".\" or \"..\"; send the path that they lead to instead"
    );
}

#[tokio::test]
async fn a_bug_of_the_host_ends_one_request() {
    // The first backtrace of a process reads its symbols: megabytes of heap, which the connection
    // would have to pay for.
    drop(std::backtrace::Backtrace::force_capture().to_string());
    let host = Host::start().await;
    let mut client = host.connect().await;
    client.send("GET /panic HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.problem("outcome")), (500, "internal".to_owned()));
    assert_eq!(reply.problem("detail"), "the host failed; this is not the function's fault");
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.reply().await.body, "hello");
}

#[tokio::test]
async fn streams_end_with_their_trailers_or_not_at_all() {
    let host = Host::start().await;
    let trailers = "GET /stream HTTP/1.1\r\nhost: h\r\nte: trailers\r\nconnection: close\r\n\r\n";
    let text = host.exchange(trailers).await;
    assert!(text.ends_with("\r\n\r\n4\r\none,\r\n0\r\nx-sum: 7\r\n\r\n"), "{text}");
    // A body that was cut short cannot be taken for the whole: the last chunk is missing.
    let text = host.exchange("GET /broken HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(text.ends_with("\r\n\r\n5\r\npiece\r\n"), "{text}");
    assert_eq!(host.get("/").await.status, 200);
}

#[tokio::test]
async fn an_older_client_gets_its_answer_and_the_end() {
    let host = Host::start().await;
    let text = host.exchange("GET / HTTP/1.0\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.0 200 OK\r\n") && text.ends_with("\r\n\r\nhello"), "{text}");
    let mut client = host.connect().await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
        assert_eq!(client.reply().await.body, "hello");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let host = Host::start().await;
    let one = |id: &str| format!("GET /u/{id} HTTP/1.1\r\nhost: h\r\n\r\n");
    let mut client = host.connect().await;
    client.send([one("1"), one("2"), one("3")].concat()).await;
    for id in ["1", "2", "3"] {
        assert_eq!(client.reply().await.body, format!("hello id={id}"));
    }
    client.send([one("4"), "nonsense\r\n\r\n".to_owned(), one("5")].concat()).await;
    assert_eq!(client.reply().await.body, "hello id=4");
    let refusal = client.rest().await;
    assert!(refusal.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{refusal}");
    assert_eq!(
        problem(&refusal, "detail"),
        "the request's first line or its header is not valid HTTP/1.1"
    );
    host.world
        .until(|world| world.answered().last().is_some_and(|last| last == "? - bad_request 400"))
        .await;
}
