//! Load on servers that stall, close and lie.

use std::net::SocketAddr;

use http::uri::PathAndQuery;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers every request with `answer`, the first of all after a while.
async fn server(answer: &'static [u8], stall: Duration) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut stall = stall;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let stall = std::mem::take(&mut stall);
            tokio::spawn(async move {
                let (mut request, mut stall) = (vec![0; 4096], stall);
                // A request is one read here: it is small, and the next one comes after its answer.
                while let Ok(1..) = stream.read(&mut request).await {
                    tokio::time::sleep(std::mem::take(&mut stall)).await;
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    (address, serving)
}

fn load(address: SocketAddr) -> LoadPlan {
    LoadPlan {
        target: LoadTarget::local(address, PathAndQuery::from_static("/")),
        method: Method::GET,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        connections: 1,
        threads: 1,
        requests_each: None,
        warmup: Duration::ZERO,
        duration: Duration::from_millis(500),
        rate: None,
        timeout: Duration::from_secs(60),
        expect: Expect { status: Some(200), body: Some(Bytes::from_static(b"ok")) },
    }
}

async fn run(load: LoadPlan) -> Measured {
    tokio::task::spawn_blocking(move || load.run()).await.unwrap().unwrap()
}

#[tokio::test]
async fn every_good_answer_is_counted_once() {
    let (address, _server) = server(ANSWER, Duration::ZERO).await;
    let measured = run(LoadPlan { connections: 5, threads: 2, ..load(address) }).await;
    assert_eq!((measured.error_count(), measured.first_error.as_ref()), (0, None));
    assert!(measured.responses > 0);
    assert_eq!(measured.latency.len(), measured.responses);
    assert_eq!(
        measured.timeline.iter().map(|count| u64::from(*count)).sum::<u64>(),
        measured.responses
    );
    assert_eq!(measured.timeline.len(), 5);
}

#[tokio::test]
async fn a_stall_is_charged_with_all_that_it_held_up() {
    let stall = Duration::from_millis(300);
    let (address, _server) = server(ANSWER, stall).await;
    let measured = run(LoadPlan { rate: Some(100), ..load(address) }).await;
    assert_eq!(measured.responses + measured.unsent, 50, "every slot is accounted for");
    // Ten slots a tenth of a second: those of the first two waited for at least the third.
    let late = measured.latency.len() - measured.latency.count_between(0, 99_000_000);
    assert!(late >= 20, "{late}");
}

#[tokio::test]
async fn wrong_answers_are_counted_by_their_kind() {
    for (answer, what, detail) in [
        (
            &b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nok"[..],
            "status",
            "the status was 503 Service Unavailable",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno",
            "body",
            "the body was another than expected",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\no",
            "body",
            "the body was another than expected",
        ),
    ] {
        let (address, _server) = server(answer, Duration::ZERO).await;
        let measured = run(load(address)).await;
        assert_eq!(measured.responses, 0, "{what}");
        assert_eq!(measured.errors.keys().copied().collect::<Vec<_>>(), [what]);
        assert_eq!(measured.first_error.as_deref(), Some(detail));
    }
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_is_asked_again() {
    let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let (address, _server) = server(answer, Duration::ZERO).await;
    let measured = run(LoadPlan { rate: Some(50), ..load(address) }).await;
    assert_eq!((measured.error_count(), measured.first_error.as_ref()), (0, None));
    assert_eq!(measured.responses + measured.unsent, 25);
}

#[tokio::test]
async fn each_connection_sends_its_number_of_requests_and_no_more() {
    let (address, _server) = server(ANSWER, Duration::ZERO).await;
    let bounded = LoadPlan { connections: 3, requests_each: Some(2), ..load(address) };
    let measured = run(LoadPlan { duration: Duration::from_secs(60), ..bounded }).await;
    assert_eq!((measured.responses, measured.error_count()), (6, 0));
}

#[tokio::test]
async fn an_address_without_a_server_is_an_error() {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = load(address).run().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}
