//! Guests that work the store of their tenant as hard as they can.

use futures_util::future::join_all;

use super::{Host, Target};
use crate::tenants::SUSPECT;

/// A suspect that may write to a store.
fn target() -> Target {
    let grants = "kv = { things = \"read-write\" }\n[kv.things]\n";
    Target::guest("state").limits("deadline_ms = 60_000").grants(grants)
}

/// Asks for a path of the suspect, so often by so many clients. Gives the outcomes.
async fn asked(host: &Host, path: &str, clients: usize, times: usize) -> Vec<String> {
    let client = || async {
        let mut outcomes = Vec::new();
        for _ in 0..times {
            let reply = crate::client::get(host.address(), SUSPECT, path).await;
            outcomes.push(reply.outcome().to_owned());
        }
        outcomes
    };
    join_all((0..clients).map(|_| client())).await.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_commits_without_end() {
    let attack = async |host: &Host| asked(host, "/fill/1000000", 16, 20).await;
    let outcomes = target().attacked_after(async |host| drop(attack(host).await), attack).await;
    assert_eq!(outcomes, vec!["ok"; 320]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_entry_that_all_change() {
    let attack = async |host: &Host| asked(host, "/count/hits", 32, 20).await;
    let outcomes = target().attacked_after(async |host| drop(attack(host).await), attack).await;
    // One that loses again and again is told so.
    assert!(outcomes.iter().all(|outcome| ["ok", "conflict"].contains(&outcome.as_str())));
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_are_held() {
    let attack = async |host: &Host| {
        let holding = asked(host, "/hold/1500", 40, 1);
        let writing = asked(host, "/fill/1000000", 4, 40);
        tokio::join!(holding, writing)
    };
    let (held, written) =
        target().attacked_after(async |host| drop(attack(host).await), attack).await;
    assert_eq!((held, written), (vec!["ok".to_owned(); 40], vec!["ok".to_owned(); 160]));
}
