//! The sizes of a tenant's stores, in memory from one batch to the next.
//!
//! One connection writes to a database, so the sizes in memory are those in the database as long as
//! each batch commits. A batch that does not commit drops them, and the next batch reads them.

use std::{collections::HashMap, mem};

use rusqlite::{Connection, params};

use super::{super::snapshot::version, files::unused_bytes, signed};

/// The sizes of all stores of a tenant.
pub(in crate::embedded) struct StoreSizes {
    /// The number of the last commit.
    pub(super) commit: u64,
    /// Bytes of files that no entry has any more.
    pub(super) unused_bytes: u64,
    /// Bytes of all stores.
    store_bytes: u64,
    stores: HashMap<i64, StoreSize>,
    ids: HashMap<Box<str>, i64>,
    /// The stores whose sizes are not saved.
    changed: Vec<i64>,
}

/// The size of a named store.
struct StoreSize {
    name: Box<str>,
    bytes: u64,
    entries: u64,
    is_changed: bool,
}

/// An entry, as its store is charged for it.
#[derive(Clone, Copy)]
pub(super) struct EntrySize(pub(super) u64);

impl StoreSizes {
    pub(in crate::embedded) fn read(connection: &Connection) -> rusqlite::Result<StoreSizes> {
        let mut clock = connection.prepare_cached("SELECT version FROM clock")?;
        let commit = clock.query_row([], |row| version(row, 0))?.0;
        let mut sizes = StoreSizes {
            commit,
            unused_bytes: unused_bytes(connection)?,
            store_bytes: 0,
            stores: HashMap::new(),
            ids: HashMap::new(),
            changed: Vec::new(),
        };
        let mut stores = connection.prepare_cached("SELECT name, id, bytes, entries FROM store")?;
        let mut rows = stores.query([])?;
        while let Some(row) = rows.next()? {
            let name: Box<str> = row.get(0)?;
            let (bytes, entries) = (version(row, 2)?.0, version(row, 3)?.0);
            sizes.add(row.get(1)?, StoreSize { name, bytes, entries, is_changed: false });
        }
        Ok(sizes)
    }

    /// Reads the bytes of files again that no entry has any more.
    pub(in crate::embedded) fn read_unused(
        &mut self,
        connection: &Connection,
    ) -> rusqlite::Result<()> {
        self.unused_bytes = unused_bytes(connection)?;
        Ok(())
    }

    fn add(&mut self, id: i64, size: StoreSize) {
        self.store_bytes += size.bytes;
        self.ids.insert(size.name.clone(), id);
        self.stores.insert(id, size);
    }

    /// The bytes that the tenant is charged with.
    pub(in crate::embedded) fn bytes(&self) -> u64 {
        self.store_bytes.saturating_add(self.unused_bytes)
    }

    /// The number of a store, if it is there.
    pub(super) fn id(&self, name: &str) -> Option<i64> {
        self.ids.get(name).copied()
    }

    /// The bytes of a store.
    pub(super) fn bytes_of(&self, name: &str) -> u64 {
        let size = self.id(name).and_then(|id| self.stores.get(&id));
        size.map_or(0, |size| size.bytes)
    }

    /// The number of a store, which is made if it is not there.
    pub(super) fn make(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.id(name) {
            return Ok(id);
        }
        let mut make = connection.prepare_cached("INSERT INTO store (name) VALUES (?1)")?;
        let id = make.insert([name])?;
        self.add(id, StoreSize { name: name.into(), bytes: 0, entries: 0, is_changed: false });
        Ok(id)
    }

    /// Notes that an entry of a store is replaced.
    pub(super) fn replace(&mut self, id: i64, old: Option<EntrySize>, new: Option<EntrySize>) {
        let Some(size) = self.stores.get_mut(&id) else { return };
        let bytes = |entry: Option<EntrySize>| entry.map_or(0, |EntrySize(bytes)| bytes);
        let before = size.bytes;
        size.bytes = before.saturating_sub(bytes(old)) + bytes(new);
        size.entries =
            size.entries.saturating_sub(u64::from(old.is_some())) + u64::from(new.is_some());
        self.store_bytes = self.store_bytes.saturating_sub(before) + size.bytes;
        if !mem::replace(&mut size.is_changed, true) {
            self.changed.push(id);
        }
    }

    /// Writes the sizes that have changed. A store without an entry goes: clients of S3 make and
    /// delete buckets.
    pub(super) fn save(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut save =
            connection.prepare_cached("UPDATE store SET bytes = ?2, entries = ?3 WHERE id = ?1")?;
        let mut remove = connection.prepare_cached("DELETE FROM store WHERE id = ?1")?;
        for id in mem::take(&mut self.changed) {
            let Some(size) = self.stores.get_mut(&id) else { continue };
            size.is_changed = false;
            if size.entries > 0 {
                save.execute(params![id, signed(size.bytes), signed(size.entries)])?;
                continue;
            }
            remove.execute([id])?;
            if let Some(size) = self.stores.remove(&id) {
                self.store_bytes = self.store_bytes.saturating_sub(size.bytes);
                self.ids.remove(&size.name);
            }
        }
        let mut clock = connection.prepare_cached("UPDATE clock SET version = ?1")?;
        clock.execute([signed(self.commit)])?;
        Ok(())
    }
}
