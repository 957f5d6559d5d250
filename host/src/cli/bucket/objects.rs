//! The objects of one bucket, and the buckets of a tenant, in a directory or of a running host.

use std::{io::Read, sync::Arc};

use lacewing_base::{Bucket, name::TenantName};
use lacewing_control::{
    AdminClient, BucketError, BucketPage, ClientError, ObjectDocument, ObjectPage, TenantBuckets,
    next_of,
};
use lacewing_manifest::App;
use lacewing_store::{
    StateStore,
    embedded::EmbeddedStore,
    kv::{Condition, MAX_KEYS, check_key},
    object::{Attributes, ByteRange, MAX_OBJECT_KEY_BYTES, ObjectWriter},
};

use crate::cli::{
    Error,
    console::Console,
    opened::OpenState,
    place::{Place, PlaceArgs, commit, finished, state_of, transaction},
    tenant::{FoundTenant, full_name},
};

/// The bytes that one step reads.
const STEP: usize = 256 << 10;

/// A bucket whose state is open.
pub(super) struct OpenBucket {
    state: OpenState,
    tenant: TenantName,
    /// The buckets that the manifests of the tenant declare. None where a host knows them.
    declared: Vec<Arc<Bucket>>,
    /// As clients of S3 say it.
    name: String,
}

impl OpenBucket {
    /// Opens the state, and notes the name of a bucket in it.
    pub(super) fn open(
        place: &PlaceArgs,
        name: &str,
        console: &Console,
    ) -> Result<OpenBucket, Error> {
        let (found, name) = match place.find(console)? {
            Place::Remote(client, tenant) => {
                let (state, name) = (OpenState::Host(client), name.to_owned());
                return Ok(OpenBucket { state, tenant, declared: Vec::new(), name });
            }
            Place::App(found) => {
                let name = full_name(found.apps.first(), name);
                (found, name)
            }
            Place::Host(found) => (found, name.to_owned()),
        };
        let (state, declared) = (OpenState::open(&found.dir)?, declared(&found.apps));
        Ok(OpenBucket { state, tenant: found.name, declared, name })
    }

    /// Gives the objects whose keys begin with a prefix to `print`, page by page.
    pub(super) fn list(
        &self,
        prefix: &str,
        print: fn(&[ObjectDocument]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        type Pages<'a> = Box<dyn FnMut(Option<&str>) -> Result<ObjectPage, Error> + 'a>;
        let mut read: Pages<'_> = match &self.state {
            // Each page is of a moment.
            OpenState::Host(client) => {
                Box::new(|after| Ok(client.objects(self.names(), prefix, after)?))
            }
            // All pages are of one moment.
            OpenState::Directory(embedded) => {
                let bucket = self.known(embedded)?.find(&self.name)?;
                let mut transaction = transaction(embedded, &self.tenant);
                Box::new(move |after| {
                    let page = transaction.list_objects(&bucket, prefix, None, after, MAX_KEYS)?;
                    Ok(page.into())
                })
            }
        };
        let mut after: Option<String> = None;
        loop {
            let ObjectPage { objects, next } = read(after.as_deref())?;
            print(&objects)?;
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }

    /// Gives the body of an object to `take`, piece by piece. False: there is no object.
    pub(super) fn get(
        &self,
        key: &str,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let embedded = match &self.state {
            OpenState::Host(client) => return client.get_object(self.names(), key, take),
            OpenState::Directory(embedded) => embedded,
        };
        let bucket = self.known(embedded)?.find(&self.name)?;
        let mut transaction = transaction(embedded, &self.tenant);
        let Some((object, _)) = transaction.object(&bucket, key)? else { return Ok(false) };
        let mut reader = transaction.read_object(&bucket, key, &object, ByteRange::From(0))?;
        finished(async {
            loop {
                let bytes = reader.next(STEP).await?;
                if bytes.is_empty() {
                    return Ok(true);
                }
                take(&bytes)?;
            }
        })?
    }

    /// Sets an object with the bytes of a source.
    pub(super) fn put(
        &self,
        key: &str,
        content_type: Option<&str>,
        mut source: impl Read + Send + 'static,
    ) -> Result<(), Error> {
        let embedded = match &self.state {
            OpenState::Host(client) => {
                return Ok(client.put_object(self.names(), key, content_type, source)?);
            }
            OpenState::Directory(embedded) => embedded,
        };
        check_key(key, MAX_OBJECT_KEY_BYTES)?;
        let bucket = self.known(embedded)?.bounded(&self.name)?;
        let state = embedded.tenant(&self.tenant, u64::MAX);
        let mut writer = ObjectWriter::new(state, bucket.max_object_bytes);
        let staged = finished(async {
            let failed = |error: std::io::Error| ClientError::Content { error: error.to_string() };
            while let Some(bytes) = next_of(&mut source).map_err(failed)? {
                writer.write(bytes).await?;
            }
            writer.finish().await.map_err(Error::from)
        })??;
        let content_type = content_type.map(str::to_owned);
        let attributes = Attributes { content_type, ..Default::default() };
        let mut transaction = transaction(embedded, &self.tenant);
        transaction.put_object(&bucket, key, staged, attributes, Condition::Any)?;
        commit(transaction)
    }

    /// Removes an object. False: there is none.
    pub(super) fn remove(&self, key: &str) -> Result<bool, Error> {
        let embedded = match &self.state {
            OpenState::Host(client) => return Ok(client.delete_object(self.names(), key)?),
            OpenState::Directory(embedded) => embedded,
        };
        let bucket = self.known(embedded)?.find(&self.name)?;
        let mut transaction = transaction(embedded, &self.tenant);
        let is_removed = transaction.delete_object(&bucket, key, Condition::Any)?;
        commit(transaction)?;
        Ok(is_removed)
    }

    /// The error of a key without an object.
    pub(super) fn no_object(&self, key: &str) -> Error {
        Error::State(format!("there is no object {key:?} in the bucket `{}`", self.name))
    }

    fn names(&self) -> (&str, &str) {
        (self.tenant.as_str(), &self.name)
    }

    fn known(&self, embedded: &EmbeddedStore) -> Result<TenantBuckets, Error> {
        known(embedded, &self.tenant, self.declared.clone())
    }
}

/// All buckets of a tenant, in pages, with the tenant's name.
pub(super) fn buckets(
    place: &PlaceArgs,
    console: &Console,
) -> Result<(TenantName, Vec<BucketPage>), Error> {
    place.pages(
        console,
        AdminClient::buckets,
        |page| &page.next,
        |embedded, found| {
            let known = known(embedded, &found.name, declared(&found.apps))?;
            Ok(BucketPage {
                buckets: known.documents(),
                used_bytes: known.used_bytes(),
                max_bytes: Some(found.quota.state_bytes),
                next: None,
            })
        },
    )
}

/// Checks that a tenant has a bucket of this name. Opens the state if no manifest declares the
/// bucket.
pub(in crate::cli) fn check(found: &FoundTenant, name: &str) -> Result<(), Error> {
    let (tenant, declared) = (found.name.clone(), declared(&found.apps));
    let of_manifests = TenantBuckets::read(tenant.clone(), declared.clone(), None)?.find(name);
    if of_manifests.is_ok() || !found.dir.is_dir() {
        return Ok(of_manifests.map(drop)?);
    }
    match OpenState::open(&found.dir)? {
        OpenState::Host(client) => {
            Ok(client.objects((tenant.as_str(), name), "", None).map(drop)?)
        }
        OpenState::Directory(embedded) => {
            Ok(known(&embedded, &tenant, declared)?.find(name).map(drop)?)
        }
    }
}

fn declared(apps: &[App]) -> Vec<Arc<Bucket>> {
    apps.iter().flat_map(|app| app.buckets.iter().cloned()).collect()
}

fn known(
    embedded: &EmbeddedStore,
    tenant: &TenantName,
    declared: Vec<Arc<Bucket>>,
) -> Result<TenantBuckets, Error> {
    let state = state_of(embedded, tenant);
    Ok(TenantBuckets::read(tenant.clone(), declared, state.as_deref())?)
}

impl From<BucketError> for Error {
    fn from(error: BucketError) -> Error {
        Error::State(error.to_string())
    }
}
