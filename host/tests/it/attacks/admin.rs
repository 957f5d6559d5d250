//! Clients of the admin address: slow ones, greedy ones, and pages that a browser shows.

use std::time::Instant;

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{Host, PATIENCE, Target, rest};
use crate::harness::pause;

fn target() -> Target {
    Target::guest("hostile")
}

/// A connection to the admin address to which bytes were sent.
pub(super) async fn raw(host: &Host, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut socket = TcpStream::connect(host.admin()).await.unwrap();
    // One that is ended in the middle of it is not told by its socket.
    let _ = socket.write_all(bytes.as_ref()).await;
    socket
}

async fn reply(host: &Host, bytes: impl AsRef<[u8]>) -> String {
    rest(raw(host, bytes).await).await
}

fn request(path: &str, authority: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n{more}\r\n")
}

/// A scraper has its answer, if it comes back when it is told to.
async fn is_scraped(host: &Host) {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = reply(host, request("/metrics", "localhost", "")).await;
        if answer.starts_with("HTTP/1.1 200 ") {
            assert!(answer.contains("\nprocess_open_fds "), "{answer}");
            return;
        }
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
        assert!(Instant::now() < until, "{answer}");
        pause().await;
    }
}

/// A supervisor, a load balancer and a scraper have their answers.
pub(super) async fn is_answered(host: &Host) {
    let ready = reply(host, request("/readyz", "localhost", "")).await;
    assert!(ready.ends_with("\r\n\r\nready\n"), "{ready}");
    let alive = reply(host, request("/livez", "127.0.0.1", "")).await;
    assert!(alive.ends_with("\r\n\r\nok\n"), "{alive}");
    is_scraped(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_slow_clients() {
    target()
        .attacked(async |host| {
            let mut slow = Vec::new();
            for round in 0..4 {
                for sent in
                    ["", "G", "GET /readyz HTTP/1.1\r\nhost: ", "GET /metrics HTTP/1.1\r\nx: "]
                {
                    for _ in 0..25 {
                        slow.push(raw(host, sent).await);
                    }
                }
                is_answered(host).await;
                // Those that are left go on, one byte after the other.
                for client in &mut slow {
                    let _ = client.write_all(b"x").await;
                }
                is_answered(host).await;
                assert_eq!(slow.len(), 100 * (round + 1));
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scrapers_that_do_not_read() {
    target()
        .attacked(async |host| {
            let mut unread = Vec::new();
            for _ in 0..200 {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_recv_buffer_size(4096).unwrap();
                let mut socket = socket.connect(host.admin()).await.unwrap();
                let _ = socket.write_all(request("/metrics", "localhost", "").as_bytes()).await;
                unread.push(socket);
            }
            is_answered(host).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scrapes_by_hundreds_at_once() {
    target()
        .attacked(async |host| {
            let scrapes = (0..200).map(|_| reply(host, request("/metrics", "localhost", "")));
            let replies = join_all(scrapes).await;
            let of = |status: &str| replies.iter().filter(|one| one.starts_with(status)).count();
            let (whole, busy) = (of("HTTP/1.1 200 "), of("HTTP/1.1 503 "));
            // Some made room for others before they were whole.
            assert!(whole > 0 && whole + busy <= 200, "{whole} whole, {busy} told to come back");
            is_answered(host).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_come_and_go() {
    target()
        .attacked(async |host| {
            let until = Instant::now() + PATIENCE;
            for round in 0..20 {
                let gone = (0..50).map(|_| raw(host, request("/metrics", "localhost", "")));
                drop(join_all(gone).await);
                is_answered(host).await;
                assert!(Instant::now() < until, "round {round}");
            }
        })
        .await;
}

/// A page whose name resolves to the host's address is of the same origin to a browser: it reads
/// what comes.
#[tokio::test(flavor = "multi_thread")]
async fn pages_whose_name_is_rebound_to_this_machine() {
    target()
        .settings("admin_hosts = [\"metrics.internal\"]")
        .attacked(async |host| {
            let port = host.admin().port();
            for authority in [
                format!("evil.test:{port}"),
                "evil.test".to_owned(),
                format!("localhost.evil.test:{port}"),
                format!("127.0.0.1.evil.test:{port}"),
                format!("evil.metrics.internal:{port}"),
                format!("localhost:{port}@evil.test"),
                String::new(),
            ] {
                for path in ["/metrics", "/", "/readyz", "/nothing"] {
                    let answer = reply(host, request(path, &authority, "")).await;
                    assert!(answer.starts_with("HTTP/1.1 421 "), "{authority}{path}: {answer}");
                    assert!(!answer.contains("lacewing_"), "{answer}");
                }
            }
            let target = format!("http://evil.test:{port}/metrics");
            let answer = reply(host, request(&target, "localhost", "")).await;
            assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
            let two = reply(host, request("/metrics", "localhost", "host: evil.test\r\n")).await;
            assert!(two.starts_with("HTTP/1.1 400 "), "{two}");
            let named = reply(host, request("/metrics", "Metrics.Internal", "")).await;
            assert!(named.contains("\nlacewing_build_info"), "{named}");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites() {
    target()
        .attacked(async |host| {
            for fields in [
                "origin: http://evil.test\r\n",
                "origin: null\r\n",
                "sec-fetch-site: cross-site\r\nsec-fetch-dest: image\r\n",
                "sec-fetch-site: same-site\r\nsec-fetch-dest: empty\r\nsec-fetch-mode: no-cors\r\n",
                "sec-fetch-site: cross-site\r\nsec-fetch-dest: iframe\r\nsec-fetch-mode: navigate\r\n",
            ] {
                let answer = reply(host, request("/metrics", "localhost", fields)).await;
                assert!(answer.starts_with("HTTP/1.1 403 "), "{fields}: {answer}");
                assert!(!answer.contains("lacewing_"), "{answer}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_larger_than_a_scrapers() {
    target()
        .attacked(async |host| {
            let long =
                reply(host, request(&format!("/{}", "x".repeat(20_000)), "localhost", "")).await;
            assert!(long.starts_with("HTTP/1.1 4"), "{long}");
            let wide = format!("x: {}\r\n", "x".repeat(20_000));
            let wide = reply(host, request("/readyz", "localhost", &wide)).await;
            assert!(wide.starts_with("HTTP/1.1 431 "), "{wide}");
            let many = reply(host, request("/readyz", "localhost", &"x: y\r\n".repeat(100))).await;
            assert!(many.starts_with("HTTP/1.1 431 "), "{many}");
            for body in ["content-length: 1000000000\r\n", "transfer-encoding: chunked\r\n"] {
                let answer = reply(host, request("/readyz", "localhost", body)).await;
                assert!(answer.starts_with("HTTP/1.1 413 "), "{body}: {answer}");
            }
            // A head without end: it is not read to the end of the sender's patience.
            let mut endless = raw(host, "GET /readyz HTTP/1.1\r\n").await;
            while endless.write_all(&b"x: y\r\n".repeat(1000)).await.is_ok() {}
            let mut left = Vec::new();
            let _ = endless.read_to_end(&mut left).await;
            // One request for each connection.
            let two = request("/readyz", "localhost", "").repeat(50);
            let answers = reply(host, two).await;
            assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
        })
        .await;
}
