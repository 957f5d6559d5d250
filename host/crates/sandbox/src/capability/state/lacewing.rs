//! lacewing:state, the interface of the SDK.

use std::time::Duration;

use lacewing_store::kv::{Condition, Version};
use wasmtime::{Result, component::Linker};

use super::{Failure, FailureKind, HasStores, StoreData, Stores, stores};
use bindings::lacewing::state::{
    kv::{self, Entry, Error, Page},
    transaction,
};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub(super) mod bindings {
    wasmtime::component::bindgen!({
        path: "../../../guest-sdk/wit/deps/lacewing-state.wit",
        world: "state-client",
        imports: { default: async | trappable },
        with: {
            "lacewing:state/objects.reader": super::super::objects::Reader,
            "lacewing:state/objects.writer": super::super::objects::Writer,
        },
    });
}

pub(super) fn link<T: StoreData>(linker: &mut Linker<T>) -> Result<()> {
    kv::add_to_linker::<T, HasStores>(linker, stores)?;
    transaction::add_to_linker::<T, HasStores>(linker, stores)
}

impl kv::Host for Stores<'_> {
    async fn get(&mut self, store: String, key: String) -> Result<Result<Option<Entry>, Error>> {
        let found = self.stores.get(&store, &key).await;
        Ok(found.map(|found| found.map(entry)).map_err(Error::from))
    }

    async fn get_many(
        &mut self,
        store: String,
        keys: Vec<String>,
    ) -> Result<Result<Vec<Option<Entry>>, Error>> {
        let found = self.stores.get_many(&store, &keys).await;
        let entries = |found: Vec<Option<_>>| found.into_iter().map(|one| one.map(entry)).collect();
        Ok(found.map(entries).map_err(Error::from))
    }

    async fn set(
        &mut self,
        store: String,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
        condition: kv::Condition,
    ) -> Result<Result<bool, Error>> {
        let ttl = ttl_ms.map(Duration::from_millis);
        let set = self.stores.set(&store, &key, value, ttl, condition.into()).await;
        Ok(set.map_err(Error::from))
    }

    async fn delete(
        &mut self,
        store: String,
        key: String,
        condition: kv::Condition,
    ) -> Result<Result<bool, Error>> {
        Ok(self.stores.delete(&store, &key, condition.into()).await.map_err(Error::from))
    }

    async fn increment(
        &mut self,
        store: String,
        key: String,
        delta: i64,
    ) -> Result<Result<i64, Error>> {
        Ok(self.stores.increment(&store, &key, delta).await.map_err(Error::from))
    }

    async fn list(
        &mut self,
        store: String,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Result<Page, Error>> {
        let page = self.stores.list(&store, &prefix, after.as_deref(), limit as usize).await;
        Ok(page.map(|page| Page { keys: page.keys, next: page.next }).map_err(Error::from))
    }
}

impl transaction::Host for Stores<'_> {
    async fn discard(&mut self) -> Result<()> {
        if let Some(transaction) = &mut self.stores.transaction {
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

impl From<Failure> for Error {
    fn from(Failure { kind, text }: Failure) -> Error {
        match kind {
            FailureKind::NotGranted => Error::NotGranted(text),
            FailureKind::ReadOnly => Error::ReadOnly(text),
            FailureKind::Invalid => Error::Invalid(text),
            FailureKind::Limit => Error::Limit(text),
            FailureKind::Conflict => Error::Conflict(text),
            FailureKind::Unavailable => Error::Unavailable(text),
        }
    }
}
