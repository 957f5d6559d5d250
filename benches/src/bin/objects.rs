//! The speed of the S3 API: puts and gets of small and of large objects, beside a peer.
//!
//! Method: clients put an object each again and again, and then get it again and again, in rounds
//! in which the servers take turns; each figure is the median of the rounds. Requests are
//! presigned, so that the clients hash no body, and each client keeps one connection. The peer is
//! `s3s-fs` (<https://crates.io/crates/s3s-fs>): files in a folder, over the same implementation of
//! the protocol. Lacewing answers a put when the object is on the disk; `s3s-fs` syncs nothing. It
//! leaves Nagle's algorithm on, so that a small get waits for an acknowledgement that the client's
//! system delays by 40 ms.
//!
//! ```text
//! cargo build --release -p lacewing -p lacewing-benches
//! cargo install s3s-fs --version 0.14.1 --features binary
//! target/release/objects [--rounds 5] [--seconds 3] [--peer s3s-fs] [--write]
//! ```
//!
//! The clients share the machine with the servers. Without the peer its rows are left out.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Parser;
use lacewing_benches::{
    client::Answers,
    dated,
    guest::{self, Layout},
    process::Host,
    rates::Rates,
    s3::{S3Client, create_key},
};
use rusty_s3::Credentials;
use serde_json::{Value, json};

#[derive(Parser)]
struct Options {
    /// Rounds of each figure.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// The server of the peer.
    #[arg(long, default_value = "s3s-fs")]
    peer: PathBuf,
    /// Writes the result to benches/results as well.
    #[arg(long)]
    write: bool,
    /// The program to measure. Beside this one by default.
    #[arg(long)]
    lacewing: Option<PathBuf>,
}

/// A size of objects, with the clients that use objects of that size.
struct Size {
    name: &'static str,
    bytes: usize,
    clients: usize,
}

const SIZES: [Size; 2] = [
    Size { name: "4 KiB", bytes: 4 << 10, clients: 16 },
    Size { name: "64 MiB", bytes: 64 << 20, clients: 2 },
];

/// The bucket of the app below.
const BUCKET: &str = "store.files";

/// A server of S3 with a bucket.
struct Server {
    name: &'static str,
    address: SocketAddr,
    key: Credentials,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let beside = std::env::current_exe()?.with_file_name("lacewing");
    let lacewing = options.lacewing.clone().unwrap_or(beside);
    let dir = tempfile::tempdir()?;
    let file = host_file(dir.path())?;
    let key = create_key(&lacewing, &file, "store")?;
    let host = Host::start(&lacewing, &file)?;
    let peer = Peer::start(&options.peer, dir.path())?;
    let mut servers = vec![Server { name: "lacewing", address: host.s3_address(), key }];
    servers.extend(peer.as_ref().map(Peer::server));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let time = Duration::from_secs(options.seconds);
    let mut rows: BTreeMap<String, Rates> = BTreeMap::new();
    for round in 0..options.rounds {
        for size in &SIZES {
            for turn in 0..servers.len() {
                let server = &servers[(turn + round) % servers.len()];
                for action in [Action::Put, Action::Get] {
                    let answers = runtime.block_on(server.load(size, action, time))?;
                    let row = format!("{} {} {}", action.name(), size.name, server.name);
                    rows.entry(row).or_default().add(&answers, time);
                }
            }
        }
    }
    let ratio = |action: Action, size: &Size| {
        let rate = |server: &str| {
            let row = rows.get(&format!("{} {} {server}", action.name(), size.name));
            row.map_or(f64::NAN, Rates::per_second)
        };
        let name = format!("{} {}", action.name(), size.name);
        (name, json!(rate("lacewing") / rate("s3s-fs")))
    };
    let ratios: serde_json::Map<String, Value> = SIZES
        .iter()
        .flat_map(|size| [ratio(Action::Put, size), ratio(Action::Get, size)])
        .collect();
    let result = json!({
        "bench": "objects",
        "rounds": options.rounds,
        "clients": SIZES.iter().map(|size| (size.name, size.clients)).collect::<BTreeMap<_, _>>(),
        "rows": rows.iter().map(|(name, rates)| (name, rates.figures())).collect::<BTreeMap<_, _>>(),
        "lacewing_over_s3s_fs": ratios,
    });
    Ok(dated::publish("objects", options.write, result)?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Put,
    Get,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Action::Put => "put",
            Action::Get => "get",
        }
    }
}

impl Server {
    async fn load(&self, size: &Size, action: Action, time: Duration) -> anyhow::Result<Answers> {
        let until = Instant::now() + time;
        let body = Bytes::from(vec![b'x'; size.bytes]);
        let clients = (0..size.clients).map(|number| {
            let client = S3Client::new(self.address, BUCKET, &self.key);
            let (object, body) = (format!("{}-{number}", size.name), body.clone());
            tokio::spawn(async move {
                let (mut client, mut answers) = (client?, Answers::default());
                while Instant::now() < until {
                    let before = Instant::now();
                    let answer = match action {
                        Action::Put => client.put(&object, body.clone()).await?,
                        Action::Get => client.get(&object).await?,
                    };
                    let is_whole = action == Action::Put || answer.body.len() == body.len();
                    anyhow::ensure!(answer.status == 200 && is_whole, "status {}", answer.status);
                    answers.add(&Ok(answer.status), before.elapsed());
                }
                anyhow::Ok(answers)
            })
        });
        let clients: Vec<_> = clients.collect();
        let mut answers = Answers::default();
        for client in clients {
            answers.merge(client.await??);
        }
        Ok(answers)
    }
}

fn host_file(dir: &Path) -> io::Result<PathBuf> {
    let app = dir.join("app");
    fs::create_dir(&app)?;
    fs::copy(guest::guest("ledger", Layout::Lean), app.join("ledger.wasm"))?;
    let manifest = "app = \"store\"\n[buckets.files]\nmax_mib = 4096\n[functions.ledger]\ncomponent = \"ledger.wasm\"\nroutes = [\"/{*rest}\"]\ngrants.buckets = { files = \"read-write\" }\n";
    fs::write(app.join("lacewing.toml"), manifest)?;
    let file = dir.join("host.toml");
    let text = "admin = \"off\"\ncache_dir = \"cache\"\nstate = \"state\"\ns3 = \"127.0.0.1:0\"\n[tenants.store]\nhosts = [\"store.test\"]\napps = [\"app\"]\n";
    fs::write(&file, text)?;
    Ok(file)
}

/// `s3s-fs`, in a process of its own.
struct Peer {
    child: Child,
    address: SocketAddr,
}

/// The access key of the peer. Its secret is no secret.
const PEER_KEY: [&str; 2] = ["peer", "peer-secret"];

impl Peer {
    /// `None`: there is no such program.
    fn start(program: &Path, dir: &Path) -> anyhow::Result<Option<Peer>> {
        let root = dir.join("peer");
        fs::create_dir_all(root.join(BUCKET))?;
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr())?;
        let child = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--access-key", PEER_KEY[0], "--secret-key", PEER_KEY[1]])
            .arg(&root)
            .env("RUST_LOG", "error")
            .stdout(Stdio::null())
            .spawn();
        let child = match child {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                eprintln!("there is no {}: its rows are left out", program.display());
                return Ok(None);
            }
            child => child?,
        };
        let peer = Peer { child, address };
        let patience = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            anyhow::ensure!(Instant::now() < patience, "{} does not serve", program.display());
            std::thread::yield_now();
        }
        Ok(Some(peer))
    }

    fn server(&self) -> Server {
        let key = Credentials::new(PEER_KEY[0], PEER_KEY[1]);
        Server { name: "s3s-fs", address: self.address, key }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Our own child, by its handle.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
