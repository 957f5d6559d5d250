//! A host file as it is written: types that the parser and the JSON Schema share.
//!
//! Docs here are the descriptions that editors show. The ranges are those that [`super::settings`] and
//! [`super::tenant`] check; a test holds them together.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{LogFormat, RequestLog};
use crate::manifest::raw::{At, Entries, RawCaps, Whole, names_as_keys};

/// A Lacewing host: its settings, and the tenants that it serves.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(title = "host.toml", extend("required" = ["tenants"]))]
pub(crate) struct RawHostFile {
    /// Where requests come in, as addresses with a port; port 0 takes a free one. `["127.0.0.1:8080"]` by default:
    /// nothing is open to a network unless asked for.
    #[schemars(extend("default" = ["127.0.0.1:8080"]))]
    pub(crate) listen: Option<At<Vec<At<String>>>>,
    /// Where metrics, health and readiness are; `"off"` for none. It asks for no password, and so is for the machine
    /// itself.
    #[schemars(extend("default" = "127.0.0.1:9180"))]
    pub(crate) admin: Option<At<String>>,
    /// Host names under which `admin` answers besides IP addresses and `localhost`: those by which scrapers and probes reach it.
    /// A request for any other host is refused, so that no web page reads what is there by a name of its own.
    pub(crate) admin_hosts: Vec<At<String>>,
    /// The networks of proxies that pass requests on to this host, such as `["10.1.0.0/16"]`. The fields in which such a proxy says who
    /// asked, `Forwarded` and `X-Forwarded-*`, are believed and go on; those of any other client are dropped.
    pub(crate) trusted_proxies: Vec<At<String>>,
    /// The directory of compiled components, relative to the host file. `lacewing` in the user's cache directory by
    /// default.
    pub(crate) cache_dir: Option<At<String>>,
    /// The size of the compiled components in `cache_dir` together, in MiB. Over it, those that this host does not serve
    /// are removed: of the tenant that has the most of these, the one that was deployed longest ago.
    #[schemars(range(min = 1, max = 16_777_216), extend("default" = 4096))]
    pub(crate) max_cache_mib: Option<At<Whole>>,
    /// The largest manifest that is read, in KiB. The app of a larger one is refused.
    #[schemars(range(min = 1, max = 16_384), extend("default" = 256))]
    pub(crate) max_manifest_kib: Option<At<Whole>>,
    /// The functions that are kept in memory.
    pub(crate) residency: RawResidency,
    /// Sandboxes that exist at once.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 1000))]
    pub(crate) max_sandboxes: Option<At<Whole>>,
    /// All that the host holds for tenants and clients, in MiB: sandboxes with their memories and heap, bodies, and connections.
    /// Three quarters of what the machine, or the container, has by default, less what may be resident.
    #[schemars(range(min = 32, max = 16_777_216))]
    pub(crate) memory_mib: Option<At<Whole>>,
    /// The part of it for bodies over 16 KiB, in MiB: of requests until their function has them, of responses until their client has
    /// them. A quarter of `memory_mib` by default, and 256 at most.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub(crate) body_memory_mib: Option<At<Whole>>,
    /// How long invocations that were accepted may go on after the host was told to stop, in seconds.
    #[schemars(range(min = 0, max = 3600), extend("default" = 30))]
    pub(crate) grace_period_s: Option<At<Whole>>,
    /// Bounds on connections and on what is read from them.
    pub(crate) connections: RawConnections,
    /// The wait for a free sandbox.
    pub(crate) admission: RawAdmission,
    /// The limits of a compilation.
    pub(crate) compiler: RawCompiler,
    /// The log: its format and its lines.
    pub(crate) log: RawLog,
    /// The bounds of metrics.
    pub(crate) metrics: RawMetrics,
    /// Upper bounds on the limits of every function, and on what an app has.
    pub(crate) caps: RawCaps,
    /// The reach of outbound HTTP of every tenant, where a manifest grants it.
    pub(crate) egress: RawEgress,
    /// The tenants, each under its name: 1 to 63 lower-case letters, digits and hyphens, beginning with a letter and not
    /// ending with a hyphen.
    #[schemars(transform = names_as_keys)]
    pub(crate) tenants: Entries<RawTenant>,
}

/// Bounds on connections and on what is read from them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Connections")]
pub(crate) struct RawConnections {
    /// Connections open at once, for each address of `listen`. The next one is accepted when one closes.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 10_000))]
    pub(crate) max: Option<At<Whole>>,
    /// From the first byte of a request's head to its last, in seconds; of a connection's first request, from the
    /// connection's opening.
    #[schemars(range(min = 1, max = 3600), extend("default" = 10))]
    pub(crate) header_timeout_s: Option<At<Whole>>,
    /// Without a byte of a body, in either direction, in seconds.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 30))]
    pub(crate) body_idle_timeout_s: Option<At<Whole>>,
    /// Between a response and the next request, in seconds. 0 closes after each response.
    #[schemars(range(min = 0, max = 86_400), extend("default" = 75))]
    pub(crate) keep_alive_s: Option<At<Whole>>,
    /// A request's head, its first line and its header fields, in KiB.
    #[schemars(range(min = 8, max = 1024), extend("default" = 64))]
    pub(crate) max_header_kib: Option<At<Whole>>,
    /// A request's header fields.
    #[schemars(range(min = 16, max = 4096), extend("default" = 100))]
    pub(crate) max_headers: Option<At<Whole>>,
    /// Requests in progress on one HTTP/2 connection.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 128))]
    pub(crate) max_streams: Option<At<Whole>>,
}

/// The wait for admission: for a free sandbox, a turn on a core, and the concurrency and rate of functions and tenants.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Admission")]
pub(crate) struct RawAdmission {
    /// The longest wait, in milliseconds. 0 waits for nothing.
    #[schemars(range(min = 0, max = 60_000), extend("default" = 500))]
    pub(crate) wait_ms: Option<At<Whole>>,
    /// Invocations of one tenant that wait at once.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 4000))]
    pub(crate) queue: Option<At<Whole>>,
    /// Invocations in a second, in the whole host, with a burst of the same size. Without a bound by default.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(crate) rate_per_s: Option<At<Whole>>,
}

/// The bounds on functions in memory. Over them the tenant that has the most for its weight loses the one that it used
/// longest ago, which is loaded again when it is next asked for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Residency")]
pub(crate) struct RawResidency {
    /// Functions that are in memory at once.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 1000))]
    pub(crate) max_functions: Option<At<Whole>>,
    /// The size of their compiled components together, in MiB.
    #[schemars(range(min = 1, max = 1_048_576), extend("default" = 512))]
    pub(crate) memory_mib: Option<At<Whole>>,
}

/// The limits of compiling a component: each is for one compilation, which is a process of its own.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Compiler")]
pub(crate) struct RawCompiler {
    /// Address space, in MiB.
    #[schemars(range(min = 256, max = 1_048_576), extend("default" = 2048))]
    pub(crate) memory_mib: Option<At<Whole>>,
    /// CPU time, over all threads, in seconds.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 60))]
    pub(crate) cpu_s: Option<At<Whole>>,
    /// Wall time, without the wait for a place, in seconds.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 120))]
    pub(crate) wall_s: Option<At<Whole>>,
    /// The compiled component, in MiB.
    #[schemars(range(min = 1, max = 16_384), extend("default" = 512))]
    pub(crate) artifact_mib: Option<At<Whole>>,
    /// Compilations at once, in the whole host; no more than there are cores but one. 1 by default, and 2 where there are four
    /// cores or more.
    #[schemars(range(min = 1, max = 1024))]
    pub(crate) concurrency: Option<At<Whole>>,
    /// Compilations that wait for a place, in the whole host.
    #[schemars(range(min = 0, max = 1024), extend("default" = 16))]
    pub(crate) queue: Option<At<Whole>>,
}

/// The log: its format and its lines.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Log")]
pub(crate) struct RawLog {
    /// How log lines look.
    #[schemars(extend("default" = "text"))]
    pub(crate) format: LogFormat,
    /// The requests that get a log line.
    #[schemars(extend("default" = "errors"))]
    pub(crate) requests: RequestLog,
}

/// The bounds of metrics.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Metrics")]
pub(crate) struct RawMetrics {
    /// Functions that have series of their own. Tenants share them by weight; the others of a tenant are counted together.
    #[schemars(range(min = 0, max = 100_000), extend("default" = 2000))]
    pub(crate) max_functions: Option<At<Whole>>,
}

/// The reach of outbound HTTP of every tenant, where a manifest grants it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Egress")]
pub(crate) struct RawEgress {
    /// Networks such as `10.1.0.0/16` of addresses that are not on the public internet: loopback, private, link-local, metadata
    /// and so on. None by default: no grant of a manifest reaches any of them.
    pub(crate) networks: Vec<At<String>>,
}

/// The tenants, which are isolated and charged.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Tenant")]
pub(crate) struct RawTenant {
    /// Its host names, such as `acme.example.com`, `*.acme.example.com` for all below it, or `*` for all that no other
    /// tenant has.
    pub(crate) hosts: Vec<At<String>>,
    /// Its apps' manifests, or the directories that hold them, relative to the host file.
    pub(crate) apps: Vec<At<String>>,
    /// Folders besides each app's own that its components may lie in, relative to the host file. None by default: a component lies in the
    /// folder of its app, or below.
    pub(crate) component_dirs: Vec<At<String>>,
    /// The quota of all its functions together.
    pub(crate) quota: RawQuota,
    /// Upper bounds on its functions' limits, and on what its apps have.
    pub(crate) caps: RawCaps,
    /// The reach of its outbound HTTP, where its manifests grant it.
    pub(crate) egress: RawTenantEgress,
}

/// The reach of outbound HTTP of a tenant, where its manifests grant it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "TenantEgress")]
pub(crate) struct RawTenantEgress {
    /// Networks such as `10.1.0.0/16` of addresses that are not on the public internet, besides those that every tenant may
    /// reach.
    pub(crate) networks: Vec<At<String>>,
    /// The hosts that its grants may name, such as `api.example.com`, or `*.example.com` for all below it. Every host by
    /// default. An address that is not on the public internet has to be in `networks` as well.
    pub(crate) hosts: Option<At<Vec<At<String>>>>,
}

/// The quota of all functions of a tenant together. Without a bound but the host's own by default.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Quota")]
pub(crate) struct RawQuota {
    /// Invocations at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) concurrency: Option<At<Whole>>,
    /// Invocations in a second, with a burst of the same size.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(crate) rate_per_s: Option<At<Whole>>,
    /// The sum of the memory limits of the sandboxes that exist at once, in MiB.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub(crate) memory_mib: Option<At<Whole>>,
    /// Its part of what there is not enough of, in proportion to the others' weights: slots, cores, memory, functions in memory,
    /// functions with series of their own.
    #[schemars(range(min = 1, max = 1000), extend("default" = 1))]
    pub(crate) weight: Option<At<Whole>>,
}
