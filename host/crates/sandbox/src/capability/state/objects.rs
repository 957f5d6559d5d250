//! Objects of the buckets that a function is granted, in the transaction of its invocation.

use std::sync::Arc;

use bytes::Bytes;
use lacewing_base::{Access, Bucket};
use lacewing_store::{
    ObjectPage, Transaction,
    kv::{Condition, KvError, Version},
    object::{Attributes, ByteRange, Object, ObjectReader, ObjectWriter},
};

use super::{Failure, FailureKind, TransactionalState};

/// A body that a guest reads, behind a handle.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Debug)]
pub struct Reader(ObjectReader);

/// A body that a guest writes, behind a handle. `None` after an error: the body is not whole.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Debug)]
pub struct Writer(Option<ObjectWriter>);

impl Reader {
    pub(super) fn into_reader(self) -> ObjectReader {
        self.0
    }

    pub(super) async fn read(&mut self, limit: u32) -> Result<Bytes, Failure> {
        let read = self.0.next(usize::try_from(limit).unwrap_or(usize::MAX)).await;
        read.map_err(|error| Failure::from(&error))
    }
}

impl Writer {
    pub(super) fn new(writer: ObjectWriter) -> Writer {
        Writer(Some(writer))
    }

    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        let mut writer = self.0.take().ok_or_else(broken)?;
        writer.write(bytes).await?;
        self.0 = Some(writer);
        Ok(())
    }

    pub(super) fn into_whole(self) -> Result<ObjectWriter, Failure> {
        self.0.ok_or_else(broken)
    }
}

fn broken() -> Failure {
    let text = "an earlier write to the body failed".to_owned();
    Failure { kind: FailureKind::Invalid, text }
}

impl TransactionalState {
    /// The bucket of a name, for reading or for writing.
    pub(super) fn bucket(&self, name: &str, access: Access) -> Result<Arc<Bucket>, Failure> {
        let grants = self.buckets.as_deref().unwrap_or_default();
        let found = grants.iter().find(|grant| *grant.name == *name);
        let known = grants.iter().map(|grant| &*grant.name);
        self.check_grant("bucket", name, found.map(|grant| grant.access), access, known)?;
        Ok(found.expect("the line above checked it").bucket.clone())
    }

    /// Whether the function may use a bucket of this name.
    pub(super) fn has_bucket(&self, name: &str) -> bool {
        let grants = self.buckets.as_deref().unwrap_or_default();
        grants.iter().any(|grant| *grant.name == *name)
    }

    pub(super) async fn head(
        &mut self,
        bucket: &str,
        key: &str,
    ) -> Result<Option<(Object, Version)>, Failure> {
        let bucket = self.bucket(bucket, Access::Read)?;
        self.step(|transaction| transaction.object(&bucket, key)).await
    }

    pub(super) async fn open_object(
        &mut self,
        bucket: &str,
        key: &str,
        range: ByteRange,
    ) -> Result<Option<(Object, Version, Reader)>, Failure> {
        let bucket = self.bucket(bucket, Access::Read)?;
        let open = |transaction: &mut Transaction| {
            let Some((object, version)) = transaction.object(&bucket, key)? else {
                return Ok(None);
            };
            let reader = transaction.read_object(&bucket, key, &object, range)?;
            Ok(Some((object, version, Reader(reader))))
        };
        self.step(open).await
    }

    /// Begins a body for an object of a bucket.
    pub(super) fn create(&mut self, bucket: &str) -> Result<Writer, Failure> {
        let bucket = self.bucket(bucket, Access::ReadWrite)?;
        let state = self.state.clone().ok_or_else(super::over)?;
        Ok(Writer::new(ObjectWriter::new(state, bucket.max_object_bytes)))
    }

    pub(super) async fn put_object(
        &mut self,
        bucket: &str,
        key: &str,
        body: Writer,
        attributes: Attributes,
        condition: Condition,
    ) -> Result<bool, Failure> {
        let bucket = self.bucket(bucket, Access::ReadWrite)?;
        let body = body.into_whole()?.finish().await?;
        if body.bytes() > bucket.max_object_bytes {
            let limit_bytes = bucket.max_object_bytes;
            return Err(KvError::ObjectSize { limit_bytes }.into());
        }
        let put = |transaction: &mut Transaction| {
            let (body, attributes) = (body.clone(), attributes.clone());
            transaction.put_object(&bucket, key, body, attributes, condition)
        };
        Ok(self.step(put).await?.is_some())
    }

    pub(super) async fn delete_object(
        &mut self,
        bucket: &str,
        key: &str,
        condition: Condition,
    ) -> Result<bool, Failure> {
        let bucket = self.bucket(bucket, Access::ReadWrite)?;
        self.step(|transaction| transaction.delete_object(&bucket, key, condition)).await
    }

    pub(super) async fn copy_object(
        &mut self,
        (from, from_key): (&str, &str),
        (to, to_key): (&str, &str),
    ) -> Result<bool, Failure> {
        let from = self.bucket(from, Access::Read)?;
        let to = self.bucket(to, Access::ReadWrite)?;
        let copy = |transaction: &mut Transaction| {
            transaction.copy_object((&from, from_key), (&to, to_key), None)
        };
        Ok(self.step(copy).await?.is_some())
    }

    /// Copies an object, and deletes the original. Returns whether there is one.
    pub(super) async fn move_object(
        &mut self,
        (from, from_key): (&str, &str),
        (to, to_key): (&str, &str),
    ) -> Result<bool, Failure> {
        let from = self.bucket(from, Access::ReadWrite)?;
        let to = self.bucket(to, Access::ReadWrite)?;
        let is_other = (&from.name, from_key) != (&to.name, to_key);
        let move_it = |transaction: &mut Transaction| {
            let copied = transaction.copy_object((&from, from_key), (&to, to_key), None)?.is_some();
            if copied && is_other {
                transaction.delete_object(&from, from_key, Condition::Any)?;
            }
            Ok(copied)
        };
        self.step(move_it).await
    }

    pub(super) async fn delete_objects(
        &mut self,
        bucket: &str,
        keys: &[String],
    ) -> Result<(), Failure> {
        let bucket = self.bucket(bucket, Access::ReadWrite)?;
        let delete_all = |transaction: &mut Transaction| {
            keys.iter().try_for_each(|key| {
                transaction.delete_object(&bucket, key, Condition::Any).map(drop)
            })
        };
        self.step(delete_all).await
    }

    pub(super) async fn list_objects(
        &mut self,
        bucket: &str,
        prefix: &str,
        delimiter: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ObjectPage, Failure> {
        let bucket = self.bucket(bucket, Access::Read)?;
        let list = |transaction: &mut Transaction| {
            transaction.list_objects(&bucket, prefix, delimiter, after, limit)
        };
        self.step(list).await
    }
}
