//! The files that a build itself writes. A change that the build has made does not start the next
//! build.
//!
//! The first build tells most of them: what changes below the roots while it runs is its output.
//! Later a file may also change because somebody saves it meanwhile. Such a change starts a build,
//! unless the same file changes in build after build: then it is an output that the first build did
//! not write. A file that a build has read is never taken for an output so late: a person who saves
//! it while builds fail would wait in vain.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The number of builds in a row in which a file has to change to be an output.
const IN_A_ROW: u32 = 3;
/// How far the time of a file may be behind the clock: the kernel takes it from its last tick, 10
/// ms ago at most.
const TICK: Duration = Duration::from_millis(10);
/// The number of outputs that are remembered.
const REMEMBERED: usize = 100_000;

/// The time in which a build ran.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Before anything was read.
    pub began: SystemTime,
    /// `None` while it runs.
    pub ended: Option<SystemTime>,
}

impl Window {
    /// A build that begins now.
    pub fn begin() -> Window {
        Window { began: SystemTime::now(), ended: None }
    }

    /// The same build, ending now.
    #[must_use]
    pub fn end(self) -> Window {
        Window { ended: Some(SystemTime::now()), ..self }
    }

    /// Whether the file was changed, made or renamed meanwhile. A file that is gone was not.
    fn has_changed(self, path: &Path) -> bool {
        let Ok(metadata) = path.symlink_metadata() else { return false };
        let (Ok(s), Ok(ns)) =
            (u64::try_from(metadata.ctime()), u32::try_from(metadata.ctime_nsec()))
        else {
            return false;
        };
        let time = UNIX_EPOCH + Duration::new(s, ns);
        time + TICK >= self.began && self.ended.is_none_or(|ended| time <= ended)
    }
}

/// The outputs that are known.
#[derive(Debug)]
pub(super) struct Outputs {
    window: Window,
    known: HashSet<PathBuf>,
    /// Files that changed during builds, with the number of builds in a row.
    changed: BTreeMap<PathBuf, u32>,
}

impl Outputs {
    /// The outputs of a first build.
    pub(super) fn of_first(window: Window) -> Outputs {
        Outputs { window, known: HashSet::new(), changed: BTreeMap::new() }
    }

    /// Takes a file for an output, if the first build has written it.
    pub(super) fn learn(&mut self, path: &Path) {
        if self.known.len() < REMEMBERED && self.window.has_changed(path) {
            self.known.insert(path.to_owned());
        }
    }

    /// Another build begins, or has ended.
    pub(super) fn set_window(&mut self, window: Window) {
        self.window = window;
    }

    /// Whether a change of this file is the build's own and nothing else.
    pub(super) fn contains(&self, path: &Path) -> bool {
        let is_gone = || path.symlink_metadata().is_err();
        self.known.contains(path) && (self.window.has_changed(path) || is_gone())
    }

    /// Takes out of what changed until the end of a build the outputs that show only now. Gives
    /// these. `has_read` says whether a build has read a file.
    pub(super) fn take_new(
        &mut self,
        changed: &mut BTreeSet<PathBuf>,
        has_read: impl Fn(&Path) -> bool,
    ) -> Vec<PathBuf> {
        let is_during = |path: &&PathBuf| !has_read(path) && self.window.has_changed(path);
        let during: Vec<PathBuf> = changed.iter().filter(is_during).cloned().collect();
        let before = std::mem::take(&mut self.changed);
        let mut new = Vec::new();
        for path in during {
            let times = before.get(&path).map_or(1, |times| times + 1);
            if times < IN_A_ROW {
                self.changed.insert(path, times);
            } else if self.known.len() < REMEMBERED {
                changed.remove(&path);
                self.known.insert(path.clone());
                new.push(path);
            }
        }
        // Somebody else writes them too.
        changed.iter().for_each(|path| {
            self.known.remove(path);
        });
        new
    }
}
