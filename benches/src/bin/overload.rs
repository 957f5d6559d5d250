//! The work of a host that is asked for more than it can do.
//!
//! Method: one host of one tenant, with every default limit on; its function is the example
//! `picture`, which computes some milliseconds (`--function hello` takes `hello`; `--function
//! pauses` one that waits for 20 ms, as if it asked another service, so that its concurrency is
//! what there is too little of). Each client asks as soon as its last answer is there. First one
//! client, for the latency of an idle host; then some numbers of clients, of which the one that
//! gets the most answers is the host's best; then 2,000 clients for a minute; then one client
//! again.
//!
//! ```text
//! cargo build --release -p lacewing -p lacewing-benches
//! target/release/overload [--seconds 60] [--function picture|hello|pauses] [--write] [--lacewing PATH]
//! ```
//!
//! Prints one JSON object. The goals: memory stays bounded, nothing crashes, a refused request is
//! answered with 429 or 503 within a second, the admitted work is within a tenth of the best, and
//! afterwards the latency is as before. The clients share the cores with the host: where they are
//! starved themselves, they see answers late that were there.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Parser;
use lacewing_benches::{
    client::{Answers, Client, ask_until},
    dated,
    guest::{self, Layout},
    process::Host,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::task::JoinSet;

#[derive(Parser)]
struct Options {
    /// How long the overload lasts.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Its connections.
    #[arg(long, default_value_t = 2000)]
    connections: usize,
    /// The function that is asked.
    #[arg(long, value_enum, default_value = "picture")]
    function: Function,
    /// Writes the result to benches/results as well.
    #[arg(long)]
    write: bool,
    /// The program to measure. Beside this one by default.
    #[arg(long)]
    lacewing: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Function {
    Picture,
    Hello,
    Pauses,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Function::Picture => "picture",
            Function::Hello => "hello",
            Function::Pauses => "pauses",
        }
    }

    fn component(self) -> PathBuf {
        match self {
            Function::Picture | Function::Hello => guest::example(self.name()),
            Function::Pauses => guest::guest(self.name(), Layout::Lean),
        }
    }

    /// Its route, and what is asked for.
    fn paths(self) -> (&'static str, &'static str) {
        match self {
            Function::Picture => ("/", "/?width=96&height=72&depth=100"),
            Function::Hello => ("/", "/"),
            Function::Pauses => ("/{ms}", "/20"),
        }
    }
}

const HOST: &str = "busy.test";
/// Clients with which the best is looked for.
const MODERATE: [usize; 5] = [2, 8, 32, 64, 256];
/// How long each of them asks.
const MODERATE_TIME: Duration = Duration::from_secs(5);

impl Options {
    /// Writes the host file.
    fn write_host(&self, dir: &Path) -> io::Result<PathBuf> {
        let (component, (route, _)) = (self.function.component(), self.function.paths());
        let manifest = format!(
            "app = \"busy\"\n[functions.busy]\ncomponent = {component:?}\nroutes = [{route:?}]\n"
        );
        fs::write(dir.join("busy.toml"), manifest)?;
        let host = format!(
            "listen = [\"127.0.0.1:0\"]\nadmin = \"off\"\ncache_dir = \"cache\"\nlog.requests = \"none\"\n[tenants.busy]\nhosts = [\"{HOST}\"]\napps = [\"busy.toml\"]\ncomponent_dirs = [\"/\"]\n"
        );
        let path = dir.join("host.toml");
        fs::write(&path, host)?;
        Ok(path)
    }
}

/// The results of the requests, and how many of each connection were served, in order.
fn load(
    address: SocketAddr,
    path: &str,
    connections: usize,
    time: Duration,
) -> io::Result<(Answers, Vec<usize>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut clients, mut answers) = (JoinSet::new(), Answers::default());
        let mut connected = Vec::new();
        for _ in 0..connections {
            let mut client = Client::new(address, HOST, path);
            client.connect().await?;
            connected.push(client);
        }
        let until = Instant::now() + time;
        for client in connected {
            clients.spawn(ask_until(client, until));
        }
        let mut served = Vec::new();
        while let Some(of_one) = clients.join_next().await {
            let of_one = of_one.unwrap_or_default();
            served.push(of_one.count(200));
            answers.merge(of_one);
        }
        served.sort_unstable();
        Ok((answers, served))
    })
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;
    let lacewing = match &options.lacewing {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("lacewing"),
    };
    let dir = tempfile::tempdir()?;
    let host = Host::start(&lacewing, &options.write_host(dir.path())?)?;
    let (address, path) = (host.address(), options.function.paths().1);
    let loadavg = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load(address, path, 1, Duration::from_secs(1))?;
    let (before, _) = load(address, path, 1, MODERATE_TIME)?;
    let rate = |answers: &Answers, time: Duration| {
        #[expect(clippy::cast_precision_loss)]
        let rate = answers.count(200) as f64 / time.as_secs_f64();
        rate.round()
    };
    let mut best: Vec<(usize, f64)> = Vec::new();
    for connections in MODERATE {
        let (answers, _) = load(address, path, connections, MODERATE_TIME)?;
        best.push((connections, rate(&answers, MODERATE_TIME)));
    }
    let most = best.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let moderate_kib = host.peak_kib()?;
    let time = Duration::from_secs(options.seconds);
    let (over, served) = load(address, path, options.connections, time)?;
    let served = |of: usize| served.get(served.len() * of / 100).or(served.last());
    let peak_kib = host.peak_kib()?;
    let (after, _) = load(address, path, 1, MODERATE_TIME)?;
    let result = json!({
        "bench": "overload",
        "function": options.function.name(),
        "seconds": options.seconds,
        "connections": options.connections,
        "load_average_before": loadavg.trim(),
        "admitted_per_second_by_connections": best,
        "admitted_per_second_overloaded": rate(&over, time),
        "of_the_best": (rate(&over, time) / most * 100.0).round() / 100.0,
        "overloaded": over.by_status(),
        "served_of_one_connection": {
            "least": served(0), "p10": served(10), "p50": served(50), "p90": served(90), "most": served(100),
        },
        "refused": over.of(&[429, 503]),
        "one_client_before": before.by_status(),
        "one_client_after": after.by_status(),
        "peak_rss_mib_before": (moderate_kib / 1024.0).round(),
        "peak_rss_mib": (peak_kib / 1024.0).round(),
        "rss_mib_after": (host.resident_kib()? / 1024.0).round(),
    });
    dated::publish(&format!("overload-{}", options.function.name()), options.write, result)?;
    Ok(())
}
