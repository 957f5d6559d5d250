//! One request and its response: answers that come early, lengths of bodies, fields that are not
//! passed on.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wasmtime_wasi_http::WasiBody;

use super::*;

const TOO_LARGE: &str =
    "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig";

/// A request whose body comes in these pieces, and does not say beforehand how long it is.
fn upload(
    method: &str,
    uri: &str,
    frames: impl stream::Stream<Item = Frame<Bytes>> + Send + 'static,
) -> Request<WasiBody> {
    let frames = frames.map(Ok::<_, Infallible>);
    let body = StreamBody::new(frames).map_err(|never| match never {}).boxed_unsync();
    Request::builder().method(method).uri(uri).body(body).unwrap()
}

fn pieces(bytes: usize) -> impl stream::Stream<Item = Frame<Bytes>> + Send + 'static {
    let piece = Bytes::from_static(&[b'f'; 64 << 10]);
    let lengths = (0..bytes).step_by(piece.len()).map(move |at| (bytes - at).min(64 << 10));
    stream::iter(lengths.map(move |length| Frame::data(piece.slice(..length))))
}

/// Sends an upload to a server that answers when it has read the head. The status and the body of
/// the answer.
async fn answered_early(server: &LoopbackServer, bytes: usize) -> (u16, Bytes) {
    let limits = EgressLimits { bytes: 1 << 30, ..limits() };
    let mut setup = loopback_setup(api(), limits);
    let uri = format!("http://api.test:{}/", server.port());
    let (parts, body) = setup.fetch(upload("POST", &uri, pieces(bytes))).await.unwrap();
    (parts.status.as_u16(), body.unwrap())
}

#[tokio::test]
async fn an_early_answer_to_an_upload_arrives() {
    let ends_its_side = LoopbackServer::start(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(TOO_LARGE.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let resets = LoopbackServer::start(|mut stream| async move {
        read_head(&mut stream).await;
        // The part that was not read makes the close a reset.
        let _ = stream.read_u8().await;
        stream.write_all(TOO_LARGE.as_bytes()).await.unwrap();
    })
    .await;
    for server in [ends_its_side, resets] {
        for bytes in [1, 100_000, 400_000, 1 << 20, 16 << 20] {
            let (status, body) = answered_early(&server, bytes).await;
            assert_eq!((status, &body[..]), (413, &b"big"[..]), "{bytes}");
        }
    }
}

#[tokio::test]
async fn an_upload_that_is_not_answered_fails() {
    let server = LoopbackServer::start(|mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    for bytes in [1, 1 << 20] {
        let mut setup = loopback_setup(api(), limits());
        let uri = format!("http://api.test:{}/", server.port());
        assert_code!(
            setup.fetch(upload("POST", &uri, pieces(bytes))).await,
            Code::HttpResponseIncomplete | Code::ConnectionTerminated
        );
    }
}

/// The fields of a request that say how long its body is.
async fn framing(request: impl FnOnce(&str) -> Request<WasiBody>) -> String {
    let (server, mut heads) = LoopbackServer::answering(HELLO).await;
    let mut setup = loopback_setup(api(), limits());
    let uri = format!("http://api.test:{}/", server.port());
    setup.fetch(request(&uri)).await.unwrap().1.unwrap();
    let head = heads.recv().await.unwrap();
    let said = head
        .lines()
        .filter(|line| line.starts_with("content-length") || line.starts_with("transfer-encoding"));
    said.collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn an_empty_body_has_a_length_where_one_is_expected_and_is_never_chunked() {
    for (method, says) in [
        ("POST", "content-length: 0"),
        ("PUT", "content-length: 0"),
        ("PATCH", "content-length: 0"),
        ("GET", ""),
        ("HEAD", ""),
        ("DELETE", ""),
        ("OPTIONS", ""),
    ] {
        let none = |uri: &str| {
            let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
            Request::builder().method(method).uri(uri).body(body).unwrap()
        };
        assert_eq!(framing(none).await, says, "{method}");
        let ended = |uri: &str| upload(method, uri, stream::empty());
        assert_eq!(framing(ended).await, says, "{method}, a body that has ended");
    }
}

#[tokio::test]
async fn a_body_that_is_there_has_a_length_and_one_that_is_not_is_chunked() {
    let piece = || Frame::data(Bytes::from_static(b"body"));
    let whole = |uri: &str| upload("POST", uri, stream::iter([piece()]));
    assert_eq!(framing(whole).await, "content-length: 4");
    let long = |uri: &str| upload("POST", uri, stream::iter([piece(), piece(), piece()]));
    assert_eq!(framing(long).await, "transfer-encoding: chunked");
    let trailers = || Frame::trailers(HeaderMap::new());
    let with_trailers = |uri: &str| upload("POST", uri, stream::iter([piece(), trailers()]));
    assert_eq!(framing(with_trailers).await, "transfer-encoding: chunked");
    // A guest may wait for the response before it writes.
    let waits = |uri: &str| upload("POST", uri, stream::pending());
    assert_eq!(framing(waits).await, "transfer-encoding: chunked");
}

#[tokio::test]
async fn fields_of_one_connection_or_of_the_host_are_not_passed_on() {
    let (server, mut heads) = LoopbackServer::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: x-hop\r\nx-hop: 1\r\nx-a: b\r\n\
         keep-alive: timeout=5\r\nlacewing-outcome: ok\r\n\r\nhello",
    )
    .await;
    let mut setup = loopback_setup(api(), limits());
    let mut request = get(&format!("http://api.test:{}/", server.port()));
    for name in ["lacewing-route", "lacewing-params", "te", "proxy-authorization", "x-kept"] {
        request.headers_mut().insert(name, HeaderValue::from_static("trailers"));
    }
    let (parts, _) = setup.fetch(request).await.unwrap();
    let head = heads.recv().await.unwrap();
    let names: Vec<&str> = head.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert_eq!(names, ["x-kept", "host", "connection"], "{head}");
    let mut names: Vec<&str> = parts.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "lacewing-outcome", "x-a"]);
}
