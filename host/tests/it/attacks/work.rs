//! Servers and clients that would have the host work for them at others' cost.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Target,
    egress::{LOOPBACK, Server},
};

/// Says the same bytes without end.
async fn repeats(mut socket: TcpStream, bytes: &[u8]) {
    let many = bytes.repeat(64 * 1024 / bytes.len());
    while socket.write_all(&many).await.is_ok() {}
}

async fn interim_responses(bytes: &'static [u8]) {
    let server = Server::start(move |mut socket: TcpStream| async move {
        let _ = socket.read(&mut [0; 4096]).await;
        repeats(socket, bytes).await;
    })
    .await;
    for guest in ["portable-02", "portable-03"] {
        let target = Target::guest(guest)
            .grants(&server.granted())
            .settings(LOOPBACK)
            .limits("cpu_ms = 2000");
        target
            .attacked(async |host| {
                let path = format!("/fetch/{}", server.url());
                let six = (0..6).map(|_| host.get(&path));
                for ended in futures_util::future::join_all(six).await {
                    let text = ended.reply.text();
                    assert!(text.contains("HttpResponseHeaderSectionSize"), "{guest}: {text}");
                }
            })
            .await;
    }
    crate::harness::eventually("they are closed", || server.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_says_continue() {
    interim_responses(b"HTTP/1.1 100 Continue\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_gives_early_hints() {
    interim_responses(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_gives_large_early_hints() {
    let hint: &'static str =
        format!("HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n", "x".repeat(8000)).leak();
    interim_responses(hint.as_bytes()).await;
}

/// Interim responses one by one, so that the host is woken for each: the deadline ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_interim_responses_trickle() {
    let server = Server::start(|mut socket: TcpStream| async move {
        let _ = socket.set_nodelay(true);
        let _ = socket.read(&mut [0; 4096]).await;
        let mut pace = tokio::time::interval(Duration::from_millis(1));
        while socket.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {
            pace.tick().await;
        }
    })
    .await;
    let target = Target::guest("portable-02")
        .grants(&server.granted())
        .settings(LOOPBACK)
        .limits("deadline_ms = 500");
    target
        .attacked(async |host| {
            let ended = host.get(&format!("/fetch/{}", server.url())).await;
            ended.is(504, "deadline_exceeded");
        })
        .await;
    crate::harness::eventually("they are closed", || server.open() == 0).await;
}

/// A body in chunks of one byte costs the host many times what it brings: the work is charged as
/// the guest's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_body_comes_in_single_bytes() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let server = Server::start(move |mut socket: TcpStream| async move {
        let _ = socket.read(&mut [0; 4096]).await;
        let _ = socket.write_all(head.as_bytes()).await;
        repeats(socket, b"1\r\nx\r\n").await;
    })
    .await;
    for guest in ["portable-02", "portable-03"] {
        let limits = "cpu_ms = 100\ndeadline_ms = 60_000\negress_kib = 1_000_000";
        let target =
            Target::guest(guest).grants(&server.granted()).settings(LOOPBACK).limits(limits);
        target
            .attacked(async |host| {
                let before = host.records().len();
                let request = format!(
                    "GET /fetch/{} HTTP/1.1\r\nhost: suspect.test\r\nconnection: close\r\n\r\n",
                    server.url()
                );
                host.raw_reply(request).await;
                let record = host.record(before).await;
                assert_eq!(record["outcome"], "cpu_exceeded", "{guest}: {record}");
            })
            .await;
    }
    crate::harness::eventually("they are closed", || server.open() == 0).await;
}
