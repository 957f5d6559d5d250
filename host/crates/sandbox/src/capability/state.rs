//! Key-value stores and buckets that a function is granted, in the transaction of its invocation.
//!
//! On the lean path, for events and for calls, the transaction is that of the invocation, and its
//! caller commits it after the guest's answer. On the portable path the host cannot tell when an
//! answer is complete, so each call has a transaction of its own.
//!
//! The interfaces are dialects of the same calls, one file each.

mod blobstore;
mod dialect;
mod lacewing;
mod lacewing_objects;
mod objects;
mod spin;
mod spin3;
mod streams;
mod wasi_draft;
mod wasi_draft2;

use std::{sync::Arc, time::Duration};

use lacewing_base::{Access, BucketGrant, KvGrant, KvStore};
use lacewing_store::{
    ATTEMPTS, CommitError, EffectLimits, RunError, StoreError, TenantState, Transaction,
    kv::{Condition, Entry, KvError, Page},
};
use wasmtime::{
    Result,
    component::{HasData, Linker, ResourceTable},
};

use super::{
    extension::{Capability, Opening, StoreData},
    grant::not_granted,
    interfaces::Versions,
    stdio::Log,
};

/// The state of a tenant, and what a revision may do with it.
pub struct StateSettings {
    /// The tenant's.
    pub state: Arc<dyn TenantState>,
    /// The stores.
    pub grants: Arc<[KvGrant]>,
    /// The buckets.
    pub buckets: Arc<[BucketGrant]>,
}

/// The stores and buckets of one invocation.
pub(crate) struct TransactionalState {
    state: Option<Arc<dyn TenantState>>,
    grants: Option<Arc<[KvGrant]>>,
    buckets: Option<Arc<[BucketGrant]>>,
    limits: EffectLimits,
    /// The transaction of the invocation; `None` on the portable path.
    transaction: Option<Transaction>,
    log: Log,
    /// The keys behind the cursors that are numbers.
    cursors: Vec<String>,
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailureKind {
    /// The function is granted no store of this name.
    NotGranted,
    /// The function is granted only to read.
    ReadOnly,
    /// A key, a value or an argument that is none.
    Invalid,
    /// A limit of the function or the store.
    Limit,
    /// Other invocations changed the entry again and again.
    Conflict,
    /// The disk or the database.
    Unavailable,
}

/// A failed call, in words for the function's developer.
#[derive(Debug)]
struct Failure {
    kind: FailureKind,
    text: String,
}

impl From<KvError> for Failure {
    fn from(error: KvError) -> Failure {
        let kind = match &error {
            KvError::KeySize { .. }
            | KvError::NotANumber
            | KvError::NotAnObject
            | KvError::Delay { .. }
            | KvError::GroupSize { .. }
            | KvError::DelayInOrder
            | KvError::NotAMessage
            | KvError::Overflow => FailureKind::Invalid,
            KvError::ValueSize { .. }
            | KvError::MessageSize { .. }
            | KvError::TooManyKeys { .. }
            | KvError::TooManyBytes { .. }
            | KvError::TooManyEffects { .. }
            | KvError::EffectBytes { .. }
            | KvError::ObjectSize { .. }
            | KvError::AttributeSize { .. }
            | KvError::OverQuota { .. }
            | KvError::TooManyReads => FailureKind::Limit,
            KvError::Store(store) => return store.into(),
        };
        Failure { kind, text: error.to_string() }
    }
}

impl From<&StoreError> for Failure {
    fn from(error: &StoreError) -> Failure {
        Failure { kind: FailureKind::Unavailable, text: error.for_tenants() }
    }
}

impl TransactionalState {
    /// Whether the invocation has something to commit.
    pub(crate) fn has_effects(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| !transaction.is_read_only())
    }

    /// The transaction of the invocation, for its commit.
    pub(crate) fn take_transaction(&mut self) -> Option<Transaction> {
        self.transaction.take()
    }

    /// The store of a name, for reading or for writing.
    fn store(&self, name: &str, access: Access) -> Result<Arc<KvStore>, Failure> {
        let grants = self.grants.as_deref().unwrap_or_default();
        let found = grants.iter().find(|grant| *grant.name == *name);
        let known = grants.iter().map(|grant| &*grant.name);
        self.check_grant("kv store", name, found.map(|grant| grant.access), access, known)?;
        Ok(found.expect("the line above checked it").store.clone())
    }

    /// Checks that a grant is there and has an access.
    fn check_grant<'a>(
        &self,
        kind: &str,
        name: &str,
        granted: Option<Access>,
        access: Access,
        known: impl Iterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        match granted {
            None => Err(self.refused(FailureKind::NotGranted, not_granted(kind, name, known))),
            Some(granted) if granted < access => {
                let text = format!(
                    "the grant for the {kind} `{name}` is `{granted}`, and this call needs `{access}`"
                );
                Err(self.refused(FailureKind::ReadOnly, text))
            }
            Some(_) => Ok(()),
        }
    }

    /// A failure that the function's developer has to mend, which the log shows as well.
    fn refused(&self, kind: FailureKind, text: String) -> Failure {
        self.log.now().note(&text);
        Failure { kind, text }
    }

    /// Does a step in the transaction of the invocation, or in one of its own that is committed at
    /// once.
    async fn step<T>(
        &mut self,
        mut step: impl FnMut(&mut Transaction) -> Result<T, KvError>,
    ) -> Result<T, Failure> {
        let alone = self.alone()?;
        if !self.is_open() {
            alone.open().await?;
        }
        match &mut self.transaction {
            Some(transaction) => Ok(step(transaction)?),
            None => alone.step(step).await,
        }
    }

    /// Whether the transaction of the invocation has its snapshot.
    fn is_open(&self) -> bool {
        self.transaction.as_ref().is_some_and(Transaction::has_snapshot)
    }

    /// What a call needs that has a transaction of its own.
    fn alone(&self) -> Result<Alone, Failure> {
        let state = self.state.clone().ok_or_else(over)?;
        Ok(Alone { state, limits: self.limits })
    }

    async fn get(&mut self, store: &str, key: &str) -> Result<Option<Entry>, Failure> {
        let store = self.store(store, Access::Read)?;
        self.step(|transaction| transaction.get(&store, key)).await
    }

    async fn get_many(
        &mut self,
        store: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Entry>>, Failure> {
        let store = self.store(store, Access::Read)?;
        self.step(|transaction| transaction.get_many(&store, keys)).await
    }

    async fn set(
        &mut self,
        store: &str,
        key: &str,
        value: Vec<u8>,
        ttl: Option<Duration>,
        condition: Condition,
    ) -> Result<bool, Failure> {
        let store = self.store(store, Access::ReadWrite)?;
        self.step(|transaction| transaction.set(&store, key, value.clone(), ttl, condition)).await
    }

    async fn set_many(
        &mut self,
        store: &str,
        entries: &[(String, Vec<u8>)],
    ) -> Result<(), Failure> {
        let store = self.store(store, Access::ReadWrite)?;
        let set_all = |transaction: &mut Transaction| {
            entries.iter().try_for_each(|(key, value)| {
                transaction.set(&store, key, value.clone(), None, Condition::Any).map(drop)
            })
        };
        self.step(set_all).await
    }

    async fn delete(
        &mut self,
        store: &str,
        key: &str,
        condition: Condition,
    ) -> Result<bool, Failure> {
        let store = self.store(store, Access::ReadWrite)?;
        self.step(|transaction| transaction.delete(&store, key, condition)).await
    }

    async fn delete_many(&mut self, store: &str, keys: &[String]) -> Result<(), Failure> {
        let store = self.store(store, Access::ReadWrite)?;
        let delete_all = |transaction: &mut Transaction| {
            keys.iter()
                .try_for_each(|key| transaction.delete(&store, key, Condition::Any).map(drop))
        };
        self.step(delete_all).await
    }

    async fn increment(&mut self, store: &str, key: &str, delta: i64) -> Result<i64, Failure> {
        let store = self.store(store, Access::ReadWrite)?;
        self.step(|transaction| transaction.increment(&store, key, delta)).await
    }

    async fn list(
        &mut self,
        store: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, Failure> {
        let store = self.store(store, Access::Read)?;
        self.step(|transaction| transaction.list(&store, prefix, after, limit)).await
    }
}

/// The state and the limits of a call that has a transaction of its own.
struct Alone {
    state: Arc<dyn TenantState>,
    limits: EffectLimits,
}

impl Alone {
    /// Opens the state where it is not open.
    async fn open(&self) -> Result<(), Failure> {
        match self.state.open() {
            Some(opening) => opening.await.map_err(|error| Failure::from(&error)),
            None => Ok(()),
        }
    }

    /// Does a step in a transaction that is committed at once.
    async fn step<T>(
        self,
        step: impl FnMut(&mut Transaction) -> Result<T, KvError>,
    ) -> Result<T, Failure> {
        match Transaction::run(&self.state, self.limits, step).await {
            Ok((done, _)) => Ok(done),
            Err(RunError::Step(error)) => Err(error.into()),
            Err(RunError::Commit(error)) => Err(error.into()),
        }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Failure {
        let text = error.to_string();
        match error {
            CommitError::Conflict { .. } => {
                let text = format!("other invocations changed the entry {ATTEMPTS} times");
                Failure { kind: FailureKind::Conflict, text }
            }
            CommitError::OverQuota { .. } => Failure { kind: FailureKind::Limit, text },
            CommitError::TooManyWaiting { .. } => Failure { kind: FailureKind::Unavailable, text },
            CommitError::Store(error) => (&error).into(),
        }
    }
}

/// The failure of a call of a guest that is to be stopped.
fn over() -> Failure {
    Failure { kind: FailureKind::Unavailable, text: "the invocation is over".to_owned() }
}

impl Capability for TransactionalState {
    const PACKAGES: &'static [Versions] = &[
        ("lacewing:state", &["0.1"]),
        ("wasi:blobstore", &["0.2.0-draft"]),
        ("wasi:keyvalue", &["0.2.0-draft", "0.2.0-draft2"]),
        ("fermyon:spin/key-value", &["2.0"]),
        ("spin:key-value", &["3.0"]),
    ];

    const PER_INVOCATION: bool = true;

    fn why_not_during_init(_: &str) -> &'static str {
        "state belongs to invocations"
    }

    const SHOWS_PROGRESS: bool = true;

    fn open(opening: Opening<'_>) -> TransactionalState {
        let limits = &opening.limits;
        let limits = EffectLimits { count: limits.effects, bytes: limits.effect_bytes };
        let settings = opening.settings.state.as_ref().filter(|_| !opening.is_over);
        let state = settings.map(|settings| settings.state.clone());
        TransactionalState {
            grants: settings.map(|settings| settings.grants.clone()),
            buckets: settings.map(|settings| settings.buckets.clone()),
            transaction: state
                .clone()
                .filter(|_| opening.is_transactional)
                .map(|state| Transaction::new(state, limits)),
            state,
            limits,
            log: opening.log,
            cursors: Vec::new(),
        }
    }

    fn link<T: StoreData>(linker: &mut Linker<T>, tasks: bool) -> Result<()> {
        lacewing::link(linker)?;
        lacewing_objects::link(linker)?;
        blobstore::link(linker)?;
        wasi_draft::link(linker)?;
        wasi_draft2::link(linker)?;
        spin::link(linker)?;
        if tasks {
            spin3::link(linker)?;
        }
        Ok(())
    }
}

/// The stores of an invocation, and the handles of its guest.
struct Stores<'a> {
    stores: &'a mut TransactionalState,
    table: &'a mut ResourceTable,
}

/// Says that a store has [`Stores`].
struct HasStores;

impl HasData for HasStores {
    type Data<'a> = Stores<'a>;
}

fn stores<T: StoreData>(data: &mut T) -> Stores<'_> {
    let (stores, table) = data.capability::<TransactionalState>();
    Stores { stores, table }
}

/// A store that a guest has opened, behind a handle.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Debug)]
pub struct Bucket {
    name: String,
}
