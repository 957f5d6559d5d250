//! The failures of one tenant's state, told to the operator.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::StoreError;

/// Names the folder of the state and the error in the host's log, at most once a second.
pub(super) struct FailureLog {
    folder: PathBuf,
    last_s: AtomicU64,
}

impl FailureLog {
    pub(super) fn new(folder: PathBuf) -> FailureLog {
        FailureLog { folder, last_s: AtomicU64::new(0) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn note(&self, error: &StoreError) {
        match error {
            // The tenant's own invocations are the cause, and their records say so.
            StoreError::TooManySnapshots { .. } | StoreError::SnapshotTooOld { .. } => return,
            StoreError::DiskFull
            | StoreError::ReadOnly(_)
            | StoreError::Damaged(_)
            | StoreError::NewerSchema { .. }
            | StoreError::Failed(_) => {}
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.last_s.swap(now, Relaxed) != now {
            let folder = self.folder.display();
            tracing::error!("the state in {folder} cannot be used: {error}");
        }
    }
}
