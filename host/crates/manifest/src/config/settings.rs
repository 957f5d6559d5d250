//! The settings of one host process, apart from its tenants.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use lacewing_base::LimitKey;
use serde::{Deserialize, Serialize};

use super::raw::{RawAdmission, RawConnections, RawHostFile, RawResidency};
use super::{AppKey, Caps, Compilation, Counting, MemoryPlan, admin, machine, proxies};
use crate::raw::{At, Whole};
use crate::{Diagnostic, Findings, MANIFEST_BYTES};

const MIB: u64 = 1024 * 1024;

/// The directory of state, relative to the host file or to the app's directory.
pub const STATE_DIR: &str = ".lacewing/state";

/// The settings of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Where requests come in. Key: `listen`. Default 127.0.0.1:8080: nothing is open to a network
    /// unless asked for. Each address once; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Where metrics, health and readiness are. Key: `admin`, `"off"` for none. Default
    /// 127.0.0.1:9180: it knows no passwords, and so is for the machine itself.
    pub admin: Option<SocketAddr>,
    /// Host names, in lower case and without a port, under which [`Settings::admin`] answers
    /// besides IP addresses and `localhost`. Key: `admin_hosts`. Default none. A request for
    /// any other host is charged to its connection and answered with 421.
    pub admin_hosts: Vec<String>,
    /// Where clients of S3 reach the buckets. Key: `s3`, `"off"` for none. Default none.
    pub s3: Option<SocketAddr>,
    /// The networks of proxies that say who asked, in `Forwarded` and `X-Forwarded-*`. Key:
    /// `trusted_proxies`. Default none: what clients say of themselves is dropped.
    pub trusted_proxies: Vec<IpNet>,
    /// The directory of compiled components. Key: `cache_dir`, relative to the host file. Default
    /// [`default_cache_dir`].
    pub cache_dir: PathBuf,
    /// The directory of the tenants' state. Key: `state`, relative to the host file. Default
    /// [`STATE_DIR`] beside the host file, or in the app's directory. None for settings that were
    /// not read yet.
    pub state_dir: Option<PathBuf>,
    /// The source of secrets. No key: a command for a single app changes it.
    pub secrets: SecretSource,
    /// The size of the artifacts in [`Settings::cache_dir`] together, in bytes. Key:
    /// `max_cache_mib`. Default 4 GiB: some ten thousand functions. Over it, artifacts that
    /// this host does not serve go: of the tenant that has the most of these for its
    /// weight, the one that was deployed longest ago. Artifacts that the host serves stay,
    /// whatever their size.
    pub max_cache_bytes: u64,
    /// The largest manifest that is read, in bytes. Key: `max_manifest_kib`. Default 256 KiB, some
    /// thousands of functions: what is read of one is checked in some ten milliseconds. The
    /// app of a larger one is refused.
    pub max_manifest_bytes: u32,
    /// The functions that are kept in memory. Table: `residency`.
    pub residency: Residency,
    /// Sandboxes that exist at once: the pool's slots. Key: `max_sandboxes`. Default 1,000: with a
    /// 4 GiB reservation each, that is 4 TiB of the 128 TiB of address space that a process
    /// has. A request that finds no slot waits as [`Settings::admission`] says, then ends as
    /// `load_shed`.
    pub max_sandboxes: u32,
    /// All that the host holds for tenants and clients, in bytes: memories, tables and heap of
    /// sandboxes, bodies, and connections. [`MemoryPlan`] has the parts. Key: `memory_mib`.
    /// None, the default: three quarters of what the machine, or the container, has, less what
    /// may be resident; a quarter at least. Of each part no tenant has more than four times what
    /// it leaves, where there are several. `load_shed`.
    pub memory_bytes: Option<u64>,
    /// The part of bodies over 16 KiB, and of requests whose bodies are waited for, headers
    /// included, in bytes: of requests until their function has them, of responses until their
    /// client has them. Key: `body_memory_mib`. None, the default: a quarter of
    /// [`Settings::memory_bytes`], and 256 MiB at most. `load_shed`.
    pub body_memory_bytes: Option<u64>,
    /// Bounds on connections and on what is read from them. Table: `connections`.
    pub connections: Connections,
    /// The wait for a free slot. Table: `admission`.
    pub admission: Admission,
    /// The limits of a compilation. Table: `compiler`.
    pub compilation: Compilation,
    /// How long invocations that were accepted may go on after the host was told to stop. Key:
    /// `grace_period_s`. Default 30 s: what process supervisors wait before they kill.
    pub grace_period: Duration,
    /// The log: its format and its lines. Table: `log`.
    pub log: LogSettings,
    /// The bounds of metrics. Table: `metrics`.
    pub metrics: Counting,
    /// Upper bounds on every function's limits, and on what an app has. Table: `caps`. Default
    /// `memory_mib` 256, `table_elements` 100,000, `instances` 64, `memories` 8, which the
    /// pool's slots are made for; `handles` 100,000, `random_kib` 1,024, `init_cpu_ms` 60,000
    /// and `log_kib` 16,384, which cost the host and not the guest; [`AppKey`] says
    /// the others. None on the rest.
    pub caps: Caps,
}

/// Bounds on connections and on what is read from them, per connection unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Connections open at once, for each address of [`Settings::listen`]. Key: `max`. Default
    /// 10,000: an idle one holds some 10 KiB and a file descriptor. The next one is accepted
    /// when one closes, or makes room: one of the network and tenant of clients that hold the
    /// most, `canceled` where its function works. Fewer where the limit on open files leaves fewer
    /// beside everything else that takes a descriptor.
    pub max: u32,
    /// From the first byte of a request's head to its last; of a connection's first request, from
    /// the connection's opening. Key: `header_timeout_s`. Default 10 s: longer than any honest
    /// client takes. The connection is closed.
    pub header_timeout: Duration,
    /// Without a byte of a body, in either direction. Key: `body_idle_timeout_s`. Default 30 s.
    /// `bad_request` where the request's stalls, `canceled` where the client does not read.
    pub body_idle_timeout: Duration,
    /// Between a response and the next request. Key: `keep_alive_s`. Default 75 s: above the 60 s
    /// after which load balancers let go, so that they never send a request into a connection
    /// that is just closing. 0 closes after each response. An HTTP/2 connection is closed
    /// after two to four times as long, and not sooner than after 2 s.
    pub keep_alive: Duration,
    /// A request's head: its first line and its header fields, in bytes. Key: `max_header_kib`.
    /// Default 64 KiB, above the functions' default. `bad_request` (431).
    pub max_header_bytes: u32,
    /// A request's header fields. Key: `max_headers`. Default 100, which is the functions' default
    /// too: more take an allocation for each request. `bad_request` (431).
    pub max_headers: u32,
    /// Requests in progress on one HTTP/2 connection. Key: `max_streams`. Default 128: RFC 9113
    /// advises no fewer than 100. The client waits.
    pub max_streams: u32,
}

/// The wait for admission: for a free slot of the pool, a turn on a core, and the concurrency and
/// rate of functions and tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// The longest wait. Key: `wait_ms`. Default 500 ms: a refused client hears of it within a
    /// second. Clients that ask again at once cost the host a request and an answer for each
    /// wait, so a short wait takes the cores from the requests that are admitted. `load_shed`
    /// or `throttled`.
    pub wait: Duration,
    /// Invocations of one tenant that wait at once. Key: `queue`. Default 4,000: a client that is
    /// refused at once asks again at once, which costs the host more than to let it wait.
    /// `load_shed` or `throttled`, as what they wait for.
    pub queue: u32,
    /// Invocations in a second, in the whole host, with a burst of the same size. Key:
    /// `rate_per_s`. None by default. `load_shed`.
    pub rate_per_s: Option<u32>,
}

/// The bounds on functions in memory. Beyond them the tenant that has the most for its
/// [weight](super::TenantQuota::weight) loses the one that it used longest ago, which is loaded
/// from the cache again when it is next asked for, in less than a millisecond. So a tenant that has
/// no more than its part of a bound loses nothing to others, and one that is alone has all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residency {
    /// Functions that are resident at once. Key: `max_functions`. Default 1,000: each takes a file
    /// descriptor and some five mappings, of which Linux gives a process 65,530.
    pub max_functions: u32,
    /// The size of their programs together, in bytes: an artifact's size, and 64 KiB for each.
    /// Key: `memory_mib`. Default 512 MiB: about as many as `max_functions`, where they are
    /// small. One that is larger is alone.
    pub memory_bytes: u64,
}

/// The log: its format and its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// Key: `format`. Default `text`.
    pub format: LogFormat,
    /// Key: `requests`. Default `errors`: a line for each request costs as much as a small
    /// request. `up` on a terminal shows all.
    pub requests: RequestLog,
}

/// How log lines look.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The requests that get a log line.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum RequestLog {
    /// Every request.
    All,
    /// Requests with another outcome than `ok`, or a status of 500 and above.
    #[default]
    Errors,
    /// None.
    None,
}

/// The source of a host's secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSource {
    /// The directory of state whose secrets are read. [`Settings::state_dir`] by default: a command
    /// that keeps its state apart reads the secrets of the app all the same.
    pub dir: Option<PathBuf>,
    /// Whether variables of the host's own environment, each with the prefix
    /// [`SECRET_ENV`](crate::SECRET_ENV), stand above what the directory has: where the developer
    /// of the app is the operator.
    pub from_env: bool,
}

impl Settings {
    /// The default settings with a directory for compiled components.
    pub fn new(cache_dir: PathBuf) -> Settings {
        let mut caps = Caps::none();
        caps.set(LimitKey::MemoryMib, 256);
        caps.set(LimitKey::TableElements, 100_000);
        caps.set(LimitKey::Instances, 64);
        caps.set(LimitKey::Memories, 8);
        // Some 10 MiB of the host's memory.
        caps.set(LimitKey::Handles, 100_000);
        // In one call, which nothing interrupts.
        caps.set(LimitKey::RandomKib, 1024);
        // A place among the components that are loaded is taken meanwhile.
        caps.set(LimitKey::InitCpuMs, 60_000);
        caps.set(LimitKey::LogKib, 16_384);
        caps.set_of_app(AppKey::Functions, 1000);
        caps.set_of_app(AppKey::Routes, 5000);
        Settings {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))],
            admin: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9180))),
            admin_hosts: Vec::new(),
            s3: None,
            trusted_proxies: Vec::new(),
            cache_dir,
            state_dir: None,
            secrets: SecretSource::default(),
            max_cache_bytes: 4096 * MIB,
            max_manifest_bytes: MANIFEST_BYTES,
            residency: Residency::default(),
            max_sandboxes: 1000,
            memory_bytes: None,
            body_memory_bytes: None,
            connections: Connections::default(),
            admission: Admission::default(),
            compilation: Compilation::default(),
            grace_period: Duration::from_secs(30),
            log: LogSettings { format: LogFormat::Text, requests: RequestLog::Errors },
            metrics: Counting::default(),
            caps,
        }
    }

    /// The most memory that any sandbox may have, in bytes: what a slot of the pool is made for.
    pub fn max_memory_bytes(&self) -> u64 {
        let key = LimitKey::MemoryMib;
        self.caps.get(key).unwrap_or(*key.range().end()) * MIB
    }

    /// All that this host holds for tenants and clients, in bytes: as was set, or as much as this
    /// machine bears.
    pub fn total_memory_bytes(&self) -> u64 {
        self.memory_bytes.unwrap_or_else(|| self.bearable(machine::memory_bytes()))
    }

    /// The parts of this host's memory.
    pub fn memory_plan(&self) -> MemoryPlan {
        let total = self.total_memory_bytes();
        let sandboxes = u64::from(self.max_sandboxes);
        // Those that are made ahead are a quarter more.
        MemoryPlan::of(total, self.body_memory_bytes, sandboxes.saturating_add(sandboxes / 4))
    }

    /// Three quarters of a machine's memory, less what may be resident; and a quarter at least.
    fn bearable(&self, machine_bytes: u64) -> u64 {
        let quarter = machine_bytes / 4;
        (quarter * 3).saturating_sub(self.residency.memory_bytes).max(quarter)
    }

    /// Two addresses that cannot both be listened on, if there are some: a sentence.
    pub fn conflict(&self) -> Option<String> {
        let mut seen: Vec<(&str, SocketAddr)> = Vec::new();
        let listeners = self.listen.iter().map(|address| ("listen", *address));
        let others = [("admin", self.admin), ("s3", self.s3)];
        let others = others.into_iter().filter_map(|(key, address)| Some((key, address?)));
        for (key, address) in listeners.chain(others) {
            if let Some((other_key, other)) =
                seen.iter().find(|(_, other)| collide(address, *other))
            {
                return Some(format!(
                    "`{key}` is {address}, which collides with `{other_key}`, {other}"
                ));
            }
            seen.push((key, address));
        }
        None
    }

    /// Reads the settings of a host file in the directory `root`.
    pub(super) fn read(raw: &RawHostFile, root: &Path, findings: &mut Findings) -> Settings {
        let mut settings = Settings::new(default_cache_dir());
        if let Some(listen) = &raw.listen {
            if listen.value.is_empty() {
                findings.at(&listen.span, Diagnostic::error("`listen` takes at least one address"));
            }
            settings.listen = listen
                .value
                .iter()
                .filter_map(|address| read_address("listen", address, findings))
                .collect();
        }
        if let Some(admin) = &raw.admin {
            settings.admin = admin::read_address(admin, findings);
        }
        settings.admin_hosts =
            raw.admin_hosts.iter().filter_map(|host| admin::read_host(host, findings)).collect();
        if let Some(s3) = raw.s3.as_ref().filter(|s3| s3.value != "off") {
            settings.s3 = read_address("s3", s3, findings);
        }
        settings.trusted_proxies = proxies::read(&raw.trusted_proxies, findings);
        if let Some(dir) = &raw.cache_dir {
            settings.cache_dir = root.join(&dir.value);
            if dir.value.is_empty() || settings.cache_dir.is_file() {
                findings.at(
                    &dir.span,
                    Diagnostic::error(
                        "`cache_dir` takes a directory, which is made if it is not there",
                    ),
                );
            }
        }
        settings.state_dir =
            Some(root.join(raw.state.as_ref().map_or(STATE_DIR, |dir| &dir.value)));
        if let Some(dir) = raw.state.as_ref().filter(|dir| dir.value.is_empty()) {
            let finding = "`state` takes a directory, which is made if it is not there";
            findings.at(&dir.span, Diagnostic::error(finding));
        }
        if let Some(conflict) = settings.conflict() {
            let help = "take another port, or `admin = \"off\"`";
            let key = raw
                .admin
                .as_ref()
                .map(|admin| &admin.span)
                .or(raw.listen.as_ref().map(|listen| &listen.span));
            findings.at(key.unwrap_or(&(0..0)), Diagnostic::error(conflict).help(help));
        }
        settings.read_bounds(raw, findings);
        settings.connections = Connections::read(&raw.connections, findings);
        settings.admission = Admission::read(&raw.admission, findings);
        settings.residency = Residency::read(&raw.residency, findings);
        settings.compilation = Compilation::read(&raw.compiler, findings);
        settings.metrics = Counting::read(&raw.metrics, findings);
        settings.log = LogSettings { format: raw.log.format, requests: raw.log.requests };
        settings.caps.read(&raw.caps, findings);
        settings
    }

    fn read_bounds(&mut self, raw: &RawHostFile, findings: &mut Findings) {
        let grace_s = self.grace_period.as_secs();
        self.max_cache_bytes = MIB
            * number(
                "max_cache_mib",
                &raw.max_cache_mib,
                1..=16_777_216,
                self.max_cache_bytes / MIB,
                findings,
            );
        self.max_manifest_bytes = small(number(
            "max_manifest_kib",
            &raw.max_manifest_kib,
            1..=16_384,
            (self.max_manifest_bytes / 1024).into(),
            findings,
        )) * 1024;
        self.max_sandboxes = small(number(
            "max_sandboxes",
            &raw.max_sandboxes,
            1..=100_000,
            self.max_sandboxes.into(),
            findings,
        ));
        self.memory_bytes = raw
            .memory_mib
            .as_ref()
            .and_then(|raw| findings.number("memory_mib", raw, 32..=16_777_216))
            .map(|mib| mib * MIB);
        self.body_memory_bytes = raw
            .body_memory_mib
            .as_ref()
            .and_then(|raw| findings.number("body_memory_mib", raw, 1..=1_048_576))
            .map(|mib| mib * MIB);
        self.grace_period = Duration::from_secs(number(
            "grace_period_s",
            &raw.grace_period_s,
            0..=3600,
            grace_s,
            findings,
        ));
    }
}

impl Connections {
    fn read(raw: &RawConnections, findings: &mut Findings) -> Connections {
        let default = Connections::default();
        let mut get = |key: &str, raw: &Option<At<Whole>>, range, default: u64| {
            number(key, raw, range, default, findings)
        };
        let header_kib = u64::from(default.max_header_bytes / 1024);
        Connections {
            max: small(get("max", &raw.max, 1..=1_000_000, default.max.into())),
            header_timeout: Duration::from_secs(get(
                "header_timeout_s",
                &raw.header_timeout_s,
                1..=3600,
                default.header_timeout.as_secs(),
            )),
            body_idle_timeout: Duration::from_secs(get(
                "body_idle_timeout_s",
                &raw.body_idle_timeout_s,
                1..=86_400,
                default.body_idle_timeout.as_secs(),
            )),
            keep_alive: Duration::from_secs(get(
                "keep_alive_s",
                &raw.keep_alive_s,
                0..=86_400,
                default.keep_alive.as_secs(),
            )),
            // hyper takes no fewer than 8 KiB.
            max_header_bytes: small(get(
                "max_header_kib",
                &raw.max_header_kib,
                8..=1024,
                header_kib,
            )) * 1024,
            max_headers: small(get(
                "max_headers",
                &raw.max_headers,
                16..=4096,
                default.max_headers.into(),
            )),
            max_streams: small(get(
                "max_streams",
                &raw.max_streams,
                1..=10_000,
                default.max_streams.into(),
            )),
        }
    }
}

impl Admission {
    fn read(raw: &RawAdmission, findings: &mut Findings) -> Admission {
        let default = Admission::default();
        let wait_ms = u64::try_from(default.wait.as_millis()).unwrap_or(u64::MAX);
        Admission {
            wait: Duration::from_millis(number(
                "wait_ms",
                &raw.wait_ms,
                0..=60_000,
                wait_ms,
                findings,
            )),
            queue: small(number(
                "queue",
                &raw.queue,
                0..=1_000_000,
                default.queue.into(),
                findings,
            )),
            rate_per_s: raw
                .rate_per_s
                .as_ref()
                .and_then(|raw| findings.number("rate_per_s", raw, 1..=10_000_000))
                .map(small),
        }
    }
}

impl Residency {
    fn read(raw: &RawResidency, findings: &mut Findings) -> Residency {
        let Residency { max_functions, memory_bytes } = Residency::default();
        let mut get = |key: &str, raw: &Option<At<Whole>>, range, default: u64| {
            number(key, raw, range, default, findings)
        };
        Residency {
            max_functions: small(get(
                "max_functions",
                &raw.max_functions,
                1..=10_000,
                max_functions.into(),
            )),
            memory_bytes: MIB
                * get("memory_mib", &raw.memory_mib, 1..=1_048_576, memory_bytes / MIB),
        }
    }
}

/// A number of the host file, or the default.
pub(super) fn number(
    key: &str,
    raw: &Option<At<Whole>>,
    range: RangeInclusive<u64>,
    default: u64,
    findings: &mut Findings,
) -> u64 {
    raw.as_ref().and_then(|raw| findings.number(key, raw, range)).unwrap_or(default)
}

/// A number that was checked to be in a range that fits.
pub(super) fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Whether two listeners would ask for the same port of the same address.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let same_address =
        a.ip() == b.ip() || (same_family && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() != 0 && a.port() == b.port() && same_address
}

pub(super) fn read_address(
    key: &str,
    raw: &At<String>,
    findings: &mut Findings,
) -> Option<SocketAddr> {
    let text = raw.value.as_str();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let message = format!(
        "{text:?} is not an address with a port: `{key}` takes one such as `127.0.0.1:8080` or `[::1]:8080`"
    );
    let port = text.trim_start_matches(':').parse::<u16>();
    let meant = match (port, text.parse::<IpAddr>()) {
        (Ok(port), _) => Some(format!(
            "write `127.0.0.1:{port}`, or `0.0.0.0:{port}` to be reached from other machines"
        )),
        (_, Ok(address)) => Some(format!("write `{}`", SocketAddr::new(address, 8080))),
        _ => match text.strip_prefix("localhost:") {
            Some(port) => Some(format!("write `127.0.0.1:{port}`: names are not looked up here")),
            None if text.starts_with("http") => {
                Some("leave the scheme and the path out".to_owned())
            }
            None => None,
        },
    };
    let mut finding = Diagnostic::error(message);
    finding.help = meant;
    findings.at(&raw.span, finding);
    None
}

impl Default for Connections {
    fn default() -> Connections {
        Connections {
            max: 10_000,
            header_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            max_header_bytes: 64 * 1024,
            max_headers: 100,
            max_streams: 128,
        }
    }
}

impl Default for Admission {
    fn default() -> Admission {
        Admission { wait: Duration::from_millis(500), queue: 4000, rate_per_s: None }
    }
}

impl Default for Residency {
    fn default() -> Residency {
        Residency { max_functions: 1000, memory_bytes: 512 * MIB }
    }
}

/// `lacewing` in the user's cache directory: `$XDG_CACHE_HOME`, else `~/.cache`, else the directory
/// for temporary files.
pub fn default_cache_dir() -> PathBuf {
    let variable =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base =
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("lacewing")
}
