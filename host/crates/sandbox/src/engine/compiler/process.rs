//! The host's side: starts a compiler, waits for it no longer than it may take, and says how it
//! ended. The process is gone and reaped when this returns, in every case.

use std::{
    io::{self, BufReader, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Once, mpsc},
    thread,
    time::Duration,
};

use lacewing_manifest::config::Compilation;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{
    ARGUMENT, CompileError, CompilerPlace, TURN, invalid,
    patience::Patience,
    protocol::{CompilerReply, Jail, ReplyKind, Request, read_bytes, read_line, send},
    shown,
};
use crate::engine::Profile;

/// The part of a compiler's output that is kept, in bytes: its end.
const SAID_BYTES: usize = 4096;

/// A compiler's process. Killed and reaped when dropped.
struct CompilerChild(Child);

impl CompilerChild {
    /// Ends the process, if it has not ended. Returns the status with which it ended.
    fn end(&mut self) -> io::Result<ExitStatus> {
        // Until it is reaped no other process has its number.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.kill();
        self.0.wait()
    }

    /// Waits for its answer, no longer than it may take. It stops while others have their turns.
    fn wait_for<T>(
        &self,
        answer: &mpsc::Receiver<T>,
        wall: Duration,
        place: &CompilerPlace<'_>,
    ) -> Result<T, mpsc::RecvTimeoutError> {
        // One that has ended is told nothing, and its answer is there.
        let signal = |signal| {
            let _ = kill_process_group(Pid::from_child(&self.0), signal);
        };
        let mut patience = Patience::new(self.0.id(), wall);
        loop {
            match answer.recv_timeout(TURN.min(patience.left())) {
                Err(mpsc::RecvTimeoutError::Timeout) if patience.is_left() => {}
                ended => return ended,
            }
            place.rest(|| signal(Signal::STOP), || signal(Signal::CONT));
            patience.go_on();
        }
    }
}

impl Drop for CompilerChild {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// How reading the answer ended.
enum ReadAnswer {
    Whole(CompilerReply, Vec<u8>),
    TooLarge {
        bytes: u64,
    },
    Other {
        answered: String,
    },
    /// It ended in the middle, or before.
    Cut,
}

pub(super) fn run(
    program: impl AsRef<Path>,
    settings: &Compilation,
    profile: Profile,
    component: &[u8],
    place: &CompilerPlace<'_>,
) -> Result<Vec<u8>, CompileError> {
    let program = program.as_ref();
    let cannot_start = |error: io::Error| CompileError::Start {
        program: program.display().to_string(),
        reason: error.to_string(),
    };
    let request = Request {
        metered: profile.metered,
        tasks: profile.tasks,
        component_bytes: component.len() as u64,
        memory_bytes: settings.memory_bytes,
        cpu_s: settings.cpu.as_secs(),
        threads: settings.threads(),
    };
    let mut process = CompilerChild(start(program, &request).map_err(cannot_start)?);
    let CompilerChild(child) = &mut process;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        return Err(cannot_start(io::Error::other("it has no pipes")));
    };
    let (answered, answer) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        let thread = |name: &str| thread::Builder::new().name(format!("compiler {name}"));
        // A compiler that ends before it has read everything says why elsewhere.
        let write = move || drop(send(&mut stdin, &request, component));
        let read = move || drop(answered.send(read_answer(stdout, settings.artifact_bytes)));
        let started = thread("input").spawn_scoped(scope, write).and_then(|_| {
            thread("output").spawn_scoped(scope, read)?;
            thread("errors").spawn_scoped(scope, move || end_of(stderr))
        });
        let said = match started {
            Ok(said) => said,
            Err(error) => {
                // Or the threads that did start would wait for it.
                let _ = process.end();
                return Err(cannot_start(error));
            }
        };
        let answer = process.wait_for(&answer, settings.wall, place);
        let status = process.end();
        let said = said.join().unwrap_or_default();
        match answer {
            Ok(answer) => conclude(program, settings, answer, status, &said),
            Err(_) => Err(CompileError::Wall { limit_s: settings.wall.as_secs() }),
        }
    })
}

fn start(program: &Path, request: &Request) -> io::Result<Child> {
    Command::new(program)
        .arg0("lacewing")
        .arg(ARGUMENT)
        .env_clear()
        .env("RAYON_NUM_THREADS", request.threads.to_string())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

fn read_answer(stdout: ChildStdout, limit_bytes: u64) -> ReadAnswer {
    let mut stdout = BufReader::new(stdout);
    let reply: CompilerReply = match read_line(&mut stdout) {
        Ok(reply) => reply,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return ReadAnswer::Other { answered: format!("answered {:?}", error.to_string()) };
        }
        Err(_) => return ReadAnswer::Cut,
    };
    if reply.lacewing != env!("CARGO_PKG_VERSION") {
        return ReadAnswer::Other { answered: format!("is of version {}", reply.lacewing) };
    }
    if reply.bytes > limit_bytes {
        return ReadAnswer::TooLarge { bytes: reply.bytes };
    }
    match read_bytes(&mut stdout, reply.bytes) {
        Ok(bytes) => ReadAnswer::Whole(reply, bytes),
        Err(_) => ReadAnswer::Cut,
    }
}

/// Reads everything, so that the writer never waits, and keeps the end.
fn end_of(mut stderr: ChildStderr) -> String {
    let (mut end, mut piece) = (Vec::new(), [0; SAID_BYTES]);
    while let Ok(read @ 1..) = stderr.read(&mut piece) {
        end.extend_from_slice(&piece[..read]);
        end.drain(..end.len().saturating_sub(SAID_BYTES));
    }
    String::from_utf8_lossy(&end).trim().to_owned()
}

fn conclude(
    program: &Path,
    settings: &Compilation,
    answer: ReadAnswer,
    status: io::Result<ExitStatus>,
    said: &str,
) -> Result<Vec<u8>, CompileError> {
    let memory = CompileError::Memory { limit_mib: settings.memory_bytes >> 20 };
    let program = || program.display().to_string();
    let (reply, bytes) = match answer {
        ReadAnswer::Whole(reply, bytes) => (reply, bytes),
        ReadAnswer::TooLarge { bytes } => {
            return Err(CompileError::Artifact {
                mib: bytes.div_ceil(1 << 20),
                limit_mib: settings.artifact_bytes >> 20,
            });
        }
        ReadAnswer::Other { answered } => {
            return Err(CompileError::Stranger { program: program(), answered: shown(answered) });
        }
        ReadAnswer::Cut => return Err(ended(settings, memory, &program(), status, said)),
    };
    if reply.result != ReplyKind::Unlimited {
        tell_of(reply.jail);
    }
    let text = || shown(String::from_utf8_lossy(&bytes).into_owned());
    match reply.result {
        ReplyKind::Artifact => Ok(bytes),
        ReplyKind::Memory => Err(memory),
        ReplyKind::Invalid => Err(invalid(text())),
        ReplyKind::Unlimited => Err(CompileError::Unlimited(text())),
    }
}

/// Why a compiler ended without an answer.
fn ended(
    settings: &Compilation,
    memory: CompileError,
    program: &str,
    status: io::Result<ExitStatus>,
    said: &str,
) -> CompileError {
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            return CompileError::Crashed { status: error.to_string(), said: shown(said.into()) };
        }
    };
    // Rust's allocator, C's, and the system, in their own words: nothing else says that memory was
    // refused.
    let refused = [
        "memory allocation of",
        "out of memory",
        "Cannot allocate memory",
        "Resource temporarily unavailable",
    ];
    let signal = |signal: Signal| status.signal() == Some(signal.as_raw());
    if refused.iter().any(|text| said.contains(text)) {
        memory
    } else if signal(Signal::XCPU) {
        CompileError::Cpu { limit_s: settings.cpu.as_secs() }
    } else if signal(Signal::KILL) {
        CompileError::Killed
    } else if status.success() {
        CompileError::Stranger {
            program: program.to_owned(),
            answered: "ended without an answer".to_owned(),
        }
    } else {
        let last = said.lines().rev().take(3).collect::<Vec<_>>();
        let last: Vec<&str> = last.into_iter().rev().collect();
        CompileError::Crashed { status: status.to_string(), said: shown(last.join(" / ")) }
    }
}

/// Says once what of its jail the compiler did without.
fn tell_of(jail: Jail) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        if !jail.filtered {
            tracing::warn!(
                "this system has no filter of system calls for the compiler (seccomp): it runs with its limits only"
            );
        }
        if !jail.landlocked {
            tracing::debug!(
                "this kernel has no Landlock: only the filter of system calls keeps the compiler from files and ports"
            );
        }
    });
}
