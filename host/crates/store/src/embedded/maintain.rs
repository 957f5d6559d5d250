//! The checks and copies of databases that an operator asks for.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use lacewing_base::name::TenantName;
use rusqlite::{Connection, params};

use super::{
    EmbeddedStore,
    database::{Database, FILE, failure, system},
    directory,
    files::AllPinned,
    snapshot::version,
};
use crate::{StoreError, kv::KvStore};

/// The state of one tenant, as a check found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Each store, with its entries and its bytes.
    pub stores: Vec<StoreUse>,
    /// The faults, as sentences.
    pub faults: Vec<String>,
}

/// The size of a named store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUse {
    /// App and name, as in `shop/users`.
    pub id: String,
    /// Entries, expired ones included.
    pub entries: u64,
    /// Bytes that the store is charged with.
    pub bytes: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there already.
    #[error("{} is not empty: name a directory that does not exist", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The directory cannot be written.
    #[error("the backup {} cannot be written: {error}", path.display())]
    System {
        /// The file or directory.
        path: PathBuf,
        /// The error.
        #[source]
        error: io::Error,
    },
    /// The state cannot be read.
    #[error("the state of tenant `{tenant}` cannot be copied: {error}")]
    Store {
        /// The tenant.
        tenant: TenantName,
        /// The error.
        #[source]
        error: StoreError,
    },
}

impl EmbeddedStore {
    /// The tenants that have state, in the order of their names.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn tenants(&self) -> io::Result<Vec<TenantName>> {
        let mut tenants = Vec::new();
        for entry in fs::read_dir(self.path())? {
            let entry = entry?;
            let name = entry.file_name().to_str().and_then(|name| name.parse().ok());
            tenants.extend(name.filter(|_| entry.path().join(FILE).is_file()));
        }
        tenants.sort();
        Ok(tenants)
    }

    /// Checks a tenant's database: its pages, its indexes, and that the sizes of its stores are
    /// right. Reads all of it.
    ///
    /// # Errors
    /// The database cannot be opened.
    pub fn inspect(&self, tenant: &TenantName) -> Result<Inspection, StoreError> {
        let database =
            Database::open(&self.path().join(tenant.as_str()), self.shared.surroundings())?;
        let writer = database.writer.lock();
        let inspected = inspect(&writer.0).and_then(|mut inspection| {
            if inspection.faults.is_empty() {
                inspection.faults = database.files.inspect(&writer.0)?;
            }
            Ok(inspection)
        });
        inspected.map_err(|error| failure(&error))
    }

    /// Copies the state of all tenants into a new directory, which a host can use as it is. Each
    /// copy is of one moment.
    ///
    /// # Errors
    /// The directory is not empty or cannot be written, or a database cannot be read.
    pub fn back_up(&self, to: &Path) -> Result<Vec<TenantName>, BackupError> {
        let system = |path: &Path, error| BackupError::System { path: path.to_owned(), error };
        directory::make(to).map_err(|error| system(to, error))?;
        if fs::read_dir(to).map_err(|error| system(to, error))?.next().is_some() {
            return Err(BackupError::NotEmpty { path: to.to_owned() });
        }
        let tenants = self.tenants().map_err(|error| system(self.path(), error))?;
        for tenant in &tenants {
            let folder = to.join(tenant.as_str());
            directory::make(&folder).map_err(|error| system(&folder, error))?;
            let file = folder.join(FILE);
            self.copy(tenant, &file)
                .map_err(|error| BackupError::Store { tenant: tenant.clone(), error })?;
            let synced = File::open(&file).and_then(|file| file.sync_all());
            synced
                .and_then(|()| directory::sync_folder(&folder))
                .map_err(|error| system(&file, error))?;
        }
        // The marker comes last: a copy that broke off is no directory of state.
        directory::mark(to).map_err(|error| system(to, error))?;
        Ok(tenants)
    }

    fn copy(&self, tenant: &TenantName, to: &Path) -> Result<(), StoreError> {
        let database =
            Database::open(&self.path().join(tenant.as_str()), self.shared.surroundings())?;
        let writer = database.writer.lock();
        let _kept = AllPinned::new(&database.files);
        let copied = writer.0.execute("VACUUM INTO ?1", params![to.to_string_lossy()]);
        let copy = copied.and_then(|_| Connection::open(to)).map_err(|error| failure(&error))?;
        let folder = to.parent().unwrap_or(to);
        database.files.copy(&copy, folder).map_err(|error| system(&error))
    }
}

fn inspect(connection: &Connection) -> rusqlite::Result<Inspection> {
    let mut inspection = Inspection::default();
    let mut pages = connection.prepare("PRAGMA integrity_check(100)")?;
    for fault in pages.query_map([], |row| row.get::<_, String>(0))? {
        inspection.faults.extend(Some(fault?).filter(|fault| fault != "ok"));
    }
    if !inspection.faults.is_empty() {
        return Ok(inspection);
    }
    let mut stores = connection.prepare(
        "SELECT store.name, store.entries, store.bytes, count(kv.id),
                coalesce(sum(length(kv.key) + length(kv.value) + 64 + kv.held), 0)
         FROM store LEFT JOIN kv ON kv.store = store.id GROUP BY store.id ORDER BY store.name",
    )?;
    let rows = stores.query_map([], |row| {
        let numbers = [1, 2, 3, 4].map(|column| version(row, column).map(|number| number.0));
        Ok((row.get::<_, String>(0)?, numbers))
    })?;
    for row in rows {
        let (id, [entries, bytes, counted, summed]) = row?;
        let (entries, bytes, counted, summed) = (entries?, bytes?, counted?, summed?);
        if (entries, bytes) != (counted, summed) {
            inspection.faults.push(format!(
                "{} is charged with {entries} entries of {bytes} bytes, and has {counted} of {summed}",
                KvStore::describe(&id)
            ));
        }
        inspection.stores.push(StoreUse { id, entries: counted, bytes: summed });
    }
    Ok(inspection)
}
