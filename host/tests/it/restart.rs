//! A host that starts again takes what was deployed from its ledger, as far as nothing has changed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use lacewing::{
    control::{Components, Host, Ledger},
    file::Stamp,
    telemetry::{InvocationLog, Sink},
};

use crate::{
    client::get,
    components::{Core, write_component},
    harness::{Served, eventually, guest},
    process::Up,
    residency::{ask, load, write_many},
    upstream::Upstream,
};

const BODIES: [&str; 3] = ["first", "second", "third"];

/// Waits until the files are old enough that a change would show.
async fn settled(root: &Path) {
    for name in ["host.toml", "app.toml", "0.wasm", "1.wasm", "2.wasm"] {
        let path = root.join(name);
        let stamp = Stamp::of_path(&path).unwrap();
        eventually("the file has settled", || stamp.is_settled(SystemTime::now())).await;
    }
}

/// Deploys what the files say, after the ledger if there is one, and writes another.
async fn deploy(root: &Path) -> (Arc<Host>, Sink) {
    let (host, sink, refused) = deploy_after_ledger(root).await;
    assert!(refused.is_empty(), "{refused:?}");
    (host, sink)
}

/// The same, with what is refused.
async fn deploy_what_can_be(root: &Path) -> (Arc<Host>, Vec<String>) {
    let (host, _, refused) = deploy_after_ledger(root).await;
    (host, refused)
}

async fn deploy_after_ledger(root: &Path) -> (Arc<Host>, Sink, Vec<String>) {
    let began = SystemTime::now();
    let file = load(root);
    let (project, settings) = (root.join("host.toml"), file.settings.clone());
    let ledger = Ledger::find(&settings.cache_dir, &project);
    let sink = Sink::memory();
    let host = Host::new(settings.clone(), sink.clone(), InvocationLog::All).unwrap();
    let refused = host.deploy_after(&file, &Components::new(), ledger.as_ref(), &mut |_| {}).await;
    let refused = refused.err().unwrap_or_default();
    host.remember(&project, &host.deployed(), &file, settings, Vec::new(), began).unwrap();
    (host, sink, refused.iter().map(ToString::to_string).collect())
}

fn ledger(root: &Path) -> Option<Ledger> {
    Ledger::find(&root.join("cache"), &root.join("host.toml"))
}

/// The only ledger in the cache.
fn ledger_file(root: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(root.join("cache")).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().find(|path| path.extension().is_some_and(|e| e == "ledger"))
}

/// Looks into the cache, and compilations, since a host's start.
fn looks(host: &Host) -> (u64, u64) {
    let cache = &host.metrics().host().artifact_cache;
    (cache.hits.get(), cache.misses.get() + cache.rejected.get())
}

fn ids(host: &Host) -> Vec<String> {
    host.deployed().revisions.iter().map(|revision| revision.origin.to_string()).collect()
}

async fn many(functions: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write_many(dir.path(), functions, "limits = { memory_mib = 32 }");
    settled(dir.path()).await;
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_restart_looks_at_no_component() {
    let dir = many(30).await;
    let (first, _) = deploy(dir.path()).await;
    assert_eq!(looks(&first), (0, 3));
    let ledger = ledger(dir.path()).unwrap();
    assert!(ledger.is_current());
    assert_eq!(ledger.settings(), first.settings());
    let sink = Sink::memory();
    let again = Host::new(ledger.settings().clone(), sink.clone(), InvocationLog::All).unwrap();
    again.restore(&ledger).unwrap();
    assert_eq!(looks(&again), (0, 0));
    assert_eq!(again.residency().resident(), 0);
    assert_eq!(ids(&again), ids(&first));
    let revision = again.deployed().revisions[7].clone();
    assert_eq!(revision.spec.limits.memory_bytes, 32 << 20);
    assert_eq!(revision.routes[0].to_string(), "/f7");
    let served = Served::host(again, sink, dir).await;
    for index in [0, 7, 29, 7] {
        let reply = ask(&served, index).await;
        assert_eq!((reply.status, reply.text()), (200, BODIES[index % 3]));
    }
    assert_eq!(looks(&served.host), (3, 0));
    served.assert_idle().await;
}

/// Adds a line to the host file, whose last table is the tenant's.
fn append(root: &Path, line: &str) {
    let path = root.join("host.toml");
    let host = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{host}{line}\n")).unwrap();
}

/// The operator's rules for names and outbound HTTP hold from a restart's first request on.
#[tokio::test(flavor = "multi_thread")]
async fn names_and_bounds_survive() {
    let dir = many(1).await;
    let upstream = Upstream::start("reached").await;
    let url = format!("http://{}", upstream.address);
    fs::copy(guest("portable-02"), dir.path().join("0.wasm")).unwrap();
    fs::write(
        dir.path().join("app.toml"),
        format!("app = \"many\"\n[functions.f0]\ncomponent = \"0.wasm\"\nroutes = [\"/{{*path}}\"]\ngrants.http = [\"{url}\", \"http://127.0.0.2:*\"]\n"),
    )
    .unwrap();
    append(
        dir.path(),
        "egress.networks = [\"127.0.0.0/8\"]\negress.hosts = [\"127.0.0.1\", \"127.0.0.2\"]\n[tenants.all]\nhosts = [\"*\"]\napps = [\"app.toml\"]\negress.networks = [\"127.0.0.0/8\"]\n[tenants.none]\nhosts = [\"login.test\"]",
    );
    settled(dir.path()).await;
    deploy(dir.path()).await;
    let ledger = ledger(dir.path()).unwrap();
    assert!(ledger.is_current());
    let sink = Sink::memory();
    let again = Host::new(ledger.settings().clone(), sink.clone(), InvocationLog::All).unwrap();
    again.restore(&ledger).unwrap();
    let served = Served::host(again, sink, dir).await;
    let path = format!("/fetch/{url}/");
    for host in ["many.test", "elsewhere"] {
        assert_eq!(get(served.address, host, &path).await.text(), "200 reached", "{host}");
    }
    for host in ["login.test", "LOGIN.test.:80"] {
        let reply = get(served.address, host, &path).await;
        assert_eq!((reply.status, reply.outcome()), (404, "no_route"), "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_a_manifest_says_survives() {
    let dir = many(1).await;
    fs::write(
        dir.path().join("app.toml"),
        r#"app = "many"
defaults.env = { REGION = "eu" }
[functions.f0]
component = "0.wasm"
env = { KEY = "value" }
limits = { memory_mib = 16, fuel = 1000000, rate_per_s = 7, concurrency = 3, response_body_kib = 9 }
grants = { http = ["https://*.example.com:8443", "http://127.0.0.1:9000", "*://b.org"], networks = ["10.0.0.0/8"] }
cors = { origins = ["https://a.com", "https://*.b.com:444"], methods = ["GET", "PUT"], headers = ["x-a"], expose = ["x-b"], credentials = true, max_age_s = 60 }
routes = ["/every/{id}", { path = "/some/{*rest}", methods = ["GET", "DELETE"], host = "many.test" }]
"#,
    )
    .unwrap();
    append(dir.path(), "egress.networks = [\"10.0.0.0/8\", \"127.0.0.0/8\"]");
    settled(dir.path()).await;
    let (first, _) = deploy(dir.path()).await;
    let ledger = ledger(dir.path()).unwrap();
    let again = Host::new(ledger.settings().clone(), Sink::nothing(), InvocationLog::None).unwrap();
    again.restore(&ledger).unwrap();
    let (first, again) = (first.deployed(), again.deployed());
    let (first, again) = (&first.revisions[0], &again.revisions[0]);
    assert_eq!(first.spec.limits, again.spec.limits);
    assert_eq!(first.spec.settings.env, again.spec.settings.env);
    assert_eq!(first.spec.settings.policy.grants(), again.spec.settings.policy.grants());
    assert_eq!((first.routes.len(), &first.routes), (2, &again.routes));
    assert_eq!(first.cors, again.cors);
    assert_eq!(first.exports(), again.exports());
    assert_eq!(first.component.digest, again.component.digest);
    assert_eq!(first.origin.to_string(), again.origin.to_string());
    assert_eq!(again.spec.limits.rate_per_s, Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_component_is_noticed_and_only_its_functions_are_deployed_anew() {
    let dir = many(6).await;
    let (first, _) = deploy(dir.path()).await;
    let other = Core { body: "changed", ..Core::default() };
    write_component(dir.path(), "1.wasm", &other.lean());
    assert!(!ledger(dir.path()).unwrap().is_current());
    settled(dir.path()).await;
    let (again, sink) = deploy(dir.path()).await;
    assert_eq!(looks(&again), (0, 1), "only the other one was compiled, and none was loaded");
    let (before, after) = (ids(&first), ids(&again));
    let same: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a == b).collect();
    assert_eq!(same, [true, false, true, true, false, true]);
    assert!(ledger(dir.path()).unwrap().is_current());
    let served = Served::host(again, sink, dir).await;
    assert_eq!(ask(&served, 4).await.text(), "changed");
    assert_eq!(ask(&served, 5).await.text(), "third");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_was_only_touched_is_read_and_not_started() {
    let dir = many(3).await;
    deploy(dir.path()).await;
    let path = dir.path().join("2.wasm");
    fs::write(&path, fs::read(&path).unwrap()).unwrap();
    assert!(!ledger(dir.path()).unwrap().is_current());
    settled(dir.path()).await;
    let (again, _) = deploy(dir.path()).await;
    assert_eq!(looks(&again), (0, 0));
    assert!(ledger(dir.path()).unwrap().is_current());
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_apps_are_tried_again_and_the_others_start_from_the_ledger() {
    let dir = many(3).await;
    fs::create_dir(dir.path().join("bad")).unwrap();
    let manifest = "app = \"bad\"\n[functions.it]\ncomponent = \"it.wasm\"\nroutes = [\"/bad\"]\n";
    fs::write(dir.path().join("bad/lacewing.toml"), manifest).unwrap();
    fs::write(dir.path().join("bad/it.wasm"), "not wasm").unwrap();
    let host = fs::read_to_string(dir.path().join("host.toml")).unwrap();
    let more = "[tenants.bad]\nhosts = [\"bad.test\"]\napps = [\"bad\"]\n";
    fs::write(dir.path().join("host.toml"), host + more).unwrap();
    settled(dir.path()).await;
    for (functions, misses) in [(3, 3), (3, 0)] {
        let (host, refused) = deploy_what_can_be(dir.path()).await;
        assert!(refused[0].starts_with("function it of app bad ("), "{refused:?}");
        assert_eq!((looks(&host), ids(&host).len()), ((0, misses), functions));
        assert!(!ledger(dir.path()).unwrap().is_current());
    }
    let fine = Core { body: "fine", ..Core::default() };
    write_component(&dir.path().join("bad"), "it.wasm", &fine.lean());
    let it = dir.path().join("bad/it.wasm");
    let is_settled = || Stamp::of_path(&it).unwrap().is_settled(SystemTime::now());
    eventually("it has settled", is_settled).await;
    let (host, refused) = deploy_what_can_be(dir.path()).await;
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!((looks(&host), ids(&host).len()), ((0, 1), 4));
    let ledger = ledger(dir.path()).unwrap();
    assert!(ledger.is_current());
    // The ledger also tells the apps apart.
    let again = Host::new(ledger.settings().clone(), Sink::nothing(), InvocationLog::None).unwrap();
    again.restore(&ledger).unwrap();
    fs::write(dir.path().join("bad/lacewing.toml"), "none").unwrap();
    let file = load(dir.path());
    assert_eq!(file.tenants[1].refused.len(), 1);
    again.deploy(&file, &Components::new()).await.unwrap();
    assert_eq!(ids(&again), ids(&host));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_manifest_or_host_file_is_noticed() {
    for name in ["app.toml", "host.toml"] {
        let dir = many(2).await;
        deploy(dir.path()).await;
        let path = dir.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        // As long as before, and with its old time: the system's own mark of a change tells.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, text.replace("/f1", "/g1").replace("many.test", "more.test")).unwrap();
        fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert!(!ledger(dir.path()).unwrap().is_current(), "{name}");
        fs::remove_file(&path).unwrap();
        assert!(!ledger(dir.path()).unwrap().is_current(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_only_just_written_does_not_count_as_known() {
    let dir = many(2).await;
    let file = load(dir.path());
    let began = SystemTime::now() - Duration::from_secs(3600);
    let host = Host::new(file.settings.clone(), Sink::nothing(), InvocationLog::None).unwrap();
    host.deploy(&file, &Components::new()).await.unwrap();
    let (project, settings) = (dir.path().join("host.toml"), file.settings.clone());
    host.remember(&project, &host.deployed(), &file, settings, Vec::new(), began).unwrap();
    assert!(!ledger(dir.path()).unwrap().is_current());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_tampered_with_is_ignored() {
    let dir = many(2).await;
    deploy(dir.path()).await;
    let cache = dir.path().join("cache");
    let path = ledger_file(dir.path()).unwrap();
    let good = fs::read(&path).unwrap();
    assert!(ledger(dir.path()).is_some());
    for at in [0, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        assert!(ledger(dir.path()).is_none(), "at {at}");
    }
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(ledger(dir.path()).is_none());
    // Another project's, under this one's name.
    let other = Ledger::find(&cache, &dir.path().join("other.toml"));
    assert!(other.is_none());
    // And it starts all the same.
    let (again, _) = deploy(dir.path()).await;
    assert_eq!(looks(&again), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_starts_from_its_ledger_and_notices_changes() {
    let dir = many(4).await;
    let project = dir.path().join("host.toml");
    let (project, cache) = (project.to_str().unwrap(), dir.path().join("cache"));
    let cache = cache.to_str().unwrap();
    let start = || Up::start(&["--host", project, "--cache-dir", cache]);
    let metrics = async |up: &Up| get(up.admin, "localhost", "/metrics").await.text().to_owned();
    let served = async |path: &str, misses: u64, hits: u64| {
        let up = start();
        let reply = get(up.address, "many.test", path).await;
        assert_eq!((reply.status, reply.text()), (200, "second"));
        let text = metrics(&up).await;
        for (result, count) in [("miss", misses), ("hit", hits)] {
            let line =
                format!("lacewing_artifact_cache_lookups_total{{result=\"{result}\"}} {count}");
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        }
        // A file that another program has written is not read here.
        assert!(ledger(dir.path()).is_none());
        eventually("the ledger is written", || ledger_file(dir.path()).is_some()).await;
        up.signal("TERM");
        let (status, said) = up.wait();
        assert_eq!(status.code(), Some(0), "{said}");
    };
    served("/f1", 3, 0).await;
    served("/f1", 0, 1).await;
    let manifest = dir.path().join("app.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("/f1", "/g1")).unwrap();
    settled(dir.path()).await;
    served("/g1", 0, 1).await;
}
