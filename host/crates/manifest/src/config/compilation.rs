//! The limits of a compilation.

use std::{num::NonZero, path::PathBuf, thread, time::Duration};

use serde::{Deserialize, Serialize};

use super::raw::RawCompiler;
use super::settings::{number, small};
use crate::Findings;
use crate::raw::{At, Whole};

const MIB: u64 = 1024 * 1024;

/// The limits of a compilation. Each is for one compilation, in a process of its own, unless said
/// otherwise. A deploy that goes over one is refused with the reason, and the served revision
/// stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compilation {
    /// Address space, in bytes. Key: `memory_mib`. Default 2 GiB: a JavaScript engine of 12 MiB
    /// takes half of it.
    pub memory_bytes: u64,
    /// CPU time, over all threads. Key: `cpu_s`. Default 60 s: ten times what a JavaScript engine
    /// takes.
    pub cpu: Duration,
    /// Wall time, without the wait for a place and others' turns. Key: `wall_s`. Default 120 s:
    /// compiling comes after serving, and so may take longer than its CPU time.
    pub wall: Duration,
    /// The artifact, in bytes. Key: `artifact_mib`. Default 512 MiB: code is a few times larger
    /// than Wasm.
    pub artifact_bytes: u64,
    /// Compilations at once, in the whole host. Key: `concurrency`. Default 1, and 2 where there
    /// are four cores or more. At most as many as there are cores but one: one is always left
    /// to serving. A long compilation takes turns with those that wait.
    pub concurrency: u32,
    /// Compilations that wait for a place, in the whole host. Key: `queue`. Default 16: each holds
    /// its component in memory. The next one is refused.
    pub queue: u32,
    /// The compiler's program. No key: a host that serves always uses itself.
    pub program: CompilerProgram,
}

/// The program that compiles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompilerProgram {
    /// The program of this process, which has to be `lacewing`.
    #[default]
    This,
    /// A `lacewing` of this version: for tests of the library, whose program is another.
    At(PathBuf),
    /// None: components are compiled in this process, without any of the limits. For benches, and
    /// for users that compile only components of their own.
    InProcess,
}

impl Default for Compilation {
    fn default() -> Compilation {
        Compilation {
            memory_bytes: 2048 * MIB,
            cpu: Duration::from_secs(60),
            wall: Duration::from_secs(120),
            artifact_bytes: 512 * MIB,
            concurrency: if spare_cores() >= 3 { 2 } else { 1 },
            queue: 16,
            program: CompilerProgram::default(),
        }
    }
}

/// Cores that compiling may use: all but one.
fn spare_cores() -> u32 {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX).saturating_sub(1).max(1)
}

impl Compilation {
    /// Compilations that are let in at once.
    pub fn places(&self) -> u32 {
        self.concurrency.clamp(1, spare_cores())
    }

    /// Threads that each of them has: those that are let in share all cores but one.
    pub fn threads(&self) -> u32 {
        (spare_cores() / self.places()).max(1)
    }

    pub(super) fn read(raw: &RawCompiler, findings: &mut Findings) -> Compilation {
        let default = Compilation::default();
        let mut get = |key: &str, raw: &Option<At<Whole>>, range, default: u64| {
            number(key, raw, range, default, findings)
        };
        Compilation {
            memory_bytes: MIB
                * get("memory_mib", &raw.memory_mib, 256..=1_048_576, default.memory_bytes / MIB),
            cpu: Duration::from_secs(get("cpu_s", &raw.cpu_s, 1..=86_400, default.cpu.as_secs())),
            wall: Duration::from_secs(get(
                "wall_s",
                &raw.wall_s,
                1..=86_400,
                default.wall.as_secs(),
            )),
            artifact_bytes: MIB
                * get("artifact_mib", &raw.artifact_mib, 1..=16_384, default.artifact_bytes / MIB),
            concurrency: small(get(
                "concurrency",
                &raw.concurrency,
                1..=1024,
                default.concurrency.into(),
            )),
            queue: small(get("queue", &raw.queue, 0..=1024, default.queue.into())),
            program: CompilerProgram::This,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_left_to_serving() {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        for concurrency in [1, 2, 3, 1000] {
            let settings = Compilation { concurrency, ..Compilation::default() };
            let used = settings.places() * settings.threads();
            assert!(
                used >= 1 && (used as usize) < cores.max(2),
                "{concurrency} take {used} of {cores}"
            );
            assert!(settings.places() <= concurrency);
        }
    }
}
