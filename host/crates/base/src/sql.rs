//! SQL databases of an app, and a function's grants for them.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Access, name::AppName};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// A SQL database of an app, with its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SqlDatabase {
    /// The name that tells the database from the others of its tenant: app and name, as in
    /// `shop/default`.
    pub id: Arc<str>,
    /// Bytes of the file. Manifest: `max_mib`. Default 1 GiB. The tenant is charged. The statement
    /// fails.
    pub max_bytes: u64,
    /// Wall time of one statement. Manifest: `max_statement_ms`. Default 5 s. The invocation is
    /// charged for the CPU time. The statement fails.
    pub max_statement: Duration,
    /// Bytes of the rows of one statement. Manifest: `max_result_kib`. Default 4 MiB. The
    /// invocation is charged. The statement fails.
    pub max_result_bytes: u64,
    /// Bytes of the heap of one connection, with its cache and what it sorts. Manifest:
    /// `max_heap_mib`. Default 16 MiB. The invocation is charged. The statement fails.
    pub max_heap_bytes: u64,
}

impl SqlDatabase {
    /// The bytes of a database that the manifest does not bound.
    pub const MAX_BYTES: u64 = 1024 * MIB;
    /// The time of a statement that the manifest does not bound.
    pub const MAX_STATEMENT: Duration = Duration::from_secs(5);
    /// The bytes of a result that the manifest does not bound.
    pub const MAX_RESULT_BYTES: u64 = 4 * MIB;
    /// The bytes of a connection's heap that the manifest does not bound.
    pub const MAX_HEAP_BYTES: u64 = 16 * MIB;

    /// The database of an app that is called so, with the default bounds.
    pub fn new(app: &AppName, name: &str) -> SqlDatabase {
        SqlDatabase {
            id: format!("{app}/{name}").into(),
            max_bytes: SqlDatabase::MAX_BYTES,
            max_statement: SqlDatabase::MAX_STATEMENT,
            max_result_bytes: SqlDatabase::MAX_RESULT_BYTES,
            max_heap_bytes: SqlDatabase::MAX_HEAP_BYTES,
        }
    }
}

/// A function's permission to use a database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SqlGrant {
    /// The name under which the function opens the database: that of the manifest.
    pub name: Arc<str>,
    /// The database.
    pub database: Arc<SqlDatabase>,
    /// The statements that are allowed: with `read`, those that change nothing.
    pub access: Access,
}
