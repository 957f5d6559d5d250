//! Few functions are in memory, and all of them answer.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, header::HOST};
use http_body_util::Full;
use lacewing::{
    config::HostFile,
    control::{Components, Host},
    function::{Residency, Revision},
};

use crate::{
    bad_components::replace,
    components::{Core, write_component},
    harness::{Reply, Served, compiler, eventually},
};

/// More than the coarsest tick of the clock that uses are ordered by.
const CLOCK: Duration = Duration::from_millis(20);

const HOST_NAME: &str = "many.test";

/// A host of one tenant, whose functions have one of a few components each: function `f<n>` answers
/// `/f<n>` with what the component `n` modulo their number says.
pub(crate) struct Many {
    pub(crate) served: Served,
    pub(crate) root: PathBuf,
    pub(crate) file: HostFile,
}

const BODIES: [&str; 3] = ["first", "second", "third"];

/// The files of [`Many`]: `host.toml`, `app.toml`, a cache of its own, and the components `0.wasm`
/// to `2.wasm`.
pub(crate) fn write_many(root: &Path, functions: usize, limits: &str) {
    for (index, body) in BODIES.into_iter().enumerate() {
        let core = Core { body, ..Core::default() };
        write_component(root, &format!("{index}.wasm"), &core.lean());
    }
    let mut app = "app = \"many\"\n".to_owned();
    for index in 0..functions {
        let component = index % BODIES.len();
        write!(
            app,
            "[functions.f{index}]\ncomponent = \"{component}.wasm\"\nroutes = [\"/f{index}\"]\n{limits}\n"
        )
        .unwrap();
    }
    fs::write(root.join("app.toml"), app).unwrap();
    // More than an app may have by default take the operator's leave.
    let caps =
        if functions > 1000 { format!("caps.functions = {functions}\n") } else { String::new() };
    let host = format!(
        "cache_dir = \"cache\"\nadmin = \"off\"\nmax_sandboxes = 16\n{caps}[tenants.t]\nhosts = [\"{HOST_NAME}\"]\napps = [\"app.toml\"]\n"
    );
    fs::write(root.join("host.toml"), host).unwrap();
}

pub(crate) fn load(root: &Path) -> HostFile {
    let loaded = HostFile::load(&root.join("host.toml"));
    let (mut file, warnings) = loaded.unwrap_or_else(|findings| panic!("{findings:?}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    file.settings.compilation.program = compiler();
    file
}

impl Many {
    async fn with(functions: usize, change: impl FnOnce(&mut HostFile)) -> Many {
        let dir = tempfile::tempdir().unwrap();
        write_many(dir.path(), functions, "");
        Many::of(dir, change).await
    }

    async fn of(dir: tempfile::TempDir, change: impl FnOnce(&mut HostFile)) -> Many {
        let root = dir.path().to_owned();
        let mut file = load(&root);
        change(&mut file);
        Many { served: Served::file(file.clone(), dir).await, root, file }
    }

    fn residency(&self) -> &Arc<Residency> {
        self.served.host.residency()
    }

    fn revision(&self, index: usize) -> Arc<Revision> {
        self.served.host.deployed().revisions[index].clone()
    }

    async fn ask(&self, index: usize) -> Reply {
        ask(&self.served, index).await
    }

    /// Asks others until a function is not resident.
    async fn evict(&self, index: usize) {
        let revision = self.revision(index);
        for other in (0..self.served.host.deployed().revisions.len()).filter(|n| *n != index) {
            assert_eq!(self.ask(other).await.status, 200);
        }
        assert!(!is_resident(&self.served.host, &revision));
    }

    fn counted(&self) -> Counted {
        let metrics = &self.served.host.metrics().host();
        let (residency, cache) = (&metrics.residency, &metrics.artifact_cache);
        Counted {
            loads: residency.loads.get(),
            evictions: residency.evictions.get(),
            recompilations: residency.recompilations.get(),
            hits: cache.hits.get(),
            misses: cache.misses.get(),
            rejected: cache.rejected.get(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    loads: u64,
    evictions: u64,
    recompilations: u64,
    hits: u64,
    misses: u64,
    rejected: u64,
}

pub(crate) async fn ask(served: &Served, index: usize) -> Reply {
    let request = Request::get(format!("/f{index}")).header(HOST, HOST_NAME);
    Reply::read(served.exchange(request.body(Full::new(Bytes::new())).unwrap()).await).await
}

fn is_resident(host: &Host, revision: &Arc<Revision>) -> bool {
    // One more for a moment: a program is counted before another is evicted.
    assert!(host.residency().resident() <= u64::from(host.settings().residency.max_functions) + 1);
    revision.resident().is_some()
}

/// The artifacts of a cache folder.
fn artifacts(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("cache")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_functions_of_three_components_are_served_by_sixteen_programs() {
    let many = Many::with(2_000, |file| file.settings.residency.max_functions = 16).await;
    assert_eq!(artifacts(&many.root).len(), 3);
    let before = many.counted();
    assert_eq!((before.misses, before.loads), (3, 0), "one compilation for each component");
    for index in (0..2_000).step_by(37).chain([0, 1_999]) {
        let reply = many.ask(index).await;
        assert_eq!((reply.status, reply.text()), (200, BODIES[index % 3]), "f{index}");
    }
    let after = many.counted();
    assert!(after.loads >= 50 && after.misses == 3, "{after:?}");
    eventually("no more are resident than may be", || many.residency().resident() <= 16).await;
    many.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eviction_under_load_loses_no_request() {
    let many = Many::with(9, |file| file.settings.residency.max_functions = 2).await;
    let client = async |client: usize| {
        for turn in 0..60 {
            let index = (client * 5 + turn * 7) % 9;
            let reply = many.ask(index).await;
            assert_eq!((reply.status, reply.text()), (200, BODIES[index % 3]), "f{index}");
        }
    };
    join_all((0..4).map(client)).await;
    assert!(many.counted().evictions > 20, "{:?}", many.counted());
    many.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_that_was_used_longest_ago_goes_first() {
    let many = Many::with(5, |file| file.settings.residency.max_functions = 3).await;
    let resident = |index: usize| many.revision(index).resident().is_some();
    for index in [0, 1, 2, 0, 3] {
        let before = Instant::now();
        eventually("the clock has gone on", || before.elapsed() > CLOCK).await;
        assert_eq!(many.ask(index).await.status, 200);
    }
    eventually("function 1 is evicted", || many.residency().resident() == 3).await;
    // Looking counts as use, and in this order nothing that is looked at is next.
    assert!(!resident(1) && resident(2) && resident(3) && resident(0));
    many.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_requests_at_once_load_once() {
    let many = Many::with(4, |file| file.settings.residency.max_functions = 1).await;
    many.evict(0).await;
    let before = many.counted();
    let replies = join_all((0..16).map(|_| many.ask(0))).await;
    for reply in replies {
        assert_eq!((reply.status, reply.text()), (200, BODIES[0]));
    }
    let after = many.counted();
    assert_eq!((after.loads, after.hits), (before.loads + 1, before.hits + 1));
    many.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_keeps_its_program_after_it_was_evicted() {
    let dir = tempfile::tempdir().unwrap();
    write_many(dir.path(), 3, "limits = { cpu_ms = 400, deadline_ms = 60000 }");
    let spin = Core { handle: "(loop $for-ever (br $for-ever))", ..Core::default() };
    write_component(dir.path(), "0.wasm", &spin.lean());
    let many = Many::of(dir, |file| file.settings.residency.max_functions = 1).await;
    let begun = async {
        let running = || many.served.host.invoker().engines().usage().core_instances > 0;
        eventually("it runs", running).await;
        many.evict(0).await;
    };
    let (reply, ()) = tokio::join!(many.ask(0), begun);
    assert_eq!((reply.status, reply.outcome()), (504, "cpu_exceeded"));
    many.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_is_damaged_or_gone_is_compiled_again() {
    let many = Many::with(3, |file| file.settings.residency.max_functions = 1).await;
    for (damage, rejected) in [
        ((|path: &Path| replace(path, &[0; 5000])) as fn(&Path), true),
        (|path| fs::remove_file(path).unwrap(), false),
        (
            |path| {
                let mut artifact = fs::read(path).unwrap();
                let middle = artifact.len() / 2;
                artifact[middle] ^= 1;
                replace(path, &artifact);
            },
            true,
        ),
    ] {
        many.evict(0).await;
        artifacts(&many.root).iter().for_each(|path| damage(path));
        let before = many.counted();
        let reply = many.ask(0).await;
        assert_eq!((reply.status, reply.text()), (200, BODIES[0]));
        let after = many.counted();
        assert_eq!(after.recompilations, before.recompilations + 1);
        let counted = (after.rejected - before.rejected, after.misses - before.misses);
        assert_eq!(counted, if rejected { (1, 0) } else { (0, 1) });
        // The others are compiled again as well, so that the next damage finds all three.
        for index in [1, 2] {
            assert_eq!(many.ask(index).await.text(), BODIES[index]);
        }
    }
    many.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_artifact_and_component_the_reason_is_recorded_and_the_next_request_tries_again() {
    let many = Many::with(3, |file| file.settings.residency.max_functions = 1).await;
    many.evict(0).await;
    artifacts(&many.root).iter().for_each(|path| fs::remove_file(path).unwrap());
    let component = many.root.join("0.wasm");
    let bytes = fs::read(&component).unwrap();
    fs::copy(many.root.join("1.wasm"), &component).unwrap();
    many.served.lines();
    let reply = many.ask(0).await;
    assert_eq!((reply.status, reply.outcome()), (500, "internal"));
    let (record, _) = many.served.record().await;
    assert_eq!(
        record["detail"],
        format!(
            "its artifact is not in the cache any more, and its component {} cannot be compiled again: it is another one than was deployed; deploy the function again",
            component.display()
        )
    );
    assert!(!reply.text().contains("wasm"), "{}", reply.text());
    fs::write(&component, bytes).unwrap();
    assert_eq!(many.ask(0).await.text(), BODIES[0]);
    many.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_counted_and_bounded() {
    let many = Many::with(6, |_| {}).await;
    // Those whose components were loaded for the deploy.
    assert_eq!(many.residency().resident(), 3);
    let each = many.residency().resident_bytes() / 3;
    let file_bytes = fs::metadata(&artifacts(&many.root)[0]).unwrap().len();
    assert!(each.abs_diff(file_bytes + Residency::OVERHEAD_BYTES) < 4096, "{each} {file_bytes}");
    for index in 0..6 {
        many.ask(index).await;
    }
    assert_eq!(many.residency().resident(), 6);
    assert!(many.residency().resident_bytes().abs_diff(6 * each) < 4096);

    let small = Many::with(6, |file| file.settings.residency.memory_bytes = 2 * each + 5000).await;
    for index in (0..6).chain(0..6) {
        assert_eq!(small.ask(index).await.status, 200);
    }
    eventually("two fit", || small.residency().resident() == 2).await;
    // One that does not fit is served all the same.
    let none = Many::with(3, |file| file.settings.residency.memory_bytes = 1).await;
    for index in [0, 1, 2, 0] {
        assert_eq!(none.ask(index).await.status, 200);
    }
    eventually("it is alone", || none.residency().resident() == 1).await;
    // An app that is not deployed any more takes nothing.
    let mut file = none.file.clone();
    file.tenants[0].apps.clear();
    none.served.host.deploy(&file, &Components::new()).await.unwrap();
    eventually("nothing is resident", || none.residency().resident() == 0).await;
    assert_eq!(none.residency().resident_bytes(), 0);
}
