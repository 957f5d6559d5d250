//! Compilation in a process of its own: the effects of a stranger's component end with that
//! process.
//!
//! ```text
//!   Loader --enter--> Place (bounded in number, as is the wait; a long one stops while others have a turn)
//!      |
//!      +--compile--> `lacewing` again ── request ──> limits, filter of system calls
//!                          |                              | then the component is read
//!                          +<── artifact, or why not ─────+
//!                          +<── nothing: it crashed, was killed, took too much: a `CompileError`
//! ```
//!
//! The child has nothing but its three pipes. It is niced, in a process group of its own, and dies
//! with the host. Its limits are on address space, CPU time and files, and set by itself before it
//! reads a byte of the component; wall time and the artifact's size are the parent's to watch. It
//! knows neither the cache nor its key: what it made is hashed and written by the parent. The
//! artifact holds native code, and the host runs it: these checks do not stop an attacker that
//! makes the compiler emit wrong code. Only the compiler does.

mod child;
mod features;
mod jail;
mod patience;
mod process;
mod protocol;

use std::{collections::VecDeque, time::Duration};

use lacewing_manifest::config::{Compilation, CompilerProgram};
use lacewing_telemetry::shortened;
use parking_lot::{Condvar, Mutex, MutexGuard};

pub use child::{ARGUMENT, child};

use super::{Profile, fold};

/// The most that is shown of what Wasmtime, or a compiler that crashed, says: names are as long as
/// their authors make them.
const SHOWN_BYTES: usize = 1024;

/// How long a compilation runs before others that wait have a turn: longer than most components
/// take. The clock of its limits stands still meanwhile.
const TURN: Duration = Duration::from_secs(1);

/// For each place, compilations that were begun and are stopped. They hold their memory: with as
/// many, one goes on to its end.
const RESTING: u32 = 2;

/// Compiles components, so many at once.
#[derive(Debug)]
pub struct Compiler {
    settings: Compilation,
    in_use: Mutex<InUse>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct InUse {
    running: u32,
    /// Those that wait for a place, by their numbers, in order of arrival.
    line: VecDeque<u64>,
    /// How many of these have been running before.
    resting: u32,
    /// The number of the next one.
    next: u64,
}

impl InUse {
    /// Those that have not been running yet.
    fn waiting(&self) -> u32 {
        u32::try_from(self.line.len()).unwrap_or(u32::MAX).saturating_sub(self.resting)
    }
}

/// Why there is no artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The component: invalid, cut short, or using a feature that this host does not have.
    #[error("the component does not compile: {0}")]
    Invalid(String),
    /// Address space.
    #[error(
        "compiling the component takes more than {limit_mib} MiB of memory, which is the limit (`compiler.memory_mib` of the host)"
    )]
    Memory {
        /// In MiB.
        limit_mib: u64,
    },
    /// CPU time.
    #[error(
        "compiling the component takes more than {limit_s} s of CPU time, which is the limit (`compiler.cpu_s` of the host)"
    )]
    Cpu {
        /// In seconds.
        limit_s: u64,
    },
    /// Wall time.
    #[error(
        "compiling the component takes more than {limit_s} s, which is the limit (`compiler.wall_s` of the host)"
    )]
    Wall {
        /// In seconds.
        limit_s: u64,
    },
    /// The artifact.
    #[error(
        "the compiled component has {mib} MiB, and {limit_mib} MiB is the limit (`compiler.artifact_mib` of the host)"
    )]
    Artifact {
        /// In MiB.
        mib: u64,
        /// In MiB.
        limit_mib: u64,
    },
    /// It went down.
    #[error("the compiler crashed on the component ({status}){}", last_words(.said))]
    Crashed {
        /// How the process ended.
        status: String,
        /// The end of what it said.
        said: String,
    },
    /// Somebody else ended it.
    #[error(
        "the compiler was killed while it compiled the component, perhaps because the machine had no memory left; deploy again"
    )]
    Killed,
    /// More wait than may.
    #[error(
        "{waiting} components wait to be compiled, and no more may (`compiler.queue` of the host): deploy again later"
    )]
    Busy {
        /// How many wait.
        waiting: u32,
    },
    /// There is no compiler.
    #[error("cannot start the compiler {program}: {reason}; nothing is compiled without it")]
    Start {
        /// Its path.
        program: String,
        /// The system's error.
        reason: String,
    },
    /// The program is something else.
    #[error("{program} is not the compiler of lacewing {}: it {answered}", env!("CARGO_PKG_VERSION"))]
    Stranger {
        /// Its path.
        program: String,
        /// The call that was made instead.
        answered: String,
    },
    /// The child could not limit itself, and so read nothing.
    #[error("the compiler cannot limit itself, and compiles nothing without its limits: {0}")]
    Unlimited(String),
}

fn last_words(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// The leave to compile. Given back when dropped.
#[derive(Debug)]
pub(super) struct CompilerPlace<'a>(&'a Compiler);

impl Drop for CompilerPlace<'_> {
    fn drop(&mut self) {
        self.0.in_use.lock().running -= 1;
        self.0.freed.notify_all();
    }
}

impl CompilerPlace<'_> {
    /// Lets those that wait have a turn, if there are any. `stop` is called first, and `resume`
    /// when it is this one's turn again. Blocks in between.
    fn rest(&self, stop: impl FnOnce(), resume: impl FnOnce()) {
        let (CompilerPlace(compiler), mut in_use) = (self, self.0.in_use.lock());
        let places = compiler.settings.places();
        if in_use.line.is_empty() || in_use.resting >= places.saturating_mul(RESTING) {
            return;
        }
        stop();
        in_use.running -= 1;
        in_use.resting += 1;
        compiler.freed.notify_all();
        in_use = compiler.stand_in_line(in_use);
        in_use.resting -= 1;
        resume();
    }
}

impl Compiler {
    /// A compiler with these limits. No process is started before there is something to compile.
    pub fn new(settings: Compilation) -> Compiler {
        Compiler { settings, in_use: Mutex::default(), freed: Condvar::new() }
    }

    /// Compilations that run.
    pub fn running(&self) -> u32 {
        self.in_use.lock().running
    }

    /// Compilations that wait.
    pub fn waiting(&self) -> u32 {
        self.in_use.lock().waiting()
    }

    /// Waits for a place. Blocks.
    pub(super) fn enter(&self) -> Result<CompilerPlace<'_>, CompileError> {
        let mut in_use = self.in_use.lock();
        if in_use.running < self.settings.places() && in_use.line.is_empty() {
            in_use.running += 1;
            return Ok(CompilerPlace(self));
        }
        if in_use.waiting() >= self.settings.queue {
            return Err(CompileError::Busy { waiting: in_use.waiting() });
        }
        drop(self.stand_in_line(in_use));
        Ok(CompilerPlace(self))
    }

    /// Waits behind all that wait already, and takes the place that is free then.
    fn stand_in_line<'a>(&'a self, mut in_use: MutexGuard<'a, InUse>) -> MutexGuard<'a, InUse> {
        let (number, places) = (in_use.next, self.settings.places());
        in_use.next += 1;
        in_use.line.push_back(number);
        self.freed.wait_while(&mut in_use, |in_use| {
            in_use.running >= places || in_use.line.front() != Some(&number)
        });
        in_use.line.pop_front();
        in_use.running += 1;
        // There may be a place for the next one too.
        self.freed.notify_all();
        in_use
    }

    /// Compiles a component for `engine`, which is of `profile`. Blocks, no longer than the wall
    /// time, the others' turns and a moment.
    pub(super) fn compile(
        &self,
        place: &CompilerPlace<'_>,
        engine: &wasmtime::Engine,
        profile: Profile,
        component: &[u8],
    ) -> Result<Vec<u8>, CompileError> {
        match &self.settings.program {
            CompilerProgram::InProcess => {
                emit(engine, component).map_err(|error| invalid(format!("{error:#}")))
            }
            CompilerProgram::This => {
                process::run(this(), &self.settings, profile, component, place)
            }
            CompilerProgram::At(path) => {
                process::run(path, &self.settings, profile, component, place)
            }
        }
    }
}

/// This very program, also where its file was replaced or removed since it was started.
#[cfg(target_os = "linux")]
fn this() -> &'static std::path::Path {
    std::path::Path::new("/proc/self/exe")
}

#[cfg(not(target_os = "linux"))]
fn this() -> std::path::PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "lacewing".into())
}

/// Compiles a component, folded if it can be.
fn emit(engine: &wasmtime::Engine, bytes: &[u8]) -> wasmtime::Result<Vec<u8>> {
    if let Some(folded) = fold::folded(bytes)
        && let Ok(artifact) = engine.precompile_component(&folded)
    {
        return Ok(artifact);
    }
    engine.precompile_component(bytes)
}

fn shown(text: String) -> String {
    shortened(text, SHOWN_BYTES)
}

/// The error of a component, in Wasmtime's words.
fn invalid(text: String) -> CompileError {
    if let Some(advice) = features::advice(&text) {
        return CompileError::Invalid(format!("{} {advice}", shown(text)));
    }
    let cut = text.contains("unexpected end") || text.contains("is out of bounds");
    CompileError::Invalid(shown(text) + if cut { " (is the file whole?)" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(queue: u32) -> Compiler {
        Compiler::new(Compilation {
            concurrency: 1,
            queue,
            program: CompilerProgram::InProcess,
            ..Compilation::default()
        })
    }

    #[test]
    fn a_compilation_without_a_place_waits_and_one_without_room_to_wait_is_refused() {
        let compiler = compiler(1);
        let first = compiler.enter().unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| compiler.enter().map(drop));
            while compiler.waiting() == 0 {
                std::thread::yield_now();
            }
            assert_eq!(
                compiler.enter().unwrap_err().to_string(),
                "1 components wait to be compiled, and no more may (`compiler.queue` of the host): deploy again later"
            );
            assert_eq!(compiler.running(), 1);
            drop(first);
            assert_eq!(second.join().unwrap(), Ok(()));
        });
        assert_eq!((compiler.running(), compiler.waiting()), (0, 0));
    }

    #[test]
    fn a_long_compilation_rests_while_others_have_a_turn() {
        let compiler = compiler(1);
        let long = compiler.enter().unwrap();
        long.rest(|| panic!("nobody waits"), || ());
        std::thread::scope(|scope| {
            let (turn, end) = std::sync::mpsc::channel::<()>();
            let compiler = &compiler;
            let short = scope.spawn(move || {
                let place = compiler.enter();
                end.recv().unwrap();
                place.map(drop)
            });
            while compiler.waiting() == 0 {
                std::thread::yield_now();
            }
            let resumed = std::cell::Cell::new(false);
            // A compilation that is stopped goes on when the other one is done, and not before.
            long.rest(|| turn.send(()).unwrap(), || resumed.set(true));
            assert!(resumed.get());
            assert_eq!(short.join().unwrap(), Ok(()));
            assert_eq!((compiler.running(), compiler.waiting()), (1, 0));
        });
        drop(long);
        assert_eq!(compiler.running(), 0);
    }
}
