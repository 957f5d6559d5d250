//! The JSON documents of the API, as a host writes them and a client reads them.

use lacewing_base::KvStore;
use lacewing_store::{ListedObject, kv::StoreUse};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A page of the tenants that have state, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantPage {
    /// The names.
    pub tenants: Vec<String>,
    /// The value of `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// A page of a tenant's key-value stores, in the order of app and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StorePage {
    /// The stores.
    pub stores: Vec<StoreDocument>,
    /// The bytes of all stores and buckets of the tenant.
    pub used_bytes: u64,
    /// The bytes that all stores and buckets of the tenant may have; null if the tenant has no
    /// deployed function with state.
    pub max_bytes: Option<u64>,
    /// The value of `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// A key-value store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreDocument {
    /// The app that the store belongs to.
    pub app: String,
    /// The name of the store in its app.
    pub name: String,
    /// The entries, expired ones included until they are removed.
    pub entries: u64,
    /// The bytes that the store is charged with: keys, values, and 64 for each entry.
    pub used_bytes: u64,
    /// The bytes that it may have; null if no deployed function is granted the store, which can
    /// then be read and emptied only.
    pub max_bytes: Option<u64>,
    /// The bytes that one value may have; null as above.
    pub max_value_bytes: Option<u64>,
}

/// A page of the keys of a store, in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<String>,
    /// The value of `after` for the next page; null at the end. A page may have fewer keys than
    /// were asked for, and still not be the last.
    pub next: Option<String>,
}

/// A page of a tenant's buckets, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BucketPage {
    /// The buckets.
    pub buckets: Vec<BucketDocument>,
    /// The bytes of all stores and buckets of the tenant.
    pub used_bytes: u64,
    /// The bytes that all stores and buckets of the tenant may have; null if the tenant has no
    /// deployed function with state.
    pub max_bytes: Option<u64>,
    /// The value of `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BucketDocument {
    /// The name as clients of S3 say it: `APP.NAME`, or the name with which a client made it.
    pub name: String,
    /// The objects.
    pub objects: u64,
    /// The bytes that the bucket is charged with: keys, attributes, bodies, and 64 for each object.
    pub used_bytes: u64,
    /// The bytes that it may have; null if no deployed function is granted the bucket and no client
    /// of S3 has made it. The bucket can then be read and emptied only.
    pub max_bytes: Option<u64>,
    /// The bytes that the body of one object may have; null as above.
    pub max_object_bytes: Option<u64>,
}

/// A page of the objects of a bucket, in the order of the bytes of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectPage {
    /// The objects.
    pub objects: Vec<ObjectDocument>,
    /// The value of `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// An object, without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectDocument {
    /// The key.
    pub key: String,
    /// The size of its body.
    pub bytes: u64,
    /// Its `ETag`, without the quotes.
    pub etag: String,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Its media type; null if its writer said none.
    pub content_type: Option<String>,
}

impl From<lacewing_store::ObjectPage> for ObjectPage {
    fn from(page: lacewing_store::ObjectPage) -> ObjectPage {
        let document = |ListedObject { key, object, .. }| ObjectDocument {
            key,
            bytes: object.bytes,
            etag: object.etag,
            modified_ms: object.modified_ms,
            content_type: object.attributes.content_type,
        };
        ObjectPage { objects: page.objects.into_iter().map(document).collect(), next: page.next }
    }
}

/// The state of a tenant, as a check found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// The key-value stores, with the entries and bytes that were counted.
    pub stores: Vec<CheckedStore>,
    /// The faults, as sentences. None: the state is sound.
    pub faults: Vec<String>,
}

/// A key-value store, as a check counted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckedStore {
    /// The app and the name of the store, as in `shop/users`, or a bucket as in
    /// `bucket:shop.uploads`.
    pub id: String,
    /// The entries.
    pub entries: u64,
    /// The bytes of keys and values, and 64 for each entry.
    pub bytes: u64,
}

/// The order of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupOrder {
    /// The absolute path of an empty directory on the host's machine, which belongs to the host's
    /// user.
    #[schemars(length(min = 1, max = 4096), regex(pattern = r"^/"))]
    pub directory: String,
    /// The only tenant to copy; all tenants if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// A backup that is complete, and on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backup {
    /// The directory, which a host can use as it is.
    pub directory: String,
    /// The tenants whose state was copied.
    pub tenants: Vec<String>,
}

/// The reason for which a request was not done (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The name of the status.
    pub title: String,
    /// The status.
    pub status: u16,
    /// The fault, and the value that would be right.
    pub detail: String,
}

/// The stores that are known, and those of apps that are used, each once and in their order.
pub fn merged_stores(known: &[impl AsRef<KvStore>], used: &[StoreUse]) -> Vec<StoreDocument> {
    let used: Vec<_> = used.iter().filter(|used| KvStore::is_of_app(&used.id)).collect();
    let document = |id: &str, entries, used_bytes, bounds: Option<&KvStore>| {
        let (app, name) = id.split_once('/').unwrap_or(("", id));
        StoreDocument {
            app: app.to_owned(),
            name: name.to_owned(),
            entries,
            used_bytes,
            max_bytes: bounds.map(|store| store.max_bytes),
            max_value_bytes: bounds.map(|store| store.max_value_bytes),
        }
    };
    let bounds = |id: &str| known.iter().map(AsRef::as_ref).find(|store| *store.id == *id);
    let unused = known.iter().map(AsRef::as_ref);
    let unused = unused.filter(|store| !used.iter().any(|used| used.id == *store.id));
    let unused = unused.map(|store| document(&store.id, 0, 0, Some(store)));
    let used =
        used.iter().map(|used| document(&used.id, used.entries, used.bytes, bounds(&used.id)));
    let mut all: Vec<_> = used.chain(unused).collect();
    all.sort_by(|a, b| (&a.app, &a.name).cmp(&(&b.app, &b.name)));
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn stores_that_are_known_or_used_are_there_once() {
        let known = ["shop/users", "shop/codes"]
            .map(|id| Arc::new(KvStore { id: id.into(), max_bytes: 1000, max_value_bytes: 10 }));
        let used = |id: &str| StoreUse { id: id.to_owned(), entries: 2, bytes: 130 };
        let used = ["old/users", "shop/users", "bucket:shop.files", "s3:buckets"].map(used);
        let merged = merged_stores(&known, &used);
        let short = |one: &StoreDocument| {
            format!(
                "{}/{} {} {} {:?}",
                one.app, one.name, one.entries, one.used_bytes, one.max_bytes
            )
        };
        assert_eq!(
            merged.iter().map(short).collect::<Vec<_>>(),
            ["old/users 2 130 None", "shop/codes 0 0 Some(1000)", "shop/users 2 130 Some(1000)"]
        );
    }
}
