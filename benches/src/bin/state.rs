//! The cost of state: reads in a guest, functions that only read, and durable transactions.
//!
//! Method, each figure as the median of rounds in which the servers take turns:
//!
//! - *read in a guest*: the guest `ledger` gets one key again and again, and times each call.
//!   Beside it a GET of Redis on one connection over loopback.
//! - *reads*: requests per second of the guest `one-read`, which gets one key, beside the example
//!   `hello`.
//! - *transactions*: requests per second of the guest `counter`, each one read and one write that
//!   are on the disk before the answer, with 64 clients that have a key each. Beside it the same
//!   over HTTP by native hyper on Redis with `appendfsync always`: GET, then SET, on one connection
//!   for each client.
//!
//! ```text
//! cargo build --release -p lacewing -p lacewing-benches
//! target/release/state [--rounds 5] [--seconds 3] [--redis redis-server] [--write]
//! ```
//!
//! The clients share the machine with the servers. Redis is a second process, with its own core
//! where there is one; Lacewing's store is in the host. Without Redis its row is left out.

use std::{
    fs, io,
    io::Write as _,
    net::{SocketAddr, TcpListener as StdListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Parser;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use lacewing_benches::{
    client::{Answers, Client, ask_until, get},
    dated,
    guest::{self, Layout},
    process::Host,
    rates::{Rates, median},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

#[derive(Parser)]
struct Options {
    /// Rounds of each figure.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Clients that make transactions.
    #[arg(long, default_value_t = 64)]
    clients: u32,
    /// The server of Redis.
    #[arg(long, default_value = "redis-server")]
    redis: PathBuf,
    /// Writes the result to benches/results as well.
    #[arg(long)]
    write: bool,
    /// The program to measure. Beside this one by default.
    #[arg(long)]
    lacewing: Option<PathBuf>,
    /// Serves transactions over this Redis instead: the peer.
    #[arg(long, hide = true)]
    serve: Option<SocketAddr>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(redis) = options.serve {
        return Ok(serve(redis)?);
    }
    let beside = std::env::current_exe()?.with_file_name("lacewing");
    let lacewing = options.lacewing.clone().unwrap_or(beside);
    let dir = tempfile::tempdir()?;
    let host = Host::start(&lacewing, &host_file(dir.path())?)?;
    let address = host.address();
    let peer = Peer::start(&options.redis, dir.path())?;

    let (mut reads, mut redis_reads) = (Vec::new(), Vec::new());
    let mut rows: Vec<(&str, Rates)> = vec![
        ("hello", Rates::default()),
        ("reads", Rates::default()),
        ("transactions", Rates::default()),
    ];
    if peer.is_some() {
        rows.push(("transactions of hyper on Redis", Rates::default()));
    }
    let time = Duration::from_secs(options.seconds);
    get(address, READS, "/")?;
    get(address, LEDGER, "/write/0/1")?;
    for round in 0..options.rounds {
        reads.push(reads_in_guest(address)?);
        if let Some(peer) = &peer {
            redis_reads.push(reads_of_redis(peer.store)?);
        }
        let count = rows.len();
        for place in 0..count {
            let (name, rates) = &mut rows[(place + round) % count];
            let load = match *name {
                "hello" => Load { address, host: HELLO, path: |_| "/".to_owned(), clients: 32 },
                "reads" => Load { address, host: READS, path: |_| "/".to_owned(), clients: 32 },
                "transactions" => {
                    Load { address, host: COUNTER, path: key, clients: options.clients }
                }
                _ => {
                    let Some(peer) = &peer else { continue };
                    let address = peer.address;
                    Load { address, host: COUNTER, path: key, clients: options.clients }
                }
            };
            rates.add(&load.run(time)?, time);
        }
    }
    let figures: serde_json::Map<String, Value> =
        rows.iter().map(|(name, rates)| ((*name).to_owned(), rates.figures())).collect();
    let per_second = |name: &str| {
        let row = rows.iter().find(|(row, _)| *row == name);
        row.map_or(f64::NAN, |(_, rates)| rates.per_second())
    };
    let medians = |reads: &[[f64; 2]]| {
        let at = |at: usize| median(&reads.iter().map(|read| read[at]).collect::<Vec<_>>());
        json!({ "p50": at(0), "p99": at(1) })
    };
    let result = json!({
        "bench": "state",
        "rounds": options.rounds,
        "clients": options.clients,
        "read_in_guest_us": medians(&reads),
        "get_of_redis_us": medians(&redis_reads),
        "rows": figures,
        "reads_over_hello": per_second("reads") / per_second("hello"),
        "transactions_over_redis":
            per_second("transactions") / per_second("transactions of hyper on Redis"),
    });
    Ok(dated::publish("state", options.write, result)?)
}

const HELLO: &str = "hello.test";
const LEDGER: &str = "ledger.test";
const READS: &str = "reads.test";
const COUNTER: &str = "counter.test";

fn key(client: u32) -> String {
    format!("/key-{client}")
}

/// The p50 and p99 of a read in a guest, in microseconds.
fn reads_in_guest(address: SocketAddr) -> anyhow::Result<[f64; 2]> {
    let said = get(address, LEDGER, "/timed/10000")?;
    let numbers = said.split_once(' ').map(|(p50, p99)| (p50.parse::<f64>(), p99.parse::<f64>()));
    let Some((Ok(p50), Ok(p99))) = numbers else { anyhow::bail!("reads: {said}") };
    Ok([p50 / 1000.0, p99 / 1000.0])
}

/// The p50 and p99 of a GET of Redis, in microseconds.
fn reads_of_redis(store: SocketAddr) -> anyhow::Result<[f64; 2]> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut times = runtime.block_on(async {
        let socket = TcpStream::connect(store).await?;
        socket.set_nodelay(true)?;
        let (mut store, mut times) = (BufStream::new(socket), Vec::new());
        call(&mut store, &["SET", "last:0", "1"]).await?;
        for _ in 0..10_000 {
            let begun = Instant::now();
            call(&mut store, &["GET", "last:0"]).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        io::Result::Ok(times)
    })?;
    times.sort_unstable_by(f64::total_cmp);
    Ok([times[times.len() / 2], times[times.len() * 99 / 100]])
}

/// Clients that ask for a path each.
struct Load {
    address: SocketAddr,
    host: &'static str,
    path: fn(u32) -> String,
    clients: u32,
}

impl Load {
    fn run(&self, time: Duration) -> anyhow::Result<Answers> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let until = Instant::now() + time;
        runtime.block_on(async {
            let clients = (0..self.clients).map(|client| {
                let client = Client::new(self.address, self.host, &(self.path)(client));
                tokio::spawn(ask_until(client, until))
            });
            let clients: Vec<_> = clients.collect();
            let mut answers = Answers::default();
            for client in clients {
                answers.merge(client.await?);
            }
            let wrong = answers.total() - answers.count(200) - answers.count(204);
            anyhow::ensure!(wrong == 0, "{wrong} requests were not answered well");
            Ok(answers)
        })
    }
}

fn host_file(dir: &Path) -> io::Result<PathBuf> {
    let file = dir.join("host.toml");
    let mut text = fs::File::create(&file)?;
    writeln!(text, "admin = \"off\"\ncache_dir = \"cache\"\nstate = \"state\"")?;
    for (app, host, component, store) in [
        ("hello", HELLO, guest::example("hello"), None),
        ("ledger", LEDGER, guest::guest("ledger", Layout::Lean), Some("ledger")),
        ("reads", READS, guest::guest("one-read", Layout::Lean), Some("store")),
        ("counter", COUNTER, guest::guest("counter", Layout::Lean), Some("store")),
    ] {
        let folder = dir.join(app);
        fs::create_dir(&folder)?;
        fs::copy(component, folder.join("app.wasm"))?;
        let mut manifest = format!(
            "app = \"{app}\"\n[functions.{app}]\ncomponent = \"app.wasm\"\nroutes = [\"/{{*key}}\"]\nlimits.concurrency = 1000\n"
        );
        if let Some(store) = store {
            manifest += &format!("grants.kv = {{ {store} = \"read-write\" }}\n[kv.{store}]\n");
        }
        fs::write(folder.join("lacewing.toml"), manifest)?;
        writeln!(text, "[tenants.{app}]\nhosts = [\"{host}\"]\napps = [\"{app}\"]")?;
    }
    Ok(file)
}

/// Native hyper on Redis, each in a process of its own.
struct Peer {
    /// Of Redis itself.
    store: SocketAddr,
    address: SocketAddr,
    redis: Child,
    server: Child,
}

impl Peer {
    /// `None`: there is no Redis.
    fn start(redis: &Path, dir: &Path) -> anyhow::Result<Option<Peer>> {
        let free = || StdListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let (data, address) = (dir.join("redis"), free()?);
        fs::create_dir(&data)?;
        let redis = Command::new(redis)
            .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(&data)
            .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
            .stdout(Stdio::null())
            .spawn();
        let redis = match redis {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                eprintln!("there is no redis-server: its row is left out");
                return Ok(None);
            }
            redis => redis?,
        };
        let mut server = Command::new(std::env::current_exe()?)
            .args(["--serve", &address.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = server.stdout.take().ok_or(io::Error::from(io::ErrorKind::BrokenPipe))?;
        io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut line)?;
        Ok(Some(Peer { store: address, address: line.trim().parse()?, redis, server }))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.redis] {
            // Our own child, by its handle.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Serves `/touch/KEY`: one GET and one SET of Redis.
fn serve(redis: SocketAddr) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let patience = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(redis).await.is_err() {
            if Instant::now() > patience {
                return Err(io::Error::other("Redis does not serve"));
            }
            tokio::task::yield_now().await;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let store = TcpStream::connect(redis).await?;
            store.set_nodelay(true)?;
            let store = Arc::new(Mutex::new(BufStream::new(store)));
            tokio::spawn(async move {
                let service = service_fn(move |request| touch(request, store.clone()));
                // A client that leaves ends its connection.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            });
        }
    })
}

async fn touch(
    request: Request<Incoming>,
    store: Arc<Mutex<BufStream<TcpStream>>>,
) -> io::Result<Response<Full<Bytes>>> {
    let key = request.uri().path().rsplit('/').next().unwrap_or_default();
    let mut store = store.lock().await;
    let value = call(&mut store, &["GET", key]).await?;
    let number: i64 = value.parse().unwrap_or(0);
    call(&mut store, &["SET", key, &(number + 1).to_string()]).await?;
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = hyper::StatusCode::NO_CONTENT;
    Ok(response)
}

/// One command in the protocol of Redis, and its answer: a line, or a string.
async fn call(store: &mut BufStream<TcpStream>, words: &[&str]) -> io::Result<String> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    store.write_all(command.as_bytes()).await?;
    store.flush().await?;
    let mut line = String::new();
    store.read_line(&mut line).await?;
    match line.trim_end().split_at(1) {
        ("$", "-1") => Ok(String::new()),
        ("$", length) => {
            let length: usize = length.parse().map_err(io::Error::other)?;
            let mut value = vec![0; length + 2];
            store.read_exact(&mut value).await?;
            value.truncate(length);
            String::from_utf8(value).map_err(io::Error::other)
        }
        ("+" | ":", value) => Ok(value.to_owned()),
        (_, error) => Err(io::Error::other(error.to_owned())),
    }
}
