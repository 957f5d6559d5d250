//! wasi:blobstore in its draft 0.2.0-draft, which wasmCloud has. A container is a bucket.
//!
//! The manifest declares buckets, so a guest neither makes nor deletes one.

use lacewing_base::Access;
use lacewing_store::{
    kv::{Condition, MAX_GET_BYTES, MAX_KEYS},
    object::{Attributes, ByteRange, Object, ObjectWriter},
};
use wasmtime::{
    Result,
    component::{Linker, Resource},
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use super::{
    Failure, HasStores, StoreData, Stores,
    objects::{Reader, Writer},
    stores,
    streams::{ObjectInput, ObjectOutput, SharedBody},
};
use bindings::wasi::blobstore::{
    blobstore::{self, ObjectId},
    container::{self, ContainerMetadata, ObjectMetadata},
    types,
};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/blobstore.wit",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:blobstore/types.outgoing-value": super::OutgoingValue,
            "wasi:blobstore/types.incoming-value": super::IncomingValue,
            "wasi:blobstore/container.container": super::Container,
            "wasi:blobstore/container.stream-object-names": super::ObjectNames,
        },
    });
}

/// A bucket that a guest has opened, behind a handle.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Debug)]
pub struct Container {
    name: String,
}

/// A body that a guest writes, and the object that is to have it.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OutgoingValue {
    body: SharedBody,
    has_stream: bool,
    object: Option<(String, String)>,
}

/// A body that a guest may read.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Debug)]
pub struct IncomingValue {
    reader: Reader,
    size: u64,
}

/// The names of a bucket's objects.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Debug)]
pub struct ObjectNames {
    bucket: String,
    after: Option<String>,
    listed: std::collections::VecDeque<String>,
    is_whole: bool,
}

/// The answer of a call of this interface.
type Answer<T> = Result<Result<T, String>>;

pub(super) fn link<T: StoreData>(linker: &mut Linker<T>) -> Result<()> {
    types::add_to_linker::<T, HasStores>(linker, stores)?;
    container::add_to_linker::<T, HasStores>(linker, stores)?;
    blobstore::add_to_linker::<T, HasStores>(linker, stores)
}

fn told<T>(answer: Result<T, Failure>) -> Result<T, String> {
    answer.map_err(|failure| failure.text)
}

fn metadata(container: String, name: String, object: &Object) -> ObjectMetadata {
    let created_at = u64::try_from(object.modified_ms).unwrap_or_default() / 1000;
    ObjectMetadata { name, container, created_at, size: object.bytes }
}

impl blobstore::Host for Stores<'_> {
    async fn create_container(&mut self, name: String) -> Answer<Resource<Container>> {
        self.get_container(name).await
    }

    async fn get_container(&mut self, name: String) -> Answer<Resource<Container>> {
        match self.stores.bucket(&name, Access::Read) {
            Ok(_) => Ok(Ok(self.table.push(Container { name })?)),
            Err(failure) => Ok(Err(failure.text)),
        }
    }

    async fn delete_container(&mut self, name: String) -> Answer<()> {
        Ok(Err(format!(
            "the manifest declares the bucket `{name}`, so a function cannot delete it"
        )))
    }

    async fn container_exists(&mut self, name: String) -> Answer<bool> {
        Ok(Ok(self.stores.has_bucket(&name)))
    }

    async fn copy_object(&mut self, from: ObjectId, to: ObjectId) -> Answer<()> {
        let (from, to) = ((&*from.container, &*from.object), (&*to.container, &*to.object));
        match told(self.stores.copy_object(from, to).await) {
            Ok(true) => Ok(Ok(())),
            Ok(false) => Ok(Err(no_object(from.1, from.0))),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn move_object(&mut self, from: ObjectId, to: ObjectId) -> Answer<()> {
        let (from, to) = ((&*from.container, &*from.object), (&*to.container, &*to.object));
        match told(self.stores.move_object(from, to).await) {
            Ok(true) => Ok(Ok(())),
            Ok(false) => Ok(Err(no_object(from.1, from.0))),
            Err(error) => Ok(Err(error)),
        }
    }
}

fn no_object(name: &str, bucket: &str) -> String {
    format!("the bucket `{bucket}` has no object {name:?}")
}

impl container::Host for Stores<'_> {}

impl Stores<'_> {
    fn name_of(&self, container: &Resource<Container>) -> Result<String> {
        Ok(self.table.get(container)?.name.clone())
    }
}

impl container::HostContainer for Stores<'_> {
    async fn name(&mut self, container: Resource<Container>) -> Answer<String> {
        Ok(Ok(self.name_of(&container)?))
    }

    async fn info(&mut self, container: Resource<Container>) -> Answer<ContainerMetadata> {
        // Nothing notes when a manifest declared a bucket first.
        Ok(Ok(ContainerMetadata { name: self.name_of(&container)?, created_at: 0 }))
    }

    async fn get_data(
        &mut self,
        container: Resource<Container>,
        name: String,
        start: u64,
        end: u64,
    ) -> Answer<Resource<IncomingValue>> {
        let bucket = self.name_of(&container)?;
        let range = ByteRange::Between(start, end);
        match told(self.stores.open_object(&bucket, &name, range).await) {
            Ok(Some((object, _, reader))) => {
                let size = range.of(object.bytes).map_or(0, |(_, bytes)| bytes);
                Ok(Ok(self.table.push(IncomingValue { reader, size })?))
            }
            Ok(None) => Ok(Err(no_object(&name, &bucket))),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn write_data(
        &mut self,
        container: Resource<Container>,
        name: String,
        data: Resource<OutgoingValue>,
    ) -> Answer<()> {
        let bucket = self.name_of(&container)?;
        if let Err(failure) = self.stores.bucket(&bucket, Access::ReadWrite) {
            return Ok(Err(failure.text));
        }
        self.table.get_mut(&data)?.object = Some((bucket, name));
        Ok(Ok(()))
    }

    async fn list_objects(
        &mut self,
        container: Resource<Container>,
    ) -> Answer<Resource<ObjectNames>> {
        let bucket = self.name_of(&container)?;
        let names =
            ObjectNames { bucket, after: None, listed: Default::default(), is_whole: false };
        Ok(Ok(self.table.push(names)?))
    }

    async fn delete_object(&mut self, container: Resource<Container>, name: String) -> Answer<()> {
        self.delete_objects(container, vec![name]).await
    }

    async fn delete_objects(
        &mut self,
        container: Resource<Container>,
        names: Vec<String>,
    ) -> Answer<()> {
        let bucket = self.name_of(&container)?;
        Ok(told(self.stores.delete_objects(&bucket, &names).await))
    }

    async fn has_object(&mut self, container: Resource<Container>, name: String) -> Answer<bool> {
        let bucket = self.name_of(&container)?;
        let found = self.stores.head(&bucket, &name).await;
        Ok(told(found.map(|found| found.is_some())))
    }

    async fn object_info(
        &mut self,
        container: Resource<Container>,
        name: String,
    ) -> Answer<ObjectMetadata> {
        let bucket = self.name_of(&container)?;
        match told(self.stores.head(&bucket, &name).await) {
            Ok(Some((object, _))) => Ok(Ok(metadata(bucket, name, &object))),
            Ok(None) => Ok(Err(no_object(&name, &bucket))),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn clear(&mut self, container: Resource<Container>) -> Answer<()> {
        let bucket = self.name_of(&container)?;
        loop {
            let page = self.stores.list_objects(&bucket, "", None, None, MAX_KEYS).await;
            let page = match told(page) {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            let names: Vec<String> = page.objects.into_iter().map(|listed| listed.key).collect();
            if names.is_empty() {
                return Ok(Ok(()));
            }
            if let Err(failure) = self.stores.delete_objects(&bucket, &names).await {
                return Ok(Err(failure.text));
            }
        }
    }

    async fn drop(&mut self, container: Resource<Container>) -> Result<()> {
        self.table.delete(container)?;
        Ok(())
    }
}

impl Stores<'_> {
    /// Takes up to `limit` names, and says whether there are none left.
    async fn next_names(
        &mut self,
        names: &Resource<ObjectNames>,
        limit: u64,
    ) -> Answer<(Vec<String>, bool)> {
        let names = self.table.get_mut(names)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(MAX_KEYS);
        if names.listed.is_empty() && !names.is_whole {
            let after = names.after.as_deref();
            let page = self.stores.list_objects(&names.bucket, "", None, after, MAX_KEYS).await;
            let page = match told(page) {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            names.is_whole = page.next.is_none();
            names.after = page.next;
            names.listed = page.objects.into_iter().map(|listed| listed.key).collect();
        }
        let taken = names.listed.drain(..limit.min(names.listed.len())).collect();
        Ok(Ok((taken, names.is_whole && names.listed.is_empty())))
    }
}

impl container::HostStreamObjectNames for Stores<'_> {
    async fn read_stream_object_names(
        &mut self,
        names: Resource<ObjectNames>,
        len: u64,
    ) -> Answer<(Vec<String>, bool)> {
        self.next_names(&names, len).await
    }

    async fn skip_stream_object_names(
        &mut self,
        names: Resource<ObjectNames>,
        num: u64,
    ) -> Answer<(u64, bool)> {
        let skipped = self.next_names(&names, num).await?;
        Ok(skipped.map(|(names, is_end)| (names.len() as u64, is_end)))
    }

    async fn drop(&mut self, names: Resource<ObjectNames>) -> Result<()> {
        self.table.delete(names)?;
        Ok(())
    }
}

impl types::Host for Stores<'_> {}

impl types::HostOutgoingValue for Stores<'_> {
    async fn new_outgoing_value(&mut self) -> Result<Resource<OutgoingValue>> {
        // The bound of a bucket's objects is checked with the bucket; that of the tenant is now.
        let state = self.stores.state.clone().ok_or_else(|| {
            wasmtime::Error::msg("the function is granted no bucket, so it has no outgoing value")
        })?;
        let body = SharedBody::new(ObjectWriter::new(state, u64::MAX));
        Ok(self.table.push(OutgoingValue { body, has_stream: false, object: None })?)
    }

    async fn outgoing_value_write_body(
        &mut self,
        value: Resource<OutgoingValue>,
    ) -> Result<Result<Resource<DynOutputStream>, ()>> {
        let value = self.table.get_mut(&value)?;
        if std::mem::replace(&mut value.has_stream, true) {
            return Ok(Err(()));
        }
        let stream: DynOutputStream = Box::new(ObjectOutput(value.body.clone()));
        Ok(Ok(self.table.push(stream)?))
    }

    async fn finish(&mut self, value: Resource<OutgoingValue>) -> Answer<()> {
        let OutgoingValue { body, object, .. } = self.table.delete(value)?;
        let writer = match body.finish().await {
            Ok(writer) => writer,
            Err(error) => return Ok(Err(Failure::from(error).text)),
        };
        let (Some(writer), Some((bucket, key))) = (writer, object) else { return Ok(Ok(())) };
        let (body, attributes) = (Writer::new(writer), Attributes::default());
        let put = self.stores.put_object(&bucket, &key, body, attributes, Condition::Any).await;
        Ok(told(put.map(drop)))
    }

    async fn drop(&mut self, value: Resource<OutgoingValue>) -> Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}

impl types::HostIncomingValue for Stores<'_> {
    async fn incoming_value_consume_sync(
        &mut self,
        value: Resource<IncomingValue>,
    ) -> Answer<Vec<u8>> {
        let IncomingValue { mut reader, size } = self.table.delete(value)?;
        if size > MAX_GET_BYTES as u64 {
            let limit_mib = MAX_GET_BYTES >> 20;
            let text = format!("the value has {size} bytes: read over {limit_mib} MiB as a stream");
            return Ok(Err(text));
        }
        let mut all = Vec::new();
        loop {
            match told(reader.read(u32::MAX).await) {
                Ok(bytes) if bytes.is_empty() => return Ok(Ok(all)),
                Ok(bytes) => all.extend_from_slice(&bytes),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    async fn incoming_value_consume_async(
        &mut self,
        value: Resource<IncomingValue>,
    ) -> Answer<Resource<DynInputStream>> {
        let IncomingValue { reader, .. } = self.table.delete(value)?;
        let stream: DynInputStream = Box::new(ObjectInput::new(reader.into_reader()));
        Ok(Ok(self.table.push(stream)?))
    }

    async fn size(&mut self, value: Resource<IncomingValue>) -> Result<u64> {
        Ok(self.table.get(&value)?.size)
    }

    async fn drop(&mut self, value: Resource<IncomingValue>) -> Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}
