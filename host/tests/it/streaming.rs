//! Handlers that stream, written with the SDK.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Empty};

use crate::{
    client::{drain, exactly, http2, upload},
    harness::{Served, guest},
    upstream::Upstream,
};

const FIRST: &str = "event: tick\nid: 1\ndata: tick 1 of 3\n\n";
/// An hour between the ticks: whoever sees the first did not wait for the second.
const SLOW: &str = "/ticks?every_ms=3600000";

fn get(path: &str) -> Request<Empty<Bytes>> {
    let request = Request::builder().method(Method::GET).uri(path).header("host", "localhost");
    request.body(Empty::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_one_by_one_and_a_client_may_leave() {
    let served = Served::example("sse").await;
    let response = served.exchange(get(SLOW)).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["lacewing-outcome"], "ok");
    let mut body = response.into_body();
    assert_eq!(exactly(&mut body, FIRST.len()).await, FIRST.as_bytes());
    drop(body);
    let (record, _) = served.record().await;
    assert_eq!((&record["outcome"], &record["status"]), (&"canceled".into(), &200.into()));
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_one_by_one_over_http2() {
    let served = Served::example("sse").await;
    let mut client = http2(served.address).await;
    let ask =
        |path: &str| Request::get(format!("http://localhost{path}")).body(upload().1).unwrap();
    let mut slow = client.send_request(ask(SLOW)).await.unwrap().into_body();
    assert_eq!(exactly(&mut slow, FIRST.len()).await, FIRST.as_bytes());
    // Another stream of the same connection comes to its end meanwhile.
    let fast = client.send_request(ask("/ticks?count=2&every_ms=1")).await.unwrap();
    let text = fast.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        text,
        "event: tick\nid: 1\ndata: tick 1 of 2\n\nevent: tick\nid: 2\ndata: tick 2 of 2\n\n"
    );
    assert_eq!(served.record().await.0["outcome"], "ok");
    drop(slow);
    assert_eq!(served.record().await.0["outcome"], "canceled");
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_are_open_at_once() {
    let served = Served::example("sse").await;
    let mut bodies = Vec::new();
    for _ in 0..32 {
        let mut body = served.exchange(get(SLOW)).await.into_body();
        exactly(&mut body, FIRST.len()).await;
        bodies.push(body);
    }
    assert_eq!(served.host.invoker().admission().in_flight(), 32);
    let mut quick = served.exchange(get("/ticks?count=1")).await.into_body();
    assert_eq!(drain(&mut quick).await, Some(FIRST.len() as u64));
    drop(bodies);
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_cuts_a_stream_of_events() {
    let manifest = format!(
        "app = \"ticks\"\n[functions.ticks]\ncrate = {:?}\nroutes = [\"/ticks\"]\nlimits = {{ deadline_ms = 300 }}\n",
        crate::harness::root().join("examples/sse")
    );
    let served = Served::manifest(&manifest).await;
    let mut body = served.exchange(get(SLOW)).await.into_body();
    exactly(&mut body, FIRST.len()).await;
    assert_eq!(drain(&mut body).await, None);
    assert_eq!(served.record().await.0["outcome"], "deadline_exceeded");
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_of_a_streaming_function_have_handlers_of_both_kinds() {
    let served = Served::component(&guest("streams")).await;
    let reply = served.get("/").await;
    assert_eq!((reply.status, reply.outcome(), reply.text()), (200, "ok", "at once"));
    let whole = served.send(Method::POST, "/whole", HeaderMap::new(), "all of it".into()).await;
    assert_eq!((whole.status, whole.text()), (200, "all of it"));
    let wrong = served.get("/whole").await;
    assert_eq!((wrong.status, wrong.outcome()), (405, "ok"));
    assert_eq!(wrong.headers["allow"], "POST");
    // A handler that streams begins before the body has ended.
    let (sender, body) = upload();
    let request = Request::post("/count").header("host", "localhost").body(body).unwrap();
    let answer = served.exchange(request);
    let mut answer = tokio::join!(answer, sender.send("first")).0.into_body();
    assert_eq!(exactly(&mut answer, 5).await, b"first");
    drop(sender);
    assert_eq!(drain(&mut answer).await, Some(0));
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_a_streaming_function_pass_in_both_directions() {
    let served = Served::component(&guest("streams")).await;
    for (path, trailer, value) in [("/count", "x-bytes", "3"), ("/echo", "x-sum", "42")] {
        let (sender, body) = upload();
        let request = Request::post(path).header("host", "localhost");
        let request = request.header("te", "trailers").header("trailer", "x-sum");
        let (response, ()) = tokio::join!(served.exchange(request.body(body).unwrap()), async {
            sender.send("abc").await;
            let sum = HeaderValue::from_static("42");
            sender.end_with(HeaderMap::from_iter([("x-sum".parse().unwrap(), sum)])).await;
        });
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()[trailer], value, "{path}");
        assert_eq!(collected.to_bytes(), "abc");
        assert_eq!(served.record().await.0["outcome"], "ok");
    }
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streaming_function_asks_other_servers() {
    let upstream = Upstream::start("from far away").await;
    let manifest = |grant: &str| {
        format!(
            "app = \"asks\"\n[functions.asks]\ncomponent = {:?}\nroutes = [\"/{{*path}}\"]\ngrants = {{ http = [\"{grant}\"] }}\n",
            guest("streams")
        )
    };
    let url = format!("http://{}", upstream.address);
    let path = format!("/fetch/{url}/page");
    let served = Served::manifest(&manifest(&url)).await;
    let reply = served.get(&path).await;
    assert_eq!((reply.status, reply.text()), (200, "from far away"));
    let served = Served::manifest(&manifest("https://example.com")).await;
    let reply = served.get(&path).await;
    assert_eq!((reply.status, reply.outcome()), (502, "ok"), "{}", reply.text());
    let (_, lines) = served.record().await;
    assert!(
        lines.iter().any(|line| line.contains(" is not granted: add grants.http = ")),
        "{lines:?}"
    );
    assert_eq!(upstream.heads().len(), 1);
    served.assert_idle().await;
}
