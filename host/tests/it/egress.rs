//! Outbound HTTP of guests: only where the manifest's grants lead.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::Empty;

use crate::{
    client,
    harness::{Served, guest},
    process::Up,
    upstream::Upstream,
};

const GUESTS: [&str; 2] = ["portable-02", "portable-03"];

/// Serves a guest with these grants.
async fn serve(name: &str, grants: &str) -> Served {
    Served::manifest(&format!(
        r#"
app = "caller"

[functions.caller]
routes = ["/{{*path}}"]
component = "{}"

[functions.caller.grants]
{grants}
"#,
        guest(name).display()
    ))
    .await
}

/// The guest's words about a URL that it was asked to fetch, and its log.
async fn fetch(served: &Served, url: &str) -> (String, Vec<String>) {
    let reply = served.get(&format!("/fetch/{url}")).await;
    assert_eq!((reply.status, reply.outcome()), (200, "ok"), "{reply:?}");
    let (_, lines) = served.record().await;
    (reply.text().to_owned(), lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_server_answers() {
    for name in GUESTS {
        let upstream = Upstream::start("from far away").await;
        let url = format!("http://{}", upstream.address);
        let served = serve(name, &format!("http = [\"{url}\"]")).await;
        assert_eq!(
            fetch(&served, &format!("{url}/page?x=1")).await,
            ("200 from far away".to_owned(), vec![])
        );
        let heads = upstream.heads();
        assert!(heads[0].starts_with("GET /page?x=1 HTTP/1.1\r\n"), "{heads:?}");
        assert!(heads[0].contains(&format!("\r\nhost: {}\r\n", upstream.address)), "{heads:?}");
        served.assert_idle().await;
    }
}

/// By a guest that passes the stream on, and by the SDK, which reads and writes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_upstream_is_no_clients_fault() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let upstream = Upstream::saying(answer.to_owned()).await;
        let url = format!("http://{}", upstream.address);
        for (name, path) in [("hostile-03", "pass"), ("streams", "fetch")] {
            let served = serve(name, &format!("http = [\"{url}\"]")).await;
            let request = Request::get(format!("/{path}/{url}/")).header("host", "localhost");
            let response = served.exchange(request.body(Empty::<Bytes>::new()).unwrap()).await;
            assert_eq!(response.status(), 200);
            let mut body = response.into_body();
            assert_eq!(client::exactly(&mut body, 4).await, b"half");
            assert_eq!(client::drain(&mut body).await, None, "it is cut");
            let (record, _) = served.record().await;
            assert_eq!(
                (&record["outcome"], &record["bytes_out"]),
                (&"bad_response".into(), &4.into())
            );
            let detail = record["detail"].as_str().unwrap();
            let says = "the function's response was cut short: ";
            assert!(detail.starts_with(says), "{detail}");
            served.assert_idle().await;
        }
    }
}

/// Guests of wasi:http 0.2 and 0.3, over sockets.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_body_of_the_sdks_is_not_chunked() {
    let upstream = Upstream::start("answer").await;
    let url = format!("http://{}", upstream.address);
    for name in ["fetches", "streams"] {
        let served = serve(name, &format!("http = [\"{url}\"]")).await;
        for (method, says) in [
            ("POST", Some("content-length: 0")),
            ("PUT", Some("content-length: 0")),
            ("PATCH", Some("content-length: 0")),
            ("DELETE", None),
            ("GET", None),
        ] {
            let reply = served.get(&format!("/send/{method}/0/{url}/")).await;
            assert_eq!((reply.status, reply.text()), (200, "200 answer"), "{name}");
            let head = upstream.heads().pop().unwrap();
            assert!(head.starts_with(&format!("{method} / HTTP/1.1\r\n")), "{head}");
            let length = head.lines().find(|line| line.starts_with("content-length"));
            assert_eq!(length, says, "{name}: {head}");
            assert!(!head.contains("transfer-encoding"), "{name}: {head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_to_an_upload_reaches_the_guest() {
    let answer = "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig";
    let upstream = Upstream::saying(answer.to_owned()).await;
    let url = format!("http://{}", upstream.address);
    for name in ["fetches", "streams"] {
        let served = serve(name, &format!("http = [\"{url}\"]")).await;
        for bytes in [1, 100_000, 400_000, 1_000_000, 8_000_000] {
            let reply = served.get(&format!("/send/POST/{bytes}/{url}/")).await;
            assert_eq!((reply.status, reply.text()), (200, "413 big"), "{name} {bytes}");
        }
        served.assert_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_granted_is_denied() {
    for name in GUESTS {
        let upstream = Upstream::start("never said").await;
        let address = upstream.address;
        let served = serve(name, "http = [\"https://example.com\"]").await;
        let (text, lines) = fetch(&served, &format!("http://{address}/")).await;
        assert!(text.contains("HttpRequestDenied"), "{text}");
        let sentence = format!(
            "outbound http to {address} is not granted: add grants.http = [\"http://{address}\"]"
        );
        assert_eq!(lines, [sentence]);
        assert_eq!(upstream.heads(), [""; 0]);
        served.assert_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_name_does_not_lead_into_the_machine() {
    for name in GUESTS {
        let upstream = Upstream::start("the machine's own").await;
        let port = upstream.address.port();
        let url = format!("http://localhost:{port}");
        let served = serve(name, &format!("http = [\"{url}\"]")).await;
        let (text, lines) = fetch(&served, &format!("{url}/")).await;
        assert!(text.contains("DestinationIpProhibited"), "{text}");
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(
            line.starts_with(&format!("outbound http to localhost:{port} is refused: "))
                && line.contains("; if that is meant, add grants.networks = [\""),
            "{line}"
        );
        assert_eq!(upstream.heads(), [""; 0]);
        // The same with the network granted.
        let served =
            serve(name, &format!("http = [\"{url}\"]\nnetworks = [\"127.0.0.0/8\"]")).await;
        assert_eq!(fetch(&served, &format!("{url}/")).await.0, "200 the machine's own");
        served.assert_idle().await;
    }
}

/// The developer of a single app is its operator: the manifest's grants are enough, but for the
/// admin listener.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_app_reaches_the_machine_and_not_the_admin_listener() {
    for name in GUESTS {
        let upstream = Upstream::start("the machine's own").await;
        let dir = tempfile::tempdir().unwrap();
        let component = guest(name);
        let manifest = format!(
            "app = \"caller\"\n[functions.caller]\nroutes = [\"/{{*path}}\"]\ncomponent = {component:?}\n[functions.caller.grants]\nhttp = [\"http://*:*\"]\nnetworks = [\"0.0.0.0/0\", \"::/0\"]\n"
        );
        std::fs::write(dir.path().join("lacewing.toml"), manifest).unwrap();
        let up = Up::start(&[dir.path().to_str().unwrap()]);
        let fetched = async |url: String| {
            let path = format!("/fetch/{url}");
            client::get(up.address, "localhost", &path).await.text().to_owned()
        };
        let url = format!("http://{}/", upstream.address);
        assert_eq!(fetched(url).await, "200 the machine's own");
        for host in ["127.0.0.1", "127.0.0.9", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"] {
            let text = fetched(format!("http://{host}:{}/metrics", up.admin.port())).await;
            assert!(text.contains("DestinationIpProhibited"), "{host}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_and_the_requests_id_go_along() {
    for name in GUESTS {
        let upstream = Upstream::start("traced").await;
        let url = format!("http://{}", upstream.address);
        let served = serve(name, &format!("http = [\"{url}\"]")).await;
        let mut headers = HeaderMap::new();
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = format!("00-{trace}-00f067aa0ba902b7-01");
        headers.insert("traceparent", HeaderValue::try_from(&parent).unwrap());
        headers.insert("tracestate", HeaderValue::from_static("vendor=1"));
        headers.insert("x-request-id", HeaderValue::from_static("order-7"));
        let path = format!("/fetch/{url}/");
        let reply = served.send(Method::GET, &path, headers, Bytes::new()).await;
        assert_eq!(reply.text(), "200 traced");
        let head = upstream.heads().remove(0);
        assert!(head.contains("\r\nx-request-id: order-7\r\n"), "{head}");
        assert!(head.contains("\r\ntracestate: vendor=1\r\n"), "{head}");
        // The same trace, and the host's own span as parent.
        assert!(head.contains(&format!("\r\ntraceparent: 00-{trace}-")), "{head}");
        assert!(!head.contains(&parent), "{head}");
        let (record, _) = served.record().await;
        assert_eq!(
            (&record["trace_id"], &record["request_id"]),
            (&trace.into(), &"order-7".into())
        );

        // A request without either has them made for it.
        served.get(&path).await;
        let head = upstream.heads().remove(1);
        let (record, _) = served.record().await;
        let trace = record["trace_id"].as_str().unwrap();
        let span = record["span_id"].as_str().unwrap();
        assert!(head.contains(&format!("\r\ntraceparent: 00-{trace}-{span}-03\r\n")), "{head}");
        assert_eq!(record["client"], "127.0.0.1");
        let id = record["request_id"].as_str().unwrap();
        assert!(head.contains(&format!("\r\nx-request-id: {id}\r\n")), "{head}");
    }
}

/// A server that takes a request and never answers.
async fn silent() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_waits_for_another_server_is_stopped() {
    for name in GUESTS.into_iter().chain(["streams"]) {
        let (listener, url) = silent().await;
        let grants = format!("http = [\"{url}\"]\n[functions.caller.limits]\ndeadline_ms = 200");
        let served = serve(name, &grants).await;
        let path = format!("/fetch/{url}/");
        let reply = served.get(&path).await;
        assert_eq!((reply.status, reply.outcome()), (504, "deadline_exceeded"), "{name}");
        assert_eq!(served.record().await.0["outcome"], "deadline_exceeded");
        served.assert_idle().await;
        // Its pending requests are given up with it.
        let (mut asked, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut asked, &mut head).await.unwrap();
        assert!(head.starts_with(b"GET / HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&head));

        // So is a guest whose client goes away.
        let served = serve(name, &format!("http = [\"{url}\"]")).await;
        let request = http::Request::get(&path).header("host", "localhost");
        let request = request.body(http_body_util::Empty::<Bytes>::new()).unwrap();
        let asked = tokio::select! {
            _ = served.exchange(request) => panic!("nobody answers"),
            accepted = listener.accept() => accepted.unwrap().0,
        };
        assert_eq!(served.record().await.0["outcome"], "canceled", "{name}");
        served.assert_idle().await;
        drop(asked);
    }
}
