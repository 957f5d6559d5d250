//! The opening of files that strangers name: regular files only, inside of their folder, without
//! blocking.
//!
//! ```text
//!   path --below a folder, by its words?--> Located --open, without waiting--> descriptor --regular, small enough?--> bytes
//!             | no                             | a link leads out                 | no                                |
//!             v                                v                                  v                                   v
//!          Outside                          Outside                    Directory, Special, TooLarge    Changed, where it was written to
//! ```
//!
//! Nothing is checked by name and opened afterwards: the checks are of the descriptor that is read.
//! On Linux the kernel keeps the path below its folder (`openat2` with `RESOLVE_BENEATH`, Linux
//! 5.6). Elsewhere, and where a container forbids that call, the path is resolved first and then
//! walked from folder to folder with no link in it. That is weaker in one thing: a user that
//! replaces the folder itself in that moment has another one opened.
//!
//! A regular file on a network file system that does not answer still blocks its reader, and no
//! flag of `open` helps. A host of many tenants therefore reads on threads that other tenants do
//! not wait for.

use std::{
    fs::File,
    io::{self, Read},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::Stamp;

/// Where the paths of an app may lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anywhere: the developer of the app is the operator.
    Anywhere,
    /// Below one of these folders.
    Below(Arc<[PathBuf]>),
}

impl Reach {
    /// The file that a path names, if it may lead there. Nothing is opened yet.
    ///
    /// # Errors
    /// [`OpenError::Outside`].
    pub fn locate(&self, path: &Path) -> Result<Located, OpenError> {
        match self {
            Reach::Anywhere => Ok(Located::anywhere(path)),
            Reach::Below(folders) => {
                let mut folders = folders.iter();
                folders.find_map(|folder| Located::below(folder, path)).ok_or(OpenError::Outside)
            }
        }
    }
}

/// A file by its path, and the folder that the path may not lead out of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Located {
    path: PathBuf,
    below: Option<Below>,
}

/// A folder, and the way from there: names only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Below {
    folder: PathBuf,
    rest: PathBuf,
}

impl Located {
    /// A file that is wherever its path leads.
    pub fn anywhere(path: impl Into<PathBuf>) -> Located {
        Located { path: path.into(), below: None }
    }

    /// A file below a folder; `None` if the words of the path lead elsewhere. The folder may be a
    /// link, and be named through links.
    pub fn below(folder: &Path, path: &Path) -> Option<Located> {
        let rest = plain(path).strip_prefix(plain(folder)).ok()?.to_owned();
        let is_inside = rest.components().all(|part| matches!(part, Component::Normal(_)));
        let below = Below { folder: folder.to_owned(), rest };
        is_inside.then(|| Located { path: path.to_owned(), below: Some(below) })
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it, if it is a regular file.
    ///
    /// # Errors
    /// All of [`OpenError`] but what reading finds.
    pub fn open(&self) -> Result<OpenedFile, OpenError> {
        let file = match &self.below {
            None => openat(CWD, &self.path, READ, Mode::empty()).map_err(OpenError::from)?.into(),
            Some(below) => below.open()?,
        };
        OpenedFile::of(file)
    }
}

/// How files are opened: a pipe without a writer, or a leased file, does not keep the thread, and a
/// terminal does not become the process's own.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// How the folders on the way are opened: only to go on from there.
#[cfg(target_os = "linux")]
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Below {
    /// A relative path has no parent of its own in `""`.
    fn folder(&self) -> &Path {
        if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder }
    }

    #[cfg(target_os = "linux")]
    fn open(&self) -> Result<File, OpenError> {
        use rustix::fs::{ResolveFlags, openat2};
        /// The kernel asks for another try where something was renamed on the way.
        const TRIES: usize = 16;
        let folder = openat(CWD, self.folder(), FOLDER, Mode::empty())?;
        let rest = if self.rest.as_os_str().is_empty() { Path::new(".") } else { &self.rest };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut last = Errno::AGAIN;
        for _ in 0..TRIES {
            match openat2(&folder, rest, READ, Mode::empty(), resolve) {
                Ok(file) => return Ok(file.into()),
                Err(Errno::AGAIN) => {}
                // No such call in this kernel, or not for this process.
                Err(Errno::NOSYS | Errno::PERM) => return self.walk(),
                Err(error) => {
                    last = error;
                    break;
                }
            }
        }
        Err(OpenError::of_link(last))
    }

    #[cfg(not(target_os = "linux"))]
    fn open(&self) -> Result<File, OpenError> {
        self.walk()
    }

    /// The same without the kernel's help: the path is resolved, and has to be without links when
    /// it is walked afterwards.
    fn walk(&self) -> Result<File, OpenError> {
        let folder = self.folder().canonicalize()?;
        let path = folder.join(&self.rest).canonicalize()?;
        let rest = path.strip_prefix(&folder).map_err(|_| OpenError::Outside)?;
        let mut at = openat(CWD, &folder, FOLDER, Mode::empty())?;
        let mut names = rest.components().peekable();
        while let Some(name) = names.next() {
            let kind = if names.peek().is_some() { FOLDER } else { READ };
            at = openat(&at, name.as_os_str(), kind | OFlags::NOFOLLOW, Mode::empty())
                .map_err(OpenError::of_link)?;
        }
        Ok(at.into())
    }
}

/// A path without `.` and `..`, as far as its words tell.
pub fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match (part, plain.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                plain.pop();
            }
            _ => plain.push(part),
        }
    }
    plain
}

/// A regular file that is open.
#[derive(Debug)]
pub struct OpenedFile {
    file: File,
    stamp: Stamp,
}

impl OpenedFile {
    fn of(file: File) -> Result<OpenedFile, OpenError> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(OpenError::Directory);
        }
        if !metadata.is_file() {
            return Err(OpenError::Special);
        }
        Ok(OpenedFile { stamp: Stamp::of(&metadata), file })
    }

    /// Its stamp when it was opened.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whether these bytes are its first ones.
    pub fn begins_with(&self, bytes: &[u8]) -> bool {
        use std::os::unix::fs::FileExt;
        let mut first = vec![0; bytes.len()];
        self.file.read_exact_at(&mut first, 0).is_ok() && first == bytes
    }

    /// All of its bytes, and no more than `most_bytes`. Blocks for as long as its file system does.
    ///
    /// # Errors
    /// [`OpenError::TooLarge`]; [`OpenError::Changed`] for one that was written to meanwhile, or is
    /// no file of bytes although it says so; [`OpenError::Io`].
    pub fn read(self, most_bytes: u64) -> Result<Vec<u8>, OpenError> {
        let size = self.stamp.bytes();
        if size > most_bytes {
            return Err(OpenError::TooLarge { most_bytes });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        // One byte more tells a file that has grown, or has no end, from one that ends here.
        (&self.file).take(size + 1).read_to_end(&mut bytes).map_err(|error| {
            // Bytes that are yet to come are no file's.
            let waits = error.kind() == io::ErrorKind::WouldBlock;
            if waits { OpenError::Special } else { error.into() }
        })?;
        let is_whole = bytes.len() as u64 == size;
        if is_whole && Stamp::of_file(&self.file)?.has_contents_of(&self.stamp) {
            Ok(bytes)
        } else {
            Err(OpenError::Changed)
        }
    }
}

/// Why a file is not opened or read. Displays as a sentence about "it", the file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path, or a symbolic link in it, leads out of the folder that the file has to be in.
    #[error(
        "its path, or a symbolic link in its path, leads out of the folder that it has to be in"
    )]
    Outside,
    /// It is a directory.
    #[error("it is a directory, and not a regular file")]
    Directory,
    /// It is a device, pipe or socket.
    #[error("it is a device, pipe or socket, and not a regular file")]
    Special,
    /// It is larger than it may be.
    #[error("it is larger than {} KiB, the most that is read", most_bytes >> 10)]
    TooLarge {
        /// The most that it may have.
        most_bytes: u64,
    },
    /// Its bytes or their number changed between its opening and the end of reading.
    #[error(
        "it changed while it was read, or is not a file on a disk: replace it by renaming a new file, and deploy again"
    )]
    Changed,
    /// The system does not let it be read.
    #[error(transparent)]
    Io(io::Error),
}

impl OpenError {
    /// An error of opening a path that may not lead out of its folder.
    fn of_link(error: Errno) -> OpenError {
        match error {
            Errno::XDEV | Errno::LOOP => OpenError::Outside,
            error => error.into(),
        }
    }
}

impl From<Errno> for OpenError {
    fn from(error: Errno) -> OpenError {
        io::Error::from(error).into()
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> OpenError {
        // A socket has a name, and cannot be opened.
        match error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) {
            true => OpenError::Special,
            false => OpenError::Io(error),
        }
    }
}

#[cfg(test)]
mod tests;
