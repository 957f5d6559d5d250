//! A process that puts on a part of the jail and then tries what that part forbids.
//!
//! Each test is two processes: the test starts this program once more with a name in its
//! environment, and the second one, which is the same test, puts on the jail, tries, and prints how
//! each attempt ended.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod calls;

use std::{
    fs::File,
    net::{TcpListener, TcpStream},
    process::{Command, ExitStatus, Stdio},
};

use super::*;

/// Says to a test that it is the second process.
const INMATE: &str = "LACEWING_TEST_INMATE";

/// Runs a test of this module once more, as an inmate; gives what it printed, one attempt and its
/// end a line.
fn inmate(test: &str, argument: &str) -> (Vec<String>, ExitStatus) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &format!("engine::compiler::jail::tests::{test}")])
        .env(INMATE, argument)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines = said.lines().filter_map(|line| line.strip_prefix("tried "));
    (lines.map(str::to_owned).collect(), output.status)
}

fn told() -> Option<String> {
    std::env::var(INMATE).ok()
}

fn tried(attempt: &str, end: impl std::fmt::Display) {
    // Skips a line that the harness may have begun already.
    println!("\ntried {attempt}: {end}");
}

/// How trying something ended, in the system's words.
fn end<T>(result: io::Result<T>) -> String {
    match result {
        Ok(_) => "it may".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

#[test]
fn landlock_leaves_no_file_and_no_port() {
    if let Some(port) = told() {
        limit(1 << 40, 60).unwrap();
        assert!(!nix::sys::prctl::get_dumpable().unwrap());
        assert!(nix::sys::prctl::get_no_new_privs().unwrap());
        let enforced = give_up_rights().unwrap().ruleset;
        tried("landlock", format_args!("{enforced:?}"));
        let of = |path: &str| end(File::open(path));
        tried("a file", of("/etc/passwd"));
        tried("its own memory", of("/proc/self/mem"));
        tried("a folder", end(std::fs::read_dir("/")));
        tried("a new file", end(File::create("/tmp/lacewing-inmate")));
        tried("a new folder", end(std::fs::create_dir("/tmp/lacewing-inmate")));
        tried("a program", end(Command::new("/bin/true").status()));
        tried("a connection", end(TcpStream::connect(("127.0.0.1", port.parse().unwrap()))));
        tried("a port", end(TcpListener::bind("127.0.0.1:0")));
        // Its parent is outside.
        let parent = rustix::process::getppid().unwrap();
        let signal = rustix::process::kill_process(parent, rustix::process::Signal::CONT);
        tried("a signal", end(signal.map_err(io::Error::from)));
        std::process::exit(0);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tried, status) = inmate("landlock_leaves_no_file_and_no_port", &port.to_string());
    assert!(status.success(), "{status}");
    let (landlock, tried) = tried.split_first().unwrap();
    // Files are looked at by every Landlock, the rest by those of newer kernels.
    let known = match landlock.as_str() {
        "landlock: FullyEnforced" => tried.len(),
        "landlock: PartiallyEnforced" => 6,
        none => return assert_eq!(none, "landlock: NotEnforced"),
    };
    assert_eq!(
        tried[..known],
        [
            "a file: PermissionDenied",
            "its own memory: PermissionDenied",
            "a folder: PermissionDenied",
            "a new file: PermissionDenied",
            "a new folder: PermissionDenied",
            "a program: PermissionDenied",
            "a connection: PermissionDenied",
            "a port: PermissionDenied",
            "a signal: PermissionDenied",
        ][..known]
    );
}
