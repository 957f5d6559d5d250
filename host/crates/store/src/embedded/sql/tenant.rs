//! The SQL databases of one tenant: the sizes of their files, and places for connections.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use lacewing_base::{Access, budget::Lease, budget::Share};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use super::{
    connection::{GuestConnection, OpenParts},
    file::{files, path},
    statement::Parts,
    threads::SqlLane,
};
use crate::{
    StoreError,
    embedded::SharedStore,
    sql::{SqlConnection, SqlDatabase, SqlError, StatementPayer},
};

/// Connections of one tenant at once.
pub(super) const CONNECTIONS: usize = 64;

/// The longest wait of a guest for a place, or for its turn to write.
pub(super) const WAIT: Duration = Duration::from_secs(5);

/// The place of one connection, of the tenant's and the host's.
pub(super) struct ConnectionPlace {
    _permit: OwnedSemaphorePermit,
    _lease: Lease,
}

/// The SQL databases of one tenant.
pub(in super::super) struct SqlTenant {
    folder: PathBuf,
    max_bytes: AtomicU64,
    pub(super) lane: Arc<SqlLane>,
    places: Arc<Semaphore>,
    share: Arc<Share>,
    /// Held while a file is opened.
    opening: Mutex<()>,
    /// The bytes of each file, by the id of its database; read off the disk at first.
    sizes: Mutex<Option<HashMap<String, u64>>>,
}

impl SqlTenant {
    pub(in super::super) fn new(
        folder: &Path,
        max_bytes: u64,
        share: Arc<Share>,
    ) -> Arc<SqlTenant> {
        Arc::new(SqlTenant {
            folder: folder.to_owned(),
            max_bytes: max_bytes.into(),
            lane: Arc::default(),
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            share,
            opening: Mutex::default(),
            sizes: Mutex::default(),
        })
    }

    pub(in super::super) fn set_max_bytes(&self, max_bytes: u64) {
        self.max_bytes.store(max_bytes, Relaxed);
    }

    /// The bytes that all databases may have.
    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Relaxed)
    }

    /// The bytes that a database may have now.
    pub(super) fn room(&self, database: &SqlDatabase) -> u64 {
        let sizes = self.sizes.lock();
        let others = sizes.iter().flatten().filter(|(id, _)| **id != *database.id);
        let others: u64 = others.map(|(_, bytes)| bytes).sum();
        self.max_bytes().saturating_sub(others).min(database.max_bytes)
    }

    pub(super) fn note_size(&self, id: &str, bytes: u64) {
        if let Some(sizes) = &mut *self.sizes.lock() {
            sizes.insert(id.to_owned(), bytes);
        }
    }

    /// Reads the sizes off the disk, the first time.
    fn read_sizes(&self) -> Result<(), StoreError> {
        let mut sizes = self.sizes.lock();
        if sizes.is_none() {
            let read = || -> std::io::Result<HashMap<String, u64>> {
                let files = files(&self.folder)?.into_iter();
                files.map(|(id, file)| Ok((id, fs::metadata(file)?.len()))).collect()
            };
            *sizes = Some(read().map_err(|error| StoreError::Failed(error.to_string().into()))?);
        }
        Ok(())
    }

    /// Opens a connection, on a thread of the store.
    pub(in super::super) async fn connect(
        self: Arc<SqlTenant>,
        shared: Arc<SharedStore>,
        settings: Arc<SqlDatabase>,
        access: Access,
        payer: Arc<dyn StatementPayer>,
    ) -> Result<Box<dyn SqlConnection>, SqlError> {
        let place = self.place().await?;
        let system = |error: std::io::Error| StoreError::Failed(error.to_string().into());
        shared.sql.threads.start().map_err(system)?;
        self.lane.check_room().map_err(|many| too_many_wait(&many))?;
        let (answer, opened) = oneshot::channel();
        let (threads, lane) = (shared.sql.threads.clone(), self.lane.clone());
        let open = move || {
            let open = || {
                self.read_sizes()?;
                let file = path(&self.folder, &settings.id);
                let database = shared.sql.files.get(&file, &self.opening)?;
                let parts = Parts::open(database, settings, access, payer, self.clone(), place)?;
                let (threads, lane) = (shared.sql.threads.clone(), self.lane.clone());
                Ok(OpenParts::new(parts, threads, lane))
            };
            // An invocation that has gone leaves a connection that is closed at once.
            drop(answer.send(open()));
        };
        threads.push(&lane, Box::new(open));
        let parts = opened.await.unwrap_or(Err(SqlError::Closed))?;
        Ok(Box::new(GuestConnection::new(parts)))
    }

    async fn place(&self) -> Result<ConnectionPlace, SqlError> {
        let permit = timeout(WAIT, self.places.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            let text = format!("{CONNECTIONS} SQL connections of the tenant are open already");
            return Err(SqlError::Limit(text));
        };
        let mut lease = self.share.lease();
        lease.grow(1).map_err(|_| {
            SqlError::Limit("the host has no SQL connection left for the tenant now".to_owned())
        })?;
        Ok(ConnectionPlace { _permit: permit, _lease: lease })
    }
}

pub(super) fn too_many_wait(many: &super::threads::TooMany) -> SqlError {
    SqlError::Limit(format!("{} SQL statements of the tenant wait already", many.0))
}
