//! One run of a function: admitted, run in a sandbox, recorded.
//!
//! ```text
//!   Pending (waits for its body, for admission) ──refuse(outcome)──┐
//!      │            └── dropped: canceled ─────────────────────────┤
//!      │ run: a permit, then a sandbox                             v
//!      │                                                metrics, then one record
//!      v                                                           ^
//!   Running (sandbox, permit, log) ──end(result)───────────────────┤
//!                   └── dropped: canceled ─────────────────────────┘
//! ```
//!
//! The gateway begins each invocation once, and each is recorded exactly once. A running one is
//! recorded while the sandbox is still there, because the usage is read from the sandbox; the
//! sandbox and the permit go a moment later.

mod admission;
mod call;
mod commit;
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod http;
mod lifecycle;
mod making;
mod response;
mod stream;

pub use admission::{Admission, AdmissionRefusal, InvocationPermit, QueueOptions};
pub use call::Called;
pub use commit::Acknowledgement;
pub use headers::Excess;
pub use http::{HttpRequest, PARAMS_HEADER, ROUTE_HEADER};
pub use lifecycle::Pending;

use std::{sync::Arc, time::Duration};

use lacewing_base::{body::BodyError, outcome::Outcome};
use lacewing_sandbox::{Fault, engine::Engines};
use lacewing_telemetry::{InvocationLog, Sink};

/// Runs functions.
pub struct Invoker {
    engines: Arc<Engines>,
    admission: Admission,
    sink: Sink,
    log: InvocationLog,
}

/// Why an invocation gave no result of the function's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How it ended.
    pub outcome: Outcome,
    /// The sentence for the caller, beyond the outcome.
    pub reason: Option<&'static str>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The fault of the request's body, where that ended the invocation.
    pub body: Option<BodyError>,
    /// Whether a store had no room.
    pub store_is_full: bool,
}

impl Failure {
    fn of(outcome: Outcome) -> Failure {
        Failure { outcome, reason: None, retry_after: None, body: None, store_is_full: false }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure { store_is_full: fault.store_is_full, ..Failure::of(fault.outcome) }
    }
}

impl From<AdmissionRefusal> for Failure {
    fn from(refused: AdmissionRefusal) -> Failure {
        let AdmissionRefusal { outcome, reason, retry_after } = refused;
        Failure { reason: Some(reason), retry_after: Some(retry_after), ..Failure::of(outcome) }
    }
}

impl Invoker {
    /// Runs functions in `engines`, as many at once as `admission` lets in; guests' lines and the
    /// records that `log` wants go to `sink`.
    pub fn new(
        engines: Arc<Engines>,
        admission: Admission,
        sink: Sink,
        log: InvocationLog,
    ) -> Invoker {
        Invoker { engines, admission, sink, log }
    }

    /// The gate of invocations.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Where guests' lines and records go.
    pub fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Where functions run.
    pub fn engines(&self) -> &Arc<Engines> {
        &self.engines
    }
}
