//! The promise of `memory_mib`, under everything that guests and clients do at once.
//!
//! Method: one host with `memory_mib = 512`. Four hostile tenants' functions are asked on 8
//! connections each to make the host hold what they can: memories, tables and handles of their own,
//! requests that are never sent, header maps, bodies on their way out, timers, streams of WASI 0.3,
//! responses as large as they may be. Clients besides ask for responses on HTTP/2 streams whose
//! windows are shut, pipeline requests and read nothing, begin bodies and do not go on, and open
//! idle connections. A good tenant's `hello` is asked on a schedule all the while. Ten times a
//! second the host's resident memory is looked at.
//!
//! ```text
//! cargo build --release -p lacewing -p lacewing-benches
//! target/release/memory_promise [--minutes 10] [--write] [--lacewing PATH]
//! ```
//!
//! Prints one JSON object, and fails if the resident memory is ever over 1.1 times 512 MiB and 64
//! MiB, or if a request of the good tenant is lost.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use lacewing_benches::{
    client::{Answers, Client, ask_until, steadily},
    dated, guest,
    process::Host,
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

#[derive(Parser)]
struct Options {
    /// The time that it takes.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Requests per second of the good tenant.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Writes the result to benches/results as well.
    #[arg(long)]
    write: bool,
    /// The program to measure. Beside this one by default.
    #[arg(long)]
    lacewing: Option<PathBuf>,
}

const MEMORY_MIB: f64 = 512.0;
/// The most that may be resident.
const MOST_MIB: f64 = MEMORY_MIB * 1.1 + 64.0;
/// Connections to each hostile function.
const CONNECTIONS: usize = 8;
/// Connections of each kind of client that reads nothing.
const UNREAD: usize = 100;

/// Guests, and the paths that they are asked for.
const HOSTILE: [(&str, &[&str]); 3] = [
    ("hostile", &["/allocate", "/grow", "/handles/1000000", "/bytes/4000000", "/body"]),
    (
        "hostile-02",
        &[
            "/methods/60/1000000",
            "/paths/700/60000",
            "/maps/60/1000000",
            "/responses/60/1000000",
            "/bodies/300",
            "/timers/1000000",
            "/allocate",
        ],
    ),
    (
        "hostile-03",
        &["/methods/60/1000000", "/streams/1000000", "/unread/1000000", "/tasks/100000"],
    ),
];

fn write_files(dir: &Path) -> io::Result<PathBuf> {
    let mut host = format!(
        "listen = [\"127.0.0.1:0\"]\nadmin = \"off\"\ncache_dir = \"cache\"\nlog.requests = \"none\"\nmemory_mib = {MEMORY_MIB}\n"
    );
    let mut app = |name: &str, component: &Path, limits: &str| {
        let folder = dir.join(name);
        fs::create_dir(&folder)?;
        fs::copy(component, folder.join("it.wasm"))?;
        let manifest = format!(
            "app = \"{name}\"\n[functions.{name}]\ncomponent = \"it.wasm\"\nroutes = [\"/\", \"/{{*path}}\"]\n[functions.{name}.limits]\n{limits}\n"
        );
        host += &format!("[tenants.{name}]\nhosts = [\"{name}.test\"]\napps = [\"{name}\"]\n");
        fs::write(folder.join("lacewing.toml"), manifest)
    };
    app("good", &guest::example("hello"), "")?;
    for (name, _) in HOSTILE {
        let limits = "cpu_ms = 500\ndeadline_ms = 2000\nhandles = 10_000\nheader_kib = 1024\nconcurrency = 200";
        app(name, &guest::hostile(name), limits)?;
    }
    fs::write(dir.join("host.toml"), host)?;
    Ok(dir.join("host.toml"))
}

/// Asks the hostile functions until the time is over.
fn attack(address: SocketAddr, time: Duration) -> io::Result<Answers> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut clients, mut answers) = (JoinSet::new(), Answers::default());
        let until = Instant::now() + time;
        for (name, paths) in HOSTILE {
            for path in paths.iter().cycle().take(CONNECTIONS.max(paths.len())) {
                let client = Client::new(address, &format!("{name}.test"), path);
                clients.spawn(ask_until(client, until));
            }
        }
        while let Some(of_one) = clients.join_next().await {
            answers.merge(of_one.unwrap_or_default());
        }
        Ok(answers)
    })
}

/// The bytes of clients that take nothing of what they ask for.
fn greedy() -> Vec<Vec<u8>> {
    let pipelined = b"GET /bytes/16000 HTTP/1.1\r\nhost: hostile.test\r\n\r\n".repeat(50);
    let half =
        b"POST /body HTTP/1.1\r\nhost: hostile.test\r\ncontent-length: 900000\r\n\r\n".to_vec();
    let half = [half, vec![b'x'; 200_000]].concat();
    vec![shut_windows("/bytes/16000"), shut_windows("/bytes/100000"), pipelined, half, Vec::new()]
}

/// A client of HTTP/2 (RFC 9113) with a window of nothing and a request on each of 100 streams.
fn shut_windows(path: &str) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let text =
        |text: &str| [&[u8::try_from(text.len()).unwrap_or_default()], text.as_bytes()].concat();
    // `:method: GET`, `:scheme: http`, `:path`, `:authority`.
    let head = [vec![0x82, 0x86, 0x04], text(path), vec![0x01], text("hostile.test")].concat();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    for stream in 0..100 {
        bytes.extend(frame(1, 5, 2 * stream + 1, &head));
    }
    bytes
}

/// Opens connections that read nothing, and opens them again whenever they have all been there for
/// a while.
fn read_nothing(address: SocketAddr, time: Duration, opened: &AtomicU64) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let mut held = Vec::new();
            for bytes in greedy() {
                for _ in 0..UNREAD {
                    let Ok(mut socket) = TcpStream::connect(address).await else { continue };
                    // A connection that is closed meanwhile is the answer.
                    let writing = socket.write_all(&bytes);
                    let _ = tokio::time::timeout(Duration::from_millis(20), writing).await;
                    opened.fetch_add(1, Relaxed);
                    held.push(socket);
                }
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            drop(held);
        }
    });
    Ok(())
}

/// The most that was resident, and the medians of each tenth, in MiB.
fn look(host: &Host, over: &AtomicBool) -> io::Result<(f64, Vec<f64>)> {
    let mut samples = Vec::new();
    while !over.load(Relaxed) {
        samples.push(host.resident_kib()? / 1024.0);
        thread::sleep(Duration::from_millis(100));
    }
    let most = samples.iter().copied().fold(0.0, f64::max);
    let median = |of: &[f64]| {
        let mut sorted = of.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or_default().round()
    };
    Ok((most, samples.chunks(samples.len().div_ceil(10).max(1)).map(median).collect()))
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let lacewing = match &options.lacewing {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("lacewing"),
    };
    let dir = tempfile::tempdir()?;
    let host = Host::start(&lacewing, &write_files(dir.path())?)?;
    let time = Duration::from_secs_f64(options.minutes * 60.0);
    let (address, over, opened) = (host.address(), AtomicBool::new(false), AtomicU64::new(0));
    let alone = steadily(address, "good.test", options.rate, Duration::from_secs(10))?;
    let (good, bad, (most_mib, tenths)) = thread::scope(|scope| {
        let panicked = |_| anyhow::anyhow!("a client panicked");
        let good = scope.spawn(|| steadily(address, "good.test", options.rate, time));
        let bad = scope.spawn(|| attack(address, time));
        let unread = scope.spawn(|| read_nothing(address, time, &opened));
        let looking = scope.spawn(|| look(&host, &over));
        let good = good.join().map_err(panicked)??;
        let bad = bad.join().map_err(panicked)??;
        unread.join().map_err(panicked)??;
        over.store(true, Relaxed);
        Ok::<_, anyhow::Error>((good, bad, looking.join().map_err(panicked)??))
    })?;
    let mut missed = Vec::new();
    if most_mib > MOST_MIB {
        missed.push(format!("{most_mib:.0} MiB were resident, of {MOST_MIB:.0} that may be"));
    }
    if good.total() != good.count(200) {
        missed.push(format!("requests of the good tenant were lost: {:?}", good.by_status()));
    }
    let result = json!({
        "bench": "memory-promise",
        "minutes": options.minutes,
        "memory_mib": MEMORY_MIB,
        "most_resident_mib": most_mib.round(),
        "most_allowed_mib": MOST_MIB.round(),
        "tenths_mib": tenths,
        "good_alone": alone.by_status(),
        "good": good.by_status(),
        "good_p99_ms": { "alone": alone.of(&[200]).p99_ms, "attacked": good.of(&[200]).p99_ms },
        "bad": bad.by_status(),
        "connections_that_read_nothing": opened.load(Relaxed),
        "missed": missed,
    });
    dated::publish("memory-promise", options.write, result)?;
    anyhow::ensure!(missed.is_empty(), "{}", missed.join("\n"));
    Ok(())
}
