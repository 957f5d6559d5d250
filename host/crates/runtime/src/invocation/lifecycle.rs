//! The states of an invocation: pending, running, ended.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Instant, SystemTime},
};

use lacewing_base::{budget::Share, event_loop, outcome::Outcome};
use lacewing_sandbox::{Fault, GrowthRefusal, Sandbox, Spec, capability::egress::Propagation};
use lacewing_telemetry::{Context, GuestLog, Record, Subject, Usage};

use super::{
    Failure, InvocationPermit, Invoker,
    making::{InvocationSandbox, Making},
    stream::BodyProgress,
};
use crate::function::{Revision, Tenant};

/// Why a guest was stopped, or never started: its request ended with the connection, which the
/// client or the host closed, or the client took the request back.
pub(super) const CLIENT_GONE: &str = "the client went away, or the host closed its connection";

/// An invocation whose end is not recorded yet. Each is recorded exactly once: by
/// [`Unrecorded::record`], or when it is dropped.
struct Unrecorded {
    invoker: Arc<Invoker>,
    revision: Arc<Revision>,
    context: Arc<Context>,
    is_recorded: bool,
}

impl Unrecorded {
    /// Counts and logs the end of the invocation.
    fn record(
        &mut self,
        outcome: Outcome,
        detail: Option<&str>,
        status: Option<u16>,
        usage: &Usage,
    ) {
        self.is_recorded = true;
        self.revision.metrics.observe(outcome, usage);
        if let Some(status) = status {
            self.revision.metrics.observe_status(status);
        }
        if self.invoker.log.wants(outcome, status) {
            let subject = Subject::Invocation(&self.context, usage);
            let record = Record { time: SystemTime::now(), subject, status, outcome, detail };
            record.emit(&self.invoker.sink);
        }
    }

    /// The status of an outcome, where a request waits for an answer.
    fn status_of(&self, outcome: Outcome, store_is_full: bool) -> Option<u16> {
        self.context.head.as_ref().and_then(|_| outcome.http_status_where(store_is_full))
    }

    /// The outcome of an invocation that is dropped, and its detail.
    fn dropped() -> (Outcome, &'static str) {
        match std::thread::panicking() {
            true => (Outcome::Internal, "the host panicked"),
            false => (Outcome::Canceled, CLIENT_GONE),
        }
    }
}

impl Drop for Unrecorded {
    fn drop(&mut self) {
        if !self.is_recorded {
            let (outcome, detail) = Unrecorded::dropped();
            self.record(outcome, Some(detail), self.status_of(outcome, false), &Usage::default());
        }
    }
}

/// An invocation that has no sandbox yet: it waits for its body, or for admission. Dropping it is
/// its end.
pub struct Pending(Unrecorded);

impl Pending {
    /// Records that the invocation gets no sandbox. `status` is the answer, where a client waits
    /// for one.
    pub fn refuse(mut self, detail: &str, outcome: Outcome, status: Option<u16>) {
        let status = status.filter(|_| self.0.status_of(outcome, false).is_some());
        self.0.record(outcome, Some(detail), status, &Usage::default());
    }

    fn refuse_as(self, detail: &str, outcome: Outcome) {
        self.refuse(detail, outcome, outcome.http_status());
    }

    /// The revision that is to run.
    pub(super) fn revision(&self) -> &Arc<Revision> {
        &self.0.revision
    }

    /// Waits for admission, then makes the sandbox or seat.
    pub(super) async fn run<S: InvocationSandbox>(
        self,
        propagation: Propagation,
    ) -> Result<RunningInvocation<S>, Failure> {
        let (invoker, revision) = (self.0.invoker.clone(), self.0.revision.clone());
        let limits = &revision.spec.limits;
        let memory_mib = u32::try_from(limits.memory_bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
        let admitted = invoker.admission.admit(&revision.tenant, revision.quota(), memory_mib);
        let mut permit = match admitted.await {
            Ok(permit) => permit,
            Err(refused) => {
                self.refuse_as(refused.reason, refused.outcome);
                return Err(Failure::from(refused));
            }
        };
        if revision.begins_away() {
            event_loop::compute().await;
        }
        let started = Instant::now();
        let deadline = started + limits.deadline;
        let log =
            Arc::new(GuestLog::new(self.0.context.clone(), limits.log_bytes, invoker.sink.clone()));
        let mut turn = permit.take_turn();
        if revision.resident().is_none() {
            // Nothing runs while it is loaded.
            turn = None;
        }
        let engines = &invoker.engines;
        let making = Making { engines, revision: &revision, log: &log, propagation, deadline };
        let mut sandbox = match S::make(making).await {
            Ok(sandbox) => sandbox,
            Err(Fault { outcome, detail, .. }) => {
                self.refuse_as(&detail, outcome);
                return Err(Failure::of(outcome));
            }
        };
        sandbox.charge_to(revision.tenant.lane().clone(), turn);
        Ok(RunningInvocation {
            sandbox: Some(sandbox),
            closed: ClosedSandboxes::default(),
            deadline,
            bytes_in: 0,
            bytes_out: 0,
            status: None,
            progress: None,
            unrecorded: self.0,
            log,
            started,
            _permit: permit,
        })
    }
}

/// An invocation that has its sandbox. Dropping it is its end: `canceled`, unless
/// [`RunningInvocation::end`] said otherwise.
pub(super) struct RunningInvocation<S: InvocationSandbox = Sandbox> {
    /// `None` from the end of a run to the next run.
    sandbox: Option<S>,
    /// Of the sandboxes that are closed.
    closed: ClosedSandboxes,
    deadline: Instant,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) status: Option<u16>,
    pub(super) progress: Option<Arc<BodyProgress>>,
    unrecorded: Unrecorded,
    log: Arc<GuestLog>,
    started: Instant,
    _permit: InvocationPermit,
}

/// The sandboxes of an invocation that are closed: all that its record needs of them.
#[derive(Default)]
struct ClosedSandboxes {
    usage: Usage,
    refused: Option<GrowthRefusal>,
    overran: bool,
}

impl ClosedSandboxes {
    fn add(&mut self, sandbox: &impl InvocationSandbox) {
        let last = sandbox.usage();
        self.usage = Usage {
            cpu: self.usage.cpu + last.cpu,
            fuel: last.fuel.map(|fuel| fuel + self.usage.fuel.unwrap_or(0)),
            memory_peak_bytes: last.memory_peak_bytes.max(self.usage.memory_peak_bytes),
            ..last
        };
        self.refused = sandbox.refused();
        self.overran |= sandbox.overran();
    }
}

/// The rest of an invocation that has ended.
#[derive(Clone, Debug)]
pub(super) struct EndedInvocation {
    pub(super) outcome: Outcome,
    pub(super) detail: Option<String>,
    pub(super) usage: Usage,
}

impl<S: InvocationSandbox> RunningInvocation<S> {
    /// The way in which its sandbox was made.
    pub(super) fn spec(&self) -> Arc<Spec> {
        self.unrecorded.revision.spec.clone()
    }

    /// The account of its tenant's bodies.
    pub(super) fn bodies(&self) -> Arc<Share> {
        self.unrecorded.revision.tenant.bodies().clone()
    }

    /// The party that is charged.
    pub(super) fn tenant(&self) -> &Arc<Tenant> {
        &self.unrecorded.revision.tenant
    }

    /// When the invocation has to end.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The sandbox of the run.
    pub(super) fn sandbox(&mut self) -> &mut S {
        self.sandbox_and_status().0
    }

    /// The sandbox, and the status to be set while the guest runs on.
    pub(super) fn sandbox_and_status(&mut self) -> (&mut S, &mut Option<u16>) {
        let sandbox = self.sandbox.as_mut();
        (sandbox.expect("a run has a sandbox until its guest has answered"), &mut self.status)
    }

    /// Closes the sandbox, where nothing is left to run in it. An invocation that goes on to wait
    /// for the disk leaves its slot to the next one, while the slot is in the cache of the core.
    pub(super) fn close_sandbox(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            self.closed.add(&sandbox);
        }
    }

    /// Makes a fresh sandbox, for another run.
    pub(super) async fn renew(&mut self, propagation: Propagation) -> Result<(), Fault> {
        self.close_sandbox();
        let Unrecorded { invoker, revision, .. } = &self.unrecorded;
        let (log, deadline) = (&self.log, self.deadline);
        let making = Making { engines: &invoker.engines, revision, log, propagation, deadline };
        let mut fresh = S::make(making).await?;
        fresh.charge_to(revision.tenant.lane().clone(), None);
        self.sandbox = Some(fresh);
        Ok(())
    }

    /// Records the end. The sandbox goes with it.
    pub(super) fn end(mut self, result: Result<(), &Fault>) -> EndedInvocation {
        let (outcome, detail, store_is_full) = match result {
            Ok(()) => (Outcome::Ok, None, false),
            Err(fault) => (fault.outcome, Some(fault.detail.clone()), fault.store_is_full),
        };
        self.status = self.status.or_else(|| self.unrecorded.status_of(outcome, store_is_full));
        let usage = self.record(outcome, detail.as_deref());
        EndedInvocation { outcome, detail, usage }
    }

    fn record(&mut self, outcome: Outcome, detail: Option<&str>) -> Usage {
        if let Some(sandbox) = &self.sandbox {
            self.closed.add(sandbox);
        }
        let logged = self.log.finish();
        let revision = &self.unrecorded.revision;
        if self.closed.overran {
            revision.overran();
        }
        revision.metrics.observe_log(logged);
        let progress = self.progress.as_deref();
        let usage = Usage {
            duration: self.started.elapsed(),
            bytes_in: progress.map_or(self.bytes_in, BodyProgress::bytes_in),
            bytes_out: progress.map_or(self.bytes_out, BodyProgress::bytes_out),
            ..self.closed.usage
        };
        let status = self.status.or_else(|| self.unrecorded.status_of(outcome, false));
        let refused = self.closed.refused.take().filter(|_| outcome != Outcome::MemoryExceeded);
        let detail = refused.map(|refusal| with_refusal(detail, refusal)).or(detail.map(Cow::from));
        self.unrecorded.record(outcome, detail.as_deref(), status, &usage);
        usage
    }
}

/// The detail of an invocation whose guest was refused a growth, and ended in another way: a
/// runtime that gives an error to its handler for that does not say why.
fn with_refusal<'a>(detail: Option<&'a str>, refusal: GrowthRefusal) -> Cow<'a, str> {
    let Some(detail) = detail else {
        return format!("the guest went on after a growth was refused: {refusal}").into();
    };
    let (sentence, frames) = detail.split_at(detail.find('\n').unwrap_or(detail.len()));
    format!("{sentence}\n  after a growth was refused: {refusal}{frames}").into()
}

impl<S: InvocationSandbox> Drop for RunningInvocation<S> {
    fn drop(&mut self) {
        if !self.unrecorded.is_recorded {
            let (outcome, detail) = Unrecorded::dropped();
            self.record(outcome, Some(detail));
        }
    }
}

impl Invoker {
    /// Begins an invocation of `revision`, as `context` names it.
    pub fn begin(self: &Arc<Self>, revision: &Arc<Revision>, context: &Arc<Context>) -> Pending {
        Pending(Unrecorded {
            invoker: self.clone(),
            revision: revision.clone(),
            context: context.clone(),
            is_recorded: false,
        })
    }

    /// Logs a request that reached no function.
    pub fn log_unrouted(&self, record: &Record<'_>) {
        if self.log.wants(record.outcome, record.status) {
            record.emit(&self.sink);
        }
    }
}
