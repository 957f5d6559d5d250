//! The end: what was accepted is finished, and what is not finished is cut and counted.

use super::*;

const WAIT: &str = "GET /wait HTTP/1.1\r\nhost: h\r\n\r\n";
const HELLO: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

async fn until_waiting(world: &World, count: usize) {
    world.until(|world| world.waiting.load(Ordering::SeqCst) == count).await;
}

#[tokio::test]
async fn requests_in_flight_are_finished() {
    let host = Host::start().await;
    let (world, address) = (Arc::clone(&host.world), host.server.address());
    let mut idle = host.connect().await;
    idle.send(HELLO).await;
    assert_eq!(idle.reply().await.body, "hello");
    let mut busy = host.connect().await;
    busy.send(WAIT).await;
    until_waiting(&world, 1).await;
    let drain = tokio::spawn(host.server.drain(PATIENCE));
    assert_eq!(idle.rest().await, "");
    // The idle one is closed after new ones are refused.
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!drain.is_finished());
    world.release.notify_waiters();
    let reply = busy.reply().await;
    assert_eq!((reply.body.as_str(), reply.header("connection")), ("done", Some("close")));
    assert_eq!(busy.rest().await, "");
    assert_eq!(drain.await.unwrap(), Drained::default());
}

#[tokio::test]
async fn clients_that_send_after_the_drain_began_are_answered_and_asked_to_leave() {
    let drain_linger = PATIENCE;
    let host = Host::with(Options { drain_linger, ..Options::default() }).await;
    let address = host.server.address();
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = host.connect().await;
        client.send(HELLO).await;
        assert_eq!(client.reply().await.body, "hello");
        clients.push(client);
    }
    let drain = tokio::spawn(host.server.drain(PATIENCE * 2));
    while TcpStream::connect(address).await.is_ok() {}
    for mut client in clients {
        client.send(HELLO).await;
        let reply = client.reply().await;
        assert_eq!((reply.body.as_str(), reply.header("connection")), ("hello", Some("close")));
        assert_eq!(client.rest().await, "");
    }
    // Those that only connected were accepted too, say nothing, and went away.
    assert_eq!(drain.await.unwrap(), Drained::default());
}

#[tokio::test]
async fn clients_that_had_connected_are_answered() {
    let host = Host::start().await;
    let address = host.server.address();
    // Without a pause in which the server could accept them.
    let clients: Vec<_> = std::iter::repeat_with(|| {
        let mut client = std::net::TcpStream::connect(address).unwrap();
        std::io::Write::write_all(&mut client, HELLO.as_bytes()).unwrap();
        client
    })
    .take(5)
    .collect();
    assert_eq!(host.server.connections(), 0);
    assert_eq!(host.server.drain(PATIENCE).await, Drained::default());
    for mut client in clients {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut client, &mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("hello"), "{text}");
    }
}

#[tokio::test]
async fn unfinished_requests_are_cut_and_counted() {
    let host = Host::start().await;
    let world = Arc::clone(&host.world);
    let mut clients = Vec::new();
    for count in 1..=2 {
        let mut client = host.connect().await;
        client.send(WAIT).await;
        until_waiting(&world, count).await;
        clients.push(client);
    }
    let drained = host.server.drain(Duration::from_millis(150)).await;
    assert_eq!(drained, Drained { connections_cut: 2, requests_cut: 2 });
    assert_eq!(world.dropped.load(Ordering::SeqCst), 2);
    for mut client in clients {
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test]
async fn a_stream_counts_as_in_flight_until_its_end() {
    let host = Host::start().await;
    let mut client = host.connect().await;
    client.send("POST /relay HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    let drain = tokio::spawn(host.server.drain(PATIENCE));
    client.send("3\r\nend\r\n0\r\n\r\n").await;
    assert_eq!(client.rest().await, "3\r\nend\r\n0\r\n\r\n");
    assert_eq!(drain.await.unwrap(), Drained::default());
}
