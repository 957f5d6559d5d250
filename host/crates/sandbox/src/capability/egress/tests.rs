//! The gate over real sockets on loopback, which the grants have to name.

macro_rules! assert_code {
    ($result:expr, $pattern:pat) => {
        match $result {
            Err($pattern) => {}
            other => panic!("{other:?}"),
        }
    };
}

mod bounds;
mod exchange;

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Mutex, mpsc},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};
use wasmtime_wasi_http::{Error as Code, RequestOptions};

use super::{
    EgressLimits, EgressOptions, Propagation,
    testing::{LoopbackServer, Setup, get, impatient, limits, options, policy, read_head, request},
};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: b\r\n\r\nhello";
const LOOPBACK: &[&str] = &["127.0.0.0/8"];

fn loopback_setup(options: EgressOptions, limits: EgressLimits) -> Setup {
    Setup::new(options, policy(&["http://api.test:*", "https://api.test:*"], LOOPBACK), limits)
}

fn api() -> EgressOptions {
    options(&[("api.test", &["127.0.0.1"])])
}

#[tokio::test]
async fn a_granted_request_goes_out_in_origin_form() {
    let (server, mut heads) = LoopbackServer::answering(HELLO).await;
    let mut setup = loopback_setup(api(), limits());
    let uri = format!("http://api.test:{}/a%20b?c=d", server.port());
    let (parts, body) = setup.fetch(request("POST", &uri, "body")).await.unwrap();
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(parts.headers["x-a"], "b");
    assert_eq!(body.unwrap(), "hello");
    let head = heads.recv().await.unwrap();
    assert_eq!(
        head,
        format!(
            "POST /a%20b?c=d HTTP/1.1\r\nhost: api.test:{}\r\nconnection: close\r\n\
             content-length: 4\r\n\r\n",
            server.port()
        )
    );
    assert!(setup.said().is_empty());
}

#[tokio::test]
async fn the_guest_cannot_choose_another_host_header() {
    let (server, mut heads) = LoopbackServer::answering(HELLO).await;
    let mut setup = loopback_setup(api(), limits());
    let mut request = get(&format!("http://api.test:{}", server.port()));
    request.headers_mut().append("host", HeaderValue::from_static("other.test"));
    request.headers_mut().append("connection", HeaderValue::from_static("keep-alive, x-secret"));
    setup.fetch(request).await.unwrap().1.unwrap();
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: api.test:") && !head.contains("other.test"), "{head}");
    assert!(!head.contains("keep-alive"), "{head}");
}

#[tokio::test]
async fn a_request_without_a_grant_is_denied_and_reported_once() {
    let mut setup = loopback_setup(api(), limits());
    for _ in 0..3 {
        assert_code!(setup.fetch(get("https://example.com/x")).await, Code::HttpRequestDenied);
    }
    assert_eq!(
        setup.said(),
        [
            "outbound http to example.com:443 is not granted: add grants.http = [\"https://example.com\"]"
        ]
    );
    assert_code!(
        setup.fetch(request("CONNECT", "http://api.test:1/", "")).await,
        Code::HttpRequestMethodInvalid
    );
    assert_code!(
        setup.fetch(get("http://api.test@example.com/")).await,
        Code::HttpRequestUriInvalid
    );
}

#[tokio::test]
async fn a_granted_name_does_not_reach_forbidden_addresses() {
    for address in ["127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fd00:ec2::254"] {
        let policy = policy(&["http://api.test"], &[]);
        let mut setup = Setup::new(options(&[("api.test", &[address])]), policy, limits());
        assert_code!(setup.fetch(get("http://api.test/")).await, Code::DestinationIpProhibited);
    }
    let policy = policy(&["http://api.test"], &["10.0.0.0/8"]);
    let mut setup = Setup::new(options(&[("api.test", &["192.168.0.1"])]), policy, limits());
    assert_code!(setup.fetch(get("http://api.test/")).await, Code::DestinationIpProhibited);
    assert_eq!(
        setup.said(),
        ["outbound http to api.test:80 is refused: 192.168.0.1 is a private address; \
             if that is meant, add grants.networks = [\"192.168.0.1/32\"]"]
    );
}

#[tokio::test]
async fn of_several_addresses_only_the_allowed_are_used() {
    // A server on each of two loopback addresses, on one port; the policy grants the second only.
    let (server, _heads) = LoopbackServer::answering(HELLO).await;
    let other = tokio::net::TcpListener::bind(("127.0.0.2", server.port())).await.unwrap();
    let names: &[(&str, &[&str])] = &[("api.test", &["127.0.0.2", "10.0.0.1", "127.0.0.1"])];
    let policy = policy(&["http://api.test:*"], &["127.0.0.1/32"]);
    let mut setup = Setup::new(options(names), policy, limits());
    let uri = format!("http://api.test:{}/", server.port());
    assert_eq!(setup.fetch(get(&uri)).await.unwrap().1.unwrap(), "hello");
    let waiting = other.into_std().unwrap().accept();
    assert_eq!(waiting.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn addresses_are_tried_in_turn() {
    let (server, _heads) = LoopbackServer::answering(HELLO).await;
    // Nothing listens at the first two.
    let names: &[(&str, &[&str])] = &[("api.test", &["127.0.0.3", "127.0.0.2", "127.0.0.1"])];
    let mut setup = loopback_setup(options(names), limits());
    let uri = format!("http://api.test:{}/", server.port());
    assert_eq!(setup.fetch(get(&uri)).await.unwrap().1.unwrap(), "hello");
}

#[tokio::test]
async fn an_address_that_a_grant_names_is_reached_without_a_network() {
    let (server, _heads) = LoopbackServer::answering(HELLO).await;
    let grant = format!("http://{}", server.address);
    let mut setup = Setup::new(options(&[]), policy(&[&grant], &[]), limits());
    let uri = format!("{grant}/");
    assert_eq!(setup.fetch(get(&uri)).await.unwrap().1.unwrap(), "hello");
}

#[tokio::test]
async fn names_and_connections_that_fail_have_codes_of_their_own() {
    let mut setup = loopback_setup(impatient(&[("api.test", &[])]), limits());
    assert_code!(setup.fetch(get("http://api.test:80/")).await, Code::DnsTimeout);
    let mut setup = loopback_setup(options(&[]), limits());
    assert_code!(setup.fetch(get("http://api.test:80/")).await, Code::DnsError { .. });
    // A port that was just free: nothing listens.
    let port = LoopbackServer::answering(HELLO).await.0.port();
    let mut setup = loopback_setup(options(&[("api.test", &["127.0.0.9"])]), limits());
    let uri = format!("http://api.test:{port}/");
    assert_code!(setup.fetch(get(&uri)).await, Code::ConnectionRefused);
    let said = setup.said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with(&format!(
            "outbound http to api.test:{port}: the connection was not made: Connection refused"
        )),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let server = LoopbackServer::start(|mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let uri = format!("http://api.test:{}/", server.port());
    let mut setup = loopback_setup(api(), limits());
    let soon = Some(Duration::from_millis(10));
    let options = RequestOptions { first_byte_timeout: soon, ..RequestOptions::default() };
    assert_code!(setup.fetch_with(get(&uri), options).await, Code::ConnectionReadTimeout);
    // The host's cap holds where the guest asks for more.
    let mut setup = loopback_setup(impatient(&[("api.test", &["127.0.0.1"])]), limits());
    let hour = Some(Duration::from_secs(3600));
    let options = RequestOptions { first_byte_timeout: hour, ..RequestOptions::default() };
    assert_code!(setup.fetch_with(get(&uri), options).await, Code::ConnectionReadTimeout);
    assert_eq!(setup.egress.free_connections(), 1024);
}

#[tokio::test]
async fn a_body_that_stops_is_not_waited_for() {
    let server = LoopbackServer::start(|mut stream| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
        stream.write_all(head).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let uri = format!("http://api.test:{}/", server.port());
    let mut setup = loopback_setup(api(), limits());
    let soon = Some(Duration::from_millis(10));
    let options = RequestOptions { between_bytes_timeout: soon, ..RequestOptions::default() };
    let (parts, body) = setup.fetch_with(get(&uri), options).await.unwrap();
    assert_eq!(parts.status, StatusCode::OK);
    assert_code!(body, Code::ConnectionReadTimeout);
}

#[tokio::test]
async fn responses_that_are_no_http_have_codes() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", "HttpResponseIncomplete"),
        ("", "HttpResponseIncomplete"),
        ("SSH-2.0-x\r\n\r\n", "HttpProtocolError"),
    ] {
        let (server, _heads) = LoopbackServer::answering(answer).await;
        let mut setup = loopback_setup(api(), limits());
        let uri = format!("http://api.test:{}/", server.port());
        let result = setup.fetch(get(&uri)).await.and_then(|(_, body)| body);
        assert_eq!(format!("{:?}", result.unwrap_err()), expected, "{answer}");
    }
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(65 * 1024));
    let (server, _heads) = LoopbackServer::answering(long.leak()).await;
    let mut setup = loopback_setup(api(), limits());
    let uri = format!("http://api.test:{}/", server.port());
    assert_code!(setup.fetch(get(&uri)).await, Code::HttpResponseHeaderSectionSize(None));
}

/// A server that sends interim responses and never another one.
#[tokio::test]
async fn interim_responses_without_end_are_an_error() {
    for interim in
        ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"]
    {
        let server = LoopbackServer::start(move |mut stream| async move {
            read_head(&mut stream).await;
            let many = interim.repeat(100);
            while stream.write_all(many.as_bytes()).await.is_ok() {}
        })
        .await;
        let mut setup = loopback_setup(api(), limits());
        let uri = format!("http://api.test:{}/", server.port());
        assert_code!(setup.fetch(get(&uri)).await, Code::HttpResponseHeaderSectionSize(None));
        let said = setup.said();
        let reason = "more than 196608 bytes came before the response's head was complete, interim responses included";
        assert!(said[0].ends_with(reason), "{said:?}");
        assert_eq!(setup.egress.free_connections(), 1024);
    }
}

/// The bound ends with the head: a body may be longer.
#[tokio::test]
async fn interim_responses_before_a_long_body_pass() {
    let body = "x".repeat(1 << 20);
    let answer = format!(
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (server, _heads) = LoopbackServer::answering(answer.leak()).await;
    let mut setup = loopback_setup(api(), EgressLimits { bytes: 2 << 20, ..limits() });
    let uri = format!("http://api.test:{}/", server.port());
    assert_eq!(setup.fetch(get(&uri)).await.unwrap().1.unwrap(), body);
}

#[tokio::test]
async fn bytes_are_limited_over_the_invocation_in_both_directions() {
    let (server, _heads) = LoopbackServer::answering(HELLO).await;
    let uri = format!("http://api.test:{}/", server.port());
    let mut setup = loopback_setup(api(), EgressLimits { bytes: 12, ..limits() });
    assert_eq!(setup.fetch(get(&uri)).await.unwrap().1.unwrap(), "hello");
    assert_eq!(setup.fetch(get(&uri)).await.unwrap().1.unwrap(), "hello");
    let (_, body) = setup.fetch(get(&uri)).await.unwrap();
    assert_code!(body, Code::HttpResponseBodySize(Some(12)));
    assert_code!(
        setup.fetch(request("POST", &uri, "more")).await,
        Code::HttpRequestBodySize(Some(12))
    );
    assert_eq!(
        setup.said(),
        [
            "outbound http: an invocation of this function may send and receive 12 bytes: raise limits.egress_kib"
        ]
    );
    assert_eq!(setup.egress.free_connections(), 1024);
}

#[tokio::test]
async fn an_endless_upload_is_stopped() {
    let server = LoopbackServer::start(|mut stream| async move {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let chunk = || Ok::<_, Code>(Frame::data(Bytes::from_static(&[b'x'; 8192])));
    let body = StreamBody::new(futures_util::stream::repeat_with(chunk)).boxed_unsync();
    let uri = format!("http://api.test:{}/", server.port());
    let request = http::Request::post(uri).body(body).unwrap();
    let mut setup = loopback_setup(api(), EgressLimits { bytes: 1024 * 1024, ..limits() });
    assert_code!(setup.fetch(request).await, Code::HttpRequestBodySize(Some(1_048_576)));
}

#[tokio::test]
async fn requests_are_counted_refused_ones_included() {
    let mut setup = loopback_setup(api(), EgressLimits { requests: 2, ..limits() });
    for _ in 0..2 {
        assert_code!(setup.fetch(get("http://example.com/")).await, Code::HttpRequestDenied);
    }
    assert_code!(setup.fetch(get("http://example.com/")).await, Code::ConnectionLimitReached);
    assert_eq!(
        setup.said()[1],
        "outbound http: an invocation of this function may make 2 requests: raise limits.outbound_requests"
    );
}

#[tokio::test]
async fn open_requests_wait_for_each_other() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let server = LoopbackServer::start(move |mut stream| {
        let arrived = arrived.clone();
        async move {
            arrived.send(read_head(&mut stream).await).unwrap();
            stream.write_all(HELLO.as_bytes()).await.unwrap();
        }
    })
    .await;
    let uri = |path: &str| format!("http://api.test:{}/{path}", server.port());
    let mut setup = loopback_setup(api(), EgressLimits { concurrency: 1, ..limits() });
    let (first, _driver) = setup.open(get(&uri("first"))).await.unwrap();
    assert!(arrivals.recv().await.unwrap().starts_with("GET /first "));
    let mut second = pin!(setup.gate.send(get(&uri("second")), None));
    assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    // It waits for a place of its own, not yet for one of the host's, as long as the first response
    // is held.
    assert_eq!(setup.egress.free_connections(), 1023);
    drop(first);
    assert!(second.await.is_ok());
    assert!(arrivals.recv().await.unwrap().starts_with("GET /second "));
}

#[tokio::test]
async fn a_host_without_free_connections_says_so() {
    let (server, _heads) = LoopbackServer::answering(HELLO).await;
    let uri = format!("http://api.test:{}/", server.port());
    let options = EgressOptions { connections: 1, ..impatient(&[("api.test", &["127.0.0.1"])]) };
    let mut setup = loopback_setup(options, limits());
    let held = setup.open(get(&uri)).await.unwrap();
    assert_code!(setup.open(get(&uri)).await, Code::ConnectionLimitReached);
    drop(held);
    assert_eq!(setup.egress.free_connections(), 1);
}

#[tokio::test]
async fn a_tenant_that_holds_all_it_may_leaves_the_others_theirs() {
    let (server, _heads) = LoopbackServer::answering(HELLO).await;
    let uri = format!("http://api.test:{}/", server.port());
    let options = EgressOptions { connections: 4, ..impatient(&[("api.test", &["127.0.0.1"])]) };
    let mut setup = loopback_setup(options, limits());
    let held = [setup.open(get(&uri)).await.unwrap(), setup.open(get(&uri)).await.unwrap()];
    assert_code!(setup.open(get(&uri)).await, Code::ConnectionLimitReached);
    let said = setup.said();
    assert!(
        said[0].ends_with(
            "all of the outbound connections that one tenant may have at once are in use"
        ),
        "{said:?}"
    );
    let mut neighbour = setup.neighbour(policy(&["http://api.test:*"], &["127.0.0.0/8"]));
    let (response, driver) = neighbour.open(get(&uri)).await.unwrap();
    drop((held, response));
    driver.await.unwrap().unwrap();
    assert_eq!(setup.egress.free_connections(), 4);
}

/// A name server that never answers keeps a thread of the system's resolver for as long as that
/// waits.
#[tokio::test]
async fn a_tenant_whose_names_are_never_resolved_leaves_the_others_theirs() {
    let (server, _heads) = LoopbackServer::answering(HELLO).await;
    let names: [(&str, &[&str]); 2] = [("api.test", &["127.0.0.1"]), ("slow.test", &[])];
    let granted = policy(&["http://slow.test"], &[]);
    let mut setup = Setup::new(impatient(&names), granted, limits());
    for _ in 0..40 {
        assert_code!(setup.open(get("http://slow.test/")).await, Code::DnsTimeout);
    }
    let counted = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(counted < 40, "look-ups that nobody waits for are bounded too: {counted}");
    let mut neighbour = setup.neighbour(policy(&["http://api.test:*"], &["127.0.0.0/8"]));
    neighbour.open(get(&format!("http://api.test:{}/", server.port()))).await.unwrap();
}

#[tokio::test]
async fn dropping_everything_closes_the_connection() {
    let (closed, mut was_closed) = mpsc::unbounded_channel();
    let server = LoopbackServer::start(move |mut stream| {
        let closed = closed.clone();
        async move {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
            read_head(&mut stream).await;
            stream.write_all(head).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
            closed.send(()).unwrap();
        }
    })
    .await;
    let mut setup = loopback_setup(api(), limits());
    let uri = format!("http://api.test:{}/", server.port());
    let (response, driver) = setup.gate.send(get(&uri), None).await.unwrap();
    drop((response, driver));
    was_closed.recv().await.unwrap();
    assert_eq!(setup.egress.free_connections(), 1024);
}

#[tokio::test]
async fn the_trace_goes_along_unless_the_guest_has_its_own() {
    let (server, mut heads) = LoopbackServer::answering(HELLO).await;
    let value = |text| Some(HeaderValue::from_static(text));
    let propagation = Propagation {
        traceparent: value("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        tracestate: value("a=1"),
        request_id: value("req-1"),
    };
    let policy = policy(&["http://api.test:*"], LOOPBACK);
    let mut setup = Setup::propagating(api(), policy, limits(), propagation);
    let uri = format!("http://api.test:{}/", server.port());
    setup.fetch(get(&uri)).await.unwrap().1.unwrap();
    let head = heads.recv().await.unwrap();
    for line in [
        "x-request-id: req-1\r\n",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
        "tracestate: a=1\r\n",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    let mut own = get(&uri);
    own.headers_mut().insert("traceparent", HeaderValue::from_static("00-own"));
    own.headers_mut().insert("x-request-id", HeaderValue::from_static("mine"));
    setup.fetch(own).await.unwrap().1.unwrap();
    let head = heads.recv().await.unwrap();
    assert!(head.contains("traceparent: 00-own\r\n"), "{head}");
    assert!(head.contains("x-request-id: mine\r\n"), "{head}");
    assert!(!head.contains("tracestate") && !head.contains("req-1"), "{head}");
}

/// A server with a certificate for `api.test`, and options that trust its issuer.
async fn tls_server(names: &[(&str, &[&str])]) -> (LoopbackServer, EgressOptions) {
    let issued = rcgen::generate_simple_self_signed(["api.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = LoopbackServer::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            assert_eq!(stream.get_ref().1.server_name(), Some("api.test"));
            read_head(&mut stream).await;
            stream.write_all(HELLO.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    })
    .await;
    let extra_roots = vec![issued.cert.der().clone()];
    (server, EgressOptions { extra_roots, ..options(names) })
}

#[tokio::test]
async fn tls_is_checked_against_the_name_in_the_url() {
    let names: &[(&str, &[&str])] = &[("api.test", &["127.0.0.1"]), ("b.test", &["127.0.0.1"])];
    let (server, trusting) = tls_server(names).await;
    let policy = || policy(&["https://*.test:*"], LOOPBACK);
    let mut setup = Setup::new(trusting, policy(), limits());
    let uri = |name| format!("https://{name}:{}/", server.port());
    assert_eq!(setup.fetch(get(&uri("api.test"))).await.unwrap().1.unwrap(), "hello");
    assert_code!(setup.fetch(get(&uri("b.test"))).await, Code::TlsCertificateError);
    let mut setup = Setup::new(options(names), policy(), limits());
    assert_code!(setup.fetch(get(&uri("api.test"))).await, Code::TlsCertificateError);
    assert_eq!(setup.egress.free_connections(), 1024);
    let said = setup.said();
    assert!(said[0].contains(": TLS failed: invalid peer certificate: "), "{said:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_a_protocol_error() {
    let server = LoopbackServer::start(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let mut setup = loopback_setup(api(), limits());
    let uri = format!("https://api.test:{}/", server.port());
    assert_code!(setup.fetch(get(&uri)).await, Code::TlsProtocolError);
}

#[tokio::test]
async fn trailers_pass() {
    let (server, _heads) = LoopbackServer::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-t: 1\r\n\r\n",
    )
    .await;
    let mut setup = loopback_setup(api(), limits());
    let uri = format!("http://api.test:{}/", server.port());
    let (response, _driver) = setup.open(get(&uri)).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-t"], "1");
    assert_eq!(collected.to_bytes(), "hi");
}

#[tokio::test]
async fn many_requests_leave_nothing_behind() {
    let (server, _heads) = LoopbackServer::answering(HELLO).await;
    let setup = loopback_setup(api(), EgressLimits { requests: 100, concurrency: 4, ..limits() });
    let setup = Arc::new(Mutex::new(setup));
    let uri = format!("http://api.test:{}/", server.port());
    let requests = (0..50).map(|_| async {
        let sent = setup.lock().await.gate.send(get(&uri), None);
        let (response, driver) = sent.await?;
        let driver = tokio::spawn(Box::into_pin(driver));
        let body = response.into_body().collect().await?.to_bytes();
        driver.await.unwrap()?;
        Ok::<_, Code>(body)
    });
    for body in futures_util::future::join_all(requests).await {
        assert_eq!(body.unwrap(), "hello");
    }
    assert_eq!(setup.lock().await.egress.free_connections(), 1024);
}
