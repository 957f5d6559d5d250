//! Attacks on the shares of tenants: programs in memory, turns to load, series of metrics.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::{Host, NEIGHBOUR, SUSPECT, Target, rest};
use crate::harness::{component, pause};

/// The paths of functions.
fn paths(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |n| format!("/{prefix}{n}"))
}

/// The loads and evictions of a tenant's programs.
async fn programs(host: &Host, tenant: &str) -> [u64; 2] {
    let figures = host.figures().await;
    let figure = |name: &str| {
        figures[&format!("lacewing_tenant_program_{name}_total{{tenant=\"{tenant}\"}}")]
    };
    [figure("loads"), figure("evictions")]
}

/// Asks the neighbour's functions, and gives the loads and evictions of its programs.
async fn neighbours_programs(host: &Host, functions: usize) -> [u64; 2] {
    host.ask(NEIGHBOUR, paths("f", functions)).await;
    programs(host, "neighbour").await
}

#[tokio::test(flavor = "multi_thread")]
async fn more_functions_in_turn_than_may_be_resident() {
    let target = Target::of(&component("hello")).more(60, 5);
    let warm = async |host: &Host| {
        neighbours_programs(host, 5).await;
        host.ask(SUSPECT, paths("f", 60)).await;
    };
    target
        .settings("[residency]\nmax_functions = 20")
        .attacked_after(warm, async |host| {
            let before = neighbours_programs(host, 5).await;
            for _ in 0..4 {
                host.ask(SUSPECT, paths("f", 60)).await;
                assert_eq!(neighbours_programs(host, 5).await, before, "its programs stay");
            }
            assert_eq!(before[1], 0);
            let [loads, evictions] = programs(host, "suspect").await;
            assert!(loads > 240 && evictions > 200, "{loads} loads, {evictions} evictions");
            assert!(host.figure("lacewing_programs_resident").await <= 20);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_bytes_of_programs_than_may_be_resident() {
    let target = Target::of(&component("hello")).more(40, 2);
    let warm = async |host: &Host| {
        neighbours_programs(host, 2).await;
        host.ask(SUSPECT, paths("f", 40)).await;
    };
    target
        .settings("[residency]\nmemory_mib = 4")
        .attacked_after(warm, async |host| {
            let before = neighbours_programs(host, 2).await;
            for _ in 0..3 {
                host.ask(SUSPECT, paths("f", 40)).await;
                assert_eq!(neighbours_programs(host, 2).await, before, "its programs stay");
            }
            assert_eq!(before[1], 0);
            assert!(programs(host, "suspect").await[1] > 60);
            assert!(host.figure("lacewing_programs_resident_bytes").await <= 4 << 20);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cold_functions_by_hundreds_at_once() {
    let target = Target::of(&component("hello")).more(200, 5);
    target
        .settings("[residency]\nmax_functions = 20")
        .attacked_after(
            async |host| {
                host.ask(SUSPECT, paths("f", 40)).await;
            },
            async |host| {
                let get = |path: String| {
                    host.raw_reply(format!(
                        "GET {path} HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\n\r\n"
                    ))
                };
                let storm = join_all(paths("f", 200).map(get));
                let (replies, neighbour) = tokio::join!(storm, neighbours_programs(host, 5));
                let count =
                    |what: &str| replies.iter().filter(|reply| reply.contains(what)).count();
                let fine = count("lacewing-outcome: ok");
                assert_eq!(fine + count("lacewing-outcome: load_shed"), 200);
                assert!(fine > 0);
                // The first was loaded before.
                assert_eq!(neighbours_programs(host, 5).await, neighbour);
                assert_eq!(neighbour[1], 0, "none of its programs goes for the others");
            },
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deploys_that_make_all_programs_new() {
    let hello = component("hello");
    let target = Target::of(&hello).more(30, 5);
    target
        .settings("[residency]\nmax_functions = 20")
        .attacked_after(
            async |host| {
                neighbours_programs(host, 5).await;
                host.ask(SUSPECT, paths("f", 30)).await;
            },
            async |host| {
                let before = neighbours_programs(host, 5).await;
                for deploy in ["a", "b", "c", "d"] {
                    host.redeploy(&hello, deploy, 30).await;
                    host.ask(SUSPECT, paths(deploy, 30)).await;
                }
                assert_eq!(neighbours_programs(host, 5).await, before);
                assert_eq!(before[1], 0);
            },
        )
        .await;
}

/// The series of a family, by function, of one tenant.
fn series(figures: &BTreeMap<String, u64>, tenant: &str) -> BTreeMap<String, u64> {
    let head = format!("lacewing_invocations_total{{outcome=\"ok\",tenant=\"{tenant}\",");
    let of = |(name, value): (&String, &u64)| {
        let labels = name.strip_prefix(&head)?;
        let function = labels.split("function=\"").nth(1)?.strip_suffix("\"}")?;
        Some((function.to_owned(), *value))
    };
    figures.iter().filter_map(of).collect()
}

fn total(figures: &BTreeMap<String, u64>, tenant: &str) -> u64 {
    figures[&format!("lacewing_tenant_invocations_total{{outcome=\"ok\",tenant=\"{tenant}\"}}")]
}

#[tokio::test(flavor = "multi_thread")]
async fn more_functions_than_have_series() {
    let target = Target::of(&component("hello")).more(100, 5);
    target
        .settings("[metrics]\nmax_functions = 12\n[residency]\nmax_functions = 2")
        .attacked(async |host| {
            let before = total(&host.figures().await, "suspect");
            let asked = host.ask(SUSPECT, paths("f", 100)).await;
            let figures = host.figures().await;
            assert_eq!(series(&figures, "suspect").len(), 12, "eleven of its own, and the merged");
            host.ask(NEIGHBOUR, paths("f", 5)).await;
            host.ask(SUSPECT, paths("f", 100)).await;
            // Those that were pushed out are shown once more, and then no more.
            host.figures().await;
            let figures = host.figures().await;
            let (suspect, neighbour) = (series(&figures, "suspect"), series(&figures, "neighbour"));
            let names: Vec<&str> = neighbour.keys().map(String::as_str).collect();
            assert_eq!(names, ["f0", "f1", "f2", "f3", "f4", "neighbour"]);
            assert_eq!((suspect.len(), suspect.contains_key("_merged")), (7, true));
            assert_eq!(total(&figures, "suspect"), before + 2 * asked);
            let merged = figures["lacewing_tenant_functions_merged{tenant=\"suspect\"}"];
            assert_eq!(merged, 95);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deploys_that_name_all_functions_anew() {
    let hello = component("hello");
    let target = Target::of(&hello).more(20, 1);
    target
        .settings("[metrics]\nmax_functions = 100\n[residency]\nmax_functions = 2")
        .attacked(async |host| {
            let mut before = 0;
            for deploy in ["a", "b", "c", "d", "e"] {
                host.redeploy(&hello, deploy, 20).await;
                host.ask(SUSPECT, paths(deploy, 20)).await;
                let now = total(&host.figures().await, "suspect");
                assert!(now >= before + 20, "{now} after {before}");
                before = now;
            }
            host.redeploy(&hello, "z", 1).await;
            // Series of functions that are gone are shown once more.
            let gone = async |name: &str| {
                let figures = host.figures().await;
                series(&figures, "suspect").keys().any(|function| function.starts_with(name))
            };
            for name in ["a", "b", "c", "d", "e"] {
                while gone(name).await {
                    pause().await;
                }
            }
            assert!(series(&host.figures().await, "neighbour").contains_key("neighbour"));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scrapes_that_are_not_read() {
    let target = Target::of(&component("hello")).more(300, 0);
    let warm = async |host: &Host| assert_eq!(host.ask(SUSPECT, paths("f", 300)).await, 300);
    target
        .settings("[residency]\nmax_functions = 20")
        .attacked_after(warm, async |host| {
            let before = host.up.memory_bytes("VmRSS:");
            let mut scrapes = Vec::new();
            for _ in 0..40 {
                scrapes.push(host.scrape().await);
            }
            // Another one is answered all the while, and the neighbour too.
            for _ in 0..3 {
                assert!(host.figures().await.len() > 300 * 70);
                host.neighbour_is_served().await;
            }
            let grown = host.up.memory_bytes("VmRSS:").saturating_sub(before);
            assert!(grown < 48 << 20, "{} KiB for 40 of more than 2 MiB each", grown >> 10);
            // Most have made room for others. Each one ends, and one that is read late is whole.
            for scrape in scrapes {
                rest(scrape).await;
            }
            let late = loop {
                let late = host.scrape().await;
                let mut status = [0; 12];
                if late.peek(&mut status).await.unwrap() == 12 && status.ends_with(b"200") {
                    break late;
                }
                pause().await;
            };
            host.neighbour_is_served().await;
            let text = rest(late).await;
            assert!(text.len() > 2 << 20, "the whole of it: {}", text.len());
        })
        .await;
}
