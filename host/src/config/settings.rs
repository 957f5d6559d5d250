//! What one host process does and allows, apart from its tenants.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::Caps;
use crate::manifest::LimitKey;

const MIB: u64 = 1024 * 1024;

/// The settings of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where requests come in. Key: `listen`. Default 127.0.0.1:8080: nothing is open to a network unless asked for.
    /// Each address once; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Where metrics, health and readiness are. Key: `admin`, `"off"` for none. Default 127.0.0.1:9180: it knows no
    /// passwords, and so is for the machine itself.
    pub admin: Option<SocketAddr>,
    /// The directory of compiled components. Key: `cache_dir`, relative to the host file. Default
    /// [`default_cache_dir`].
    pub cache_dir: PathBuf,
    /// Sandboxes that exist at once: the pool's slots. Key: `max_sandboxes`. Default 1,000: with a 4 GiB reservation
    /// each, that is 4 TiB of the 128 TiB of address space that a process has. What does not find a slot waits as
    /// [`Settings::admission`] says, then ends as `load_shed`.
    pub max_sandboxes: u32,
    /// Bounds on connections and on what is read from them. Table: `connections`.
    pub connections: Connections,
    /// The wait for a free slot. Table: `admission`.
    pub admission: Admission,
    /// How long invocations that were accepted may go on after the host was told to stop. Key: `grace_period_s`. Default
    /// 30 s: what process supervisors wait before they kill.
    pub grace_period: Duration,
    /// What is logged, and how. Table: `log`.
    pub log: LogSettings,
    /// Upper bounds on every function's limits. Table: `caps`. Default `memory_mib` 256, `table_elements` 100,000,
    /// `instances` 64, `memories` 8, which the pool's slots are made for, and none on the others.
    pub caps: Caps,
}

/// Bounds on connections and on what is read from them, per connection unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Connections open at once, over all listeners. Key: `max`. Default 10,000: an idle one holds some 10 KiB and a file
    /// descriptor. The next one is accepted when one closes.
    pub max: u32,
    /// From the first byte of a request's head to its last. Key: `header_timeout_s`. Default 10 s: longer than any
    /// honest client takes. The connection is closed.
    pub header_timeout: Duration,
    /// Without a byte of a body, in either direction. Key: `body_idle_timeout_s`. Default 30 s. `bad_request` where the
    /// request's stalls, `canceled` where the client does not read.
    pub body_idle_timeout: Duration,
    /// Without a request. Key: `keep_alive_s`. Default 75 s: above the 60 s after which load balancers let go, so that
    /// they never send a request into a connection that is just closing. 0 closes after each response.
    pub keep_alive: Duration,
    /// Names and values of a request's header fields, and its target, in bytes. Key: `max_header_kib`. Default 64 KiB,
    /// above the functions' default. `bad_request` (431).
    pub max_header_bytes: u32,
    /// A request's header fields. Key: `max_headers`. Default 128, above the functions' default. `bad_request` (431).
    pub max_headers: u32,
    /// Requests in progress on one HTTP/2 connection. Key: `max_streams`. Default 128: RFC 9113 advises no fewer than
    /// 100. The client waits.
    pub max_streams: u32,
}

/// The wait for a free slot of the pool, and for the concurrency of functions and tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The longest wait. Key: `wait_ms`. Default 100 ms: enough to ride out a burst, too little to pile up. 0 never
    /// waits. `load_shed` or `throttled`.
    pub wait: Duration,
    /// Invocations that wait at once. Key: `queue`. Default 1,000, one for each slot. `load_shed`.
    pub queue: u32,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Key: `format`. Default `text`.
    pub format: LogFormat,
    /// Key: `requests`. Default `all`.
    pub requests: RequestLog,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Which requests get a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequestLog {
    /// Every request.
    #[default]
    All,
    /// Those whose outcome is not `ok`.
    Errors,
    /// None.
    None,
}

impl Settings {
    /// The default settings with a directory for compiled components.
    pub fn new(cache_dir: PathBuf) -> Settings {
        let mut caps = Caps::none();
        caps.set(LimitKey::MemoryMib, 256);
        caps.set(LimitKey::TableElements, 100_000);
        caps.set(LimitKey::Instances, 64);
        caps.set(LimitKey::Memories, 8);
        Settings {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))],
            admin: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9180))),
            cache_dir,
            max_sandboxes: 1000,
            connections: Connections::default(),
            admission: Admission::default(),
            grace_period: Duration::from_secs(30),
            log: LogSettings { format: LogFormat::Text, requests: RequestLog::All },
            caps,
        }
    }

    /// The most memory that any sandbox may have, in bytes: what a slot of the pool is made for.
    pub fn max_memory_bytes(&self) -> u64 {
        let key = LimitKey::MemoryMib;
        self.caps.get(key).unwrap_or(*key.range().end()) * MIB
    }
}

impl Default for Connections {
    fn default() -> Connections {
        Connections {
            max: 10_000,
            header_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            max_header_bytes: 64 * 1024,
            max_headers: 128,
            max_streams: 128,
        }
    }
}

impl Default for Admission {
    fn default() -> Admission {
        Admission { wait: Duration::from_millis(100), queue: 1000 }
    }
}

/// `lacewing` in the user's cache directory: `$XDG_CACHE_HOME`, else `~/.cache`, else the directory for temporary
/// files.
pub fn default_cache_dir() -> PathBuf {
    let variable =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base =
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("lacewing")
}
