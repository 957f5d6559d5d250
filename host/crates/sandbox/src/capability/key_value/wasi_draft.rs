//! wasi:keyvalue in its draft 0.2.0-draft, which wasmCloud has.

use lacewing_base::Access;
use lacewing_store::kv::{Condition, MAX_KEYS};
use wasmtime::{
    Result,
    component::{Linker, Resource},
};

use super::{Bucket, Failure, FailureKind, HasStores, StoreData, Stores, stores};
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
        if let Err(failure) = self.stores.store(&identifier, Access::Read) {
            return Ok(Err(failure.into()));
        }
        Ok(Ok(self.table.push(Bucket { name: identifier })?))
    }
}

impl store::HostBucket for Stores<'_> {
    async fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Result<Option<Vec<u8>>, Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        let found = self.stores.get(name, &key).await;
        Ok(found.map(|found| found.map(|entry| entry.value)).map_err(Error::from))
    }

    async fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> Result<Result<(), Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        let set = self.stores.set(name, &key, value, None, Condition::Any).await;
        Ok(set.map(drop).map_err(Error::from))
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Result<Result<(), Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        let deleted = self.stores.delete(name, &key, Condition::Any).await;
        Ok(deleted.map(drop).map_err(Error::from))
    }

    async fn exists(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Result<bool, Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        let found = self.stores.get(name, &key).await;
        Ok(found.map(|found| found.is_some()).map_err(Error::from))
    }

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

    async fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
        self.table.delete(bucket)?;
        Ok(())
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

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        entries: Vec<(String, Vec<u8>)>,
    ) -> Result<Result<(), Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        Ok(self.stores.set_many(name, &entries).await.map_err(Error::from))
    }

    async fn delete_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Result<(), Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        Ok(self.stores.delete_many(name, &keys).await.map_err(Error::from))
    }
}

impl From<Failure> for Error {
    fn from(Failure { kind, text }: Failure) -> Error {
        match kind {
            FailureKind::NotGranted => Error::NoSuchStore,
            FailureKind::ReadOnly => Error::AccessDenied,
            FailureKind::Invalid
            | FailureKind::Limit
            | FailureKind::Conflict
            | FailureKind::Unavailable => Error::Other(text),
        }
    }
}
