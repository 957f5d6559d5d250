//! Compilation in a process of its own: what bombs, crashes, hangs and strangers make of a deploy,
//! and that nobody else notices.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use lacewing::config::{Compilation, CompilerProgram};

use crate::{
    client::get,
    components::{Core, component_file, write_component},
    harness::{eventually, lacewing},
    process::Up,
    tenants::Tenants,
};

/// A host whose compiler has other limits, and which serves already.
struct Compiling {
    tenants: Tenants,
    dir: tempfile::TempDir,
}

impl Compiling {
    async fn with(change: impl FnOnce(&mut Compilation)) -> Compiling {
        // The served artifact was compiled by a host before, whose limits let it.
        let (_old, path) = component_file(&Core { body: "old", ..Core::default() }.lean());
        drop(Tenants::with(&path, "", |_| {}).await);
        let tenants = Tenants::with(&path, "", |file| change(&mut file.settings.compilation)).await;
        Compiling { tenants, dir: tempfile::tempdir().unwrap() }
    }

    /// With a compiler of the test's own.
    async fn by(program: &Path, change: impl FnOnce(&mut Compilation)) -> Compiling {
        Compiling::with(|compilation| {
            compilation.program = CompilerProgram::At(program.to_owned());
            change(compilation);
        })
        .await
    }

    /// Why a component is refused, while a neighbour is asked all the time; what was served is
    /// served on.
    async fn refusal(&self, component: &Path) -> String {
        let over = AtomicBool::new(false);
        let deploy = async {
            let error = self.tenants.deploy("suspect", component, "").await.unwrap_err();
            over.store(true, Ordering::Relaxed);
            error
        };
        let ask = async {
            loop {
                self.tenants.neighbour_is_served().await;
                assert_eq!(self.tenants.get("/").await.text(), "old");
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        };
        let (error, ()) = tokio::join!(deploy, ask);
        self.tenants.served.assert_idle().await;
        let head = format!("function suspect of app suspect ({}): ", component.display());
        error.strip_prefix(&head).unwrap_or_else(|| panic!("{error}")).to_owned()
    }

    /// The same for a component that nobody has compiled yet, and that there is nothing wrong with.
    async fn refusal_of_another(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let fields = format!("(func $of_{}_{number})", std::process::id());
        let path = write_component(
            self.dir.path(),
            "another.wasm",
            &Core { fields, ..Core::default() }.lean(),
        );
        self.refusal(&path).await
    }
}

/// A component around a module of these functions, each `(param i32) (result i32)`. Its exports, as
/// far as their names tell, are a function's: otherwise it would not be compiled.
fn bomb(dir: &Path, functions: &[&str]) -> PathBuf {
    let functions: String = functions
        .iter()
        .map(|function| format!("(func (param i32) (result i32) {function})\n"))
        .collect();
    let text = format!(
        "(component (core module (memory 1) {functions}) (instance $i) (export \"lacewing:function/http@0.1.0\" (instance $i)))"
    );
    write_component(dir, "bomb.wasm", &text)
}

const LONG: &str = "(local.set 0 (i32.mul (i32.add (local.get 0) (local.get 0)) (i32.const 3)))";

const LOOP: &str = "loop (br_if 0 (local.get 0)) ";

fn nested(depth: usize, open: &str) -> String {
    format!("{} {} (local.get 0)", open.repeat(depth), "end ".repeat(depth))
}

/// A small component that takes the compiler all the time that it has.
pub(crate) fn slow_bomb(dir: &Path) -> PathBuf {
    bomb(dir, &[&nested(12_000, LOOP)])
}

/// Small components that take the compiler long.
fn bombs_of_time() -> Vec<(&'static str, PathBuf, tempfile::TempDir)> {
    let locals = 20_000;
    let set: String = (1..=locals)
        .map(|n| format!("(local.set {n} (i32.add (local.get {n}) (i32.load (local.get 0))))"))
        .collect();
    let all: String = (1..=locals).map(|n| format!("(i32.xor (local.get {n}))")).collect();
    let declared = "(local i32)".repeat(locals);
    [
        ("one function that is huge", vec![format!("{} (local.get 0)", LONG.repeat(250_000))]),
        ("thousands of functions", vec![format!("{} (local.get 0)", LONG.repeat(40)); 12_000]),
        ("blocks that are nested deeply", vec![nested(60_000, "block ")]),
        ("loops that are nested deeply", vec![nested(6000, LOOP)]),
        (
            "values that all live at once",
            vec![format!("{declared} (loop {set} (br_if 0 (local.get 1))) (local.get 0) {all}")],
        ),
    ]
    .into_iter()
    .map(|(name, functions)| {
        let dir = tempfile::tempdir().unwrap();
        let functions: Vec<&str> = functions.iter().map(String::as_str).collect();
        (name, bomb(dir.path(), &functions), dir)
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_does_not_have_is_told_before_it_is_compiled() {
    let compiling = Compiling::with(|compilation| compilation.cpu = Duration::from_secs(1)).await;
    let slow = nested(12_000, LOOP);
    for (rest, refusal) in [
        (
            "(import \"acme:db/sql\" (instance (export \"run\" (func)))) (instance $i) (export \"lacewing:function/http@0.1.0\" (instance $i))",
            "the component imports acme:db/sql, which this host does not have",
        ),
        ("", "the component exports none of the interfaces that make it a function: "),
        (
            "(instance $i) (export \"wasi:http/handler@0.3.0-rc-2026-01-06\" (instance $i))",
            "the component exports wasi:http/handler@0.3.0-rc-2026-01-06, a release candidate, and this host has WASI 0.3 as it was released: build the component with tools of the release (for Spin, spin-sdk 7)",
        ),
    ] {
        let module = format!("(core module (func (param i32) (result i32) {slow}))");
        let text = format!("(component {module} {rest})");
        let path = write_component(compiling.dir.path(), "it.wasm", &text);
        let said = compiling.refusal(&path).await;
        assert!(said.starts_with(refusal), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_of_time_is_a_deploy_error() {
    let compiling = Compiling::with(|compilation| compilation.cpu = Duration::from_secs(1)).await;
    for (name, path, _dir) in bombs_of_time() {
        assert_eq!(
            compiling.refusal(&path).await,
            "compiling the component takes more than 1 s of CPU time, which is the limit (`compiler.cpu_s` of the host)",
            "{name}"
        );
    }
    // The next one has a compiler of its own.
    let fine = Core { body: "fine", ..Core::default() };
    let path = write_component(compiling.dir.path(), "fine.wasm", &fine.lean());
    compiling.tenants.deploy("suspect", &path, "").await.unwrap();
    assert_eq!(compiling.tenants.get("/").await.text(), "fine");
}

/// A table of so many targets for each of so many branches: a compiler takes many times its size in
/// memory.
fn bomb_of_memory(dir: &Path) -> PathBuf {
    let targets = "0 ".repeat(65_000);
    let branch = format!("(block (br_table {targets} (local.get 0)))");
    bomb(dir, &[&format!("{} (local.get 0)", branch.repeat(60))])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_of_memory_is_a_deploy_error() {
    let compiling = Compiling::with(|compilation| compilation.memory_bytes = 192 << 20).await;
    let path = bomb_of_memory(compiling.dir.path());
    assert_eq!(
        compiling.refusal(&path).await,
        "compiling the component takes more than 192 MiB of memory, which is the limit (`compiler.memory_mib` of the host)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_over_its_limit_is_a_deploy_error() {
    let compiling = Compiling::with(|compilation| compilation.artifact_bytes = 1 << 20).await;
    let function = format!("{} (local.get 0)", LONG.repeat(40));
    let path = bomb(compiling.dir.path(), &vec![function.as_str(); 4000]);
    let refusal = compiling.refusal(&path).await;
    let mib = refusal.strip_prefix("the compiled component has ").unwrap();
    assert!(
        mib.ends_with(" MiB, and 1 MiB is the limit (`compiler.artifact_mib` of the host)"),
        "{refusal}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compiler_reports_the_reason_of_a_refusal() {
    let compiling = Compiling::with(|_| {}).await;
    let path = bomb(compiling.dir.path(), &["(local.get 0)"]);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    let refusal = compiling.refusal(&path).await;
    assert!(refusal.starts_with("the component does not compile: "), "{refusal}");
    assert!(refusal.ends_with(" (is the file whole?)"), "{refusal}");
    // More targets than the compiler takes.
    let targets = "0 ".repeat(70_000);
    let branch = format!("(block (br_table {targets} (local.get 0))) (local.get 0)");
    let refusal = compiling.refusal(&bomb(compiling.dir.path(), &[&branch])).await;
    assert!(refusal.contains("`br_table` has "), "{refusal}");
}

/// An executable file with these lines of shell.
fn script(dir: &Path, lines: &str) -> PathBuf {
    let path = dir.join("compiler");
    fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Whether a process that a script has written the number of is gone: ended, and reaped.
fn is_gone(pid_file: &Path) -> bool {
    let pid = fs::read_to_string(pid_file).unwrap();
    !Path::new("/proc").join(pid.trim()).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_hangs_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    // It neither reads nor writes, and neither would end by itself; and it is not alone.
    let lines = format!(
        "echo $$ > {0}\n/bin/sleep 600 &\necho $! > {0}.2\nexec /bin/sleep 600",
        pid.display()
    );
    let program = script(dir.path(), &lines);
    let compiling = Compiling::by(&program, |compilation| {
        compilation.wall = Duration::from_secs(1);
    })
    .await;
    assert_eq!(
        compiling.refusal_of_another().await,
        "compiling the component takes more than 1 s, which is the limit (`compiler.wall_s` of the host)"
    );
    assert!(is_gone(&pid));
    // The other one is the system's to reap.
    eventually("its companion has ended", || {
        let pid = fs::read_to_string(pid.with_extension("2")).unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_no_compiler_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let answer = |version: &str, bytes: u64| {
        format!(
            r#"echo '{{"lacewing":"{version}","result":"artifact","filtered":true,"bytes":{bytes}}}'"#
        )
    };
    let own = env!("CARGO_PKG_VERSION");
    let program = |lines: &str| script(dir.path(), lines);
    let stranger = |answered: &str| {
        let path = dir.path().join("compiler");
        format!("{} is not the compiler of lacewing {own}: it {answered}", path.display())
    };
    for (lines, sentence) in [
        ("echo hello", stranger("answered \"hello\"")),
        ("exit 0", stranger("ended without an answer")),
        (&answer("0.0.1", 3), stranger("is of version 0.0.1")),
        (
            "echo 1 >&2; echo and more >&2; exit 7",
            "the compiler crashed on the component (exit status: 7): 1 / and more".to_owned(),
        ),
        (
            "kill -SEGV $$",
            "the compiler crashed on the component (signal: 11 (SIGSEGV) (core dumped))".to_owned(),
        ),
        (
            "kill -KILL $$",
            "the compiler was killed while it compiled the component, perhaps because the machine had no memory left; deploy again".to_owned(),
        ),
        // Announced, and not there.
        (&format!("{}; exit 3", answer(own, 3)), "the compiler crashed on the component (exit status: 3)".to_owned()),
        (
            &answer(own, 1 << 40),
            "the compiled component has 1048576 MiB, and 512 MiB is the limit (`compiler.artifact_mib` of the host)".to_owned(),
        ),
    ] {
        let compiling = Compiling::by(&program(lines), |_| {}).await;
        let refusal = compiling.refusal_of_another().await;
        assert_eq!(refusal.replace(" (core dumped)", ""), sentence.replace(" (core dumped)", ""), "{lines}");
    }
    let nowhere = dir.path().join("nowhere");
    let compiling = Compiling::by(&nowhere, |_| {}).await;
    assert_eq!(
        compiling.refusal_of_another().await,
        format!(
            "cannot start the compiler {}: No such file or directory (os error 2); nothing is compiled without it",
            nowhere.display()
        )
    );
}

/// The one that there is, as soon as it is there: it may wait for its turn.
async fn compiler_of(parent: u32) -> u32 {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match compilers_of(parent)[..] {
            [compiler] => return compiler,
            [] if Instant::now() < until => tokio::task::yield_now().await,
            ref others => panic!("{others:?}"),
        }
    }
}

/// The compilers that a process has started and that run.
pub(crate) fn compilers_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<&str> =
            stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
        let is_child = fields.get(1).is_some_and(|ppid| *ppid == parent.to_string());
        is_child
            && fields.first() != Some(&"Z")
            && command_line(*pid).contains("--compiler-of-the-host")
    })
    .collect()
}

fn command_line(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// A process that serves one component and is then told to deploy a bomb; with the compiler's
/// number.
async fn up_with_a_bomb(dir: &Path) -> (Up, u32) {
    let fine = Core { body: "fine", ..Core::default() };
    let path = write_component(dir, "it.wasm", &fine.lean());
    let up = Up::start(&[path.to_str().unwrap(), "--watch"]);
    fs::rename(slow_bomb(dir), &path).unwrap();
    let mut compilers = Vec::new();
    eventually("it compiles", || {
        compilers = compilers_of(up.pid());
        !compilers.is_empty()
    })
    .await;
    (up, compilers[0])
}

fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_has_nothing_but_its_pipes_and_ends_with_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let (up, compiler) = up_with_a_bomb(dir.path()).await;
    let read = |file: &str| fs::read_to_string(format!("/proc/{compiler}/{file}")).unwrap();
    // Once it has given up everything, it reads the component.
    eventually("its system calls are filtered", || read("status").contains("\nSeccomp:\t2\n"))
        .await;
    assert!(read("status").contains("\nNoNewPrivs:\t1\n"), "{}", read("status"));
    let fields = |stat: &str| -> Vec<String> {
        let rest = stat.rsplit(") ").next().unwrap();
        rest.split_whitespace().map(str::to_owned).collect()
    };
    let stat = read("stat");
    assert_eq!(fields(&stat)[2], compiler.to_string(), "a process group of its own: {stat}");
    let nice = |stat: &str| fields(stat)[16].parse::<i32>().unwrap();
    let hosts = nice(&fs::read_to_string(format!("/proc/{}/stat", up.pid())).unwrap());
    assert_eq!(nice(&stat), (hosts + 10).min(19), "{stat}");
    assert_eq!(read("oom_score_adj"), "1000\n");
    let environment = read("environ");
    let names: Vec<&str> = environment.split_terminator('\0').collect();
    assert!(matches!(names[..], [only] if only.starts_with("RAYON_NUM_THREADS=")), "{names:?}");
    let limits = read("limits");
    for (limit, soft, hard) in [
        ("Max address space", 2_u64 << 30, 2_u64 << 30),
        ("Max cpu time", 60, 61),
        ("Max file size", 0, 0),
        ("Max core file size", 0, 0),
        ("Max open files", 16, 16),
    ] {
        let line = limits.lines().find(|line| line.starts_with(limit)).unwrap();
        let numbers: Vec<&str> = line[limit.len()..].split_whitespace().collect();
        assert_eq!(numbers[..2], [soft.to_string(), hard.to_string()], "{line}");
    }
    let descriptors: Vec<_> = fs::read_dir(format!("/proc/{compiler}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(descriptors.len(), 3, "{descriptors:?}");
    // The process has no time to say goodbye.
    kill("KILL", up.pid());
    eventually("the compiler has ended", || !command_line(compiler).contains("--compiler")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_is_killed_is_a_deploy_error_and_the_host_serves_on() {
    let dir = tempfile::tempdir().unwrap();
    let (up, compiler) = up_with_a_bomb(dir.path()).await;
    kill("KILL", compiler);
    let error = up.line("error: function ");
    assert!(error.contains("the compiler was killed while it compiled the component, "), "{error}");
    up.line("the previous revisions stay in place");
    assert_eq!(get(up.address, "localhost", "/").await.text(), "fine");
    assert!(compilers_of(up.pid()).is_empty());
    up.signal("TERM");
    assert_eq!(up.exit().code(), Some(0));
}

/// A host file's directory: two tenants with an app and a component each.
fn two_tenants(dir: &Path) -> [PathBuf; 2] {
    let mut text = String::new();
    let components = ["bomber", "honest"].map(|name| {
        let app = dir.join(name);
        fs::create_dir(&app).unwrap();
        let manifest = format!(
            "app = \"{name}\"\n[functions.it]\ncomponent = \"it.wasm\"\nroutes = [\"/\"]\n"
        );
        fs::write(app.join("lacewing.toml"), manifest).unwrap();
        text += &format!("[tenants.{name}]\nhosts = [\"{name}.test\"]\napps = [\"{name}\"]\n");
        write_component(&app, "it.wasm", &Core { body: "old", ..Core::default() }.lean())
    });
    fs::write(dir.join("host.toml"), text).unwrap();
    components
}

/// A component that answers with this, and that nobody has compiled yet.
fn unheard_of(path: &Path, body: &'static str) {
    let fields = format!("(func $of_{}_{body})", std::process::id());
    let core = Core { body, fields, ..Core::default() };
    let staged = write_component(path.parent().unwrap(), "staged.wasm", &core.lean());
    fs::rename(staged, path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_does_not_keep_others_from_being_swapped_in() {
    let dir = tempfile::tempdir().unwrap();
    let [bomber, honest] = two_tenants(dir.path());
    let project = dir.path().join("host.toml");
    let up = Up::start(&["--host", project.to_str().unwrap()]);
    let asked = async |host: &str| get(up.address, host, "/").await.text().to_owned();
    assert_eq!(asked("honest.test").await, "old");
    // Both come with the same reading.
    fs::rename(slow_bomb(dir.path()), &bomber).unwrap();
    unheard_of(&honest, "first");
    up.signal("HUP");
    up.line("Swapped honest/honest/it@");
    assert_eq!(asked("honest.test").await, "first");
    let compiler = compiler_of(up.pid()).await;
    // The next one does not wait for the bomb, which the one compiler that may run at once has
    // begun.
    unheard_of(&honest, "second");
    up.signal("HUP");
    up.nth_line("Swapped honest/honest/it@", 1);
    assert_eq!(asked("honest.test").await, "second");
    assert_eq!(compilers_of(up.pid()), [compiler], "the bomb is still being compiled, once");
    assert_eq!(asked("bomber.test").await, "old");
    assert!(!up.said().contains("error"), "{}", up.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_does_not_keep_a_host_from_serving_others() {
    let dir = tempfile::tempdir().unwrap();
    let [bomber, honest] = two_tenants(dir.path());
    fs::rename(slow_bomb(dir.path()), &bomber).unwrap();
    unheard_of(&honest, "started");
    let project = dir.path().join("host.toml");
    let up = Up::start(&["--host", project.to_str().unwrap()]);
    assert_eq!(get(up.address, "honest.test", "/").await.text(), "started");
    assert_eq!(get(up.address, "bomber.test", "/").await.outcome(), "no_route");
    let compiler = compiler_of(up.pid()).await;
    up.line("the other apps are served when they are ready");
    kill("KILL", compiler);
    up.line("error: function it of app bomber (");
    up.line("warning: 1 app refused: bomber/bomber (not served)");
    up.signal("TERM");
    assert_eq!(up.exit().code(), Some(0));
}

#[test]
fn descriptors_that_were_left_open_are_closed() {
    let program = env!("CARGO_BIN_EXE_lacewing");
    let mut compiler = Command::new("sh")
        .args(["-c", &format!("exec 9</dev/null; exec {program} --compiler-of-the-host")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Not the tests' own, which may be a file: it may write none.
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = compiler.stdin.take().unwrap();
    let request = r#"{"metered":false,"tasks":false,"component_bytes":9,"memory_bytes":1073741824,"cpu_s":9,"threads":1}"#;
    writeln!(stdin, "{request}").unwrap();
    let of = |file: &str| format!("/proc/{}/{file}", compiler.id());
    let until = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(of("status")).unwrap().contains("\nSeccomp:\t2\n") {
        assert!(Instant::now() < until, "it does not filter its system calls");
        std::thread::yield_now();
    }
    assert_eq!(fs::read_dir(of("fd")).unwrap().count(), 3);
    // The client goes away before the component is whole.
    stdin.write_all(b"half").unwrap();
    drop(stdin);
    let output = compiler.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]));
}

#[test]
fn the_compiler_is_not_for_people() {
    let output = lacewing().arg("--compiler-of-the-host").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "--compiler-of-the-host starts the compiler of lacewing, and is not a command for users: unexpected end of file\n"
    );
    let help = lacewing().arg("--help").output().unwrap();
    assert!(!String::from_utf8(help.stdout).unwrap().contains("compiler-of-the-host"));
}
