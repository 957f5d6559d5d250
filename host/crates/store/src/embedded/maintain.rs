//! The checks and copies of databases that an operator asks for.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use lacewing_base::name::TenantName;
use rusqlite::{Connection, params};

use super::{
    EmbeddedStore, Stopper,
    database::{Database, FILE, failure, system},
    directory,
    files::AllPinned,
    secrets,
    snapshot::version,
    sql,
    tenant::EmbeddedTenant,
};
use crate::{
    StoreError,
    kv::{KvStore, StoreUse},
};

/// The state of one tenant, as a check found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Each store, with its entries and its bytes. A SQL database is called `sql:APP/NAME`; its
    /// entries are its tables.
    pub stores: Vec<StoreUse>,
    /// The faults, as sentences.
    pub faults: Vec<String>,
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
    /// The copies would lie among the tenants.
    #[error("{} is inside of the state directory: name one outside of it", path.display())]
    Inside {
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
            let sealed = [secrets::FOLDER, secrets::S3_FOLDER];
            let has_secrets = sealed.iter().any(|folder| entry.path().join(folder).is_dir());
            tenants.extend(name.filter(|name| has_secrets || self.has_state(name)));
        }
        tenants.sort();
        Ok(tenants)
    }

    /// Whether a tenant has a database.
    pub fn has_state(&self, tenant: &TenantName) -> bool {
        let folder = self.path().join(tenant.as_str());
        folder.join(FILE).is_file() || folder.join(sql::FOLDER).is_dir()
    }

    /// Checks a tenant's databases: their pages, their indexes, and that the sizes of its stores
    /// are right. Reads all of them. Checks that there is a key for what the tenant has sealed.
    /// Commits go on meanwhile.
    ///
    /// # Errors
    /// The database of its stores cannot be opened, or the check was stopped.
    pub fn inspect(
        &self,
        tenant: &TenantName,
        stopper: &Stopper,
    ) -> Result<Inspection, StoreError> {
        let folder = self.path().join(tenant.as_str());
        let mut inspection = Inspection::default();
        if folder.join(FILE).is_file() {
            inspection = self.inspect_stores(tenant, stopper)?;
        }
        sql::maintain::inspect(&folder, stopper, &mut inspection)?;
        inspection.faults.extend(secrets::inspect(self.path(), &folder));
        Ok(inspection)
    }

    fn inspect_stores(
        &self,
        tenant: &TenantName,
        stopper: &Stopper,
    ) -> Result<Inspection, StoreError> {
        let (_tenant, database) = self.database(tenant)?;
        let connection = database.connection()?;
        // A commit may leave the files that the check has seen.
        let _kept = AllPinned::new(&database.files);
        let inspected = stopper.read(&connection, inspect).and_then(|mut found| {
            if found.faults.is_empty() {
                found.faults = database.files.inspect(&connection, stopper)?;
            }
            Ok(found)
        });
        inspected.map_err(|error| failure(&error))
    }

    /// Copies the state of some tenants into a new directory, which a host can use as it is. Each
    /// copy of a database is of one moment. Commits go on meanwhile. Secrets are copied as they are
    /// sealed, without the key. A backup that fails leaves the directory empty.
    ///
    /// # Errors
    /// The directory is not empty or cannot be written, a database cannot be read, or the backup
    /// was stopped.
    pub fn back_up(
        &self,
        tenants: &[TenantName],
        to: &Path,
        stopper: &Stopper,
    ) -> Result<(), BackupError> {
        let system = |path: &Path, error| BackupError::System { path: path.to_owned(), error };
        directory::make(to).map_err(|error| system(to, error))?;
        let place = fs::canonicalize(to).map_err(|error| system(to, error))?;
        if place.starts_with(self.path()) {
            return Err(BackupError::Inside { path: to.to_owned() });
        }
        if fs::read_dir(to).map_err(|error| system(to, error))?.next().is_some() {
            return Err(BackupError::NotEmpty { path: to.to_owned() });
        }
        let copied = tenants.iter().try_for_each(|tenant| self.copy_into(tenant, to, stopper));
        // The marker comes last: a copy that broke off is no directory of state.
        let made = copied.and_then(|()| directory::mark(to).map_err(|error| system(to, error)));
        if made.is_err() {
            for tenant in tenants {
                // The error that is told is the first one.
                let _ = fs::remove_dir_all(to.join(tenant.as_str()));
            }
        }
        made
    }

    fn copy_into(
        &self,
        tenant: &TenantName,
        to: &Path,
        stopper: &Stopper,
    ) -> Result<(), BackupError> {
        let folder = to.join(tenant.as_str());
        let system = |error| BackupError::System { path: folder.clone(), error };
        let store = |error| BackupError::Store { tenant: tenant.clone(), error };
        directory::make(&folder).map_err(system)?;
        let from = self.path().join(tenant.as_str());
        secrets::back_up(&from, &folder).map_err(system)?;
        sql::maintain::copy(&from, &folder, stopper).map_err(store)?;
        if !from.join(FILE).is_file() {
            return Ok(());
        }
        let file = folder.join(FILE);
        self.copy(tenant, &file, stopper).map_err(store)?;
        let synced = File::open(&file).and_then(|file| file.sync_all());
        synced.and_then(|()| directory::sync_folder(&folder)).map_err(system)
    }

    fn copy(&self, tenant: &TenantName, to: &Path, stopper: &Stopper) -> Result<(), StoreError> {
        let (_tenant, database) = self.database(tenant)?;
        let connection = database.connection()?;
        let _kept = AllPinned::new(&database.files);
        let text = to.to_string_lossy();
        let copied = stopper
            .read(&connection, |connection| connection.execute("VACUUM INTO ?1", params![text]));
        let copy = copied.and_then(|_| Connection::open(to)).map_err(|error| failure(&error))?;
        let folder = to.parent().unwrap_or(to);
        database.files.copy(&copy, folder, stopper).map_err(|error| system(&error))
    }

    /// The database of a tenant: the open one, because an opening ends what an earlier host left
    /// undone, and would take for that what this host has under way. The tenant keeps others from
    /// opening another one.
    fn database(
        &self,
        tenant: &TenantName,
    ) -> Result<(Arc<EmbeddedTenant>, Arc<Database>), StoreError> {
        // Nothing is written, so the bound does not matter. A deploy sets its own.
        let tenant = self.embedded_tenant(tenant, 0);
        let database = tenant.database()?;
        Ok((tenant, database))
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
