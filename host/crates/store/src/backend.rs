//! The seam between transactions and the place where state is kept.
//!
//! A backend has snapshots and conditional commits. An embedded database has both; so has a log
//! with one sequence of numbers, such as NATS JetStream, whose revisions of a key are numbers of
//! that sequence.

use std::{any::Any, sync::Arc};

use futures_util::future::BoxFuture;
use lacewing_base::name::TenantName;
use tokio::sync::watch;

use super::{
    CommitError, StoreError,
    kv::{Entry, KeyRange, KvStore, ListDigest, ListedKey, StoreUse, Version},
    object::{EntryBody, FileId, FileWriter, OpenFile},
};

/// The state of all tenants.
pub trait StateStore: Send + Sync {
    /// The state of one tenant, with so many bytes at the most until
    /// [`TenantState::set_max_bytes`] says otherwise. It costs nothing until the first use.
    fn tenant(&self, name: &TenantName, max_bytes: u64) -> Arc<dyn TenantState>;
}

/// The state of one tenant.
pub trait TenantState: Send + Sync {
    /// Changes the bound of bytes from now on.
    fn set_max_bytes(&self, max_bytes: u64);

    /// The bound of bytes that holds now.
    fn max_bytes(&self) -> u64;

    /// Opens the state where it is not open. `None`: it is open.
    fn open(&self) -> Option<Opening>;

    /// The state as it is now. For state that is open it blocks for as long as a look into the
    /// page cache takes, and for a read of the disk where it is not there.
    ///
    /// # Errors
    /// The database cannot be opened, or has its bound of snapshots.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// Commits, if all that was read is still so. The future is ready when the changes are on the
    /// disk, or were refused. Dropping it takes the changes back, unless their batch has begun.
    fn commit(&self, changes: Changes) -> Commit;

    /// Begins a file for the body of an object. The state has to be open.
    ///
    /// # Errors
    /// The database cannot be opened.
    fn create_file(&self) -> Result<Box<dyn FileWriter>, StoreError>;

    /// Opens a file at a byte. The state has to be open.
    fn open_file(&self, id: FileId, offset: u64) -> OpenFile;

    /// Keeps files until the guard is dropped, also if no entry needs them any more.
    ///
    /// # Errors
    /// The database cannot be opened.
    fn pin_files(&self, ids: &[FileId]) -> Result<Box<dyn Any + Send + Sync>, StoreError>;

    /// The last commit that appended to a store, as this host has seen it: a receiver sees each
    /// change, and may pass over some that others follow.
    fn appended(&self, store: &Arc<str>) -> watch::Receiver<Version>;
}

/// The end of an opening.
pub type Opening = BoxFuture<'static, Result<(), StoreError>>;

/// The end of a commit.
pub type Commit = BoxFuture<'static, Result<Version, CommitError>>;

/// The state of a tenant at one moment.
pub trait Snapshot: Send {
    /// The time of the first read, or of this call if there was none, in milliseconds since 1970.
    fn taken_ms(&mut self) -> i64;

    /// The entry of a key, an expired one included.
    ///
    /// # Errors
    /// The database cannot be read, or the snapshot was ended because it was too old.
    fn get(&mut self, store: &str, key: &str) -> Result<Option<Entry>, StoreError>;

    /// The first `limit` keys of a range, in the order of their bytes, expired ones included.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    fn list(
        &mut self,
        store: &str,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<ListedKey>, StoreError>;

    /// The first `limit` entries of a range, in the order of the bytes of their keys, expired ones
    /// included.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    fn scan(
        &mut self,
        store: &str,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Entry)>, StoreError>;

    /// The bytes that an entry has besides its value, if they are in the database.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    fn body(&mut self, store: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// The stores that have, or had, an entry, in the order of their names.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    fn stores(&mut self) -> Result<Vec<StoreUse>, StoreError>;
}

/// The reads and writes of a transaction.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Keys that were read.
    pub reads: Vec<KeyRead>,
    /// Ranges that were listed.
    pub ranges: Vec<RangeRead>,
    /// Entries that are written. Each key occurs once.
    pub writes: Vec<Write>,
    /// Entries that are appended, in their order. Each has the beginning of its key; the commit
    /// adds its own number, and the place of the entry here. So the entries of one beginning are in
    /// the order of their commits.
    pub appends: Vec<Write>,
}

impl Changes {
    /// The rows that a commit looks at.
    pub(crate) fn rows(&self) -> usize {
        let ranges: usize = self.ranges.iter().map(|range| range.rows + 1).sum();
        self.reads.len() + ranges + self.writes.len() + self.appends.len()
    }

    /// Bytes that a commit adds to the key of an append.
    pub(crate) const NUMBER_BYTES: usize = 20;

    /// The key of an append, by its beginning and its place in a commit.
    pub(crate) fn appended_key(beginning: &str, commit: Version, place: usize) -> String {
        format!("{beginning}{:016x}{place:04x}", commit.0)
    }

    /// The bytes of its writes.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |write: &Write| {
            let inline = write.body.inline.as_ref().map_or(0, |inline| inline.len());
            write.key.len() + write.value.as_ref().map_or(0, Vec::len) + inline
        };
        self.writes.iter().chain(&self.appends).map(bytes).sum()
    }
}

/// A key that a transaction read, and the version that it saw.
#[derive(Clone, Debug)]
pub struct KeyRead {
    /// The store.
    pub store: Arc<str>,
    /// The key.
    pub key: String,
    /// The version that was seen, be it of an expired entry.
    pub version: Version,
}

/// A range of keys that a transaction listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRead {
    /// The store.
    pub store: Arc<str>,
    /// The range, up to the last key that was looked at.
    pub range: KeyRange,
    /// The number of keys that were seen, expired ones included.
    pub rows: usize,
    /// The keys that were seen.
    pub digest: ListDigest,
}

/// An entry that a transaction writes.
#[derive(Clone, Debug)]
pub struct Write {
    /// The store.
    pub store: Arc<KvStore>,
    /// The key.
    pub key: String,
    /// The value; `None` deletes the entry.
    pub value: Option<Vec<u8>>,
    /// When the entry expires, in milliseconds since 1970.
    pub expires_ms: Option<i64>,
    /// The bytes that the entry has besides its value.
    pub body: EntryBody,
}
