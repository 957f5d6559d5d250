//! Direct invocation: a payload in, a payload or an error out; a batch of events in, a result for
//! each out.

use std::sync::Arc;

use lacewing_sandbox::{
    CallError, Event, EventFailure, Retry, Sandbox, capability::egress::Propagation,
};
use lacewing_telemetry::{Context, Usage};

use super::{
    Failure, Invoker,
    commit::{Acknowledgement, Runs, Verdict},
};
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
        let mut runs = Runs::new(Propagation::default());
        let result = loop {
            let answer = running.sandbox().call(payload).await;
            let verdict = |result: &mut Result<Vec<u8>, CallError>| match result {
                Ok(_) => Verdict::Commit,
                Err(_) => Verdict::Discard,
            };
            if let Some(result) = running.commit(&mut runs, answer, verdict).await {
                break result;
            }
        };
        if let Ok(Ok(output)) = &result {
            running.bytes_out = output.len() as u64;
        }
        let ended = running.end(result.as_ref().map(|_| ()));
        let result = result.map_err(Failure::from);
        Called { result, detail: ended.detail, usage: ended.usage }
    }

    /// Calls `lacewing:function/events.handle` with events that no source has to be told of.
    pub async fn events(
        self: &Arc<Self>,
        revision: &Arc<Revision>,
        context: &Arc<Context>,
        batch: &[Event],
    ) -> Called<Vec<Result<(), EventFailure>>> {
        let runs = Runs::new(Propagation::default());
        self.handle(revision, context, batch, runs).await
    }

    /// Calls `lacewing:function/events.handle`. The acknowledgement is committed with the effects
    /// of the handler, if all of the events were handled.
    pub async fn deliver(
        self: &Arc<Self>,
        revision: &Arc<Revision>,
        context: &Arc<Context>,
        batch: &[Event],
        acknowledgement: &Acknowledgement<'_>,
    ) -> Called<Vec<Result<(), EventFailure>>> {
        let runs = Runs::acknowledging(Propagation::default(), acknowledgement);
        self.handle(revision, context, batch, runs).await
    }

    async fn handle(
        self: &Arc<Self>,
        revision: &Arc<Revision>,
        context: &Arc<Context>,
        batch: &[Event],
        mut runs: Runs<'_>,
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
        let result = loop {
            let answer = running.sandbox().events(batch).await;
            if let Some(result) =
                running.commit(&mut runs, answer, |results| all_or_none(results)).await
            {
                break result;
            }
        };
        let ended = running.end(result.as_ref().map(|_| ()));
        let result = result.map_err(Failure::from);
        Called { result, detail: ended.detail, usage: ended.usage }
    }
}

/// The verdict on a batch, whose events share one transaction: where one fails, the effects of all
/// are dropped, so all have failed.
fn all_or_none(results: &mut [Result<(), EventFailure>]) -> Verdict {
    if results.iter().all(Result::is_ok) {
        return Verdict::Commit;
    }
    for result in results.iter_mut().filter(|result| result.is_ok()) {
        let message = "another event of the batch failed, and the effects of all were dropped";
        *result = Err(EventFailure { message: message.to_owned(), retry: Retry::Backoff });
    }
    Verdict::Discard
}
