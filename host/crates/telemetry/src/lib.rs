//! The host's reports about itself and its guests: logs, the invocation log, metrics, health.
//!
//! ```text
//!  guest stdout, stderr ─> GuestLog ─┐
//!  one Record per invocation ────────┼─> Sink ─> LogWriter ─> (bounded queue) ─> one thread ─> stderr
//!  the host's own tracing events ────┤
//!  messages of `lacewing up` ────────┘
//!  FunctionMetrics, gauges ─> Metrics ─> /metrics ┐
//!  Health ─────────────────> /healthz, /readyz    ┴ admin listener
//! ```
//!
//! Nothing here blocks an invocation: what cannot be queued is dropped, counted, and visible as a
//! metric.

pub mod admin;
pub mod guest_log;
pub mod health;
pub mod histogram;
pub mod identity;
pub mod logs;
pub mod messages;
pub mod metrics;
mod process;
pub mod record;
pub mod sink;
mod text;
mod writer;

pub use self::text::{displayed, rfc3339, shortened};
pub use self::{
    guest_log::{GuestLog, LogTotals, Stream},
    health::Health,
    identity::{Context, InvocationId, Origin, RequestHead, SpanId, TraceId},
    messages::Messages,
    metrics::{FunctionMetrics, Metrics},
    record::{InvocationLog, Record, Subject, UnroutedRequest, Usage},
    sink::{Captured, GuestLine, Sink},
};
