//! `lacewing up` as a process: it serves, drains, swaps and refuses.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    client::{drain, exactly, exchange, get, upload},
    harness::{Reply, eventually, guest, root},
    process::{Up, command},
};

/// A path as an argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Starts an upload that the guest echoes, and waits until the first bytes are back: it is in
/// flight.
async fn in_flight(up: &Up) -> (crate::client::Sender, hyper::body::Incoming) {
    let (sender, body) = upload();
    let request = Request::builder().method(Method::POST).uri("/echo").header("host", "localhost");
    let answer = exchange(up.address, request.body(body).unwrap());
    let mut answer = tokio::join!(answer, sender.send("first")).0.into_body();
    assert_eq!(exactly(&mut answer, 5).await, b"first");
    (sender, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_example_is_built_and_served() {
    let up = Up::start(&[arg(&root().join("examples/hello"))]);
    let reply = get(up.address, "localhost", "/").await;
    assert_eq!((reply.status, reply.outcome(), reply.text()), (200, "ok", "Hello, world!\n"));
    assert_eq!(get(up.admin, "localhost", "/readyz").await.text(), "ready\n");
    let metrics = get(up.admin, "localhost", "/metrics").await;
    assert!(metrics.text().contains("outcome=\"ok\""), "{}", metrics.text());
    let record = up.line("INFO invocation: local/hello/hello@");
    assert!(record.contains(" ok 200 GET / duration_us="), "{record}");
    up.signal("TERM");
    let (status, said) = up.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    for line in [
        "  /  ->  local/hello/hello@",
        "  hello: memory 64 MiB, cpu 1000 ms, deadline 30000 ms, concurrency 256",
        "Draining 0 invocations in flight, for at most 30 s; signal again to stop at once",
    ] {
        assert!(said.lines().any(|have| have.starts_with(line)), "{line} is not in\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_accepted_requests_finish() {
    let up = Up::start(&[arg(&guest("portable-02"))]);
    let (sender, mut answer) = in_flight(&up).await;
    up.signal("TERM");
    up.line("Draining 1 invocation in flight, for at most 30 s; signal again to stop at once");
    let ready = get(up.admin, "localhost", "/readyz").await;
    assert_eq!((ready.status, ready.text()), (503, "draining: no new requests, please\n"));
    // The body goes on, in both directions.
    sender.send("second").await;
    assert_eq!(exactly(&mut answer, 6).await, b"second");
    drop(sender);
    assert_eq!(drain(&mut answer).await, Some(0));
    let (status, said) = up.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains(" ok 200 POST /echo "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_a_guest_that_goes_on_after_its_response() {
    let up = Up::start(&[arg(&guest("portable-02"))]);
    assert_eq!(get(up.address, "localhost", "/spin-after-response").await.text(), "done");
    up.signal("INT");
    let (status, said) = up.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains(" cpu_exceeded 200 GET /spin-after-response "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once() {
    let up = Up::start(&[arg(&guest("portable-02"))]);
    let (sender, mut answer) = in_flight(&up).await;
    up.signal("TERM");
    up.line("Draining");
    up.signal("INT");
    let (status, said) = up.wait();
    assert_eq!(status.code(), Some(1), "{said}");
    assert_eq!(drain(&mut answer).await, None);
    drop(sender);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_period_ends() {
    let up = Up::start(&[arg(&guest("portable-02")), "--grace-period-s=0"]);
    let (sender, mut answer) = in_flight(&up).await;
    up.signal("TERM");
    let (status, said) = up.wait();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains("warning: 1 invocation cut off at the end of the grace period"),
        "{said}"
    );
    assert_eq!(drain(&mut answer).await, None);
    drop(sender);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_log_is_not_read_serves_and_stops() {
    let up = Up::unread(&[arg(&guest("portable-02")), "--threads=1"]);
    for _ in 0..3 {
        assert_eq!(get(up.address, "localhost", "/").await.text(), "hello from 0.2");
    }
    // A reading is said as well, and is waited for by nothing.
    up.signal("HUP");
    up.signal("TERM");
    assert_eq!(up.exit().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_a_host_whose_log_is_not_read() {
    let up = Up::unread(&[arg(&guest("portable-02"))]);
    let (sender, mut answer) = in_flight(&up).await;
    up.signal("TERM");
    let mut ready = get(up.admin, "localhost", "/readyz").await;
    while ready.status != 503 {
        ready = get(up.admin, "localhost", "/readyz").await;
    }
    assert_eq!(ready.text(), "draining: no new requests, please\n");
    up.signal("INT");
    assert_eq!(up.exit().code(), Some(1));
    assert_eq!(drain(&mut answer).await, None);
    drop(sender);
}

#[test]
fn a_signal_ends_the_build_before_the_first_deploy() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = "app = \"slow\"\n[functions.slow]\nbuild = { command = \"echo begun; exec sleep 600\", output = \"x.wasm\" }\n";
    fs::write(dir.path().join("lacewing.toml"), manifest).unwrap();
    let up = Up::spawn(&[arg(dir.path())], |_| {});
    up.line("begun");
    up.signal("TERM");
    assert_eq!(up.exit().code(), Some(0));
}

#[test]
fn a_port_in_use_is_said_before_anything_is_built() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = |args: &[&str]| {
        let output =
            command(&["up", arg(&root().join("examples/hello"))]).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(
        run(&["--listen", &address, "--admin=off"]),
        format!(
            "error: cannot listen on {address}: address already in use (is another lacewing running? choose another with --listen)\n"
        )
    );
    assert_eq!(
        run(&["--listen=127.0.0.1:0", "--admin", &address]),
        format!(
            "error: the admin listener cannot use {address}: the port is in use; choose another with --admin, or `--admin off`\n"
        )
    );
}

#[test]
fn a_path_without_an_app_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let said = |args: &[&str]| {
        let output = command(&["up"]).args(args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), stderr.replace(arg(dir.path()), "DIR"))
    };
    fs::create_dir(dir.path().join("lacewing.toml")).unwrap();
    let manifest = dir.path().join("lacewing.toml");
    assert_eq!(
        said(&[arg(&manifest)]),
        (
            Some(4),
            "error: this is a directory, and a text file was expected\n --> DIR/lacewing.toml\n"
                .to_owned()
        )
    );
    fs::remove_dir(&manifest).unwrap();
    assert_eq!(
        said(&[arg(dir.path())]),
        (Some(4), "error: there is no such file\n --> DIR/lacewing.toml\n  = help: `lacewing new` makes a directory with a manifest\n".to_owned())
    );
    assert_eq!(
        said(&[arg(&dir.path().join("none.wasm"))]),
        (Some(4), "error: there is no file `DIR/none.wasm`\n --> DIR/none.wasm\n".to_owned())
    );
    assert_eq!(
        said(&["--host", arg(&dir.path().join("host.toml"))]),
        (Some(4), "error: there is no such file\n --> DIR/host.toml\n".to_owned())
    );
}

/// Puts a file where another is, in one step.
pub(crate) fn replace(new: &Path, old: &Path) {
    let staged = old.with_extension("new");
    fs::copy(new, &staged).unwrap();
    fs::rename(staged, old).unwrap();
}

/// Clients that ask without pause, each on one connection.
struct Load {
    clients: JoinSet<Vec<String>>,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
}

impl Load {
    fn start(address: std::net::SocketAddr) -> Load {
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (stop, answers) = (stop.clone(), answers.clone());
            clients.spawn(async move {
                let socket = TcpStream::connect(address).await.unwrap();
                let handshake = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await;
                let (mut client, connection) = handshake.unwrap();
                tokio::spawn(connection);
                let mut kinds = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let request = Request::get("/").header("host", "localhost");
                    let request = request.body(Empty::<Bytes>::new()).unwrap();
                    client.ready().await.unwrap();
                    let reply = Reply::read(client.send_request(request).await.unwrap()).await;
                    let kind = format!("{} {} {}", reply.status, reply.outcome(), reply.text());
                    if !kinds.contains(&kind) {
                        kinds.push(kind);
                    }
                    answers.fetch_add(1, Ordering::Relaxed);
                }
                kinds
            });
        }
        Load { clients, stop, answers }
    }

    /// Waits for answers to requests that are sent from now on.
    async fn more(&self) {
        let enough = self.answers.load(Ordering::Relaxed) + 20;
        eventually("the clients are answered", || self.answers.load(Ordering::Relaxed) >= enough)
            .await;
    }

    /// Stops, and gives the different answers that there were.
    async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut kinds = self.clients.join_all().await.concat();
        kinds.sort();
        kinds.dedup();
        kinds
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_swaps_under_load_fail_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let component = dir.path().join("x.wasm");
    let guests: [PathBuf; 2] = [guest("portable-02"), guest("portable-03")];
    fs::copy(&guests[0], &component).unwrap();
    let manifest = "app = \"swapped\"\n[functions.it]\nroutes = [\"/\"]\ncomponent = \"x.wasm\"\n";
    fs::write(dir.path().join("lacewing.toml"), manifest).unwrap();
    let up = Up::start(&[arg(dir.path()), "--watch", "--request-log=none"]);
    up.line("Watching");
    let load = Load::start(up.address);
    for swap in 0..20 {
        load.more().await;
        let (new, greeting) = match swap % 2 {
            0 => (&guests[1], "hello from 0.3"),
            _ => (&guests[0], "hello from 0.2"),
        };
        replace(new, &component);
        let line = up.nth_line("Swapped local/swapped/it@", swap);
        assert!(line.contains(" in ") && line.ends_with(" ms"), "{line}");
        assert_eq!(get(up.address, "localhost", "/").await.text(), greeting);
    }
    load.more().await;
    assert_eq!(load.stop().await, ["200 ok hello from 0.2", "200 ok hello from 0.3"]);
    // So does a change of the manifest.
    let more = manifest.replace("[\"/\"]", "[\"/\", \"/more\"]");
    fs::write(dir.path().join("lacewing.toml"), more).unwrap();
    up.nth_line("Swapped local/swapped/it@", 20);
    assert_eq!(get(up.address, "localhost", "/more").await.text(), "hello from 0.2");
    // A revision that cannot be served is refused, and the old revision stays.
    fs::write(dir.path().join("x.new"), "not wasm").unwrap();
    fs::rename(dir.path().join("x.new"), &component).unwrap();
    let refusal = up.line("error: function it of app swapped");
    assert!(refusal.contains("x.wasm): "), "{refusal}");
    up.line("the previous revisions stay in place");
    assert_eq!(get(up.address, "localhost", "/").await.text(), "hello from 0.2");
    up.signal("TERM");
    assert_eq!(up.exit().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_source_is_built_and_swapped() {
    let dir = tempfile::tempdir().unwrap();
    let hello = root().join("examples/hello");
    fs::create_dir(dir.path().join("src")).unwrap();
    let source = fs::read_to_string(hello.join("src/lib.rs")).unwrap();
    let handler = source.split("#[cfg(test)]").next().unwrap();
    fs::write(dir.path().join("src/lib.rs"), handler).unwrap();
    fs::write(
        dir.path().join("Cargo.toml"),
        format!(
            "[package]\nname = \"watched\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[dependencies]\nlacewing-sdk = {{ path = {:?} }}\n[workspace]\n",
            root().join("guest-sdk").canonicalize().unwrap()
        ),
    )
    .unwrap();
    fs::copy(root().join("Cargo.lock"), dir.path().join("Cargo.lock")).unwrap();
    fs::write(
        dir.path().join("lacewing.toml"),
        "app = \"watched\"\n[functions.it]\nroutes = [\"/\"]\n",
    )
    .unwrap();
    // Where the templates are built: the SDK is compiled once for all of them, and not again by the
    // next run.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("templates/target");
    fs::create_dir_all(&target).unwrap();
    std::os::unix::fs::symlink(&target, dir.path().join("target")).unwrap();
    let up = Up::start(&[arg(dir.path()), "--watch", "--request-log=none"]);
    assert_eq!(get(up.address, "localhost", "/").await.text(), "Hello, world!\n");
    let load = Load::start(up.address);

    fs::write(dir.path().join("src/lib.rs"), handler.replace("world", "watcher")).unwrap();
    up.line("Swapped local/watched/it@");
    assert_eq!(get(up.address, "localhost", "/").await.text(), "Hello, watcher!\n");

    fs::write(dir.path().join("src/lib.rs"), handler.replace("&'static str", "&'static String"))
        .unwrap();
    up.line("the previous revisions stay in place");
    assert!(up.said().contains("src/lib.rs:"), "{}", up.said());
    assert_eq!(get(up.address, "localhost", "/").await.text(), "Hello, watcher!\n");

    // A component has one handler of a kind, `async` or not, wherever they stand.
    let second = "mod other {\n    #[lacewing_sdk::http]\n    async fn other() {}\n}\n";
    fs::write(dir.path().join("src/lib.rs"), format!("{handler}{second}")).unwrap();
    up.line("error: symbol `a component has one HTTP handler` is already defined");
    up.nth_line("the previous revisions stay in place", 1);

    fs::write(dir.path().join("src/lib.rs"), handler.replace("world", "again")).unwrap();
    up.nth_line("Swapped local/watched/it@", 1);
    assert_eq!(get(up.address, "localhost", "/").await.text(), "Hello, again!\n");
    load.more().await;
    // Meanwhile nobody was told anything but what one of the three revisions says.
    let said = ["again", "watcher", "world"].map(|name| format!("200 ok Hello, {name}!\n"));
    assert_eq!(load.stop().await, said);
}

/// A host file's directory: two apps with a component each.
struct HostDir {
    dir: tempfile::TempDir,
}

impl HostDir {
    fn new() -> HostDir {
        let dir = tempfile::tempdir().unwrap();
        for (app, name) in [("red", "portable-02"), ("blue", "portable-03")] {
            fs::create_dir(dir.path().join(app)).unwrap();
            fs::copy(guest(name), dir.path().join(app).join("x.wasm")).unwrap();
            let manifest = format!(
                "app = \"{app}\"\n[functions.it]\nroutes = [\"/{{*path}}\", \"/\"]\ncomponent = \"x.wasm\"\n"
            );
            fs::write(dir.path().join(app).join("lacewing.toml"), manifest).unwrap();
        }
        HostDir { dir }
    }

    fn write(&self, text: &str) -> PathBuf {
        let path = self.dir.path().join("host.toml");
        fs::write(&path, text).unwrap();
        path
    }

    fn app(&self, app: &str) -> PathBuf {
        self.dir.path().join(app)
    }
}

const TENANTS: &str = r#"
[tenants.red]
hosts = ["red.test"]
apps = ["red"]

[tenants.blue]
hosts = ["blue.test", "*.blue.test"]
apps = ["blue"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn tenants_have_their_host_names_and_a_file_that_is_read_again() {
    let hosts = HostDir::new();
    let up = Up::start(&["--host", arg(&hosts.write(TENANTS))]);
    let answer = async |host: &str| {
        let reply = get(up.address, host, "/").await;
        if reply.status == 200 { reply.text().to_owned() } else { reply.outcome().to_owned() }
    };
    let (red, blue) = ("hello from 0.2", "hello from 0.3");
    let all = async || {
        [
            answer("red.test").await,
            answer("blue.test").await,
            answer("x.blue.test:80").await,
            answer("green.test").await,
        ]
    };
    assert_eq!(all().await, [red, blue, blue, "no_route"]);
    let reloaded = async || {
        let metrics = get(up.admin, "localhost", "/metrics").await.text().to_owned();
        let figure = |name: &str| {
            let name = format!("lacewing_config_last_reload_{name} ");
            metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok())
        };
        assert!(figure("success_timestamp_seconds") > Some(0), "{metrics}");
        figure("successful").unwrap()
    };
    assert_eq!(reloaded().await, 1);

    // One app changes, a tenant comes, and the other tenant is as it was.
    replace(&guest("portable-02"), &hosts.app("blue").join("x.wasm"));
    hosts.write(&format!(
        "{TENANTS}\n[tenants.green]\nhosts = [\"green.test\"]\napps = [\"red\"]\n"
    ));
    up.signal("HUP");
    // Each when it is ready.
    let swapped = |function: &str| {
        let said = up.said();
        said.lines().any(|line| line.starts_with("Swapped ") && line.contains(function))
    };
    eventually("both are swapped in", || swapped("blue/blue/it@") && swapped("green/red/it@"))
        .await;
    assert!(!swapped(" red/red/it@"), "{}", up.said());
    assert_eq!(all().await, [red, red, red, red]);

    // A host file that is wrong is refused whole: the change of the other tenant is not taken
    // either.
    replace(&guest("portable-03"), &hosts.app("blue").join("x.wasm"));
    hosts.write(&TENANTS.replace("apps = [\"red\"]", "apps = [\"red\"]\nquotas = {}"));
    up.signal("HUP");
    up.line("unknown key `quotas` in `[tenants.red]`");
    up.line("the previous revisions stay in place");
    assert_eq!(all().await, [red, red, red, red]);
    assert_eq!(reloaded().await, 0);

    // An app that cannot be served stays as it was, and the others are taken; a tenant goes.
    fs::write(hosts.app("red").join("x.wasm"), "not wasm").unwrap();
    hosts.write(TENANTS);
    up.signal("HUP");
    up.line("error: function it of app red");
    up.line("warning: 1 app refused: red/red (its previous revisions stay in place)");
    up.line("Removed green/red/it@");
    assert_eq!(all().await, [red, blue, blue, "no_route"]);
    assert_eq!(reloaded().await, 0);

    // Put right, it is taken too.
    replace(&guest("portable-03"), &hosts.app("red").join("x.wasm"));
    up.signal("HUP");
    up.line("Swapped red/red/it@");
    assert_eq!(all().await, [blue, blue, blue, "no_route"]);

    up.signal("HUP");
    up.line("Unchanged nothing to swap");
    assert_eq!(reloaded().await, 1);
    up.signal("TERM");
    assert_eq!(up.exit().code(), Some(0));
}

/// The mistakes of a tenant's developer: each takes the app's directory, which is fine, and gives
/// its error's text.
type Mistake = (&'static str, fn(&Path), &'static str);

const MISTAKES: [Mistake; 5] = [
    (
        "a component that is cut short",
        |app| {
            let bytes = fs::read(app.join("x.wasm")).unwrap();
            fs::write(app.join("x.wasm"), &bytes[..bytes.len() / 2]).unwrap();
        },
        "error: function it of app red (",
    ),
    (
        "a manifest that is none",
        |app| fs::write(app.join("lacewing.toml"), "app = red").unwrap(),
        "error: this is not TOML: ",
    ),
    (
        "a key that is unknown",
        |app| {
            let path = app.join("lacewing.toml");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text + "colour = 1\n").unwrap();
        },
        "error: unknown key `colour` in `[functions.it]`",
    ),
    (
        "a limit over a cap",
        |app| {
            let path = app.join("lacewing.toml");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text + "limits.memory_mib = 4096\n").unwrap();
        },
        "error: `memory_mib` of function `it` is 4096, over the host's cap of 256",
    ),
    ("no files", |app| fs::remove_dir_all(app).unwrap(), "error: there is no such file"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_app_does_not_keep_others_from_being_served() {
    for (what, breaks, said) in MISTAKES {
        let hosts = HostDir::new();
        let project = hosts.write(TENANTS);
        breaks(&hosts.app("red"));
        // Nothing of it is there, and nothing is pretended to be.
        let up = Up::start(&["--host", arg(&project)]);
        up.line(said);
        let refused = up.line("warning: 1 app refused: ");
        assert!(refused.ends_with(" (not served)") && refused.contains("red"), "{what}: {refused}");
        assert_eq!(get(up.address, "blue.test", "/").await.text(), "hello from 0.3", "{what}");
        let reply = get(up.address, "red.test", "/").await;
        assert_eq!((reply.status, reply.outcome()), (404, "no_route"), "{what}");
        assert_eq!(get(up.admin, "localhost", "/readyz").await.text(), "ready\n");
        up.signal("TERM");
        let (status, said) = up.wait();
        assert_eq!(status.code(), Some(0), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_app_stays_as_it_was_and_does_not_keep_others_from_being_swapped() {
    for (what, breaks, said) in MISTAKES {
        let hosts = HostDir::new();
        let up = Up::start(&["--host", arg(&hosts.write(TENANTS))]);
        let answers = async || {
            let [red, blue] = ["red.test", "blue.test"].map(|host| get(up.address, host, "/"));
            (red.await.text().to_owned(), blue.await.text().to_owned())
        };
        let (old, new) = ("hello from 0.2".to_owned(), "hello from 0.3".to_owned());
        assert_eq!(answers().await, (old.clone(), new.clone()));
        breaks(&hosts.app("red"));
        replace(&guest("portable-02"), &hosts.app("blue").join("x.wasm"));
        up.signal("HUP");
        up.line("Swapped blue/blue/it@");
        up.line(said);
        up.line("warning: 1 app refused: red/red (its previous revisions stay in place)");
        assert_eq!(answers().await, (old.clone(), old.clone()), "{what}");
        // It is not forgotten that it is refused, and it can be put right.
        up.signal("HUP");
        up.nth_line("warning: 1 app refused: red/red", 1);
        let fine = HostDir::new();
        fs::create_dir_all(hosts.app("red")).unwrap();
        for file in ["lacewing.toml", "x.wasm"] {
            fs::copy(fine.app("red").join(file), hosts.app("red").join(file)).unwrap();
        }
        replace(&guest("portable-03"), &hosts.app("red").join("x.wasm"));
        up.signal("HUP");
        up.line("Swapped red/red/it@");
        assert_eq!(answers().await, (new, old), "{what}");
    }
}

#[test]
fn a_host_that_has_nothing_left_to_serve_does_not_start() {
    let hosts = HostDir::new();
    let project = hosts.write(TENANTS);
    for app in ["red", "blue"] {
        fs::write(hosts.app(app).join("x.wasm"), "not wasm").unwrap();
    }
    let up = Up::spawn(&["--host", arg(&project)], |_| {});
    let (status, said) = up.wait();
    assert_eq!(status.code(), Some(4), "{said}");
    for line in [
        "error: function it of app red (",
        "error: function it of app blue (",
        "error: every app of the host file is refused: nothing is left to serve",
    ] {
        assert!(said.lines().any(|have| have.starts_with(line)), "{line} is not in\n{said}");
    }
    // One app that was asked for by itself is all there is.
    let up = Up::spawn(&[arg(&hosts.app("red"))], |_| {});
    let (status, said) = up.wait();
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("\nerror: function it of app red ("), "{said}");
    assert!(!said.contains("refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_not_built_does_not_keep_others_from_being_served() {
    let hosts = HostDir::new();
    let manifest = "app = \"red\"\n[functions.it]\nroutes = [\"/\"]\nbuild = { command = \"exit 7\", output = \"y.wasm\" }\n";
    fs::write(hosts.app("red").join("lacewing.toml"), manifest).unwrap();
    let up = Up::start(&["--host", arg(&hosts.write(TENANTS))]);
    up.line("warning: 1 app refused: red/red (not served)");
    assert!(up.said().contains("exit 7"), "{}", up.said());
    assert_eq!(get(up.address, "blue.test", "/").await.text(), "hello from 0.3");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_start_do_not_change() {
    let hosts = HostDir::new();
    let up = Up::start(&["--host", arg(&hosts.write(TENANTS))]);
    hosts.write(&format!("max_sandboxes = 7\ngrace_period_s = 3\n{TENANTS}"));
    up.signal("HUP");
    up.line("warning: the changes of `max_sandboxes`, `grace_period_s` take effect when the host is started again");
    up.line("Unchanged nothing to swap");

    hosts.write(&format!("{TENANTS}\n[caps]\nmemory_mib = 512\n"));
    let manifest = hosts.app("red").join("lacewing.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, format!("{text}\n[functions.it.limits]\nmemory_mib = 300\n")).unwrap();
    up.signal("HUP");
    let refusal = up.line("error: function it of app red");
    assert!(
        refusal.ends_with("its limit `memory_mib` is 300, and the sandboxes of this host were made for 256: start the host again"),
        "{refusal}"
    );
    assert_eq!(get(up.address, "red.test", "/").await.text(), "hello from 0.2");
}

#[tokio::test(flavor = "multi_thread")]
async fn much_that_streams_takes_little_memory() {
    const MIB: u64 = 1 << 20;
    let app = tempfile::tempdir().unwrap();
    for name in ["portable-02", "portable-03"] {
        // The time that the bytes take is not what is asked about.
        let manifest = format!(
            "app = \"echo\"\n[functions.echo]\ncomponent = {:?}\nroutes = [\"/{{*path}}\"]\nlimits = {{ cpu_ms = 60000, deadline_ms = 120000 }}\n",
            guest(name)
        );
        fs::write(app.path().join("lacewing.toml"), manifest).unwrap();
        let up = Up::start(&[arg(app.path()), "--request-log=errors"]);
        let echo = async |mib: u64| {
            let (sender, body) = upload();
            let request = Request::builder().method(Method::POST).uri("/echo");
            let request = request.header("host", "localhost").body(body).unwrap();
            let sending = tokio::spawn(sender.mebibytes(mib));
            let mut answer = exchange(up.address, request).await.into_body();
            assert_eq!(drain(&mut answer).await, Some(mib * MIB), "{name}:\n{}", up.said());
            sending.await.unwrap();
        };
        echo(4).await;
        let before = up.memory_bytes("VmRSS:");
        echo(64).await;
        let grown = up.memory_bytes("VmHWM:").saturating_sub(before);
        assert!(grown < 32 * MIB, "{name}: {} KiB", grown / 1024);
    }
}
