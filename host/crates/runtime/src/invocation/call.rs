//! Direct invocation: a payload in, a payload or an error out; a batch of events in, a result for
//! each out.

use std::sync::Arc;

use lacewing_sandbox::{CallError, Event, EventFailure, Sandbox, capability::egress::Propagation};
use lacewing_telemetry::{Context, Usage};

use super::{Failure, Invoker};
use crate::function::Revision;

/// The result of a call, with its usage.
#[derive(Clone, Debug)]
pub struct Called<T> {
    /// The function's own result, or why there is none.
    pub result: Result<T, Failure>,
    /// For people: a trap's message and backtrace.
    pub detail: Option<String>,
    /// The usage.
    pub usage: Usage,
}

impl<T> Called<T> {
    fn refused(failure: Failure) -> Called<T> {
        Called { result: Err(failure), detail: None, usage: Usage::default() }
    }
}

impl Invoker {
    /// Calls `lacewing:function/call.call`.
    pub async fn call(
        self: &Arc<Self>,
        revision: &Arc<Revision>,
        context: &Arc<Context>,
        payload: &[u8],
    ) -> Called<Result<Vec<u8>, CallError>> {
        let pending = self.begin(revision, context);
        let mut running = match pending.run::<Sandbox>(Propagation::default()).await {
            Ok(running) => running,
            Err(failure) => return Called::refused(failure),
        };
        running.bytes_in = payload.len() as u64;
        let result = running.sandbox.call(payload).await;
        if let Ok(Ok(output)) = &result {
            running.bytes_out = output.len() as u64;
        }
        let ended = running.end(result.as_ref().map(|_| ()));
        let result = result.map_err(|fault| Failure::of(fault.outcome));
        Called { result, detail: ended.detail, usage: ended.usage }
    }

    /// Calls `lacewing:function/events.handle`.
    pub async fn events(
        self: &Arc<Self>,
        revision: &Arc<Revision>,
        context: &Arc<Context>,
        batch: &[Event],
    ) -> Called<Vec<Result<(), EventFailure>>> {
        let pending = self.begin(revision, context);
        let mut running = match pending.run::<Sandbox>(Propagation::default()).await {
            Ok(running) => running,
            Err(failure) => return Called::refused(failure),
        };
        running.bytes_in = batch
            .iter()
            .filter_map(|event| event.data.as_ref())
            .map(|data| data.len() as u64)
            .sum();
        let result = running.sandbox.events(batch).await;
        let ended = running.end(result.as_ref().map(|_| ()));
        let result = result.map_err(|fault| Failure::of(fault.outcome));
        Called { result, detail: ended.detail, usage: ended.usage }
    }
}
