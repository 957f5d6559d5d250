//! wasi:keyvalue in its draft 0.2.0-draft, which wasmCloud has.

use lacewing_store::kv::{Condition, MAX_KEYS};
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
    atomics, batch,
    store::{self, Error, KeyResponse},
};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue-draft.wit",
        world: "imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": super::super::Bucket },
    });
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

    /// A cursor is a number here. It is the place of a key among those that pages ended with.
    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> Result<Result<KeyResponse, Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        let after = match cursor {
            None => None,
            Some(cursor) => {
                let place = usize::try_from(cursor).unwrap_or(usize::MAX);
                match self.stores.cursors.get(place) {
                    Some(key) => Some(key.clone()),
                    None => return Ok(Err(Error::Other(format!("there is no cursor {cursor}")))),
                }
            }
        };
        let page = match self.stores.list(name, "", after.as_deref(), MAX_KEYS).await {
            Ok(page) => page,
            Err(failure) => return Ok(Err(failure.into())),
        };
        let cursor = page.next.map(|next| {
            self.stores.cursors.push(next);
            self.stores.cursors.len() as u64 - 1
        });
        Ok(Ok(KeyResponse { keys: page.keys, cursor }))
    }
}

impl atomics::Host for Stores<'_> {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> Result<Result<u64, Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        let Ok(delta) = i64::try_from(delta) else {
            return Ok(Err(Error::Other(format!("{delta} is over {}", i64::MAX))));
        };
        let sum = match self.stores.increment(name, &key, delta).await {
            Ok(sum) => sum,
            Err(failure) => return Ok(Err(failure.into())),
        };
        Ok(u64::try_from(sum).map_err(|_| Error::Other(format!("the number is {sum}, below 0"))))
    }
}

impl batch::Host for Stores<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Result<Vec<Option<(String, Vec<u8>)>>, Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        let found = match self.stores.get_many(name, &keys).await {
            Ok(found) => found,
            Err(failure) => return Ok(Err(failure.into())),
        };
        let pairs = keys.into_iter().zip(found);
        Ok(Ok(pairs.map(|(key, found)| found.map(|entry| (key, entry.value))).collect()))
    }

    batch_writes!();
}

store_error!();
