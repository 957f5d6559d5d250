//! Requests that two readers could take for different ones, and bytes that are no request.

use proptest::prelude::*;

use super::*;

/// Status and, of a problem, its sentence.
async fn verdict(host: &Host, bytes: impl AsRef<[u8]>) -> String {
    let text = host.exchange(bytes).await;
    let status = text.get(9..12).unwrap_or("none").to_owned();
    if status.starts_with('2') {
        let body = &text[text.find("\r\n\r\n").unwrap() + 4..];
        return format!("{status} {body}");
    }
    if status == "none" { status } else { format!("{status} {}", problem(&text, "detail")) }
}

const INVALID: &str = "400 the request's first line or its header is not valid HTTP/1.1";

#[tokio::test]
async fn messages_with_two_lengths_are_refused_or_end_the_connection() {
    let host = Host::start().await;
    let smuggled = "GET /u/smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    for (header, body, expected) in [
        ("content-length: 3\r\ncontent-length: 4", "abcd", INVALID),
        ("content-length: 3, 4", "abcd", INVALID),
        ("content-length: +3", "abc", INVALID),
        ("content-length: 0x3", "abc", INVALID),
        ("content-length: ", "abc", INVALID),
        ("content-length: 99999999999999999999", "abc", INVALID),
        ("content-length : 3", "abc", INVALID),
        ("transfer-encoding: gzip", "abc", INVALID),
        ("transfer-encoding: chunked, gzip", "abc", INVALID),
        ("transfer-encoding: xchunked", "abc", INVALID),
        ("transfer-encoding:\x0bchunked", "abc", INVALID),
        ("transfer-encoding: chunked\r\ntransfer-encoding: identity", "0\r\n\r\n", INVALID),
        // The encoding wins, as RFC 9112 has it, and nothing after it is read.
        ("content-length: 5\r\ntransfer-encoding: chunked", "3\r\nabc\r\n0\r\n\r\n", "200 abc"),
        ("transfer-encoding: chunked\r\ncontent-length: 5", "3\r\nabc\r\n0\r\n\r\n", "200 abc"),
    ] {
        let request = format!("POST /echo HTTP/1.1\r\nhost: h\r\n{header}\r\n\r\n{body}{smuggled}");
        assert_eq!(verdict(&host, request).await, expected, "{header:?}");
    }
    let old = "POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(verdict(&host, old).await, INVALID);
    let seen = host.world.answered();
    assert!(!seen.iter().any(|line| line.contains("smuggled")), "{seen:?}");
    // Lengths that agree are one.
    let same = "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc";
    assert_eq!(verdict(&host, same).await, "200 abc");
}

#[tokio::test]
async fn broken_chunks_are_refused() {
    let host = Host::start().await;
    let malformed = "400 the chunked encoding of the request's body is malformed";
    for (body, expected) in [
        ("3\r\nabc\r\n0\r\n\r\n", "200 abc"),
        ("3;ext=1\r\nabc\r\n0\r\nx-trailer: 1\r\n\r\n", "200 abc"),
        ("x\r\nabc\r\n0\r\n\r\n", malformed),
        ("-3\r\nabc\r\n0\r\n\r\n", malformed),
        ("3\nabc\r\n0\r\n\r\n", malformed),
        ("3\r\nabcd\r\n0\r\n\r\n", malformed),
        ("ffffffffffffffff0\r\nabc\r\n0\r\n\r\n", malformed),
    ] {
        let request = format!(
            "POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{body}"
        );
        assert_eq!(verdict(&host, request).await, expected, "{body:?}");
    }
}

#[tokio::test]
async fn lines_that_are_not_http_are_refused() {
    let host = Host::start().await;
    for bytes in [
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: h\r\n folded: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: h\r\nx: 1\r\n\tfolded\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: h\r\nx y: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: h\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: h\r\nx: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: h\r\nno colon\r\n\r\n",
        "GET /a b HTTP/1.1\r\nhost: h\r\n\r\n",
        "GET / HTTP/3.0\r\nhost: h\r\n\r\n",
        "GE\0T / HTTP/1.1\r\nhost: h\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
    ] {
        assert_eq!(verdict(&host, bytes).await, INVALID, "{bytes:?}");
    }
    // A line feed alone ends a line, as RFC 9112 allows (section 2.2); there is nothing to split
    // with it.
    let lines = "GET / HTTP/1.1\nhost: h\nconnection: close\n\n";
    assert_eq!(verdict(&host, lines).await, "200 hello");
}

#[tokio::test]
async fn the_host_has_to_be_one_name() {
    let host = Host::start().await;
    for (request, expected) in [
        ("GET / HTTP/1.1\r\n", "400 the request has no Host header"),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n",
            "400 the request has more than one Host header",
        ),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n", "400 the Host header is not a valid host name"),
        (
            "GET http://a/ HTTP/1.1\r\nhost: b\r\n",
            "400 the Host header names another host than the request's target; they have to agree",
        ),
        ("GET http://a HTTP/1.1\r\nhost: a\r\n", "200 hello"),
        (
            "GET * HTTP/1.1\r\nhost: a\r\n",
            "400 the request's target is neither a path nor a URL; a path begins with a slash",
        ),
        (
            "GET a:80 HTTP/1.1\r\nhost: a:80\r\n",
            "400 the request's target is neither a path nor a URL; a path begins with a slash",
        ),
    ] {
        let request = format!("{request}connection: close\r\n\r\n");
        assert_eq!(verdict(&host, &request).await, expected, "{request:?}");
    }
}

#[tokio::test]
async fn headers_over_the_limits_are_refused() {
    let host = Host::start().await;
    let big = format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "x".repeat(200 * 1024));
    let many = format!("GET / HTTP/1.1\r\nhost: h\r\n{}\r\n", "x: 1\r\n".repeat(100));
    let over =
        "431 the request's line and header are more than 65536 bytes, or more than 100 fields";
    assert_eq!(verdict(&host, big).await, over);
    assert_eq!(verdict(&host, many).await, over);
    let long =
        format!("GET /{} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", "x".repeat(8 * 1024));
    assert_eq!(
        verdict(&host, long).await,
        "414 the request's path and query are longer than 8192 bytes"
    );
}

/// A request with bytes changed, left out or put in.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let requests = [
        "GET /u/7?a=b HTTP/1.1\r\nhost: h\r\naccept: */*\r\nconnection: close\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0\0\0\u{1}\u{1}",
    ];
    let change = (any::<prop::sample::Index>(), prop::option::of(any::<u8>()), any::<bool>());
    (prop::sample::select(requests.to_vec()), prop::collection::vec(change, 0..6)).prop_map(
        |(request, changes)| {
            let mut bytes = request.as_bytes().to_vec();
            for (at, byte, insert) in changes {
                let at = at.index(bytes.len());
                match byte {
                    Some(byte) if insert => bytes.insert(at, byte),
                    Some(byte) => bytes[at] = byte,
                    None => drop(bytes.remove(at)),
                }
            }
            bytes
        },
    )
}

#[test]
fn whatever_is_sent_the_server_goes_on() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let host = runtime.block_on(Host::start());
    proptest!(ProptestConfig::with_cases(300), |(bytes in mangled())| {
        let text = runtime.block_on(async {
            let mut client = host.connect().await;
            client.send(&bytes).await;
            client.socket.shutdown().await.unwrap();
            client.rest().await
        });
        // Nothing at all, or an answer, or HTTP/2; and then the end.
        prop_assert!(text.is_empty() || text.starts_with("HTTP/1.") || text.starts_with('\0'), "{}", text);
        let answer = runtime.block_on(host.get("/"));
        prop_assert_eq!(answer.status, 200);
    });
}
