//! A snapshot: a connection with an open read transaction.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::database::{Database, failure};
use crate::{
    Snapshot, StoreError,
    kv::{Entry, KeyRange, ListedKey, StoreUse, Version},
};

/// The state of a tenant at one moment.
pub(super) struct EmbeddedSnapshot {
    held: Arc<Held>,
    /// Set by the first read, which is the moment of the snapshot.
    taken_ms: Option<i64>,
}

/// The connection of a snapshot, which the database takes back when it is too old.
pub(super) struct Held {
    database: Arc<Database>,
    begun: Instant,
    connection: Mutex<Option<Connection>>,
}

impl EmbeddedSnapshot {
    pub(super) fn begin(
        database: Arc<Database>,
        connection: Connection,
    ) -> Result<EmbeddedSnapshot, StoreError> {
        let begun = connection.prepare_cached("BEGIN").and_then(|mut begin| begin.execute([]));
        begun.map_err(|error| failure(&error))?;
        let (begun, connection) = (Instant::now(), Mutex::new(Some(connection)));
        let held = Arc::new(Held { database, begun, connection });
        Ok(EmbeddedSnapshot { held, taken_ms: None })
    }

    pub(super) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    fn read<T>(
        &mut self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let read = match &*self.held.connection.lock() {
            Some(connection) => read(connection).map_err(|error| self.held.database.failed(&error)),
            None => {
                Err(StoreError::SnapshotTooOld { seconds: self.held.begun.elapsed().as_secs() })
            }
        };
        self.taken_ms();
        read
    }
}

impl Held {
    /// Ends the snapshot if it is older than so much. A read of it that is under way goes on.
    pub(super) fn end_if_older(&self, age: Duration) {
        if self.begun.elapsed() > age
            && let Some(mut connection) = self.connection.try_lock()
        {
            self.end(connection.take());
        }
    }

    fn end(&self, connection: Option<Connection>) {
        let Some(connection) = connection else { return };
        let end = connection.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([]));
        let is_usable = end.is_ok();
        self.database.end_snapshot(is_usable.then_some(connection));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let connection = self.connection.get_mut().take();
        self.end(connection);
    }
}

impl Snapshot for EmbeddedSnapshot {
    fn taken_ms(&mut self) -> i64 {
        *self.taken_ms.get_or_insert_with(self.held.database.clock)
    }

    fn get(&mut self, store: &str, key: &str) -> Result<Option<Entry>, StoreError> {
        self.read(|connection| get(connection, store, key))
    }

    fn list(
        &mut self,
        store: &str,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<ListedKey>, StoreError> {
        self.read(|connection| list(connection, store, range, limit))
    }

    fn scan(
        &mut self,
        store: &str,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Entry)>, StoreError> {
        self.read(|connection| scan(connection, store, range, limit))
    }

    fn body(&mut self, store: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|connection| body(connection, store, key))
    }

    fn stores(&mut self) -> Result<Vec<StoreUse>, StoreError> {
        self.read(stores)
    }
}

fn stores(connection: &Connection) -> rusqlite::Result<Vec<StoreUse>> {
    let mut statement =
        connection.prepare_cached("SELECT name, entries, bytes FROM store ORDER BY name")?;
    let used = |row: &Row<'_>| {
        let (entries, bytes) = (version(row, 1)?.0, version(row, 2)?.0);
        Ok(StoreUse { id: row.get(0)?, entries, bytes })
    };
    statement.query_map([], used)?.collect()
}

fn body(connection: &Connection, store: &str, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached(
        "SELECT body FROM kv
         WHERE store = (SELECT id FROM store WHERE name = ?1) AND key = ?2",
    )?;
    let body = statement.query_row(params![store, key.as_bytes()], |row| row.get(0)).optional();
    body.map(Option::flatten)
}

fn scan(
    connection: &Connection,
    store: &str,
    range: &KeyRange,
    limit: usize,
) -> rusqlite::Result<Vec<(Vec<u8>, Entry)>> {
    let mut statement = connection.prepare_cached(
        "SELECT version, expires, value, key FROM kv
         WHERE store = (SELECT id FROM store WHERE name = ?1) AND key >= ?2 AND key < ?3
         ORDER BY key LIMIT ?4",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = |row: &Row<'_>| Ok((row.get(3)?, entry(row)?));
    statement.query_map(params![store, range.from, range.to, limit], found)?.collect()
}

/// An entry of the columns `version, expires, value`.
fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry { version: version(row, 0)?, expires_ms: row.get(1)?, value: row.get(2)? })
}

fn get(connection: &Connection, store: &str, key: &str) -> rusqlite::Result<Option<Entry>> {
    let mut statement = connection.prepare_cached(
        "SELECT version, expires, value FROM kv
         WHERE store = (SELECT id FROM store WHERE name = ?1) AND key = ?2",
    )?;
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
