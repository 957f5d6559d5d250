//! What the compiler takes from itself before it reads a component.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

/// How much the compiler comes after everybody else: a core that serving wants is serving's, nearly.
const NICE: i32 = 10;

/// Descriptors: the three pipes, and what starting up opens and closes again.
const DESCRIPTORS: u64 = 16;

/// Closes what somebody left open in the host, and whatever the host was started with: all but the three pipes. Where there is
/// no list of them, what is open stays so, and is of no use where system calls are filtered.
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

/// Leaves this process the system calls that computing takes, and reading and writing its pipes. False where the kernel or
/// the architecture has no filter.
///
/// Every other call fails as if the kernel did not know it, which is what the C library knows to do without: no files, no
/// sockets, no programs, no processes, no memory that can be run, no signals to others, and no descriptor but the pipes,
/// whoever left it open.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn filter() -> bool {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    let action = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = std::env::consts::ARCH.try_into().and_then(|arch| {
        SeccompFilter::new(rules()?, action, SeccompAction::Allow, arch)?.try_into()
    });
    filter.is_ok_and(|filter: BpfProgram| apply_filter(&filter).is_ok())
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(super) fn filter() -> bool {
    false
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn rules()
-> Result<std::collections::BTreeMap<i64, Vec<seccompiler::SeccompRule>>, seccompiler::BackendError>
{
    use seccompiler::{
        SeccompCmpArgLen::{Dword, Qword},
        SeccompCmpOp::{Eq, MaskedEq},
        SeccompCondition, SeccompRule,
    };
    /// Whatever their arguments.
    const ANY: [i64; 24] = [
        libc::SYS_brk,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_gettid,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_set_robust_list,
        libc::SYS_sigaltstack,
        libc::SYS_prctl,
    ];
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    let anonymous = u64::from(libc::MAP_ANONYMOUS.unsigned_abs());
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let is = |argument, value| SeccompCondition::new(argument, Dword, Eq, value);
    let has = |argument, mask, value| SeccompCondition::new(argument, Qword, MaskedEq(mask), value);
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        ANY.into_iter().map(|call| (call, Vec::new())).collect();
    let mut allow = |call, alternatives: Vec<Vec<SeccompCondition>>| {
        let alternatives: Result<Vec<_>, _> =
            alternatives.into_iter().map(SeccompRule::new).collect();
        alternatives.map(|alternatives| rules.insert(call, alternatives))
    };
    allow(libc::SYS_read, vec![vec![is(0, 0)?]])?;
    for call in [libc::SYS_write, libc::SYS_writev] {
        allow(call, vec![vec![is(0, 1)?], vec![is(0, 2)?]])?;
    }
    allow(libc::SYS_mmap, vec![vec![has(2, executable, 0)?, has(3, anonymous, anonymous)?]])?;
    allow(libc::SYS_mprotect, vec![vec![has(2, executable, 0)?]])?;
    allow(libc::SYS_clone, vec![vec![has(0, thread, thread)?]])?;
    allow(libc::SYS_tgkill, vec![vec![is(0, std::process::id().into())?]])?;
    Ok(rules)
}
