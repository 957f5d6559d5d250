//! The limits and prohibitions that the compiler puts on itself before it reads a component.
//!
//! ```text
//!   close_inherited    every descriptor but the three pipes
//!   step_back          dies with the host, yields to all other processes
//!   limit              resource limits; no new privileges; not readable by other processes of its user
//!   landlock           no file, no TCP port, no abstract socket, no signal to others   (where the kernel has it)
//!   calls::filter      the system calls that computing takes, with the arguments that it uses   (seccomp)
//! ```
//!
//! The last two overlap on purpose: one names objects, the other names calls, and a bug of the
//! kernel is seldom in both.

mod calls;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

use std::io;

pub(super) use calls::filter;

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

/// The niceness of the compiler beside other processes: a core that serving wants is serving's,
/// nearly.
const NICE: i32 = 10;

/// Descriptors: the three pipes, and what starting up opens and closes again.
const DESCRIPTORS: u64 = 16;

/// Closes what somebody left open in the host, and whatever the host was started with: all but the
/// three pipes. Where there is no list of them, what is open stays so, and is of no use where
/// system calls are filtered.
pub(super) fn close_inherited() {
    #[cfg(target_os = "linux")]
    {
        let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
        // The list's own descriptor is among them, and is gone once it is whole.
        let open: Vec<i32> =
            open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
            let _ = nix::unistd::close(descriptor);
        }
    }
}

/// Ends with the host, and comes last: for the cores, and before the host where memory runs out.
pub(super) fn step_back() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Not everywhere is there a /proc; the limit on memory holds all the same.
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    }
    nice(NICE)?;
    Ok(())
}

/// Limits this process for good.
pub(super) fn limit(memory_bytes: u64, cpu_s: u64) -> io::Result<()> {
    set(Resource::As, memory_bytes, memory_bytes)?;
    // At the first the process is told, which ends it; at the second it is killed.
    set(Resource::Cpu, cpu_s, cpu_s.saturating_add(1))?;
    set(Resource::Fsize, 0, 0)?;
    set(Resource::Core, 0, 0)?;
    set(Resource::Nofile, DESCRIPTORS, DESCRIPTORS)?;
    #[cfg(target_os = "linux")]
    {
        nix::sys::prctl::set_no_new_privs()?;
        // After `step_back`: the files of such a process under /proc are root's.
        nix::sys::prctl::set_dumpable(false)?;
    }
    Ok(())
}

/// A limit that is lower already stays.
fn set(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let have = getrlimit(resource);
    let least = |have: Option<u64>, want: u64| Some(have.map_or(want, |have| have.min(want)));
    let limit =
        Rlimit { current: least(have.current, current), maximum: least(have.maximum, maximum) };
    setrlimit(resource, limit)?;
    Ok(())
}

/// Takes every right that Landlock knows from this process, and grants none back. False where the
/// kernel has no Landlock; an older kernel takes as many as that kernel knows.
///
/// The pipes stay: they are open, and Landlock looks at what is opened.
#[cfg(target_os = "linux")]
pub(super) fn landlock() -> bool {
    give_up_rights().is_ok_and(|status| status.ruleset != landlock::RulesetStatus::NotEnforced)
}

#[cfg(target_os = "linux")]
fn give_up_rights() -> Result<landlock::RestrictionStatus, landlock::RulesetError> {
    use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, Scope};
    const KNOWN: ABI = ABI::V7;
    Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .restrict_self()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn landlock() -> bool {
    false
}
