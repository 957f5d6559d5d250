//! The resources of a host after a long run, beside those at its beginning.
//!
//! Method: one host with every default limit on. Three *good* tenants (the example `hello` on the
//! lean path, and the same as components of wasi:http 0.2 and 0.3) are each asked on a schedule. A
//! *bad* tenant's function, the example `misbehave`, is asked on 16 connections, each as soon as
//! the last answer is there, to do all that it knows in turns, and clients of it go away in the
//! middle. A fourth good tenant's app is deployed again every ten seconds, as another revision;
//! each sixth time it is one that has to be refused. Every five seconds the host's memory,
//! descriptors and threads are looked at. All that is done for a minute before the time begins,
//! with four deploys a second: a new revision's first slot is one that nobody had, as long as there
//! are fewer than stay warm, so a host has all that it keeps after a hundred of them.
//!
//! ```text
//! cargo build --release -p lacewing -p lacewing-benches
//! target/release/soak [--minutes 30] [--write] [--lacewing PATH]
//! ```
//!
//! Prints one JSON object, and fails where something that was set out for is missed: no request of
//! a good tenant is lost, each deploy is taken or refused as it should be, and memory, descriptors,
//! threads and slots are at the end what they were after the first tenth.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use lacewing_benches::{
    client::{Answers, Client, ask_until, steadily},
    dated,
    guest::{self, Layout},
    process::{Host, Sample},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

#[derive(Parser)]
struct Options {
    /// How long it takes.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// How long it is done before that, in minutes.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Requests per second of each good tenant.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// Writes the result to benches/results as well.
    #[arg(long)]
    write: bool,
    /// The program to measure. Beside this one by default.
    #[arg(long)]
    lacewing: Option<PathBuf>,
}

/// Tenants whose requests may not be lost.
const GOOD: [&str; 4] = ["lean", "old", "new", "changing"];
/// The requests of the bad tenant.
const PATHS: [&str; 9] = [
    "/spin",
    "/allocate",
    "/recurse",
    "/panic",
    "/flood",
    "/bad-status",
    "/bad-header",
    "/huge-body",
    "/sleep",
];
/// Its connections.
const CONNECTIONS: usize = 16;
const DEPLOYS: Duration = Duration::from_secs(10);
/// The same before the time begins.
const WARM_UP_DEPLOYS: Duration = Duration::from_millis(250);
const SAMPLES: Duration = Duration::from_secs(5);
/// How much more memory there may be at the end than after the first tenth.
const GROWTH_MIB: f64 = 16.0;

struct Files {
    dir: tempfile::TempDir,
    admin: SocketAddr,
}

impl Files {
    fn write() -> io::Result<Files> {
        let dir = tempfile::tempdir()?;
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let hello = guest::example("hello");
        let apps = [
            ("lean", hello.clone(), "routes = [\"/\"]"),
            ("old", guest::guest("hello-02", Layout::Default), "routes = [\"/\"]"),
            ("new", guest::guest("hello-03", Layout::Default), "routes = [\"/\"]"),
            ("changing", hello, "routes = [\"/\"]"),
            (
                "bad",
                guest::example("misbehave"),
                "routes = [\"/{what}\"]\nlimits = { cpu_ms = 100, deadline_ms = 500 }",
            ),
        ];
        let mut host = format!(
            "listen = [\"127.0.0.1:0\"]\nadmin = \"{admin}\"\ncache_dir = \"cache\"\nlog.requests = \"none\"\n"
        );
        for (name, component, rest) in apps {
            fs::write(dir.path().join(format!("{name}.toml")), manifest(name, &component, rest))?;
            host += &format!(
                "[tenants.{name}]\nhosts = [\"{name}.test\"]\napps = [\"{name}.toml\"]\ncomponent_dirs = [\"/\"]\n"
            );
        }
        fs::write(dir.path().join("host.toml"), host)?;
        Ok(Files { dir, admin })
    }

    fn host(&self) -> PathBuf {
        self.dir.path().join("host.toml")
    }
}

fn manifest(name: &str, component: &Path, rest: &str) -> String {
    format!("app = \"{name}\"\n[functions.{name}]\ncomponent = {component:?}\n{rest}\n")
}

/// The results of the deploys.
#[derive(Clone, Copy, Default)]
struct Deploys {
    taken: u32,
    refused: u32,
}

/// Deploys until the time is over, and waits each time until the host has reported the result.
/// `before` counts the deploys so far.
fn deploy(
    host: &Host,
    dir: &Path,
    every: Duration,
    before: Deploys,
    over: &AtomicBool,
) -> anyhow::Result<Deploys> {
    let (hello, path) = (guest::example("hello"), dir.join("changing.toml"));
    let mut deploys = Deploys::default();
    for number in before.taken + before.refused + 1.. {
        let until = Instant::now() + every;
        while Instant::now() < until {
            if over.load(Ordering::Relaxed) {
                return Ok(deploys);
            }
            thread::sleep(Duration::from_millis(50));
        }
        let broken = number % 6 == 0;
        let component = if broken { Path::new("missing.wasm") } else { &*hello };
        let rest = format!("routes = [\"/\"]\nenv = {{ NUMBER = \"{number}\" }}");
        fs::write(&path, manifest("changing", component, &rest))?;
        let (errors, swaps) = (host.errors().len(), host.swaps());
        host.reload()?;
        let patience = Instant::now() + Duration::from_secs(60);
        while host.errors().len() == errors && host.swaps() == swaps {
            anyhow::ensure!(Instant::now() < patience, "nothing became of the deploy {number}");
            thread::sleep(Duration::from_millis(5));
        }
        let refused = host.swaps() == swaps;
        anyhow::ensure!(refused == broken, "deploy {number}: {:?}", host.errors().last());
        match refused {
            true => deploys.refused += 1,
            false => deploys.taken += 1,
        }
    }
    Ok(deploys)
}

/// The bad tenant's clients.
fn attack(address: SocketAddr, time: Duration) -> io::Result<Answers> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut clients, mut answers) = (JoinSet::new(), Answers::default());
        let until = Instant::now() + time;
        for number in 0..CONNECTIONS {
            let client = Client::new(address, "bad.test", PATHS[number % PATHS.len()]);
            clients.spawn(ask_until(client, until));
        }
        let leaving = tokio::spawn(leave(address, until));
        while let Some(of_one) = clients.join_next().await {
            answers.merge(of_one.unwrap_or_default());
        }
        let _ = leaving.await;
        Ok(answers)
    })
}

/// Clients that go away: in the middle of a head, of a body, and of what is computed for them.
async fn leave(address: SocketAddr, until: Instant) {
    let beginnings = [
        "GET /spin HTTP/1.1\r\nhost: bad.t",
        "POST /flood HTTP/1.1\r\nhost: bad.test\r\ncontent-length: 1000\r\n\r\nsome",
        "GET /sleep HTTP/1.1\r\nhost: bad.test\r\n\r\n",
        "no HTTP at all\r\n\r\n",
    ];
    for beginning in beginnings.iter().cycle() {
        if Instant::now() >= until {
            return;
        }
        if let Ok(mut socket) = TcpStream::connect(address).await {
            let _ = socket.write_all(beginning.as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Looks at the host until the time is over.
fn look(host: &Host, over: &AtomicBool) -> io::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    while !over.load(Ordering::Relaxed) {
        samples.push(host.sample()?);
        thread::sleep(SAMPLES);
    }
    Ok(samples)
}

/// The medians of each tenth.
fn tenths(samples: &[Sample]) -> Vec<Value> {
    let median = |of: &[Sample], value: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = of.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    // Of one size: a short last one would be the median of a few samples.
    let part =
        |number: usize| &samples[samples.len() * number / 10..samples.len() * (number + 1) / 10];
    let tenth = |of: &[Sample]| {
        json!({
            "rss_mib": (median(of, |sample| sample.resident_kib) / 1024.0 * 10.0).round() / 10.0,
            "descriptors": median(of, |sample| f64::from(sample.descriptors)),
            "threads": median(of, |sample| f64::from(sample.threads)),
        })
    };
    (0..10).map(part).filter(|of| !of.is_empty()).map(tenth).collect()
}

/// The figures of the admin address that have to be zero when nothing is asked.
fn left(admin: SocketAddr) -> anyhow::Result<Vec<String>> {
    let text = lacewing_benches::client::get(admin, "localhost", "/metrics")?;
    let held =
        ["lacewing_invocations_in_flight ", "lacewing_invocations_waiting ", "lacewing_pool_"];
    let lines = text.lines().filter(|line| held.iter().any(|name| line.starts_with(name)));
    let of_slots = lines.filter(|line| !line.contains("capacity") && !line.contains("bytes"));
    let left = of_slots.filter(|line| line.rsplit(' ').next() != Some("0"));
    Ok(left.map(str::to_owned).collect())
}

/// The figures that are higher in the last tenth than in the second, and should not be.
fn grown(tenths: &[Value]) -> Vec<String> {
    let [_, second, .., last] = tenths else { return Vec::new() };
    let bounds = [("rss_mib", GROWTH_MIB), ("descriptors", 32.0), ("threads", 4.0)];
    let grown = bounds.into_iter().filter_map(|(key, most)| {
        let of = |tenth: &Value| tenth[key].as_f64().unwrap_or_default();
        let grown = of(last) - of(second);
        (grown > most).then(|| format!("{key} grew by {grown}"))
    });
    grown.collect()
}

/// The result of one run.
struct Run {
    good: BTreeMap<&'static str, Answers>,
    bad: Answers,
    deploys: Deploys,
    samples: Vec<Sample>,
}

impl Run {
    /// Does all of it at once, with a deploy after each `every`. `before` counts the deploys so
    /// far.
    fn new(
        host: &Host,
        dir: &Path,
        (time, rate): (Duration, u32),
        (every, before): (Duration, Deploys),
    ) -> anyhow::Result<Run> {
        let (address, over) = (host.address(), AtomicBool::new(false));
        thread::scope(|scope| {
            let good = GOOD.map(|name| {
                let name_of_host = format!("{name}.test");
                (name, scope.spawn(move || steadily(address, &name_of_host, rate, time)))
            });
            let bad = scope.spawn(move || attack(address, time));
            let deploying = scope.spawn(|| deploy(host, dir, every, before, &over));
            let looking = scope.spawn(|| look(host, &over));
            let panicked = |_| anyhow::anyhow!("a client panicked");
            let mut answers = BTreeMap::new();
            for (name, thread) in good {
                answers.insert(name, thread.join().map_err(panicked)??);
            }
            let bad = bad.join().map_err(panicked)??;
            over.store(true, Ordering::Relaxed);
            let deploys = deploying.join().map_err(panicked)??;
            let samples = looking.join().map_err(panicked)??;
            Ok(Run { good: answers, bad, deploys, samples })
        })
    }

    fn lost(&self) -> impl Iterator<Item = String> {
        let lost = |answers: &Answers| answers.total() != answers.count(200);
        let lost = self.good.iter().filter(move |(_, answers)| lost(answers));
        lost.map(|(name, answers)| {
            format!("requests of {name} were lost: {:?}", answers.by_status())
        })
    }

    fn to_json(&self) -> Value {
        let good = self.good.iter().map(|(name, answers)| (*name, answers.by_status()));
        json!({
            "good": good.collect::<BTreeMap<_, _>>(),
            "bad": self.bad.by_status(),
            "deploys_taken": self.deploys.taken,
            "deploys_refused": self.deploys.refused,
            "tenths": tenths(&self.samples),
        })
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let lacewing = match &options.lacewing {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("lacewing"),
    };
    let files = Files::write()?;
    let host = Host::start(&lacewing, &files.host())?;
    let minutes = |minutes: f64| Duration::from_secs_f64(minutes * 60.0);
    let run = |time: f64, every: Duration, before: Deploys| {
        Run::new(&host, files.dir.path(), (minutes(time), options.rate), (every, before))
    };
    let warm_up = run(options.warm_up, WARM_UP_DEPLOYS, Deploys::default())?;
    let soak = run(options.minutes, DEPLOYS, warm_up.deploys)?;
    let patience = Instant::now() + Duration::from_secs(30);
    let mut left_over = left(files.admin)?;
    while !left_over.is_empty() && Instant::now() < patience {
        thread::sleep(Duration::from_millis(100));
        left_over = left(files.admin)?;
    }
    let missed: Vec<String> = warm_up
        .lost()
        .chain(soak.lost())
        .chain(grown(&tenths(&soak.samples)))
        .chain(left_over.iter().map(|line| format!("held at the end: {line}")))
        .collect();
    let result = json!({
        "bench": "soak",
        "minutes": options.minutes,
        "warm_up_minutes": options.warm_up,
        "warm_up": warm_up.to_json(),
        "soak": soak.to_json(),
        "peak_rss_mib": (host.peak_kib()? / 1024.0).round(),
        "missed": missed,
    });
    dated::publish("soak", options.write, result)?;
    anyhow::ensure!(missed.is_empty(), "{}", missed.join("\n"));
    Ok(())
}
