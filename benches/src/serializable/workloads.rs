//! The workloads, each with the judge of its answers.

use std::collections::BTreeMap;

use anyhow::Context as _;
use futures_util::future::BoxFuture;

use super::{
    Judged, history,
    load::{Answer, Load},
};

/// All of them.
pub(super) const ALL: [Workload; 5] = [
    |load| Box::pin(transfers(load)),
    |load| Box::pin(doctors(load)),
    |load| Box::pin(counters(load)),
    |load| Box::pin(claims(load)),
    |load| Box::pin(history::histories(load)),
];

pub(super) type Workload = for<'a> fn(&'a Load) -> BoxFuture<'a, anyhow::Result<Judged>>;

/// Numbers that look random, and are the same in each run.
pub(super) fn mixed(client: u32, round: u32) -> u32 {
    // The finalizer of MurmurHash3 (Appleby, 2011).
    let mut number = client.wrapping_mul(0x9e37_79b9) ^ round.wrapping_mul(0x85eb_ca6b);
    number = (number ^ (number >> 16)).wrapping_mul(0x85eb_ca6b);
    number = (number ^ (number >> 13)).wrapping_mul(0xc2b2_ae35);
    number ^ (number >> 16)
}

pub(super) fn judged(workload: &'static str, answers: &[Answer], anomalies: Vec<String>) -> Judged {
    let given_up = answers.iter().filter(|answer| answer.said.is_none()).count();
    Judged { workload, transactions: answers.len(), given_up, anomalies }
}

/// Money moves among eight accounts. Every sum that a transaction sees is the same.
async fn transfers(load: &Load) -> anyhow::Result<Judged> {
    load.ask(vec!["/open".to_owned()]).await?;
    let mut answers = load
        .run(|client, round| {
            let random = mixed(client, round);
            match random % 4 {
                0 => "/audit".to_owned(),
                _ => format!("/transfer/{}/{}/{}", random >> 8 & 7, random >> 16 & 7, random >> 24),
            }
        })
        .await?;
    answers.extend(load.ask(vec!["/audit".to_owned()]).await?);
    let audits = answers.iter().filter(|answer| answer.path == "/audit");
    let wrong = audits.filter_map(|audit| audit.said.as_ref().filter(|sum| *sum != "800"));
    let anomalies = wrong.map(|sum| format!("an audit saw a sum of {sum}, not 800")).collect();
    Ok(judged("transfers", &answers, anomalies))
}

/// Of two doctors of a ward, one leaves only if both are on duty. So one is, at every moment.
async fn doctors(load: &Load) -> anyhow::Result<Judged> {
    let answers = load
        .run(|client, round| {
            let random = mixed(client, round);
            let (ward, doctor) = (random >> 8 & 3, random >> 16 & 1);
            match random % 3 {
                0 => format!("/return/{ward}/{doctor}"),
                _ => format!("/leave/{ward}/{doctor}"),
            }
        })
        .await?;
    let empty = answers.iter().filter(|answer| answer.said.as_deref() == Some("0"));
    let anomalies = empty.map(|leave| format!("{}: no doctor was on duty", leave.path)).collect();
    Ok(judged("doctors", &answers, anomalies))
}

/// Numbers that the answers to one path give.
fn numbers(answers: &[Answer]) -> anyhow::Result<BTreeMap<&str, Vec<usize>>> {
    let mut numbers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for answer in answers {
        let Some(said) = &answer.said else { continue };
        let number = said.parse().with_context(|| format!("{}: {said}", answer.path))?;
        numbers.entry(&answer.path).or_default().push(number);
    }
    Ok(numbers)
}

/// Says which numbers were not given once each, from `first` on.
fn not_once(answers: &[Answer], first: usize) -> anyhow::Result<Vec<String>> {
    let mut anomalies = Vec::new();
    for (path, mut numbers) in numbers(answers)? {
        numbers.sort_unstable();
        let wrong = (first..).zip(numbers).find(|(expected, number)| expected != number);
        anomalies.extend(wrong.map(|(expected, number)| {
            format!("{path}: in place of {expected}, the number {number} was given")
        }));
    }
    Ok(anomalies)
}

/// Each number of a counter is given once.
async fn counters(load: &Load) -> anyhow::Result<Judged> {
    let answers = load.run(|client, round| format!("/count/{}", mixed(client, round) % 4)).await?;
    let anomalies = not_once(&answers, 1)?;
    Ok(judged("counters", &answers, anomalies))
}

/// Each place behind the keys that a listing shows is claimed once.
async fn claims(load: &Load) -> anyhow::Result<Judged> {
    // A prefix has few keys, because each claim reads all of them.
    let answers = load.run(|_, round| format!("/claim/{}", round / 8)).await?;
    let anomalies = not_once(&answers, 0)?;
    Ok(judged("claims", &answers, anomalies))
}
