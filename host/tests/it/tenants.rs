//! A host of two tenants: a guest that misbehaves, and a neighbour that must not notice.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::Full;
use lacewing::{
    config::HostFile,
    control::Components,
    telemetry::{Captured, GuestLine, metrics::Exposition},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Reply, Served, component, eventually, guest};

/// The host name of the tenant that misbehaves, and of its neighbour.
pub(crate) const SUSPECT: &str = "suspect.test";
pub(crate) const NEIGHBOUR: &str = "neighbour.test";

/// Two tenants, each with one app of one function. The suspect's has the path that it is asked for
/// as `{*path}`.
pub(crate) struct Tenants {
    pub(crate) served: Served,
    root: PathBuf,
}

/// The end of an invocation.
pub(crate) struct Ended {
    pub(crate) record: Value,
    pub(crate) lines: Vec<GuestLine>,
}

impl Ended {
    pub(crate) fn outcome(&self) -> &str {
        self.record["outcome"].as_str().unwrap()
    }

    pub(crate) fn detail(&self) -> &str {
        self.record["detail"].as_str().unwrap_or_default()
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        self.record[key].as_u64().unwrap_or_else(|| panic!("no {key}: {}", self.record))
    }
}

/// A folder of artifacts that all tests share, so that each guest is compiled once and not once for
/// each test.
pub(crate) fn shared_cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("artifacts")
}

impl Tenants {
    /// The suspect is the guest `hostile`, with these lines of a manifest's limits.
    pub(crate) async fn hostile(limits: &str) -> Tenants {
        Tenants::with(&guest("hostile"), limits, |_| {}).await
    }

    pub(crate) async fn with(
        suspect: &Path,
        limits: &str,
        change: impl FnOnce(&mut HostFile),
    ) -> Tenants {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let mut host = String::new();
        for (name, component, limits) in
            [("suspect", suspect, limits), ("neighbour", &component("hello"), "")]
        {
            std::fs::create_dir(root.join(name)).unwrap();
            write_manifest(&root, name, component, limits);
            // Components are where they were built.
            writeln!(
                host,
                "[tenants.{name}]\nhosts = [\"{name}.test\"]\napps = [\"{name}\"]\ncomponent_dirs = [\"/\"]"
            )
            .unwrap();
        }
        std::fs::write(root.join("host.toml"), host).unwrap();
        let mut file = load(&root);
        file.settings.cache_dir = shared_cache();
        file.settings.max_sandboxes = 64;
        change(&mut file);
        Tenants { served: Served::file(file, dir).await, root }
    }

    /// Deploys another component as the suspect, or as the neighbour.
    pub(crate) async fn deploy(
        &self,
        name: &str,
        component: &Path,
        limits: &str,
    ) -> Result<(), String> {
        self.write(name, component, limits);
        self.reload().await
    }

    /// Changes what the next deploy will find.
    pub(crate) fn write(&self, name: &str, component: &Path, limits: &str) {
        write_manifest(&self.root, name, component, limits);
    }

    /// Deploys another manifest of the suspect's.
    pub(crate) async fn deploy_manifest(&self, text: &str) -> Result<(), String> {
        std::fs::write(self.root.join("suspect/lacewing.toml"), text).unwrap();
        self.reload().await
    }

    /// Deploys with another quota of the suspect's: the inside of a table.
    pub(crate) async fn deploy_quota(&self, quota: &str) -> Result<(), String> {
        let path = self.root.join("host.toml");
        let host = std::fs::read_to_string(&path).unwrap();
        let lines = host.lines().filter(|line| !line.starts_with("quota = "));
        let mut text = String::new();
        for line in lines {
            writeln!(text, "{line}").unwrap();
            if line == "[tenants.suspect]" {
                writeln!(text, "quota = {{ {quota} }}").unwrap();
            }
        }
        std::fs::write(&path, text).unwrap();
        self.reload().await
    }

    /// The host file and its manifests, as they are now.
    pub(crate) fn file(&self) -> HostFile {
        load(&self.root)
    }

    async fn reload(&self) -> Result<(), String> {
        let deployed = self.served.host.deploy(&load(&self.root), &Components::new()).await;
        deployed
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    /// One GET of the suspect's.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(SUSPECT, Method::GET, path, HeaderMap::new(), Bytes::new()).await
    }

    pub(crate) async fn send(
        &self,
        host: &str,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path).header("host", host);
        request.headers_mut().unwrap().extend(headers);
        let request = request.body(Full::new(body.into())).unwrap();
        Reply::read(self.served.exchange(request).await).await
    }

    /// Sends bytes on a connection of their own. The test reads the answer as it likes, and
    /// dropping it is the client's going away.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(self.served.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket
    }

    /// Sends bytes and returns everything that comes back until the connection is closed.
    pub(crate) async fn raw_reply(&self, bytes: &[u8]) -> String {
        let mut socket = self.raw(bytes).await;
        let mut reply = Vec::new();
        socket.read_to_end(&mut reply).await.unwrap();
        String::from_utf8(reply).unwrap()
    }

    /// Begins a request of the suspect's that will not be answered, and returns when its guest
    /// runs.
    pub(crate) async fn begin(&self, path: &str) -> TcpStream {
        let before = self.in_flight();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n");
        let socket = self.raw(head.as_bytes()).await;
        eventually("the guest runs", || {
            self.in_flight() > before && self.served.host.invoker().engines().usage().stacks > 0
        })
        .await;
        socket
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.served.host.invoker().admission().in_flight()
    }

    pub(crate) async fn neighbour_is_served(&self) {
        let reply = self.send(NEIGHBOUR, Method::GET, "/", HeaderMap::new(), Bytes::new()).await;
        assert_eq!((reply.status, reply.outcome()), (200, "ok"), "{}", reply.text());
        assert_eq!(reply.text(), "Hello, world!\n");
    }

    /// The suspect's next record, with the lines that its guest printed before it.
    pub(crate) async fn ended(&self) -> Ended {
        let mut lines = Vec::new();
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let mut found = None;
            for one in self.served.sink.take() {
                match one {
                    Captured::Line(line) if line.context.origin.tenant().as_str() == "suspect" => {
                        lines.push(line);
                    }
                    Captured::Line(_) => {}
                    Captured::Record(json) => {
                        let record: Value = serde_json::from_str(&json).unwrap();
                        if record["tenant"] == "suspect" {
                            assert!(found.is_none(), "two records: {found:?} and {record}");
                            found = Some(record);
                        }
                    }
                }
            }
            if let Some(record) = found {
                return Ended { record, lines };
            }
            assert!(Instant::now() < until, "no invocation of the suspect was recorded");
            tokio::task::yield_now().await;
        }
    }

    /// How many of the suspect's invocations the metrics have with this outcome.
    pub(crate) fn counted(&self, outcome: &str) -> u64 {
        let metrics = self.served.host.metrics().expose(Exposition::OpenMetrics);
        let head = format!(
            "lacewing_invocations_total{{outcome=\"{outcome}\",tenant=\"suspect\",app=\"suspect\",function=\"suspect\"}} "
        );
        let value = metrics.lines().find_map(|line| line.strip_prefix(&head));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Asks the suspect for something that ends badly: checks what the client is told against the
    /// outcome, that a neighbour is served meanwhile and afterwards, and that nothing is held
    /// in the end. Returns the record.
    pub(crate) async fn fails(
        &self,
        path: &str,
        outcome: &str,
        status: u16,
        sentence: &str,
    ) -> Ended {
        self.served.sink.take();
        let counted = self.counted(outcome);
        let (reply, ()) = tokio::join!(self.get(path), self.neighbour_is_served());
        let problem = reply.problem();
        assert_eq!(reply.outcome(), outcome, "{problem}");
        let ended = self.ended().await;
        assert_problem(&reply, outcome, status, sentence);
        assert_eq!(ended.record["outcome"], outcome, "{}", ended.record);
        assert_eq!(ended.record["status"], status, "{}", ended.record);
        assert_eq!(problem["invocation"], ended.record["invocation"]);
        assert_eq!(self.counted(outcome), counted + 1, "the metric of {outcome}");
        self.neighbour_is_served().await;
        self.served.assert_idle().await;
        ended
    }

    /// Asks the suspect for something that it survives.
    pub(crate) async fn survives(&self, path: &str) -> (Reply, Ended) {
        self.served.sink.take();
        let (reply, ()) = tokio::join!(self.get(path), self.neighbour_is_served());
        assert_eq!((reply.status, reply.outcome()), (200, "ok"), "{}", reply.text());
        let ended = self.ended().await;
        assert_eq!(ended.record["outcome"], "ok", "{}", ended.record);
        self.neighbour_is_served().await;
        self.served.assert_idle().await;
        (reply, ended)
    }
}

fn write_manifest(root: &Path, name: &str, component: &Path, limits: &str) {
    let manifest = format!(
        "app = \"{name}\"\n[functions.{name}]\ncomponent = {component:?}\nroutes = [\"/\", \"/{{*path}}\"]\n[functions.{name}.limits]\n{limits}\n"
    );
    std::fs::write(root.join(name).join("lacewing.toml"), manifest).unwrap();
}

fn load(root: &Path) -> HostFile {
    let loaded = HostFile::load(&root.join("host.toml"));
    let (file, _) = loaded.unwrap_or_else(|findings| {
        panic!("{}", findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    });
    file
}

/// The answer to a client: the outcome's status, word and sentence, and nothing else.
pub(crate) fn assert_problem(reply: &Reply, outcome: &str, status: u16, sentence: &str) {
    let problem = reply.problem();
    assert_eq!((reply.status, reply.outcome()), (status, outcome), "{problem}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["outcome"], outcome);
    assert_eq!(problem["type"], format!("urn:lacewing:outcome:{outcome}"));
    assert_eq!(problem["detail"], sentence);
    // An invocation's id, or that of a request which became none.
    let id = if outcome == "no_route" { "request_id" } else { "invocation" };
    if id == "request_id" {
        assert_eq!(problem[id], reply.headers["x-request-id"].to_str().unwrap());
    }
    let mut keys: Vec<&str> = problem.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut expected = ["detail", id, "outcome", "status", "title", "type"];
    expected.sort_unstable();
    assert_eq!(keys, expected);
}
