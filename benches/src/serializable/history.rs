//! Histories of lists, and the cycles in their direct serialization graphs.
//!
//! Each transaction reads some lists and appends its number to others. A list names the
//! transactions that have written it, in their order, so a history shows who read what of whom
//! (Kingsbury and Alvaro, *Elle*, 2020). Its direct serialization graph (Adya, *Weak Consistency*,
//! 1999) has an edge from each transaction to those that come after it:
//!
//! - to the one that appends next to the same list (write-write),
//! - to each that read its number as the last one of a list (write-read),
//! - from a reader to the one that appends next behind what was read (read-write). A listing that
//!   does not show a list is a read of the empty list; one that does is a read of its first number.
//!
//! A history is serializable if the graph has no cycle, and strictly so if none arises either where
//! each answered transaction comes before those that were sent after its answer.

mod graph;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;

use anyhow::Context as _;

use self::{
    graph::Graph,
    view::{Seen, View},
};
use super::{
    Judged,
    load::{Answer, Load},
    workloads::{judged, mixed},
};

/// Lists of one group. Transactions of a group compete, and each group is used for a while.
const LISTS: u32 = 5;
/// Rounds of a client in one group.
const ROUNDS: u32 = 8;
/// More than the rounds of a client.
const CLIENT: u32 = 1_000_000;

pub(super) async fn histories(load: &Load) -> anyhow::Result<Judged> {
    let path = |client: u32, round: u32| {
        let id = client * CLIENT + round;
        format!("/history/{id}/{}/{}", round / ROUNDS, steps(mixed(client, round)))
    };
    let mut answers = load.run(path).await?;
    // Last, a look at all that is there.
    let all: Vec<String> = (0..LISTS).map(|list| format!("r{list}")).collect();
    let looks = (0..load.rounds.div_ceil(ROUNDS)).map(|group| {
        let id = load.clients * CLIENT + group;
        format!("/history/{id}/{group}/{}.l", all.join("."))
    });
    answers.extend(load.ask(looks.collect()).await?);
    let mut groups: BTreeMap<u32, Vec<Transaction>> = BTreeMap::new();
    for answer in &answers {
        let (group, transaction) =
            Transaction::of(answer).with_context(|| format!("{answer:?}"))?;
        groups.entry(group).or_default().push(transaction);
    }
    let anomalies = groups.iter().flat_map(|(group, history)| {
        anomalies(history).into_iter().map(move |anomaly| format!("group {group}: {anomaly}"))
    });
    let anomalies = anomalies.collect();
    Ok(judged("histories", &answers, anomalies))
}

/// One to four steps. A transaction appends to a list once at most.
fn steps(mut random: u32) -> String {
    let mut steps = Vec::new();
    let mut appended = 0;
    for _ in 0..=random % 4 {
        random = mixed(random, 1);
        let list = random >> 4 & 0xff;
        let list = list % LISTS;
        steps.push(match random % 8 {
            0 => "l".to_owned(),
            1..=3 => format!("r{list}"),
            _ if appended >> list & 1 == 0 => {
                appended |= 1 << list;
                format!("a{list}")
            }
            _ => format!("r{list}"),
        });
    }
    steps.join(".")
}

/// One step, with what it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Read(u32, Vec<u32>),
    Append(u32, Vec<u32>),
    /// The lists that are there.
    Listed(Vec<u32>),
}

/// A transaction of a history.
#[derive(Clone, Debug)]
struct Transaction {
    id: u32,
    /// `None`: the transaction gave up, and has no effect.
    steps: Option<Vec<Step>>,
    sent: u64,
    answered: u64,
}

impl Transaction {
    /// From an answer, with its group.
    fn of(answer: &Answer) -> anyhow::Result<(u32, Transaction)> {
        let mut parts = answer.path.rsplit('/');
        let mut next = || parts.next().context("a path of a history");
        let (steps, group, id) = (next()?, next()?.parse()?, next()?.parse()?);
        let steps = answer.said.as_ref().map(|said| {
            let ids = |text: &str| text.split(',').filter_map(|id| id.parse().ok()).collect();
            let seen = |(step, seen): (&str, &str)| match step.split_at_checked(1) {
                Some(("r", list)) => Ok(Step::Read(list.parse()?, ids(seen))),
                Some(("a", list)) => Ok(Step::Append(list.parse()?, ids(seen))),
                _ => Ok(Step::Listed(ids(seen))),
            };
            steps.split('.').zip(said.split(';')).map(seen).collect::<anyhow::Result<Vec<_>>>()
        });
        let (sent, answered) = (answer.sent, answer.answered);
        Ok((group, Transaction { id, steps: steps.transpose()?, sent, answered }))
    }
}

/// The anomalies of the history of one group.
fn anomalies(history: &[Transaction]) -> Vec<String> {
    let mut anomalies = Vec::new();
    let mut committed = Vec::new();
    for transaction in history {
        let Some(steps) = &transaction.steps else { continue };
        match View::of(transaction.id, steps) {
            Ok(view) => committed.push((transaction, view)),
            Err(anomaly) => anomalies.push(anomaly),
        }
    }
    let orders = orders(committed.iter().map(|(_, view)| view));
    let nodes: BTreeMap<u32, usize> =
        committed.iter().enumerate().map(|(at, (one, _))| (one.id, at)).collect();
    for (list, order) in &orders {
        for (place, id) in order.iter().enumerate() {
            if !nodes.contains_key(id) {
                anomalies.push(format!("list {list} has {id}, which gave up"));
            }
            if order[..place].contains(id) {
                anomalies.push(format!("list {list} has {id} twice"));
            }
        }
    }
    let mut graph = Graph::new(committed.len());
    for (at, (transaction, view)) in committed.iter().enumerate() {
        for list in &view.appended {
            if !orders.get(list).is_some_and(|order| order.contains(&transaction.id)) {
                let id = transaction.id;
                anomalies.push(format!("{id} appended to list {list}, and its number is lost"));
            }
        }
        for (list, seen) in &view.seen {
            let order = orders.get(list).copied().unwrap_or_default();
            if let Seen::Whole(ids) = seen
                && !order.starts_with(ids)
            {
                let id = transaction.id;
                anomalies.push(format!("{id} saw {ids:?} in list {list}, later {order:?}"));
                continue;
            }
            let node = |place: usize| order.get(place).and_then(|id| nodes.get(id)).copied();
            let (last, next) = neighbours(*seen);
            last.and_then(node).into_iter().for_each(|last| graph.edge(last, at));
            next.and_then(node).into_iter().for_each(|next| graph.edge(at, next));
        }
    }
    let name = |cycle: Vec<usize>| {
        let ids = cycle.iter().filter_map(|at| committed.get(*at)).map(|(one, _)| one.id);
        ids.map(|id| id.to_string()).collect::<Vec<_>>().join(" -> ")
    };
    if let Some(cycle) = graph.cycle() {
        anomalies.push(format!("a cycle: {}", name(cycle)));
    } else {
        let times = committed.iter().map(|(one, _)| (one.sent, one.answered));
        graph.order_by_time(&times.collect::<Vec<_>>());
        let cycle = graph.cycle();
        anomalies.extend(cycle.map(|cycle| format!("a cycle over time: {}", name(cycle))));
    }
    anomalies
}

/// The order of each list: that of the longest that any transaction saw.
fn orders<'a>(views: impl Iterator<Item = &'a View<'a>>) -> BTreeMap<u32, &'a [u32]> {
    let mut orders: BTreeMap<u32, &[u32]> = BTreeMap::new();
    for (list, seen) in views.flat_map(|view| &view.seen) {
        if let (Seen::Whole(ids), order) = (seen, orders.entry(*list).or_default())
            && ids.len() > order.len()
        {
            *order = ids;
        }
    }
    orders
}

/// The place in a list of the append that was seen last, and of the one that comes next.
fn neighbours(seen: Seen<'_>) -> (Option<usize>, Option<usize>) {
    match seen {
        Seen::Whole(ids) => (ids.len().checked_sub(1), Some(ids.len())),
        // The first append was seen. Whether others were is unknown.
        Seen::Existence(true) => (Some(0), None),
        Seen::Existence(false) => (None, Some(0)),
    }
}
