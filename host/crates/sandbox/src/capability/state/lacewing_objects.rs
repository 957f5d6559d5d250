//! lacewing:state/objects, the interface of the SDK.

use lacewing_store::{
    kv::Version,
    object::{Attributes, ByteRange, Object},
};
use wasmtime::{
    Result,
    component::{Linker, Resource},
};

use super::{
    HasStores, StoreData, Stores,
    lacewing::bindings::lacewing::state::{
        kv::{Condition, Error},
        objects::{self, Page},
    },
    objects::{Reader, Writer},
    stores,
};

pub(super) fn link<T: StoreData>(linker: &mut Linker<T>) -> Result<()> {
    objects::add_to_linker::<T, HasStores>(linker, stores)
}

/// An object that a guest has opened, and its body.
type Opened = Option<(objects::Object, Resource<Reader>)>;

impl objects::Host for Stores<'_> {
    async fn head(
        &mut self,
        bucket: String,
        key: String,
    ) -> Result<Result<Option<objects::Object>, Error>> {
        let found = self.stores.head(&bucket, &key).await;
        let found = found.map(|found| found.map(|(object, version)| told(key, object, version)));
        Ok(found.map_err(Error::from))
    }

    async fn get(
        &mut self,
        bucket: String,
        key: String,
        range: objects::ByteRange,
    ) -> Result<Result<Opened, Error>> {
        match self.stores.open_object(&bucket, &key, range.into()).await {
            Ok(None) => Ok(Ok(None)),
            Ok(Some((object, version, reader))) => {
                let reader = self.table.push(reader)?;
                Ok(Ok(Some((told(key, object, version), reader))))
            }
            Err(failure) => Ok(Err(failure.into())),
        }
    }

    async fn create(&mut self, bucket: String) -> Result<Result<Resource<Writer>, Error>> {
        match self.stores.create(&bucket) {
            Ok(writer) => Ok(Ok(self.table.push(writer)?)),
            Err(failure) => Ok(Err(failure.into())),
        }
    }

    async fn put(
        &mut self,
        bucket: String,
        key: String,
        body: Resource<Writer>,
        attributes: objects::Attributes,
        condition: Condition,
    ) -> Result<Result<bool, Error>> {
        let body = self.table.delete(body)?;
        let put = self.stores.put_object(&bucket, &key, body, attributes.into(), condition.into());
        Ok(put.await.map_err(Error::from))
    }

    async fn delete(
        &mut self,
        bucket: String,
        key: String,
        condition: Condition,
    ) -> Result<Result<bool, Error>> {
        let deleted = self.stores.delete_object(&bucket, &key, condition.into()).await;
        Ok(deleted.map_err(Error::from))
    }

    async fn copy(
        &mut self,
        from: String,
        from_key: String,
        to: String,
        to_key: String,
    ) -> Result<Result<bool, Error>> {
        let copied = self.stores.copy_object((&from, &from_key), (&to, &to_key)).await;
        Ok(copied.map_err(Error::from))
    }

    async fn list(
        &mut self,
        bucket: String,
        prefix: String,
        delimiter: Option<String>,
        after: Option<String>,
        limit: u32,
    ) -> Result<Result<Page, Error>> {
        let (delimiter, after) = (delimiter.as_deref(), after.as_deref());
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = self.stores.list_objects(&bucket, &prefix, delimiter, after, limit).await;
        let page = page.map(|page| Page {
            objects: page
                .objects
                .into_iter()
                .map(|listed| told(listed.key, listed.object, listed.version))
                .collect(),
            prefixes: page.prefixes,
            next: page.next,
        });
        Ok(page.map_err(Error::from))
    }
}

impl objects::HostReader for Stores<'_> {
    async fn read(
        &mut self,
        reader: Resource<Reader>,
        limit: u32,
    ) -> Result<Result<Vec<u8>, Error>> {
        let read = self.table.get_mut(&reader)?.read(limit).await;
        Ok(read.map(Vec::from).map_err(Error::from))
    }

    async fn drop(&mut self, reader: Resource<Reader>) -> Result<()> {
        self.table.delete(reader)?;
        Ok(())
    }
}

impl objects::HostWriter for Stores<'_> {
    async fn write(
        &mut self,
        writer: Resource<Writer>,
        bytes: Vec<u8>,
    ) -> Result<Result<(), Error>> {
        let written = self.table.get_mut(&writer)?.write(bytes.into()).await;
        Ok(written.map_err(Error::from))
    }

    async fn drop(&mut self, writer: Resource<Writer>) -> Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}

/// An object, as a guest sees it.
fn told(key: String, object: Object, Version(version): Version) -> objects::Object {
    let Attributes { content_type, metadata, .. } = object.attributes;
    objects::Object {
        key,
        size: object.bytes,
        etag: object.etag,
        modified_ms: u64::try_from(object.modified_ms).unwrap_or_default(),
        version,
        attributes: objects::Attributes { content_type, metadata: metadata.into_iter().collect() },
    }
}

impl From<objects::Attributes> for Attributes {
    fn from(attributes: objects::Attributes) -> Attributes {
        let objects::Attributes { content_type, metadata } = attributes;
        let metadata = metadata.into_iter().collect();
        Attributes { content_type, metadata, ..Attributes::default() }
    }
}

impl From<objects::ByteRange> for ByteRange {
    fn from(range: objects::ByteRange) -> ByteRange {
        match range {
            objects::ByteRange::From(first) => ByteRange::From(first),
            objects::ByteRange::Between((first, last)) => ByteRange::Between(first, last),
            objects::ByteRange::Last(bytes) => ByteRange::Last(bytes),
        }
    }
}
