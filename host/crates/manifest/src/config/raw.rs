//! A host file as it is written: types that the parser and the JSON Schema share.
//!
//! Docs here are the descriptions that editors and `docs/host.toml.md` show. The ranges are those
//! that [`super::settings`] and [`super::tenant`] check; a test holds them together.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{LogFormat, RequestLog};
use crate::raw::{At, Entries, RawCaps, Whole, names_as_keys};

/// A Lacewing host: its settings, and the tenants that it serves.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(title = "host.toml", extend("required" = ["tenants"]))]
pub(crate) struct RawHostFile {
    /// The addresses that requests come in on, each an IP address with a port. Port 0 takes a free
    /// port. The default is open to this machine only.
    #[schemars(extend("default" = ["127.0.0.1:8080"]))]
    pub(crate) listen: Option<At<Vec<At<String>>>>,
    /// The address of metrics, health, readiness and the API of the state, or `"off"`. Its pages
    /// ask for no password, so the default is open to this machine only.
    #[schemars(extend("default" = "127.0.0.1:9180"))]
    pub(crate) admin: Option<At<String>>,
    /// The host names under which `admin` answers, besides IP addresses and `localhost`. A request
    /// with another `Host` gets 421, so no web page can read the listener through a name of its
    /// own.
    pub(crate) admin_hosts: Vec<At<String>>,
    /// The address of the S3 API of the buckets, or `"off"`. `lacewing s3 create-key` makes an
    /// access key.
    #[schemars(extend("default" = "off"))]
    pub(crate) s3: Option<At<String>>,
    /// The networks of proxies that pass requests on to this host, such as `["10.1.0.0/16"]`. The
    /// host believes the fields `Forwarded` and `X-Forwarded-*` of such a proxy and passes
    /// them on. The host drops those of any other client.
    pub(crate) trusted_proxies: Vec<At<String>>,
    /// The directory of compiled components, relative to the host file. `lacewing` in the user's
    /// cache directory by default.
    pub(crate) cache_dir: Option<At<String>>,
    /// The directory of the tenants' state: kv stores, buckets, SQL databases and secrets. Relative
    /// to the host file. One host uses it at a time. The host makes it when a function is first
    /// granted a store, bucket or database.
    #[schemars(extend("default" = ".lacewing/state"))]
    pub(crate) state: Option<At<String>>,
    /// The size of all compiled components in `cache_dir`. Above it, the host removes components
    /// that it does not serve. The tenant with the most of these for its weight loses the one that
    /// was deployed longest ago.
    #[schemars(range(min = 1, max = 16_777_216), extend("default" = 4096))]
    pub(crate) max_cache_mib: Option<At<Whole>>,
    /// The size of a manifest. The app of a larger manifest is refused.
    #[schemars(range(min = 1, max = 16_384), extend("default" = 256))]
    pub(crate) max_manifest_kib: Option<At<Whole>>,
    /// The functions that are kept in memory.
    pub(crate) residency: RawResidency,
    /// The sandboxes that exist at once. A request that finds none free waits for
    /// `admission.wait_ms`, then ends as `load_shed`.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 1000))]
    pub(crate) max_sandboxes: Option<At<Whole>>,
    /// All memory that the host holds for tenants and clients: sandboxes, bodies and connections.
    /// Three quarters of the memory of the machine or container by default, less
    /// `residency.memory_mib`; at least a quarter. A request without room ends as `load_shed`.
    #[schemars(range(min = 32, max = 16_777_216))]
    pub(crate) memory_mib: Option<At<Whole>>,
    /// The part of `memory_mib` for bodies over 16 KiB. A body counts until its function (for a
    /// request) or its client (for a response) has taken it. A quarter of `memory_mib` by default,
    /// and 256 MiB at most. A request without room ends as `load_shed`.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub(crate) body_memory_mib: Option<At<Whole>>,
    /// The time that accepted requests have to finish after the signal to stop.
    #[schemars(range(min = 0, max = 3600), extend("default" = 30))]
    pub(crate) grace_period_s: Option<At<Whole>>,
    /// Bounds on connections, and on the bytes that the host reads from them.
    pub(crate) connections: RawConnections,
    /// The wait for a sandbox, a core, a quota or a rate.
    pub(crate) admission: RawAdmission,
    /// The limits of a compilation.
    pub(crate) compiler: RawCompiler,
    /// The format of the log, and the requests that it shows.
    pub(crate) log: RawLog,
    /// The bounds on metrics.
    pub(crate) metrics: RawMetrics,
    /// Upper bounds on the limits of all functions, and on the size of an app.
    pub(crate) caps: RawCaps,
    /// The networks that outbound HTTP of every tenant may reach, if a manifest grants it.
    pub(crate) egress: RawEgress,
    /// The tenants, each under its name. A name has 1 to 63 lower-case letters, digits and
    /// hyphens, begins with a letter and does not end with a hyphen.
    #[schemars(transform = names_as_keys)]
    pub(crate) tenants: Entries<RawTenant>,
}

/// Bounds on connections, and on the bytes that the host reads from them. The connection is
/// charged, and is closed when it breaks a bound.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Connections")]
pub(crate) struct RawConnections {
    /// The connections that are open at once, for each address of `listen`. When all are taken,
    /// the client network with the most connections loses one.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 10_000))]
    pub(crate) max: Option<At<Whole>>,
    /// The time from the first byte of a request's head to its last byte. For the first request of
    /// a connection, the time begins when the connection opens.
    #[schemars(range(min = 1, max = 3600), extend("default" = 10))]
    pub(crate) header_timeout_s: Option<At<Whole>>,
    /// The time without a byte of a body, in either direction. A request that stalls ends as
    /// `bad_request` (408); a client that does not read ends its invocation as `canceled`.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 30))]
    pub(crate) body_idle_timeout_s: Option<At<Whole>>,
    /// The time between a response and the next request. With 0 the host closes the connection
    /// after each response.
    #[schemars(range(min = 0, max = 86_400), extend("default" = 75))]
    pub(crate) keep_alive_s: Option<At<Whole>>,
    /// The size of a request's head: its first line and its header fields. A larger head gets 431.
    #[schemars(range(min = 8, max = 1024), extend("default" = 64))]
    pub(crate) max_header_kib: Option<At<Whole>>,
    /// The number of a request's header fields. More of them get 431.
    #[schemars(range(min = 16, max = 4096), extend("default" = 100))]
    pub(crate) max_headers: Option<At<Whole>>,
    /// The requests that are in progress on one HTTP/2 connection. The client waits with more of
    /// them.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 128))]
    pub(crate) max_streams: Option<At<Whole>>,
}

/// The wait for admission: for a sandbox, for a turn on a core, and for the concurrency and rate of
/// functions and tenants. The tenant is charged. A request that waits too long ends as `throttled`
/// (429) or `load_shed` (503).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Admission")]
pub(crate) struct RawAdmission {
    /// The longest wait. With 0 no request waits.
    #[schemars(range(min = 0, max = 60_000), extend("default" = 500))]
    pub(crate) wait_ms: Option<At<Whole>>,
    /// The requests of one tenant that wait at once.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 4000))]
    pub(crate) queue: Option<At<Whole>>,
    /// The invocations of the whole host in a second, with a burst of the same size. No bound by
    /// default.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(crate) rate_per_s: Option<At<Whole>>,
}

/// The functions that are kept in memory. Above these bounds the tenant with the most for its
/// weight loses the function that it used longest ago. The next request for that function loads it
/// again, in less than a millisecond.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Residency")]
pub(crate) struct RawResidency {
    /// The functions that are in memory at once.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 1000))]
    pub(crate) max_functions: Option<At<Whole>>,
    /// The size of their compiled components together.
    #[schemars(range(min = 1, max = 1_048_576), extend("default" = 512))]
    pub(crate) memory_mib: Option<At<Whole>>,
}

/// The limits of one compilation, which is a process of its own. A component that breaks a limit is
/// refused. The deploy error has the reason.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Compiler")]
pub(crate) struct RawCompiler {
    /// The address space of the process.
    #[schemars(range(min = 256, max = 1_048_576), extend("default" = 2048))]
    pub(crate) memory_mib: Option<At<Whole>>,
    /// The CPU time of the process, over all its threads.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 60))]
    pub(crate) cpu_s: Option<At<Whole>>,
    /// The wall time of the process. Waits for a place, and turns of other compilations, do not
    /// count.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 120))]
    pub(crate) wall_s: Option<At<Whole>>,
    /// The size of the compiled component.
    #[schemars(range(min = 1, max = 16_384), extend("default" = 512))]
    pub(crate) artifact_mib: Option<At<Whole>>,
    /// The compilations that run at once in the whole host; at most one fewer than there are
    /// cores. 1 by default, and 2 on a machine with four cores or more.
    #[schemars(range(min = 1, max = 1024))]
    pub(crate) concurrency: Option<At<Whole>>,
    /// The compilations of the whole host that wait for a place. The deploy of one more is
    /// refused.
    #[schemars(range(min = 0, max = 1024), extend("default" = 16))]
    pub(crate) queue: Option<At<Whole>>,
}

/// The format of the log, and the requests that it shows.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Log")]
pub(crate) struct RawLog {
    /// The format of log lines.
    #[schemars(extend("default" = "text"))]
    pub(crate) format: LogFormat,
    /// The requests that get a log line: `all`, `none`, or `errors` (an outcome other than `ok`,
    /// or a status of 500 and above). `lacewing up` on a terminal shows all.
    #[schemars(extend("default" = "errors"))]
    pub(crate) requests: RequestLog,
}

/// The bounds on metrics.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Metrics")]
pub(crate) struct RawMetrics {
    /// The functions that have series of their own. Tenants share this number by weight. The other
    /// functions of a tenant are counted together.
    #[schemars(range(min = 0, max = 100_000), extend("default" = 2000))]
    pub(crate) max_functions: Option<At<Whole>>,
}

/// The networks that outbound HTTP of every tenant may reach, if a manifest grants it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Egress")]
pub(crate) struct RawEgress {
    /// Networks such as `10.1.0.0/16` that are not on the public internet: loopback, private,
    /// link-local, metadata and so on. Without an entry, no grant of a manifest reaches such an
    /// address.
    pub(crate) networks: Vec<At<String>>,
}

/// A tenant: the party that is isolated, limited and charged.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Tenant")]
pub(crate) struct RawTenant {
    /// Host names, such as `acme.example.com`, `*.acme.example.com` for every name below it, or
    /// `*` for every name that no other tenant has.
    pub(crate) hosts: Vec<At<String>>,
    /// The manifests of the tenant's apps, or the directories that hold them, relative to the host
    /// file.
    pub(crate) apps: Vec<At<String>>,
    /// Directories that components may lie in, besides the directory of their app and those below
    /// it. Relative to the host file.
    pub(crate) component_dirs: Vec<At<String>>,
    /// The most that all functions of the tenant have together.
    pub(crate) quota: RawQuota,
    /// Upper bounds on the limits of the tenant's functions, and on the size of its apps.
    pub(crate) caps: RawCaps,
    /// The hosts and networks that the tenant's outbound HTTP may reach, if a manifest grants
    /// them.
    pub(crate) egress: RawTenantEgress,
    /// The values for environment variables that its manifests may take from outside of them.
    pub(crate) env: RawTenantEnv,
}

/// The values for environment variables that a tenant's manifests may take from outside of them,
/// with `from_env` and `from_file`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "TenantEnv")]
pub(crate) struct RawTenantEnv {
    /// Variables of the host's own environment, such as `ACME_TOKEN`, or `ACME_*` for all that
    /// begin so. None by default.
    pub(crate) names: Vec<At<String>>,
    /// Folders besides each app's own, relative to the host file. None by default.
    pub(crate) dirs: Vec<At<String>>,
}

/// The hosts and networks that the tenant's outbound HTTP may reach, if a manifest grants them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "TenantEgress")]
pub(crate) struct RawTenantEgress {
    /// Networks such as `10.1.0.0/16` that are not on the public internet, besides those of
    /// `[egress]`.
    pub(crate) networks: Vec<At<String>>,
    /// The hosts that grants may name, such as `api.example.com`, or `*.example.com` for every
    /// name below it. Every host by default. An address that is not on the public internet
    /// must be in `networks` as well.
    pub(crate) hosts: Option<At<Vec<At<String>>>>,
}

/// The most that all functions of a tenant have together. A request above it waits for
/// `admission.wait_ms`, then ends as `throttled` (429).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Quota")]
pub(crate) struct RawQuota {
    /// The invocations that run at once. Only the host's own bounds hold by default.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) concurrency: Option<At<Whole>>,
    /// The invocations in a second, with a burst of the same size. No bound by default.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(crate) rate_per_s: Option<At<Whole>>,
    /// The sum of the memory limits of all sandboxes that exist at once. Only the host's own
    /// bounds hold by default.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub(crate) memory_mib: Option<At<Whole>>,
    /// The keys and values of all kv stores and the objects of all buckets, with 64 bytes for each
    /// entry; and as much for the files of all SQL databases. An invocation that would write beyond
    /// it to a store or bucket ends as `store_unavailable`; a SQL statement fails.
    #[schemars(range(min = 1, max = 1_073_741_824), extend("default" = 10_240))]
    pub(crate) state_mib: Option<At<Whole>>,
    /// The tenant's part when demand exceeds capacity, in proportion to the weights of the others.
    /// It holds for sandboxes, cores, memory, functions in memory and series of metrics.
    #[schemars(range(min = 1, max = 1000), extend("default" = 1))]
    pub(crate) weight: Option<At<Whole>>,
}
