//! The limits of an invocation.
//!
//! Every limit has a default, is set per function in the manifest, and is capped by the tenant's and the
//! host's caps. Each field says its unit, its default, who is charged and the outcome when it is hit.

use std::{fmt, ops::RangeInclusive, time::Duration};

use super::raw::Whole;
use super::spanned::At;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The limits of one revision.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Bytes of linear memory of one sandbox, over all its memories. Manifest: `memory_mib`. Default 64 MiB.
    /// A growth over it is refused to the guest; a guest that does not survive that ends as `memory_exceeded`.
    pub memory_bytes: u64,
    /// Time spent running the guest. Manifest: `cpu_ms`. Default 1 s. `cpu_exceeded`.
    pub cpu: Duration,
    /// Wall time from admission to the end of the response. Manifest: `deadline_ms`. Default 30 s.
    /// `deadline_exceeded`.
    pub deadline: Duration,
    /// Time spent running the function's init, if it has one, when a revision is made. Manifest: `init_cpu_ms`. Default
    /// 10 s, and ten times that of wall time. The deploy is refused.
    pub init_cpu: Duration,
    /// Deterministic fuel units; `Some` compiles the revision in the metered profile. Manifest: `fuel`.
    /// Default none. `fuel_exhausted`.
    pub fuel: Option<u64>,
    /// Elements of one table. Manifest: `table_elements`. Default 20,000. `memory_exceeded`.
    pub table_elements: u64,
    /// Core instances in one sandbox. Manifest: `instances`. Default 64. Refused at deploy.
    pub instances: u32,
    /// Linear memories in one sandbox. Manifest: `memories`. Default 8. Refused at deploy.
    pub memories: u32,
    /// Bytes of a request's body. Manifest: `request_body_kib`. Default 6 MiB where the body is buffered
    /// (lean path), 4 GiB where it streams. `bad_request` (413).
    pub request_body_bytes: Option<u64>,
    /// Bytes of a response's body. Manifest: `response_body_kib`. Default as for requests. `bad_response`.
    pub response_body_bytes: Option<u64>,
    /// Header fields of a request, and of a response. Manifest: `headers`. Default 100.
    /// `bad_request` (431), `bad_response`.
    pub headers: u32,
    /// Bytes of names and values of a request's header fields, and of a response's. Manifest: `header_kib`.
    /// Default 32 KiB. `bad_request` (431), `bad_response`.
    pub header_bytes: u32,
    /// Bytes of log lines that one invocation may emit. Manifest: `log_kib`. Default 64 KiB. Lines over it are
    /// dropped, and the last line says so; the invocation goes on.
    pub log_bytes: u64,
    /// Invocations of this function at once. Manifest: `concurrency`. Default 256. `throttled`.
    pub concurrency: u32,
    /// Invocations of this function in a second, with a burst of the same size. Manifest: `rate_per_s`.
    /// Default none. `throttled`.
    pub rate_per_s: Option<u32>,
    /// Sandboxes that are kept instantiated and unused, for the next invocations. Manifest: `provisioned`. Default 0. They take
    /// the host's slots for these, a quarter of `max_sandboxes` for all functions together; where none is left there are fewer.
    pub provisioned: u32,
    /// Invocations that one instance may serve, several of them at once where its component can. Manifest: `reuse`. Default 1: each has
    /// a sandbox of its own. For components of wasi:http only; refused at deploy for others.
    pub reuse: u32,
    /// Resource handles (requests, bodies, timers, ...) that one sandbox holds at once. Manifest: `handles`.
    /// Default 100,000: some runtimes keep one for each piece of a body that they read. The memory behind handles counts
    /// as the guest's. The hostcall that goes over it traps.
    pub handles: u32,
    /// Random bytes in one hostcall. Manifest: `random_kib`. Default 64 KiB. The hostcall traps.
    pub random_bytes: u64,
    /// Outbound requests open at once in one invocation. Manifest: `outbound_concurrency`. Default 16. The
    /// next one waits.
    pub outbound_concurrency: u32,
    /// Outbound requests in one invocation. Manifest: `outbound_requests`. Default 64. The hostcall fails.
    pub outbound_requests: u32,
    /// Bytes sent and received by outbound requests in one invocation. Manifest: `egress_kib`. Default 64 MiB. The
    /// stream fails.
    pub egress_bytes: u64,
}

impl Limits {
    /// Bytes of a body, in either direction, where it is buffered and the manifest says nothing.
    pub const BUFFERED_BODY_BYTES: u64 = 6 * MIB;
    /// Bytes of a body, in either direction, where it streams and the manifest says nothing.
    pub const STREAMED_BODY_BYTES: u64 = 4 * 1024 * MIB;
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes: 64 * MIB,
            cpu: Duration::from_secs(1),
            deadline: Duration::from_secs(30),
            init_cpu: Duration::from_secs(10),
            fuel: None,
            table_elements: 20_000,
            instances: 64,
            memories: 8,
            request_body_bytes: None,
            response_body_bytes: None,
            headers: 100,
            header_bytes: 32 * 1024,
            log_bytes: 64 * KIB,
            concurrency: 256,
            rate_per_s: None,
            provisioned: 0,
            reuse: 1,
            handles: 100_000,
            random_bytes: 64 * KIB,
            outbound_concurrency: 16,
            outbound_requests: 64,
            egress_bytes: 64 * MIB,
        }
    }
}

macro_rules! limit_keys {
    ($($(#[doc = $doc:literal])* $key:ident = $variant:ident, $min:literal..=$max:literal $(, default $default:literal)?;)*) => {
        /// The limits by their keys in the manifest, each with its range in the unit that the key names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LimitKey {
            $($(#[doc = $doc])* $variant,)*
        }

        impl LimitKey {
            /// Every key, in the order of declaration: `ALL[key as usize] == key`.
            pub const ALL: &'static [LimitKey] = &[$(LimitKey::$variant),*];

            /// How many there are.
            pub const COUNT: usize = LimitKey::ALL.len();

            /// The key as it is written.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(LimitKey::$variant => stringify!($key),)*
                }
            }

            /// The values that may be written.
            pub const fn range(self) -> RangeInclusive<u64> {
                match self {
                    $(LimitKey::$variant => $min..=$max,)*
                }
            }
        }

        /// The limits of one invocation of a function, and of the number of its invocations.
        #[derive(Clone, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, expecting = "a table")]
        #[schemars(rename = "Limits")]
        pub(crate) struct RawLimits {
            $(
                $(#[doc = $doc])*
                #[schemars(range(min = $min, max = $max) $(, extend("default" = $default))?)]
                pub(crate) $key: Option<At<Whole>>,
            )*
        }

        /// Upper bounds on limits, under the limits' own keys, and on what an app has.
        #[derive(Clone, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, expecting = "a table")]
        #[schemars(rename = "Caps")]
        pub(crate) struct RawCaps {
            $(
                $(#[doc = $doc])*
                #[schemars(range(min = $min, max = $max))]
                pub(crate) $key: Option<At<Whole>>,
            )*
            /// Functions of one app.
            #[schemars(range(min = 1, max = 1_000_000))]
            pub(crate) functions: Option<At<Whole>>,
            /// Routes of one app, over all its functions.
            #[schemars(range(min = 1, max = 1_000_000))]
            pub(crate) routes: Option<At<Whole>>,
        }

        impl RawLimits {
            /// The written values, in the order of [`LimitKey::ALL`].
            pub(crate) fn written(&self) -> impl Iterator<Item = (LimitKey, &At<Whole>)> {
                [$((LimitKey::$variant, self.$key.as_ref())),*]
                    .into_iter()
                    .filter_map(|(key, value)| value.map(|value| (key, value)))
            }
        }

        impl RawCaps {
            /// The caps of limits that were written, in the order of [`LimitKey::ALL`].
            pub(crate) fn written(&self) -> impl Iterator<Item = (LimitKey, &At<Whole>)> {
                [$((LimitKey::$variant, self.$key.as_ref())),*]
                    .into_iter()
                    .filter_map(|(key, value)| value.map(|value| (key, value)))
            }
        }
    };
}

limit_keys! {
    /// Linear memory of one sandbox, over all its memories, in MiB.
    memory_mib = MemoryMib, 1..=4096, default 64;
    /// Time spent running the guest, in milliseconds. Waiting does not count.
    cpu_ms = CpuMs, 1..=900_000, default 1000;
    /// Wall time from admission to the end of the response, in milliseconds.
    deadline_ms = DeadlineMs, 1..=86_400_000, default 30_000;
    /// Time spent running the function's init, which prepares it when it is deployed, in milliseconds. Its memory is limited as
    /// that of an invocation.
    init_cpu_ms = InitCpuMs, 1..=900_000, default 10_000;
    /// Fuel, a deterministic measure of the work that the guest does, in wasmtime's units (about one per Wasm
    /// instruction). Setting it compiles the function so that fuel is counted, which makes it slower. None by default.
    fuel = Fuel, 1..=9_223_372_036_854_775_807u64;
    /// Elements of one table.
    table_elements = TableElements, 1..=10_000_000, default 20_000;
    /// Core instances in one sandbox.
    instances = Instances, 1..=1000, default 64;
    /// Linear memories in one sandbox.
    memories = Memories, 1..=100, default 8;
    /// The body of a request, in KiB. 6 MiB by default where it is buffered, 4 GiB where it streams.
    request_body_kib = RequestBodyKib, 0..=1_073_741_824;
    /// The body of a response, in KiB. 6 MiB by default where it is buffered, 4 GiB where it streams.
    response_body_kib = ResponseBodyKib, 0..=1_073_741_824;
    /// Header fields of a request, and of a response.
    headers = Headers, 1..=1024, default 100;
    /// Names and values of a request's header fields, and of a response's, in KiB.
    header_kib = HeaderKib, 1..=1024, default 32;
    /// Log lines that one invocation may emit, in KiB. Lines over it are dropped.
    log_kib = LogKib, 0..=1_048_576, default 64;
    /// Invocations of this function at once.
    concurrency = Concurrency, 1..=100_000, default 256;
    /// Invocations of this function in a second, with a burst of the same size. Not limited by default.
    rate_per_s = RatePerS, 1..=10_000_000;
    /// Sandboxes that are kept ready: instantiated, initialised, never used. The next invocation takes one instead of
    /// making its own, and another is made meanwhile.
    provisioned = Provisioned, 0..=10_000, default 0;
    /// Invocations that one instance may serve before it is dropped, several of them at once where its component can. For
    /// components of wasi:http. The memory that one of them leaves, the next one finds.
    reuse = Reuse, 1..=1_000_000, default 1;
    /// Resource handles (requests, bodies, timers, ...) that one sandbox holds at once. The memory behind them counts as the guest's.
    handles = Handles, 1..=1_000_000, default 100_000;
    /// Random bytes in one call of the host, in KiB.
    random_kib = RandomKib, 1..=65_536, default 64;
    /// Outbound requests open at once in one invocation. The next one waits.
    outbound_concurrency = OutboundConcurrency, 1..=1000, default 16;
    /// Outbound requests in one invocation.
    outbound_requests = OutboundRequests, 0..=100_000, default 64;
    /// Bytes sent and received by outbound requests in one invocation, in KiB.
    egress_kib = EgressKib, 0..=1_073_741_824, default 65_536;
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Limits {
    /// A limit in the unit of its key, rounded up; `None` where there is none, or where the default depends on how
    /// the function is called (bodies).
    pub fn get(&self, key: LimitKey) -> Option<u64> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Some(match key {
            LimitKey::MemoryMib => self.memory_bytes.div_ceil(MIB),
            LimitKey::CpuMs => milliseconds(self.cpu),
            LimitKey::DeadlineMs => milliseconds(self.deadline),
            LimitKey::InitCpuMs => milliseconds(self.init_cpu),
            LimitKey::Fuel => self.fuel?,
            LimitKey::TableElements => self.table_elements,
            LimitKey::Instances => self.instances.into(),
            LimitKey::Memories => self.memories.into(),
            LimitKey::RequestBodyKib => self.request_body_bytes?.div_ceil(KIB),
            LimitKey::ResponseBodyKib => self.response_body_bytes?.div_ceil(KIB),
            LimitKey::Headers => self.headers.into(),
            LimitKey::HeaderKib => u64::from(self.header_bytes).div_ceil(KIB),
            LimitKey::LogKib => self.log_bytes.div_ceil(KIB),
            LimitKey::Concurrency => self.concurrency.into(),
            LimitKey::RatePerS => self.rate_per_s?.into(),
            LimitKey::Provisioned => self.provisioned.into(),
            LimitKey::Reuse => self.reuse.into(),
            LimitKey::Handles => self.handles.into(),
            LimitKey::RandomKib => self.random_bytes.div_ceil(KIB),
            LimitKey::OutboundConcurrency => self.outbound_concurrency.into(),
            LimitKey::OutboundRequests => self.outbound_requests.into(),
            LimitKey::EgressKib => self.egress_bytes.div_ceil(KIB),
        })
    }

    /// Sets a limit in the unit of its key. A value outside the key's range is brought into it.
    pub fn set(&mut self, key: LimitKey, value: u64) {
        let range = key.range();
        let value = value.clamp(*range.start(), *range.end());
        let small = u32::try_from(value).unwrap_or(u32::MAX);
        match key {
            LimitKey::MemoryMib => self.memory_bytes = value * MIB,
            LimitKey::CpuMs => self.cpu = Duration::from_millis(value),
            LimitKey::DeadlineMs => self.deadline = Duration::from_millis(value),
            LimitKey::InitCpuMs => self.init_cpu = Duration::from_millis(value),
            LimitKey::Fuel => self.fuel = Some(value),
            LimitKey::TableElements => self.table_elements = value,
            LimitKey::Instances => self.instances = small,
            LimitKey::Memories => self.memories = small,
            LimitKey::RequestBodyKib => self.request_body_bytes = Some(value * KIB),
            LimitKey::ResponseBodyKib => self.response_body_bytes = Some(value * KIB),
            LimitKey::Headers => self.headers = small,
            LimitKey::HeaderKib => self.header_bytes = small * 1024,
            LimitKey::LogKib => self.log_bytes = value * KIB,
            LimitKey::Concurrency => self.concurrency = small,
            LimitKey::RatePerS => self.rate_per_s = Some(small),
            LimitKey::Provisioned => self.provisioned = small,
            LimitKey::Reuse => self.reuse = small,
            LimitKey::Handles => self.handles = small,
            LimitKey::RandomKib => self.random_bytes = value * KIB,
            LimitKey::OutboundConcurrency => self.outbound_concurrency = small,
            LimitKey::OutboundRequests => self.outbound_requests = small,
            LimitKey::EgressKib => self.egress_bytes = value * KIB,
        }
    }
}
