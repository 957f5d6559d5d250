//! A host of this process, on a socket of its own, and a client for it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use lacewing::{
    cli::{
        build::{self, Toolchain},
        console::Console,
    },
    config::{CompilerProgram, HostFile, Settings},
    control::{Components, Host},
    event_loop::EventLoops,
    ingress::{Gateway, Listener, Options, Server},
    manifest::{App, Source},
    telemetry::{Captured, InvocationLog, Sink},
};
use tokio::net::TcpStream;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The source of a module of the host, by its path: `ingress::route` in the crate of that name, or
/// `engine::pool` in whichever crate has the module.
pub(crate) fn module_file(module: &str) -> PathBuf {
    const CRATES: [&str; 8] =
        ["base", "manifest", "telemetry", "store", "sandbox", "runtime", "ingress", "control"];
    let path = module.replace("::", "/");
    let (top, rest) = path.split_once('/').unwrap_or((&path, "lib"));
    let crates = root().join("host/crates");
    let of_crate = crates.join(top).join("src").join(rest);
    let anywhere = CRATES.iter().map(|name| crates.join(name).join("src").join(&path));
    let of_program = root().join("host/src").join(&path);
    let files = [of_crate].into_iter().chain(anywhere).chain([of_program]);
    let mut files = files.map(|file| file.with_extension("rs"));
    files.find(|file| file.is_file()).unwrap_or_else(|| PathBuf::from(module))
}

/// The component of an example, built once for each run of the tests.
pub(crate) fn component(example: &str) -> PathBuf {
    built(&root().join("examples").join(example))
}

/// The component of the package in a directory, built once for each run of the tests.
fn built(dir: &Path) -> PathBuf {
    static BUILT: OnceLock<dashmap::DashMap<PathBuf, PathBuf>> = OnceLock::new();
    let all = BUILT.get_or_init(dashmap::DashMap::new);
    let entry = all.entry(dir.to_owned()).or_insert_with(|| {
        let built = build::build_crate(dir, &Toolchain::from_env(), &Console::silent());
        built.unwrap_or_else(|error| panic!("{}: {error}", dir.display())).component
    });
    entry.clone()
}

/// The component of a test guest: an example of the package in `tests/guests`, written without the
/// SDK.
pub(crate) fn guest(name: &str) -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        // The build of an example adds the Wasm target where it is missing.
        let hello = component("hello");
        let target_dir =
            hello.ancestors().find(|dir| dir.ends_with("lacewing")).unwrap().to_owned();
        let status = Toolchain::from_env()
            .cargo(&root().join("host/tests/guests"))
            .args(["build", "--quiet", "--release", "--examples", "--target", build::WASM_TARGET])
            .arg("--target-dir")
            .arg(&target_dir)
            .status()
            .unwrap();
        assert!(status.success(), "the test guests do not build");
        target_dir.join(build::WASM_TARGET).join("release/examples")
    });
    dir.join(format!("{}.wasm", name.replace('-', "_")))
}

/// An app that is served.
pub(crate) struct Served {
    pub(crate) host: Arc<Host>,
    pub(crate) sink: Sink,
    pub(crate) address: SocketAddr,
    // The lines that were taken from the sink and not yet looked at.
    captured: Mutex<VecDeque<Captured>>,
    _loops: EventLoops,
    _dir: tempfile::TempDir,
}

impl Served {
    /// Serves a bare component, as `lacewing up FILE.wasm` does.
    pub(crate) async fn component(path: &Path) -> Served {
        let (app, warnings) = App::for_component(path).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        Served::app(app, |_| {}).await
    }

    /// Serves an example as its own manifest says.
    pub(crate) async fn example(name: &str) -> Served {
        let (app, warnings) = App::load(&root().join("examples").join(name)).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        Served::app(app, |_| {}).await
    }

    /// Serves a manifest's text.
    pub(crate) async fn manifest(text: &str) -> Served {
        Served::manifest_with(text, |_| {}).await
    }

    /// As [`Served::manifest`], with other settings than the default.
    pub(crate) async fn manifest_with(text: &str, change: impl FnOnce(&mut Settings)) -> Served {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lacewing.toml");
        std::fs::write(&path, text).unwrap();
        let (app, _) = App::load(&path).unwrap_or_else(|findings| {
            panic!("{}", findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        });
        Served::app(app, change).await
    }

    async fn app(app: App, change: impl FnOnce(&mut Settings)) -> Served {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(dir.path().join("cache"));
        // Address space for a hundred hosts at once: tests run side by side.
        settings.max_sandboxes = 64;
        settings.state_dir = Some(dir.path().join("state"));
        change(&mut settings);
        Served::file(HostFile::local(app, settings).unwrap(), dir).await
    }

    /// Serves what a host file names. `dir` lives as long as it is served.
    pub(crate) async fn file(file: HostFile, dir: tempfile::TempDir) -> Served {
        let sink = Sink::memory();
        let mut settings = file.settings.clone();
        // Unless a test names another: this program is not `lacewing`.
        if settings.compilation.program == CompilerProgram::This {
            settings.compilation.program = compiler();
        }
        let host = Host::new(settings, sink.clone(), InvocationLog::All).unwrap();
        host.deploy(&file, &components(&file)).await.unwrap_or_else(|errors| {
            panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        });
        // The output of starting once at deploy is no test's.
        sink.take();
        Served::host(host, sink, dir).await
    }

    /// Serves what a host has deployed.
    pub(crate) async fn host(host: Arc<Host>, sink: Sink, dir: tempfile::TempDir) -> Served {
        let listener =
            Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), "--listen").await.unwrap();
        let gateway = Arc::new(Gateway::new(host.invoker().clone(), host.metrics().clone()));
        let loops = EventLoops::start(NonZero::<usize>::MIN).unwrap();
        let options = Options::of(host.settings());
        let routes = host.routes().clone();
        let server = Server::start(listener, options, loops.handle(), routes, gateway);
        let captured = Mutex::default();
        Served { address: server.address(), host, sink, captured, _loops: loops, _dir: dir }
    }

    /// One GET on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, HeaderMap::new(), Bytes::new()).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        request.headers_mut().unwrap().extend(headers);
        let response = self.exchange(request.body(Full::new(body)).unwrap()).await;
        Reply::read(response).await
    }

    /// Sends a request and returns as soon as the head of its response is there.
    pub(crate) async fn exchange<B>(&self, request: Request<B>) -> Response<Incoming>
    where
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + 'static,
    {
        let socket = TcpStream::connect(self.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (mut client, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        client.send_request(request).await.unwrap()
    }

    /// Waits until no invocation is in flight and no slot of the pools is taken; fails where that
    /// does not come.
    pub(crate) async fn assert_idle(&self) {
        let invoker = self.host.invoker();
        eventually("every slot is free", || {
            invoker.admission().in_flight() == 0 && invoker.engines().usage().is_idle()
        })
        .await;
    }

    /// The log since the last look: guests' lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut captured = self.captured.lock().unwrap();
        captured.extend(self.sink.take());
        let line = |one| match one {
            Captured::Line(line) => Some(line.message),
            Captured::Record(_) => None,
        };
        captured.drain(..).filter_map(line).collect()
    }

    /// Waits for the next invocation record, and returns it with the guests' lines before it.
    pub(crate) async fn record(&self) -> (serde_json::Value, Vec<String>) {
        let mut lines = Vec::new();
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            while let Some(one) = self.captured() {
                match one {
                    Captured::Line(line) => lines.push(line.message),
                    Captured::Record(json) => return (serde_json::from_str(&json).unwrap(), lines),
                }
            }
            assert!(Instant::now() < until, "no invocation was recorded");
            pause().await;
        }
    }

    fn captured(&self) -> Option<Captured> {
        let mut captured = self.captured.lock().unwrap();
        captured.extend(self.sink.take());
        captured.pop_front()
    }
}

/// The components of those functions that are built.
fn components(file: &HostFile) -> Components {
    let mut components = Components::new();
    for tenant in &file.tenants {
        for app in &tenant.apps {
            for function in &app.functions {
                if let Source::Crate { dir } = &function.source {
                    let key = (tenant.name.clone(), app.name.clone(), function.name.clone());
                    components.insert(key, built(dir));
                }
            }
        }
    }
    components
}

/// Between two looks at a condition: tests run side by side, and one that looks without a pause
/// takes the others' time.
pub(crate) async fn pause() {
    let soon = Instant::now() + Duration::from_millis(1);
    tokio::time::interval_at(soon.into(), Duration::from_secs(1)).tick().await;
}

/// Waits for a condition, a minute at the most.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "it did not come about that {what}");
        pause().await;
    }
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) async fn read(response: Response<Incoming>) -> Reply {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// The header that says how it ended.
    pub(crate) fn outcome(&self) -> &str {
        self.headers["lacewing-outcome"].to_str().unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The problem document.
    pub(crate) fn problem(&self) -> serde_json::Value {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The compiler of a host in this process.
pub(crate) fn compiler() -> CompilerProgram {
    CompilerProgram::At(env!("CARGO_BIN_EXE_lacewing").into())
}

/// The binary under test.
pub(crate) fn lacewing() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lacewing"))
}
