//! Calls that a compiler has no use for, each of which the filter refuses.

use libc::{c_int, c_long};

use super::*;

/// One call, as numbers.
type Attempt = (&'static str, c_long, [c_long; 6]);

const NOTHING: [c_long; 6] = [0; 6];

fn first(arguments: &[c_int]) -> [c_long; 6] {
    let mut six = NOTHING;
    six.iter_mut().zip(arguments).for_each(|(to, from)| *to = (*from).into());
    six
}

/// Flags that a compiler has no use for. None of them does harm where it is let through: addresses
/// and lengths are none.
fn forbidden() -> Vec<Attempt> {
    let own = c_int::try_from(std::process::id()).unwrap();
    let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get();
    [files(), sockets(), processes(own, parent), memory(), itself(parent), kernel()].concat()
}

/// Files, and descriptors of them.
fn files() -> Vec<Attempt> {
    vec![
        ("openat", libc::SYS_openat, first(&[libc::AT_FDCWD])),
        ("openat2", libc::SYS_openat2, first(&[libc::AT_FDCWD])),
        ("fstat of a pipe", libc::SYS_fstat, NOTHING),
        ("unlinkat", libc::SYS_unlinkat, first(&[libc::AT_FDCWD])),
        ("getcwd", libc::SYS_getcwd, NOTHING),
        ("mount", libc::SYS_mount, NOTHING),
        ("chroot", libc::SYS_chroot, NOTHING),
        ("memfd_create", libc::SYS_memfd_create, NOTHING),
        ("userfaultfd", libc::SYS_userfaultfd, NOTHING),
        ("io_uring_setup", libc::SYS_io_uring_setup, NOTHING),
        ("name_to_handle_at", libc::SYS_name_to_handle_at, NOTHING),
        ("read of standard output", libc::SYS_read, first(&[1])),
        ("read of another", libc::SYS_read, first(&[3])),
        ("write to standard input", libc::SYS_write, NOTHING),
        ("write to another", libc::SYS_write, first(&[3])),
        ("readv", libc::SYS_readv, NOTHING),
        ("pread64", libc::SYS_pread64, NOTHING),
        ("dup", libc::SYS_dup, NOTHING),
        ("close", libc::SYS_close, first(&[9])),
        ("fcntl", libc::SYS_fcntl, first(&[0, libc::F_GETFD])),
        ("ioctl", libc::SYS_ioctl, NOTHING),
        ("splice", libc::SYS_splice, NOTHING),
        ("vmsplice", libc::SYS_vmsplice, NOTHING),
        ("sendfile", libc::SYS_sendfile, NOTHING),
        ("epoll_create1", libc::SYS_epoll_create1, NOTHING),
    ]
}

fn sockets() -> Vec<Attempt> {
    vec![
        ("socket", libc::SYS_socket, first(&[libc::AF_INET, libc::SOCK_STREAM])),
        ("a local socket", libc::SYS_socket, first(&[libc::AF_UNIX, libc::SOCK_STREAM])),
        ("socketpair", libc::SYS_socketpair, first(&[libc::AF_UNIX, libc::SOCK_STREAM])),
        ("connect", libc::SYS_connect, NOTHING),
        ("sendmsg", libc::SYS_sendmsg, NOTHING),
    ]
}

/// Programs, processes and signals to them. The signal 0 is sent to nobody.
fn processes(own: c_int, parent: c_int) -> Vec<Attempt> {
    let thread = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    vec![
        ("execve", libc::SYS_execve, NOTHING),
        ("execveat", libc::SYS_execveat, NOTHING),
        ("clone of a process", libc::SYS_clone, first(&[libc::SIGCHLD])),
        ("clone with fewer flags", libc::SYS_clone, first(&[thread])),
        ("a new namespace", libc::SYS_clone, first(&[thread | libc::CLONE_NEWUSER])),
        ("clone3", libc::SYS_clone3, NOTHING),
        ("unshare", libc::SYS_unshare, first(&[libc::CLONE_NEWUSER])),
        ("setns", libc::SYS_setns, NOTHING),
        ("ptrace", libc::SYS_ptrace, first(&[-1])),
        ("process_vm_readv", libc::SYS_process_vm_readv, first(&[parent])),
        ("process_vm_writev", libc::SYS_process_vm_writev, first(&[parent])),
        ("pidfd_open", libc::SYS_pidfd_open, first(&[parent])),
        ("wait4", libc::SYS_wait4, first(&[own])),
        ("kill", libc::SYS_kill, first(&[parent])),
        ("kill of itself", libc::SYS_kill, first(&[own])),
        ("tkill", libc::SYS_tkill, first(&[own])),
        ("tgkill of another", libc::SYS_tgkill, first(&[parent, parent, libc::SIGABRT])),
        ("tgkill with another signal", libc::SYS_tgkill, first(&[own, own])),
        ("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo, first(&[own])),
        ("a handler of SIGXCPU", libc::SYS_rt_sigaction, first(&[libc::SIGXCPU])),
    ]
}

fn memory() -> Vec<Attempt> {
    let all = libc::PROT_READ | libc::PROT_EXEC;
    let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    vec![
        ("mmap of code", libc::SYS_mmap, first(&[0, 4096, all, private, -1])),
        ("mmap of a file", libc::SYS_mmap, first(&[0, 4096, 1, libc::MAP_PRIVATE, 0])),
        (
            "mmap of shared memory",
            libc::SYS_mmap,
            first(&[0, 4096, 1, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1]),
        ),
        (
            "mmap at a place of its choice",
            libc::SYS_mmap,
            first(&[4096, 4096, 1, private | libc::MAP_FIXED, -1]),
        ),
        ("mprotect to code", libc::SYS_mprotect, first(&[0, 0, all])),
        ("pkey_mprotect", libc::SYS_pkey_mprotect, first(&[0, 0, all])),
        ("mremap", libc::SYS_mremap, NOTHING),
        ("remap_file_pages", libc::SYS_remap_file_pages, NOTHING),
        ("mlockall", libc::SYS_mlockall, NOTHING),
        ("madvise of broken memory", libc::SYS_madvise, first(&[0, 0, libc::MADV_HWPOISON])),
        ("brk", libc::SYS_brk, NOTHING),
    ]
}

/// The state of a process, and its permissions.
fn itself(parent: c_int) -> Vec<Attempt> {
    vec![
        ("prctl, dumpable", libc::SYS_prctl, first(&[libc::PR_SET_DUMPABLE, 1])),
        ("prctl, a name", libc::SYS_prctl, first(&[libc::PR_SET_NAME])),
        ("prctl, the parent's end", libc::SYS_prctl, first(&[libc::PR_SET_PDEATHSIG])),
        ("prctl, who may trace", libc::SYS_prctl, first(&[libc::PR_SET_PTRACER, parent])),
        ("prctl, memory's layout", libc::SYS_prctl, first(&[libc::PR_SET_MM])),
        ("prlimit64", libc::SYS_prlimit64, NOTHING),
        ("setpriority", libc::SYS_setpriority, NOTHING),
        ("sched_setscheduler", libc::SYS_sched_setscheduler, first(&[-1])),
        ("sched_setaffinity", libc::SYS_sched_setaffinity, first(&[-1])),
        ("personality", libc::SYS_personality, first(&[-1])),
        ("setuid", libc::SYS_setuid, first(&[-1])),
        ("capset", libc::SYS_capset, NOTHING),
    ]
}

fn kernel() -> Vec<Attempt> {
    vec![
        ("another filter", libc::SYS_seccomp, first(&[-1])),
        ("another ruleset", libc::SYS_landlock_create_ruleset, NOTHING),
        ("bpf", libc::SYS_bpf, first(&[-1])),
        ("perf_event_open", libc::SYS_perf_event_open, NOTHING),
        ("keyctl", libc::SYS_keyctl, first(&[-1])),
        ("add_key", libc::SYS_add_key, NOTHING),
        ("init_module", libc::SYS_init_module, NOTHING),
        ("futex with priorities", libc::SYS_futex, first(&[0, libc::FUTEX_LOCK_PI])),
        ("nanosleep", libc::SYS_nanosleep, NOTHING),
        ("timer_create", libc::SYS_timer_create, first(&[-1])),
        ("a call that there is not", 0x3fff_0000, NOTHING),
    ]
}

fn call((_, number, a): Attempt) -> io::Result<c_long> {
    // SAFETY: the filter refuses the call. One that is let through has no address to read or to
    // write.
    #[allow(unsafe_code)]
    let ended = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    if ended == -1 { Err(io::Error::last_os_error()) } else { Ok(ended) }
}

fn try_everything(threads: u32) -> ! {
    let forbidden = forbidden();
    limit(1 << 40, 60).unwrap();
    assert!(filter(threads), "there is a filter");
    for attempt in forbidden {
        match call(attempt) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                tried(attempt.0, "refused");
            }
            other => tried(attempt.0, format_args!("{other:?}")),
        }
    }
    // The calls that are needed are allowed: memory, small and large, and threads where they are
    // asked for.
    let large = vec![1_u8; 64 << 20];
    let sum: u64 = large.iter().map(|byte| u64::from(*byte)).sum();
    tried("memory", sum >> 20);
    let spawned = std::thread::Builder::new().spawn(move || 42);
    tried("threads", spawned.map_or(0, |thread| thread.join().unwrap()));
    std::process::exit(0);
}

fn everything_is_refused(test: &str, threads: u32) {
    let (tried, status) = inmate(&format!("calls::{test}"), "");
    assert!(status.success(), "{status}: {tried:#?}");
    let mut expected: Vec<_> =
        forbidden().iter().map(|(name, ..)| format!("{name}: refused")).collect();
    let works = if threads > 1 { 42 } else { 0 };
    expected.extend(["memory: 64".to_owned(), format!("threads: {works}")]);
    assert_eq!(tried, expected);
}

#[test]
fn no_other_call_is_let_through_on_one_thread() {
    if told().is_some() {
        try_everything(1);
    }
    everything_is_refused("no_other_call_is_let_through_on_one_thread", 1);
}

#[test]
fn no_other_call_is_let_through_on_several_threads() {
    if told().is_some() {
        try_everything(2);
    }
    everything_is_refused("no_other_call_is_let_through_on_several_threads", 2);
}

#[test]
fn a_crash_still_ends_the_process_as_one() {
    use std::os::unix::process::ExitStatusExt;
    if told().is_some() {
        limit(1 << 40, 60).unwrap();
        assert!(filter(1));
        std::process::abort();
    }
    let (_, status) = inmate("calls::a_crash_still_ends_the_process_as_one", "");
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}");
}
