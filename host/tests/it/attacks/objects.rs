//! Guests that work the buckets of their tenant as hard as they can.

use futures_util::future::join_all;

use super::{Host, Target};
use crate::tenants::SUSPECT;

/// A suspect that may write to a bucket.
fn target() -> Target {
    let grants = "buckets = { files = \"read-write\" }\n[buckets.files]\nmax_mib = 64\n";
    Target::guest("objects").limits("deadline_ms = 60_000").grants(grants)
}

/// Asks for paths of the suspect, each client for one, so often. Gives the outcomes.
async fn asked(host: &Host, paths: Vec<String>, times: usize) -> Vec<String> {
    let client = |path: String| async move {
        let mut outcomes = Vec::new();
        for _ in 0..times {
            let reply = crate::client::get(host.address(), SUSPECT, &path).await;
            outcomes.push(reply.outcome().to_owned());
        }
        outcomes
    };
    join_all(paths.into_iter().map(client)).await.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_begun_and_left() {
    let attack = async |host: &Host| asked(host, vec!["/begin/40".into(); 8], 10).await;
    let outcomes = target().attacked_after(async |host| drop(attack(host).await), attack).await;
    assert_eq!(outcomes, vec!["ok"; 80]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_that_is_replaced_without_end() {
    // More than the bucket may have in all, so that what was replaced has to be gone.
    let paths = || (0..8).map(|client| format!("/write/o{client}/4/finish")).collect();
    let attack = async |host: &Host| asked(host, paths(), 8).await;
    // Readers beside each other leave as many connections to the database as it keeps.
    let warm_up = async |host: &Host| {
        asked(host, vec!["/count/n".into(); 16], 10).await;
        attack(host).await;
    };
    let outcomes = target().attacked_after(warm_up, attack).await;
    assert_eq!(outcomes, vec!["ok"; 64]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_that_all_change() {
    let attack = async |host: &Host| asked(host, vec!["/count/n".into(); 16], 10).await;
    let outcomes = target().attacked_after(async |host| drop(attack(host).await), attack).await;
    // One that loses again and again is told so.
    assert!(outcomes.iter().all(|outcome| ["ok", "conflict"].contains(&outcome.as_str())));
}
