//! The order of concurrent transactions: their effect is that of one after the other.
//!
//! Method: clients ask a host of this process, over sockets and on a real disk, for transactions of
//! five kinds: transfers with audits, doctors on duty (write skew), counters, claims after a
//! listing (phantoms), and lists whose history is checked for cycles. Each answer is judged: see
//! `src/serializable.rs`. The same then runs with the check at commit off, where each kind has to
//! show anomalies.
//!
//! ```text
//! cargo run --release -p lacewing-benches --bin serializable -- --transactions 100000
//! ```
//!
//! Prints one JSON object, and fails where an anomaly was found, or none without the check.

use std::time::Instant;

use clap::Parser;
use lacewing_benches::{
    dated,
    serializable::{Outcome, Plan, run},
};
use serde_json::{Value, json};

#[derive(Parser)]
struct Options {
    /// Transactions with the check at commit.
    #[arg(long, default_value_t = 100_000)]
    transactions: u32,
    /// Transactions without the check.
    #[arg(long, default_value_t = 10_000)]
    unchecked: u32,
    /// Clients at once.
    #[arg(long, default_value_t = 16)]
    clients: u32,
    /// Writes the result to benches/results as well.
    #[arg(long)]
    write: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut parts = Vec::new();
    for (checked, transactions) in [(true, options.transactions), (false, options.unchecked)] {
        let begun = Instant::now();
        let plan = Plan { transactions, clients: options.clients, checked };
        let outcome = runtime.block_on(run(plan))?;
        for judged in &outcome.workloads {
            if checked != judged.anomalies.is_empty() {
                eprintln!("{}: {:#?}", judged.workload, judged.anomalies);
                anyhow::bail!("{}: with the check: {checked}", judged.workload);
            }
        }
        parts.push(figures(&outcome, begun.elapsed().as_secs()));
    }
    let result = json!({
        "bench": "serializable",
        "clients": options.clients,
        "checked": parts[0],
        "unchecked": parts[1],
    });
    Ok(dated::publish("serializable", options.write, result)?)
}

fn figures(outcome: &Outcome, seconds: u64) -> Value {
    let workloads: serde_json::Map<String, Value> = outcome
        .workloads
        .iter()
        .map(|judged| {
            let figures = json!({
                "transactions": judged.transactions,
                "given_up": judged.given_up,
                "anomalies": judged.anomalies.len(),
                "example": judged.anomalies.first(),
            });
            (judged.workload.to_owned(), figures)
        })
        .collect();
    let transactions: usize = outcome.workloads.iter().map(|judged| judged.transactions).sum();
    json!({
        "transactions": transactions,
        "conflicts": outcome.conflicts,
        "batches": outcome.batches,
        "seconds": seconds,
        "workloads": workloads,
    })
}
