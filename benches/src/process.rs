//! A host in a process of its own, as users start it.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A running `lacewing up`. Dropping it ends it.
pub struct Host {
    child: Child,
    started: Instant,
    address: SocketAddr,
}

impl Host {
    /// Starts it on a host file, and returns when it serves.
    ///
    /// # Errors
    /// It cannot be started, or says something else than where it serves.
    pub fn start(lacewing: &Path, file: &Path) -> io::Result<Host> {
        let started = Instant::now();
        let mut child = Command::new(lacewing)
            .args(["up", "--listen", "127.0.0.1:0", "--host"])
            .arg(file)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?);
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Err(io::Error::other(format!("it does not serve:\n{said}")));
            }
            if let Some(at) = line.find("http://").filter(|_| line.starts_with("Serving")) {
                break line[at + "http://".len()..].trim().parse().map_err(io::Error::other)?;
            }
            said.push_str(&line);
        };
        // What it says from now on must not make it wait.
        std::thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
        Ok(Host { child, started, address })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// What of it is in memory now, in KiB.
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

impl Drop for Host {
    fn drop(&mut self) {
        // Our own child, by its handle.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
