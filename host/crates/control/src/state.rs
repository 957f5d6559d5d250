//! The directory of state, which is opened when a function is first granted some.

use std::{path::PathBuf, sync::Arc};

use lacewing_base::{Grants, name::TenantName};
use lacewing_sandbox::capability::StateSettings;
use lacewing_store::{
    StateStore,
    embedded::{DirectoryError, EmbeddedOptions, EmbeddedStore},
};
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
    store: Mutex<Option<Arc<EmbeddedStore>>>,
}

impl HostState {
    pub(super) fn new(dir: Option<PathBuf>) -> HostState {
        HostState { dir, store: Mutex::default() }
    }

    /// The state that a function of a tenant may use; `None` if its grants name none.
    pub(super) fn settings(
        &self,
        tenant: &TenantName,
        max_bytes: u64,
        grants: &Grants,
    ) -> Result<Option<StateSettings>, StateError> {
        if grants.kv.is_empty() {
            return Ok(None);
        }
        let state = self.open()?.tenant(tenant, max_bytes);
        Ok(Some(StateSettings { state, grants: grants.kv.clone() }))
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
        Ok(open.insert(store).clone())
    }
}
