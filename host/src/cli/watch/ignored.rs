//! The files that git ignores, as `.gitignore` and `.ignore` files say, and the files that this
//! process writes its output to.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use ignore::{
    WalkBuilder,
    gitignore::{Gitignore, GitignoreBuilder},
};

use super::is_source;

/// The files of rules, the strongest last.
const RULES: [&str; 2] = [".gitignore", ".ignore"];

/// How many files and directories below a root are looked at for rules. Deeper rules are not seen
/// then: a build too many, at worst.
const LOOK: usize = 100_000;

/// What is not watched below some roots.
#[derive(Clone, Debug, Default)]
pub(super) struct Ignored {
    /// The rules of directories, the deepest directory first: its rules are stronger than those
    /// above it.
    rules: Vec<Gitignore>,
    /// Device and inode of standard output and standard error, where they are files.
    outputs: Vec<(u64, u64)>,
}

impl Ignored {
    /// Reads the rules that hold below the roots. `each` is called with everything below them that
    /// is not ignored.
    pub(super) fn read(roots: &[PathBuf], each: &mut dyn FnMut(&Path)) -> Ignored {
        let mut dirs: Vec<PathBuf> = Vec::new();
        for root in roots.iter().filter(|root| root.is_dir()) {
            dirs.extend(above(root));
            let below = root.clone();
            let walk = WalkBuilder::new(root)
                .hidden(false)
                .require_git(false)
                .filter_entry(move |entry| entry.path().strip_prefix(&below).is_ok_and(is_source))
                .build();
            for entry in walk.flatten().take(LOOK) {
                each(entry.path());
                if entry.file_type().is_some_and(|kind| kind.is_dir()) {
                    dirs.push(entry.into_path());
                }
            }
        }
        dirs.sort_by_key(|dir| std::cmp::Reverse(dir.components().count()));
        dirs.dedup();
        let rules = dirs.iter().filter_map(|dir| rules_of(dir)).collect();
        Ignored { rules, outputs: outputs() }
    }

    pub(super) fn contains(&self, path: &Path) -> bool {
        if let Ok(metadata) = path.metadata()
            && self.outputs.contains(&identity(&metadata))
        {
            return true;
        }
        let holding = self.rules.iter().filter(|rules| path.starts_with(rules.path()));
        let decided = holding
            .map(|rules| rules.matched_path_or_any_parents(path, path.is_dir()))
            .find(|matched| !matched.is_none());
        decided.is_some_and(|matched| matched.is_ignore())
    }
}

/// The directories above a root whose rules hold in it: those up to the repository's own.
fn above(root: &Path) -> Vec<PathBuf> {
    let repository = root.ancestors().find(|dir| dir.join(".git").exists());
    let dirs = root.ancestors().skip(1);
    match repository {
        Some(top) => dirs.take_while(|dir| dir.starts_with(top)).map(Path::to_owned).collect(),
        None => Vec::new(),
    }
}

fn rules_of(dir: &Path) -> Option<Gitignore> {
    let mut builder = GitignoreBuilder::new(dir);
    let files = RULES.map(|name| dir.join(name));
    let found = files.into_iter().chain([dir.join(".git/info/exclude")]).filter(|f| f.is_file());
    let mut any = false;
    for file in found {
        // A rule that is none is passed over, as git does.
        let _ = builder.add(file);
        any = true;
    }
    any.then(|| builder.build().ok()).flatten()
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// A log in a watched directory changes with everything that is said, a build's end among it.
fn outputs() -> Vec<(u64, u64)> {
    let of = |stat: rustix::io::Result<rustix::fs::Stat>| {
        stat.ok().map(|stat| (stat.st_dev, stat.st_ino))
    };
    [of(rustix::fs::fstat(std::io::stdout())), of(rustix::fs::fstat(std::io::stderr()))]
        .into_iter()
        .flatten()
        .collect()
}
