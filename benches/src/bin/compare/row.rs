//! A row of the comparison: one server that answers a GET of `/` with [`HELLO`].

use std::{
    fs::File,
    io,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicI32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderMap, Method};
use lacewing_load::{
    generator::{Expect, LoadPlan, Measured},
    probe::{Probe, free_address},
    process::{TreeUsage, used},
    target::LoadTarget,
};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

/// The answer of every row.
pub(crate) const HELLO: &str = "Hello, world!\n";

/// Connections that ask at once, in every part.
pub(crate) const CONNECTIONS: u32 = 32;

/// One server.
pub(crate) struct Row {
    /// Its name in results and on the command line.
    pub(crate) id: &'static str,
    /// For people.
    pub(crate) title: String,
    /// The facts that a judgement needs.
    pub(crate) note: String,
    /// Whether it keeps compiled code on disk from one start to the next.
    pub(crate) caches: bool,
    /// How it is started.
    pub(crate) command: Start,
}

/// Makes the command that starts a server, and the files that it needs.
type Start = Box<dyn Fn(&Place) -> io::Result<Command>>;

/// The command that starts a server.
pub(crate) struct Place {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// A directory of its own, for configuration: the same one with the same cache.
    pub(crate) dir: PathBuf,
    /// Where it may keep compiled code.
    pub(crate) cache: PathBuf,
}

/// A server that runs. Killed when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// From the start of its process to its first answer.
    pub(crate) started_in: Duration,
    child: Child,
    dir: PathBuf,
}

/// The longest that a start may take: one that compiles on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

impl Place {
    /// Writes a file of configuration. One that says the same already is left as it is, as between
    /// two starts of a user's.
    pub(crate) fn configure(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.dir.join(name);
        if !std::fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
            std::fs::write(&path, text)?;
        }
        Ok(path)
    }
}

impl Row {
    /// Starts it, and waits for its first answer, which has to be right.
    pub(crate) fn start(&self, cache: &Path, probe: &Probe) -> anyhow::Result<Server> {
        self.start_on("/", HELLO, cache, probe)
    }

    /// As [`Row::start`], for a server that answers something else.
    pub(crate) fn start_on(
        &self,
        path: &str,
        answer: &str,
        cache: &Path,
        probe: &Probe,
    ) -> anyhow::Result<Server> {
        let dir = cache.join("project").join(self.id);
        std::fs::create_dir_all(&dir)?;
        let address = free_address()?;
        let place = Place { address, dir: dir.clone(), cache: cache.to_owned() };
        let mut command = (self.command)(&place)?;
        let log = File::create(dir.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Some start others: all of them go together.
        command.process_group(0);
        let program = command.get_program().to_owned();
        let began = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        RUNNING.store(i32::try_from(child.id()).unwrap_or(0), Ordering::SeqCst);
        let mut server = Server { address, started_in: Duration::ZERO, child, dir };
        loop {
            // In slices, so that one that has ended is not waited for.
            let until = (began + PATIENCE).min(Instant::now() + Duration::from_millis(200));
            match probe.first(address, path, until) {
                Ok(response) if response.body() == answer => break,
                Ok(response) => bail!("{}: it answers {:?}", self.id, response.body()),
                Err(error) => {
                    let ended = server.child.try_wait()?.is_some();
                    if ended || began.elapsed() >= PATIENCE {
                        bail!("{}: it does not answer ({error}): {}", self.id, server.last_words());
                    }
                }
            }
        }
        server.started_in = began.elapsed();
        Ok(server)
    }
}

impl Server {
    /// The CPU time that its processes have used so far.
    pub(crate) fn used(&self) -> TreeUsage {
        used(self.child.id()).unwrap_or_default()
    }

    /// A load whose every answer is looked at.
    pub(crate) fn load(&self, duration: Duration, rate: Option<u32>) -> io::Result<Measured> {
        LoadPlan {
            target: LoadTarget::local(self.address, http::uri::PathAndQuery::from_static("/")),
            method: Method::GET,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            connections: CONNECTIONS,
            threads: 1,
            requests_each: None,
            warmup: Duration::from_millis(300),
            duration,
            rate,
            timeout: Duration::from_secs(5),
            expect: Expect { status: Some(200), body: Some(Bytes::from_static(HELLO.as_bytes())) },
        }
        .run()
    }

    /// Looks at thousands of its answers; says how many were wrong.
    pub(crate) fn verify(&self) -> anyhow::Result<u64> {
        let measured = self.load(Duration::from_millis(300), None)?;
        if let Some(error) = &measured.first_error {
            eprintln!("  wrong: {error}");
        }
        // A server that answers nothing at all has no wrong answers either.
        Ok(measured.error_count() + u64::from(measured.responses == 0))
    }

    /// The end of what it said.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }
}

/// The process group of the server that runs; there is one at a time. 0 where there is none.
static RUNNING: AtomicI32 = AtomicI32::new(0);

/// Ends the server that runs, and whatever it has started.
fn end_running() {
    if let Some(group) = Pid::from_raw(RUNNING.swap(0, Ordering::SeqCst)) {
        // They may have ended by themselves.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// A server has a process group of its own, which the terminal's Ctrl-C does not reach: it ends
/// with this process.
pub(crate) fn end_with_this_process() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt) = {
        let _entered = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        end_running();
        // The status with which a shell reports a program that Ctrl-C has ended.
        std::process::exit(130);
    })?;
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        end_running();
        let _ = self.child.wait();
    }
}
