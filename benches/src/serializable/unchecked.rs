//! A store whose commits are not checked: the control of the experiment.
//!
//! The store takes off each commit the list of what its transaction has read. No setting of a host
//! leads here; a program has to make such a store itself.

use std::{any::Any, sync::Arc};

use lacewing_base::name::TenantName;
use lacewing_store::{
    Changes, Commit, Opening, Snapshot, StateStore, StoreError, TenantState,
    embedded::EmbeddedStore,
    kv::Version,
    object::{FileId, FileWriter, OpenFile},
};
use tokio::sync::watch;

pub(super) struct UncheckedStore(pub(super) Arc<EmbeddedStore>);

struct UncheckedTenant(Arc<dyn TenantState>);

impl StateStore for UncheckedStore {
    fn tenant(&self, name: &TenantName, max_bytes: u64) -> Arc<dyn TenantState> {
        Arc::new(UncheckedTenant(self.0.tenant(name, max_bytes)))
    }
}

impl TenantState for UncheckedTenant {
    fn set_max_bytes(&self, max_bytes: u64) {
        self.0.set_max_bytes(max_bytes);
    }

    fn max_bytes(&self) -> u64 {
        self.0.max_bytes()
    }

    fn open(&self) -> Option<Opening> {
        self.0.open()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.0.snapshot()
    }

    fn create_file(&self) -> Result<Box<dyn FileWriter>, StoreError> {
        self.0.create_file()
    }

    fn open_file(&self, id: FileId, offset: u64) -> OpenFile {
        self.0.open_file(id, offset)
    }

    fn pin_files(&self, ids: &[FileId]) -> Result<Box<dyn Any + Send + Sync>, StoreError> {
        self.0.pin_files(ids)
    }

    fn appended(&self, store: &Arc<str>) -> watch::Receiver<Version> {
        self.0.appended(store)
    }

    fn commit(&self, mut changes: Changes) -> Commit {
        changes.reads.clear();
        changes.ranges.clear();
        self.0.commit(changes)
    }
}
