//! The buckets of a tenant: those that manifests declare, those that clients of S3 have made, and
//! those that have objects left.

use std::{collections::BTreeSet, sync::Arc};

use lacewing_base::{Bucket, name::TenantName};
use lacewing_store::{
    StoreError, TenantState,
    kv::{KeyRange, MAX_KEYS, StoreUse},
};

use super::BucketDocument;

/// The names that an error lists.
const MAX_LISTED: usize = 10;

/// The buckets of a tenant, at one moment.
#[derive(Debug)]
pub struct TenantBuckets {
    tenant: TenantName,
    declared: Vec<Arc<Bucket>>,
    made: BTreeSet<String>,
    used: Vec<StoreUse>,
}

/// Why a bucket cannot be used as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// There is no such bucket.
    #[error("tenant `{tenant}` has no bucket {name:?}: {known}")]
    NotThere {
        /// The tenant.
        tenant: TenantName,
        /// The name.
        name: String,
        /// The buckets that there are, in words.
        known: String,
    },
    /// The bounds of the bucket are not known.
    #[error(
        "the bucket `{name}` can be read and emptied only: no deployed function is granted it, and no client of S3 has made it"
    )]
    Closed {
        /// The name.
        name: String,
    },
}

impl TenantBuckets {
    /// Reads the buckets of a tenant whose manifests declare some. `state` is `None` if nothing was
    /// written yet.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn read(
        tenant: TenantName,
        declared: Vec<Arc<Bucket>>,
        state: Option<&dyn TenantState>,
    ) -> Result<TenantBuckets, StoreError> {
        let (mut made, mut used) = (BTreeSet::new(), Vec::new());
        if let Some(state) = state {
            let mut snapshot = state.snapshot()?;
            used = snapshot.stores()?;
            let keys = snapshot.list(&Bucket::made().id, &KeyRange::new("", None), MAX_KEYS)?;
            made.extend(keys.into_iter().filter_map(|listed| String::from_utf8(listed.key).ok()));
        }
        Ok(TenantBuckets { tenant, declared, made, used })
    }

    /// The bytes of all stores and buckets of the tenant.
    pub fn used_bytes(&self) -> u64 {
        self.used.iter().map(|used| used.bytes).sum()
    }

    /// The bucket of a name, to read and to empty.
    ///
    /// # Errors
    /// There is no such bucket.
    pub fn find(&self, name: &str) -> Result<Arc<Bucket>, BucketError> {
        match self.bounded(name) {
            Err(BucketError::Closed { name }) => Ok(Arc::new(Bucket::new(&name).with_max_bytes(0))),
            found => found,
        }
    }

    /// The bucket of a name, to write to.
    ///
    /// # Errors
    /// There is no such bucket, or its bounds are not known.
    pub fn bounded(&self, name: &str) -> Result<Arc<Bucket>, BucketError> {
        if let Some(declared) = self.declared.iter().find(|bucket| *bucket.name == *name) {
            return Ok(declared.clone());
        }
        if self.made.contains(name) {
            return Ok(Arc::new(Bucket::new(name)));
        }
        let (names, name) = (self.names(), name.to_owned());
        if names.contains(&*name) {
            return Err(BucketError::Closed { name });
        }
        let listed: Vec<&str> = names.iter().copied().take(MAX_LISTED).collect();
        let known = match names.len() {
            0 => "a manifest declares one with `[buckets.NAME]`".to_owned(),
            1..=MAX_LISTED => format!("it has {}", listed.join(", ")),
            count => format!("it has {count}, such as {}", listed.join(", ")),
        };
        Err(BucketError::NotThere { tenant: self.tenant.clone(), name, known })
    }

    /// All buckets, in the order of their names.
    pub fn documents(&self) -> Vec<BucketDocument> {
        let document = |name: &str| {
            let used = self.used.iter().find(|used| Bucket::name_in(&used.id) == Some(name));
            let bounds = self.bounded(name).ok();
            BucketDocument {
                name: name.to_owned(),
                objects: used.map_or(0, |used| used.entries),
                used_bytes: used.map_or(0, |used| used.bytes),
                max_bytes: bounds.as_ref().map(|bucket| bucket.entries.max_bytes),
                max_object_bytes: bounds.map(|bucket| bucket.max_object_bytes),
            }
        };
        self.names().into_iter().map(document).collect()
    }

    fn names(&self) -> BTreeSet<&str> {
        let declared = self.declared.iter().map(|bucket| &*bucket.name);
        // A store stays listed when its last entry is gone.
        let used = self.used.iter().filter(|used| used.entries > 0);
        let used = used.filter_map(|used| Bucket::name_in(&used.id));
        declared.chain(self.made.iter().map(String::as_str)).chain(used).collect()
    }
}
