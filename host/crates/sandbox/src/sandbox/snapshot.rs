//! Running a component's init, and taking the snapshot from which its sandboxes start.
//!
//! It runs in a store of its own kind, because it may do less than an invocation: what depends on
//! where and when it is done would be frozen. Everything that it may not import is there all the
//! same, and says so when it is called: most components import more than their init uses.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use lacewing_base::Limits;
use lacewing_telemetry::{GuestLog, shortened};
use wasmtime::{
    Engine, Store, StoreContextMut, UpdateDeadline,
    component::{
        Component, Instance, Lift, Linker, LinkerInstance, ResourceTable, ResourceType, WasmList,
        types::{ComponentFunc, ComponentInstance, ComponentItem},
    },
};
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_io::IoView;

use super::{
    Fault,
    budget::{self, Consumption, StopReason},
    contract::init::InitFunction,
    fault,
    limiter::Limiter,
};
use crate::{
    capability::{self, INTERFACES, InitData, Wasi},
    engine::{Engines, Instrumented, Loaded, ReadState, SnapshotError},
};

/// The size of one call's arguments in an init, in bytes: a line that it prints, its error.
const HOSTCALL_BYTES: usize = 1 << 20;

/// The limits of an init.
pub struct InitSpec {
    /// The function's limits.
    pub limits: Limits,
    /// The function's variables.
    pub env: Vec<(String, String)>,
}

/// A component as its init left it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The component.
    pub bytes: Vec<u8>,
    /// The usage of its init.
    pub cpu: Duration,
}

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitError {
    /// State that cannot be captured.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The requests that only an invocation may make.
    #[error(
        "its init called {import}: {why}. An init may compute, read the function's variables and print; do this in the handler"
    )]
    Denied {
        /// Interface and function.
        import: String,
        /// The fault that it would have.
        why: &'static str,
    },
    /// It said so itself.
    #[error("its init failed: {0}")]
    Failed(String),
    /// More time than it has.
    #[error("its init took more than {limit_ms} ms of CPU time (`init_cpu_ms`)")]
    TooSlow {
        /// Its limit.
        limit_ms: u128,
    },
    /// A trap, too much memory, or another limit.
    #[error("its init ended as {}: {}", .0.outcome, .0.detail)]
    Fault(Fault),
    /// Handles that mean nothing elsewhere.
    #[error(
        "its init left {0} of the host's resources open, such as streams: close them before the init returns, because no other sandbox has them"
    )]
    OpenHandles(usize),
    /// The state could not be read.
    #[error("its init used all of its memory, and saving the memory takes one more page: {0}")]
    NoRoom(String),
}

/// Travels through Wasmtime as an error.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{interface}#{function} is not for an init")]
struct Denied {
    interface: String,
    function: String,
}

/// Wall time for each unit of the CPU limit: an init has nothing to wait for, but the host may be
/// busy.
const PATIENCE: u32 = 10;

/// The most that is shown of a name or a message, in bytes: a guest makes them as long as it likes.
const SHOWN_BYTES: usize = 1024;

/// The growth of a memory by being read.
const READ_BYTES: usize = 64 << 10;

struct InitState {
    limiter: Limiter,
    limits: Limits,
    deadline: Instant,
    wasi: Wasi,
    table: ResourceTable,
    /// Whether the guest lost its handles because the CPU budget is spent.
    is_spent: bool,
}

impl WasiView for InitState {
    /// A guest that calls the host without end meets no tick. It loses its handles once its CPU
    /// budget is spent.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let spent = budget::spent_at_call().map(|(spent, _)| spent);
        if !self.is_spent && spent.is_some_and(|spent| spent >= self.limits.init_cpu) {
            self.is_spent = true;
            self.table = ResourceTable::new();
            self.table.set_max_capacity(0);
            self.wasi = Wasi::closed();
        }
        WasiCtxView { ctx: self.wasi.ctx(), table: &mut self.table }
    }
}

impl IoView for InitState {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl InitData for InitState {}

/// Calls the init of `loaded`, which is what `instrumented` was compiled to, and takes the
/// snapshot. For a thread that does not serve.
pub async fn snapshot(
    engines: &Engines,
    instrumented: &Instrumented<'_>,
    loaded: Loaded,
    spec: InitSpec,
    log: &Arc<GuestLog>,
) -> Result<Snapshot, InitError> {
    let Loaded { component, profile, .. } = loaded;
    let linker = linker(&component, profile.tasks).map_err(mismatch)?;
    let _running = engines.running();
    let mut store = store(component.engine(), spec, log);
    let cpu = Consumption::default();
    let deadline = store.data().deadline;
    let run = async {
        let instance = linker.instantiate_async(&mut store, &component).await?;
        let function = InitFunction::new(&mut store, &instance)?;
        let said = function.lacewing_function_init().call_init(&mut store).await?;
        Ok((instance, said))
    };
    let result = budget::limited(&cpu, deadline, run).await;
    let (instance, said) = result
        .map_err(|stop| stopped(stop, store.data()))?
        .map_err(|error| classify(&error, store.data()))?;
    said.map_err(|message| InitError::Failed(shortened(message, SHOWN_BYTES)))?;
    let open = store.data_mut().table.iter_mut().count();
    if open > 0 {
        return Err(InitError::OpenHandles(open));
    }
    let bytes = read(instrumented, &mut store, instance).await?;
    Ok(Snapshot { bytes, cpu: cpu.spent() })
}

fn mismatch(error: wasmtime::Error) -> InitError {
    InitError::Snapshot(SnapshotError::Unsupported(shortened(format!("{error:#}"), SHOWN_BYTES)))
}

fn classify(error: &wasmtime::Error, state: &InitState) -> InitError {
    if let Some(Denied { interface, function }) = error.downcast_ref::<Denied>() {
        let import = match interface.as_str() {
            "" => function.clone(),
            interface => format!("{interface}#{function}"),
        };
        let import = shortened(import, SHOWN_BYTES);
        return InitError::Denied { import, why: INTERFACES.why_not_during_init(interface) };
    }
    if state.is_spent {
        return stopped(StopReason::Cpu, state);
    }
    if let Some(stop) = error.downcast_ref::<StopReason>() {
        return stopped(*stop, state);
    }
    InitError::Fault(fault::classify_under(
        error,
        &state.limits,
        HOSTCALL_BYTES,
        state.limiter.refused(),
    ))
}

fn stopped(stop: StopReason, state: &InitState) -> InitError {
    match stop {
        StopReason::Cpu => InitError::TooSlow { limit_ms: state.limits.init_cpu.as_millis() },
        StopReason::Step | StopReason::Deadline | StopReason::Held | StopReason::CalledIn => {
            InitError::Fault(Fault::from(stop))
        }
    }
}

fn store(engine: &Engine, spec: InitSpec, log: &Arc<GuestLog>) -> Store<InitState> {
    let InitSpec { mut limits, env } = spec;
    // The instrumentation is one more.
    limits.instances = limits.instances.saturating_add(1);
    let wasi = Wasi::of_init(&env, &log.clone().into());
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles as usize);
    let deadline = Instant::now() + limits.init_cpu * PATIENCE;
    let limiter = Limiter::new(&limits);
    let handles = limits.handles as usize;
    let mut store =
        Store::new(engine, InitState { limiter, limits, deadline, wasi, table, is_spent: false });
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.set_max_component_handles(handles);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(on_tick);
    store
}

#[allow(clippy::needless_pass_by_value)]
fn on_tick(ctx: StoreContextMut<'_, InitState>) -> wasmtime::Result<UpdateDeadline> {
    let state = ctx.data();
    if budget::spent_at_tick() >= state.limits.init_cpu {
        return Err(StopReason::Cpu.into());
    }
    if Instant::now() >= state.deadline {
        return Err(StopReason::Deadline.into());
    }
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
}

/// The imports that an init may use, and for everything else that `component` imports a function
/// that refuses.
fn linker(component: &Component, tasks: bool) -> wasmtime::Result<Linker<InitState>> {
    let engine = component.engine();
    let mut linker = Linker::new(engine);
    capability::link_for_init(&mut linker, tasks)?;
    // Imports come after what they refer to, so a type that was seen is another interface's own.
    let mut seen = Vec::new();
    for (name, item) in component.component_type().imports(engine) {
        match item.ty {
            ComponentItem::ComponentInstance(instance) if INTERFACES.is_for_init(name) => {
                seen.extend(instance.exports(engine).filter_map(|(_, item)| resource(&item.ty)));
            }
            ComponentItem::ComponentInstance(instance) => {
                deny(&mut linker, name, &instance, &mut seen)?;
            }
            ComponentItem::ComponentFunc(function) => {
                deny_function(&mut linker.root(), "", name, &function)?;
            }
            // Types need no provider. Linking refuses the rest by itself.
            ComponentItem::CoreFunc(_)
            | ComponentItem::Module(_)
            | ComponentItem::Component(_)
            | ComponentItem::Type(_)
            | ComponentItem::Resource(_) => {}
        }
    }
    Ok(linker)
}

fn resource(item: &ComponentItem) -> Option<ResourceType> {
    match item {
        ComponentItem::Resource(ty) => Some(*ty),
        _ => None,
    }
}

/// Every resource that no guest can ever have.
enum NoResource {}

fn deny(
    linker: &mut Linker<InitState>,
    interface: &str,
    ty: &ComponentInstance,
    seen: &mut Vec<ResourceType>,
) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let mut instance = linker.instance(interface)?;
    for (name, item) in ty.exports(&engine) {
        if let ComponentItem::ComponentFunc(function) = &item.ty {
            deny_function(&mut instance, interface, name, function)?;
        }
        if let Some(ty) = resource(&item.ty)
            && !seen.contains(&ty)
        {
            seen.push(ty);
            instance.resource(name, ResourceType::host::<NoResource>(), |_, _| Ok(()))?;
        }
    }
    Ok(())
}

fn deny_function(
    linker: &mut LinkerInstance<'_, InitState>,
    interface: &str,
    name: &str,
    ty: &ComponentFunc,
) -> wasmtime::Result<()> {
    let denied = Denied { interface: interface.to_owned(), function: name.to_owned() };
    if ty.async_() {
        return linker.func_new_concurrent(name, move |_, _, _, _| {
            let denied = denied.clone();
            Box::pin(async move { Err(denied.into()) })
        });
    }
    linker.func_new(name, move |_, _, _, _| Err(denied.clone().into()))
}

async fn read(
    instrumented: &Instrumented<'_>,
    store: &mut Store<InitState>,
    instance: Instance,
) -> Result<Vec<u8>, InitError> {
    store.set_hostcall_fuel(usize::MAX);
    let memories = store.data().limits.memories as usize;
    store.data_mut().limiter.raise(memories.saturating_mul(READ_BYTES));
    let mut reader = Reader { store, instance, memories: HashMap::new(), error: None };
    let bytes = instrumented.take(&mut reader).await;
    match reader.error {
        Some(error) => Err(InitError::NoRoom(format!("{:#}", error.root_cause()))),
        None => Ok(bytes?),
    }
}

/// Reads the exports of the instrumentation. Parts that could not be read are empty, and `error`
/// says why.
struct Reader<'a> {
    store: &'a mut Store<InitState>,
    instance: Instance,
    // Each is asked for twice, and reading one makes it a page larger.
    memories: HashMap<String, Vec<u8>>,
    error: Option<wasmtime::Error>,
}

impl Reader<'_> {
    async fn call<R: Lift + 'static, U>(
        &mut self,
        instance: &str,
        function: &str,
        take: impl FnOnce(&Store<InitState>, R) -> U,
    ) -> Option<U> {
        let result = self.try_call::<R>(instance, function).await;
        match result {
            Ok(value) => Some(take(self.store, value)),
            Err(error) => {
                self.error.get_or_insert(error);
                None
            }
        }
    }

    async fn try_call<R: Lift + 'static>(
        &mut self,
        instance: &str,
        function: &str,
    ) -> wasmtime::Result<R> {
        let missing = || wasmtime::format_err!("{instance}#{function} is not there");
        let (_, index) =
            self.instance.get_export(&mut *self.store, None, instance).ok_or_else(missing)?;
        let (_, index) = self
            .instance
            .get_export(&mut *self.store, Some(&index), function)
            .ok_or_else(missing)?;
        let function = self.instance.get_typed_func::<(), (R,)>(&mut *self.store, index)?;
        Ok(function.call_async(&mut *self.store, ()).await?.0)
    }
}

impl ReadState for Reader<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        if !self.memories.contains_key(func) {
            let copy =
                |store: &Store<InitState>, list: WasmList<u8>| list.as_le_slice(store).to_vec();
            let bytes = self.call(instance, func, copy).await.unwrap_or_default();
            self.memories.insert(func.to_owned(), bytes);
        }
        contents(&self.memories[func]);
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.call(instance, func, |_, value| value).await.unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.call(instance, func, |_, value| value).await.unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.call(instance, func, |_, value: f32| value.to_bits()).await.unwrap_or_default()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.call(instance, func, |_, value: f64| value.to_bits()).await.unwrap_or_default()
    }
}
