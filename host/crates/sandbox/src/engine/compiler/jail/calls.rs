//! The system calls that a compilation takes, each with the arguments that it is made with.
//!
//! The list is what a compilation was seen to call, from an empty component to one of thousands of
//! functions, on one thread and on several, with glibc and mimalloc; and what a crash calls, so
//! that it ends as one. Where the C library has another way (`clone3`, `brk`, `mremap`), only the
//! way whose arguments a filter can read is left.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod linux {
    use std::collections::BTreeMap;

    use libc::{c_int, c_long};
    use seccompiler::{
        BackendError, BpfProgram, SeccompAction,
        SeccompCmpArgLen::{Dword, Qword},
        SeccompCmpOp::{Eq, MaskedEq},
        SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
    };

    /// Leaves this process the system calls that computing takes, on so many threads, and reading
    /// and writing its pipes. False where the kernel has no filter.
    ///
    /// Every other call fails as if the kernel did not know it, which is what the C library knows
    /// to do without: no files, no sockets, no programs, no processes, no memory that can be
    /// run, no signals to others, and no descriptor but the pipes, the part of the host that
    /// left it open.
    pub(in crate::engine::compiler) fn filter(threads: u32) -> bool {
        program(threads).is_ok_and(|filter| apply_filter(&filter).is_ok())
    }

    fn program(threads: u32) -> Result<BpfProgram, BackendError> {
        let refused = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        let arch = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(rules(threads)?, refused, SeccompAction::Allow, arch)?.try_into()
    }

    /// All calls of these numbers, with any arguments.
    const ANY: [c_long; 10] = [
        // Where the vDSO has no clock to read.
        libc::SYS_clock_gettime,
        libc::SYS_exit_group,
        libc::SYS_getrandom,
        // Memory that was mapped here: nothing else is there to be unmapped.
        libc::SYS_munmap,
        libc::SYS_sigaltstack,
        // The calls of `abort`, and of the handler of a stack overflow.
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        // Locks yield before they wait.
        libc::SYS_sched_yield,
    ];

    /// The same, where threads are started: what a thread's beginning and end call.
    const ANY_OF_THREADS: [c_long; 4] = [
        libc::SYS_exit,
        libc::SYS_rseq,
        // How large a thread's stack is.
        libc::SYS_sched_getaffinity,
        libc::SYS_set_robust_list,
    ];

    /// The flags of a thread in glibc and musl: it shares everything with its process.
    const THREAD: c_int = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM
        | libc::CLONE_SETTLS
        | libc::CLONE_PARENT_SETTID
        | libc::CLONE_CHILD_CLEARTID;

    fn rules(threads: u32) -> Result<BTreeMap<c_long, Vec<SeccompRule>>, BackendError> {
        let bits = |value: c_int| u64::from(value.unsigned_abs());
        let is = |argument, value| SeccompCondition::new(argument, Dword, Eq, value);
        // Without bits but those that are `free`, the argument is `value`.
        let is_but_for = |argument, free: c_int, value: c_int| {
            SeccompCondition::new(argument, Qword, MaskedEq(!bits(free)), bits(value))
        };
        let one_of = |argument, values: &[c_int]| -> Result<Vec<SeccompRule>, BackendError> {
            values.iter().map(|value| SeccompRule::new(vec![is(argument, bits(*value))?])).collect()
        };
        let all_of = |conditions| Ok(vec![SeccompRule::new(conditions)?]);
        let read_write = libc::PROT_READ | libc::PROT_WRITE;
        let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::from([
            (libc::SYS_read, one_of(0, &[0])?),
            (libc::SYS_write, one_of(0, &[1, 2])?),
            (libc::SYS_writev, one_of(0, &[1, 2])?),
            (
                libc::SYS_mmap,
                all_of(vec![
                    is_but_for(2, read_write, 0)?,
                    is_but_for(3, libc::MAP_NORESERVE | libc::MAP_STACK, private)?,
                ])?,
            ),
            (libc::SYS_mprotect, all_of(vec![is_but_for(2, read_write, 0)?])?),
            (
                libc::SYS_madvise,
                one_of(
                    2,
                    &[
                        libc::MADV_DONTNEED,
                        libc::MADV_FREE,
                        libc::MADV_HUGEPAGE,
                        libc::MADV_NOHUGEPAGE,
                    ],
                )?,
            ),
            // Waiting and waking, and none of the calls that hand priorities on.
            (
                libc::SYS_futex,
                [
                    libc::FUTEX_WAIT,
                    libc::FUTEX_WAKE,
                    libc::FUTEX_WAIT_BITSET,
                    libc::FUTEX_WAKE_BITSET,
                ]
                .into_iter()
                .map(|operation| {
                    let free = libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME;
                    let mask = u64::from(!free.unsigned_abs());
                    let same = SeccompCondition::new(1, Dword, MaskedEq(mask), bits(operation))?;
                    SeccompRule::new(vec![same])
                })
                .collect::<Result<_, _>>()?,
            ),
            // The handlers of a crash are taken out before it is one.
            (libc::SYS_rt_sigaction, one_of(0, &[libc::SIGABRT, libc::SIGBUS, libc::SIGSEGV])?),
            (
                libc::SYS_tgkill,
                all_of(vec![is(0, std::process::id().into())?, is(2, bits(libc::SIGABRT))?])?,
            ),
        ]);
        rules.extend(ANY.map(|call| (call, Vec::new())));
        if threads > 1 {
            rules.extend(ANY_OF_THREADS.map(|call| (call, Vec::new())));
            // musl sets one flag more, which Linux ignores.
            let thread = is_but_for(0, libc::CLONE_DETACHED, THREAD)?;
            rules.insert(libc::SYS_clone, all_of(vec![thread])?);
        }
        Ok(rules)
    }
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(in crate::engine::compiler) use linux::filter;

/// False: there is no filter for this system.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(in crate::engine::compiler) fn filter(_threads: u32) -> bool {
    false
}
