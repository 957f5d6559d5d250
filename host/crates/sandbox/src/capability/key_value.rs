//! lacewing:state: the key-value stores that a function is granted, in the transaction of its
//! invocation.
//!
//! On the lean path, for events and for calls, the transaction is that of the invocation, and its
//! caller commits it after the guest's answer. On the portable path the host cannot tell when an
//! answer is complete, so each call has a transaction of its own.

use std::{sync::Arc, time::Duration};

use lacewing_base::{Access, KvGrant, KvStore};
use lacewing_store::{
    CommitError, EffectLimits, StoreError, TenantState, Transaction,
    kv::{Condition, KvError, MAX_KEYS, Version},
};
use wasmtime::{
    Result,
    component::{HasData, Linker},
};

use super::{
    extension::{Capability, Opening, StoreData},
    interfaces::Versions,
    stdio::Log,
};
use bindings::lacewing::state::{
    kv::{self, Entry, Error, Page},
    transaction,
};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../../guest-sdk/wit/deps/lacewing-state.wit",
        world: "state-client",
        imports: { default: async | trappable },
    });
}

/// The state of a tenant, and what a revision may do with it.
pub struct StateSettings {
    /// The tenant's.
    pub state: Arc<dyn TenantState>,
    /// The stores.
    pub grants: Vec<KvGrant>,
}

/// Attempts of one call on the portable path. Another invocation may change the entry each time.
const ATTEMPTS: u32 = 16;

/// The stores of one invocation.
pub(crate) struct KeyValue {
    state: Option<Arc<dyn TenantState>>,
    grants: Vec<KvGrant>,
    limits: EffectLimits,
    /// The transaction of the invocation; `None` on the portable path.
    transaction: Option<Transaction>,
    log: Log,
}

impl KeyValue {
    /// The transaction of the invocation, for its commit.
    pub(crate) fn take_transaction(&mut self) -> Option<Transaction> {
        self.transaction.take()
    }

    /// The store of a name, for reading or for writing.
    fn store(&self, name: &str, access: Access) -> Result<Arc<KvStore>, Error> {
        let Some(grant) = self.grants.iter().find(|grant| *grant.name == *name) else {
            let known: Vec<&str> = self.grants.iter().map(|grant| &*grant.name).collect();
            let known = match known.is_empty() {
                true => "the manifest grants no kv store to the function".to_owned(),
                false => format!("it may use {}", known.join(", ")),
            };
            let text = format!("the kv store {name:?} is not granted: {known}");
            return Err(self.refused(Error::NotGranted, text));
        };
        if grant.access < access {
            let text = format!(
                "the grant for the kv store `{name}` is `{}`, and this call needs `{access}`",
                grant.access
            );
            return Err(self.refused(Error::ReadOnly, text));
        }
        Ok(grant.store.clone())
    }

    /// An error that the function's developer has to mend, which the log shows as well.
    fn refused(&self, error: impl FnOnce(String) -> Error, text: String) -> Error {
        self.log.now().note(&text);
        error(text)
    }

    /// Does a step in the transaction of the invocation, or in one of its own that is committed at
    /// once.
    async fn step<T>(
        &mut self,
        mut step: impl FnMut(&mut Transaction) -> Result<T, KvError>,
    ) -> Result<T, Error> {
        if let Some(transaction) = &mut self.transaction {
            return step(transaction).map_err(error);
        }
        let Some(state) = &self.state else {
            return Err(Error::Unavailable("the invocation is over".to_owned()));
        };
        for _ in 0..ATTEMPTS {
            let mut transaction = Transaction::new(state.clone(), self.limits);
            let done = step(&mut transaction).map_err(error)?;
            let Some((state, changes)) = transaction.into_changes() else { return Ok(done) };
            match state.commit(changes).await {
                Ok(_) => return Ok(done),
                Err(CommitError::Conflict { .. }) => {}
                Err(over @ CommitError::OverQuota { .. }) => {
                    return Err(Error::Limit(over.to_string()));
                }
                Err(CommitError::Store(store)) => return Err(unavailable(&store)),
            }
        }
        let text = format!("other invocations changed the entry {ATTEMPTS} times");
        Err(Error::Conflict(text))
    }
}

fn error(error: KvError) -> Error {
    let text = error.to_string();
    match error {
        KvError::KeySize { .. } | KvError::NotANumber | KvError::Overflow => Error::Invalid(text),
        KvError::ValueSize { .. }
        | KvError::TooManyKeys { .. }
        | KvError::TooManyEffects { .. }
        | KvError::EffectBytes { .. }
        | KvError::TooManyReads => Error::Limit(text),
        KvError::Store(store) => unavailable(&store),
    }
}

/// The error of the store, without what only the operator may know.
fn unavailable(error: &StoreError) -> Error {
    tracing::warn!(%error, "state is unavailable");
    Error::Unavailable(match error {
        StoreError::DiskFull | StoreError::TooManySnapshots { .. } => error.to_string(),
        StoreError::ReadOnly(_)
        | StoreError::Damaged(_)
        | StoreError::NewerSchema { .. }
        | StoreError::Failed(_) => "the state of the tenant cannot be used now".to_owned(),
    })
}

impl Capability for KeyValue {
    const PACKAGES: &'static [Versions] = &[("lacewing:state", &["0.1"])];

    const PER_INVOCATION: bool = true;

    fn why_not_during_init(_: &str) -> &'static str {
        "state belongs to invocations"
    }

    const SHOWS_PROGRESS: bool = true;

    fn open(opening: Opening<'_>) -> KeyValue {
        let limits = &opening.limits;
        let limits = EffectLimits { count: limits.effects, bytes: limits.effect_bytes };
        let settings = opening.settings.state.as_ref().filter(|_| !opening.is_over);
        let state = settings.map(|settings| settings.state.clone());
        KeyValue {
            grants: settings.map(|settings| settings.grants.clone()).unwrap_or_default(),
            transaction: state
                .clone()
                .filter(|_| opening.is_transactional)
                .map(|state| Transaction::new(state, limits)),
            state,
            limits,
            log: opening.log,
        }
    }

    fn link<T: StoreData>(linker: &mut Linker<T>, _tasks: bool) -> Result<()> {
        kv::add_to_linker::<T, HasKeyValue>(linker, |data| data.capability::<KeyValue>().0)?;
        transaction::add_to_linker::<T, HasKeyValue>(linker, |data| data.capability::<KeyValue>().0)
    }
}

/// Says that a store has a [`KeyValue`].
struct HasKeyValue;

impl HasData for HasKeyValue {
    type Data<'a> = &'a mut KeyValue;
}

impl kv::Host for KeyValue {
    async fn get(&mut self, store: String, key: String) -> Result<Result<Option<Entry>, Error>> {
        let store = match self.store(&store, Access::Read) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        Ok(self.step(|transaction| Ok(transaction.get(&store, &key)?.map(entry))).await)
    }

    async fn get_many(
        &mut self,
        store: String,
        keys: Vec<String>,
    ) -> Result<Result<Vec<Option<Entry>>, Error>> {
        let store = match self.store(&store, Access::Read) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        let get_all = |transaction: &mut Transaction| {
            if keys.len() > MAX_KEYS {
                return Err(KvError::TooManyKeys { keys: keys.len() });
            }
            keys.iter().map(|key| Ok(transaction.get(&store, key)?.map(entry))).collect()
        };
        Ok(self.step(get_all).await)
    }

    async fn set(
        &mut self,
        store: String,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
        condition: kv::Condition,
    ) -> Result<Result<bool, Error>> {
        let store = match self.store(&store, Access::ReadWrite) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        let (ttl, condition) = (ttl_ms.map(Duration::from_millis), condition.into());
        Ok(self
            .step(|transaction| transaction.set(&store, &key, value.clone(), ttl, condition))
            .await)
    }

    async fn delete(
        &mut self,
        store: String,
        key: String,
        condition: kv::Condition,
    ) -> Result<Result<bool, Error>> {
        let store = match self.store(&store, Access::ReadWrite) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        let condition = condition.into();
        Ok(self.step(|transaction| transaction.delete(&store, &key, condition)).await)
    }

    async fn increment(
        &mut self,
        store: String,
        key: String,
        delta: i64,
    ) -> Result<Result<i64, Error>> {
        let store = match self.store(&store, Access::ReadWrite) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        Ok(self.step(|transaction| transaction.increment(&store, &key, delta)).await)
    }

    async fn list(
        &mut self,
        store: String,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Result<Page, Error>> {
        let store = match self.store(&store, Access::Read) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        let list = |transaction: &mut Transaction| {
            let page = transaction.list(&store, &prefix, after.as_deref(), limit as usize)?;
            Ok(Page { keys: page.keys, next: page.next })
        };
        Ok(self.step(list).await)
    }
}

impl transaction::Host for KeyValue {
    async fn discard(&mut self) -> Result<()> {
        if let Some(transaction) = &mut self.transaction {
            transaction.discard();
        }
        Ok(())
    }
}

fn entry(entry: lacewing_store::kv::Entry) -> Entry {
    Entry { value: entry.value, version: entry.version.0 }
}

impl From<kv::Condition> for Condition {
    fn from(condition: kv::Condition) -> Condition {
        match condition {
            kv::Condition::Any => Condition::Any,
            kv::Condition::Absent => Condition::Absent,
            kv::Condition::Version(version) => Condition::Version(Version(version)),
        }
    }
}
