//! The check that the cache is the host's alone.
//!
//! An artifact is native code, and the key says which artifacts are the host's. So only the host's
//! user may be able to change a file of the cache, the cache's folder, or any folder or link on the
//! way to that folder; and only the host's user may read the key. Root may do all of it anyway, and
//! so may the owner of `/`, which is root under another number in a user namespace.
//!
//! A folder that others may read is no harm, which is what a umask of 022 makes. A folder on the
//! way in which all users may make files, but remove only their own, is none either: the sticky
//! bit, as of `/tmp`.

use std::{
    collections::VecDeque,
    fs::{self, File, FileType, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
};

/// Links that are followed on the way to a folder, as Linux does.
const MAX_LINKS: usize = 40;

const STICKY: u32 = 0o1000;

/// A fault of a file or folder of the cache. Displays as a sentence that ends with what repairs it.
#[derive(Debug, thiserror::Error)]
#[error("the artifact cache is not the host's alone: {} {what}; {repair}", path.display())]
pub struct Untrusted {
    path: PathBuf,
    what: String,
    repair: String,
}

impl Untrusted {
    pub(super) fn new(path: &Path, what: String, repair: String) -> Untrusted {
        Untrusted { path: path.to_owned(), what, repair }
    }
}

/// Why a file or folder is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Refused {
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Refused::System(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// A requirement on a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No other user reads or writes.
    Secret,
    /// No other process writes.
    Own,
    /// No other user removes an entry: a folder on the way.
    OnTheWay,
}

/// The users whose files are the host's.
#[derive(Clone, Copy, Debug)]
struct Users {
    own: u32,
    owner_of_root: u32,
}

impl Users {
    fn of_this_process() -> io::Result<Users> {
        let own = rustix::process::geteuid().as_raw();
        Ok(Users { own, owner_of_root: fs::symlink_metadata("/")?.uid() })
    }

    fn check_owner(self, path: &Path, uid: u32) -> Result<(), Untrusted> {
        if [0, self.own, self.owner_of_root].contains(&uid) {
            return Ok(());
        }
        let own = self.own;
        let what = format!("belongs to user {uid}, and the host runs as user {own}");
        let repair = format!(
            "give it to the host's user with `chown {own} {}`, or name another folder with --cache-dir",
            quoted(path)
        );
        Err(Untrusted::new(path, what, repair))
    }
}

/// Whether the mode leaves to others what `kind` does not.
fn check_mode(path: &Path, mode: u32, kind: Kind) -> Result<(), Untrusted> {
    let harmful = match kind {
        Kind::Secret => 0o077,
        Kind::OnTheWay if mode & STICKY != 0 => 0,
        Kind::Own | Kind::OnTheWay => 0o022,
    };
    let found = mode & harmful;
    if found == 0 {
        return Ok(());
    }
    let whom = if found & 0o007 != 0 { "by everybody" } else { "by its group" };
    let may = if found & 0o022 != 0 { "written to" } else { "read" };
    let what = format!("may be {may} {whom} (mode {:04o})", mode & 0o7777);
    let path_text = quoted(path);
    let repair = match kind {
        Kind::Secret => format!(
            "take that right away with `chmod 600 {path_text}`, and have a new key made if a stranger may know this one: `rm {path_text}`"
        ),
        Kind::Own | Kind::OnTheWay => {
            format!("take that right away with `chmod go-w {path_text}`")
        }
    };
    Err(Untrusted::new(path, what, repair))
}

/// Opens a file of the cache without waiting, also where a pipe has that name. No link is followed.
pub(super) fn open(path: &Path, options: &mut OpenOptions, kind: Kind) -> Result<File, Refused> {
    let opened = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let (file, metadata) = match opened {
        Ok(file) => {
            let metadata = file.metadata()?;
            (Ok(file), metadata)
        }
        // A path that is no file is not always opened, and then the system gives another error.
        Err(error) => {
            let metadata = fs::symlink_metadata(path)?;
            (Err(error), metadata)
        }
    };
    if !metadata.is_file() {
        return Err(no_file(path, metadata.file_type()).into());
    }
    let file = file?;
    Users::of_this_process()?.check_owner(path, metadata.uid())?;
    check_mode(path, metadata.mode(), kind)?;
    Ok(file)
}

fn no_file(path: &Path, found: FileType) -> Untrusted {
    let (what, remove) = match found {
        found if found.is_dir() => ("a folder", "rm -r"),
        found if found.is_symlink() => ("a symbolic link", "rm"),
        found if found.is_fifo() => ("a pipe", "rm"),
        found if found.is_socket() => ("a socket", "rm"),
        _ => ("a device", "rm"),
    };
    Untrusted::new(
        path,
        format!("is {what}, and no file that the host made"),
        format!("remove it with `{remove} {}`", quoted(path)),
    )
}

/// Follows the way to a folder from the root, as the system does, and looks at each folder and link
/// on it. A link or folder that only trusted users can change stays as it is, and so each step is
/// as good as the one before. False: some of the way is not there yet.
pub(super) fn folder(path: &Path) -> Result<bool, Refused> {
    let users = Users::of_this_process()?;
    let mut here = PathBuf::from("/");
    let mut ahead: VecDeque<PathBuf> = parts(&std::path::absolute(path)?).collect();
    let mut links = 0;
    look_at(&here, &fs::symlink_metadata(&here)?, users, ahead.is_empty())?;
    while let Some(part) = ahead.pop_front() {
        if part == Path::new("..") {
            here.pop();
            continue;
        }
        let next = here.join(part);
        let metadata = match fs::symlink_metadata(&next) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if metadata.is_symlink() {
            users.check_owner(&next, metadata.uid())?;
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP).into());
            }
            let target = fs::read_link(&next)?;
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                ahead.push_front(part);
            }
            continue;
        }
        look_at(&next, &metadata, users, ahead.is_empty())?;
        here = next;
    }
    Ok(true)
}

/// The parts of a path that lead somewhere.
fn parts(path: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(_) | Component::ParentDir => Some(Path::new(&part).to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn look_at(path: &Path, metadata: &Metadata, users: Users, is_last: bool) -> Result<(), Refused> {
    if !metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory).into());
    }
    users.check_owner(path, metadata.uid())?;
    check_mode(path, metadata.mode(), if is_last { Kind::Own } else { Kind::OnTheWay })?;
    Ok(())
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests;
