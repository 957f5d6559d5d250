//! fermyon:spin/key-value@2.0.0, the key-value store of Spin 2.

use lacewing_base::Access;
use lacewing_store::kv::{Condition, MAX_KEYS};
use wasmtime::{
    Result,
    component::{Linker, Resource},
};

use super::{Bucket, Failure, FailureKind, HasStores, StoreData, Stores, stores};
use bindings::fermyon::spin::key_value::{self, Error};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/spin.wit",
        world: "key-value-client",
        imports: { default: async | trappable },
        with: { "fermyon:spin/key-value.store": super::super::Bucket },
    });
}

/// The most keys that one call lists: it returns all at once, and nothing interrupts it.
const LISTED: usize = 10 * MAX_KEYS;

pub(super) fn link<T: StoreData>(linker: &mut Linker<T>) -> Result<()> {
    key_value::add_to_linker::<T, HasStores>(linker, stores)
}

impl key_value::Host for Stores<'_> {}

impl key_value::HostStore for Stores<'_> {
    async fn open(&mut self, label: String) -> Result<Result<Resource<Bucket>, Error>> {
        if let Err(failure) = self.stores.store(&label, Access::Read) {
            return Ok(Err(failure.into()));
        }
        Ok(Ok(self.table.push(Bucket { name: label })?))
    }

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

    async fn get_keys(&mut self, bucket: Resource<Bucket>) -> Result<Result<Vec<String>, Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let mut page = match self.stores.list(name, "", after.as_deref(), MAX_KEYS).await {
                Ok(page) => page,
                Err(failure) => return Ok(Err(failure.into())),
            };
            keys.append(&mut page.keys);
            after = page.next;
            if after.is_none() {
                return Ok(Ok(keys));
            }
            if keys.len() >= LISTED {
                let text = format!("the store has over {LISTED} keys, which one call cannot list");
                return Ok(Err(Error::Other(text)));
            }
        }
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
        self.table.delete(bucket)?;
        Ok(())
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
