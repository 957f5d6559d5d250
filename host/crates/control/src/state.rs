//! The directory of state, which is opened when a function is first granted some.

use std::{path::PathBuf, sync::Arc};

use lacewing_base::{Grants, name::TenantName};
use lacewing_sandbox::capability::StateSettings;
use lacewing_store::{
    StateStore, StoreFigures,
    embedded::{DirectoryError, EmbeddedOptions, EmbeddedStore},
};
use lacewing_telemetry::Metrics;
use parking_lot::Mutex;

/// Why there is no state for a function.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The settings name no directory: those of a host that was made in memory.
    #[error("it is granted a store, and this host has no state directory")]
    NoDirectory,
}

/// The state of a host.
pub(super) struct HostState {
    dir: Option<PathBuf>,
    metrics: Arc<Metrics>,
    store: Mutex<Option<Arc<EmbeddedStore>>>,
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
    metrics.add_gauge(
        "state_databases_open",
        "Databases of tenants' state that are open",
        move || store.upgrade().map_or(0, |store| store.open_databases() as u64),
    );
}

impl HostState {
    pub(super) fn new(dir: Option<PathBuf>, metrics: Arc<Metrics>) -> HostState {
        HostState { dir, metrics, store: Mutex::default() }
    }

    /// The state that a function of a tenant may use; `None` if its grants name none.
    pub(super) fn settings(
        &self,
        tenant: &TenantName,
        max_bytes: u64,
        grants: &Grants,
    ) -> Result<Option<StateSettings>, StateError> {
        if grants.kv.is_empty() && grants.buckets.is_empty() {
            return Ok(None);
        }
        let state = self.open()?.tenant(tenant, max_bytes);
        let (kv, buckets) = (grants.kv.as_slice().into(), grants.buckets.as_slice().into());
        Ok(Some(StateSettings { state, grants: kv, buckets }))
    }

    /// Changes the bound of a tenant's state from now on.
    pub(super) fn set_max_bytes(&self, tenant: &TenantName, max_bytes: u64) {
        if let Some(store) = &*self.store.lock() {
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
        watch(&store, &self.metrics);
        Ok(open.insert(store).clone())
    }

    /// The directory, if it is in use.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.store.lock().as_ref().map(|store| store.path().to_owned())
    }
}
