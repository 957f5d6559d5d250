//! The calls that the interfaces of WASI and Spin share. Each interface has traits and an error of
//! its own, so the calls are macros.

use lacewing_base::Access;
use wasmtime::{Result, component::Resource};

use super::{Bucket, Failure, Stores};

impl Stores<'_> {
    /// Opens a store that the function may read.
    pub(super) fn open_bucket(
        &mut self,
        name: String,
    ) -> Result<Result<Resource<Bucket>, Failure>> {
        match self.stores.store(&name, Access::Read) {
            Ok(_) => Ok(Ok(self.table.push(Bucket { name })?)),
            Err(failure) => Ok(Err(failure)),
        }
    }
}

/// The calls on one key of a bucket, and the end of its handle.
macro_rules! bucket_calls {
    () => {
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

        async fn delete(
            &mut self,
            bucket: Resource<Bucket>,
            key: String,
        ) -> Result<Result<(), Error>> {
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

        async fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
            self.table.delete(bucket)?;
            Ok(())
        }
    };
}

/// The calls that write many keys of a bucket.
macro_rules! batch_writes {
    () => {
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
    };
}

/// The error of an interface that tells two kinds of failure apart.
macro_rules! store_error {
    () => {
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
    };
}

pub(super) use {batch_writes, bucket_calls, store_error};
