//! The portable path: components that were written for another host, without the SDK, for wasi:http
//! 0.2 and 0.3.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::{
    client::{Raw, drain, exactly, http2, piece, upload},
    harness::{Served, guest},
};

const MIB: u64 = 1 << 20;

/// Each of these functions is a test twice: with the guest for wasi:http 0.2, and with the one for
/// 0.3.
macro_rules! for_both {
    ($($test:ident)*) => {
        mod wasi_02 {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test("portable-02").await;
                }
            )*
        }
        mod wasi_03 {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test("portable-03").await;
                }
            )*
        }
    };
}

for_both! {
    a_bare_component_answers
    a_guest_sees_the_request
    an_echo_flows_both_ways_at_once
    trailers_arrive_in_both_directions
    bodies_of_64_mib_pass_in_little_memory
    a_client_that_does_not_read_is_not_read_from
    head_is_answered_without_a_body
    a_body_that_nobody_gets_is_taken_all_the_same
    an_exit_after_the_response_is_an_end
    an_error_code_is_a_bad_response
    a_trap_after_the_head_cuts_the_body
    a_client_that_leaves_stops_the_guest
    a_client_that_leaves_before_the_head_stops_the_guest
    a_guest_that_spins_after_its_response_has_given_it
    the_deadline_ends_a_stream
    the_deadline_ends_a_guest_that_waits_for_the_body
    a_body_over_the_limit_is_refused
    a_response_over_the_limit_is_cut
    http2_is_spoken_to_clients_that_begin_with_it
}

/// Serves a guest with limits of its own, at every path.
async fn serve(name: &str, limits: &str) -> Served {
    let component = guest(name);
    Served::manifest(&format!(
        r#"
app = "portable"

[functions.guest]
routes = ["/", "/{{*path}}"]
component = "{}"

[functions.guest.limits]
{limits}
"#,
        component.display()
    ))
    .await
}

/// Limits under which much may be moved.
const GENEROUS: &str = "cpu_ms = 60000\ndeadline_ms = 120000";

fn greeting(name: &str) -> &'static str {
    if name == "portable-02" { "hello from 0.2" } else { "hello from 0.3" }
}

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost")
}

fn get(path: &str) -> Request<http_body_util::Empty<Bytes>> {
    request(Method::GET, path).body(http_body_util::Empty::new()).unwrap()
}

/// That the next request is answered as if nothing had happened, and that nothing is left of the
/// last.
async fn assert_well(served: &Served, name: &str) {
    let reply = served.get("/").await;
    assert_eq!((reply.outcome(), reply.text()), ("ok", greeting(name)));
    served.assert_idle().await;
}

/// The outcome and the detail of the next record.
async fn ended(served: &Served) -> (String, String) {
    let (record, _) = served.record().await;
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    (text("outcome"), text("detail"))
}

/// The next record of a request for `path`.
async fn record_of(served: &Served, path: &str) -> Value {
    loop {
        let (record, _) = served.record().await;
        if record["path"] == path {
            return record;
        }
    }
}

async fn a_body_that_nobody_gets_is_taken_all_the_same(name: &str) {
    let served = serve(name, GENEROUS).await;
    for (method, status) in
        [(Method::HEAD, 200), (Method::GET, 204), (Method::GET, 205), (Method::GET, 304)]
    {
        // More than anything on the way buffers, and then more than is taken.
        for (bytes, lines) in [(900_000, 0), (3_000_000, 1)] {
            let path = format!("/insist/{status}/{bytes}");
            let reply = served.send(method.clone(), &path, HeaderMap::new(), Bytes::new()).await;
            assert_eq!((reply.status, reply.outcome(), reply.body.len()), (status, "ok", 0));
            let (record, said) = served.record().await;
            assert_eq!((&record["outcome"], &record["detail"]), (&"ok".into(), &Value::Null));
            assert!(said.len() >= lines, "{method} {path}: {said:?}");
            if lines == 0 {
                assert_eq!(said, [""; 0], "the guest does not notice");
            }
            assert_well(&served, name).await;
            served.record().await;
        }
    }
}

async fn an_exit_after_the_response_is_an_end(name: &str) {
    let served = serve(name, GENEROUS).await;
    let reply = served.get("/exit-after-response").await;
    assert_eq!((reply.status, reply.outcome(), reply.text()), (200, "ok", "done"));
    assert_eq!(ended(&served).await, ("ok".to_owned(), String::new()));
    assert_well(&served, name).await;
}

async fn a_bare_component_answers(name: &str) {
    let served = Served::component(&guest(name)).await;
    for path in ["/", "/any/path?and=query"] {
        let reply = served.get(path).await;
        assert_eq!((reply.status, reply.outcome(), reply.text()), (200, "ok", greeting(name)));
    }
    let (record, _) = served.record().await;
    let function = name.replace('_', "-");
    assert_eq!(
        (&record["tenant"], &record["app"], &record["function"]),
        (&"local".into(), &record["function"], &function.into())
    );
    assert_eq!((&record["outcome"], &record["status"]), (&"ok".into(), &200.into()));
    served.assert_idle().await;
}

async fn a_guest_sees_the_request(name: &str) {
    let served = serve(name, "").await;
    let mut headers = HeaderMap::new();
    headers.insert("x-mine", HeaderValue::from_static("1"));
    headers.insert("x-request-id", HeaderValue::from_static("mine-too"));
    headers.insert("proxy-connection", HeaderValue::from_static("keep-alive"));
    headers.insert("lacewing-params", HeaderValue::from_static("forged=1"));
    let reply = served.send(Method::PUT, "/request/a%20b?c=d", headers, Bytes::new()).await;
    let text = reply.text();
    let first = text.lines().next().unwrap();
    for part in ["Put", "HTTP", "localhost", "/request/a%20b?c=d"] {
        assert!(first.to_lowercase().contains(&part.to_lowercase()), "{text}");
    }
    for line in [
        "x-mine: 1",
        "x-request-id: mine-too",
        "lacewing-route: /{*path}",
        "lacewing-params: path=request%2Fa+b",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("\ntraceparent: 00-"), "{text}");
    assert!(!text.contains("proxy-connection") && !text.contains("forged"), "{text}");
}

async fn an_echo_flows_both_ways_at_once(name: &str) {
    let served = serve(name, "").await;
    let (sender, body) = upload();
    let request = request(Method::POST, "/echo").body(body).unwrap();
    let answering = served.exchange(request);
    let mut response = tokio::join!(answering, sender.send("first")).0.into_body();
    // The request's body goes on for as long as the test likes: nobody waited for its end.
    assert_eq!(exactly(&mut response, 5).await, b"first");
    for round in 0..10 {
        let text = format!("round {round}");
        sender.send(text.clone()).await;
        assert_eq!(exactly(&mut response, text.len()).await, text.as_bytes());
    }
    drop(sender);
    assert_eq!(drain(&mut response).await, Some(0));
    let (record, _) = served.record().await;
    assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&75.into(), &75.into()));
    served.assert_idle().await;
}

async fn trailers_arrive_in_both_directions(name: &str) {
    let served = serve(name, "").await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("42"));

    let (sender, body) = upload();
    let request = request(Method::POST, "/echo").header("te", "trailers").body(body).unwrap();
    let (response, ()) = tokio::join!(served.exchange(request), async {
        sender.send("abc").await;
        drop(sender);
    });
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-bytes"], "3");

    let (sender, body) = upload();
    let request = self::request(Method::POST, "/trailers").header("trailer", "x-sum");
    let (response, ()) = tokio::join!(served.exchange(request.body(body).unwrap()), async {
        sender.send("abc").await;
        sender.end_with(trailers).await;
    });
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.to_bytes(), "x-sum: 42\n");
}

async fn bodies_of_64_mib_pass_in_little_memory(name: &str) {
    let served = serve(name, GENEROUS).await;
    let bytes = 64 * MIB;

    let (sender, body) = upload();
    let request = request(Method::POST, "/echo").body(body).unwrap();
    let sending = tokio::spawn(sender.mebibytes(bytes / MIB));
    let mut response = served.exchange(request).await.into_body();
    assert_eq!(drain(&mut response).await, Some(bytes));
    sending.await.unwrap();
    assert_small(&record_of(&served, "/echo").await, bytes, bytes);

    let path = format!("/generate/{bytes}");
    let mut response = served.exchange(get(&path)).await.into_body();
    assert_eq!(drain(&mut response).await, Some(bytes));
    assert_small(&record_of(&served, &path).await, 0, bytes);

    let (sender, body) = upload();
    let request = self::request(Method::POST, "/count").body(body).unwrap();
    let sending = tokio::spawn(sender.mebibytes(bytes / MIB));
    let counted = served.exchange(request).await.into_body().collect().await.unwrap();
    assert_eq!(counted.to_bytes(), bytes.to_string());
    sending.await.unwrap();
    assert_small(&record_of(&served, "/count").await, bytes, 8);
    served.assert_idle().await;
}

fn assert_small(record: &Value, bytes_in: u64, bytes_out: u64) {
    assert_eq!(record["outcome"], "ok", "{record}");
    assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&bytes_in.into(), &bytes_out.into()));
    let peak = record["memory_peak_bytes"].as_u64().unwrap();
    assert!((1..=4 * MIB).contains(&peak), "{record}");
}

async fn a_client_that_does_not_read_is_not_read_from(name: &str) {
    let served = serve(name, GENEROUS).await;
    let bytes = 64 * MIB;
    let mut client = Raw::connect(served.address).await;
    client
        .write(&format!(
            "POST /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n"
        ))
        .await;
    client.push(bytes, &served).await;
    // The kernel's buffers, which grow to several MiB for each direction, and a little of the
    // host's.
    assert!(client.sent < 32 * MIB, "{} bytes were taken", client.sent);
    // Once it reads, everything moves again.
    let read = client.finish(bytes).await;
    assert!(read > bytes, "{read}");
    assert_small(&record_of(&served, "/echo").await, bytes, bytes);
    served.assert_idle().await;
}

async fn head_is_answered_without_a_body(name: &str) {
    let served = serve(name, "").await;
    for path in ["/", "/generate/100000", "/forever"] {
        let request = request(Method::HEAD, path).body(http_body_util::Empty::<Bytes>::new());
        let response = served.exchange(request.unwrap()).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["lacewing-outcome"]),
            (200, &HeaderValue::from_static("ok"))
        );
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "");
        // Its body is not read, and that is not the guest's fault.
        assert_eq!(ended(&served).await, ("ok".to_owned(), String::new()), "{path}");
    }
    assert_well(&served, name).await;
}

async fn an_error_code_is_a_bad_response(name: &str) {
    let served = serve(name, "").await;
    let reply = served.get("/error").await;
    assert_eq!((reply.status, reply.outcome()), (502, "bad_response"));
    let problem = reply.problem();
    assert_eq!(
        problem["detail"],
        "the function answered with something that is not a valid response"
    );
    assert!(!reply.text().contains("Configuration"), "{problem}");
    let (outcome, detail) = ended(&served).await;
    assert_eq!(outcome, "bad_response");
    assert_eq!(detail, "the guest answered with the error code ErrorCode::ConfigurationError");
    assert_well(&served, name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_sets_no_response_has_none() {
    let served = serve("portable-02", "").await;
    let reply = served.get("/nothing").await;
    assert_eq!((reply.status, reply.outcome()), (502, "no_response"));
    assert_eq!(reply.problem()["detail"], "the function ended without an answer");
    let expected = ("no_response", "the guest returned without having set a response");
    assert_eq!(ended(&served).await, (expected.0.to_owned(), expected.1.to_owned()));
    assert_well(&served, "portable-02").await;
}

async fn a_trap_after_the_head_cuts_the_body(name: &str) {
    let served = serve(name, "").await;
    let (sender, body) = upload();
    let request = request(Method::POST, "/trap-after-head").body(body).unwrap();
    let response = served.exchange(request).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    assert_eq!(exactly(&mut body, 8).await, b"half of ");
    drop(sender);
    // An end without the last chunk: a client knows that this is not all.
    assert!(body.frame().await.unwrap().is_err());
    let (record, lines) = served.record().await;
    assert_eq!((&record["outcome"], &record["status"]), (&"trap".into(), &200.into()));
    let detail = record["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("wasm trap: wasm `unreachable` instruction executed\n  at "),
        "{detail}"
    );
    assert!(lines.iter().any(|line| line.contains("after the head")), "{lines:?}");
    assert_well(&served, name).await;
}

async fn a_client_that_leaves_stops_the_guest(name: &str) {
    let served = serve(name, GENEROUS).await;
    let mut response = served.exchange(get("/forever")).await;
    assert!(!piece(response.body_mut()).await.is_empty());
    drop(response);
    let (record, _) = served.record().await;
    assert_eq!((&record["outcome"], &record["status"]), (&"canceled".into(), &200.into()));
    assert_well(&served, name).await;
}

async fn a_client_that_leaves_before_the_head_stops_the_guest(name: &str) {
    let served = serve(name, GENEROUS).await;
    let (sender, body) = upload();
    let request = request(Method::POST, "/count").body(body).unwrap();
    let mut answer = Box::pin(served.exchange(request));
    tokio::select! {
        _ = &mut answer => panic!("the body has not ended"),
        () = async {
            sender.send("abc").await;
            crate::harness::eventually("it runs", || served.host.invoker().admission().in_flight() == 1).await;
        } => {}
    }
    drop(answer);
    assert_eq!(ended(&served).await.0, "canceled");
    assert_well(&served, name).await;
}

async fn a_guest_that_spins_after_its_response_has_given_it(name: &str) {
    let served = serve(name, "cpu_ms = 100").await;
    let reply = served.get("/spin-after-response").await;
    assert_eq!((reply.status, reply.outcome(), reply.text()), (200, "ok", "done"));
    let (record, _) = served.record().await;
    assert_eq!((&record["outcome"], &record["status"]), (&"cpu_exceeded".into(), &200.into()));
    assert_eq!(record["detail"], "the CPU budget is spent");
    assert_well(&served, name).await;
}

async fn the_deadline_ends_a_stream(name: &str) {
    let served = serve(name, "cpu_ms = 60000\ndeadline_ms = 300").await;
    let response = served.exchange(get("/forever")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(drain(&mut response.into_body()).await, None);
    let (record, _) = served.record().await;
    assert_eq!(
        (&record["outcome"], &record["detail"]),
        (&"deadline_exceeded".into(), &"the deadline has passed".into())
    );
    assert!(record["bytes_out"].as_u64().unwrap() > 0, "{record}");
    served.assert_idle().await;
}

async fn the_deadline_ends_a_guest_that_waits_for_the_body(name: &str) {
    let served = serve(name, "deadline_ms = 300").await;
    let (sender, body) = upload();
    let request = request(Method::POST, "/count").body(body).unwrap();
    let response = served.exchange(request).await;
    assert_eq!(
        (response.status().as_u16(), response.headers()["lacewing-outcome"].to_str().unwrap()),
        (504, "deadline_exceeded")
    );
    assert_eq!(ended(&served).await.0, "deadline_exceeded");
    drop(sender);
    assert_well(&served, name).await;
}

async fn a_body_over_the_limit_is_refused(name: &str) {
    let served = serve(name, "request_body_kib = 1").await;
    let said = served.send(Method::POST, "/count", HeaderMap::new(), vec![0; 1025].into()).await;
    assert_eq!((said.status, said.outcome()), (413, "bad_request"));
    assert_eq!(
        said.problem()["detail"],
        "the request's body is larger than 1024 bytes (`request_body_kib`)"
    );
    assert_eq!(ended(&served).await.0, "bad_request");

    // As long as it likes, without saying so: the guest reads up to the limit.
    let (sender, body) = upload();
    let request = request(Method::POST, "/count").body(body).unwrap();
    let (response, ()) = tokio::join!(served.exchange(request), sender.send(vec![0; 1025]));
    assert_eq!(
        (response.status().as_u16(), response.headers()["lacewing-outcome"].to_str().unwrap()),
        (413, "bad_request")
    );
    assert_eq!(ended(&served).await.0, "bad_request");

    let full = served.send(Method::POST, "/count", HeaderMap::new(), vec![0; 1024].into()).await;
    assert_eq!((full.status, full.text()), (200, "1024"));
    served.assert_idle().await;
}

async fn a_response_over_the_limit_is_cut(name: &str) {
    let served = serve(name, "response_body_kib = 64").await;
    let response = served.exchange(get("/generate/1000000")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(drain(&mut response.into_body()).await, None);
    let expected = "the body of the response has more than 65536 bytes (`response_body_kib`)";
    assert_eq!(ended(&served).await, ("bad_response".to_owned(), expected.to_owned()));
    let whole = served.get("/generate/65536").await;
    assert_eq!((whole.outcome(), whole.body.len()), ("ok", 65536));
    served.assert_idle().await;
}

async fn http2_is_spoken_to_clients_that_begin_with_it(name: &str) {
    let served = serve(name, "").await;
    let mut client = http2(served.address).await;
    let target = |path: &str| format!("http://localhost{path}");
    let whole = |body: hyper::body::Incoming| async { body.collect().await.unwrap() };

    // A stream that stays open while others are answered on the same connection.
    let (sender, body) = upload();
    let echo = Request::post(target("/echo")).body(body).unwrap();
    let (echo, ()) = tokio::join!(client.send_request(echo), sender.send("first"));
    let mut echo = echo.unwrap().into_body();
    assert_eq!(exactly(&mut echo, 5).await, b"first");

    let (_, empty) = upload();
    let plain = client.send_request(Request::get(target("/")).body(empty).unwrap()).await.unwrap();
    assert_eq!((plain.status().as_u16(), plain.version()), (200, http::Version::HTTP_2));
    assert_eq!(plain.headers()["lacewing-outcome"], "ok");
    assert_eq!(whole(plain.into_body()).await.to_bytes(), greeting(name));

    let (_, empty) = upload();
    let head = client.send_request(Request::head(target("/")).body(empty).unwrap()).await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(whole(head.into_body()).await.to_bytes(), "");

    let (trigger, body) = upload();
    let trap = Request::post(target("/trap-after-head")).body(body).unwrap();
    let mut trap = client.send_request(trap).await.unwrap().into_body();
    assert_eq!(exactly(&mut trap, 8).await, b"half of ");
    drop(trigger);
    assert!(trap.frame().await.unwrap().is_err());

    sender.send("second").await;
    assert_eq!(exactly(&mut echo, 6).await, b"second");
    drop(sender);
    assert_eq!(whole(echo).await.trailers().unwrap()["x-bytes"], "11");
    let records: Vec<Value> = vec![
        served.record().await.0,
        served.record().await.0,
        served.record().await.0,
        served.record().await.0,
    ];
    let mut outcomes: Vec<&str> = records.iter().map(|r| r["outcome"].as_str().unwrap()).collect();
    // A guest goes on after its head: which one is done first is up to them.
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["ok", "ok", "ok", "trap"]);
    served.assert_idle().await;
}
