//! Everything that one host process has, put together from its settings.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use lacewing_base::{
    LimitKey, TenantAccount,
    fair::Weight,
    heap,
    name::{AppName, TenantName},
};
use lacewing_ingress::{Endpoint, Routes, route::Router};
use lacewing_manifest::config::Settings;
use lacewing_runtime::{
    function::{Allotment, Residency, ResidencyOptions, Revision, Tenant},
    invocation::{Admission, Invoker, QueueOptions},
};
use lacewing_sandbox::{
    Spec,
    capability::egress::{Egress, EgressOptions, EgressSetupError},
    engine::{
        ArtifactCache, CacheError, Compiler, EngineError, Engines, Loader, PoolOptions, Untrusted,
    },
};
use lacewing_store::StateStore;
use lacewing_telemetry::{Health, InvocationLog, Metrics, Sink, admin::AdminApi};
use tokio::task::JoinError;

use super::{
    admin::ControlApi,
    deploy::{DeployLoads, Tenants},
    secrets::HostSecrets,
    state::{DeployedStates, HostState, deployed_states},
};

/// One host: engines, what runs in them, and what is deployed.
pub struct Host {
    pub(super) settings: Settings,
    pub(super) metrics: Arc<Metrics>,
    pub(super) egress: Arc<Egress>,
    pub(super) state: HostState,
    pub(super) secrets: HostSecrets,
    residency: Arc<Residency>,
    health: Arc<Health>,
    invoker: Arc<Invoker>,
    deployed: ArcSwap<Deployed>,
    /// The state of what is deployed.
    pub(super) states: ArcSwap<DeployedStates>,
    routes: Arc<Routes<Arc<Revision>>>,
    // One at a time: each starts from what the one before it left.
    pub(super) deploying: tokio::sync::Mutex<()>,
    // One at a time: the pool has room for one that a deploy starts.
    pub(super) starting: tokio::sync::Mutex<()>,
    pub(super) loads: DeployLoads,
}

/// The deployed apps at one moment: immutable, swapped whole.
#[derive(Default)]
pub struct Deployed {
    /// The current revision of each function, in the order of the host file.
    pub revisions: Vec<Arc<Revision>>,
    /// The apps that they are of.
    pub apps: Vec<DeployedApp>,
    /// Whether this is everything that the host file says: no app was refused, and none is still
    /// on its way.
    pub complete: bool,
}

/// An app of which something is deployed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeployedApp {
    /// The tenant of the app.
    pub tenant: TenantName,
    /// Its name.
    pub name: AppName,
    /// The path that tells the app from others while its manifest cannot be read: see
    /// [`App::home`](lacewing_manifest::App::home).
    pub home: Option<PathBuf>,
}

/// Why a host cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The artifact cache is not the host's alone.
    #[error(transparent)]
    Cache(#[from] Untrusted),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Outbound HTTP.
    #[error(transparent)]
    Egress(#[from] EgressSetupError),
}

/// The largest component, in bytes. Default 128 MiB: ten times what a JavaScript engine takes.
pub(super) const MAX_COMPONENT_BYTES: u64 = 128 << 20;

impl Host {
    /// Sets up the artifact cache and what the engines are made of. Nothing is deployed yet, and no
    /// port is bound.
    ///
    /// A cache folder that cannot be written to is no error: artifacts are then kept in memory. One
    /// that another user could write to is.
    ///
    /// # Errors
    /// The cache, or something that the engines need of the system.
    pub fn new(settings: Settings, sink: Sink, log: InvocationLog) -> Result<Arc<Host>, HostError> {
        Host::assemble(settings, sink, log, None)
    }

    /// As [`Host::new`], for a program that keeps the state of tenants in a store of its own. The
    /// state directory of the settings is not used.
    ///
    /// # Errors
    /// As [`Host::new`].
    pub fn with_store(
        settings: Settings,
        sink: Sink,
        log: InvocationLog,
        store: Arc<dyn StateStore>,
    ) -> Result<Arc<Host>, HostError> {
        Host::assemble(settings, sink, log, Some(store))
    }

    fn assemble(
        settings: Settings,
        sink: Sink,
        log: InvocationLog,
        store: Option<Arc<dyn StateStore>>,
    ) -> Result<Arc<Host>, HostError> {
        let metrics = Arc::new(Metrics::with_series(settings.metrics.max_functions));
        warn_of_uncharged_heap();
        let cache = match ArtifactCache::open(&settings.cache_dir) {
            Ok(cache) => Some(cache),
            Err(CacheError::Untrusted(untrusted)) => return Err(untrusted.into()),
            Err(error @ CacheError::Unusable { .. }) => {
                tracing::warn!("{error}; components are compiled at each start");
                None
            }
        };
        let engines = Engines::new(pool_options(&settings))?;
        let loads = DeployLoads::new(&settings.compilation);
        let compiler = Compiler::new(settings.compilation.clone());
        let queue = QueueOptions {
            wait: settings.admission.wait,
            length: settings.admission.queue,
            rate_per_s: settings.admission.rate_per_s,
        };
        let capacity = engines.capacity().min(settings.max_sandboxes);
        let invoker =
            Arc::new(Invoker::new(engines.clone(), Admission::new(capacity, queue), sink, log));
        watch_use(&metrics, &invoker);
        let residency = Residency::new(
            Loader::new(engines, cache, MAX_COMPONENT_BYTES, compiler),
            ResidencyOptions {
                functions: settings.residency.max_functions,
                memory_bytes: settings.residency.memory_bytes,
            },
            metrics.clone(),
        );
        watch_residency(&metrics, &residency);
        let host = Arc::new(Host {
            state: HostState::new(store, settings.state_dir.clone(), metrics.clone()),
            secrets: HostSecrets::new(&settings),
            settings,
            metrics,
            residency,
            egress: Arc::new(Egress::new(EgressOptions::default())?),
            health: Arc::new(Health::new()),
            invoker,
            deployed: ArcSwap::default(),
            states: ArcSwap::default(),
            routes: Arc::new(Routes::from_pointee(Router::empty())),
            deploying: tokio::sync::Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            loads,
        });
        let snapshots = Arc::downgrade(&host);
        host.residency.prepare_with(Box::new(move |revision, bytes| {
            let host = snapshots.upgrade().ok_or("the host has stopped")?;
            let Spec { limits, settings } = &*revision.spec;
            let snapshot = host.snapshot(bytes, &revision.origin, limits, &settings.env);
            snapshot.map_err(|refusal| refusal.to_string())
        }));
        Ok(host)
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its figures.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether it should be sent requests.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// The invoker that runs its functions.
    pub fn invoker(&self) -> &Arc<Invoker> {
        &self.invoker
    }

    /// The programs in memory.
    pub fn residency(&self) -> &Arc<Residency> {
        &self.residency
    }

    /// Outbound HTTP of its functions.
    pub fn egress(&self) -> &Arc<Egress> {
        &self.egress
    }

    /// The directory of state, if a function is granted some.
    pub fn state_dir(&self) -> Option<PathBuf> {
        self.state.path()
    }

    /// The API of the admin listener at an address. A host that opens its state afterwards leaves
    /// the address in the directory, with a token.
    pub fn admin_api(self: &Arc<Self>, address: SocketAddr) -> Arc<dyn AdminApi> {
        self.state.set_admin(address);
        Arc::new(ControlApi::new(self.clone()))
    }

    /// A tenant of which nothing runs yet.
    pub(super) fn tenant(&self, name: TenantName, allotment: Allotment) -> Arc<Tenant> {
        let weight = Weight::new(allotment.weight);
        let (lines, outbound) = (self.invoker.sink().shares(&weight), self.egress.share());
        let account = TenantAccount::new(name, weight, lines, outbound);
        let (engines, slots) = (self.invoker.engines(), self.invoker.admission().slots());
        Tenant::new(account, allotment.quota, engines, slots)
    }

    /// The apps that are deployed now.
    pub fn deployed(&self) -> Arc<Deployed> {
        self.deployed.load_full()
    }

    /// Has something of a tenant's files read, on a thread that may wait for its file system. Each
    /// tenant has one such thread at a time, and few tenants read at once. A file system that
    /// does not answer keeps that thread, and delays no other tenant.
    ///
    /// # Errors
    /// `work` has panicked.
    pub async fn read_for<T: Send + 'static>(
        &self,
        tenant: &TenantName,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        self.loads.read(tenant, work).await
    }

    /// The routes of all requests.
    pub fn routes(&self) -> &Arc<Routes<Arc<Revision>>> {
        &self.routes
    }

    pub(super) fn swap(
        &self,
        deployed: Deployed,
        router: Router<Endpoint<Arc<Revision>>>,
        tenants: &Tenants,
    ) {
        tenants.enforce();
        for revision in &deployed.revisions {
            revision.enforce();
            revision.metrics.set_revisions(vec![revision.origin.revision.clone()]);
        }
        self.states.store(Arc::new(deployed_states(&deployed.revisions)));
        let before = self.deployed.swap(Arc::new(deployed));
        self.routes.store(Arc::new(router));
        self.provision(&before);
    }
}

/// The bounds of the pool of sandboxes.
fn pool_options(settings: &Settings) -> PoolOptions {
    let cap = |key: LimitKey| {
        let cap = settings.caps.get(key).unwrap_or(*key.range().end());
        u32::try_from(cap).unwrap_or(u32::MAX)
    };
    let memory = settings.memory_plan();
    PoolOptions {
        sandboxes: settings.max_sandboxes,
        instances: cap(LimitKey::Instances),
        memories: cap(LimitKey::Memories),
        memory_bytes: settings.max_memory_bytes(),
        warm_slots: memory.idle_slots,
        first_bytes: memory.first_bytes,
        guest_bytes: memory.sandbox_bytes,
        body_bytes: memory.body_bytes,
        table_elements: settings.caps.get(LimitKey::TableElements).unwrap_or(100_000),
        ..PoolOptions::default()
    }
}

/// Says so where this program's allocator is not the one that charges.
fn warn_of_uncharged_heap() {
    if !heap::is_charged() {
        tracing::warn!(
            "the global allocator of this program charges no heap: `memory_mib` bounds memories and tables only; install lacewing::heap::ChargingAllocator"
        );
    }
}

/// The gauges of resources in use, read when they are scraped.
fn watch_use(metrics: &Metrics, invoker: &Arc<Invoker>) {
    type Read = fn(&Invoker) -> u64;
    let gauges: [(&'static str, &'static str, Read); 11] = [
        (
            "invocations_in_flight",
            "Invocations between admission and the end of the response",
            |i| i.admission().in_flight().into(),
        ),
        ("invocations_waiting", "Requests that wait for a slot", |i| {
            i.admission().waiting().into()
        }),
        ("guests_waiting_for_a_core", "Guests that wait for a turn on a core", |i| {
            i.engines().turns().waiting()
        }),
        (
            "guest_memory_bytes",
            "Memories, tables and heap of sandboxes, over what each has free",
            |i| i.engines().guests().used(),
        ),
        ("bodies_bytes", "Bytes of large bodies of requests and responses in memory", |i| {
            i.engines().bodies().used()
        }),
        ("sandboxes_capacity", "Sandboxes that may exist at once", |i| {
            i.admission().capacity().into()
        }),
        ("pool_component_instances", "Component instances that exist", |i| {
            i.engines().usage().component_instances
        }),
        ("pool_core_instances", "Core instances that exist", |i| {
            i.engines().usage().core_instances
        }),
        ("pool_memories", "Slots for linear memories in use", |i| i.engines().usage().memories),
        ("pool_tables", "Slots for tables in use", |i| i.engines().usage().tables),
        ("pool_stacks", "Fiber stacks in use", |i| i.engines().usage().stacks),
    ];
    for (name, help, read) in gauges {
        let invoker = Arc::downgrade(invoker);
        metrics
            .add_gauge(name, help, move || invoker.upgrade().map_or(0, |invoker| read(&invoker)));
    }
}

/// The gauges of resident programs, read when they are scraped.
fn watch_residency(metrics: &Metrics, residency: &Arc<Residency>) {
    type Read = fn(&Residency) -> u64;
    let gauges: [(&'static str, &'static str, Read); 2] = [
        ("programs_resident", "Functions whose program is in memory", Residency::resident),
        (
            "programs_resident_bytes",
            "Bytes of the programs in memory, as far as they are counted",
            Residency::resident_bytes,
        ),
    ];
    for (name, help, read) in gauges {
        let residency = Arc::downgrade(residency);
        metrics.add_gauge(name, help, move || residency.upgrade().map_or(0, |one| read(&one)));
    }
}
