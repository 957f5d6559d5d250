//! The directory of state: its marker, its lock, and its form.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// The file that says that a directory is one of state. No tenant has a name with a dot.
const MARKER: &str = "lacewing.state";

/// The version of the directory's form. A change of the form needs a new number.
const FORM: u32 = 1;

/// Why a directory cannot be used for state.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process uses it.
    #[error(
        "the state directory {} is in use by another process: stop that host, or give this one another directory with `--state`",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It has other files in it.
    #[error(
        "{} is not empty, and no state directory: name an empty directory, or one that does not exist",
        path.display()
    )]
    NotState {
        /// The directory.
        path: PathBuf,
    },
    /// A later version of the host made it.
    #[error(
        "the state directory {} has form {found:?}, and this host knows form {FORM}: run the version of the host that made it",
        path.display()
    )]
    OtherForm {
        /// The directory.
        path: PathBuf,
        /// What its marker says.
        found: String,
    },
    /// An error of the system.
    #[error("the state directory {} cannot be used: {error}", path.display())]
    System {
        /// The directory.
        path: PathBuf,
        /// The error.
        #[source]
        error: io::Error,
    },
}

/// A directory of state that this process has locked.
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Directory, DirectoryError> {
        let system = |error| DirectoryError::System { path: path.to_owned(), error };
        make(path).map_err(system)?;
        // A database is opened only where no part of its path is a link.
        let path = &fs::canonicalize(path).map_err(system)?;
        let marker = path.join(MARKER);
        let mut options = File::options();
        options.read(true).write(true);
        let mut lock = match options.open(&marker) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !is_empty(path).map_err(system)? {
                    return Err(DirectoryError::NotState { path: path.to_owned() });
                }
                options.create(true).open(&marker).map_err(system)?
            }
            Err(error) => return Err(system(error)),
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(DirectoryError::InUse { path: path.to_owned() });
            }
            Err(error) => return Err(system(error.into())),
        }
        let mut found = String::new();
        (&mut lock).take(64).read_to_string(&mut found).map_err(system)?;
        match found.trim() {
            // A host that made the file and ended before it wrote the form left it empty.
            "" => {
                writeln!(lock, "{FORM}").map_err(system)?;
                lock.sync_all().map_err(system)?;
                sync_folder(path).map_err(system)?;
            }
            form if form == FORM.to_string() => {}
            other => {
                let found = other.to_owned();
                return Err(DirectoryError::OtherForm { path: path.to_owned(), found });
            }
        }
        Ok(Directory { path: path.clone(), _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a directory one of state, without a lock: for files beside the databases, which a command
/// writes while a host runs.
pub(super) fn prepare(path: &Path) -> Result<(), DirectoryError> {
    let system = |error| DirectoryError::System { path: path.to_owned(), error };
    make(path).map_err(system)?;
    match fs::read_to_string(path.join(MARKER)) {
        // A host that has made the file writes the form next.
        Ok(form) if form.is_empty() || form.trim() == FORM.to_string() => Ok(()),
        Ok(form) => {
            let found = form.trim().to_owned();
            Err(DirectoryError::OtherForm { path: path.to_owned(), found })
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(system(error)),
        Err(_) if !is_empty(path).map_err(system)? => {
            Err(DirectoryError::NotState { path: path.to_owned() })
        }
        Err(_) => match mark(path) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            marked => marked.map_err(system),
        },
    }
}

/// Makes a folder with a copy of state one of state.
pub(super) fn mark(path: &Path) -> io::Result<()> {
    let mut marker = File::create_new(path.join(MARKER))?;
    writeln!(marker, "{FORM}")?;
    marker.sync_all()?;
    sync_folder(path)
}

/// Whether a folder has nothing in it but what a new file system has.
fn is_empty(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        if entry?.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes a folder that only its owner may look into, with the folders above it. The names of all
/// that it makes, and of the folder, are on the disk afterwards.
pub(super) fn make(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    if !path.is_dir() {
        if !parent.is_dir() {
            make(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            made => made?,
        }
    }
    // Also one that another start made, and could not sync. A parent that may not be read is not
    // the host's.
    match sync_folder(parent) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Has the names in a folder on the disk.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
