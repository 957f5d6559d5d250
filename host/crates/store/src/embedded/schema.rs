//! The tables of a tenant's database, and the steps from each version of them to the next.

use rusqlite::Connection;

use super::database::failure;
use crate::StoreError;

/// The steps that make each version from the one before it. A step never changes once it was
/// released.
const STEPS: &[&str] = &[
    "
    CREATE TABLE clock (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        version INTEGER NOT NULL
    );
    INSERT INTO clock VALUES (0, 0);
    CREATE TABLE store (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        bytes INTEGER NOT NULL DEFAULT 0,
        entries INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE kv (
        id INTEGER PRIMARY KEY,
        store INTEGER NOT NULL REFERENCES store (id),
        key BLOB NOT NULL,
        version INTEGER NOT NULL,
        expires INTEGER,
        value BLOB NOT NULL
    );
    CREATE UNIQUE INDEX kv_key ON kv (store, key);
    CREATE INDEX kv_expires ON kv (expires) WHERE expires IS NOT NULL;
",
    "
    ALTER TABLE kv ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE kv ADD COLUMN body BLOB;
    CREATE TABLE file (
        id INTEGER PRIMARY KEY,
        bytes INTEGER NOT NULL,
        entries INTEGER NOT NULL DEFAULT 0,
        unused_since INTEGER
    );
    CREATE INDEX file_unused ON file (unused_since) WHERE unused_since IS NOT NULL;
    CREATE TABLE entry_file (
        entry INTEGER NOT NULL REFERENCES kv (id),
        file INTEGER NOT NULL REFERENCES file (id),
        PRIMARY KEY (entry, file)
    ) WITHOUT ROWID;
",
];

/// Marks a file as a database of this host, for `file` and the like.
const APPLICATION: i32 = 0x4c61_6365;

/// Brings a database to the latest version, in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let version: u32 = connection
        .query_row("SELECT user_version FROM pragma_user_version", [], |row| row.get(0))
        .map_err(|error| failure(&error))?;
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    if version > known {
        return Err(StoreError::NewerSchema { found: version, known });
    }
    if version == known {
        return Ok(());
    }
    let migrated = (|| {
        let transaction = connection.transaction()?;
        for step in &STEPS[version as usize..] {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", known)?;
        transaction.commit()
    })();
    migrated.map_err(|error: rusqlite::Error| failure(&error))
}
