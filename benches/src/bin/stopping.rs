//! The time from a guest's limit until the guest is gone, and its slot free.
//!
//! Method: a host with every default limit on, whose one function is the example `misbehave`, asked
//! for one misdeed at a time on a connection of its own. *answered* is the time from the request to
//! the answer; *free* is the time until the host's figures say that nothing of the sandbox is left,
//! which are asked for again and again from then on, and *late* is what of that is over the limit
//! that ended it. A client that leaves has no limit: its time counts from when it left.
//!
//! ```text
//! cargo build --release -p lacewing -p lacewing-benches
//! target/release/stopping [--times 100] [--write] [--lacewing PATH]
//! ```
//!
//! Prints one JSON object, and fails where a slot was free later than 20 ms after its limit.

use std::{
    fs, io,
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Parser;
use lacewing_benches::{client::get, dated, guest, process::Host};
use serde_json::json;

#[derive(Parser)]
struct Options {
    /// How often each misdeed is asked for.
    #[arg(long, default_value_t = 100)]
    times: u32,
    /// Writes the result to benches/results as well.
    #[arg(long)]
    write: bool,
    /// The program to measure. Beside this one by default.
    #[arg(long)]
    lacewing: Option<PathBuf>,
}

const CPU: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_millis(200);
/// How late a slot may be free.
const LATE: Duration = Duration::from_millis(20);

/// The request, the limit that ends it, and whether the client waits for that.
const MISDEEDS: [(&str, Duration, bool); 7] = [
    ("/spin", CPU, true),
    ("/sleep", DEADLINE, true),
    ("/recurse", Duration::ZERO, true),
    ("/panic", Duration::ZERO, true),
    ("/huge-body", Duration::ZERO, true),
    ("/spin", Duration::ZERO, false),
    ("/sleep", Duration::ZERO, false),
];

/// Whether nothing of a sandbox is left.
fn is_free(admin: SocketAddr) -> io::Result<bool> {
    let text = get(admin, "localhost", "/metrics")?;
    let held = text.lines().filter(|line| line.starts_with("lacewing_pool_"));
    Ok(held.filter_map(|line| line.rsplit(' ').next()).all(|value| value == "0"))
}

/// Waits for that.
fn free(admin: SocketAddr) -> anyhow::Result<()> {
    let patience = Instant::now() + Duration::from_secs(10);
    while !is_free(admin)? {
        anyhow::ensure!(Instant::now() < patience, "the slot is never free");
    }
    Ok(())
}

/// Begins a request, waits until its guest runs, and leaves.
fn leave(address: SocketAddr, admin: SocketAddr, path: &str) -> anyhow::Result<()> {
    let mut socket = TcpStream::connect(address)?;
    write!(socket, "GET {path} HTTP/1.1\r\nhost: misbehave.test\r\n\r\n")?;
    let patience = Instant::now() + Duration::from_secs(10);
    while is_free(admin)? {
        anyhow::ensure!(Instant::now() < patience, "the guest never runs");
    }
    Ok(())
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let lacewing = match &options.lacewing {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("lacewing"),
    };
    let dir = tempfile::tempdir()?;
    let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let manifest = format!(
        "app = \"misbehave\"\n[functions.misbehave]\ncomponent = {:?}\nroutes = [\"/{{what}}\"]\nlimits = {{ cpu_ms = {}, deadline_ms = {} }}\n",
        guest::example("misbehave"),
        CPU.as_millis(),
        DEADLINE.as_millis()
    );
    fs::write(dir.path().join("misbehave.toml"), manifest)?;
    let file = dir.path().join("host.toml");
    let text = format!(
        "admin = \"{admin}\"\ncache_dir = \"cache\"\nlog.requests = \"none\"\n[tenants.misbehave]\nhosts = [\"misbehave.test\"]\napps = [\"misbehave.toml\"]\ncomponent_dirs = [\"/\"]\n"
    );
    fs::write(&file, text)?;
    let host = Host::start(&lacewing, &file)?;
    let (mut misdeeds, mut latest) = (Vec::new(), Duration::ZERO);
    for (path, limit, waits) in MISDEEDS {
        let (mut answered, mut late) = (Vec::new(), Vec::new());
        for _ in 0..options.times {
            free(admin)?;
            let mut before = Instant::now();
            if waits {
                get(host.address(), "misbehave.test", path)?;
                answered.push(before.elapsed());
            } else {
                leave(host.address(), admin, path)?;
                before = Instant::now();
            }
            free(admin)?;
            late.push(before.elapsed().saturating_sub(limit));
        }
        answered.sort_unstable();
        late.sort_unstable();
        let median = |times: &[Duration]| times.get(times.len() / 2).copied().map(ms);
        let longest = late.last().copied().unwrap_or_default();
        latest = latest.max(longest);
        misdeeds.push(json!({
            "path": path,
            "client": if waits { "waits" } else { "leaves" },
            "limit_ms": ms(limit),
            "answered_p50_ms": median(&answered),
            "late_p50_ms": median(&late),
            "late_max_ms": ms(longest),
        }));
    }
    let result = json!({ "bench": "stopping", "times": options.times, "misdeeds": misdeeds });
    dated::publish("stopping", options.write, result)?;
    anyhow::ensure!(latest <= LATE, "a slot was free {} ms after its limit", ms(latest));
    Ok(())
}
