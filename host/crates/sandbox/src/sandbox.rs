//! One invocation's sandbox: a Wasmtime store, an instance, and the limits around both.
//!
//! ```text
//!   Program (linked once)          Spec (limits, env, grants: once per revision)
//!        \                            /
//!         +--------> Sandbox <-------+      made for one invocation, dropped with it
//!                       |
//!        instantiate -> call -> Usage        each step under the CPU budget and the deadline,
//!                       |                    each growth through the limiter
//!                     Fault                  whatever goes wrong is classified in `fault`, nowhere else
//! ```

mod budget;
mod contract;
mod eager;
mod fault;
mod lean;
mod limiter;
mod portable;
mod program;
mod provisioned;
mod reuse;
mod snapshot;
mod state;

pub use contract::{CallError, Event, EventFailure, Extension, Retry};
pub use fault::{DETAIL_BYTES, Fault};
pub use lean::{LeanField, LeanParam, LeanRequest, LeanResponse};
pub use limiter::GrowthRefusal;
pub use program::{LinkError, Linkers, Program};
pub use provisioned::Provisioned;
pub use reuse::{CONCURRENT, IDLE, Reused, Seat};
pub use snapshot::{InitError, InitSpec, Snapshot, snapshot};
pub use state::Spec;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lacewing_base::outcome::Outcome;
use lacewing_store::Transaction;
use lacewing_telemetry::{GuestLog, Usage};
use wasmtime::{Store, component::Instance};

use crate::{
    capability::egress::Propagation,
    engine::{Engines, Lane, Running, Turn},
};
use budget::Consumption;
use provisioned::MadeSandbox;
use state::State;

/// A resource of which a function needs several is one that others hold.
const POOL_USED_UP: &str =
    "the memories and tables that the pool has for functions with several are used up";

/// A sandbox that did not exist before its invocation and is gone after it.
pub struct Sandbox {
    store: Store<State>,
    // Where it was instantiated ahead.
    made: Option<MadeSandbox>,
    program: Arc<Program>,
    cpu: Arc<Consumption>,
    deadline: Instant,
    instantiated: Option<Duration>,
    // Dropped last: the epoch ticks until the store is gone.
    _running: Running,
}

impl Sandbox {
    /// Sets up a sandbox. Nothing of the guest runs yet, and no slot is taken yet.
    ///
    /// `deadline` bounds everything that happens in it.
    pub fn new(
        engines: &Engines,
        program: &Arc<Program>,
        spec: &Arc<Spec>,
        log: Arc<GuestLog>,
        propagation: Propagation,
        deadline: Instant,
    ) -> Result<Sandbox, Fault> {
        let running = engines.running();
        let cpu = Arc::new(Consumption::default());
        let store = state::store(program, spec, cpu.clone(), log, propagation, deadline)?;
        Ok(Sandbox {
            store,
            made: None,
            program: program.clone(),
            cpu,
            deadline,
            instantiated: None,
            _running: running,
        })
    }

    /// Claims what the component needs of the pool over what every sandbox has, for a tenant. A
    /// deploy's one start needs no claim: the pool has a spare for it.
    ///
    /// # Errors
    /// Others hold it, or that tenant holds its share: load shed.
    pub fn claim(mut self, lane: &Lane) -> Result<Sandbox, Fault> {
        let (memories, tables) = self.program.memories_and_tables();
        let claim = lane.holdings().claim(memories, tables);
        self.store.data_mut().claim =
            claim.ok_or_else(|| Fault::new(Outcome::LoadShed, POOL_USED_UP))?;
        Ok(self)
    }

    /// Charges the CPU time and the memory of what it runs to a lane. `turn` is the one that it
    /// begins with, if it has one. To be called once, before anything runs.
    pub fn charge_to(&mut self, lane: Arc<Lane>, turn: Option<Turn>) {
        self.store.data_mut().limiter.charge_to(lane.memory(), lane.holdings().first_bytes());
        self.cpu.charge_to(lane, turn);
    }

    /// The usage so far, as far as a sandbox knows it: the bytes of bodies and the duration are
    /// zero.
    pub fn usage(&self) -> Usage {
        let state = self.store.data();
        let fuel_limit = state.spec.limits.fuel;
        let fuel_left = || self.store.get_fuel().unwrap_or(0);
        Usage {
            cpu: self.cpu.spent(),
            fuel: fuel_limit.map(|limit| limit.saturating_sub(fuel_left())),
            memory_peak_bytes: state.limiter.peak_bytes(),
            instantiation: self.instantiated,
            ..Usage::default()
        }
    }

    /// The last growth that was refused to the guest.
    pub fn refused(&self) -> Option<GrowthRefusal> {
        self.store.data().limiter.ever_refused()
    }

    /// The transaction of the invocation, to be committed or dropped by the caller. `None` if the
    /// guest used no state.
    ///
    /// # Errors
    /// The guest went over a limit, and its effects are lost.
    pub fn take_transaction(&mut self) -> Result<Option<Transaction>, Fault> {
        self.store.data_mut().take_transaction()
    }

    /// What the guest has done outside of its transaction, as the end of "because it". Its
    /// invocation is not to be run again then.
    pub fn did_outside(&mut self) -> Option<&'static str> {
        self.store.data_mut().did_outside()
    }

    /// Whether it was in one step for long, which no tick could interrupt.
    pub fn overran(&self) -> bool {
        self.cpu.overran()
    }

    /// Instantiates and calls nothing: what a deploy does to see whether a component can start
    /// within its limits.
    pub async fn start(&mut self) -> Result<(), Fault> {
        self.instantiate().await.map(drop)
    }

    async fn instantiate(&mut self) -> Result<Instance, Fault> {
        let program = self.program.clone();
        self.run(async |store| program.instance().instantiate_async(store).await).await
    }

    /// Runs a part of the guest under the CPU budget and the deadline.
    async fn run<T>(
        &mut self,
        part: impl AsyncFnOnce(&mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let result = budget::limited(&self.cpu, self.deadline, part(&mut self.store)).await;
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(fault::classify(&error, self.store.data())),
            Err(stop) => Err(fault::stopped(stop, self.store.data().limiter.refused())),
        }
    }
}
