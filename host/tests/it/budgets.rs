//! The memory that the host holds for its tenants: bounded, charged, and counted across deploys.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::{
    harness::{eventually, guest},
    tenants::{NEIGHBOUR, SUSPECT, Tenants},
};

const MIB: u64 = 1 << 20;

/// A tenant and its neighbour on a host with so much for bodies.
async fn with_body_memory(mib: u64) -> Tenants {
    let limits = "response_body_kib = 16384\nrequest_body_kib = 16384";
    Tenants::with(&guest("hostile"), limits, |file| {
        file.settings.body_memory_bytes = Some(mib * MIB);
    })
    .await
}

fn held(tenants: &Tenants) -> u64 {
    tenants.served.host.invoker().engines().bodies().used()
}

async fn status(client: &mut TcpStream) -> String {
    let mut head = [0; "HTTP/1.1 503".len()];
    client.read_exact(&mut head).await.unwrap();
    String::from_utf8(head.to_vec()).unwrap()
}

/// The neighbour's request has a body that has to be held as well.
async fn neighbour_is_served_with_a_body(tenants: &Tenants) {
    let body = Bytes::from(vec![b'x'; 200 << 10]);
    let reply = tenants.send(NEIGHBOUR, Method::GET, "/", HeaderMap::new(), body).await;
    assert_eq!((reply.status, reply.outcome()), (200, "ok"), "{}", reply.text());
}

/// Clients of one tenant begin to send bodies and never end: that tenant's share is full, and
/// nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_never_complete_fill_their_tenants_share_only() {
    let tenants = with_body_memory(8).await;
    let mut half =
        format!("POST /body HTTP/1.1\r\nhost: {SUSPECT}\r\ncontent-length: 2097152\r\n\r\n");
    half.push_str(&"x".repeat(1 << 20));
    let mut clients = Vec::new();
    // Six MiB are no more than four times the two that are left.
    for number in 1..=6 {
        clients.push(tenants.raw(half.as_bytes()).await);
        // The bytes, and what a request that waits takes by itself.
        let bytes = number * MIB + 1..(number * MIB + number * MIB / 16);
        eventually("it is held", || bytes.contains(&held(&tenants))).await;
    }
    let mut refused = tenants.raw(half.as_bytes()).await;
    assert_eq!(status(&mut refused).await, "HTTP/1.1 503");
    neighbour_is_served_with_a_body(&tenants).await;
    let reply = tenants.get("/ok").await;
    assert_eq!(reply.status, 200, "what needs no room is served");
    drop((clients, refused));
    eventually("all of it is given back", || held(&tenants) == 0).await;
    tenants.served.assert_idle().await;
}

/// Clients of one tenant ask for large responses and do not read them.
#[tokio::test(flavor = "multi_thread")]
async fn unread_responses_fill_their_tenants_share_only() {
    let tenants = with_body_memory(40).await;
    let ask = format!("GET /bytes/15728640 HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n");
    let mut clients = Vec::new();
    // Thirty MiB are no more than four times the ten that are left.
    for number in 1..=2 {
        let mut client = tenants.raw(ask.as_bytes()).await;
        assert_eq!(status(&mut client).await, "HTTP/1.1 200");
        clients.push(client);
        eventually("it is held", || held(&tenants) == number * 15 * MIB).await;
    }
    let mut refused = tenants.raw(ask.as_bytes()).await;
    assert_eq!(status(&mut refused).await, "HTTP/1.1 503");
    neighbour_is_served_with_a_body(&tenants).await;
    // One is read after all, and that makes room.
    let mut rest = Vec::new();
    clients.remove(0).take(15 << 20).read_to_end(&mut rest).await.unwrap();
    eventually("what was read is given back", || held(&tenants) == 15 * MIB).await;
    let mut client = tenants.raw(ask.as_bytes()).await;
    assert_eq!(status(&mut client).await, "HTTP/1.1 200");
    drop((clients, client));
    eventually("all of it is given back", || held(&tenants) == 0).await;
    tenants.served.assert_idle().await;
}

/// A guest takes memory that its own limit allows, and the host does not have.
#[tokio::test(flavor = "multi_thread")]
async fn memory_that_the_host_does_not_have_is_refused_before_it_is_used() {
    let tenants = Tenants::with(&guest("hostile"), "memory_mib = 200", |file| {
        // 32 MiB of it are for sandboxes.
        file.settings.memory_bytes = Some(96 * MIB);
    })
    .await;
    let sentence = "the host has no room for this request now; try again later";
    let ended = tenants.fails("/allocate", "load_shed", 503, sentence).await;
    assert!(
        ended.detail().ends_with("the host has none left for the tenant now"),
        "{}",
        ended.detail()
    );
    // Four fifths of them, and what is free.
    assert!(ended.number("memory_peak_bytes") <= 33 * MIB, "{}", ended.record);
    assert_eq!(tenants.served.host.invoker().engines().guests().used(), 0);
}

/// A deploy changes limits, and what runs stays counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_with_another_quota_counts_running_invocations() {
    let tenants = Tenants::with(&guest("hostile"), "concurrency = 4", |file| {
        file.settings.admission.wait = Duration::ZERO;
    })
    .await;
    let _running = [tenants.begin("/sleep").await, tenants.begin("/sleep").await];
    for (concurrency, quota, status) in [
        (2, "concurrency = 9", 429),
        (3, "concurrency = 9", 200),
        (3, "concurrency = 2", 429),
        (3, "concurrency = 3", 200),
        (3, "concurrency = 3, memory_mib = 150", 429),
        (3, "weight = 7", 200),
        (1, "weight = 7", 429),
    ] {
        tenants.write("suspect", &guest("hostile"), &format!("concurrency = {concurrency}"));
        tenants.deploy_quota(quota).await.unwrap();
        let reply = tenants.get("/ok").await;
        assert_eq!(reply.status, status, "{concurrency}, {quota}: {}", reply.text());
    }
    tenants.neighbour_is_served().await;
}
