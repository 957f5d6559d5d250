//! The ends of invocations that ran into others, whose clients went away, or that came in great
//! numbers.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use lacewing::config::TenantQuota;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    components::{Core, component_file},
    harness::{Reply, Served, component, eventually, guest},
    tenants::{NEIGHBOUR, SUSPECT, Tenants, assert_problem},
};

const CONCURRENCY: &str =
    "the function has as many invocations running as its concurrency limit allows";
const HOST_FULL: &str = "the host has as many invocations running as it can hold";

async fn never_waiting(suspect: &Path, limits: &str, max_sandboxes: u32) -> Tenants {
    waiting(suspect, limits, max_sandboxes, Duration::ZERO).await
}

/// Where guests compute, who begins waits for a core.
async fn waiting(suspect: &Path, limits: &str, max_sandboxes: u32, wait: Duration) -> Tenants {
    Tenants::with(suspect, limits, |file| {
        file.settings.max_sandboxes = max_sandboxes;
        file.settings.admission.wait = wait;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn more_at_once_than_the_function_may_be_called_is_throttled() {
    let tenants = never_waiting(&guest("hostile"), "concurrency = 2", 64).await;
    let running = [tenants.begin("/sleep").await, tenants.begin("/sleep").await];
    let reply = tenants.get("/ok").await;
    assert_problem(&reply, "throttled", 429, CONCURRENCY);
    assert_eq!(reply.headers["retry-after"], "1");
    let ended = tenants.ended().await;
    assert_eq!((ended.outcome(), ended.detail()), ("throttled", CONCURRENCY));
    tenants.neighbour_is_served().await;
    drop(running);
    tenants.served.assert_idle().await;
    assert_eq!(tenants.get("/ok").await.status, 200);
    tenants.served.assert_idle().await;
}

/// The first reply that is not the function's. Where a rate is used up it is the next one, unless a
/// second lies between.
async fn throttled(tenants: &Tenants) -> Reply {
    loop {
        let reply = tenants.get("/ok").await;
        if reply.status != 200 {
            return reply;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_in_a_second_than_the_function_may_be_called_is_throttled() {
    let tenants = never_waiting(&guest("hostile"), "rate_per_s = 1", 64).await;
    assert_eq!(tenants.get("/ok").await.status, 200);
    let reply = throttled(&tenants).await;
    assert_problem(&reply, "throttled", 429, "the function's rate is used up");
    assert_eq!(reply.headers["retry-after"], "1");
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_tenants_quota_is_throttled_and_its_neighbours_are_served() {
    type Change = fn(&mut TenantQuota);
    let quotas: [(Change, &str); 3] = [
        (
            |quota| quota.concurrency = Some(1),
            "the tenant has as many invocations running as its quota allows",
        ),
        (
            |quota| quota.memory_bytes = Some(100 << 20),
            "the tenant's sandboxes have as much memory as its quota allows",
        ),
        (|quota| quota.rate_per_s = Some(1), "the tenant's rate is used up"),
    ];
    for (change, sentence) in quotas {
        let tenants = Tenants::with(&guest("hostile"), "memory_mib = 64", |file| {
            file.settings.admission.wait = Duration::ZERO;
            change(&mut file.tenants[0].quota);
        })
        .await;
        let running = tenants.begin("/sleep").await;
        let reply = throttled(&tenants).await;
        assert_problem(&reply, "throttled", 429, sentence);
        assert_eq!(reply.headers["retry-after"], "1");
        tenants.neighbour_is_served().await;
        drop(running);
        tenants.served.assert_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_fit_into_the_host_are_shed() {
    let tenants = never_waiting(&guest("hostile"), "", 2).await;
    let running = [tenants.begin("/sleep").await, tenants.begin("/spin").await];
    tenants.served.sink.take();
    for host in [SUSPECT, NEIGHBOUR] {
        let reply = tenants.send(host, Method::GET, "/ok", HeaderMap::new(), "").await;
        assert_problem(&reply, "load_shed", 503, HOST_FULL);
        assert_eq!(reply.headers["retry-after"], "1");
    }
    let ended = tenants.ended().await;
    assert_eq!((ended.outcome(), ended.detail()), ("load_shed", HOST_FULL));
    drop(running);
    tenants.served.assert_idle().await;
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
}

/// A client that leaves is recorded, wherever its request was on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_there_is_a_sandbox_is_recorded() {
    let tenants = Tenants::with(&guest("hostile"), "concurrency = 1", |file| {
        file.settings.admission.wait = Duration::from_secs(600);
    })
    .await;
    // While its body is collected.
    let half = format!("POST /body HTTP/1.1\r\nhost: {SUSPECT}\r\ncontent-length: 9\r\n\r\nhalf");
    drop(tenants.raw(half.as_bytes()).await);
    let ended = tenants.ended().await;
    assert_eq!((ended.outcome(), ended.number("duration_us")), ("canceled", 0), "{}", ended.record);
    assert_eq!((&ended.record["path"], &ended.record["status"]), (&"/body".into(), &Value::Null));
    // While it waits for a slot.
    let running = tenants.begin("/sleep").await;
    let head = format!("GET /ok HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n");
    let waiting = tenants.raw(head.as_bytes()).await;
    let admission = tenants.served.host.invoker().admission();
    eventually("it waits", || admission.waiting() == 1).await;
    drop(waiting);
    let ended = tenants.ended().await;
    let detail = "the client went away, or the host closed its connection";
    assert_eq!((ended.outcome(), ended.detail()), ("canceled", detail));
    assert_eq!(ended.record["path"], "/ok");
    assert_eq!(admission.waiting(), 0);
    drop(running);
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_reaches_no_function_is_recorded() {
    let tenants = Tenants::hostile("").await;
    let reply = tenants.raw_reply(
        b"GET /a?secret=1 HTTP/1.1\r\nhost: nobody.test\r\nx-request-id: r-1\r\nconnection: close\r\n\r\n",
    );
    assert!(reply.await.starts_with("HTTP/1.1 404 "));
    let (record, _) = tenants.served.record().await;
    for (key, value) in [
        ("target", "request"),
        ("outcome", "no_route"),
        ("method", "GET"),
        ("path", "/a"),
        ("request_id", "r-1"),
        ("detail", "no function is served at this address"),
    ] {
        assert_eq!(record[key], value, "{record}");
    }
    assert_eq!((&record["status"], &record["tenant"]), (&404.into(), &Value::Null));
    assert!(record["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
    // Bytes that are no request have neither method nor path.
    let reply = tenants.raw_reply(b"what?\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    let (record, _) = tenants.served.record().await;
    assert_eq!((&record["outcome"], &record["status"]), (&"bad_request".into(), &400.into()));
    assert_eq!((&record["method"], &record["path"]), (&Value::Null, &Value::Null));
}

/// A component that spins, and needs so many core instances, or memories, besides its own.
fn greedy(instances: usize, module: &str) -> Core {
    Core {
        outer: format!("(core module $more {module})")
            + &"(core instance (instantiate $more))".repeat(instances),
        handle: "(loop $for-ever (br $for-ever))",
        ..Core::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_many_instances_does_not_use_up_its_neighbours() {
    let (_dir, path) = component_file(&greedy(60, "").lean());
    let tenants = waiting(&path, "cpu_ms = 60000", 10, Duration::from_secs(60)).await;
    let mut running = Vec::new();
    // As many as one of two tenants may have of ten.
    for _ in 0..8 {
        running.push(tenants.begin("/").await);
    }
    tenants.neighbour_is_served().await;
    drop(running);
    tenants.served.assert_idle().await;
}

/// Components that have many memories, or tables, share a stock of their own.
#[tokio::test(flavor = "multi_thread")]
async fn when_the_memories_for_functions_with_several_are_used_up_their_next_is_shed() {
    let (_dir, path) = component_file(&greedy(7, "(memory (export \"m\") 1)").lean());
    // Sixteen memories, and 24 more for those that have several, of which one tenant leaves some
    // for another.
    let tenants = waiting(&path, "cpu_ms = 60000", 16, Duration::from_secs(60)).await;
    let running = [tenants.begin("/").await, tenants.begin("/").await];
    tenants.served.sink.take();
    let reply = tenants.get("/").await;
    let sentence = "the host has no room for this request now; try again later";
    assert_problem(&reply, "load_shed", 503, sentence);
    assert_eq!(reply.headers["retry-after"], "1");
    let ended = tenants.ended().await;
    assert_eq!(
        (ended.outcome(), ended.detail()),
        (
            "load_shed",
            "the memories and tables that the pool has for functions with several are used up"
        )
    );
    // A function with one memory has a slot for each of its sandboxes.
    let others = (0..14).map(|_| tenants.neighbour_is_served());
    futures_util::future::join_all(others).await;
    drop(running);
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_whose_client_goes_away_is_stopped() {
    let limits = "cpu_ms = 60000\ndeadline_ms = 600000\nconcurrency = 1";
    for (suspect, paths) in [
        ("hostile", &["/spin", "/spin-calls", "/fill", "/sleep", "/poll"][..]),
        ("portable-02", &["/forever"][..]),
        ("hostile-02", &["/spin", "/sleep"][..]),
    ] {
        // The tenant pays for the time of its computation by waiting a moment for the next core.
        let tenants = waiting(&guest(suspect), limits, 64, Duration::from_millis(500)).await;
        for path in paths {
            tenants.served.sink.take();
            let socket = tenants.begin(path).await;
            tenants.neighbour_is_served().await;
            assert_eq!(tenants.get("/ok").await.status, 429, "{path} holds the only slot");
            assert_eq!(tenants.ended().await.outcome(), "throttled");
            drop(socket);
            let ended = tenants.ended().await;
            assert_eq!(ended.outcome(), "canceled", "{path}: {}", ended.record);
            tenants.served.assert_idle().await;
            assert_eq!(tenants.get("/ok").await.status, 200, "{path}: the slot is free");
            tenants.served.assert_idle().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_at_once_are_all_answered() {
    let tenants = Tenants::with(&guest("hostile"), "deadline_ms = 5000", |file| {
        file.settings.max_sandboxes = 256;
        file.settings.admission.wait = Duration::from_secs(60);
    })
    .await;
    let quick = join_all((0..200).map(|_| tenants.get("/ok")));
    let slow = join_all((0..200).map(|_| tenants.get("/sleep")));
    let beside = join_all((0..20).map(|_| tenants.neighbour_is_served()));
    let (quick, slow, _) = tokio::join!(quick, slow, beside);
    for reply in quick {
        assert_eq!((reply.status, reply.outcome()), (200, "ok"), "{}", reply.text());
    }
    for reply in slow {
        assert_eq!((reply.status, reply.outcome()), (504, "deadline_exceeded"), "{}", reply.text());
    }
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_after_a_function_failed() {
    let tenants = Tenants::hostile("cpu_ms = 200\ndeadline_ms = 2000\nmemory_mib = 32").await;
    let socket = TcpStream::connect(tenants.served.address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    let connection = tokio::spawn(connection);
    for (path, status) in [
        ("/fill", 504),
        ("/ok", 200),
        ("/sleep", 504),
        ("/allocate", 502),
        ("/panic", 502),
        ("/status/999", 502),
        ("/ok", 200),
    ] {
        let request = Request::get(path).header("host", SUSPECT).body(Empty::<Bytes>::new());
        client.ready().await.unwrap();
        let response = client.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        response.into_body().collect().await.unwrap();
    }
    drop(client);
    connection.await.unwrap().unwrap();
    tenants.served.assert_idle().await;
}

/// The example that misbehaves shows each outcome, and 32 connections to another function see no
/// error of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_that_misbehaves_shows_each_outcome_beside_an_undisturbed_hello() {
    let manifest = format!(
        "app = \"shop\"
        [functions.hello]
        component = {:?}
        routes = [\"/hello\"]
        [functions.misbehave]
        component = {misbehave:?}
        routes = [\"/{{what}}\"]
        [functions.misbehave.limits]
        memory_mib = 32
        cpu_ms = 200
        [functions.hurried]
        component = {misbehave:?}
        routes = [\"/hurried/{{what}}\"]
        [functions.hurried.limits]
        deadline_ms = 100",
        component("hello"),
        misbehave = component("misbehave"),
    );
    let served = Arc::new(Served::manifest(&manifest).await);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let beside: Vec<_> = (0..32)
        .map(|_| tokio::spawn(greet(served.clone(), stop.clone(), answered.clone())))
        .collect();
    for (what, status, outcome) in [
        ("ok", 200, "ok"),
        ("spin", 504, "cpu_exceeded"),
        ("allocate", 502, "memory_exceeded"),
        ("recurse", 502, "trap"),
        ("panic", 502, "trap"),
        ("hurried/sleep", 504, "deadline_exceeded"),
        ("flood", 200, "ok"),
        ("bad-status", 502, "bad_response"),
        ("bad-header", 502, "bad_response"),
        ("huge-body", 502, "bad_response"),
    ] {
        let before = answered.load(Ordering::Relaxed);
        let reply = served.get(&format!("/{what}")).await;
        assert_eq!((reply.status, reply.outcome()), (status, outcome), "{what}: {}", reply.text());
        while answered.load(Ordering::Relaxed) < before + 32 {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for task in beside {
        task.await.expect("no error beside a function that misbehaves");
    }
    served.assert_idle().await;
}

/// Asks hello on one connection until it is told to stop.
async fn greet(served: Arc<Served>, stop: Arc<AtomicBool>, answered: Arc<AtomicU32>) {
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    while !stop.load(Ordering::Relaxed) {
        socket.write_all(b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(b"Hello, world!\n") {
            assert!(socket.read_buf(&mut reply).await.unwrap() > 0, "closed after {reply:?}");
        }
        let reply = String::from_utf8(reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        assert!(reply.contains("\r\nlacewing-outcome: ok\r\n"), "{reply}");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}
