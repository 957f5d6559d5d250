//! Components that cannot be functions of this host, and artifact caches that cannot be trusted or
//! used: each is refused with its own sentence, or got over, while what was served goes on.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use lacewing_base::LimitKey;

use crate::{
    components::{Core, component_file, write_component},
    harness::{Served, component, guest},
    tenants::Tenants,
};

/// Deploys a component in the place of one that is served, and returns why it was refused: the old
/// one goes on.
struct Refusals {
    tenants: Tenants,
    dir: tempfile::TempDir,
}

impl Refusals {
    async fn new() -> Refusals {
        let (_old, path) = component_file(&Core { body: "old", ..Core::default() }.lean());
        let tenants = Tenants::with(&path, "", |_| {}).await;
        Refusals { tenants, dir: tempfile::tempdir().unwrap() }
    }

    async fn of_file(&self, path: &Path, limits: &str) -> String {
        let error = self.tenants.deploy("suspect", path, limits).await.unwrap_err();
        self.goes_on().await;
        let head = format!("function suspect of app suspect ({}): ", path.display());
        error.strip_prefix(&head).unwrap_or_else(|| panic!("{error}")).to_owned()
    }

    async fn of_bytes(&self, bytes: &[u8]) -> String {
        let path = self.dir.path().join("bytes.wasm");
        fs::write(&path, bytes).unwrap();
        self.of_file(&path, "").await
    }

    async fn of_text(&self, text: &str, limits: &str) -> String {
        self.of_file(&write_component(self.dir.path(), "text.wasm", text), limits).await
    }

    async fn goes_on(&self) {
        assert_eq!(self.tenants.get("/").await.text(), "old");
        self.tenants.neighbour_is_served().await;
        self.tenants.served.assert_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_components() {
    let refusals = Refusals::new().await;
    let hello = fs::read(component("hello")).unwrap();
    for (bytes, text) in [
        (&b""[..], "the file is empty (0 bytes): a WebAssembly component was expected"),
        (
            b"hello, world",
            "this is not WebAssembly: it begins with \"hello, w\", and a component begins with `\\0asm`",
        ),
        (
            b"(component)",
            "this is not WebAssembly: it begins with \"(compone\", and a component begins with `\\0asm` (this looks like the WebAssembly text format: assemble it first)",
        ),
        (
            b"\0asm\x01\0\0\0",
            "this is a core WebAssembly module, not a component: build it for the target wasm32-wasip2, or turn it into a component with `wasm-tools component new`",
        ),
    ] {
        assert_eq!(refusals.of_bytes(bytes).await, text);
    }
    for length in [9, 100, hello.len() / 2, hello.len() - 1] {
        let text = refusals.of_bytes(&hello[..length]).await;
        let head = "the component does not compile: ";
        assert!(text.starts_with(head) && text.ends_with(" (is the file whole?)"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_too_large_is_refused_by_its_size() {
    let refusals = Refusals::new().await;
    // Sparse. The second is more than any machine can read into memory.
    for (mib, text) in [
        (
            200_u64,
            "the file has 200 MiB, and the largest component that this host takes has 128 MiB",
        ),
        (
            8 << 20,
            "the file has 8388608 MiB, and the largest component that this host takes has 128 MiB",
        ),
    ] {
        let path = refusals.dir.path().join("large.wasm");
        fs::File::create(&path).unwrap().set_len(mib << 20).unwrap();
        assert_eq!(refusals.of_file(&path, "").await, text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_goes_away_or_is_none_cannot_be_read() {
    let refusals = Refusals::new().await;
    // The manifest saw a file; the deploy finds none.
    let path = refusals.dir.path().join("output.wasm");
    let build = format!(
        "app = \"suspect\"\n[functions.suspect]\nbuild = {{ command = \"true\", output = {path:?} }}\nroutes = [\"/\"]"
    );
    let error = refusals.tenants.deploy_manifest(&build).await.unwrap_err();
    assert!(
        error.ends_with("): cannot be read: No such file or directory (os error 2)"),
        "{error}"
    );
    symlink("/dev/zero", &path).unwrap();
    let error = refusals.tenants.deploy_manifest(&build).await.unwrap_err();
    assert!(
        error
            .ends_with("): cannot be read: it is a device, pipe or socket, and not a regular file"),
        "{error}"
    );
    refusals.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn components_that_are_no_functions() {
    let refusals = Refusals::new().await;
    assert_eq!(
        refusals.of_text("(component)", "").await,
        "the component exports none of the interfaces that make it a function: lacewing:function/http, lacewing:function/events, lacewing:function/call, wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3. With the Rust SDK, `#[lacewing_sdk::http]`, `event` or `call` above a function does that"
    );
    // An instance of the right name without what belongs into it.
    let hollow =
        "(component (instance $i) (export \"lacewing:function/http@0.1.0\" (instance $i)))";
    assert_eq!(
        refusals.of_text(hollow, "").await,
        "the component does not fit this host: instance export `lacewing:function/http@0.1.0` does not have export `handle`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn components_that_answer_no_http_cannot_have_routes() {
    let refusals = Refusals::new().await;
    let call = "(component
        (core module $m (memory (export \"memory\") 1)
            (func (export \"realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 64))
            (func (export \"call\") (param i32 i32) (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (type $error (record (field \"name\" string) (field \"message\" string)))
        (func $call (param \"payload\" (list u8)) (result (result (list u8) (error $error)))
            (canon lift (core func $i \"call\") (memory (core memory $i \"memory\"))
                (realloc (core func $i \"realloc\"))))
        (component $interface
            (type $record (record (field \"name\" string) (field \"message\" string)))
            (import \"error\" (type $error (eq $record)))
            (import \"call\" (func $call
                (param \"payload\" (list u8)) (result (result (list u8) (error $error)))))
            (type $again (record (field \"name\" string) (field \"message\" string)))
            (export $named \"error\" (type $again))
            (export \"call\" (func $call) (func
                (param \"payload\" (list u8)) (result (result (list u8) (error $named))))))
        (instance $c (instantiate $interface (with \"error\" (type $error)) (with \"call\" (func $call))))
        (export \"lacewing:function/call@0.1.0\" (instance $c)))";
    assert_eq!(
        refusals.of_text(call, "").await,
        "it has routes, and its component exports nothing that answers HTTP: lacewing:function/http, wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_that_this_host_does_not_have() {
    let refusals = Refusals::new().await;
    let importing = |import: &str| {
        let outer = format!("(import \"{import}\" (instance (export \"f\" (func))))");
        Core { outer, ..Core::default() }.lean()
    };
    for (import, text) in [
        (
            "acme:db/sql@1.0.0",
            "the component imports acme:db/sql@1.0.0, which this host does not have",
        ),
        (
            "wasi:messaging/producer@0.2.0-draft",
            "the component imports wasi:messaging/producer@0.2.0-draft, which this host does not have",
        ),
        (
            "wasi:io/poll@0.9.0",
            "the component imports wasi:io/poll@0.9.0, and this host has wasi:io only in 0.2.x",
        ),
        (
            "wasi:http/types@0.3.0-rc-2026-01-06",
            "the component imports wasi:http/types@0.3.0-rc-2026-01-06, a release candidate, and this host has WASI 0.3 as it was released: build the component with tools of the release (for Spin, spin-sdk 7)",
        ),
    ] {
        assert_eq!(refusals.of_text(&importing(import), "").await, text);
    }
    // A name is as long as its author makes it; what is said of it is not.
    let text = refusals.of_text(&importing(&format!("acme:db/{}", "x".repeat(50_000))), "").await;
    assert!(text.starts_with("the component imports acme:db/xxx") && text.len() < 2000, "{text}");
    let text = refusals.of_text(&importing("wasi:io/tea@0.2.0"), "").await;
    assert!(
        text.starts_with("the component does not fit this host: ")
            && text.contains("`wasi:io/tea@0.2.0`"),
        "{text}"
    );
    let text = refusals.of_text(&importing("wasi:io/poll@0.2.0"), "").await;
    assert!(
        text.starts_with("the component does not fit this host: ")
            && text.contains("`wasi:io/poll@0.2.0`")
            && text.contains("`f`"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn components_that_need_more_than_their_limits_before_they_start() {
    let refusals = Refusals::new().await;
    let more = |count: usize, module: &str| {
        let outer = format!("(core module $more {module})")
            + &"(core instance (instantiate $more))".repeat(count);
        Core { outer, ..Core::default() }.lean()
    };
    let memory = |pages| Core { memory: pages, ..Core::default() }.lean();
    let table = Core { fields: "(table 101 funcref)".to_owned(), ..Core::default() };
    for (text, limits, refusal) in [
        (
            memory("17"),
            "memory_mib = 1",
            "the component needs 1088 KiB of initial memory, and its limit is 1 MiB (`memory_mib`)",
        ),
        (
            // More than the pool has for any function.
            memory("65536"),
            "",
            "the component needs more at its start than this host allows to any function (`caps` of the host): memory has a minimum byte size of 4294967296 which exceeds the limit of 0x10000000 bytes",
        ),
        (
            table.lean(),
            "table_elements = 100",
            "the component needs a table of 101 elements, and its limit is 100 (`table_elements`)",
        ),
        (
            more(2, "(memory 1)"),
            "memories = 2",
            "the component needs 3 linear memories, and its limit is 2 (`memories`)",
        ),
        (
            more(1, "(memory 1) (memory 1) (memory 1)"),
            "memories = 3",
            "the component needs 4 linear memories, and its limit is 3 (`memories`)",
        ),
        (
            // Each of them is within the limit.
            more(1, "(memory 10)"),
            "memory_mib = 1\n[functions.suspect.env]\nA = \"1\"",
            "",
        ),
        (
            more(2, "(memory 10)"),
            "memory_mib = 1",
            "the component does not start (memory_exceeded): 1280 KiB of linear memory were asked for, and the limit is 1 MiB (`memory_mib`)",
        ),
        (
            more(1, &"(table 1 funcref)".repeat(11)),
            "instances = 10",
            "the component does not start (memory_exceeded): more than 10 tables are needed, and 10 is the limit (`instances`)",
        ),
        (
            more(10, ""),
            "instances = 10",
            "the component does not start (memory_exceeded): more than 10 core instances are needed, and 10 is the limit (`instances`)",
        ),
    ] {
        if refusal.is_empty() {
            let path = write_component(refusals.dir.path(), "fits.wasm", &text);
            refusals.tenants.deploy("suspect", &path, limits).await.unwrap();
            let (_old, path) = component_file(&Core { body: "old", ..Core::default() }.lean());
            refusals.tenants.deploy("suspect", &path, "").await.unwrap();
            continue;
        }
        assert_eq!(refusals.of_text(&text, limits).await, refusal);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_function_is_run_within_the_limits_before_anything_is_served() {
    let refusals = Refusals::new().await;
    let starting = |body: &str| {
        let fields = format!("(func $s {body}) (start $s)");
        Core { fields, ..Core::default() }.lean()
    };
    let text = refusals.of_text(&starting("unreachable"), "").await;
    assert!(
        text.starts_with(
            "the component does not start (trap): wasm trap: wasm `unreachable` instruction executed"
        ),
        "{text}"
    );
    let spin = starting("(loop $for-ever (br $for-ever))");
    assert_eq!(
        refusals.of_text(&spin, "cpu_ms = 20").await,
        "the component does not start (cpu_exceeded): the CPU budget is spent"
    );
    assert_eq!(
        refusals.of_text(&spin, "cpu_ms = 60000\ndeadline_ms = 20").await,
        "the component does not start (deadline_exceeded): the deadline has passed"
    );
    assert_eq!(
        refusals.of_text(&spin, "fuel = 1000").await,
        "the component does not start (fuel_exhausted): the fuel is spent"
    );
    let grow = "(if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))";
    assert_eq!(
        refusals.of_text(&starting(grow), "memory_mib = 1").await,
        "the component does not start (memory_exceeded): 1088 KiB of linear memory were asked for, and the limit is 1 MiB (`memory_mib`)"
    );
    let recursing = Core { fields: "(func $s (call $s)) (start $s)".to_owned(), ..Core::default() };
    let text = refusals.of_text(&recursing.lean(), "").await;
    assert!(text.contains("(trap): wasm trap: call stack exhausted"), "{text}");
}

/// Serves a component out of this cache, and says how often it was compiled.
async fn served_from(cache: &Path, component: &Path, body: &str) -> u64 {
    let manifest =
        format!("app = \"a\"\n[functions.f]\ncomponent = {component:?}\nroutes = [\"/\"]");
    let served = Served::manifest_with(&manifest, |settings| {
        settings.cache_dir = cache.to_owned();
        settings.caps.set(LimitKey::Memories, 1);
    })
    .await;
    let reply = served.get("/").await;
    assert_eq!((reply.status, reply.outcome(), reply.text()), (200, "ok", body));
    served.assert_idle().await;
    let counts = &served.host.metrics().host().artifact_cache;
    let compiled = counts.misses.get() + counts.rejected.get();
    assert_eq!(counts.hits.get() + compiled, 1);
    compiled
}

fn artifacts(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|e| e == "cwasm")).collect()
}

/// In another file of the same name: a host of before may still have the old one mapped.
pub(crate) fn replace(path: &Path, contents: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, contents).unwrap();
    fs::rename(&beside, path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_that_this_host_did_not_write_are_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let [a, b] = ["a", "b"].map(|body| {
        let core = Core { body, ..Core::default() };
        write_component(dir.path(), &format!("{body}.wasm"), &core.lean())
    });
    assert_eq!(served_from(&cache, &a, "a").await, 1, "compiled");
    assert_eq!(served_from(&cache, &a, "a").await, 0, "found");
    let [path_a] = &artifacts(&cache)[..] else { panic!("{:?}", artifacts(&cache)) };
    let good = fs::read(path_a).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let garbage = vec![0x7f; good.len()];
    for bad in [&flipped[..], &good[..good.len() / 2], &good[1..], b"", &garbage] {
        replace(path_a, bad);
        assert_eq!(served_from(&cache, &a, "a").await, 1, "not trusted");
        assert_eq!(served_from(&cache, &a, "a").await, 0, "written anew");
        assert!(fs::read(path_a).unwrap() == good);
    }
    assert_eq!(served_from(&cache, &b, "b").await, 1);
    let path_b = artifacts(&cache).into_iter().find(|path| path != path_a).unwrap();
    let other = fs::read(&path_b).unwrap();
    replace(path_a, &other);
    replace(&path_b, &good);
    assert_eq!(served_from(&cache, &a, "a").await, 1, "another's artifact");
    assert_eq!(served_from(&cache, &b, "b").await, 1, "another's artifact");
    // Another host's key vouches for none of it.
    replace(&cache.join("host.key"), &[7; 32]);
    fs::set_permissions(cache.join("host.key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(served_from(&cache, &a, "a").await, 1, "another host's artifact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_cannot_be_used_costs_a_compilation_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = write_component(dir.path(), "a.wasm", &Core { body: "a", ..Core::default() }.lean());
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    // The second cannot be written to, not even by root.
    for cache in [file, PathBuf::from("/proc/self/cache")] {
        assert_eq!(served_from(&cache, &path, "a").await, 1, "{}", cache.display());
        assert_eq!(served_from(&cache, &path, "a").await, 1, "{}", cache.display());
    }
    // A folder has the artifact's name.
    let cache = dir.path().join("cache");
    assert_eq!(served_from(&cache, &path, "a").await, 1);
    let artifact = artifacts(&cache).remove(0);
    fs::remove_file(&artifact).unwrap();
    fs::create_dir(&artifact).unwrap();
    assert_eq!(served_from(&cache, &path, "a").await, 1);
    assert_eq!(artifacts(&cache), [artifact]);
}

/// Deploys a component in a process with this cache, which is limited as the shell's `limit` says;
/// gives what it warned of.
fn warnings(cache: &Path, limit: &str) -> Vec<String> {
    let output = Command::new("sh")
        .args(["-c", &format!("{limit} exec \"$0\" invoke \"$1\"")])
        .args([Path::new(env!("CARGO_BIN_EXE_lacewing")), &guest("hostile")])
        .env("XDG_CACHE_HOME", cache)
        .output()
        .unwrap();
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|out| String::from_utf8_lossy(out));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("fine"), "{stdout}{stderr}");
    let warnings = stderr.lines().filter_map(|line| line.split_once(" WARN lacewing_"));
    let mut warnings: Vec<String> =
        warnings.map(|(_, warning)| warning.split_once(": ").unwrap().1.to_owned()).collect();
    // The cache is looked into once more when it is this component's turn to be compiled.
    warnings.dedup();
    warnings
}

#[test]
fn a_cache_that_is_not_trusted_or_not_used_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("lacewing");
    assert_eq!(warnings(dir.path(), ""), [""; 0]);
    // Corrupt.
    let artifact = artifacts(&cache).remove(0);
    let mut flipped = fs::read(&artifact).unwrap();
    flipped[4096] ^= 1;
    replace(&artifact, &flipped);
    assert_eq!(
        warnings(dir.path(), ""),
        [format!(
            "an artifact does not match its keyed hash; compiling it again path={}",
            artifact.display()
        )]
    );
    // Not readable as a file.
    fs::remove_file(&artifact).unwrap();
    fs::create_dir(&artifact).unwrap();
    let said = warnings(dir.path(), "");
    assert!(
        said[0].starts_with("an artifact cannot be read; compiling it again path=")
            && said[0].contains(" is a folder, and no file that the host made; "),
        "{said:?}"
    );
    assert!(said[1].starts_with("an artifact cannot be written to the cache; "), "{said:?}");
    // Read-only, even for root.
    assert_eq!(
        warnings(Path::new("/proc"), ""),
        [
            "cannot use the artifact cache /proc/lacewing: No such file or directory (os error 2); components are compiled at each start"
        ]
    );
}

/// The effect of a full disk on the process: writing more than a few KiB of a file fails.
#[test]
fn a_full_disk_under_the_cache_costs_a_compilation_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let said = warnings(dir.path(), "trap '' XFSZ; ulimit -f 200;");
    let full = "an artifact cannot be written to the cache; it is kept in memory and will be compiled again when it is needed again error=File too large (os error 27)";
    assert!(said.len() == 1 && said[0].starts_with(full), "{said:?}");
    assert!(artifacts(&dir.path().join("lacewing")).is_empty());
}
