//! The files of one tenant's objects.
//!
//! ```text
//!   TENANT/incoming/ID     a body that is written, or belongs to no object yet
//!   TENANT/objects/ID      a body that a committed entry has; nothing changes it
//! ```
//!
//! A file is on the disk before the commit of its entry, and moves to `objects` after the commit.
//! An end in between leaves the file in `incoming`: the next opening of the database moves it, or
//! removes a file that no entry has.

mod form;
mod maintain;
mod read;
mod write;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use lacewing_base::heap;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::oneshot;

pub(super) use self::{read::EmbeddedReader, write::EmbeddedWriter};
use super::{
    database::{failure, system},
    directory,
    threads::{Job, StoreThreads},
};
use crate::{
    StoreError,
    object::{FileError, FileId},
};

const INCOMING: &str = "incoming";
const OBJECTS: &str = "objects";

/// The files of a tenant's objects.
pub(super) struct ObjectFiles {
    folder: PathBuf,
    threads: Arc<StoreThreads>,
    /// Bytes of all entries and files that are committed.
    committed_bytes: AtomicU64,
    /// Bytes of the files in `incoming`.
    staged_bytes: AtomicU64,
    /// Whether the folders are there, with their names on the disk.
    has_folders: Mutex<bool>,
    /// The files that are being read, and by how many.
    pins: Mutex<HashMap<FileId, usize>>,
    /// Backups that read all files.
    backups: AtomicUsize,
}

impl ObjectFiles {
    /// The files in a tenant's folder. Ends what the last host left undone.
    pub(super) fn open(
        folder: &Path,
        connection: &Connection,
        threads: Arc<StoreThreads>,
    ) -> Result<ObjectFiles, StoreError> {
        let files = ObjectFiles {
            folder: folder.to_owned(),
            threads,
            committed_bytes: AtomicU64::new(0),
            staged_bytes: AtomicU64::new(0),
            has_folders: Mutex::default(),
            pins: Mutex::default(),
            backups: AtomicUsize::new(0),
        };
        files.recover(connection)?;
        Ok(files)
    }

    fn recover(&self, connection: &Connection) -> Result<(), StoreError> {
        let incoming = match fs::read_dir(self.folder.join(INCOMING)) {
            Ok(incoming) => incoming,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(system(&error)),
        };
        for file in incoming {
            let name = file.map_err(|error| system(&error))?.file_name();
            let Some(id) = name.to_str().and_then(parse) else { continue };
            let known = connection
                .query_row("SELECT id FROM file WHERE id = ?1", [signed(id)], |_| Ok(()))
                .optional()
                .map_err(|error| failure(&error))?;
            let ended = match known {
                Some(()) => fs::rename(self.incoming(id), self.committed(id)),
                None => fs::remove_file(self.incoming(id)),
            };
            ended.map_err(|error| system(&error))?;
        }
        Ok(())
    }

    /// Makes the folders, before the first file. Their names are on the disk afterwards, also where
    /// another file is the first one at the same time.
    fn make_folders(&self) -> io::Result<()> {
        let mut has_folders = self.has_folders.lock();
        if !*has_folders {
            for folder in [INCOMING, OBJECTS] {
                directory::make(&self.folder.join(folder))?;
            }
            *has_folders = true;
        }
        Ok(())
    }

    fn incoming(&self, id: FileId) -> PathBuf {
        self.folder.join(INCOMING).join(name(id))
    }

    pub(super) fn committed(&self, id: FileId) -> PathBuf {
        self.folder.join(OBJECTS).join(name(id))
    }

    /// Notes the bytes that the tenant has after a commit.
    pub(super) fn set_committed_bytes(&self, bytes: u64) {
        self.committed_bytes.store(bytes, Relaxed);
    }

    /// Charges the tenant with bytes of a file that is not committed.
    fn charge(&self, bytes: u64, limit_bytes: u64) -> Result<(), FileError> {
        let staged = self.staged_bytes.fetch_add(bytes, Relaxed);
        let bytes_now = self.committed_bytes.load(Relaxed).saturating_add(staged + bytes);
        if bytes_now > limit_bytes {
            self.refund(bytes);
            return Err(FileError::OverQuota { bytes: bytes_now, limit_bytes });
        }
        Ok(())
    }

    fn refund(&self, bytes: u64) {
        self.staged_bytes.fetch_sub(bytes, Relaxed);
    }

    /// Removes files that no entry has, but those that are being read. Returns the files that are
    /// gone from the disk.
    pub(super) fn remove(&self, ids: impl IntoIterator<Item = FileId>) -> io::Result<Vec<FileId>> {
        let pins = self.pins.lock();
        let mut gone = Vec::new();
        if self.backups.load(Relaxed) > 0 {
            return Ok(gone);
        }
        for id in ids.into_iter().filter(|id| !pins.contains_key(id)) {
            for path in [self.committed(id), self.incoming(id)] {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            gone.push(id);
        }
        drop(pins);
        if !gone.is_empty() {
            directory::sync_folder(&self.folder.join(OBJECTS))?;
        }
        Ok(gone)
    }

    /// Runs work that waits for the disk on a thread of the store.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (told, done) = oneshot::channel();
        self.threads.push(Job::Work(Box::new(move || {
            let _host = heap::enter_host();
            // A caller that has gone does not wait.
            let _ = told.send(work());
        })));
        let given_up = || StoreError::Failed("the work of the store was given up".into());
        done.await.map_err(|_| given_up())?.map_err(|error| system(&error))
    }
}

/// All files of a tenant are kept as long as this lives.
pub(super) struct AllPinned<'a>(&'a ObjectFiles);

impl AllPinned<'_> {
    pub(super) fn new(files: &ObjectFiles) -> AllPinned<'_> {
        // Under the lock, so that a removal that has begun ends first.
        let _pins = files.pins.lock();
        files.backups.fetch_add(1, Relaxed);
        AllPinned(files)
    }
}

impl Drop for AllPinned<'_> {
    fn drop(&mut self) {
        self.0.backups.fetch_sub(1, Relaxed);
    }
}

/// Files that are not removed as long as this lives.
pub(super) struct Pinned {
    files: Arc<ObjectFiles>,
    ids: Vec<FileId>,
}

impl Pinned {
    pub(super) fn new(files: Arc<ObjectFiles>, ids: &[FileId]) -> Pinned {
        let mut pins = files.pins.lock();
        ids.iter().for_each(|id| *pins.entry(*id).or_default() += 1);
        drop(pins);
        Pinned { files, ids: ids.to_vec() }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = self.files.pins.lock();
        for id in &self.ids {
            if let Some(count) = pins.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    pins.remove(id);
                }
            }
        }
    }
}

/// The name of a file.
fn name(FileId(id): FileId) -> String {
    format!("{id:016x}")
}

fn parse(name: &str) -> Option<FileId> {
    let id = u64::from_str_radix(name, 16).ok().map(FileId)?;
    (self::name(id) == name).then_some(id)
}

/// A number as SQLite has it.
fn signed(FileId(id): FileId) -> i64 {
    id.cast_signed()
}
