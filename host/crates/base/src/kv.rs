//! Key-value stores of an app, and a function's grants for them.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::name::AppName;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// A key-value store of an app, with its bounds. The store is charged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KvStore {
    /// The name that tells the store from the others of its tenant: app and name, as in
    /// `shop/users`.
    pub id: Arc<str>,
    /// Bytes of all keys and values, with 64 for each entry. Manifest: `max_mib`. Default 1 GiB. A
    /// commit over it ends the invocation as `store_unavailable`.
    pub max_bytes: u64,
    /// Bytes of one value. Manifest: `max_value_kib`. Default 1 MiB. The hostcall fails.
    pub max_value_bytes: u64,
}

impl KvStore {
    /// The beginning of the ids of stores whose entries are objects. No app has a colon in its
    /// name.
    pub const BUCKET: &str = "bucket:";
    /// The bytes of a store that the manifest does not bound.
    pub const MAX_BYTES: u64 = 1024 * MIB;
    /// The bytes of a value that the manifest does not bound, and the most that it may allow.
    pub const MAX_VALUE_BYTES: u64 = MIB;

    /// The store of an app that is called so, with the default bounds.
    pub fn new(app: &AppName, name: &str) -> KvStore {
        KvStore {
            id: format!("{app}/{name}").into(),
            max_bytes: KvStore::MAX_BYTES,
            max_value_bytes: KvStore::MAX_VALUE_BYTES,
        }
    }

    /// Whether the store of an id is one that an app declares, and not one of the host's own.
    pub fn is_of_app(id: &str) -> bool {
        !id.contains(':')
    }

    /// The store of an id, in words.
    pub fn describe(id: &str) -> String {
        match id.split_once(':') {
            Some(("bucket", bucket)) => format!("the bucket `{bucket}`"),
            Some(("queue", queue)) => format!("the queue `{queue}`"),
            Some(("dead", queue)) => format!("the dead letters of the queue `{queue}`"),
            Some(("sent", queue)) => format!("the deduplication ids of the queue `{queue}`"),
            _ => format!("the kv store `{id}`"),
        }
    }
}

/// The operations on a store that a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Access {
    /// Get and list.
    Read,
    /// Get, list, set, delete and increment.
    ReadWrite,
}

impl Access {
    /// Every access, as it is written.
    pub const NAMES: &'static [(&'static str, Access)] =
        &[("read", Access::Read), ("read-write", Access::ReadWrite)];
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Read => "read",
            Access::ReadWrite => "read-write",
        })
    }
}

/// A function's permission to use a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KvGrant {
    /// The name under which the function opens the store: that of the manifest.
    pub name: Arc<str>,
    /// The store.
    pub store: Arc<KvStore>,
    /// The operations that are allowed.
    pub access: Access,
}
