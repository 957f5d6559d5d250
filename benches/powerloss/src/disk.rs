//! The replay of a record: the files of a directory, and what of them a disk has to have kept.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use super::{Record, Records};

/// The part of a write that a disk keeps or loses as a whole.
const SECTOR: usize = 512;

/// What a loss of power leaves of changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All changes: the directory as the process saw it.
    Nothing,
    /// No change.
    Everything,
    /// Some sectors of some writes, in any order, and some changes of names, in their order.
    Part,
}

/// A record that does not fit to its directory.
#[derive(Debug, thiserror::Error)]
#[error("the record names {what}, which is not in the directory")]
pub struct ReplayError {
    what: String,
}

/// A directory, with the changes that no sync covers.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    root: PathBuf,
    files: HashMap<u64, Node>,
    /// Names, relative to the root, of which the disk is certain.
    durable: BTreeMap<PathBuf, u64>,
    /// Names as the process sees them.
    live: BTreeMap<PathBuf, u64>,
    names: Vec<NameChange>,
}

#[derive(Clone, Debug)]
struct Node {
    is_folder: bool,
    /// Of which the disk is certain.
    content: Vec<u8>,
    changes: Vec<(u64, Change)>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Resize(u64),
}

#[derive(Clone, Debug)]
struct NameChange {
    at: u64,
    folder: Option<u64>,
    removed: Option<PathBuf>,
    added: Option<(PathBuf, u64)>,
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write(offset, bytes) => {
                let from = usize::try_from(*offset).unwrap_or(usize::MAX);
                let to = from.saturating_add(bytes.len());
                content.resize(content.len().max(to), 0);
                content[from..to].copy_from_slice(bytes);
            }
            Change::Resize(bytes) => content.resize(usize::try_from(*bytes).unwrap_or(0), 0),
        }
    }

    /// The sectors of a write, or the change itself.
    fn sectors(self) -> Vec<Change> {
        let Change::Write(offset, bytes) = self else { return vec![self] };
        let sector = |(at, bytes): (usize, &[u8])| {
            Change::Write(offset + (at * SECTOR) as u64, bytes.to_vec())
        };
        bytes.chunks(SECTOR).enumerate().map(sector).collect()
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        if let (Some(from), Some((to, _))) = (&self.removed, &self.added) {
            // What is in a folder goes with the folder.
            let moved: Vec<_> =
                names.keys().filter(|path| path.starts_with(from)).cloned().collect();
            for path in moved {
                let rest = path.strip_prefix(from).unwrap_or(&path);
                let new = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                if let Some(inode) = names.remove(&path) {
                    names.insert(new, inode);
                }
            }
        }
        if let Some(path) = &self.removed {
            names.remove(path);
        }
        if let Some((path, inode)) = &self.added {
            names.insert(path.clone(), *inode);
        }
    }
}

impl Disk {
    /// A directory of which all is on the disk.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn read(root: &Path) -> io::Result<Disk> {
        let mut disk = Disk { root: root.canonicalize()?, ..Disk::default() };
        let mut folders = vec![disk.root.clone()];
        disk.add(&disk.root.clone())?;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                disk.add(&path)?;
                folders.extend(path.is_dir().then_some(path));
            }
        }
        disk.live = disk.durable.clone();
        Ok(disk)
    }

    fn add(&mut self, path: &Path) -> io::Result<()> {
        let meta = fs::symlink_metadata(path)?;
        let content = if meta.is_file() { fs::read(path)? } else { Vec::new() };
        let node = Node { is_folder: meta.is_dir(), content, changes: Vec::new() };
        self.files.insert(meta.ino(), node);
        let name = path.strip_prefix(&self.root).unwrap_or(path).to_owned();
        self.durable.insert(name, meta.ino());
        Ok(())
    }

    fn name(&self, path: &[u8]) -> Result<PathBuf, ReplayError> {
        let path = Path::new(OsStr::from_bytes(path));
        let name = path.strip_prefix(&self.root);
        name.map(Path::to_owned).map_err(|_| ReplayError { what: path.display().to_string() })
    }

    /// Does what a record says. A sync of a file whose path `forgets` says yes to is left out: a
    /// disk that lies, or a program that does not sync.
    ///
    /// # Errors
    /// The record is not of this directory, or the recorder does not see all changes.
    pub fn replay(
        &mut self,
        record: &[u8],
        forgets: impl Fn(&Path) -> bool,
    ) -> Result<(), ReplayError> {
        for (at, record) in Records::new(record) {
            match record {
                Record::File { inode, path } => self.make(at, inode, path, false)?,
                Record::Folder { inode, path } => self.make(at, inode, path, true)?,
                Record::Write { inode, offset, bytes } => {
                    self.node(inode)?.changes.push((at, Change::Write(offset, bytes.to_vec())));
                }
                Record::Resize { inode, bytes } => {
                    self.node(inode)?.changes.push((at, Change::Resize(bytes)));
                }
                Record::Rename { from, to } => {
                    let (from, to) = (self.name(from)?, self.name(to)?);
                    let inode = self.inode(&from)?;
                    self.change(at, &to.clone(), Some(from), Some((to, inode)));
                }
                Record::Link { from, to } => {
                    let (from, to) = (self.name(from)?, self.name(to)?);
                    let inode = self.inode(&from)?;
                    self.change(at, &to.clone(), None, Some((to, inode)));
                }
                Record::Remove { path } => {
                    let path = self.name(path)?;
                    self.change(at, &path.clone(), Some(path), None);
                }
                Record::Sync { inode, begun } => {
                    let mut paths = self.live.iter().filter(|(_, live)| **live == inode);
                    if !paths.any(|(path, _)| forgets(path)) {
                        self.sync(inode, begun)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn node(&mut self, inode: u64) -> Result<&mut Node, ReplayError> {
        let unknown = || ReplayError { what: format!("inode {inode}") };
        self.files.get_mut(&inode).ok_or_else(unknown)
    }

    fn inode(&self, name: &Path) -> Result<u64, ReplayError> {
        let unknown = || ReplayError { what: name.display().to_string() };
        self.live.get(name).copied().ok_or_else(unknown)
    }

    fn make(
        &mut self,
        at: u64,
        inode: u64,
        path: &[u8],
        is_folder: bool,
    ) -> Result<(), ReplayError> {
        let path = self.name(path)?;
        // The number of an inode that is gone is used again. The disk may still have the old file.
        if let Some(old) = self.files.remove(&inode) {
            let kept = u64::MAX - self.files.len() as u64;
            self.files.insert(kept, old);
            for durable in self.durable.values_mut().filter(|durable| **durable == inode) {
                *durable = kept;
            }
            for (_, added) in self.names.iter_mut().filter_map(|change| change.added.as_mut()) {
                *added = if *added == inode { kept } else { *added };
            }
        }
        self.files.insert(inode, Node { is_folder, content: Vec::new(), changes: Vec::new() });
        self.change(at, &path.clone(), None, Some((path, inode)));
        Ok(())
    }

    /// Notes a change of the names in the folder of `path`.
    fn change(
        &mut self,
        at: u64,
        path: &Path,
        removed: Option<PathBuf>,
        added: Option<(PathBuf, u64)>,
    ) {
        let folder = path.parent().and_then(|folder| self.live.get(folder)).copied();
        let change = NameChange { at, folder, removed, added };
        change.apply(&mut self.live);
        self.names.push(change);
    }

    fn sync(&mut self, inode: u64, begun: u64) -> Result<(), ReplayError> {
        let node = self.node(inode)?;
        let covered = node.changes.partition_point(|(at, _)| *at < begun);
        for (_, change) in node.changes.drain(..covered) {
            change.apply(&mut node.content);
        }
        let is_covered = |change: &NameChange| change.folder == Some(inode) && change.at < begun;
        let (covered, left) = self.names.drain(..).partition(is_covered);
        self.names = left;
        let covered: Vec<NameChange> = covered;
        covered.iter().for_each(|change| change.apply(&mut self.durable));
        Ok(())
    }

    /// The files after a loss of power, by their names; `None` is a folder. `random` gives numbers
    /// below its argument.
    pub fn after(
        mut self,
        loss: Loss,
        random: &mut impl FnMut(u64) -> u64,
    ) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let kept = match loss {
            Loss::Nothing => self.names.len(),
            Loss::Everything => 0,
            Loss::Part => usize::try_from(random(self.names.len() as u64 + 1)).unwrap_or(0),
        };
        self.names[..kept].iter().for_each(|change| change.apply(&mut self.durable));
        for node in self.files.values_mut() {
            let changes = node.changes.drain(..).map(|(_, change)| change);
            let kept: Vec<Change> = match loss {
                Loss::Nothing => changes.collect(),
                Loss::Everything => Vec::new(),
                Loss::Part => {
                    // Mostly all or nothing of a file, sometimes a mixture.
                    let odds = [0, 1, 9, 10][usize::try_from(random(4)).unwrap_or(0)];
                    let sectors = changes.flat_map(Change::sectors);
                    sectors.filter(|_| random(10) < odds).collect()
                }
            };
            kept.iter().for_each(|change| change.apply(&mut node.content));
        }
        let mut after: BTreeMap<PathBuf, Option<Vec<u8>>> = BTreeMap::new();
        for (name, inode) in &self.durable {
            // A name in a folder that was lost is lost too.
            let is_there = |folder: &Path| after.get(folder).is_some_and(Option::is_none);
            let is_lost = name.parent().is_some_and(|folder| !is_there(folder));
            let Some(node) = self.files.get(inode).filter(|_| !is_lost) else { continue };
            after.insert(name.clone(), (!node.is_folder).then(|| node.content.clone()));
        }
        after
    }

    /// Makes a directory what [`Disk::after`] says. Only the user may read the files and folders: a
    /// record has no permissions, and the host refuses keys that others may read.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(root: &Path, files: &BTreeMap<PathBuf, Option<Vec<u8>>>) -> io::Result<()> {
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
        for (name, content) in files {
            match content {
                Some(content) => {
                    let mut options = fs::OpenOptions::new();
                    options.write(true).create_new(true).mode(0o600);
                    options.open(root.join(name))?.write_all(content)?;
                }
                // The root is there.
                None if name.as_os_str().is_empty() => {}
                None => fs::DirBuilder::new().mode(0o700).create(root.join(name))?,
            }
        }
        Ok(())
    }
}
