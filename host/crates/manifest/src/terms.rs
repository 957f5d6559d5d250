//! The operator's terms for a manifest.

use std::path::{Path, PathBuf};

use lacewing_base::file::{Located, Reach};

use super::{EnvNames, MANIFEST_BYTES, ReadError};

/// The operator's limits on a manifest's size and on the files that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// A manifest's size, in bytes. Default 256 KiB, some thousands of functions. The app of a
    /// larger one is refused.
    pub most_bytes: u32,
    /// The folders besides the app's own that components may lie in. `None` for an app whose
    /// developer is the operator: they may lie anywhere.
    pub component_dirs: Option<Vec<PathBuf>>,
    /// The variables of the host's environment that the app may read. `None` for an app whose
    /// developer is the operator: all.
    pub env_names: Option<EnvNames>,
    /// The folders besides the app's own that values of its variables may come from. `None` as for
    /// the names.
    pub env_dirs: Option<Vec<PathBuf>>,
}

impl Terms {
    /// The terms of an app whose developer is the operator.
    pub fn free() -> Terms {
        Terms { most_bytes: MANIFEST_BYTES, component_dirs: None, env_names: None, env_dirs: None }
    }

    /// The file of a manifest, which has to be in its own folder and not only a link there.
    pub(super) fn manifest(&self, path: &Path) -> Result<Located, ReadError> {
        match &self.component_dirs {
            None => Ok(Located::anywhere(path)),
            Some(_) => path
                .parent()
                .and_then(|folder| Located::below(folder, path))
                .ok_or(ReadError::Outside),
        }
    }

    /// Where the components of an app in a folder may lie.
    pub(super) fn reach(&self, root: &Path) -> Reach {
        reach(root, self.component_dirs.as_deref())
    }

    /// Where the values of variables of an app in a folder may come from.
    pub(super) fn env_reach(&self, root: &Path) -> Reach {
        reach(root, self.env_dirs.as_deref())
    }
}

fn reach(root: &Path, dirs: Option<&[PathBuf]>) -> Reach {
    match dirs {
        None => Reach::Anywhere,
        Some(dirs) => Reach::Below([root.to_owned()].iter().chain(dirs).cloned().collect()),
    }
}
