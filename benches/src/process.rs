//! A host in a process of its own, as users start it.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Errors that are remembered.
const MOST_ERRORS: usize = 1000;

/// A running `lacewing up`. Dropping it ends it.
pub struct Host {
    child: Child,
    started: Instant,
    address: SocketAddr,
    s3: Arc<OnceLock<SocketAddr>>,
    heard: Arc<Mutex<Heard>>,
}

/// The lines of a host since it serves.
#[derive(Default)]
struct Heard {
    errors: Vec<String>,
    swaps: u32,
}

/// The resources of a host's process at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// In memory, in KiB.
    pub resident_kib: f64,
    /// Open descriptors.
    pub descriptors: u32,
    /// Threads.
    pub threads: u32,
}

impl Host {
    /// Starts it on a host file, and returns when it serves.
    ///
    /// # Errors
    /// It cannot be started, or says something else than where it serves.
    pub fn start(lacewing: &Path, file: &Path) -> io::Result<Host> {
        Host::start_with(lacewing, file, |_| {})
    }

    /// As [`Host::start`], with changes to the command.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub fn start_with(
        lacewing: &Path,
        file: &Path,
        change: impl FnOnce(&mut Command),
    ) -> io::Result<Host> {
        let started = Instant::now();
        let mut command = Command::new(lacewing);
        command.args(["up", "--listen", "127.0.0.1:0", "--host"]).arg(file);
        change(&mut command);
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?);
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Err(io::Error::other(format!("it does not serve:\n{said}")));
            }
            if let Some(address) = address_in(&line, "Serving") {
                break address;
            }
            said.push_str(&line);
        };
        let s3 = Arc::new(OnceLock::new());
        let hearing_s3 = Arc::clone(&s3);
        // Its lines from now on must not make it wait.
        let heard = Arc::new(Mutex::new(Heard::default()));
        let hearing = Arc::clone(&heard);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some(address) = address_in(&line, "S3") {
                    hearing_s3.get_or_init(|| address);
                }
                let mut heard = hearing.lock().unwrap_or_else(PoisonError::into_inner);
                if line.starts_with("error") && heard.errors.len() < MOST_ERRORS {
                    heard.errors.push(line);
                } else if line.starts_with("Swapped") {
                    heard.swaps += 1;
                }
            }
        });
        Ok(Host { child, started, address, s3, heard })
    }

    /// Has it read its file again.
    ///
    /// # Errors
    /// It has ended.
    pub fn reload(&self) -> io::Result<()> {
        self.signal(Signal::HUP)
    }

    /// Has it drain and end, and waits for that.
    ///
    /// # Errors
    /// It has ended already.
    pub fn stop(mut self) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        self.child.wait().map(drop)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal)?)
    }

    /// The errors that it has said since it serves.
    pub fn errors(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).errors.clone()
    }

    /// How many deploys it has swapped in since it serves.
    pub fn swaps(&self) -> u32 {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).swaps
    }

    /// Its resources now.
    ///
    /// # Errors
    /// It has ended.
    pub fn sample(&self) -> io::Result<Sample> {
        let count = |what: &str| {
            let entries = fs::read_dir(format!("/proc/{}/{what}", self.child.id()))?;
            Ok::<_, io::Error>(u32::try_from(entries.count()).unwrap_or(u32::MAX))
        };
        Ok(Sample {
            resident_kib: self.resident_kib()?,
            descriptors: count("fd")?,
            threads: count("task")?,
        })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients of S3 reach it. Waits for its line, which a host without S3 never prints.
    pub fn s3_address(&self) -> SocketAddr {
        *self.s3.wait()
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The part of it that is in memory now, in KiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident_kib(&self) -> io::Result<f64> {
        self.status("VmRSS:")
    }

    /// The most of it that was ever in memory, in KiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn peak_kib(&self) -> io::Result<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| io::Error::other(format!("no {key}")))
    }
}

/// The address of a line that begins with a word.
fn address_in(line: &str, word: &str) -> Option<SocketAddr> {
    let rest = line.trim_start().strip_prefix(word)?;
    rest.trim_start().strip_prefix("http://")?.trim().parse().ok()
}

impl Drop for Host {
    fn drop(&mut self) {
        // Our own child, by its handle.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
