//! Clients that would keep a host busy with frames of HTTP/2 (RFC 9113), which are made by hand
//! here.

use futures_util::{StreamExt, stream::FuturesUnordered};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    Host, Target,
    ingress::{IMPATIENT, target},
};
use crate::{client, tenants::SUSPECT};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET http://HOST/PATH`, none of it in the table of the connection.
fn get(host: &str, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    for (name, value) in [(4, path), (1, host)] {
        block.extend([name, u8::try_from(value.len()).unwrap()]);
        block.extend(value.as_bytes());
    }
    block
}

/// A client that asks for the same on so many streams, and opens no window for the answers.
pub(super) fn without_window(host: &str, path: &str, streams: u32) -> Vec<u8> {
    let shut = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let open = |n: u32| frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &get(host, path));
    let streams: Vec<u8> = (0..streams).flat_map(open).collect();
    [PREFACE, &shut, &streams].concat()
}

/// A client that begins a body, and resets the stream with this code. A length may have been
/// declared.
pub(crate) fn reset_upload(host: &str, path: &str, declared: Option<&str>, code: u8) -> Vec<u8> {
    let mut block = get(host, path);
    block[0] = 0x83;
    if let Some(length) = declared {
        block.extend([0x0f, 13, u8::try_from(length.len()).unwrap()]);
        block.extend(length.as_bytes());
    }
    let open = frame(HEADERS, END_HEADERS, 1, &block);
    let data = frame(DATA, 0, 1, b"half of the upload");
    [PREFACE, &open, &data, &frame(RST_STREAM, 0, 1, &[0, 0, 0, code])].concat()
}

/// A client that begins a body and does not go on.
pub(super) fn half_an_upload(host: &str, path: &str) -> Vec<u8> {
    let mut block = get(host, path);
    // POST instead of GET.
    block[0] = 0x83;
    [PREFACE, &frame(HEADERS, END_HEADERS, 1, &block), &frame(DATA, 0, 1, b"half")].concat()
}

/// A client that sends as much of so many bodies as its windows allow.
pub(super) fn uploads_ahead(host: &str, path: &str, streams: u32) -> Vec<u8> {
    let mut block = get(host, path);
    block[0] = 0x83;
    let upload = |n: u32| {
        let open = frame(HEADERS, END_HEADERS, 2 * n + 1, &block);
        let piece = frame(DATA, 0, 2 * n + 1, &[b'x'; 16 << 10]);
        [open, piece.repeat(15)].concat()
    };
    [PREFACE, &(0..streams).flat_map(upload).collect::<Vec<u8>>()].concat()
}

/// Sends frames of HTTP/2 until the host has had enough or there are no more. Whether it has: it
/// said so, or took no more.
async fn refuses(host: &Host, frames: impl IntoIterator<Item = Vec<u8>>) -> bool {
    let mut socket = host.raw(PREFACE).await;
    let (mut read, mut write) = socket.split();
    let sending = async {
        for frame in frames {
            if write.write_all(&frame).await.is_err() {
                return true;
            }
        }
        // The end of the sending half tells a connection that was cut nothing new.
        let _ = write.shutdown().await;
        false
    };
    let mut bytes = Vec::new();
    let (cut, _) = tokio::join!(sending, read.read_to_end(&mut bytes));
    let mut refused = cut;
    let mut left = &bytes[..];
    while left.len() >= 9 {
        let length = u32::from_be_bytes([0, left[0], left[1], left[2]]) as usize;
        refused |= [GOAWAY, RST_STREAM].contains(&left[3]);
        left = left.get(9 + length..).unwrap_or_default();
    }
    refused
}

/// Requests that are all but complete, each with a large header: what the host holds of them is
/// bounded before any of them is a function's.
#[tokio::test(flavor = "multi_thread")]
async fn requests_whose_bodies_never_come() {
    target()
        .settings("body_memory_mib = 8")
        .attacked(async |host| {
            let (mut waiting, mut bodies) = (FuturesUnordered::new(), Vec::new());
            for _ in 0..8 {
                let mut client = client::http2(host.address()).await;
                for _ in 0..100 {
                    let (sender, body) = client::upload();
                    let request = Request::post(format!("http://{SUSPECT}/body"))
                        .header("x-long", "x".repeat(14_000))
                        .header("x-longer", "x".repeat(14_000))
                        .body(body)
                        .unwrap();
                    client.ready().await.unwrap();
                    waiting.push(client.send_request(request));
                    bodies.push(sender);
                }
            }
            // Some two hundred wait; the others are answered.
            for _ in 0..500 {
                let answer = waiting.next().await.unwrap().unwrap();
                assert_eq!(answer.status(), 503);
                assert_eq!(answer.headers()["lacewing-outcome"], "load_shed");
                assert_eq!(answer.headers()["retry-after"], "1");
            }
            assert!(host.figure("lacewing_bodies_bytes").await <= 8 << 20);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rapid_reset() {
    target()
        .limits("cpu_ms = 60_000\ndeadline_ms = 600_000")
        .attacked(async |host| {
            let one = |n: u32| {
                let stream = 2 * n + 1;
                let mut pair =
                    frame(HEADERS, END_STREAM | END_HEADERS, stream, &get(SUSPECT, "/sleep"));
                pair.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
                pair
            };
            assert!(refuses(host, (0..20_000).map(one)).await);
        })
        .await;
}

/// Slower than a rapid reset: each request is taken back once a function runs for it.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_taken_back_while_they_run() {
    target()
        .limits("cpu_ms = 60_000\ndeadline_ms = 600_000")
        .attacked(async |host| {
            let mut client = client::http2(host.address()).await;
            let mut refused = None;
            while refused.is_none() {
                let (_, body) = client::upload();
                let request = Request::get(format!("http://{SUSPECT}/sleep")).body(body).unwrap();
                refused = tokio::select! {
                    response = client.send_request(request) => Some(response.unwrap()),
                    () = host.until("lacewing_invocations_in_flight", |count| count > 0) => None,
                };
                assert!(host.records().len() < 2000, "none of 2,000 is refused");
            }
            let refused = refused.unwrap();
            assert_eq!(refused.status(), 503);
            assert_eq!(refused.headers()["lacewing-outcome"], "load_shed");
            let records = host.records();
            assert!(records.iter().all(|record| record["outcome"] == "canceled"), "{records:?}");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn continuations_without_end() {
    target()
        .attacked(async |host| {
            let begin = frame(HEADERS, END_STREAM, 1, &get(SUSPECT, "/ok"));
            // A field that is not to be kept in the table, of 1,000 bytes.
            let mut field = vec![0, 1, b'x', 0x7f, 0xe9, 0x06];
            field.extend([b'v'; 1000]);
            let more = frame(CONTINUATION, 0, 1, &field);
            let flood = std::iter::once(begin).chain(std::iter::repeat_n(more, 50_000));
            assert!(refuses(host, flood).await);
            let empty = frame(CONTINUATION, 0, 1, &[]);
            let begin = frame(HEADERS, END_STREAM, 1, &get(SUSPECT, "/ok"));
            let flood = std::iter::once(begin).chain(std::iter::repeat_n(empty, 50_000));
            assert!(refuses(host, flood).await);
        })
        .await;
}

/// One field in the table, which is named thousands of times.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_bomb() {
    target()
        .attacked(async |host| {
            let mut block = get(SUSPECT, "/ok");
            block.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
            block.extend([b'v'; 4000]);
            block.extend([0xbe; 8000]);
            let bomb = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block);
            refuses(host, [bomb]).await;
            assert!(host.records().is_empty(), "no guest was asked: {:?}", host.records());
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_that_mean_nothing() {
    target()
        .attacked(async |host| {
            for frame in [
                frame(PING, 0, 0, &[0; 8]),
                frame(SETTINGS, 0, 0, &[]),
                frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]),
                frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
                frame(0xbb, 0, 0, b"unknown"),
            ] {
                assert!(refuses(host, std::iter::repeat_n(frame, 200_000)).await);
                assert!(host.records().is_empty(), "no guest was asked: {:?}", host.records());
            }
        })
        .await;
}

/// On many connections at once, which come back whenever they are closed.
#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_on_many_connections() {
    target()
        .attacked(async |host| {
            let flood = async |kind: u8| {
                for _ in 0..5 {
                    let frame = frame(kind, 0, 1, &[0, 0, 0, 0, 16]);
                    assert!(refuses(host, std::iter::repeat_n(frame, 50_000)).await);
                }
            };
            futures_util::future::join_all((0..20).map(|n| flood([PRIORITY, 0xbb][n % 2]))).await;
        })
        .await;
}

/// A body in frames of no byte, and of one byte: the first is ended, the second is a body.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_in_the_smallest_frames() {
    target()
        .limits("request_body_kib = 64")
        .attacked(async |host| {
            let mut block = get(SUSPECT, "/body");
            block[0] = 0x83;
            let open = || std::iter::once(frame(HEADERS, END_HEADERS, 1, &block));
            let empty = frame(DATA, 0, 1, &[]);
            assert!(refuses(host, open().chain(std::iter::repeat_n(empty, 200_000))).await);
            let single = frame(DATA, 0, 1, b"x");
            assert!(refuses(host, open().chain(std::iter::repeat_n(single, 200_000))).await);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_over_the_limit() {
    target()
        .limits("deadline_ms = 300")
        .attacked(async |host| {
            let open = |n: u32| {
                frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &get(SUSPECT, "/sleep"))
            };
            assert!(refuses(host, (0..1000).map(open)).await);
            assert!(host.records().len() <= 256, "{}", host.records().len());
        })
        .await;
}

/// A body that is sent without leave, and a window that is never opened.
#[tokio::test(flavor = "multi_thread")]
async fn windows_that_are_not_kept() {
    Target::guest("portable-02")
        .settings(IMPATIENT)
        .limits("deadline_ms = 300")
        .attacked(async |host| {
            let shut = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
            let open = |flags| frame(HEADERS, flags, 1, &get(SUSPECT, "/forever"));
            let whole = open(END_STREAM | END_HEADERS);
            let socket = host.raw([PREFACE, &shut, &whole].concat()).await;
            let record = host.record(0).await;
            assert_eq!(record["outcome"], "deadline_exceeded", "{record}");
            drop(socket);
            let data = frame(DATA, 0, 1, &[b'x'; 16 << 10]);
            let flood = std::iter::once(open(END_HEADERS)).chain(std::iter::repeat_n(data, 1000));
            assert!(refuses(host, flood).await);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_a_request_without_end() {
    for guest in ["portable-02", "portable-03"] {
        Target::guest(guest)
            .attacked(async |host| {
                let head = format!("POST /trailers HTTP/1.1\r\nhost: {SUSPECT}\r\nte: trailers\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n0\r\n");
                let long = format!("x: {}\r\n", "v".repeat(1 << 20));
                for trailers in ["x: y\r\n".repeat(20_000), long] {
                    let reply = host.raw_reply(format!("{head}{trailers}\r\n")).await;
                    assert!(!reply.contains("vvvv") && !reply.contains("x: y\nx: y"), "{}", reply.len());
                }
            })
            .await;
    }
}
