//! The data of a store.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lacewing_base::{Limits, outcome::Outcome};
use lacewing_store::Transaction;
use lacewing_telemetry::GuestLog;
use wasmtime::{Store, StoreContextMut, UpdateDeadline, component::ResourceTable};
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::{
    budget::{self, Consumption, SandboxPayer, StopReason},
    fault::{self, Fault},
    limiter::Limiter,
    program::Program,
    reuse::Instance,
};
use crate::{
    capability::{
        Capability, CapabilitySettings, OpenedCapabilities, Opening, OutboundHttp, SharedLog, Sql,
        StoreData, TransactionalState, Wasi, egress::Propagation,
    },
    engine::Claim,
};

/// The settings that all sandboxes of a revision share.
pub struct Spec {
    /// Its limits, with the caps of tenant and host applied.
    pub limits: Limits,
    /// The settings of its capabilities.
    pub settings: CapabilitySettings,
}

/// Bytes that a guest may hand over in one call besides the body of a response: as arguments of a
/// hostcall, or as the rest of its own result. Strings and lists are charged by their size. The
/// arguments are taken in one step, which cannot be interrupted.
const HOSTCALL_BYTES: u64 = 1 << 20;

/// And at most, whatever the manifest says: a list of many entries that all point at the same bytes
/// is held once for each. A response that is larger has to be streamed.
const MAX_HOSTCALL_BYTES: u64 = 64 << 20;

/// The size of a call's arguments and result. Where the function's result `has_bytes`, as a
/// response of the lean path has, one that is half as large again as its limits allow fits: a
/// larger one is to be told by how much.
pub(super) fn hostcall_bytes(limits: &Limits, has_bytes: bool) -> usize {
    let result_bytes = match has_bytes {
        true => limits.response_body_bytes.unwrap_or(Limits::BUFFERED_BODY_BYTES),
        false => 0,
    };
    let bytes = result_bytes.saturating_add(result_bytes / 2).saturating_add(HOSTCALL_BYTES);
    let bytes = bytes.saturating_add(limits.header_bytes.into()).min(MAX_HOSTCALL_BYTES);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// A store's data. Small, and made without allocating: most of it is there only once a guest asks.
pub(crate) struct State {
    pub(super) limiter: Limiter,
    pub(super) spec: Arc<Spec>,
    cpu: Arc<Consumption>,
    deadline: Instant,
    log: Arc<GuestLog>,
    capabilities: OpenedCapabilities,
    table: ResourceTable,
    propagation: Propagation,
    /// Whether the invocation is a transaction.
    pub(super) is_transactional: bool,
    /// The size of a call's arguments and result.
    pub(super) hostcall_bytes: usize,
    /// The sandbox's part of the pool, over the part that every sandbox has.
    pub(super) claim: Claim,
    /// The handles of a guest that is to be stopped. They are dropped with the sandbox, once its
    /// end is known: a body whose writer is gone would look complete to the client.
    lost: Option<Box<ResourceTable>>,
    /// The limit for which effects of such a guest are lost.
    lost_effects: Option<StopReason>,
    shared: Option<Box<SharedStore>>,
}

/// The further data of a store that serves several invocations.
struct SharedStore {
    instance: Arc<Instance>,
    /// Of those that it serves, the one that began last in the last place.
    logs: Vec<Arc<GuestLog>>,
    /// Where what the guest prints goes.
    log: SharedLog,
}

impl State {
    /// Whether the guest has asked the host for nothing yet that is answered for an invocation.
    pub(super) fn is_untouched(&self) -> bool {
        self.capabilities.is_empty() && self.table.is_empty()
    }

    /// Makes it the state of the invocation of `log`. Nothing was made for another one yet.
    pub(super) fn adopt(
        &mut self,
        log: Arc<GuestLog>,
        propagation: Propagation,
        deadline: Instant,
    ) -> Arc<Consumption> {
        (self.log, self.propagation, self.deadline) = (log, propagation, deadline);
        self.cpu.restart();
        self.cpu.clone()
    }

    /// Makes it the state of an instance that serves several.
    pub(super) fn share(&mut self, instance: Arc<Instance>) {
        self.is_transactional = false;
        let log = SharedLog::new(self.log.clone());
        self.shared = Some(Box::new(SharedStore { instance, logs: Vec::new(), log }));
    }

    /// The transaction of the invocation, if it has one. A guest that lost its effects over a limit
    /// is at fault, even if it has answered before it could be stopped.
    pub(super) fn take_transaction(&mut self) -> Result<Option<Transaction>, Fault> {
        if let Some(stop) = self.lost_effects {
            return Err(fault::stopped(stop, self.limiter.refused()));
        }
        Ok(self
            .capabilities
            .get::<TransactionalState>()
            .and_then(TransactionalState::take_transaction))
    }

    /// What the guest has done outside of its transaction, if it has done something: the end of
    /// "because it".
    pub(super) fn did_outside(&mut self) -> Option<&'static str> {
        if self.capabilities.get::<OutboundHttp>().is_some_and(|http| http.has_sent()) {
            return Some("has sent a request");
        }
        let has_written = self.capabilities.get::<Sql>().is_some_and(|sql| sql.has_written());
        has_written.then_some("has executed SQL that may write")
    }

    pub(super) fn peak_bytes(&self) -> u64 {
        self.limiter.peak_bytes()
    }

    /// One more invocation begins. The bound on its requests is counted anew, with those of the
    /// others that are open: the host cannot tell to which of them a request belongs.
    pub(super) fn begin(&mut self, log: &Arc<GuestLog>, propagation: Propagation) {
        let Some(shared) = &mut self.shared else { return };
        let alone = shared.logs.is_empty();
        shared.logs.push(log.clone());
        shared.log.switch(log);
        self.log = log.clone();
        self.propagation = if alone { propagation } else { Propagation::default() };
        self.capabilities.begin_invocation();
        self.goes_on();
    }

    /// Notes that the guest has lived with what it was refused, unless it is about to be stopped
    /// for that.
    fn goes_on(&mut self) {
        if self.cpu.stopped().is_none() {
            self.limiter.goes_on();
        }
    }

    /// Has the guest stopped if it is over a limit. Each call of the host comes by here, with its
    /// arguments in the heap.
    ///
    /// A guest meets its next tick at a loop or at the beginning of a function, which may be any
    /// number of calls away. So the guest loses all that the host has for it at once: a call
    /// with a handle traps, and any other costs next to nothing.
    fn check_limits(&mut self) {
        if self.lost.is_some() {
            return;
        }
        if let Some(stop) = self.over_heap().or_else(|| self.overdue()) {
            self.cpu.stop(stop);
            let mut empty = ResourceTable::new();
            empty.set_max_capacity(0);
            self.lost = Some(Box::new(std::mem::replace(&mut self.table, empty)));
            let stores = self.capabilities.get::<TransactionalState>();
            self.lost_effects = stores.is_some_and(|stores| stores.has_effects()).then_some(stop);
            self.capabilities.close();
        }
    }

    /// The limit on the heap that is in use for the guest, or the host's need of that heap.
    fn over_heap(&mut self) -> Option<StopReason> {
        match self.limiter.holds(self.cpu.heap_bytes()) {
            false => Some(StopReason::Held),
            true => self.cpu.is_called_in().then_some(StopReason::CalledIn),
        }
    }

    /// The limit on time that the guest has reached in calls of the host.
    fn overdue(&self) -> Option<StopReason> {
        let (spent, step) = budget::spent_at_call()?;
        self.over_time(spent).or(step)
    }

    /// The limit on time that the guest has reached with so much CPU time.
    fn over_time(&self, spent: Duration) -> Option<StopReason> {
        match &self.shared {
            Some(shared) => shared.instance.over_time(spent),
            None if spent >= self.spec.limits.cpu => Some(StopReason::Cpu),
            None => (Instant::now() >= self.deadline).then_some(StopReason::Deadline),
        }
    }

    /// The limit for which the guest is to be stopped, whatever it does.
    pub(super) fn stopped(&self) -> Option<StopReason> {
        self.cpu.stopped()
    }

    /// The invocation of `log` is over.
    pub(super) fn leave(&mut self, log: &Arc<GuestLog>) {
        let Some(shared) = &mut self.shared else { return };
        shared.logs.retain(|other| !Arc::ptr_eq(other, log));
        if let Some(other) = shared.logs.last() {
            shared.log.switch(other);
            self.log = other.clone();
        }
    }
}

pub(super) fn store(
    program: &Program,
    spec: &Arc<Spec>,
    cpu: Arc<Consumption>,
    log: Arc<GuestLog>,
    propagation: Propagation,
    deadline: Instant,
) -> Result<Store<State>, Fault> {
    let limits = &spec.limits;
    let hostcall_bytes = hostcall_bytes(limits, program.exports().returns_bytes());
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles as usize);
    let state = State {
        limiter: Limiter::new(limits),
        spec: spec.clone(),
        cpu,
        deadline,
        log,
        capabilities: OpenedCapabilities::default(),
        table,
        propagation,
        is_transactional: true,
        hostcall_bytes,
        claim: Claim::default(),
        lost: None,
        lost_effects: None,
        shared: None,
    };
    let mut store = Store::new(program.engine(), state);
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(hostcall_bytes);
    store.set_max_component_handles(limits.handles as usize);
    store.set_epoch_deadline(FIRST_TICK);
    store.epoch_deadline_callback(on_tick);
    if let Some(fuel) = limits.fuel {
        store
            .set_fuel(fuel)
            .map_err(|error| Fault::new(Outcome::Internal, format!("{error:#}")))?;
    }
    Ok(store)
}

/// Epoch ticks from the start of a guest to its first interruption: the next one may be a moment
/// away, and who is done within a tick is not to be interrupted.
pub(super) const FIRST_TICK: u64 = 2;

/// Called on the guest's stack at that tick, and then at each.
#[allow(clippy::needless_pass_by_value)]
fn on_tick(mut ctx: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    let state = ctx.data_mut();
    let spent = budget::spent_at_tick();
    if let Some(shared) = &state.shared {
        shared.instance.note_tick();
    }
    let stop = state.cpu.stopped().or_else(|| state.over_heap());
    if let Some(stop) = stop.or_else(|| state.over_time(spent)) {
        return Err(stop.into());
    }
    Ok(UpdateDeadline::YieldCustom(1, state.cpu.at_tick(spent)))
}

impl StoreData for State {
    fn capability<C: Capability>(&mut self) -> (&mut C, &mut ResourceTable) {
        if C::SHOWS_PROGRESS {
            self.goes_on();
        }
        self.check_limits();
        let State { capabilities, table, spec, log, cpu, shared, propagation, lost, .. } = self;
        let is_transactional = self.is_transactional;
        let state = capabilities.get_or_open(|| {
            let is_shared = shared.is_some();
            // Of an instance that serves several, the budget is looked at where each one's part is
            // known.
            let cpu_limit = if is_shared { Duration::MAX } else { spec.limits.cpu };
            C::open(Opening {
                limits: &spec.limits,
                settings: &spec.settings,
                context: log.context(),
                log: match shared {
                    Some(shared) => shared.log.clone().into(),
                    None => log.clone().into(),
                },
                is_shared,
                is_transactional,
                is_over: lost.is_some(),
                propagation,
                payer: Arc::new(SandboxPayer { consumption: cpu.clone(), cpu_limit }),
            })
        });
        (state, table)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (wasi, table) = self.capability::<Wasi>();
        WasiCtxView { ctx: wasi.ctx(), table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (http, table) = self.capability::<OutboundHttp>();
        let (ctx, hooks) = http.parts();
        WasiHttpCtxView { ctx, table, hooks }
    }
}
