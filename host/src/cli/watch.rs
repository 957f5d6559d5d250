//! `--watch`: says that a function's sources changed, once for many changes.
//!
//! ```text
//! file system -> debouncer's thread -> [set of paths, at most 64] -> changed()
//! ```
//!
//! A change that the build itself has made is none (`outputs`), and neither is one of a file that
//! git ignores (`ignored`), unless the build has read that file. Nothing queues up while a build
//! runs: changes fall into one set, and the next call of [`SourceWatch::changed`] takes it.

mod ignored;
mod outputs;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode,
    event::{AccessKind, AccessMode, ModifyKind},
};
use notify_debouncer_full::{
    DebounceEventResult, DebouncedEvent, Debouncer, NoCache, new_debouncer_opt,
};
use parking_lot::Mutex;
use tokio::{sync::Notify, time};

pub use outputs::Window;

use self::{ignored::Ignored, outputs::Outputs};

/// How long the file system must be quiet before a change is reported: an editor's save is several
/// events.
const QUIET: Duration = Duration::from_millis(50);
/// How long it may be kept waiting for that quiet.
const QUIET_AT_MOST: Duration = Duration::from_secs(2);
/// How many changed paths are remembered. More are a change all the same.
const PATHS: usize = 64;

/// The sources of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Files, and directories with everything in them that may be a source: no directory called
    /// `target` or `node_modules` in a root, no file that git ignores, no log, and no name
    /// that begins with a dot (but for `.cargo`).
    pub roots: Vec<PathBuf>,
    /// Files that the build has read, or would read if they were there, and directories of such
    /// files, whatever their names.
    pub files: Vec<PathBuf>,
    /// Files and directories that building writes to.
    pub ignored: Vec<PathBuf>,
}

impl Sources {
    /// A directory, a component or a manifest of which nothing more is known: it was not built yet.
    pub fn of(path: impl Into<PathBuf>) -> Sources {
        Sources { roots: vec![path.into()], ..Sources::default() }
    }

    /// These and the others'.
    pub fn extend(&mut self, others: Sources) {
        self.roots.extend(others.roots);
        self.files.extend(others.files);
        self.ignored.extend(others.ignored);
    }

    /// Absolute paths, links resolved: as the file system reports them. A root that does not exist
    /// cannot be watched.
    fn resolved(self) -> Sources {
        let ignored: Vec<PathBuf> = self.ignored.iter().map(|path| resolved(path)).collect();
        let roots = self.roots.iter().filter_map(|path| path.canonicalize().ok());
        let files = self.files.iter().map(|path| resolved(path));
        // Those that a build script has written, of which dep-info tells too.
        let files = files.filter(|path| !ignored.iter().any(|ignored| path.starts_with(ignored)));
        Sources { roots: sorted(roots), files: sorted(files), ignored }
    }

    /// Whether a path is part of the sources, as far as its name tells.
    fn contains(&self, path: &Path) -> bool {
        self.has_read(path)
            || (!self.ignored.iter().any(|ignored| path.starts_with(ignored))
                && self.roots.iter().any(|root| path.strip_prefix(root).is_ok_and(is_source)))
    }

    /// Whether a path is one of [`Sources::files`], or below one.
    fn has_read(&self, path: &Path) -> bool {
        path.ancestors()
            .any(|above| self.files.binary_search_by(|file| file.as_path().cmp(above)).is_ok())
    }
}

fn sorted(paths: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = paths.collect();
    paths.sort();
    paths.dedup();
    paths
}

/// A path without links. It may be made later, when its parent is there.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            parent.canonicalize().map_or_else(|_| path.to_owned(), |parent| parent.join(name))
        }
        _ => path.to_owned(),
    })
}

/// Whether a path below a root is one that people write.
fn is_source(below_root: &Path) -> bool {
    let mut names = below_root.iter().map(|name| name.to_string_lossy());
    let first_is_output =
        names.clone().next().is_some_and(|n| n == "target" || n == "node_modules");
    let hidden =
        |name: &str| name.starts_with('.') && !matches!(name, ".cargo" | ".gitignore" | ".ignore");
    // Editors' backups, the file that vim makes to see whether it can, and logs, this host's own
    // among them.
    let scratch =
        |name: &str| name == "4913" || [".log", ".swp", "~"].iter().any(|end| name.ends_with(end));
    !first_is_output && !names.any(|name| hidden(&name) || scratch(&name))
}

/// Why sources are not watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system does not give us a watcher.
    #[error("cannot watch files")]
    Start(#[source] notify::Error),
    /// A directory cannot be watched.
    #[error("cannot watch {}{}", path.display(), watch_limit(source))]
    Path {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: notify::Error,
    },
}

fn watch_limit(error: &notify::Error) -> &'static str {
    match error.kind {
        notify::ErrorKind::MaxFilesWatch => " (raise the sysctl fs.inotify.max_user_watches)",
        _ => "",
    }
}

/// The changes since the last ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Sources that differ. None, where nothing but outputs is new.
    pub sources: Vec<PathBuf>,
    /// Files that turned out to be written by the build itself, and start no build any more.
    pub outputs: Vec<PathBuf>,
}

/// A watch over some [`Sources`].
#[derive(Debug)]
pub struct SourceWatch {
    debouncer: Debouncer<RecommendedWatcher, NoCache>,
    shared: Arc<WatchState>,
    watched: Directories,
}

/// Directories to watch; `true` for those with everything in them.
type Directories = BTreeMap<PathBuf, bool>;

#[derive(Debug)]
struct WatchState {
    watched: Mutex<WatchedFolder>,
    changed: Mutex<BTreeSet<PathBuf>>,
    wake: Notify,
}

#[derive(Debug)]
struct WatchedFolder {
    sources: Sources,
    ignored: Ignored,
    outputs: Outputs,
}

impl WatchedFolder {
    fn contains(&self, path: &Path) -> bool {
        let WatchedFolder { sources, ignored, outputs } = self;
        sources.contains(path)
            && (sources.has_read(path) || !ignored.contains(path))
            && !outputs.contains(path)
    }
}

impl SourceWatch {
    /// Starts watching the sources of a first build.
    ///
    /// # Errors
    /// The system refuses, or has no room for as many directories.
    pub fn new(sources: Sources, first: Window) -> Result<SourceWatch, WatchError> {
        let sources = sources.resolved();
        let mut outputs = Outputs::of_first(first);
        let ignored = Ignored::read(&sources.roots, &mut |path| outputs.learn(path));
        let shared = Arc::new(WatchState {
            watched: Mutex::new(WatchedFolder { sources, ignored, outputs }),
            changed: Mutex::default(),
            wake: Notify::new(),
        });
        let handler = {
            let shared = shared.clone();
            move |result: DebounceEventResult| shared.handle(result)
        };
        let config = notify::Config::default();
        let debouncer = new_debouncer_opt(QUIET, Some(QUIET), handler, NoCache, config)
            .map_err(WatchError::Start)?;
        let mut watch = SourceWatch { debouncer, shared, watched: Directories::new() };
        watch.add_all()?;
        Ok(watch)
    }

    /// Says that a build begins, or that it has ended without telling its sources.
    pub fn building(&mut self, window: Window) {
        self.shared.watched.lock().outputs.set_window(window);
    }

    /// Watches these sources from now on: those that a build has reported. Where not everything was
    /// built, the sources that were watched before stay with them.
    ///
    /// # Errors
    /// As [`SourceWatch::new`].
    pub fn set(
        &mut self,
        mut sources: Sources,
        window: Window,
        is_whole: bool,
    ) -> Result<(), WatchError> {
        if !is_whole {
            sources.extend(self.shared.watched.lock().sources.clone());
        }
        let sources = sources.resolved();
        let ignored = Ignored::read(&sources.roots, &mut |_| {});
        {
            let mut watched = self.shared.watched.lock();
            watched.outputs.set_window(window);
            (watched.sources, watched.ignored) = (sources, ignored);
        }
        self.add_all()
    }

    /// Watches what is not watched yet. Events of paths that are no longer sources are filtered
    /// out: taking a watch away could take a part of another's tree.
    fn add_all(&mut self) -> Result<(), WatchError> {
        let wanted = directories(&self.shared.watched.lock().sources);
        wanted.into_iter().try_for_each(|(path, tree)| self.add(path, tree))
    }

    fn add(&mut self, path: PathBuf, tree: bool) -> Result<(), WatchError> {
        if self.watched.get(&path).is_some_and(|&watched| watched || !tree) {
            return Ok(());
        }
        let mut above = path.ancestors().skip(1);
        if !tree && above.any(|above| self.watched.get(above).is_some_and(|&tree| tree)) {
            return Ok(());
        }
        let mode = if tree { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        match self.debouncer.watch(&path, mode) {
            Ok(()) => {
                self.watched.insert(path, tree);
                Ok(())
            }
            // Deleted since it was listed; there will be an event when it is back.
            Err(_) if !path.exists() => Ok(()),
            Err(source) => Err(WatchError::Path { path, source }),
        }
    }

    /// Waits until sources have changed and the file system is quiet again; returns what changed,
    /// 64 paths at the most, and what building has written. May be dropped and called again
    /// without losing a change.
    ///
    /// # Errors
    /// A directory that is new cannot be watched.
    pub async fn changed(&mut self) -> Result<Changed, WatchError> {
        let shared = self.shared.clone();
        loop {
            while shared.changed.lock().is_empty() {
                shared.wake.notified().await;
            }
            // It is the timeout that is waited for: each further change starts another.
            let quiet =
                async { while time::timeout(2 * QUIET, shared.wake.notified()).await.is_ok() {} };
            let _ = time::timeout(QUIET_AT_MOST, quiet).await;
            let mut changed = std::mem::take(&mut *shared.changed.lock());
            // A directory that is new in a root, or is there again, has no watch.
            self.watched.retain(|path, _| !changed.contains(path));
            self.add_all()?;
            let outputs = {
                let mut watched = shared.watched.lock();
                let WatchedFolder { sources, outputs, .. } = &mut *watched;
                outputs.take_new(&mut changed, |path| sources.has_read(path))
            };
            if !(changed.is_empty() && outputs.is_empty()) {
                return Ok(Changed { sources: changed.into_iter().collect(), outputs });
            }
        }
    }
}

impl WatchState {
    fn handle(&self, result: DebounceEventResult) {
        let watched = self.watched.lock();
        let sources = &watched.sources;
        let mut changed = self.changed.lock();
        let before = changed.len();
        match result {
            Ok(events) => {
                for event in events.iter().filter(|event| is_change(event)) {
                    let paths = event.paths.iter().filter(|path| watched.contains(path));
                    let room = PATHS.saturating_sub(changed.len());
                    changed.extend(paths.take(room).cloned());
                    if event.need_rescan() {
                        changed.extend(sources.roots.first().cloned());
                    }
                }
            }
            // Events may have been missed: taken for a change, at worst a build too many.
            Err(_) => changed.extend(sources.roots.first().cloned()),
        }
        if changed.len() > before || before == PATHS {
            self.wake.notify_one();
        }
    }
}

/// Reading is no change, and neither is an attribute.
fn is_change(event: &DebouncedEvent) -> bool {
    match event.kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Metadata(_)) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

/// The directories to watch: a root itself, and whole trees for those of its directories that hold
/// sources. A build's output, thousands of directories of it, often lies beside them.
fn directories(sources: &Sources) -> Directories {
    let mut found = Directories::new();
    for root in &sources.roots {
        if !root.is_dir() {
            // An editor may replace the file; its directory stays.
            root.parent().map(|dir| found.entry(dir.to_owned()).or_default());
            continue;
        }
        found.entry(root.clone()).or_default();
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let trees = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
        found.extend(trees.filter(|path| sources.contains(path)).map(|path| (path, true)));
    }
    for file in &sources.files {
        match file.parent() {
            _ if file.is_dir() => {
                found.insert(file.clone(), true);
            }
            Some(dir) if dir.is_dir() => {
                found.entry(dir.to_owned()).or_default();
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests;
