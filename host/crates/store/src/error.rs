//! Errors of state.

use std::sync::Arc;

/// The state of a tenant cannot be read or written: the disk, the database, or the host's bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk has no room.
    #[error("the disk that holds the state is full")]
    DiskFull,
    /// The disk, or the file system, may not be written.
    #[error("the state can only be read: {0}")]
    ReadOnly(Arc<str>),
    /// The database is not what this host wrote.
    #[error("the state of the tenant is damaged: {0}")]
    Damaged(Arc<str>),
    /// A later version of the host wrote the database.
    #[error(
        "the database of the tenant has schema {found}, and this host knows schemas up to {known}: run the version of the host that wrote it"
    )]
    NewerSchema {
        /// The schema of the file.
        found: u32,
        /// The latest schema of this host.
        known: u32,
    },
    /// Too many invocations of the tenant have a snapshot.
    #[error("{limit} invocations of the tenant read its state already")]
    TooManySnapshots {
        /// The bound.
        limit: usize,
    },
    /// The snapshot held up the log of writes for too long.
    #[error("the invocation read the state of {seconds} s ago, which is too old")]
    SnapshotTooOld {
        /// Its age.
        seconds: u64,
    },
    /// Any other error of the system or the database.
    #[error("the state of the tenant cannot be used: {0}")]
    Failed(Arc<str>),
}

impl StoreError {
    /// The error in words for the developers of a tenant, who are not told of the host's files. The
    /// log of the host has the rest.
    pub fn for_tenants(&self) -> String {
        match self {
            StoreError::DiskFull
            | StoreError::TooManySnapshots { .. }
            | StoreError::SnapshotTooOld { .. } => self.to_string(),
            StoreError::ReadOnly(_)
            | StoreError::Damaged(_)
            | StoreError::NewerSchema { .. }
            | StoreError::Failed(_) => "the state of the tenant cannot be used now".to_owned(),
        }
    }
}

/// Why a transaction was not committed. It had no effect, or after an error of the disk none that
/// this host shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Another transaction changed something that this one had read.
    #[error("another invocation changed {what}, which this one had read")]
    Conflict {
        /// The store and the key, or the range of keys.
        what: Arc<str>,
    },
    /// The commit would exceed the bound of a named store, or that of the tenant.
    #[error("{subject} would have {bytes} bytes, and may have {limit_bytes}")]
    OverQuota {
        /// The store, or the tenant.
        subject: Arc<str>,
        /// The size after the commit.
        bytes: u64,
        /// The bound.
        limit_bytes: u64,
    },
    /// Too many commits of the tenant wait for the disk.
    #[error("{waiting} commits of the tenant wait for the disk already")]
    TooManyWaiting {
        /// Their number.
        waiting: usize,
    },
    /// The store itself.
    #[error(transparent)]
    Store(#[from] StoreError),
}
