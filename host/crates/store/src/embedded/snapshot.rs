//! A snapshot: a connection with an open read transaction.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::database::{Database, failure};
use crate::{
    Snapshot, StoreError,
    kv::{Entry, KeyRange, ListedKey, Version},
};

/// The state of a tenant at one moment.
pub(super) struct EmbeddedSnapshot {
    database: Arc<Database>,
    connection: Option<Connection>,
    taken_ms: i64,
}

impl EmbeddedSnapshot {
    pub(super) fn begin(
        database: Arc<Database>,
        connection: Connection,
    ) -> Result<EmbeddedSnapshot, StoreError> {
        let begun = connection.prepare_cached("BEGIN").and_then(|mut begin| begin.execute([]));
        begun.map_err(|error| failure(&error))?;
        Ok(EmbeddedSnapshot { database, connection: Some(connection), taken_ms: now_ms() })
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("only `drop` takes it")
    }
}

impl Drop for EmbeddedSnapshot {
    fn drop(&mut self) {
        let ended = self.connection.take().and_then(|connection| {
            let ended =
                connection.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([])).is_ok();
            ended.then_some(connection)
        });
        self.database.end_snapshot(ended);
    }
}

impl Snapshot for EmbeddedSnapshot {
    fn taken_ms(&self) -> i64 {
        self.taken_ms
    }

    fn get(&mut self, store: &str, key: &str) -> Result<Option<Entry>, StoreError> {
        get(self.connection(), store, key).map_err(|error| failure(&error))
    }

    fn list(
        &mut self,
        store: &str,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<ListedKey>, StoreError> {
        list(self.connection(), store, range, limit).map_err(|error| failure(&error))
    }
}

fn get(connection: &Connection, store: &str, key: &str) -> rusqlite::Result<Option<Entry>> {
    let mut statement = connection.prepare_cached(
        "SELECT version, expires, value FROM kv
         WHERE store = (SELECT id FROM store WHERE name = ?1) AND key = ?2",
    )?;
    let entry = |row: &Row<'_>| {
        Ok(Entry { version: version(row, 0)?, expires_ms: row.get(1)?, value: row.get(2)? })
    };
    statement.query_row(params![store, key.as_bytes()], entry).optional()
}

/// The first `limit` keys of a range, in the order of their bytes.
pub(super) fn list(
    connection: &Connection,
    store: &str,
    range: &KeyRange,
    limit: usize,
) -> rusqlite::Result<Vec<ListedKey>> {
    let mut statement = connection.prepare_cached(
        "SELECT key, expires FROM kv
         WHERE store = (SELECT id FROM store WHERE name = ?1) AND key >= ?2 AND key < ?3
         ORDER BY key LIMIT ?4",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let key = |row: &Row<'_>| Ok(ListedKey { key: row.get(0)?, expires_ms: row.get(1)? });
    statement.query_map(params![store, range.from, range.to, limit], key)?.collect()
}

/// A version in a column: a number from 0 to 2^63.
pub(super) fn version(row: &Row<'_>, column: usize) -> rusqlite::Result<Version> {
    row.get(column).map(|number: i64| Version(number.unsigned_abs()))
}

/// The time of day, in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
