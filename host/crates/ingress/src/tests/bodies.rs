//! Bodies: too large, too slow, never ending, given up, asked for.

use super::*;

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_sent() {
    let host = Host::start().await;
    let mut client = host.connect().await;
    client
        .send("POST /echo HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 65537\r\n\r\n")
        .await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.header("lacewing-outcome")), (413, Some("bad_request")));
    assert_eq!(
        reply.problem("detail"),
        "the request's body is larger than 65536 bytes (`request_body_kib`)"
    );
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_body_that_grows_over_the_limit_is_refused() {
    let host = Host::start().await;
    let mut client = host.connect().await;
    client.send("POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n").await;
    // Far more than the sockets buffer: were the connection closed at once, the answer would be
    // lost.
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    for _ in 0..500 {
        client.send(&chunk).await;
    }
    let reply = client.reply().await;
    assert_eq!(
        (reply.status, reply.problem("detail")),
        (413, "the request's body is larger than 65536 bytes (`request_body_kib`)".to_owned())
    );
}

#[tokio::test]
async fn a_body_is_asked_for_where_the_client_waits_for_that() {
    let host = Host::start().await;
    let mut client = host.connect().await;
    client
        .send("POST /echo HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        .await;
    assert_eq!(client.read_until(b"\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc").await;
    assert_eq!(client.reply().await.body, "abc");
}

#[tokio::test]
async fn a_body_that_does_not_go_on_is_given_up() {
    let body_idle = Duration::from_millis(50);
    let host = Host::with(Options { body_idle, ..Options::default() }).await;
    for header in ["transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", "content-length: 9\r\n\r\nabc"]
    {
        let mut client = host.connect().await;
        client.send(format!("POST /echo HTTP/1.1\r\nhost: h\r\n{header}")).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.header("lacewing-outcome")), (408, Some("bad_request")));
        assert_eq!(reply.problem("detail"), "nothing of the request's body arrived for 50 ms");
    }
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up() {
    // Its pieces come often enough, so that the first of these limits is never met.
    let (body_idle, body_read) = (Duration::from_millis(1000), Duration::from_millis(1500));
    let host = Host::with(Options { body_idle, body_read, ..Options::default() }).await;
    let mut client = host.connect().await;
    client.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 60000\r\n\r\n").await;
    let (mut reader, mut writer) = client.socket.into_split();
    let trickle = tokio::spawn(async move {
        // Until the server has closed the connection.
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let mut text = String::new();
    let read = reader.read_to_string(&mut text);
    let _ = tokio::time::timeout(PATIENCE, read).await.expect("the server gave up");
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert_eq!(problem(&text, "detail"), "the request's body was not complete after 1500 ms");
    drop(reader);
    tokio::time::timeout(PATIENCE, trickle).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_goes_away_mid_body_is_noticed() {
    let host = Host::start().await;
    let mut client = host.connect().await;
    client.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc").await;
    drop(client);
    host.world.until(|world| world.body_errors.lock().unwrap().contains(&BodyError::Gone)).await;
}

#[tokio::test]
async fn bodies_stream_through_both_ways() {
    let host = Host::start().await;
    let mut client = host.connect().await;
    client.send("POST /relay HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    for piece in ["one", "two"] {
        client.send(format!("3\r\n{piece}\r\n")).await;
        assert_eq!(client.read_until(b"\r\n").await, "3\r\n");
        assert_eq!(client.read_until(b"\r\n").await, format!("{piece}\r\n"));
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.read_until(b"\r\n\r\n").await, "0\r\n\r\n");
}

#[tokio::test]
async fn a_functions_bytes_are_never_taken_for_hypers() {
    let host = Host::start().await;
    let mut client = host.connect().await;
    let imitation = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let length = "first".len() + 2 * imitation.len();
    client.send(format!("POST /relay HTTP/1.0\r\ncontent-length: {length}\r\n\r\nfirst")).await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.read_bytes(5).await, "first");
    // In the middle of the body, and at its end.
    client.send(imitation).await;
    assert_eq!(client.read_bytes(imitation.len()).await, imitation);
    client.send(imitation).await;
    assert_eq!(client.rest().await, imitation);
}

#[tokio::test]
async fn buffered_bodies_share_a_budget() {
    let host = Host::start().await;
    let mut others = host.world.bodies.lease();
    others.add(BODY_BUDGET - 48 * 1024);
    let post = |bytes: usize| {
        format!(
            "POST /echo HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n{}",
            "x".repeat(bytes)
        )
    };
    let text = host.exchange(post(64 * 1024)).await;
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("\r\nretry-after: 1\r\n"), "{text}");
    assert_eq!(problem(&text, "outcome"), "load_shed");
    // It was given back, and small bodies are free.
    for bytes in [24 * 1024, 30 * 1024, 16 * 1024] {
        assert!(host.exchange(post(bytes)).await.starts_with("HTTP/1.1 200 "), "{bytes}");
    }
}

#[tokio::test]
async fn an_unread_body_does_not_become_the_next_request() {
    let host = Host::start().await;
    let smuggled = "GET /u/smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    let mut client = host.connect().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{smuggled}",
            smuggled.len()
        ))
        .await;
    assert_eq!(client.reply().await.body, "hello");
    client.send("GET /u/next HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    let rest = client.rest().await;
    assert!(rest.is_empty() || rest.ends_with("hello id=next"), "{rest}");
}
