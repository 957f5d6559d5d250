//! Handlers that stream, written with the SDK.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};

use crate::{
    client::{drain, exactly, http2, upload},
    harness::Served,
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
