//! The adversary's suite: whatever a tenant, a client or a stranger's component does to a host, it
//! ends within its limit, a neighbour is served meanwhile, and afterwards the host holds what it
//! held before.
//!
//! Each test is an attack on a host in a process of its own, whose descriptors, tasks and memory
//! are therefore nobody else's. `SECURITY.md` lists them all; `table` keeps that true.

mod admin;
mod admin_api;
mod artifacts;
mod crowds;
mod egress;
mod files;
mod heap;
pub(crate) mod http2;
mod ingress;
mod isolation;
mod names;
mod objects;
mod operator;
mod resources;
mod s3;
mod secrets;
mod shares;
mod sql;
mod state;
mod steps;
mod stop;
mod table;
mod work;

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::Full;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client,
    components::{Core, component_file},
    harness::{Reply, component, guest, pause},
    process::{Up, cache_dir},
    tenants::{NEIGHBOUR, SUSPECT},
};

/// The refusal of a request for which the cores have no time.
const CORES_FULL: &str = "the host's cores have as much to do as they can";

/// Far longer than anything takes: only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much more memory a process may have after an attack: what stays warm in the pool, and what
/// its allocator keeps.
const WARM_BYTES: u64 = 96 << 20;

/// The figures of the admin address that have to be as before.
const HELD: [&str; 11] = [
    "lacewing_invocations_in_flight",
    "lacewing_invocations_waiting",
    "lacewing_pool_component_instances",
    "lacewing_pool_core_instances",
    "lacewing_pool_memories",
    "lacewing_pool_tables",
    "lacewing_pool_stacks",
    "lacewing_connections_open",
    "lacewing_tasks",
    "lacewing_programs_resident",
    "process_open_fds",
];

/// A host of two tenants that is to be attacked.
pub(super) struct Target {
    suspect: PathBuf,
    /// Functions of the suspect, and of the neighbour, besides the first.
    more: [usize; 2],
    limits: String,
    patience: String,
    grants: String,
    names: &'static str,
    settings: String,
    cache: Option<PathBuf>,
    /// The folder of a component that was made for the test.
    _made: Option<tempfile::TempDir>,
}

impl Target {
    /// A target whose suspect is this component.
    pub(super) fn of(suspect: &Path) -> Target {
        Target {
            suspect: suspect.to_owned(),
            more: [0, 0],
            limits: String::new(),
            patience: String::new(),
            grants: String::new(),
            names: "",
            settings: String::new(),
            cache: None,
            _made: None,
        }
    }

    /// A target whose suspect is a test guest.
    pub(super) fn guest(name: &str) -> Target {
        Target::of(&guest(name))
    }

    /// A target whose suspect is a component that was written by hand.
    pub(super) fn core(core: &Core) -> Target {
        Target::text(&core.lean())
    }

    /// The same in the text format.
    pub(super) fn text(text: &str) -> Target {
        let (dir, path) = component_file(text);
        Target { _made: Some(dir), ..Target::of(&path) }
    }

    /// With these lines of its manifest's limits.
    pub(super) fn limits(self, lines: &str) -> Target {
        Target { limits: lines.to_owned(), ..self }
    }

    /// With so many functions more, of the same component: `/f0` and so on.
    pub(super) fn more(self, suspect: usize, neighbour: usize) -> Target {
        Target { more: [suspect, neighbour], ..self }
    }

    /// With time for what is compiled on a machine that has other things to do, for both tenants.
    pub(super) fn patient(self) -> Target {
        let patience = format!("deadline_ms = {}", PATIENCE.as_millis());
        Target { limits: format!("{}\n{patience}", self.limits), patience, ..self }
    }

    /// With these lines of its manifest's grants.
    pub(super) fn grants(self, lines: &str) -> Target {
        Target { grants: lines.to_owned(), ..self }
    }

    /// With host names besides its own one, as they are written in an array.
    pub(super) fn also_named(self, names: &'static str) -> Target {
        Target { names, ..self }
    }

    /// With these lines of the host's file.
    pub(super) fn settings(self, lines: &str) -> Target {
        Target { settings: lines.to_owned(), ..self }
    }

    /// With a folder of artifacts of its own.
    pub(super) fn cached_in(self, cache: &Path) -> Target {
        Target { cache: Some(cache.to_owned()), ..self }
    }

    /// Runs an attack, and asks a neighbour all the while, once at the least. Then waits until the
    /// host holds what it held before.
    pub(super) async fn attacked<T>(self, attack: impl AsyncFnOnce(&Host) -> T) -> T {
        self.attacked_after(async |_| (), attack).await
    }

    /// As [`Target::attacked`], once the host holds what it is to hold.
    pub(super) async fn attacked_after<T>(
        self,
        warm: impl AsyncFnOnce(&Host),
        attack: impl AsyncFnOnce(&Host) -> T,
    ) -> T {
        let host = Host::start(&self);
        if self.more != [0, 0] {
            host.until_served(SUSPECT, "/").await;
            host.until_served(NEIGHBOUR, "/").await;
        }
        host.neighbour_is_served().await;
        warm(&host).await;
        let before = host.at_rest(&BTreeMap::new()).await;
        let memory = host.up.memory_bytes("VmRSS:");
        let over = Cell::new(false);
        let attacking = async {
            let result = attack(&host).await;
            over.set(true);
            result
        };
        let asking = async {
            while !over.get() {
                host.neighbour_is_served().await;
                pause().await;
            }
        };
        let (result, ()) = tokio::join!(attacking, asking);
        host.neighbour_is_served().await;
        host.at_rest(&before).await;
        host.memory_is_given_back(memory).await;
        result
    }
}

/// The request, and how it ended.
pub(super) struct Ended {
    pub(super) reply: Reply,
    pub(super) record: Value,
}

impl Ended {
    pub(super) fn detail(&self) -> &str {
        self.record["detail"].as_str().unwrap_or_default()
    }

    /// The status and the outcome, for the client and in the record.
    pub(super) fn is(self, status: u16, outcome: &str) -> Ended {
        let told = (self.reply.status, self.reply.outcome().to_owned());
        assert_eq!(told, (status, outcome.to_owned()), "{}", self.record);
        assert_eq!(self.record["outcome"], outcome, "{}", self.record);
        self
    }

    /// The record's sentence about the limit that was hit.
    pub(super) fn because(self, detail: &str) -> Ended {
        assert!(self.detail().starts_with(detail), "{:?}", self.detail());
        self
    }
}

/// A host under attack.
pub(super) struct Host {
    up: Up,
    dir: tempfile::TempDir,
}

/// Functions of a component in a manifest, each at the path of its name.
fn functions(component: &Path, prefix: &str, count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        let function = format!("{prefix}{n}");
        write!(
            text,
            "[functions.{function}]\ncomponent = {component:?}\nroutes = [\"/{function}\"]\n"
        )
        .unwrap();
    }
    text
}

impl Host {
    fn start(target: &Target) -> Host {
        let dir = tempfile::tempdir().unwrap();
        let mut file = format!("max_sandboxes = 64\n{}\n", target.settings);
        for (name, component, limits, grants, names, more) in [
            (
                "suspect",
                &target.suspect,
                &*target.limits,
                &*target.grants,
                target.names,
                target.more[0],
            ),
            ("neighbour", &component("hello"), &*target.patience, "", "", target.more[1]),
        ] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            let mut manifest = format!(
                "app = \"{name}\"\n[functions.{name}]\ncomponent = {component:?}\nroutes = [\"/\", \"/{{*path}}\"]\n[functions.{name}.limits]\n{limits}\n[functions.{name}.grants]\n{grants}\n"
            );
            manifest += &functions(component, "f", more);
            std::fs::write(dir.path().join(name).join("lacewing.toml"), manifest).unwrap();
            let hosts = format!("\"{name}.test\", {names}");
            let folder = component.parent().unwrap();
            write!(
                file,
                "[tenants.{name}]\nhosts = [{hosts}]\napps = [\"{name}\"]\ncomponent_dirs = [{folder:?}]\n"
            )
            .unwrap();
        }
        let path = dir.path().join("host.toml");
        std::fs::write(&path, file).unwrap();
        let cache = target.cache.clone().unwrap_or_else(cache_dir);
        let arguments = ["--host", path.to_str().unwrap(), "--log-format=json", "--cache-dir"];
        let up = Up::start(&[&arguments[..], &[cache.to_str().unwrap()]].concat());
        // Where compiling takes long, one is served before the other. Of many functions not all are
        // listed.
        let is_listed = target.more == [0, 0];
        for name in ["suspect", "neighbour"].into_iter().filter(|_| is_listed) {
            up.line(&format!("{name}/{name}/{name}@"));
        }
        Host { up, dir }
    }

    /// Deploys other functions as the suspect's, each at the path of its name, and waits until they
    /// are swapped in.
    pub(super) async fn redeploy(&self, suspect: &Path, prefix: &str, functions: usize) {
        let manifest =
            format!("app = \"suspect\"\n{}", self::functions(suspect, prefix, functions));
        std::fs::write(self.dir.path().join("suspect/lacewing.toml"), manifest).unwrap();
        self.up.signal("HUP");
        self.until_served(SUSPECT, &format!("/{prefix}0")).await;
    }

    /// Waits until a path is served.
    async fn until_served(&self, tenant: &str, path: &str) {
        let until = Instant::now() + PATIENCE;
        while client::get(self.up.address, tenant, path).await.status != 200 {
            assert!(Instant::now() < until, "{path} is not served:\n{}", self.up.said());
            pause().await;
        }
    }

    /// Asks a tenant's functions one after the other, and gives how often it was answered.
    pub(super) async fn ask(&self, tenant: &str, paths: impl IntoIterator<Item = String>) -> u64 {
        let mut served = 0;
        for path in paths {
            let reply = client::get(self.up.address, tenant, &path).await;
            assert_eq!((reply.status, reply.outcome()), (200, "ok"), "{path}: {}", reply.text());
            served += 1;
        }
        served
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.up.address
    }

    /// Has it read its file again, with some text of it replaced.
    pub(super) fn reload(&self, old: &str, new: &str) {
        let path = self.dir.path().join("host.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "no {old:?} in {text}");
        std::fs::write(&path, text.replace(old, new)).unwrap();
        self.up.signal("HUP");
    }

    /// Where its metrics, health and readiness are.
    pub(super) fn admin(&self) -> SocketAddr {
        self.up.admin
    }

    /// Where its buckets are, if its settings name an address for S3.
    pub(super) fn s3(&self) -> SocketAddr {
        let line = self.up.line("S3 http://");
        line.trim().strip_prefix("S3 http://").unwrap().parse().unwrap()
    }

    /// A tenant's folder, or what is in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Has the host read its files again, in which the neighbour has changed, and waits until the
    /// neighbour is swapped in and the host has said something new of the suspect.
    pub(super) fn reads_again(&self, of_suspect: &str) {
        let count = |part: &str| self.said().lines().filter(|line| line.contains(part)).count();
        let (swapped, said) = (count("Swapped neighbour/"), count(of_suspect));
        let path = self.path("neighbour/lacewing.toml");
        let manifest = std::fs::read_to_string(&path).unwrap();
        let (manifest, _) = manifest.split_once("\n[defaults.env]").unwrap_or((&manifest, ""));
        let manifest = format!("{manifest}\n[defaults.env]\nREADING = \"{swapped}\"\n");
        std::fs::write(&path, manifest).unwrap();
        self.up.signal("HUP");
        self.up.nth_line("Swapped neighbour/", swapped);
        self.up.nth_line(of_suspect, said);
    }

    /// The host's lines so far.
    pub(super) fn said(&self) -> String {
        self.up.said()
    }

    /// One GET of the suspect's, and its record.
    pub(super) async fn get(&self, path: &str) -> Ended {
        self.send(Method::GET, path, HeaderMap::new(), Bytes::new()).await
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Ended {
        let before = self.records().len();
        let mut request = Request::builder().method(method).uri(path).header("host", SUSPECT);
        request.headers_mut().unwrap().extend(headers);
        let request = request.body(Full::new(body.into())).unwrap();
        let reply = Reply::read(client::exchange(self.up.address, request).await).await;
        Ended { reply, record: self.record(before).await }
    }

    /// The record of the suspect's that is the `nth`, from 0.
    pub(super) async fn record(&self, nth: usize) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(record) = self.records().into_iter().nth(nth) {
                return record;
            }
            assert!(Instant::now() < until, "no record {nth}:\n{}", self.up.said());
            pause().await;
        }
    }

    /// The suspect's records so far.
    pub(super) fn records(&self) -> Vec<Value> {
        let said = self.up.said();
        let records = said.lines().filter(|line| line.contains("\"outcome\":"));
        let parsed = records.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        parsed.filter(|record| record["tenant"] == "suspect").collect()
    }

    /// The lines of the suspect's guest so far, with the host's tags.
    pub(super) fn lines(&self) -> Vec<String> {
        let said = self.up.said();
        let parsed = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines = parsed.filter(|line| line["tenant"] == "suspect" && line["outcome"].is_null());
        lines.filter_map(|line| line["message"].as_str().map(str::to_owned)).collect()
    }

    pub(super) async fn neighbour_is_served(&self) {
        let mut reply = client::get(self.up.address, NEIGHBOUR, "/").await;
        let until = Instant::now() + PATIENCE;
        // Other processes may take the cores. A host in which nothing runs is not the cause.
        while reply.text().contains(CORES_FULL)
            && self.figure("lacewing_invocations_in_flight").await == 0
            && Instant::now() < until
        {
            pause().await;
            reply = client::get(self.up.address, NEIGHBOUR, "/").await;
        }
        let told = (reply.status, reply.outcome());
        assert_eq!(told, (200, "ok"), "{}\n{}", reply.text(), self.up.said());
        assert_eq!(reply.text(), "Hello, world!\n");
    }

    /// A connection to which bytes were sent.
    pub(super) async fn raw(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut socket = TcpStream::connect(self.up.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        // A client that is refused in the middle of it is not told by its socket.
        let _ = socket.write_all(bytes.as_ref()).await;
        socket
    }

    /// The bytes that come back until the connection's end.
    pub(super) async fn raw_reply(&self, bytes: impl AsRef<[u8]>) -> String {
        rest(self.raw(bytes).await).await
    }

    /// One figure of the admin address.
    pub(super) async fn figure(&self, name: &str) -> u64 {
        self.figures().await.get(name).copied().unwrap_or_else(|| panic!("no figure {name}"))
    }

    /// Waits for a figure of the admin address.
    pub(super) async fn until(&self, name: &str, condition: impl Fn(u64) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !condition(self.figure(name).await) {
            assert!(Instant::now() < until, "{name} is {}", self.figure(name).await);
            pause().await;
        }
    }

    /// A scrape that is not read yet.
    pub(super) async fn scrape(&self) -> TcpStream {
        let mut socket = TcpStream::connect(self.up.admin).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    }

    /// All figures of the admin address, which may say to come back while it makes other scrapes.
    /// Each line is whole: what frames a piece stands between lines.
    pub(super) async fn figures(&self) -> BTreeMap<String, u64> {
        let until = Instant::now() + PATIENCE;
        let text = loop {
            let text = rest(self.scrape().await).await;
            if !text.starts_with("HTTP/1.1 503 ") {
                break text;
            }
            assert!(Instant::now() < until, "{text}");
            pause().await;
        };
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    /// Waits until the process has hardly more memory than before. Its allocator gives back what it
    /// has when it is asked for some.
    async fn memory_is_given_back(&self, before: u64) {
        let until = Instant::now() + PATIENCE;
        loop {
            let grown = self.up.memory_bytes("VmRSS:").saturating_sub(before);
            if grown <= WARM_BYTES {
                return;
            }
            assert!(Instant::now() < until, "{} MiB more than before", grown >> 20);
            self.neighbour_is_served().await;
        }
    }

    /// Waits until two looks in a row show the same, and no more of anything than before. Gives
    /// what is held.
    async fn at_rest(&self, before: &BTreeMap<&'static str, u64>) -> BTreeMap<&'static str, u64> {
        let until = Instant::now() + PATIENCE;
        let mut last = BTreeMap::new();
        loop {
            let figures = self.figures().await;
            let held: BTreeMap<_, _> = HELD.map(|name| (name, figures[name])).into();
            let more = before.iter().any(|(name, count)| held[name] > *count);
            if !more && held == last {
                return held;
            }
            assert!(Instant::now() < until, "held before: {before:#?}\nand now: {held:#?}");
            last = held;
            pause().await;
        }
    }
}

/// Everything that a socket brings until its end, whichever way that comes.
pub(super) async fn rest(mut socket: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes))
        .await
        .expect("the connection ends");
    String::from_utf8_lossy(&bytes).into_owned()
}
