//! Connections: how many, how long, and what happens when a client goes away.

use super::*;

pub(super) const WAIT: &str = "GET /wait HTTP/1.1\r\nhost: h\r\n\r\n";
pub(super) const HELLO: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

pub(super) fn waiting(count: usize) -> impl Fn(&World) -> bool {
    move |world| world.waiting.load(Ordering::SeqCst) == count
}

pub(super) fn dropped(count: usize) -> impl Fn(&World) -> bool {
    move |world| world.dropped.load(Ordering::SeqCst) == count
}

#[tokio::test]
async fn a_client_that_goes_away_stops_its_request() {
    let host = Host::start().await;
    let mut client = host.connect().await;
    client.send(WAIT).await;
    host.world.until(waiting(1)).await;
    drop(client);
    host.world.until(dropped(1)).await;
}

#[tokio::test]
async fn a_client_that_never_completes_a_header_is_closed() {
    // Each is closed by this limit, or the test would not end: the other is longer than its
    // patience.
    let (header_timeout, keep_alive) = (Duration::from_millis(50), PATIENCE * 2);
    let host = Host::with(Options { header_timeout, keep_alive, ..Options::default() }).await;
    for start in ["", "PRI * HT", "GET / HT", "GET / HTTP/1.1\r\nhost: h\r\n"] {
        let mut client = host.connect().await;
        client.send(start).await;
        assert_eq!(client.rest().await, "", "{start:?}");
    }
    // A later request has the same time, from its first byte.
    let mut client = host.connect().await;
    client.send(HELLO).await;
    assert_eq!(client.reply().await.body, "hello");
    client.send("GET / HT").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_client_that_sends_no_further_request_is_closed() {
    let (header_timeout, keep_alive) = (PATIENCE * 2, Duration::from_millis(50));
    let host = Host::with(Options { header_timeout, keep_alive, ..Options::default() }).await;
    let mut client = host.connect().await;
    for request in [HELLO, "GET /stream HTTP/1.1\r\nhost: h\r\n\r\n", HELLO] {
        client.send(request).await;
        let head = client.head().await;
        assert_eq!((head.status, head.header("connection")), (200, None));
        let end = if request == HELLO { "hello" } else { "0\r\n\r\n" };
        client.read_until(end.as_bytes()).await;
    }
    assert_eq!(client.rest().await, "");
    // A body that ends without a byte left to send ends its request all the same.
    let mut client = host.connect().await;
    client.send("POST /relay HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc").await;
    assert_eq!(client.head().await.status, 200);
    client.rest().await;
}

#[tokio::test]
async fn a_connection_of_one_request_is_closed_by_its_response() {
    let keep_alive = Duration::ZERO;
    let host = Host::with(Options { keep_alive, ..Options::default() }).await;
    let mut client = host.connect().await;
    client.send(HELLO).await;
    let reply = client.reply().await;
    assert_eq!((reply.body.as_str(), reply.header("connection")), ("hello", Some("close")));
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_request_in_flight_does_not_idle() {
    let (header_timeout, keep_alive) = (Duration::from_millis(50), Duration::from_millis(50));
    let host = Host::with(Options { header_timeout, keep_alive, ..Options::default() }).await;
    let mut client = host.connect().await;
    client.send(WAIT).await;
    host.world.until(waiting(1)).await;
    // By the time that this is closed for idling, so would the other be.
    host.connect().await.rest().await;
    host.world.release.notify_waiters();
    assert_eq!(client.reply().await.body, "done");
}

#[tokio::test]
async fn a_client_that_reads_slowly_does_not_idle() {
    let keep_alive = Duration::from_millis(50);
    let host = Host::with(Options { keep_alive, ..Options::default() }).await;
    let mut slow = host.connect().await;
    slow.send("GET /large HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(slow.head().await.status, 200);
    // By the time that this is closed for idling, so would the other be.
    let mut idle = host.connect().await;
    idle.send(HELLO).await;
    assert!(idle.rest().await.ends_with("hello"));
    assert_eq!(slow.read_bytes(LARGE_BYTES).await.len(), LARGE_BYTES);
}

/// The socket of the host holds megabytes. The bytes that a client reads of them are progress,
/// although the host writes nothing meanwhile.
#[tokio::test]
async fn a_client_that_reads_slowly_and_steadily_gets_its_whole_body() {
    let write_idle = Duration::from_secs(1);
    let host = Host::with(Options { write_idle, ..Options::default() }).await;
    let mut slow = host.connect().await;
    slow.send("GET /large HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(slow.head().await.status, 200);
    let mut read = 0;
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    while read < 1024 * 1024 {
        pace.tick().await;
        read += slow.read_bytes(16 * 1024).await.len();
    }
    assert_eq!(slow.read_bytes(LARGE_BYTES - read).await.len(), LARGE_BYTES - read);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let write_idle = Duration::from_millis(100);
    let host = Host::with(Options { write_idle, ..Options::default() }).await;
    let mut client = host.connect().await;
    client.send("GET /endless HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    // It is still there, and reads no more.
    until_open(&host, 0).await;
    drop(client);
}

async fn until_open(host: &Host, connections: u32) {
    let wait = async {
        while host.server.connections() != connections {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the connections ended");
}

#[tokio::test]
async fn a_port_in_use_is_reported_with_advice() {
    let host = Host::start().await;
    let address = host.server.address();
    let error = Listener::bind(address, "--listen").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {address}: address already in use (is another lacewing running? choose another with --listen)"
        )
    );
    let error = Listener::bind("192.0.2.1:3000".parse().unwrap(), "--admin").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot listen on 192.0.2.1:3000: this machine has no such address (choose another with --admin)"
    );
}
