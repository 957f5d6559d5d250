//! The bound on the size of the cache.
//!
//! Artifacts of components that are no longer served go until the rest fits. The tenant with the
//! most such bytes for its weight loses the one that was written or deployed longest ago. So a
//! tenant that deploys another component each minute pushes out its own. The tenant of an artifact
//! is known if it was registered since this process began; all others count as one tenant's.
//! Artifacts that are registered in this host stay, whatever they take. Another process may have
//! registered others. Nothing goes while another process uses the folder: each holds a shared lock
//! on it, and removing needs the lock alone.

use std::{
    cmp::Reverse,
    collections::HashMap,
    fs::{self, File, FileTimes, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use lacewing_base::{fair::Portion, name::TenantName};

use super::{
    ARTIFACT_SUFFIX, ArtifactCache, ArtifactName,
    trust::{self, Kind, Refused},
};

/// The tenant of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ArtifactOwner {
    /// The tenant.
    pub tenant: TenantName,
    /// Its part in proportion to the others' weights.
    pub weight: u32,
}

/// How names of files begin that are being written.
pub(super) const NEW_PREFIX: &str = ".new-";
const PREFIXES: [&str; 2] = [NEW_PREFIX, ".key-"];

/// A file that is being written for longer was left by a process that is gone.
const LEFT_AFTER: Duration = Duration::from_secs(3600);

/// The result of trimming the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Artifacts that were removed.
    pub artifacts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes of those that are left.
    pub left_bytes: u64,
}

/// Opens the lock of a folder, and takes it together with others. A process that can open the lock
/// could make all others wait, so only the owner can.
pub(super) fn lock(path: &Path) -> Result<File, Refused> {
    let mut options = OpenOptions::new();
    // To read as well, so that opening a pipe of this name does not wait.
    let lock =
        trust::open(path, options.create(true).read(true).append(true).mode(0o600), Kind::Own)?;
    if lock.metadata()?.mode() & 0o077 != 0 {
        lock.set_permissions(Permissions::from_mode(0o600))?;
    }
    lock.lock_shared()?;
    Ok(lock)
}

struct Candidate {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// Artifacts of one tenant that are not served.
#[derive(Default)]
struct Leftover {
    weight: u32,
    bytes: u64,
    /// The one that was used longest ago last.
    candidates: Vec<Candidate>,
}

/// The artifacts of the folder.
#[derive(Default)]
struct Contents {
    bytes: u64,
    leftovers: HashMap<Option<TenantName>, Leftover>,
}

impl Contents {
    fn add(&mut self, owner: Option<&ArtifactOwner>, candidate: Candidate) {
        let leftover = self.leftovers.entry(owner.map(|owner| owner.tenant.clone())).or_default();
        leftover.weight = owner.map_or(1, |owner| owner.weight);
        leftover.bytes += candidate.bytes;
        leftover.candidates.push(candidate);
    }

    /// Takes out what goes next.
    fn next(&mut self) -> Option<Candidate> {
        let portion = |one: &Leftover| Portion { held: one.bytes, weight: one.weight };
        let left = self.leftovers.values_mut().filter(|one| !one.candidates.is_empty());
        let most = left.max_by_key(|one| portion(one))?;
        let candidate = most.candidates.pop()?;
        most.bytes -= candidate.bytes;
        self.bytes -= candidate.bytes;
        Some(candidate)
    }
}

impl ArtifactCache {
    /// Says that an artifact is in use, for [`ArtifactCache::trim`]. Where the system refuses, it
    /// goes sooner. The time of the last write stays: another load may be about to compare it.
    pub(in crate::engine) fn touch(file: &File) {
        let _ = file.set_times(FileTimes::new().set_accessed(SystemTime::now()));
    }

    /// Removes what a crash left behind, and then artifacts that are not `registered`, until
    /// `limit_bytes` hold the rest. Blocks.
    pub(in crate::engine) fn trim(
        &self,
        limit_bytes: u64,
        registered: HashMap<ArtifactName, ArtifactOwner>,
    ) -> io::Result<Trimmed> {
        let registered = registered.into_iter().map(|(name, owner)| (name.file_name(), owner));
        let mut contents = self.contents(registered.collect())?;
        let mut trimmed = Trimmed { left_bytes: contents.bytes, ..Trimmed::default() };
        if trimmed.left_bytes <= limit_bytes || !self.alone()? {
            return Ok(trimmed);
        }
        while trimmed.left_bytes > limit_bytes
            && let Some(candidate) = contents.next()
        {
            fs::remove_file(&candidate.path)?;
            trimmed.artifacts += 1;
            trimmed.bytes += candidate.bytes;
            trimmed.left_bytes = contents.bytes;
        }
        // Others may come in again.
        self.lock.lock_shared()?;
        Ok(trimmed)
    }

    /// Whether no other process uses the folder. If so, none can begin to until the lock is shared
    /// again.
    fn alone(&self) -> io::Result<bool> {
        match self.lock.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => {
                // Asking may have given up what was held.
                self.lock.lock_shared()?;
                Ok(false)
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The artifacts; what was left behind is removed on the way. Owners are remembered of what is
    /// there.
    fn contents(&self, registered: HashMap<String, ArtifactOwner>) -> io::Result<Contents> {
        let now = SystemTime::now();
        let mut known = self.owners.lock();
        let mut contents = Contents::default();
        let mut owners = HashMap::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // Another process may have removed it.
            let Ok(metadata) = entry.metadata() else { continue };
            // Nothing of the host's, and nothing that removing a file removes.
            if metadata.is_dir() {
                continue;
            }
            let (Ok(written), Ok(used)) = (metadata.modified(), metadata.accessed()) else {
                continue;
            };
            if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                if now.duration_since(written).is_ok_and(|age| age > LEFT_AFTER) {
                    tracing::info!(
                        name,
                        "removed temporary files of an ended process from the cache"
                    );
                    fs::remove_file(entry.path())?;
                }
            } else if name.ends_with(ARTIFACT_SUFFIX) {
                contents.bytes += metadata.len();
                let owner = registered.get(name).or_else(|| known.get(name)).cloned();
                if !registered.contains_key(name) {
                    let (path, bytes) = (entry.path(), metadata.len());
                    contents.add(owner.as_ref(), Candidate { path, bytes, used });
                }
                owners.extend(owner.map(|owner| (name.to_owned(), owner)));
            }
        }
        *known = owners;
        for leftover in contents.leftovers.values_mut() {
            leftover.candidates.sort_unstable_by_key(|candidate| Reverse(candidate.used));
        }
        Ok(contents)
    }
}

#[cfg(test)]
mod tests;
