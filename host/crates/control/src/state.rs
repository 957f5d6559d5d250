//! The directory of state, which is opened when a function is first granted some.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use http::HeaderMap;
use lacewing_base::{Bucket, Grants, KvStore, name::TenantName};
use lacewing_runtime::function::Revision;
use lacewing_sandbox::capability::{SqlSettings, StateSettings};
use lacewing_store::{
    StateStore, StoreFigures, TenantState,
    embedded::{DirectoryError, EmbeddedOptions, EmbeddedStore},
};
use lacewing_telemetry::Metrics;
use parking_lot::Mutex;

use super::{
    Host,
    admin::credential::{self, Credential},
};

/// Why there is no state for a function.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The settings name no directory: those of a host that was made in memory.
    #[error("it is granted state, and this host has no state directory")]
    NoDirectory,
}

/// The state that a function may use, of each kind for which it has a grant.
#[derive(Default)]
pub(super) struct GrantedState {
    pub(super) state: Option<StateSettings>,
    pub(super) sql: Option<SqlSettings>,
}

impl GrantedState {
    /// Whether there is any.
    pub(super) fn is_some(&self) -> bool {
        self.state.is_some() || self.sql.is_some()
    }
}

/// The state that the deployed functions of a tenant are granted.
#[derive(Clone)]
pub(super) struct DeployedState {
    pub(super) state: Arc<dyn TenantState>,
    pub(super) stores: Arc<Vec<Arc<KvStore>>>,
    pub(super) buckets: Arc<Vec<Arc<Bucket>>>,
}

/// The state of each tenant with a function that has some. Each request of S3 looks up one tenant,
/// and a deploy looks at all functions.
pub(super) type DeployedStates = HashMap<TenantName, DeployedState>;

/// The state that revisions are granted.
pub(super) fn deployed_states(revisions: &[Arc<Revision>]) -> DeployedStates {
    let mut states = DeployedStates::new();
    for revision in revisions {
        let Some(settings) = &revision.spec.settings.state else { continue };
        let of_tenant = states.entry(revision.tenant.name().clone());
        let found = of_tenant.or_insert_with(|| DeployedState {
            state: settings.state.clone(),
            stores: Arc::default(),
            buckets: Arc::default(),
        });
        for grant in settings.grants.iter() {
            if !found.stores.iter().any(|known| known.id == grant.store.id) {
                Arc::make_mut(&mut found.stores).push(grant.store.clone());
            }
        }
        for grant in settings.buckets.iter() {
            if !found.buckets.iter().any(|known| known.name == grant.bucket.name) {
                Arc::make_mut(&mut found.buckets).push(grant.bucket.clone());
            }
        }
    }
    states
}

impl Host {
    /// The state of a tenant; `None` if no deployed function of the tenant has some.
    pub(super) fn deployed_state(&self, tenant: &TenantName) -> Option<DeployedState> {
        self.states.load().get(tenant).cloned()
    }
}

/// The state of a host.
pub(super) struct HostState {
    /// A store that the embedder of the host gave, in place of the directory.
    given: Option<Arc<dyn StateStore>>,
    dir: Option<PathBuf>,
    metrics: Arc<Metrics>,
    /// The credential of the API, once the directory is open. Its file goes before the directory is
    /// unlocked, because the next host leaves another one.
    credential: OnceLock<Credential>,
    store: Mutex<Option<Arc<EmbeddedStore>>>,
    /// Where the admin listener is, if there is one.
    admin: OnceLock<SocketAddr>,
}

/// The counters of a store, read when they are scraped.
fn watch(store: &Arc<EmbeddedStore>, metrics: &Metrics) {
    type Read = fn(&StoreFigures) -> u64;
    let counters: [(&'static str, &'static str, Read); 4] = [
        ("state_commits", "Transactions that were committed", |figures| figures.commits.get()),
        (
            "state_conflicts",
            "Transactions that were refused because what they had read has changed",
            |figures| figures.conflicts.get(),
        ),
        (
            "state_batches",
            "Batches of commits that were written, each with one wait for the disk",
            |figures| figures.batches.get(),
        ),
        (
            "state_batch_microseconds",
            "Time of all batches of commits, with the wait for the disk",
            |figures| figures.batch_us.get(),
        ),
    ];
    for (name, help, read) in counters {
        let figures = store.figures().clone();
        metrics.add_counter(name, help, move || read(&figures));
    }
    let store = Arc::downgrade(store);
    metrics.add_gauge("state_databases_open", "Databases of tenants' state that are open", {
        let store = store.clone();
        move || store.upgrade().map_or(0, |store| store.open_databases() as u64)
    });
    metrics.add_gauge(
        "state_sql_databases_open",
        "SQL databases of functions that are open",
        move || store.upgrade().map_or(0, |store| store.open_sql_databases() as u64),
    );
}

impl HostState {
    pub(super) fn new(
        given: Option<Arc<dyn StateStore>>,
        dir: Option<PathBuf>,
        metrics: Arc<Metrics>,
    ) -> HostState {
        let (store, admin, credential) = (Mutex::default(), OnceLock::new(), OnceLock::new());
        HostState { given, dir, metrics, store, admin, credential }
    }

    /// Names the admin listener, before the directory is opened.
    pub(super) fn set_admin(&self, address: SocketAddr) {
        // The listener of a host never changes.
        let _ = self.admin.set(address);
    }

    /// Whether the fields of a request have the token of the API.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        self.credential.get().is_some_and(|credential| credential.admits(headers))
    }

    /// The store, if it is open.
    pub(super) fn opened(&self) -> Option<Arc<EmbeddedStore>> {
        self.store.lock().clone()
    }

    /// Leaves the credential of the API in the directory, for programs of the same user.
    fn publish(&self, store: &EmbeddedStore) {
        let Some(address) = self.admin.get() else { return credential::withdraw(store.path()) };
        match Credential::make(store.path(), *address) {
            // The directory is opened once.
            Ok(made) => drop(self.credential.set(made)),
            Err(error) => tracing::warn!(
                %error,
                "no token for the API of the admin listener: the API refuses every request"
            ),
        }
    }

    /// The state that a function of a tenant may use.
    pub(super) fn settings(
        &self,
        tenant: &TenantName,
        max_bytes: u64,
        grants: &Grants,
    ) -> Result<GrantedState, StateError> {
        let mut granted = GrantedState::default();
        if !grants.kv.is_empty() || !grants.buckets.is_empty() {
            let state = match &self.given {
                Some(given) => given.tenant(tenant, max_bytes),
                None => self.open()?.tenant(tenant, max_bytes),
            };
            let (kv, buckets) = (grants.kv.as_slice().into(), grants.buckets.as_slice().into());
            granted.state = Some(StateSettings { state, grants: kv, buckets });
        }
        if !grants.sql.is_empty() {
            let databases = self.open()?.sql(tenant, max_bytes);
            granted.sql = Some(SqlSettings { databases, grants: grants.sql.as_slice().into() });
        }
        Ok(granted)
    }

    /// Changes the bound of a tenant's state from now on.
    pub(super) fn set_max_bytes(&self, tenant: &TenantName, max_bytes: u64) {
        if let Some(given) = &self.given {
            given.tenant(tenant, max_bytes).set_max_bytes(max_bytes);
        } else if let Some(store) = &*self.store.lock() {
            store.tenant(tenant, max_bytes).set_max_bytes(max_bytes);
        }
    }

    fn open(&self) -> Result<Arc<EmbeddedStore>, StateError> {
        let mut open = self.store.lock();
        if let Some(store) = &*open {
            return Ok(store.clone());
        }
        let dir = self.dir.as_ref().ok_or(StateError::NoDirectory)?;
        let store = Arc::new(EmbeddedStore::open(dir, EmbeddedOptions::default())?);
        self.publish(&store);
        watch(&store, &self.metrics);
        Ok(open.insert(store).clone())
    }

    /// The directory, if it is in use.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.store.lock().as_ref().map(|store| store.path().to_owned())
    }
}
