//! The limits of an invocation.
//!
//! Every limit has a default, is set per function in the manifest, and is capped by the tenant's
//! and the host's caps. Each field has its unit, its default, the party that is charged, and the
//! outcome.

use std::{fmt, ops::RangeInclusive, time::Duration};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The limits of one revision.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Bytes of linear memory of one sandbox, over all its memories. Manifest: `memory_mib`.
    /// Default 64 MiB. A growth over it is refused to the guest; a guest that does not survive
    /// that ends as `memory_exceeded`.
    pub memory_bytes: u64,
    /// Time spent running the guest. Manifest: `cpu_ms`. Default 1 s. `cpu_exceeded`.
    pub cpu: Duration,
    /// Wall time from admission to the end of the response. Manifest: `deadline_ms`. Default 30 s.
    /// `deadline_exceeded`.
    pub deadline: Duration,
    /// Time spent running the function's init, if it has one, when a revision is made. Manifest:
    /// `init_cpu_ms`. Default 10 s, and ten times that of wall time. The deploy is refused.
    pub init_cpu: Duration,
    /// Deterministic fuel units; `Some` compiles the revision in the metered profile. Manifest:
    /// `fuel`. Default none. `fuel_exhausted`.
    pub fuel: Option<u64>,
    /// Elements of one table. Manifest: `table_elements`. Default 20,000. `memory_exceeded`.
    pub table_elements: u64,
    /// Core instances in one sandbox. Manifest: `instances`. Default 64. Refused at deploy.
    pub instances: u32,
    /// Linear memories in one sandbox. Manifest: `memories`. Default 8. Refused at deploy.
    pub memories: u32,
    /// Bytes of a request's body. Manifest: `request_body_kib`. Default 6 MiB where the body is
    /// buffered (lean path), 4 GiB where it streams. `bad_request` (413).
    pub request_body_bytes: Option<u64>,
    /// Bytes of a response's body. Manifest: `response_body_kib`. Default as for requests.
    /// `bad_response`.
    pub response_body_bytes: Option<u64>,
    /// Header fields of a request, and of a response. Manifest: `headers`. Default 100.
    /// `bad_request` (431), `bad_response`.
    pub headers: u32,
    /// Bytes of names and values of a request's header fields, and of a response's. Manifest:
    /// `header_kib`. Default 32 KiB. `bad_request` (431), `bad_response`.
    pub header_bytes: u32,
    /// Bytes of log lines that one invocation may emit. Manifest: `log_kib`. Default 64 KiB. Lines
    /// over it are dropped, and the last line says so; the invocation goes on.
    pub log_bytes: u64,
    /// Invocations of this function at once. Manifest: `concurrency`. Default 256. `throttled`.
    pub concurrency: u32,
    /// Invocations of this function in a second, with a burst of the same size. Manifest:
    /// `rate_per_s`. Default none. `throttled`.
    pub rate_per_s: Option<u32>,
    /// Sandboxes that are kept instantiated and unused, for the next invocations. Manifest:
    /// `provisioned`. Default 0. They take the host's slots for these, a quarter of
    /// `max_sandboxes` for all functions together; where none is left there are fewer.
    pub provisioned: u32,
    /// Invocations that one instance may serve, several of them at once where its component can.
    /// Manifest: `reuse`. Default 1: each has a sandbox of its own. For components of
    /// wasi:http only; refused at deploy for others.
    pub reuse: u32,
    /// Resource handles (requests, bodies, timers, ...) that one sandbox holds at once. Manifest:
    /// `handles`. Default 100,000: some runtimes keep one for each piece of a body that they
    /// read. The memory behind handles counts as the guest's. The hostcall that goes over it
    /// traps.
    pub handles: u32,
    /// Random bytes in one hostcall. Manifest: `random_kib`. Default 64 KiB. The hostcall traps.
    pub random_bytes: u64,
    /// Outbound requests open at once in one invocation. Manifest: `outbound_concurrency`. Default
    /// 16. The next one waits.
    pub outbound_concurrency: u32,
    /// Outbound requests in one invocation. Manifest: `outbound_requests`. Default 64. The
    /// hostcall fails.
    pub outbound_requests: u32,
    /// Bytes sent and received by outbound requests in one invocation. Manifest: `egress_kib`.
    /// Default 64 MiB. The stream fails.
    pub egress_bytes: u64,
    /// Entries that one invocation writes. Manifest: `effects`. Default 1,000. The hostcall fails.
    pub effects: u32,
    /// Bytes of keys and values that one invocation writes, with 64 for each. Manifest:
    /// `effect_kib`. Default 4 MiB. The hostcall fails.
    pub effect_bytes: u64,
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
            effects: 1000,
            effect_bytes: 4 * MIB,
        }
    }
}

macro_rules! limit_keys {
    ($($(#[doc = $doc:literal])* $key:ident = $variant:ident, $min:literal..=$max:literal $(, default $default:literal)?;)*) => {
        /// The limits by their keys, each with its range in the unit that the key names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LimitKey {
            $($(#[doc = $doc])* $variant,)*
        }

        impl LimitKey {
            /// Every key, in the order of declaration: `ALL[key as usize] == key`.
            pub const ALL: &'static [LimitKey] = &[$(LimitKey::$variant),*];

            /// The number of keys.
            pub const COUNT: usize = LimitKey::ALL.len();

            /// The keys as they are written, in the order of [`LimitKey::ALL`].
            pub const NAMES: &'static [&'static str] = &[$(stringify!($key)),*];

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

            /// The value where none is written; `None` where there is no limit, or where the
            /// default depends on how the function is called.
            pub const fn default_value(self) -> Option<u64> {
                match self {
                    $(LimitKey::$variant => limit_keys!(@default $($default)?),)*
                }
            }

            /// The key's meaning for users, as a paragraph.
            pub const fn description(self) -> &'static str {
                match self {
                    $(LimitKey::$variant => concat!($($doc, "\n"),*),)*
                }
            }
        }
    };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
}

limit_keys! {
    /// Linear memory of one sandbox, over all its memories. A growth beyond it fails; a guest that
    /// gives up then ends as `memory_exceeded`.
    memory_mib = MemoryMib, 1..=4096, default 64;
    /// The time that a guest may compute. Waiting does not count. Then the invocation ends as
    /// `cpu_exceeded`.
    cpu_ms = CpuMs, 1..=900_000, default 1000;
    /// The wall time from admission to the end of the response. Then the invocation ends as
    /// `deadline_exceeded`.
    deadline_ms = DeadlineMs, 1..=86_400_000, default 30_000;
    /// The time that the function's init may compute when the function is deployed. The init has
    /// the memory limit of an invocation. A deploy beyond it is refused.
    init_cpu_ms = InitCpuMs, 1..=900_000, default 10_000;
    /// The fuel of one invocation, a deterministic count of work in wasmtime's units: about one for
    /// each Wasm instruction. Setting it makes the function slower. None by default. Then the
    /// invocation ends as `fuel_exhausted`.
    fuel = Fuel, 1..=9_223_372_036_854_775_807u64;
    /// Elements of one table. A growth beyond it fails; a guest that gives up then ends as
    /// `memory_exceeded`.
    table_elements = TableElements, 1..=10_000_000, default 20_000;
    /// Core instances in one sandbox. A component with more is refused at deploy.
    instances = Instances, 1..=1000, default 64;
    /// Linear memories in one sandbox. A component with more is refused at deploy.
    memories = Memories, 1..=100, default 8;
    /// The body of a request. By default 6 MiB where the body is buffered, and 4 GiB where it
    /// streams. A larger request ends as `bad_request` (413).
    request_body_kib = RequestBodyKib, 0..=1_073_741_824;
    /// The body of a response. By default 6 MiB where the body is buffered, and 4 GiB where it
    /// streams. A larger response ends as `bad_response`.
    response_body_kib = ResponseBodyKib, 0..=1_073_741_824;
    /// Header fields of a request, and of a response. More of them end as `bad_request` (431), or
    /// as `bad_response`.
    headers = Headers, 1..=1024, default 100;
    /// Names and values of all header fields of a request, and of a response. More end as
    /// `bad_request` (431), or as `bad_response`.
    header_kib = HeaderKib, 1..=1024, default 32;
    /// Log lines of one invocation. Further lines are dropped, and the last line says so.
    log_kib = LogKib, 0..=1_048_576, default 64;
    /// Invocations of this function at once. A request beyond it waits for `admission.wait_ms` of
    /// the host, then ends as `throttled`.
    concurrency = Concurrency, 1..=100_000, default 256;
    /// Invocations of this function in a second, with a burst of the same size. No bound by
    /// default. A request beyond it waits for `admission.wait_ms` of the host, then ends as
    /// `throttled`.
    rate_per_s = RatePerS, 1..=10_000_000;
    /// Sandboxes that are kept ready: instantiated, initialised and never used. An invocation takes
    /// one of them, and the host makes another. All functions together have at most a quarter of
    /// `max_sandboxes`.
    provisioned = Provisioned, 0..=10_000, default 0;
    /// Invocations that one instance serves before it is dropped; with `wasi:http` 0.3 up to 16 of
    /// them at once. For components of `wasi:http` only. An invocation can read the memory that an
    /// earlier one left.
    reuse = Reuse, 1..=1_000_000, default 1;
    /// Resource handles (requests, bodies, timers, ...) that one sandbox holds at once. The memory
    /// behind them counts as the guest's. The call that goes beyond it traps.
    handles = Handles, 1..=1_000_000, default 100_000;
    /// Random bytes in one call of the host. A call that asks for more traps.
    random_kib = RandomKib, 1..=65_536, default 64;
    /// Outbound requests of one invocation that are open at once. The next one waits.
    outbound_concurrency = OutboundConcurrency, 1..=1000, default 16;
    /// Outbound requests of one invocation. The next one fails.
    outbound_requests = OutboundRequests, 0..=100_000, default 64;
    /// Bytes that the outbound requests of one invocation send and receive. Then the stream fails.
    egress_kib = EgressKib, 0..=1_073_741_824, default 65_536;
    /// Entries that one invocation writes to kv stores. The next call that writes fails.
    effects = Effects, 0..=100_000, default 1000;
    /// Keys and values that one invocation writes to kv stores, with 64 bytes for each. Then the
    /// call that writes fails.
    effect_kib = EffectKib, 0..=65_536, default 4096;
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Limits {
    /// A limit in the unit of its key, rounded up; `None` where there is none, or where the default
    /// depends on how the function is called (bodies).
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
            LimitKey::Effects => self.effects.into(),
            LimitKey::EffectKib => self.effect_bytes.div_ceil(KIB),
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
            LimitKey::Effects => self.effects = small,
            LimitKey::EffectKib => self.effect_bytes = value * KIB,
        }
    }
}
