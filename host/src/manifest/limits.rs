//! What an invocation may use.
//!
//! Every limit has a default, is set per function in the manifest, and is capped by the tenant's and the
//! host's caps. Each field says its unit, its default, who is charged and the outcome when it is hit.

use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The limits of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory of one sandbox, over all its memories. Manifest: `memory_mib`. Default 64 MiB.
    /// A growth over it is refused to the guest; a guest that does not survive that ends as `memory_exceeded`.
    pub memory_bytes: u64,
    /// Time spent running the guest. Manifest: `cpu_ms`. Default 1 s. `cpu_exceeded`.
    pub cpu: Duration,
    /// Wall time from admission to the end of the response. Manifest: `deadline_ms`. Default 30 s.
    /// `deadline_exceeded`.
    pub deadline: Duration,
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
    /// Bytes of log lines that one invocation may emit. Manifest: `log_kib`. Default 64 KiB. What is over it is
    /// dropped, and the last line says so; the invocation goes on.
    pub log_bytes: u64,
    /// Invocations of this function at once. Manifest: `concurrency`. Default 256. `throttled`.
    pub concurrency: u32,
    /// Invocations of this function in a second, with a burst of the same size. Manifest: `rate_per_s`.
    /// Default none. `throttled`.
    pub rate_per_s: Option<u32>,
    /// Resource handles (requests, bodies, timers, ...) that one sandbox holds at once. Manifest: `handles`.
    /// Default 1,024. The hostcall that goes over it traps.
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
            handles: 1024,
            random_bytes: 64 * KIB,
            outbound_concurrency: 16,
            outbound_requests: 64,
            egress_bytes: 64 * MIB,
        }
    }
}
