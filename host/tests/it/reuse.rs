//! Instances that serve more than one invocation: only where it was asked for, never across a
//! revision, and all that they serve is told how they end.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use lacewing::{
    control::Components,
    telemetry::metrics::{Exposition, Tally},
};

use crate::{
    client::{Sender, drain, exactly, piece, upload},
    harness::{Reply, Served, component, eventually, guest},
    tenants::Tenants,
};

/// Serves a guest with limits of its own, at every path.
async fn serve(name: &str, limits: &str) -> Served {
    let component = guest(name);
    Served::manifest(&format!(
        "app = \"a\"
        [functions.f]
        routes = [\"/{{*path}}\"]
        component = {component:?}
        [functions.f.limits]
        {limits}"
    ))
    .await
}

async fn served(host: &Served) -> u32 {
    let in_flight = || host.host.invoker().admission().in_flight();
    let before = in_flight();
    let count = host.get("/served").await.text().parse().unwrap();
    // A response is read before its invocation is over.
    eventually("it is over", || in_flight() <= before).await;
    count
}

/// Instances that there are, that were made, and invocations by one that had served before.
fn figures(host: &Served) -> [u64; 3] {
    let deployed = host.host.deployed();
    let figures = &deployed.revisions[0].metrics;
    let instances = figures.reused_instances().load(Relaxed);
    [instances, figures.tallied(Tally::ReusedMade), figures.tallied(Tally::ReusedAgain)]
}

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
    an_instance_serves_as_many_as_it_may
    each_line_is_its_own_invocations
    a_trap_ends_its_instance_and_no_other
    one_that_spins_is_stopped_at_its_own_budget
    an_exit_after_the_response_ends_the_instance
    a_client_that_leaves_takes_its_instance_along
    fuel_is_that_of_each_invocation
    a_deploy_ends_what_is_idle
}

async fn an_instance_serves_as_many_as_it_may(name: &str) {
    let host = serve(name, "").await;
    for _ in 0..3 {
        assert_eq!(served(&host).await, 1, "each has its own");
    }
    host.assert_idle().await;
    let host = serve(name, "reuse = 3").await;
    for count in [1, 2, 3, 1, 2, 3, 1] {
        assert_eq!(served(&host).await, count);
    }
    assert_eq!(figures(&host)[1..], [3, 4]);
    let metrics = host.host.metrics().expose(Exposition::OpenMetrics);
    for series in ["reused_instances", "reused_made_total", "reused_again_total"] {
        let series = format!("\nlacewing_{series}{{tenant=\"local\",app=\"a\",function=\"f\"}} ");
        assert!(metrics.contains(&series), "{series} is not in\n{metrics}");
    }
    // The last one has room for two more, and goes because nobody comes.
    eventually("nothing is kept for ever", || figures(&host)[0] == 0).await;
    host.assert_idle().await;
}

async fn each_line_is_its_own_invocations(name: &str) {
    let host = serve(name, "reuse = 100\nlog_kib = 1").await;
    for count in 1..=40 {
        assert_eq!(served(&host).await, count);
        let (record, lines) = host.record().await;
        assert_eq!(lines, [format!("served {count}")], "{record}");
        assert_eq!(record["outcome"], "ok");
        assert!(record["memory_peak_bytes"].as_u64().unwrap() > 0, "{record}");
    }
}

async fn a_trap_ends_its_instance_and_no_other(name: &str) {
    let host = serve(name, "reuse = 100").await;
    assert_eq!(served(&host).await, 1);
    let reply = host.get("/trap").await;
    assert_eq!((reply.status, reply.outcome()), (502, "trap"));
    assert_eq!(served(&host).await, 1, "another instance");
    let cut = host.exchange(get("/trap-after-head")).await;
    assert_eq!(cut.status(), 200);
    assert_eq!(drain(&mut cut.into_body()).await, None, "it is cut");
    assert_eq!(served(&host).await, 1);
    host.assert_idle().await;
}

async fn one_that_spins_is_stopped_at_its_own_budget(name: &str) {
    let host = serve(name, "reuse = 100\ncpu_ms = 100\ndeadline_ms = 60_000").await;
    for count in 1..=20 {
        assert_eq!(served(&host).await, count);
    }
    let reply = host.get("/spin-after-response").await;
    assert_eq!(reply.text(), "done");
    eventually("it is stopped", || figures(&host)[0] == 0).await;
    assert_eq!(served(&host).await, 1);
    host.assert_idle().await;
}

async fn an_exit_after_the_response_ends_the_instance(name: &str) {
    let host = serve(name, "reuse = 100").await;
    assert_eq!(served(&host).await, 1);
    host.lines();
    let reply = host.get("/exit-after-response").await;
    assert_eq!((reply.outcome(), reply.text()), ("ok", "done"));
    assert_eq!(host.record().await.0["outcome"], "ok");
    assert_eq!(served(&host).await, 1);
    host.assert_idle().await;
}

async fn a_client_that_leaves_takes_its_instance_along(name: &str) {
    let host = serve(name, "reuse = 100").await;
    assert_eq!(served(&host).await, 1);
    host.lines();
    let mut body = host.exchange(get("/forever")).await.into_body();
    piece(&mut body).await;
    drop(body);
    assert_eq!(host.record().await.0["outcome"], "canceled");
    assert_eq!(served(&host).await, 1);
    host.assert_idle().await;
}

async fn fuel_is_that_of_each_invocation(name: &str) {
    let host = serve(name, "reuse = 100\nfuel = 300_000\ncpu_ms = 60_000").await;
    let mut spent = 0;
    for count in 1..=20 {
        assert_eq!(served(&host).await, count);
        spent += host.record().await.0["fuel"].as_u64().unwrap();
    }
    assert!(spent > 20_000, "{spent}");
    let cut = host.exchange(get("/generate/1000000000")).await;
    assert_eq!(drain(&mut cut.into_body()).await, None, "it is cut");
    assert_eq!(host.record().await.0["outcome"], "fuel_exhausted");
    host.assert_idle().await;
}

async fn a_deploy_ends_what_is_idle(name: &str) {
    let tenants = Tenants::with(&guest(name), "reuse = 100", |_| {}).await;
    let admission = || tenants.served.host.invoker().admission();
    let served = async || {
        let count = tenants.get("/served").await.text().to_owned();
        eventually("it is over", || admission().in_flight() == 0).await;
        count
    };
    assert_eq!([served().await, served().await], ["1", "2"]);
    tenants.deploy("suspect", &guest(name), "reuse = 101").await.unwrap();
    assert_eq!([served().await, served().await], ["1", "2"], "a new revision, a new instance");
    // A part that does not change keeps its state.
    tenants.deploy("neighbour", &component("hello"), "cpu_ms = 7").await.unwrap();
    assert_eq!(served().await, "3");
    tenants.deploy("suspect", &guest(name), "").await.unwrap();
    assert_eq!([served().await, served().await], ["1", "1"]);
    tenants.served.assert_idle().await;
}

fn get(path: &str) -> Request<http_body_util::Empty<Bytes>> {
    let request = Request::get(path).header("host", "localhost");
    request.body(http_body_util::Empty::new()).unwrap()
}

/// A host, and a request that waits in an instance which has served another one meanwhile.
///
/// On a busy machine a tick may interrupt the guest just then, and the other request begins an
/// instance of its own. Then it is tried again.
async fn an_echo_beside_which_others_are_served() -> (Served, Sender, Incoming) {
    for _ in 0..10 {
        let host = serve("portable-03", "reuse = 100").await;
        let (send, body) = upload();
        let request = Request::post("/echo").header("host", "localhost").body(body).unwrap();
        let mut echo = host.exchange(request).await.into_body();
        send.send("one").await;
        assert_eq!(exactly(&mut echo, 3).await, b"one");
        if served(&host).await == 2 {
            return (host, send, echo);
        }
    }
    panic!("no instance served two invocations at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_are_served_at_once_and_a_trap_is_all_of_theirs() {
    let (host, _send, mut echo) = an_echo_beside_which_others_are_served().await;
    assert_eq!(served(&host).await, 3);
    host.lines();
    let reply = host.get("/trap").await;
    assert_eq!((reply.status, reply.outcome()), (502, "trap"));
    assert_eq!(drain(&mut echo).await, None, "it is cut");
    for _ in 0..2 {
        let (record, _) = host.record().await;
        assert_eq!(record["outcome"], "trap", "{record}");
        let detail = record["detail"].as_str().unwrap();
        let shared = "the instance that it shared with 1 other invocation";
        assert!(detail.starts_with(shared), "{detail}");
    }
    assert_eq!(served(&host).await, 1);
    host.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_its_own_invocations_and_retires_the_instance() {
    let host = serve("portable-03", "reuse = 100\ndeadline_ms = 500").await;
    let (_send, body) = upload();
    let request = Request::post("/count").header("host", "localhost").body(body).unwrap();
    let waiting = host.exchange(request);
    let others = async {
        eventually("it is there", || figures(&host)[0] == 1).await;
        assert_eq!(served(&host).await, 2, "beside the one that waits");
    };
    let (late, ()) = tokio::join!(waiting, others);
    let reply = Reply::read(late).await;
    assert_eq!((reply.status, reply.outcome()), (504, "deadline_exceeded"));
    assert_eq!(served(&host).await, 1, "the instance takes no more");
    host.assert_idle().await;
}

/// As runtimes of JavaScript do, whose instances answer one request.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_answers_once_is_used_once() {
    let host = serve("hostile-02", "reuse = 100").await;
    let mut outcomes = Vec::new();
    let mut said = Vec::new();
    for _ in 0..12 {
        outcomes.push(host.get("/once").await.outcome().to_owned());
        let (record, lines) = host.record().await;
        assert_eq!(record["outcome"], outcomes[outcomes.len() - 1].as_str());
        said.extend(lines);
    }
    let lost = outcomes.iter().filter(|outcome| *outcome == "no_response").count();
    assert_eq!((lost, &outcomes[6..]), (3, &["ok"; 6].map(String::from)[..]), "{outcomes:?}");
    assert_eq!(
        said,
        [
            "3 instances in a row answered one request and no second one: what the component was built with serves once; \
          each invocation has an instance of its own from now on, as without `reuse`"
        ]
    );
    eventually("none is kept", || figures(&host)[0] == 0).await;
    host.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_instance_takes_no_slot_from_an_invocation() {
    let component = guest("portable-03");
    let text = format!(
        "app = \"a\"
        [functions.f]
        routes = [\"/{{*path}}\"]
        component = {component:?}
        limits = {{ reuse = 100 }}"
    );
    // A quarter of eight, besides the eight.
    let host = Served::manifest_with(&text, |settings| settings.max_sandboxes = 8).await;
    let all = (0..40).map(|_| host.get("/served"));
    for reply in futures_util::future::join_all(all).await {
        assert_eq!(reply.outcome(), "ok");
    }
    let [instances, made, _] = figures(&host);
    assert!(instances <= 2, "{instances} of {made}");
    host.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_cannot_be_reused_is_refused_with_the_reason() {
    let hello = component("hello");
    let portable = guest("portable-03");
    for (path, route, limits, says) in [
        (
            &hello,
            "routes = [\"/\"]",
            "reuse = 2",
            "its HTTP requests go to its lacewing:function/http",
        ),
        (
            &portable,
            "routes = [\"/\"]",
            "reuse = 2, provisioned = 1",
            "`reuse` and `provisioned` exclude each other",
        ),
    ] {
        let host = serve("portable-03", "").await;
        let dir = tempfile::tempdir().unwrap();
        let manifest = format!(
            "app = \"b\"\n[functions.g]\ncomponent = {path:?}\n{route}\nlimits = {{ {limits} }}"
        );
        let file = dir.path().join("lacewing.toml");
        std::fs::write(&file, manifest).unwrap();
        let (app, _) = lacewing::manifest::App::load(&file).unwrap();
        let settings = host.host.settings().clone();
        let file = lacewing::config::HostFile::local(app, settings).unwrap();
        let errors = host.host.deploy(&file, &Components::new()).await.unwrap_err();
        let text: String = errors.iter().map(ToString::to_string).collect();
        assert!(text.contains(says), "{text}");
    }
}
