//! Places: the clients that make room for others, and those that keep theirs.

use super::{
    connections::{HELLO, WAIT, dropped, waiting},
    *,
};

const NEIGHBOUR: [u8; 4] = [127, 0, 0, 9];

async fn until_full(host: &Host) {
    let full = async {
        while !host.server.is_full() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.expect("a client waits for a place");
}

fn request(path: impl std::fmt::Display) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")
}

#[tokio::test]
async fn when_all_places_are_taken_a_connection_that_idles_makes_room() {
    let host = Host::with(Options { connections: 2, ..Options::default() }).await;
    let mut first = host.connect().await;
    first.send(HELLO).await;
    assert_eq!(first.reply().await.header("connection"), None);
    let mut second = host.connect().await;
    second.send(WAIT).await;
    host.world.until(waiting(1)).await;
    first.send(HELLO).await;
    assert_eq!(first.reply().await.body, "hello", "two places hold two connections");
    let mut third = host.connect().await;
    third.send(HELLO).await;
    assert_eq!(third.reply().await.body, "hello");
    assert_eq!(first.rest().await, "", "the first one was closed");
    host.world.release.notify_waiters();
    assert_eq!(second.reply().await.body, "done");
}

/// Where no connection idles and each client holds one, a new one waits, and each answer asks its
/// client to leave.
#[tokio::test]
async fn when_all_connections_work_a_new_one_waits_and_others_are_asked_to_leave() {
    let host = Host::with(Options { connections: 2, ..Options::default() }).await;
    let mut working =
        [host.connect_from([127, 0, 0, 1]).await, host.connect_from([127, 0, 0, 2]).await];
    for (count, client) in working.iter_mut().enumerate() {
        client.send(WAIT).await;
        host.world.until(waiting(count + 1)).await;
    }
    let mut third = host.connect_from([127, 0, 0, 3]).await;
    third.send(HELLO).await;
    until_full(&host).await;
    host.world.release.notify_waiters();
    let [first, second] = &mut working;
    let reply = first.reply().await;
    assert_eq!((reply.body.as_str(), reply.header("connection")), ("done", Some("close")));
    assert_eq!(second.reply().await.body, "done");
    assert_eq!(third.reply().await.body, "hello");
}

/// One network asks for all tenants, which makes each of its connections a party of its own.
#[tokio::test]
async fn a_network_that_names_many_tenants_harms_no_neighbour() {
    // No tenant has two of them.
    let host = Host::with(Options { connections: TENANTS, ..Options::default() }).await;
    let mut neighbour = host.connect_from(NEIGHBOUR).await;
    neighbour.send(HELLO).await;
    assert_eq!(neighbour.reply().await.body, "hello");
    let mut crowd = Vec::new();
    for n in 0..40 {
        let mut client = host.connect().await;
        client.send(request(format_args!("/hello/{}", n % u64::from(TENANTS) + 1))).await;
        assert_eq!(client.reply().await.body, "hello", "{n}");
        crowd.push(client);
    }
    // The oldest connection of all is still there, and another one is let in.
    neighbour.send(HELLO).await;
    assert_eq!(neighbour.reply().await.body, "hello");
    let mut second = host.connect_from(NEIGHBOUR).await;
    second.send(HELLO).await;
    assert_eq!(second.reply().await.body, "hello");
    drop(crowd);
}

/// One network fills all places with functions that work, each of another tenant.
#[tokio::test]
async fn a_network_whose_functions_work_makes_room_for_a_neighbour() {
    let host = Host::with(Options { connections: 4, ..Options::default() }).await;
    let mut crowd = Vec::new();
    for tenant in 1..=4 {
        let mut client = host.connect().await;
        client.send(request(format_args!("/wait/{tenant}"))).await;
        host.world.until(waiting(tenant)).await;
        crowd.push(client);
    }
    let mut neighbour = host.connect_from(NEIGHBOUR).await;
    neighbour.send(HELLO).await;
    assert_eq!(neighbour.reply().await.body, "hello");
    // The newest one was closed, and its function stopped.
    host.world.until(dropped(1)).await;
    assert_eq!(crowd.pop().unwrap().rest().await, "");
    host.world.release.notify_waiters();
    for mut client in crowd {
        assert_eq!(client.reply().await.body, "done");
    }
}

/// A tenant whose functions work in all places makes room for another tenant's client at the same
/// address.
#[tokio::test]
async fn a_tenant_whose_functions_work_makes_room_for_another_tenant() {
    let host = Host::with(Options { connections: 4, ..Options::default() }).await;
    let mut crowd = Vec::new();
    for count in 1..=4 {
        let mut client = host.connect().await;
        client.send(WAIT).await;
        host.world.until(waiting(count)).await;
        crowd.push(client);
    }
    for path in ["/hello/1", "/hello/2"] {
        let mut neighbour = host.connect().await;
        neighbour.send(request(path)).await;
        assert_eq!(neighbour.reply().await.body, "hello");
    }
    host.world.until(dropped(1)).await;
    host.world.release.notify_waiters();
    for client in &mut crowd[..2] {
        assert_eq!(client.reply().await.body, "done");
    }
}

/// Streams of HTTP/2 work elsewhere than their connection, and end with it.
#[tokio::test]
async fn a_connection_of_http2_that_works_makes_room() {
    let host = Host::with(Options { connections: 2, ..Options::default() }).await;
    let mut crowd = Vec::new();
    for count in 0..2 {
        let mut client = super::http2::connect(&host).await;
        for stream in 1..=3 {
            crowd
                .push(tokio::spawn(client.send_request(super::http2::request("GET", "/wait", ""))));
            host.world.until(waiting(3 * count + stream)).await;
        }
    }
    let mut neighbour = host.connect_from(NEIGHBOUR).await;
    neighbour.send(HELLO).await;
    assert_eq!(neighbour.reply().await.body, "hello");
    host.world.until(dropped(3)).await;
    host.world.release.notify_waiters();
    let mut answered = 0;
    for waits in crowd {
        answered += usize::from(waits.await.unwrap().is_ok());
    }
    assert_eq!(answered, 3);
}
