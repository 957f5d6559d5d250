//! Inits: run once when a revision is made, under limits, with what each sandbox then starts from;
//! and refused with the reason.

use std::{fs, path::PathBuf, sync::Arc};

use lacewing::{
    config::{HostFile, Settings},
    control::{Components, Host},
    manifest::App,
    telemetry::{Captured, InvocationLog, Sink},
};

use crate::{
    components::{Core, write_component},
    harness::{Served, compiler, guest},
    tenants::Tenants,
};

/// A manifest for the guest whose init does what `init` says.
pub(crate) fn manifest(init: &str, limits: &str) -> String {
    format!(
        "app = \"suspect\"
        [functions.suspect]
        component = {:?}
        routes = [\"/{{what}}\"]
        env = {{ INIT = {init:?}, CUSTOM = \"yes\" }}
        [functions.suspect.limits]
        {limits}",
        guest("init")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sandbox_starts_from_the_memory_of_the_init() {
    let served = Served::manifest(&manifest("keep", "cpu_ms = 900")).await;
    let sum: u64 = (0..1_u64 << 20).map(|n| n & 0xff).sum();
    for _ in 0..3 {
        // Each changes what it found, for itself.
        assert_eq!(served.get("/inits").await.text(), "1");
        assert_eq!(served.get("/kept").await.text(), sum.to_string());
    }
    assert_eq!(
        served.get("/views").await.text(),
        "init: invocation false, custom true; handler: invocation true, custom true"
    );
    // No hash map was made yet, so each sandbox still asks for a seed of its own.
    let hash = served.get("/hash").await;
    assert_ne!(served.get("/hash").await.text(), hash.text());

    served.lines();
    assert_eq!(served.get("/print").await.text(), "printed");
    assert_eq!(served.lines(), ["this is printed by an invocation", "and so is this"]);
    served.assert_idle().await;
}

/// A heap full of holes, with room for little more.
#[tokio::test(flavor = "multi_thread")]
async fn invocations_allocate_apart_from_the_memory_of_the_init() {
    let served = Served::manifest(&manifest("holes", "memory_mib = 7")).await;
    for _ in 0..3 {
        assert_eq!(served.get("/before").await.text(), "true");
    }
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_an_init_asked_for_is_that_of_all_sandboxes_of_its_revision() {
    let (one, other) =
        tokio::join!(async { Served::manifest(&manifest("seed", "")).await }, async {
            Served::manifest(&manifest("seed", "")).await
        });
    let hash = one.get("/hash").await;
    assert_eq!(one.get("/hash").await.text(), hash.text());
    assert_ne!(other.get("/hash").await.text(), hash.text(), "another host's snapshot");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_init_has_the_same_in_a_revision_that_counts_fuel() {
    let served = Served::manifest(&manifest("keep", "fuel = 10_000_000")).await;
    assert_eq!(served.get("/inits").await.text(), "1");
    let (record, _) = served.record().await;
    assert!(record["fuel"].as_u64().unwrap() < 1_000_000, "{record}");
}

/// Deploys to a host with this cache, and returns what was printed meanwhile and the hash that its
/// sandboxes make.
async fn deploy(dir: &tempfile::TempDir, init: &str, variable: &str) -> (Vec<String>, PathBuf) {
    let path = dir.path().join("lacewing.toml");
    let text = manifest(init, "").replace("\"yes\"", &format!("{variable:?}"));
    fs::write(&path, text).unwrap();
    let (app, _) = App::load(&path).unwrap();
    let mut settings = Settings::new(dir.path().join("cache"));
    settings.max_sandboxes = 8;
    settings.compilation.program = compiler();
    let sink = Sink::memory();
    let host = Host::new(settings.clone(), sink.clone(), InvocationLog::All).unwrap();
    let file = HostFile::local(app, settings).unwrap();
    Arc::clone(&host).deploy(&file, &Components::new()).await.unwrap();
    let lines = sink.take().into_iter().filter_map(|one| match one {
        Captured::Line(line) => Some(line.message),
        Captured::Record(_) => None,
    });
    (lines.collect(), dir.path().join("cache"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_init_runs_once_for_all_that_it_could_see() {
    let dir = tempfile::tempdir().unwrap();
    let printed = ["this is printed once"];
    let (lines, cache) = deploy(&dir, "keep", "yes").await;
    assert_eq!(lines, printed);
    // Another process, as far as the cache can tell.
    assert_eq!(deploy(&dir, "keep", "yes").await.0, [""; 0]);
    assert_eq!(deploy(&dir, "keep", "no").await.0, printed, "another environment");

    // A snapshot that was tampered with is taken again.
    for file in fs::read_dir(&cache).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if bytes.starts_with(b"\0asm") {
            bytes[1000] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    assert_eq!(deploy(&dir, "keep", "yes").await.0, printed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_act_of_an_init_is_refused_with_the_reason() {
    let tenants = Tenants::hostile("").await;
    let advice =
        "An init may compute, read the function's variables and print; do this in the handler";
    for (init, limits, reason) in [
        (
            "monotonic-clock",
            "",
            "its init called wasi:clocks/monotonic-clock@0.2.12#now: the time would stand still in every sandbox. {advice}",
        ),
        (
            "wall-clock",
            "",
            "its init called wasi:clocks/wall-clock@0.2.12#now: the time would stand still in every sandbox. {advice}",
        ),
        (
            "sleep",
            "",
            "its init called wasi:clocks/monotonic-clock@0.2.12#subscribe-duration: the time would stand still in every sandbox. {advice}",
        ),
        (
            "random",
            "",
            "its init called wasi:random/random@0.2.12#get-random-u64: every sandbox would have the same random numbers. {advice}",
        ),
        (
            "http",
            "",
            "its init called wasi:http/types@0.2.12#[static]fields.from-list: nothing is sent before the function is invoked. {advice}",
        ),
        (
            "panic",
            "",
            "its init ended as trap: wasm trap: wasm `unreachable` instruction executed\n  at ",
        ),
        ("spin", "init_cpu_ms = 50", "its init took more than 50 ms of CPU time (`init_cpu_ms`)"),
        ("allocate", "memory_mib = 8", "its init ended as memory_exceeded: "),
        ("exit", "", "its init ended as trap: the guest called exit with the code 1"),
        ("fail", "", "its init failed: there is no word list"),
        (
            "open",
            "",
            "its init left 1 of the host's resources open, such as streams: close them before the init returns, because no other sandbox has them",
        ),
    ] {
        let error = tenants.deploy_manifest(&manifest(init, limits)).await.unwrap_err();
        let expected = format!(
            "function suspect of app suspect ({}): {}",
            guest("init").display(),
            reason.replace("{advice}", advice)
        );
        assert!(error.starts_with(&expected), "{init}: {error}");
        tenants.neighbour_is_served().await;
        tenants.served.assert_idle().await;
    }
    // And what was served is served.
    assert_eq!(tenants.get("/ok").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_init_without_room_to_be_read_is_refused() {
    let tenants = Tenants::hostile("").await;
    let dir = tempfile::tempdir().unwrap();
    let core = |memory, init| Core { memory, init, body: "fine", ..Core::default() }.lean();
    let cases = [
        (
            core("1 1", "nop"),
            "its init used all of its memory, and saving the memory takes one more page: ",
        ),
        (
            Core {
                init: "(table.set (i32.const 0) (ref.null func))",
                fields: "(table 1 funcref)".into(),
                ..Core::default()
            }
            .lean(),
            "it has an init, and the memory that the init leaves cannot be saved: unsupported `table.set` instruction",
        ),
        (
            core("2", "(drop (memory.grow (i32.const 1022))) (loop (br 0))"),
            "its init took more than 20 ms of CPU time (`init_cpu_ms`)",
        ),
    ];
    for (text, expected) in cases {
        let path = write_component(dir.path(), "init.wasm", &text);
        let error = tenants.deploy("suspect", &path, "init_cpu_ms = 20").await.unwrap_err();
        assert!(error.contains(&format!("): {expected}")), "{error}");
        tenants.neighbour_is_served().await;
        tenants.served.assert_idle().await;
    }
    // The last page that its limit has is no obstacle.
    let full = core("1", "(drop (memory.grow (i32.const 1023)))");
    let path = write_component(dir.path(), "init.wasm", &full);
    tenants.deploy("suspect", &path, "").await.unwrap();
    assert_eq!(tenants.get("/").await.text(), "fine");
}
