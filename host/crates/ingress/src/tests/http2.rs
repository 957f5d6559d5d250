//! HTTP/2 by prior knowledge.

use std::convert::Infallible;

use http::{Request, StatusCode, Uri, Version};
use http_body::Body;
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

pub(super) async fn connect<B>(host: &Host) -> SendRequest<B>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let socket = TcpStream::connect(host.server.address()).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(super) fn request(method: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let uri = format!("http://h{path}");
    Request::builder().method(method).uri(uri).body(Full::new(Bytes::from(body))).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn requests_are_answered_side_by_side() {
    let host = Host::start().await;
    let mut client = connect(&host).await;
    let waits = client.send_request(request("GET", "/wait", ""));
    let waits = tokio::spawn(waits);
    host.world.until(|world| world.waiting.load(Ordering::SeqCst) == 1).await;
    let response = client.send_request(request("POST", "/echo", "abc")).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
    assert_eq!(response.headers()["lacewing-outcome"], "ok");
    assert!(response.headers().contains_key("date"));
    assert_eq!(text(response).await, "abc");
    host.world.release.notify_waiters();
    assert_eq!(text(waits.await.unwrap().unwrap()).await, "done");
}

#[tokio::test]
async fn a_function_sees_the_same_as_over_http1() {
    let host = Host::start().await;
    let mut client = connect(&host).await;
    let response = client.send_request(request("GET", "/show?a=b", "")).await.unwrap();
    let shown = text(response).await;
    assert!(shown.starts_with("GET http://h /show?a=b /show\n"), "{shown}");
    assert!(shown.contains("\nhost: h\n"), "{shown}");
    let mut mismatch = request("GET", "/show", "");
    mismatch.headers_mut().insert("host", HeaderValue::from_static("other"));
    let response = client.send_request(mismatch).await.unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn a_target_has_the_forms_of_http1() {
    let host = Host::start().await;
    let mut client = connect(&host).await;
    let request = |method: &str, scheme: &str, path: &str| {
        let uri = Uri::builder().scheme(scheme).authority("h").path_and_query(path).build();
        let request = Request::builder().method(method).uri(uri.unwrap());
        request.body(Full::new(Bytes::new())).unwrap()
    };
    let all = client.send_request(request("OPTIONS", "http", "*")).await.unwrap();
    assert_eq!(all.status(), 204);
    assert_eq!(all.headers()["allow"], "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    let ftp = client.send_request(request("GET", "ftp", "/")).await.unwrap();
    assert_eq!(ftp.status(), 400);
    assert!(
        text(ftp).await.contains("the scheme of the request's target is neither http nor https")
    );
}

#[tokio::test]
async fn head_has_a_length_and_no_body() {
    let host = Host::start().await;
    let mut client = connect(&host).await;
    let response = client.send_request(request("HEAD", "/", "")).await.unwrap();
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn trailers_arrive() {
    let host = Host::start().await;
    let mut client = connect(&host).await;
    let response = client.send_request(request("GET", "/stream", "")).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "7");
}

#[tokio::test]
async fn a_stream_that_fails_is_reset() {
    let host = Host::start().await;
    let mut client = connect(&host).await;
    // The reset may overtake the header.
    if let Ok(response) = client.send_request(request("GET", "/broken", "")).await {
        assert!(response.into_body().collect().await.is_err());
    }
    assert_eq!(client.send_request(request("GET", "/", "")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_request_that_is_taken_back_is_stopped() {
    let host = Host::start().await;
    let mut client = connect(&host).await;
    let waits = tokio::spawn(client.send_request(request("GET", "/wait", "")));
    host.world.until(|world| world.waiting.load(Ordering::SeqCst) == 1).await;
    waits.abort();
    host.world.until(|world| world.dropped.load(Ordering::SeqCst) == 1).await;
    assert_eq!(client.send_request(request("GET", "/", "")).await.unwrap().status(), 200);
}

/// Takes a request back once its function runs: no bound on resets that were not looked at meets
/// it. Returns the response, if one comes first.
async fn take_back(
    host: &Host,
    client: &mut SendRequest<Full<Bytes>>,
) -> Option<Response<Incoming>> {
    let [waiting, dropped] =
        [&host.world.waiting, &host.world.dropped].map(|count| count.load(Ordering::SeqCst));
    let mut waits = tokio::spawn(client.send_request(request("GET", "/wait", "")));
    tokio::select! {
        response = &mut waits => return Some(response.unwrap().unwrap()),
        () = host.world.until(|world| world.waiting.load(Ordering::SeqCst) > waiting) => {}
    }
    waits.abort();
    host.world.until(|world| world.dropped.load(Ordering::SeqCst) > dropped).await;
    None
}

#[tokio::test]
async fn a_client_that_takes_back_most_requests_is_not_served_for_a_while() {
    let host = Host::start().await;
    let mut client = connect(&host).await;
    let mut refused = None;
    for _ in 0..2000 {
        refused = take_back(&host, &mut client).await;
        if refused.is_some() {
            break;
        }
    }
    let response = refused.expect("some request is refused");
    assert_eq!(
        (response.status(), &response.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &HeaderValue::from(1))
    );
    let another = connect(&host).await.send_request(request("GET", "/", "")).await.unwrap();
    assert_eq!(another.status(), 200);
    // The refusals earn nothing, but time does.
    let served = async {
        while client.send_request(request("GET", "/", "")).await.unwrap().status() != 200 {}
    };
    tokio::time::timeout(PATIENCE, served).await.expect("the connection is served again");
}

/// A connection that lives for long takes back many requests in total.
#[tokio::test]
async fn a_client_that_takes_back_every_other_request_is_served() {
    let host = Host::start().await;
    let mut client = connect(&host).await;
    for count in 0..500 {
        assert!(take_back(&host, &mut client).await.is_none());
        let response = client.send_request(request("GET", "/", "")).await.unwrap();
        assert_eq!(response.status(), 200, "after {count} that were taken back");
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_given_up_and_one_that_waits_is_not() {
    let keep_alive = Duration::from_millis(400);
    let options = Options { keep_alive, write_idle: keep_alive, ..Options::default() };
    let host = Host::with(options).await;
    let mut patient = connect(&host).await;
    let mut relay = connect(&host).await;
    let waits = tokio::spawn(patient.send_request(request("GET", "/wait", "")));
    host.world.until(|world| world.waiting.load(Ordering::SeqCst) == 1).await;
    // A stream that the function has nothing for is no idling either.
    let (piece, pieces) = tokio::sync::mpsc::channel(1);
    let body = StreamBody::new(futures_util::stream::unfold(pieces, async |mut pieces| {
        let piece: Option<Bytes> = tokio::sync::mpsc::Receiver::recv(&mut pieces).await;
        Some((Ok::<_, Infallible>(Frame::data(piece?)), pieces))
    }));
    let relayed = Request::post("http://h/relay").body(body.boxed_unsync()).unwrap();
    let relayed = relay.send_request(relayed).await.unwrap();
    let give_up = async |path: &str| {
        let mut greedy = connect(&host).await;
        let unread = greedy.send_request(request("GET", path, "")).await.unwrap();
        let gone = async {
            while greedy.ready().await.is_ok() {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("the connection was closed");
        assert!(unread.into_body().collect().await.is_err(), "{path}");
    };
    tokio::join!(give_up("/endless"), give_up("/large"));
    host.world.release.notify_waiters();
    assert_eq!(text(waits.await.unwrap().unwrap()).await, "done");
    piece.send(Bytes::from("late")).await.unwrap();
    drop(piece);
    assert_eq!(text(relayed).await, "late");
}

/// One frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let head = [0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
    [&head, payload].concat()
}

/// A client that sends a part of a body to `/echo`, declares a length or none, and resets the
/// stream with this code.
fn reset_upload(declared: Option<&str>, code: u8) -> Vec<u8> {
    let mut block = [&[0x83, 0x86, 0x04, 5][..], b"/echo", &[0x01, 1], b"h"].concat();
    if let Some(length) = declared {
        block.extend([0x0f, 13, u8::try_from(length.len()).unwrap()]);
        block.extend(length.as_bytes());
    }
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &block),
        frame(0, 0, 1, b"half of the upload"),
        frame(3, 0, 1, &[0, 0, 0, code]),
    ]
    .concat()
}

#[tokio::test]
async fn a_body_that_its_client_resets_is_never_whole() {
    const NO_ERROR: u8 = 0;
    const CANCEL: u8 = 8;
    for declared in [None, Some("100")] {
        for code in [NO_ERROR, CANCEL] {
            let host = Host::start().await;
            let mut client = host.connect().await;
            client.send(reset_upload(declared, code)).await;
            let gone = |world: &World| {
                let errors = world.body_errors.lock().unwrap();
                errors.as_slice() == [BodyError::Gone]
            };
            host.world.until(gone).await;
            let answered = host.world.answered();
            assert!(!answered.iter().any(|line| line.ends_with("200")), "{code}: {answered:?}");
        }
    }
}

#[tokio::test]
async fn cookies_in_fields_of_their_own_are_one_field() {
    let host = Host::start().await;
    let mut client = connect(&host).await;
    let mut crumbs = request("GET", "/show", "");
    for crumb in ["session=abc", "theme=dark", "a=b; c=d"] {
        crumbs.headers_mut().append("cookie", HeaderValue::from_static(crumb));
    }
    let shown = text(client.send_request(crumbs).await.unwrap()).await;
    assert!(shown.contains("\ncookie: session=abc; theme=dark; a=b; c=d\n"), "{shown}");
    assert_eq!(shown.matches("cookie").count(), 1, "{shown}");
}

/// `GET http://h/large` with windows of `window` bytes, frame by frame.
fn large(window: u32) -> Vec<u8> {
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    let block = [&[0x82, 0x86, 0x04, 6][..], b"/large", &[0x01, 1], b"h"].concat();
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &settings),
        frame(8, 0, 0, &(1_u32 << 30).to_be_bytes()),
        frame(1, 5, 1, &block),
    ]
    .concat()
}

/// hyper has handed over the whole body, and the client's windows hold all of it. The host sees
/// what leaves the socket.
#[tokio::test]
async fn a_client_that_reads_slowly_and_steadily_gets_its_whole_body() {
    let limit = Duration::from_secs(1);
    let options = Options { keep_alive: limit, write_idle: limit, ..Options::default() };
    let host = Host::with(options).await;
    let mut slow = host.connect().await;
    slow.send(large(1 << 30)).await;
    let mut read = 0;
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    while read < 1536 * 1024 {
        pace.tick().await;
        read += slow.read_bytes(16 * 1024).await.len();
    }
    // Frames have headers.
    slow.read_bytes(LARGE_BYTES - read).await;
}

/// A byte now and then is no progress.
#[tokio::test]
async fn a_client_that_opens_its_window_byte_by_byte_is_given_up() {
    let limit = Duration::from_millis(400);
    let options = Options { keep_alive: limit, write_idle: limit, ..Options::default() };
    let host = Host::with(options).await;
    let mut client = host.connect().await;
    client.send(large(0)).await;
    // The settings of a connection that is served.
    client.read_bytes(9).await;
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    let gone = async {
        while host.server.connections() > 0 {
            pace.tick().await;
            // The connection may be gone by now.
            let _ = client.socket.write_all(&[0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0, 1]).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the connection was closed");
}

#[tokio::test]
async fn limits_are_the_same_as_over_http1() {
    let host = Host::start().await;
    let mut client = connect(&host).await;
    let mut many = request("GET", "/", "");
    for _ in 0..101 {
        many.headers_mut().append("x", HeaderValue::from_static("1"));
    }
    many.headers_mut().insert("origin", HeaderValue::from_static("https://a.com"));
    *many.uri_mut() = "http://h/shared".parse().unwrap();
    let response = client.send_request(many).await.unwrap();
    assert_eq!(response.status(), 431);
    assert_eq!(response.headers()["access-control-allow-origin"], "https://a.com");
    let long = request("GET", &format!("/{}", "x".repeat(9000)), "");
    assert_eq!(client.send_request(long).await.unwrap().status(), 414);
    let mut large = request("GET", "/", "");
    large.headers_mut().insert("x", HeaderValue::from_str(&"x".repeat(80_000)).unwrap());
    let response = client.send_request(large).await;
    assert!(response.is_err() || response.unwrap().status() == 431);
    assert_eq!(client.send_request(request("GET", "/", "")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_drain_finishes_requests_in_flight_and_cuts_the_rest() {
    let host = Host::start().await;
    let world = Arc::clone(&host.world);
    let mut idle = connect(&host).await;
    assert_eq!(idle.send_request(request("GET", "/", "")).await.unwrap().status(), 200);
    let mut busy = connect(&host).await;
    let finishes = tokio::spawn(busy.send_request(request("GET", "/wait", "")));
    world.until(|world| world.waiting.load(Ordering::SeqCst) == 1).await;
    let drain = tokio::spawn(host.server.drain(PATIENCE));
    // The idle one is told to go away at once.
    let gone = async {
        while idle.ready().await.is_ok() && !idle.is_closed() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    world.release.notify_waiters();
    assert_eq!(text(finishes.await.unwrap().unwrap()).await, "done");
    assert_eq!(drain.await.unwrap(), Drained::default());

    let host = Host::start().await;
    let world = Arc::clone(&host.world);
    let mut client = connect(&host).await;
    let cut = tokio::spawn(client.send_request(request("GET", "/wait", "")));
    world.until(|world| world.waiting.load(Ordering::SeqCst) == 1).await;
    let drained = host.server.drain(Duration::from_millis(100)).await;
    assert_eq!(drained, Drained { connections_cut: 1, requests_cut: 1 });
    assert!(cut.await.unwrap().is_err());
    world.until(|world| world.dropped.load(Ordering::SeqCst) == 1).await;
}
