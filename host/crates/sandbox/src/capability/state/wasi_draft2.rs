//! wasi:keyvalue in its draft 0.2.0-draft2, which Spin has.

use lacewing_store::kv::{Condition, Entry, MAX_KEYS};
use wasmtime::{
    Result,
    component::{Linker, Resource},
};

use super::{
    Bucket, Failure, FailureKind, HasStores, StoreData, Stores,
    dialect::{batch_writes, bucket_calls, store_error},
    stores,
};
use bindings::wasi::keyvalue::{
    atomics::{self, CasError},
    batch,
    store::{self, Error, KeyResponse},
};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue-draft2.wit",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": super::super::Bucket,
            "wasi:keyvalue/atomics.cas": super::Cas,
        },
    });
}

/// An entry as a guest saw it, for a later swap.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Debug)]
pub struct Cas {
    store: String,
    key: String,
    seen: Option<Entry>,
}

pub(super) fn link<T: StoreData>(linker: &mut Linker<T>) -> Result<()> {
    store::add_to_linker::<T, HasStores>(linker, stores)?;
    atomics::add_to_linker::<T, HasStores>(linker, stores)?;
    batch::add_to_linker::<T, HasStores>(linker, stores)
}

impl store::Host for Stores<'_> {
    async fn open(&mut self, identifier: String) -> Result<Result<Resource<Bucket>, Error>> {
        Ok(self.open_bucket(identifier)?.map_err(Error::from))
    }
}

impl store::HostBucket for Stores<'_> {
    bucket_calls!();

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<String>,
    ) -> Result<Result<KeyResponse, Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        let page = self.stores.list(name, "", cursor.as_deref(), MAX_KEYS).await;
        Ok(page.map(|page| KeyResponse { keys: page.keys, cursor: page.next }).map_err(Error::from))
    }
}

impl Stores<'_> {
    async fn look(&mut self, store: String, key: String) -> Result<Result<Resource<Cas>, Error>> {
        match self.stores.get(&store, &key).await {
            Ok(seen) => Ok(Ok(self.table.push(Cas { store, key, seen })?)),
            Err(failure) => Ok(Err(failure.into())),
        }
    }
}

impl atomics::HostCas for Stores<'_> {
    async fn new(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Result<Resource<Cas>, Error>> {
        let name = self.table.get(&bucket)?.name.clone();
        self.look(name, key).await
    }

    async fn current(&mut self, cas: Resource<Cas>) -> Result<Result<Option<Vec<u8>>, Error>> {
        let seen = &self.table.get(&cas)?.seen;
        Ok(Ok(seen.as_ref().map(|entry| entry.value.clone())))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}

impl atomics::Host for Stores<'_> {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: i64,
    ) -> Result<Result<i64, Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        Ok(self.stores.increment(name, &key, delta).await.map_err(Error::from))
    }

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> Result<Result<(), CasError>> {
        let Cas { store, key, seen } = self.table.delete(cas)?;
        let condition = seen.map_or(Condition::Absent, |entry| Condition::Version(entry.version));
        match self.stores.set(&store, &key, value, None, condition).await {
            Ok(true) => Ok(Ok(())),
            Ok(false) => Ok(Err(match self.look(store, key).await? {
                Ok(cas) => CasError::CasFailed(cas),
                Err(error) => CasError::StoreError(error),
            })),
            Err(failure) => Ok(Err(CasError::StoreError(failure.into()))),
        }
    }
}

impl batch::Host for Stores<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Result<Vec<(String, Option<Vec<u8>>)>, Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        let found = match self.stores.get_many(name, &keys).await {
            Ok(found) => found,
            Err(failure) => return Ok(Err(failure.into())),
        };
        let pairs = keys.into_iter().zip(found);
        Ok(Ok(pairs.map(|(key, found)| (key, found.map(|entry| entry.value))).collect()))
    }

    batch_writes!();
}

store_error!();
