//! The sandbox, or the seat in a reused instance, of one invocation.

use std::{sync::Arc, time::Instant};

use lacewing_base::{
    body::{RequestStream, ResponseStream},
    outcome::Outcome,
};
use lacewing_sandbox::{
    Fault, GrowthRefusal, Program, Sandbox, Seat,
    capability::egress::Propagation,
    engine::{Engines, Lane, Turn},
};
use lacewing_telemetry::{GuestLog, Usage};
use tokio::{sync::oneshot, time::timeout_at};

use crate::function::Revision;

/// The sandbox or seat that an invocation runs in.
pub(super) trait InvocationSandbox: Sized {
    /// Makes it.
    fn make(making: Making<'_>) -> impl Future<Output = Result<Self, Fault>> + Send;

    /// Sets the lane that pays, and the turn with which the guest begins.
    fn charge_to(&mut self, lane: Arc<Lane>, turn: Option<Turn>);

    /// The usage of that.
    fn usage(&self) -> Usage;

    /// The last growth that was refused to the guest. Unknown for an instance that serves others as
    /// well.
    fn refused(&self) -> Option<GrowthRefusal>;

    /// Whether it kept a thread for itself for long.
    fn overran(&self) -> bool;
}

impl InvocationSandbox for Sandbox {
    fn make(making: Making<'_>) -> impl Future<Output = Result<Sandbox, Fault>> + Send {
        making.own()
    }

    fn charge_to(&mut self, lane: Arc<Lane>, turn: Option<Turn>) {
        self.charge_to(lane, turn);
    }

    fn usage(&self) -> Usage {
        self.usage()
    }

    fn refused(&self) -> Option<GrowthRefusal> {
        self.refused()
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

impl InvocationSandbox for Serving {
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

    fn usage(&self) -> Usage {
        match self {
            Serving::Alone(sandbox) => sandbox.usage(),
            Serving::Among(seat) => seat.usage(),
        }
    }

    fn refused(&self) -> Option<GrowthRefusal> {
        match self {
            Serving::Alone(sandbox) => sandbox.refused(),
            Serving::Among(_) => None,
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
    pub(super) engines: &'a Engines,
    pub(super) revision: &'a Arc<Revision>,
    pub(super) log: &'a Arc<GuestLog>,
    pub(super) propagation: Propagation,
    pub(super) deadline: Instant,
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

/// The program of a revision that is not resident. Waiting for it is part of the invocation's time.
async fn load(revision: &Arc<Revision>, deadline: Instant) -> Result<Arc<Program>, Fault> {
    match timeout_at(deadline.into(), revision.program()).await {
        Ok(Ok(program)) => Ok(program),
        Ok(Err(error)) => Err(Fault::new(Outcome::Internal, error.to_string())),
        Err(_) => Err(Fault::new(
            Outcome::DeadlineExceeded,
            "the deadline passed while the function was being loaded",
        )),
    }
}
