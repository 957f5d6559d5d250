//! `lacewing up` as a process of its own.

use std::{
    io::{BufRead, BufReader, PipeReader, Write},
    net::SocketAddr,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use crate::harness::lacewing;

/// Far longer than anything takes: only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that serves. Killed when dropped.
pub(crate) struct Up {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    child: Child,
    stderr: Arc<Stderr>,
    /// Standard error, held open and not read.
    _unread: Option<PipeReader>,
}

/// The lines of a process.
#[derive(Default)]
struct Stderr {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Default)]
struct Said {
    /// As a person reads them: messages of a JSON log are text here.
    lines: Vec<String>,
    /// As they are.
    raw: Vec<String>,
    ended: bool,
}

impl Said {
    fn add(&mut self, line: String) {
        match readable(&line) {
            Some(text) => self.lines.extend(text.lines().map(str::to_owned)),
            None => self.lines.push(line.clone()),
        }
        self.raw.push(line);
    }
}

/// A message of the program in a JSON log, as a log of text has it.
fn readable(line: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    if value["target"] != "lacewing" {
        return None;
    }
    if let Some(text) = value["text"].as_str() {
        return Some(text.to_owned());
    }
    let message = value["message"].as_str()?;
    Some(match value["level"].as_str()? {
        "ERROR" => format!("error: {message}"),
        "WARN" => format!("warning: {message}"),
        _ => message.to_owned(),
    })
}

/// Artifacts that the tests' processes share: compiled once in a run of all tests, and kept for the
/// next.
pub(crate) fn cache_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// `lacewing` with the tests' cache.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = lacewing();
    command.args(args).env("LACEWING_CACHE_DIR", cache_dir()).env_remove("NO_COLOR");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Up {
    /// Starts `lacewing up` with these arguments, on free ports, and waits until it serves.
    pub(crate) fn start(args: &[&str]) -> Up {
        Up::spawn(args, |_| {}).serving()
    }

    /// As [`Up::start`], with changes to the command, and waits for nothing.
    pub(crate) fn spawn(args: &[&str], change: impl FnOnce(&mut Command)) -> Up {
        let mut command = command(&["up", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]);
        // Unless a test says otherwise.
        command.env("LACEWING_REQUEST_LOG", "all");
        command.args(args);
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let pipe = BufReader::new(child.stderr.take().unwrap());
        drop(command);
        let stderr = Arc::new(Stderr::default());
        std::thread::spawn({
            let stderr = stderr.clone();
            move || {
                for line in pipe.lines() {
                    stderr.said.lock().unwrap().add(line.unwrap());
                    stderr.more.notify_all();
                }
                stderr.said.lock().unwrap().ended = true;
                stderr.more.notify_all();
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Up { address: nowhere, admin: nowhere, child, stderr, _unread: None }
    }

    /// As [`Up::start`], but its standard error is a pipe that is read no further than until it
    /// serves, and is full then.
    pub(crate) fn unread(args: &[&str]) -> Up {
        let (reader, writer) = std::io::pipe().unwrap();
        // A description of its own: that of the process keeps its mode.
        let mut filler = std::fs::OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(format!("/proc/self/fd/{}", writer.as_raw_fd()))
            .unwrap();
        let mut command = command(&["up", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]);
        command.env("LACEWING_REQUEST_LOG", "all").args(args).stderr(writer);
        let child = command.spawn().unwrap();
        drop(command);
        let mut lines = BufReader::new(reader);
        let mut said = Said::default();
        while !said.lines.iter().any(|line| line.contains("metrics http://")) {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "{:?}", said.lines);
            said.add(line);
        }
        for bytes in [&[b'.'; 4096][..], b"."] {
            while filler.write(bytes).is_ok() {}
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let stderr = Arc::new(Stderr { said: Mutex::new(said), more: Condvar::new() });
        let _unread = Some(lines.into_inner());
        Up { address: nowhere, admin: nowhere, child, stderr, _unread }.serving()
    }

    /// As [`Up::spawn`], within limits that a shell sets: `ulimit -v 1000`, `umask 000`.
    pub(crate) fn limited(limits: &str, args: &[&str]) -> Up {
        Up::within(&["sh", "-c", &format!("{limits}; exec \"$0\" \"$@\"")], args)
    }

    /// As [`Up::spawn`], by a program that runs the command that its last arguments are, in its own
    /// place.
    pub(crate) fn within(program: &[&str], args: &[&str]) -> Up {
        Up::spawn(args, |command| {
            let mut outer = Command::new(program[0]);
            outer.args(&program[1..]);
            outer.arg(command.get_program()).args(command.get_args());
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => outer.env(name, value),
                    None => outer.env_remove(name),
                };
            }
            outer.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            *command = outer;
        })
    }

    /// Waits until it serves.
    pub(crate) fn serving(mut self) -> Up {
        self.address = address(&self.line("Serving http://"), "http://");
        self.admin = address(&self.line("metrics http://"), "metrics http://");
        self
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its lines on standard error so far.
    pub(crate) fn said(&self) -> String {
        self.stderr.said.lock().unwrap().lines.join("\n")
    }

    /// Waits for a line that contains `part`, and returns it.
    pub(crate) fn line(&self, part: &str) -> String {
        self.nth_line(part, 0)
    }

    /// Waits for the line that is the `nth` (from 0) of those that contain `part`.
    pub(crate) fn nth_line(&self, part: &str, nth: usize) -> String {
        let found =
            |said: &Said| said.lines.iter().filter(|line| line.contains(part)).nth(nth).cloned();
        let said = self.wait_until(|said| said.ended || found(said).is_some());
        found(&said).unwrap_or_else(|| {
            panic!("no line {nth} with {part:?}:\n{}", said.lines.join("\n"));
        })
    }

    fn wait_until(&self, condition: impl Fn(&Said) -> bool) -> std::sync::MutexGuard<'_, Said> {
        let said = self.stderr.said.lock().unwrap();
        let waited = self.stderr.more.wait_timeout_while(said, PATIENCE, |said| !condition(said));
        let (said, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "it says nothing more:\n{}", said.lines.join("\n"));
        said
    }

    /// Sends a signal: `TERM`, `INT`, `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end, and gives its exit status.
    pub(crate) fn exit(mut self) -> ExitStatus {
        // A process that it has started may hold its standard error, so that this has no end to
        // wait for.
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.said());
            std::thread::yield_now();
        }
    }

    /// Waits for its end; gives its exit status and everything that it said.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        drop(self.wait_until(|said| said.ended));
        (self.child.wait().unwrap(), self.said())
    }

    /// As [`Up::wait`], with the lines as they are.
    pub(crate) fn wait_raw(mut self) -> (ExitStatus, String) {
        let raw = self.wait_until(|said| said.ended).raw.join("\n");
        (self.child.wait().unwrap(), raw)
    }

    /// The figure of a line of /proc/PID/status, in bytes.
    pub(crate) fn memory_bytes(&self, key: &str) -> u64 {
        memory_bytes(self.child.id(), key)
    }
}

/// The figure of a line of /proc/PID/status, in bytes.
pub(crate) fn memory_bytes(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

impl Drop for Up {
    fn drop(&mut self) {
        // It has ended, or is ended here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(line: &str, before: &str) -> SocketAddr {
    let rest = line.split(before).nth(1).unwrap();
    rest.trim_end().split(['/', ',', ' ', '"']).next().unwrap().parse().unwrap()
}
