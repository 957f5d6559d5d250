//! Tenants that want more than there is, and what is left for the others.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, Method};
use lacewing::telemetry::Captured;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{
    harness::{eventually, guest},
    tenants::{NEIGHBOUR, SUSPECT, Tenants},
};

/// Long enough that no guest of these tests comes to its end.
const LONG: &str = "cpu_ms = 600000\ndeadline_ms = 600000";

/// Clients of a tenant whose guests compute for ever.
async fn spinning(tenants: &Tenants, host: &str, many: usize) -> Vec<TcpStream> {
    let head = format!("GET /spin HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let mut clients = Vec::new();
    for _ in 0..many {
        clients.push(tenants.raw(head.as_bytes()).await);
    }
    clients
}

/// The CPU time of all invocations of a tenant that have ended, in microseconds, and how many they
/// are, by outcome.
async fn ended(tenants: &Tenants, many: usize) -> HashMap<String, (u64, HashMap<String, usize>)> {
    let (mut found, mut all) = (0, HashMap::<String, (u64, HashMap<String, usize>)>::new());
    eventually("every invocation is recorded", || {
        for one in tenants.served.sink.take() {
            if let Captured::Record(json) = one {
                let record: Value = serde_json::from_str(&json).unwrap();
                let tenant = record["tenant"].as_str().unwrap().to_owned();
                let outcome = record["outcome"].as_str().unwrap().to_owned();
                let (cpu_us, outcomes) = all.entry(tenant).or_default();
                *cpu_us += record["cpu_us"].as_u64().unwrap();
                *outcomes.entry(outcome).or_default() += 1;
                found += 1;
            }
        }
        found >= many
    })
    .await;
    assert_eq!(found, many, "{all:?}");
    all
}

/// Guests of one tenant compute on many connections. Between two answers to a neighbour not each of
/// them has had its turn: the neighbour is not behind them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_is_not_behind_all_guests_of_a_tenant_that_computes() {
    const GUESTS: usize = 96;
    const REQUESTS: usize = 40;
    let tenants = Tenants::with(&guest("hostile"), LONG, |file| {
        // They are to come in, and not to be shed: it is the running of them that is looked at.
        file.settings.max_sandboxes = 128;
        file.settings.admission.wait = std::time::Duration::from_secs(60);
    })
    .await;
    let clients = spinning(&tenants, SUSPECT, GUESTS).await;
    eventually("all guests run", || {
        tenants.served.host.invoker().engines().usage().stacks == GUESTS as u64
    })
    .await;
    for _ in 0..REQUESTS {
        tenants.neighbour_is_served().await;
    }
    drop(clients);
    let ended = ended(&tenants, GUESTS + REQUESTS).await;
    let (cpu_us, outcomes) = &ended["suspect"];
    assert_eq!(outcomes["canceled"], GUESTS);
    assert_eq!(ended["neighbour"].1["ok"], REQUESTS, "none was shed");
    // Behind all of them it would be more than one and a half rounds: a request is looked at more
    // than once.
    let round_us = GUESTS as u64 * 1000;
    assert!(*cpu_us < REQUESTS as u64 * round_us * 5 / 4, "{cpu_us} us");
    tenants.served.assert_idle().await;
}

/// Two tenants compute, one of them on many more connections: each has half of the cores.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cores_are_shared_by_tenants_and_not_by_their_guests() {
    let tenants = Tenants::with(&guest("hostile"), LONG, |file| {
        file.settings.admission.wait = std::time::Duration::from_secs(60);
    })
    .await;
    tenants.deploy("neighbour", &guest("hostile"), LONG).await.unwrap();
    tenants.served.sink.take();
    let many = spinning(&tenants, SUSPECT, 32).await;
    let few = spinning(&tenants, NEIGHBOUR, 4).await;
    let usage = || tenants.served.host.invoker().engines().usage();
    eventually("all guests run", || usage().stacks == 36).await;
    // A bounded piece of work of the few's own: while it is done, both have had their shares.
    let work = || async {
        let path = "/work/300000000";
        tenants.send(NEIGHBOUR, Method::GET, path, HeaderMap::new(), Bytes::new()).await
    };
    assert_eq!(work().await.outcome(), "ok");
    drop((many, few));
    let ended = ended(&tenants, 37).await;
    let (many_us, few_us) = (ended["suspect"].0, ended["neighbour"].0);
    let ratio = many_us as f64 / few_us as f64;
    assert!((0.5..2.0).contains(&ratio), "{many_us} us and {few_us} us");
    tenants.served.assert_idle().await;
}
