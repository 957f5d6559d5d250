//! A host that is killed at random moments: nothing that it acknowledged is lost, and no
//! transaction is half there.
//!
//! Method: each round starts the host on the state that the last round left. Clients write to the
//! guest `ledger`, one transaction for each request: two entries of the client's own, and a move
//! between two of eight accounts that all clients share. For every fourth client the transaction
//! has an object too, in the database or in a file. After a random time the host is killed
//! (SIGKILL). A second host then answers for each client which write is the last one and how many
//! are there, and for all accounts their sum. A write that was acknowledged has to be there, with
//! all before it; one that was under way may be there, as a whole. The sum of the accounts is 0.
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

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use lacewing_benches::{
    client::{Client, get},
    dated,
    guest::{self, Layout},
    process::Host,
};
use serde_json::json;

use self::power::{Forget, Power, Running};

#[derive(Parser)]
struct Options {
    /// How often the host is killed.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Clients that write at once.
    #[arg(long, default_value_t = 16)]
    clients: u32,
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

const HOST: &str = "ledger.test";

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let beside = std::env::current_exe()?.with_file_name("lacewing");
    let lacewing = options.lacewing.clone().unwrap_or(beside);
    let dir = tempfile::tempdir()?;
    let file = host_file(dir.path(), &guest::guest("ledger", Layout::Lean))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let clients: Vec<_> = (0..options.clients).map(|_| Arc::new(AtomicU32::new(0))).collect();
    let (mut acknowledged, mut unacknowledged) = (0_u64, 0_u32);
    let begun = Instant::now();
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    let power = options.power_loss.then(|| Power::new(dir.path(), options.forget)).transpose()?;
    if let Some(power) = &power {
        power.check_recorder(&lacewing, &file, |host| {
            let time = Duration::from_millis(options.longest_ms);
            runtime.block_on(write_until_killed(host, &clients, time, Host::stop))
        })?;
    }
    for round in 1..=options.rounds {
        if let Some(power) = power.as_ref().filter(|_| round % 10 == 1) {
            power.erase()?;
            clients.iter().for_each(|last| last.store(0, SeqCst));
        }
        let host = match &power {
            Some(power) => power.start(&lacewing, &file)?,
            None => Running::of(Host::start(&lacewing, &file)?),
        };
        let written: Vec<_> = clients.iter().map(|last| last.load(SeqCst)).collect();
        let time = Duration::from_millis(random.below(options.longest_ms));
        runtime.block_on(write_until_killed(host.host, &clients, time, |host| {
            drop(host);
            Ok(())
        }))?;
        if let (Some(power), Some(before)) = (&power, host.before) {
            power.lose(before, round, &mut |bound| random.below(bound))?;
        }
        let host = Host::start(&lacewing, &file)?;
        for ((client, acked), before) in (0_u32..).zip(&clients).zip(written) {
            let acked_now = acked.load(SeqCst);
            acknowledged += u64::from(acked_now - before);
            let there = check(host.address(), client, acked_now)?;
            unacknowledged += there - acked_now;
            acked.store(there, SeqCst);
        }
        let sum = get(host.address(), HOST, "/sum")?;
        anyhow::ensure!(sum == "0", "round {round}: the accounts have a sum of {sum}");
    }
    let result = json!({
        "bench": if options.power_loss { "power-loss" } else { "crash" },
        "rounds": options.rounds,
        "clients": options.clients,
        "acknowledged": acknowledged,
        "committed_without_an_answer": unacknowledged,
        "lost": 0,
        "torn": 0,
        "seconds": begun.elapsed().as_secs(),
    });
    let name = if options.power_loss { "power-loss" } else { "crash" };
    Ok(dated::publish(name, options.write, result)?)
}

/// Has each client write until the host is ended, which it is after `time`.
async fn write_until_killed(
    host: Host,
    clients: &[Arc<AtomicU32>],
    time: Duration,
    end: impl FnOnce(Host) -> io::Result<()>,
) -> io::Result<()> {
    let address = host.address();
    let writers = (0_u32..).zip(clients).map(|(client, last)| {
        let last = last.clone();
        tokio::spawn(async move {
            let mut asking = Client::new(address, HOST, "/");
            loop {
                let next = last.load(SeqCst) + 1;
                // The writes of every fourth client have an object.
                let write = if client % 4 == 0 { "put" } else { "write" };
                asking.set_path(HOST, &format!("/{write}/{client}/{next}"));
                match asking.ask().await {
                    Ok(204) => last.store(next, SeqCst),
                    // A conflict that stays: the write was not made.
                    Ok(409) => {}
                    Ok(_) | Err(_) => return,
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    tokio::time::sleep(time).await;
    end(host)?;
    for writer in writers {
        // A panic of a client is shown by the check.
        let _ = writer.await;
    }
    Ok(())
}

/// The last write of a client that is there, which is the last acknowledged one or the one after.
fn check(address: SocketAddr, client: u32, acknowledged: u32) -> anyhow::Result<u32> {
    let said = get(address, HOST, &format!("/check/{client}"))?;
    let numbers = said.split_once(' ').map(|(last, count)| (last.parse(), count.parse()));
    let Some((Ok(last), Ok(count))) = numbers else { anyhow::bail!("client {client}: {said}") };
    let (last, count): (u32, u32) = (last, count);
    anyhow::ensure!(
        last == acknowledged || last == acknowledged + 1,
        "client {client}: write {acknowledged} was acknowledged, and {last} is the last one there"
    );
    anyhow::ensure!(count == last, "client {client}: of {last} writes {count} are there");
    Ok(last)
}

fn host_file(dir: &Path, component: &Path) -> io::Result<PathBuf> {
    let app = dir.join("app");
    fs::create_dir(&app)?;
    fs::copy(component, app.join("ledger.wasm"))?;
    let manifest = "app = \"ledger\"\n[kv.ledger]\n[functions.ledger]\ncomponent = \"ledger.wasm\"\nroutes = [\"/{*rest}\"]\ngrants = { kv = { ledger = \"read-write\" }, buckets = { blobs = \"read-write\" } }\n[buckets.blobs]\n";
    fs::write(app.join("lacewing.toml"), manifest)?;
    let file = dir.join("host.toml");
    let mut text = fs::File::create(&file)?;
    writeln!(text, "admin = \"off\"\ncache_dir = \"cache\"\nstate = \"disk/state\"")?;
    writeln!(text, "[tenants.bank]\nhosts = [\"{HOST}\"]\napps = [\"app\"]")?;
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
