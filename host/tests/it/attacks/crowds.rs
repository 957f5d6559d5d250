//! Clients that take all places for connections, and keep them.

use tokio::net::TcpStream;

use super::{Host, Target, http2, ingress::target};
use crate::tenants::SUSPECT;

const PLACES: usize = 60;

/// Times so long that only a neighbour's need closes a connection.
// A host of 512 MiB keeps few slots warm: what is left after an attack is then what the attack has
// left.
const PATIENT: &str = "memory_mib = 512\nbody_memory_mib = 64\n[connections]\nmax = 60\nheader_timeout_s = 3600\nbody_idle_timeout_s = 3600\nkeep_alive_s = 3600";

/// Takes all places, and a third as many again; a neighbour is served all the while, each time on a
/// connection of its own.
async fn takes_all_places(target: Target, bytes: &[u8]) {
    target
        .settings(PATIENT)
        .attacked(async |host| {
            let mut crowd: Vec<TcpStream> = Vec::new();
            for _ in 0..PLACES + PLACES / 3 {
                crowd.push(host.raw(bytes).await);
            }
            for _ in 0..20 {
                host.neighbour_is_served().await;
            }
            assert!(host.figure("lacewing_connections_open").await <= PLACES as u64);
            drop(crowd);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing() {
    takes_all_places(target(), b"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_http2_that_idle() {
    takes_all_places(target(), http2::PREFACE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_idle_after_a_request() {
    let request = format!("GET /ok HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n");
    takes_all_places(target(), request.as_bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_not_finished() {
    let head = format!("GET /ok HTTP/1.1\r\nhost: {SUSPECT}\r\nx-");
    takes_all_places(target(), head.as_bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_finished() {
    for guest in ["hostile", "portable-02", "portable-03"] {
        let half =
            format!("POST /echo HTTP/1.1\r\nhost: {SUSPECT}\r\ncontent-length: 10\r\n\r\nhalf");
        let limits = "concurrency = 200\ndeadline_ms = 600_000";
        takes_all_places(Target::guest(guest).limits(limits), half.as_bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_http2_that_are_not_finished() {
    takes_all_places(target(), &http2::half_an_upload(SUSPECT, "/body")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_are_not_read() {
    let large = format!("GET /bytes/4000000 HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n");
    takes_all_places(target(), large.as_bytes()).await;
    takes_all_places(target(), &http2::without_window(SUSPECT, "/bytes/100000", 2)).await;
}

/// Functions that sleep in all places: the newest ones make room, one for each client that finds no
/// place.
#[tokio::test(flavor = "multi_thread")]
async fn functions_that_work_in_all_places() {
    for request in [
        format!("GET /sleep HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n").into_bytes(),
        http2::without_window(SUSPECT, "/sleep", 1),
    ] {
        target()
            .settings(&PATIENT.replace("max = 60", "max = 30"))
            .limits("concurrency = 200\ndeadline_ms = 600_000")
            .attacked(async |host| {
                let mut crowd = Vec::new();
                for _ in 0..40 {
                    crowd.push(host.raw(&request).await);
                }
                host.until("lacewing_invocations_in_flight", |count| count >= 25).await;
                for _ in 0..20 {
                    host.neighbour_is_served().await;
                }
                assert!(host.figure("lacewing_connections_open").await <= 30);
                let record = host.record(0).await;
                assert_eq!(record["outcome"], "canceled", "{record}");
                let detail = "the client went away, or the host closed its connection";
                assert_eq!(record["detail"], detail, "{record}");
                // The oldest ones have kept their places.
                assert!(host.figure("lacewing_invocations_in_flight").await >= 20);
                drop(crowd);
            })
            .await;
    }
}

/// A connection whose function works keeps its place, however many idle ones of the same client
/// want one.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_beside_a_function_that_works() {
    target()
        .limits("cpu_ms = 60_000\ndeadline_ms = 120_000")
        .settings(PATIENT)
        .attacked(async |host: &Host| {
            let works = host.get("/work/300000000");
            let crowd = async {
                let mut crowd = Vec::new();
                for _ in 0..2 * PLACES {
                    crowd.push(host.raw("").await);
                }
                crowd
            };
            let (ended, crowd) = tokio::join!(works, crowd);
            ended.is(200, "ok");
            drop(crowd);
        })
        .await;
}
