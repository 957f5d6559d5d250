//! The effect on a tenant of another tenant that takes all it can get.
//!
//! Method: one host of two tenants, with every default limit on. The *neighbour*'s function is the
//! example `hello`, asked 200 times a second on a schedule, whatever becomes of the answers before;
//! latency counts from when a request was due. First alone; then while the *noisy* tenant's
//! function, the example `misbehave`, is asked on 256 connections, each as soon as the last answer
//! is there, to spin until it is stopped, to take memory until it is refused, and to log until it
//! is cut off, in turns.
//!
//! ```text
//! cargo build --release -p lacewing -p lacewing-benches
//! target/release/noisy_neighbour [--seconds 30] [--write] [--lacewing PATH]
//! ```
//!
//! Prints one JSON object. The goals: no request of the neighbour's is lost, its p99 stays under
//! five times its value alone, and under 25 ms. The clients share the cores with the host.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Parser;
use lacewing_benches::{
    client::{Answers, Client, ask_until, steadily},
    dated, guest,
    process::Host,
};
use serde_json::json;
use tokio::task::JoinSet;

#[derive(Parser)]
struct Options {
    /// How long each part takes.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Connections of the noisy tenant.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Requests per second of the neighbour.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Writes the result to benches/results as well.
    #[arg(long)]
    write: bool,
    /// The program to measure. Beside this one by default.
    #[arg(long)]
    lacewing: Option<PathBuf>,
}

const NEIGHBOUR: &str = "neighbour.test";
const NOISY: &str = "noisy.test";
/// The requests of the noisy tenant.
const PATHS: [&str; 3] = ["/spin", "/allocate", "/flood"];

/// Writes the host file.
fn write_host(dir: &Path) -> io::Result<PathBuf> {
    let apps = [
        ("neighbour", guest::example("hello"), "routes = [\"/\"]"),
        ("noisy", guest::example("misbehave"), "routes = [\"/{what}\"]"),
    ];
    let mut host =
        "listen = [\"127.0.0.1:0\"]\nadmin = \"off\"\ncache_dir = \"cache\"\n".to_owned();
    for (name, component, routes) in apps {
        let manifest =
            format!("app = \"{name}\"\n[functions.{name}]\ncomponent = {component:?}\n{routes}\n");
        fs::write(dir.join(format!("{name}.toml")), manifest)?;
        host += &format!(
            "[tenants.{name}]\nhosts = [\"{name}.test\"]\napps = [\"{name}.toml\"]\ncomponent_dirs = [\"/\"]\n"
        );
    }
    let path = dir.join("host.toml");
    fs::write(&path, host)?;
    Ok(path)
}

fn noise(address: SocketAddr, connections: usize, time: Duration) -> io::Result<Answers> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut clients, mut answers) = (JoinSet::new(), Answers::default());
        let until = Instant::now() + time;
        for number in 0..connections {
            let client = Client::new(address, NOISY, PATHS[number % PATHS.len()]);
            clients.spawn(ask_until(client, until));
        }
        while let Some(of_one) = clients.join_next().await {
            answers.merge(of_one.unwrap_or_default());
        }
        Ok(answers)
    })
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let lacewing = match &options.lacewing {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("lacewing"),
    };
    let dir = tempfile::tempdir()?;
    let host = Host::start(&lacewing, &write_host(dir.path())?)?;
    let (address, time) = (host.address(), Duration::from_secs(options.seconds));
    let load = || fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load_before = load();
    steadily(address, NEIGHBOUR, options.rate, Duration::from_secs(2))?;
    let alone = steadily(address, NEIGHBOUR, options.rate, time)?;
    let connections = options.connections;
    // It begins before and ends after what is measured.
    let noisy =
        std::thread::spawn(move || noise(address, connections, time + Duration::from_secs(3)));
    std::thread::sleep(Duration::from_secs(2));
    let beside = steadily(address, NEIGHBOUR, options.rate, time)?;
    let noisy = noisy.join().map_err(|_| anyhow::anyhow!("the noise panicked"))??;
    let lost = |answers: &Answers| answers.total() - answers.count(200);
    let (p99_alone, p99_beside) = (alone.of(&[200]).p99_ms, beside.of(&[200]).p99_ms);
    let result = json!({
        "bench": "noisy_neighbour",
        "seconds": options.seconds,
        "connections_of_the_noisy": connections,
        "requests_per_second_of_the_neighbour": options.rate,
        "load_average_before": load_before.trim(),
        "neighbour_alone": alone.by_status(),
        "neighbour_beside_noise": beside.by_status(),
        "lost_alone": lost(&alone),
        "lost_beside_noise": lost(&beside),
        "p99_ratio": (p99_beside / p99_alone * 100.0).round() / 100.0,
        "noisy": noisy.by_status(),
        "peak_rss_mib": (host.peak_kib()? / 1024.0).round(),
    });
    dated::publish("noisy-neighbour", options.write, result)?;
    Ok(())
}
