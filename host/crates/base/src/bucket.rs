//! Buckets of objects, and a function's grants for them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Access, KvStore, name::AppName};

const MIB: u64 = 1024 * 1024;

/// A bucket of a tenant, with its bounds. The bucket is charged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bucket {
    /// The name that tells the bucket from the others of its tenant, as S3 clients see it:
    /// `shop.uploads`.
    pub name: Arc<str>,
    /// The store of its entries: one for each object.
    pub entries: Arc<KvStore>,
    /// Bytes of one object. Manifest: `max_object_mib`. Default 5 GiB. The write fails.
    pub max_object_bytes: u64,
}

impl Bucket {
    /// The bytes of a bucket that the manifest does not bound: 10 GiB. Manifest: `max_mib`.
    pub const MAX_BYTES: u64 = 10 * 1024 * MIB;
    /// The bytes of an object that the manifest does not bound.
    pub const MAX_OBJECT_BYTES: u64 = 5 * 1024 * MIB;

    /// The bucket of an app, with the default bounds.
    pub fn of_app(app: &AppName, name: &str) -> Bucket {
        Bucket::new(&format!("{app}.{name}"))
    }

    /// The bucket of this name, with the default bounds.
    pub fn new(name: &str) -> Bucket {
        let entries = KvStore {
            id: format!("{}{name}", KvStore::BUCKET).into(),
            max_bytes: Bucket::MAX_BYTES,
            max_value_bytes: KvStore::MAX_VALUE_BYTES,
        };
        Bucket {
            name: name.into(),
            entries: Arc::new(entries),
            max_object_bytes: Bucket::MAX_OBJECT_BYTES,
        }
    }

    /// The name of the bucket whose entries are in the store of an id; `None` for other stores. No
    /// name has a colon, which the ids of stores with parts of uploads have.
    pub fn name_in(id: &str) -> Option<&str> {
        id.strip_prefix(KvStore::BUCKET).filter(|name| !name.contains(':'))
    }

    /// The store with the buckets that clients of S3 have made, each under its name.
    pub fn made() -> Arc<KvStore> {
        let (id, max_bytes) = ("s3:buckets".into(), 16 * MIB);
        Arc::new(KvStore { id, max_bytes, max_value_bytes: KvStore::MAX_VALUE_BYTES })
    }

    /// The same bucket with another bound of all its bytes.
    #[must_use]
    pub fn with_max_bytes(self, max_bytes: u64) -> Bucket {
        let entries = KvStore { max_bytes, ..KvStore::clone(&self.entries) };
        Bucket { entries: Arc::new(entries), ..self }
    }
}

/// A function's permission to use a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BucketGrant {
    /// The name under which the function opens the bucket: that of the manifest.
    pub name: Arc<str>,
    /// The bucket.
    pub bucket: Arc<Bucket>,
    /// The operations that are allowed.
    pub access: Access,
}
