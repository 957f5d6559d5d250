//! A host that is killed at random moments: nothing that it acknowledged is lost, and no
//! transaction is half there.
//!
//! Method: each round starts the host on the state that the last round left. Clients write to the
//! guest `ledger`, one transaction for each request: two entries of the client's own, and a move
//! between two of eight accounts that all clients share. For every fourth client the transaction
//! has an object too, in the database or in a file. Clients of the S3 API replace an object each,
//! in one request or in parts. After a random time the host is killed (SIGKILL). A second host then
//! answers for each client which write is the last one and how many are there, and for all accounts
//! their sum; it gives back each object as a whole. A write that was acknowledged has to be there,
//! with all before it; one that was under way may be there, as a whole. The sum of the accounts is
//! 0.
//!
//! SIGKILL leaves what the system has of a file. With `--power-loss`, the power is lost with the
//! process: the host runs with the recorder of `benches/powerloss`, and the second host finds the
//! state as a disk may have kept it. In one round the disk loses all that was not synced, in the
//! next one a random part of that, down to single sectors. Every tenth round begins without state.
//! `--forget` has the disk leave out syncs, as a check of the method: `log` those of the log of
//! writes (SQLite's `synchronous = NORMAL`), `all` every sync (`OFF`). Then writes have to be lost.
//!
//! ```text
//! cargo build --release -p lacewing -p lacewing-benches
//! cargo build --release -p lacewing-powerloss --example recorder
//! target/release/crash [--rounds 200] [--power-loss] [--forget log] [--write] [--lacewing PATH]
//! ```
//!
//! Prints one JSON object, and fails where something was lost or torn.

mod power;
mod s3;
mod writers;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Parser;
use lacewing_benches::{
    dated,
    guest::{self, Layout},
    process::Host,
    s3::create_key,
};
use serde_json::json;

use self::{
    power::{Forget, Power, Running},
    writers::{Count, HOST, Writers},
};

#[derive(Parser)]
struct Options {
    /// How often the host is killed.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Clients that write at once.
    #[arg(long, default_value_t = 16)]
    clients: u32,
    /// Clients of S3 that write at once.
    #[arg(long, default_value_t = 4)]
    s3_clients: u32,
    /// Loses the power as well.
    #[arg(long)]
    power_loss: bool,
    /// The syncs that the disk leaves out, as a check that the loss is found.
    #[arg(long, value_enum, requires = "power_loss")]
    forget: Option<Forget>,
    /// The longest time between a start and its kill.
    #[arg(long, default_value_t = 300)]
    longest_ms: u64,
    /// Writes the result to benches/results as well.
    #[arg(long)]
    write: bool,
    /// The program to measure. Beside this one by default.
    #[arg(long)]
    lacewing: Option<PathBuf>,
}

/// The tenant of the function and its bucket.
const TENANT: &str = "bank";

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let beside = std::env::current_exe()?.with_file_name("lacewing");
    let lacewing = options.lacewing.clone().unwrap_or(beside);
    let dir = tempfile::tempdir()?;
    let file = host_file(dir.path(), &guest::guest("ledger", Layout::Lean))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let begun = Instant::now();
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    let power = options.power_loss.then(|| Power::new(dir.path(), options.forget)).transpose()?;
    let fresh = || {
        let key = create_key(&lacewing, &file, TENANT)?;
        anyhow::Ok(Writers::new(options.clients, options.s3_clients, key))
    };
    let mut writers = fresh()?;
    if let Some(power) = &power {
        power.check_recorder(&lacewing, &file, |host| {
            let time = Duration::from_millis(options.longest_ms);
            runtime.block_on(writers.write_until_ended(host, time, Host::stop))
        })?;
    }
    let mut total = Count::default();
    for round in 1..=options.rounds {
        if let Some(power) = power.as_ref().filter(|_| round % 10 == 1) {
            power.erase()?;
            writers = fresh()?;
        }
        let host = match &power {
            Some(power) => power.start(&lacewing, &file)?,
            None => Running::of(Host::start(&lacewing, &file)?),
        };
        let time = Duration::from_millis(random.below(options.longest_ms));
        runtime.block_on(writers.write_until_ended(host.host, time, |host| {
            drop(host);
            Ok(())
        }))?;
        if let (Some(power), Some(before)) = (&power, host.before) {
            power.lose(before, round, &mut |bound| random.below(bound))?;
        }
        let host = Host::start(&lacewing, &file)?;
        let checked = runtime.block_on(writers.check(&host, &mut total));
        checked.map_err(|error| error.context(format!("round {round}")))?;
    }
    let result = json!({
        "bench": if options.power_loss { "power-loss" } else { "crash" },
        "rounds": options.rounds,
        "clients": options.clients,
        "s3_clients": options.s3_clients,
        "acknowledged": total.acknowledged,
        "acknowledged_to_s3_clients": total.acknowledged_to_s3,
        "committed_without_an_answer": total.unanswered,
        "lost": 0,
        "torn": 0,
        "seconds": begun.elapsed().as_secs(),
    });
    let name = if options.power_loss { "power-loss" } else { "crash" };
    Ok(dated::publish(name, options.write, result)?)
}

fn host_file(dir: &Path, component: &Path) -> io::Result<PathBuf> {
    let app = dir.join("app");
    fs::create_dir(&app)?;
    fs::copy(component, app.join("ledger.wasm"))?;
    let manifest = "app = \"ledger\"\n[kv.ledger]\n[functions.ledger]\ncomponent = \"ledger.wasm\"\nroutes = [\"/{*rest}\"]\ngrants = { kv = { ledger = \"read-write\" }, buckets = { blobs = \"read-write\" } }\n[buckets.blobs]\n";
    fs::write(app.join("lacewing.toml"), manifest)?;
    let file = dir.join("host.toml");
    let mut text = fs::File::create(&file)?;
    writeln!(
        text,
        "admin = \"off\"\ncache_dir = \"cache\"\ns3 = \"127.0.0.1:0\"\nstate = \"disk/state\""
    )?;
    writeln!(text, "[tenants.{TENANT}]\nhosts = [\"{HOST}\"]\napps = [\"app\"]")?;
    Ok(file)
}

/// Numbers that spread well enough: xorshift64 (Marsaglia, 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}
