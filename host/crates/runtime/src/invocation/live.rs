//! An invocation between its admission and its end.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Instant, SystemTime},
};

use lacewing_base::{
    body::{RequestStream, ResponseStream},
    budget::Share,
    event_loop,
    outcome::Outcome,
};
use lacewing_sandbox::{
    self, Fault, Program, Refusal, Sandbox, Seat, Spec,
    capability::egress::Propagation,
    engine::{Engines, Lane, Turn},
};
use lacewing_telemetry::{Context, GuestLog, Record, UnroutedRecord, Usage};
use tokio::{sync::oneshot, time::timeout_at};

use super::{Failure, Invoker, Permit, Refused, stream::Progress};
use crate::function::Revision;

/// The request that started an invocation, for its record.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method.
    pub method: http::Method,
    /// Its target; the record has the path only.
    pub uri: http::Uri,
}

/// Why a guest was stopped, or never started: its request ended with the connection, which the client or the host closed, or the
/// client took the request back.
pub(super) const CLIENT_GONE: &str = "the client went away, or the host closed its connection";

/// A request for a function that has no sandbox yet. Dropping it is its end: `canceled`, unless it was said otherwise.
pub struct Awaited<'a> {
    invoker: &'a Invoker,
    revision: &'a Revision,
    context: &'a Context,
    seen: Option<&'a Seen>,
    over: bool,
}

impl Awaited<'_> {
    /// It goes on: what becomes of it is recorded elsewhere.
    pub fn over(mut self) {
        self.over = true;
    }

    /// Records that it gets no sandbox. `status` is what is answered, where somebody is there to be answered.
    pub fn refuse(mut self, detail: &str, outcome: Outcome, status: Option<u16>) {
        self.record(detail, outcome, status);
    }

    fn record(&mut self, detail: &str, outcome: Outcome, status: Option<u16>) {
        self.over = true;
        let status = status.filter(|_| self.seen.is_some() && outcome.http_status().is_some());
        self.invoker.refused(self.revision, self.context, self.seen, detail, outcome, status);
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if std::thread::panicking() {
            self.record("the host panicked", Outcome::Internal, Outcome::Internal.http_status());
        } else {
            self.record(CLIENT_GONE, Outcome::Canceled, None);
        }
    }
}

/// Everything that an invocation holds. Dropping it is its end: `canceled`, unless [`Live::end`] said otherwise.
pub(super) struct Live<S: Used = Sandbox> {
    pub(super) sandbox: S,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) status: Option<u16>,
    pub(super) progress: Option<Arc<Progress>>,
    invoker: Arc<Invoker>,
    revision: Arc<Revision>,
    context: Arc<Context>,
    seen: Option<Seen>,
    log: Arc<GuestLog>,
    started: Instant,
    ended: bool,
    _permit: Permit,
}

/// The sandbox or seat that an invocation runs in.
pub(super) trait Used: Sized {
    /// Makes it.
    fn make(making: Making<'_>) -> impl Future<Output = Result<Self, Fault>> + Send;

    /// Sets the lane that pays, and the turn with which the guest begins.
    fn charge_to(&mut self, lane: Arc<Lane>, turn: Option<Turn>);

    /// The usage of that.
    fn usage(&self) -> lacewing_sandbox::Usage;

    /// Whether it kept a thread for itself for long.
    fn overran(&self) -> bool;
}

impl Used for Sandbox {
    fn make(making: Making<'_>) -> impl Future<Output = Result<Sandbox, Fault>> + Send {
        making.own()
    }

    fn charge_to(&mut self, lane: Arc<Lane>, turn: Option<Turn>) {
        self.charge_to(lane, turn);
    }

    fn usage(&self) -> lacewing_sandbox::Usage {
        self.usage()
    }

    fn overran(&self) -> bool {
        self.overran()
    }
}

/// The sandbox or seat of an invocation that streams.
pub(super) enum Serving {
    /// A sandbox of its own.
    Alone(Box<Sandbox>),
    /// An instance that others use as well.
    Among(Box<Seat>),
}

impl Used for Serving {
    fn make(making: Making<'_>) -> impl Future<Output = Result<Serving, Fault>> + Send {
        making.serving()
    }

    fn charge_to(&mut self, lane: Arc<Lane>, turn: Option<Turn>) {
        match self {
            Serving::Alone(sandbox) => sandbox.charge_to(lane, turn),
            // The instance is charged, whichever invocation it serves.
            Serving::Among(_) => drop(turn),
        }
    }

    fn usage(&self) -> lacewing_sandbox::Usage {
        match self {
            Serving::Alone(sandbox) => sandbox.usage(),
            Serving::Among(seat) => seat.usage(),
        }
    }

    fn overran(&self) -> bool {
        match self {
            Serving::Alone(sandbox) => sandbox.overran(),
            Serving::Among(seat) => seat.overran(),
        }
    }
}

impl Serving {
    pub(super) async fn serve(
        &mut self,
        request: http::Request<RequestStream>,
        respond: oneshot::Sender<http::Response<ResponseStream>>,
    ) -> Result<(), Fault> {
        match self {
            Serving::Alone(sandbox) => sandbox.serve(request, respond).await,
            Serving::Among(seat) => seat.serve(request, respond).await,
        }
    }
}

/// Of what a sandbox is made for one invocation.
pub(super) struct Making<'a> {
    engines: &'a Engines,
    revision: &'a Arc<Revision>,
    log: &'a Arc<GuestLog>,
    propagation: Propagation,
    deadline: Instant,
}

impl Making<'_> {
    async fn program(&self) -> Result<Arc<Program>, Fault> {
        match self.revision.resident() {
            Some(program) => Ok(program),
            None => load(self.revision, self.deadline).await,
        }
    }

    fn fresh(&mut self, program: &Arc<Program>) -> Result<Sandbox, Fault> {
        let (spec, log) = (&self.revision.spec, self.log.clone());
        let propagation = std::mem::take(&mut self.propagation);
        Sandbox::new(self.engines, program, spec, log, propagation, self.deadline)?
            .claim(self.revision.tenant.lane())
    }

    /// A sandbox of its own: one that was made ahead, or a new one.
    async fn own(mut self) -> Result<Sandbox, Fault> {
        if let Some(ahead) = &self.revision.provisioned
            && let Some(sandbox) = ahead.take(self.log, &mut self.propagation, self.deadline)
        {
            return Ok(sandbox);
        }
        let program = self.program().await?;
        self.fresh(&program)
    }

    /// The same, or a place in an instance that is used again, where the function asks for that.
    async fn serving(mut self) -> Result<Serving, Fault> {
        let Some(reused) = &self.revision.reused else {
            return Ok(Serving::Alone(Box::new(self.own().await?)));
        };
        if let Some(seat) = reused.take(self.log, &mut self.propagation, self.deadline) {
            // It is in use, wherever it is used.
            self.revision.resident();
            return Ok(Serving::Among(Box::new(seat)));
        }
        let program = self.program().await?;
        let lane = self.revision.tenant.lane();
        let seat =
            reused.start(&program, lane, self.log, &mut self.propagation, self.deadline).await?;
        Ok(match seat {
            Some(seat) => Serving::Among(Box::new(seat)),
            None => Serving::Alone(Box::new(self.fresh(&program)?)),
        })
    }
}

/// The rest of an invocation that has ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) detail: Option<String>,
    pub(super) usage: Usage,
}

impl<S: Used> Live<S> {
    /// Waits for admission, then makes what it runs in.
    pub(super) async fn begin(
        invoker: &Arc<Invoker>,
        revision: &Arc<Revision>,
        context: &Arc<Context>,
        seen: Option<Seen>,
        propagation: Propagation,
    ) -> Result<Live<S>, Failure> {
        let memory_mib =
            u32::try_from(revision.spec.limits.memory_bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
        let awaited = invoker.awaited(revision, context, seen.as_ref());
        let mut permit =
            match invoker.admission.admit(&revision.tenant, revision.quota(), memory_mib).await {
                Ok(permit) => permit,
                Err(refused) => {
                    let Refused { outcome, reason, .. } = refused;
                    awaited.refuse(reason, outcome, outcome.http_status());
                    return Err(Failure::from(refused));
                }
            };
        if revision.begins_away() {
            event_loop::compute().await;
        }
        let started = Instant::now();
        let limits = &revision.spec.limits;
        let deadline = started + limits.deadline;
        let log = Arc::new(GuestLog::new(context.clone(), limits.log_bytes, invoker.sink.clone()));
        let mut turn = permit.take_turn();
        if revision.resident().is_none() {
            // Nothing runs while it is loaded.
            turn = None;
        }
        let engines = &invoker.engines;
        let making = Making { engines, revision, log: &log, propagation, deadline };
        let mut sandbox = match S::make(making).await {
            Ok(sandbox) => sandbox,
            Err(Fault { outcome, detail }) => {
                awaited.refuse(&detail, outcome, outcome.http_status());
                return Err(Failure::of(outcome));
            }
        };
        sandbox.charge_to(revision.tenant.lane().clone(), turn);
        awaited.over();
        Ok(Live {
            sandbox,
            bytes_in: 0,
            bytes_out: 0,
            status: None,
            progress: None,
            invoker: invoker.clone(),
            revision: revision.clone(),
            context: context.clone(),
            seen,
            log,
            started,
            ended: false,
            _permit: permit,
        })
    }

    /// The way in which its sandbox was made.
    pub(super) fn spec(&self) -> Arc<Spec> {
        self.revision.spec.clone()
    }

    /// The account of its tenant's bodies.
    pub(super) fn bodies(&self) -> Arc<Share> {
        self.revision.tenant.bodies().clone()
    }

    /// Records the end. The sandbox goes with it.
    pub(super) fn end(mut self, result: Result<(), &Fault>) -> Ended {
        let (outcome, detail) = match result {
            Ok(()) => (Outcome::Ok, None),
            Err(fault) => (fault.outcome, Some(fault.detail.clone())),
        };
        let usage = self.record(outcome, detail.as_deref());
        Ended { outcome, detail, usage }
    }

    fn record(&mut self, outcome: Outcome, detail: Option<&str>) -> Usage {
        self.ended = true;
        let logged = self.log.finish();
        let used = self.sandbox.usage();
        if self.sandbox.overran() {
            self.revision.overran();
        }
        let progress = self.progress.as_deref();
        let usage = Usage {
            duration: self.started.elapsed(),
            cpu: used.cpu,
            instantiation: used.instantiation,
            memory_peak_bytes: used.memory_peak_bytes,
            fuel: used.fuel,
            bytes_in: progress.map_or(self.bytes_in, Progress::bytes_in),
            bytes_out: progress.map_or(self.bytes_out, Progress::bytes_out),
        };
        self.revision.metrics.observe(outcome, &usage);
        self.revision.metrics.observe_log(logged);
        let status = self.status.or_else(|| self.seen.as_ref().and_then(|_| outcome.http_status()));
        if let Some(status) = status {
            self.revision.metrics.observe_status(status);
        }
        let refused = used.refused.filter(|_| outcome != Outcome::MemoryExceeded);
        let detail = refused.map(|refusal| with_refusal(detail, refusal)).or(detail.map(Cow::from));
        let detail = detail.as_deref();
        self.invoker.emit(&self.context, self.seen.as_ref(), outcome, status, detail, &usage);
        usage
    }
}

/// The detail of an invocation whose guest was refused a growth, and ended in another way: a runtime that gives an error to its handler
/// for that does not say why.
fn with_refusal<'a>(detail: Option<&'a str>, refusal: Refusal) -> Cow<'a, str> {
    let Some(detail) = detail else {
        return format!("the guest went on after a growth was refused: {refusal}").into();
    };
    let (sentence, frames) = detail.split_at(detail.find('\n').unwrap_or(detail.len()));
    format!("{sentence}\n  after a growth was refused: {refusal}{frames}").into()
}

/// The program of a revision that is not resident. Waiting for it is part of the invocation's time.
async fn load(revision: &Arc<Revision>, deadline: Instant) -> Result<Arc<Program>, Fault> {
    match timeout_at(deadline.into(), revision.program()).await {
        Ok(Ok(program)) => Ok(program),
        Ok(Err(error)) => Err(Fault { outcome: Outcome::Internal, detail: error.to_string() }),
        Err(_) => Err(Fault {
            outcome: Outcome::DeadlineExceeded,
            detail: "the deadline passed while the function was being loaded".to_owned(),
        }),
    }
}

impl<S: Used> Drop for Live<S> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if std::thread::panicking() {
            self.record(Outcome::Internal, Some("the host panicked"));
        } else {
            self.record(Outcome::Canceled, Some(CLIENT_GONE));
        }
    }
}

impl Invoker {
    /// Begins to wait for something without which a request gets no sandbox: its body, its admission.
    pub fn awaited<'a>(
        &'a self,
        revision: &'a Revision,
        context: &'a Context,
        seen: Option<&'a Seen>,
    ) -> Awaited<'a> {
        Awaited { invoker: self, revision, context, seen, over: false }
    }

    /// Records an invocation that never got a sandbox: what it was asked for is counted and logged like the others.
    fn refused(
        &self,
        revision: &Revision,
        context: &Context,
        seen: Option<&Seen>,
        detail: &str,
        outcome: Outcome,
        status: Option<u16>,
    ) {
        let usage = Usage::default();
        revision.metrics.observe(outcome, &usage);
        if let Some(status) = status {
            revision.metrics.observe_status(status);
        }
        self.emit(context, seen, outcome, status, Some(detail), &usage);
    }

    /// Logs a request that reached no function.
    pub fn log_unrouted(&self, request: &UnroutedRecord<'_>) {
        if self.log.wants(request.outcome, request.status) {
            request.emit(&self.sink);
        }
    }

    fn emit(
        &self,
        context: &Context,
        seen: Option<&Seen>,
        outcome: Outcome,
        status: Option<u16>,
        detail: Option<&str>,
        usage: &Usage,
    ) {
        if !self.log.wants(outcome, status) {
            return;
        }
        let record = Record {
            time: SystemTime::now(),
            context,
            method: seen.map(|seen| seen.method.as_str()),
            path: seen.map(|seen| seen.uri.path()),
            status,
            outcome,
            detail,
            usage,
        };
        record.emit(&self.sink);
    }
}
