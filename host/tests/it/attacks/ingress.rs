//! Clients that would keep a host busy, or have two readers see two different requests.

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Host, Target, rest};
use crate::{
    client::Raw,
    tenants::{NEIGHBOUR, SUSPECT},
};

/// Waiting is short.
pub(super) const IMPATIENT: &str =
    "[connections]\nheader_timeout_s = 1\nbody_idle_timeout_s = 1\nkeep_alive_s = 1";

pub(super) fn target() -> Target {
    Target::guest("hostile")
}

/// Sends a request, which has another one in what may be its body, and reads all that comes. No
/// reader may take the other one for a request, and the connection ends.
async fn smuggles(shapes: &[&str]) {
    target()
        .attacked(async |host: &Host| {
            for shape in shapes {
                let inner = format!("GET /smuggled HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n");
                let reply =
                    host.raw_reply(format!("{shape}{inner}").replace("HOST", SUSPECT)).await;
                let first = reply.lines().next().unwrap_or_default();
                assert_eq!(first, "HTTP/1.1 400 Bad Request", "{shape:?}");
                assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "{shape:?}: {reply}");
                assert!(reply.contains("lacewing-outcome: bad_request"), "{shape:?}: {reply}");
            }
            let seen = host.records();
            assert!(!seen.iter().any(|record| record["path"] == "/smuggled"), "{seen:?}");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_differ() {
    smuggles(&[
        "POST /body HTTP/1.1\r\nhost: HOST\r\ncontent-length: 0\r\ncontent-length: 44\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: HOST\r\ncontent-length: 0, 44\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: HOST\r\ncontent-length: +0\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: HOST\r\ncontent-length: -1\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: HOST\r\ncontent-length: 18446744073709551616\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: HOST\r\ncontent-length : 0\r\n\r\n",
    ])
    .await;
}

/// The encoding wins, and nothing that comes after such a request is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_length_and_an_encoding() {
    target()
        .attacked(async |host: &Host| {
            for fields in [
                "content-length: 6\r\ntransfer-encoding: chunked",
                "transfer-encoding: chunked\r\ncontent-length: 6",
            ] {
                let inner = format!("GET /smuggled HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n");
                let request = format!(
                    "POST /body HTTP/1.1\r\nhost: {SUSPECT}\r\n{fields}\r\n\r\n0\r\n\r\n{inner}"
                );
                let reply = host.raw_reply(request).await;
                assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "{fields:?}: {reply}");
            }
            let seen = host.records();
            assert!(!seen.iter().any(|record| record["path"] == "/smuggled"), "{seen:?}");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encodings_in_disguise() {
    smuggles(&[
        "POST /body HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: xchunked\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "POST /body HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST /body HTTP/1.0\r\nhost: HOST\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_none() {
    let head = "POST /body HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked\r\n\r\n";
    let bodies = [
        "x\r\nabc\r\n0\r\n\r\n",
        "-1\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "ffffffffffffffff0\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
    ];
    let shapes: Vec<String> = bodies.iter().map(|body| format!("{head}{body}")).collect();
    smuggles(&shapes.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_folded_or_malformed() {
    smuggles(&[
        "GET / HTTP/1.1\r\nhost: HOST\r\n folded: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: HOST\r\nx: 1\r\n\tfolded\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: HOST\r\nx y: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: HOST\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: HOST\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: HOST\r\n: empty\r\n\r\n",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_ends_that_are_bare() {
    smuggles(&[
        "GET / HTTP/1.1\r\nhost: HOST\r\nx: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: HOST\rx: b\r\n\r\n",
        "GET / HTTP/1.1\rhost: HOST\r\r",
        "GET /a\rb HTTP/1.1\r\nhost: HOST\r\n\r\n",
    ])
    .await;
    // A line feed alone ends a line for this host, as RFC 9112 allows; what matters is that a value
    // never holds one.
    target()
        .attacked(async |host| {
            let request =
                format!("GET /echo HTTP/1.1\nhost: {SUSPECT}\nx: a\ny: b\nconnection: close\n\n");
            let reply = host.raw_reply(request).await;
            assert!(reply.contains("\nx: a\ny: b\n"), "{reply}");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_in_one_request() {
    smuggles(&[
        "GET http://neighbour.test/ HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: HOST\r\nhost: neighbour.test\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: HOST@neighbour.test\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: HOST/neighbour.test\r\nconnection: close\r\n\r\n",
        "GET http://HOST@neighbour.test/ HTTP/1.1\r\nhost: neighbour.test\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_of_other_forms() {
    target()
        .attacked(async |host| {
            for (request, status) in [
                (format!("CONNECT {SUSPECT}:80 HTTP/1.1\r\nhost: {SUSPECT}:80\r\nconnection: close\r\n\r\n"), "405"),
                (format!("GET {SUSPECT}:80 HTTP/1.1\r\nhost: {SUSPECT}:80\r\nconnection: close\r\n\r\n"), "400"),
                (format!("GET * HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\n\r\n"), "400"),
                (format!("GET /%zz HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\n\r\n"), "400"),
                (format!("GET http://{SUSPECT}/ok HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\n\r\n"), "200"),
            ] {
                let reply = host.raw_reply(&request).await;
                assert_eq!(&reply[9..12], status, "{request:?}: {reply}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end() {
    target()
        .attacked(async |host| {
            let many = "x: y\r\n".repeat(5000);
            let long = format!("x: {}\r\n", "y".repeat(1 << 20));
            for fields in [many, long] {
                let head = format!("GET / HTTP/1.1\r\nhost: {SUSPECT}\r\n{fields}\r\n");
                let reply = host.raw_reply(head).await;
                assert!(reply.starts_with("HTTP/1.1 431 "), "{reply}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_trickle() {
    target()
        .settings(IMPATIENT)
        .attacked(async |host| {
            let mut sockets = Vec::new();
            for _ in 0..50 {
                sockets.push(host.raw(format!("GET / HTTP/1.1\r\nhost: {SUSPECT}\r\nx: ")).await);
            }
            for socket in sockets {
                let reply = rest(socket).await;
                assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 408 "), "{reply}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_go_on() {
    target()
        .settings(IMPATIENT)
        .attacked(async |host| {
            let head = format!(
                "POST /body HTTP/1.1\r\nhost: {SUSPECT}\r\ncontent-length: 100\r\n\r\nhello"
            );
            let sockets = (0..50).map(|_| host.raw_reply(&head));
            for reply in futures_util::future::join_all(sockets).await {
                assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_do_not_read() {
    for guest in ["hostile", "portable-02", "portable-03"] {
        let path = if guest == "hostile" { "/bytes/6000000" } else { "/forever" };
        Target::guest(guest)
            .settings(IMPATIENT)
            .limits("cpu_ms = 60_000")
            .attacked(async |host| {
                let mut socket = Raw::connect(host.address()).await;
                socket.write(&format!("GET {path} HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n")).await;
                host.record(0).await;
                host.until("lacewing_connections_open", |open| open <= 1).await;
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_that_is_pipelined() {
    target()
        .attacked(async |host| {
            let one = format!("GET /ok HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n");
            let last = one.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
            let mut socket = host.raw("").await;
            let (mut read, mut write) = socket.split();
            let flood = one.repeat(999) + &last;
            let mut replies = String::new();
            let (sent, got) =
                tokio::join!(write.write_all(flood.as_bytes()), read.read_to_string(&mut replies));
            sent.unwrap();
            got.unwrap();
            assert_eq!(replies.matches("HTTP/1.1 200 OK\r\n").count(), 1000);
        })
        .await;
}

/// A thousand clients that have asked for the first, one after the other, and then all ask for the
/// other again as soon as they are answered, each of them twenty times. Gives how often there was
/// which status for the other.
async fn floods(host: &Host, first: &str, request: &str) -> BTreeMap<String, u32> {
    let mut sockets = Vec::new();
    for _ in 0..1000 {
        let mut socket = host.raw(first).await;
        assert_ne!(socket.read(&mut [0; 4096]).await.unwrap(), 0);
        sockets.push(socket);
    }
    let clients = sockets.into_iter().map(async |mut socket| {
        let (mut statuses, mut answer) = (Vec::new(), [0; 4096]);
        for _ in 0..20 {
            socket.write_all(request.as_bytes()).await.unwrap();
            let count = socket.read(&mut answer).await.unwrap();
            let text = String::from_utf8_lossy(&answer[..count]);
            // The rest of an answer that came in two pieces is none.
            let status = text.strip_prefix("HTTP/1.1 ").and_then(|text| text.get(..3));
            statuses.extend(status.map(str::to_owned));
        }
        statuses
    });
    let mut counts = BTreeMap::new();
    for status in futures_util::future::join_all(clients).await.into_iter().flatten() {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_a_thousand_connections() {
    target()
        .attacked(async |host| {
            let request = format!("GET /ok HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n");
            let counts = floods(host, &request, &request).await;
            let told = counts.keys().all(|status| ["200", "429", "503"].contains(&status.as_str()));
            assert!(told && counts["200"] > 0, "{counts:?}");
        })
        .await;
}

/// On connections that have asked for the neighbour before.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_requests_without_a_route() {
    target()
        .attacked(async |host| {
            let [first, request] = [NEIGHBOUR, "nobody.test"]
                .map(|host| format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
            let counts = floods(host, &first, &request).await;
            assert!(counts.keys().all(|status| status == "404"), "{counts:?}");
        })
        .await;
}

/// As many as the descriptors of this process and of the host's allow, half of which are others'.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections() {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let count = limit.saturating_div(2).min(10_000);
    target()
        .settings("[connections]\nmax = 20_000")
        .attacked(async |host| {
            let mut idle = Vec::new();
            for _ in 0..count {
                idle.push(host.raw("").await);
            }
            host.until("lacewing_connections_open", |open| open >= count).await;
            host.get("/ok").await.is(200, "ok");
            drop(idle);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_there_are_places() {
    target()
        .settings("[connections]\nmax = 40\nheader_timeout_s = 1\nkeep_alive_s = 1")
        .attacked(async |host| {
            let mut idle = Vec::new();
            for _ in 0..60 {
                idle.push(host.raw("").await);
            }
            // Each gets its turn, and is closed for saying nothing.
            for socket in idle {
                rest(socket).await;
            }
        })
        .await;
}

/// The guest's own fields neither split its response nor speak for the host.
#[tokio::test(flavor = "multi_thread")]
async fn responses_that_split_or_forge() {
    target()
        .attacked(async |host| {
            let split = "610d0a636f6e74656e742d6c656e6774683a20300d0a0d0a";
            host.get(&format!("/value/{split}")).await.is(502, "bad_response");
            host.get("/name/a_b").await.is(502, "bad_response");
            host.get("/length/3").await.is(502, "bad_response");
            host.get("/status/101").await.is(502, "bad_response");
            for own in [
                "lacewing-outcome",
                "lacewing-invocation",
                "Lacewing-Anything",
                "transfer-encoding",
                "connection",
            ] {
                let ended = host.get(&format!("/name/{own}")).await.is(200, "ok");
                let all = ended.reply.headers.get_all(own);
                assert!(all.iter().all(|value| value != "value"), "{own}");
            }
        })
        .await;
    Target::guest("hostile-02")
        .attacked(async |host| {
            for path in
                ["/field/x/610d0a62", "/field/x/00", "/field/transfer-encoding/6368756e6b6564"]
            {
                let ended = host.get(path).await.is(200, "ok");
                assert!(
                    ended.reply.text().starts_with("refused: "),
                    "{path}: {}",
                    ended.reply.text()
                );
            }
        })
        .await;
}

/// A client says what only the host may say, and the guest does not hear it.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_forge() {
    target()
        .attacked(async |host| {
            let fields = ["lacewing-params", "lacewing-route", "Lacewing-Tenant", "proxy", "x-hop"];
            let headers = fields.map(|name| (name.parse().unwrap(), "forged".parse().unwrap()));
            let mut headers: http::HeaderMap = headers.into_iter().collect();
            headers.insert("connection", "x-hop".parse().unwrap());
            let ended = host.send(Method::GET, "/echo", headers, "").await.is(200, "ok");
            assert!(!ended.reply.text().contains("forged"), "{}", ended.reply.text());
        })
        .await;
}

/// Half of it is read, half of the answer too, then it goes: over and over.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_come_and_go() {
    target()
        .limits("cpu_ms = 100\ndeadline_ms = 200")
        .attacked(async |host| {
            for round in 0..200_u64 {
                let path = ["/bytes/100000", "/spin", "/sleep", "/ok"][(round % 4) as usize];
                let request = format!("GET {path} HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n");
                let cut = request.len() - (round as usize * 7) % request.len();
                let mut socket = host.raw(&request[..cut]).await;
                let patience = Duration::from_micros(round * 20);
                let _ = tokio::time::timeout(patience, socket.read(&mut [0; 100])).await;
            }
        })
        .await;
}
