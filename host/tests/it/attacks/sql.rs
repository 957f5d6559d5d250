//! Guests that execute hostile SQL on databases of their own tenant.

use futures_util::future::join_all;

use super::{Host, Target};
use crate::{harness::Reply, tenants::SUSPECT};

/// A suspect that may write to a database.
fn target(limits: &str) -> Target {
    target_with(60_000, limits)
}

/// The same, with another bound on the time of a statement.
fn target_with(statement_ms: u32, limits: &str) -> Target {
    let grants =
        "sql = { default = \"read-write\" }\n[sql.default]\nmax_mib = 8\nmax_heap_mib = 2\n";
    let grants = &format!("{grants}max_statement_ms = {statement_ms}\n");
    let limits = format!("deadline_ms = 60_000\n{limits}");
    Target::guest("sql").limits(&limits).grants(grants)
}

/// Has so many guests attack at once. Gives their answers.
async fn attacked(target: Target, attack: &str, guests: usize) -> Vec<Reply> {
    let path = format!("/attack/{attack}");
    let one = async |host: &Host| crate::client::get(host.address(), SUSPECT, &path).await;
    let all = async |host: &Host| join_all((0..guests).map(|_| one(host))).await;
    target.attacked_after(async |host| drop(all(host).await), all).await
}

fn outcomes(replies: &[Reply]) -> Vec<&str> {
    replies.iter().map(Reply::outcome).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_without_end() {
    let replies = attacked(target("cpu_ms = 100"), "endless", 8).await;
    assert_eq!(outcomes(&replies), ["cpu_exceeded"; 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_sort_and_gather_without_end() {
    // An array that has no room any more fails at the end of its statement, which never comes.
    let replies = attacked(target_with(1000, "cpu_ms = 60_000"), "memory", 3).await;
    assert_eq!(outcomes(&replies), ["ok"; 3]);
    for reply in replies {
        for line in reply.text().lines() {
            assert!(line.contains("needs more memory than a connection"), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_a_gigabyte() {
    let replies = attacked(target("cpu_ms = 60_000"), "values", 8).await;
    assert_eq!(outcomes(&replies), ["ok"; 8]);
    for reply in replies {
        for line in reply.text().lines() {
            assert!(line.contains("string or blob too big"), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_are_never_ended() {
    let replies = attacked(target("cpu_ms = 60_000"), "hold", 12).await;
    // Some wait for their turn for too long, and are told so.
    assert_eq!(outcomes(&replies), ["ok"; 12]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_filled() {
    let replies = attacked(target("cpu_ms = 60_000"), "fill", 4).await;
    assert_eq!(outcomes(&replies), ["ok"; 4]);
    for reply in replies {
        assert!(reply.text().ends_with("DatabaseFull"), "{}", reply.text());
    }
}
