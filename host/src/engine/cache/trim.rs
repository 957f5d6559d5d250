//! How large the cache may become.
//!
//! Artifacts of components that nobody serves any more go, the one that was written or deployed longest ago first, until
//! the rest fits. What is registered in this host stays, whatever it takes. Another process may have registered others,
//! and so nothing goes while another one uses the folder: each holds a shared lock on it, and who removes needs it alone.

use std::{
    collections::HashSet,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{ARTIFACT_SUFFIX, ArtifactCache, ArtifactName};

/// How names of files begin that are being written.
pub(super) const NEW_PREFIX: &str = ".new-";
const PREFIXES: [&str; 2] = [NEW_PREFIX, ".key-"];

/// A file that is being written for longer was left by a process that is gone.
const LEFT_AFTER: Duration = Duration::from_secs(3600);

/// What trimming the cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Artifacts that were removed.
    pub artifacts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes of those that are left.
    pub left_bytes: u64,
}

/// Opens the lock of a folder, and takes it together with others.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let lock = File::options().create(true).append(true).open(path)?;
    lock.lock_shared()?;
    Ok(lock)
}

struct Candidate {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
    registered: bool,
}

impl ArtifactCache {
    /// Says that an artifact is in use, for [`ArtifactCache::trim`]. Where the system refuses, it goes sooner.
    pub(in crate::engine) fn touch(file: &File) {
        let _ = file.set_modified(SystemTime::now());
    }

    /// Removes what a crash left behind, and then artifacts that are not `registered`, the one that was used longest ago
    /// first, until `limit_bytes` hold the rest. Blocks.
    pub(in crate::engine) fn trim(
        &self,
        limit_bytes: u64,
        registered: &HashSet<ArtifactName>,
    ) -> io::Result<Trimmed> {
        let registered: HashSet<String> = registered.iter().map(ArtifactName::file_name).collect();
        let mut trimmed = Trimmed::default();
        let mut candidates = self.candidates(&registered)?;
        trimmed.left_bytes = candidates.iter().map(|candidate| candidate.bytes).sum();
        if trimmed.left_bytes <= limit_bytes || !self.alone()? {
            return Ok(trimmed);
        }
        candidates.sort_by_key(|candidate| (candidate.registered, candidate.used));
        for candidate in candidates.iter().take_while(|candidate| !candidate.registered) {
            if trimmed.left_bytes <= limit_bytes {
                break;
            }
            fs::remove_file(&candidate.path)?;
            trimmed.artifacts += 1;
            trimmed.bytes += candidate.bytes;
            trimmed.left_bytes -= candidate.bytes;
        }
        // Others may come in again.
        self.lock.lock_shared()?;
        Ok(trimmed)
    }

    /// Whether no other process uses the folder. If so, none can begin to until the lock is shared again.
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

    /// The artifacts; what was left behind is removed on the way.
    fn candidates(&self, registered: &HashSet<String>) -> io::Result<Vec<Candidate>> {
        let now = SystemTime::now();
        let mut candidates = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // Another process may have removed it.
            let Ok(metadata) = entry.metadata() else { continue };
            let Ok(used) = metadata.modified() else { continue };
            if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                if now.duration_since(used).is_ok_and(|age| age > LEFT_AFTER) {
                    tracing::info!(name, "removed what a process left behind in the cache");
                    fs::remove_file(entry.path())?;
                }
            } else if name.ends_with(ARTIFACT_SUFFIX) {
                let registered = registered.contains(name);
                let (path, bytes) = (entry.path(), metadata.len());
                candidates.push(Candidate { path, bytes, used, registered });
            }
        }
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ArtifactName {
        ArtifactName(blake3::hash(text.as_bytes()))
    }

    /// A cache with four artifacts of 132 bytes each, `a` the oldest.
    fn cache() -> (tempfile::TempDir, ArtifactCache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = ArtifactCache::open(dir.path()).unwrap();
        for (age, text) in ["d", "c", "b", "a"].into_iter().enumerate() {
            let path = cache.put(&name(text), &[7; 100]).unwrap();
            age_by(&path, Duration::from_secs(10 * age as u64));
        }
        (dir, cache)
    }

    fn age_by(path: &Path, age: Duration) {
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn left(cache: &ArtifactCache) -> String {
        let texts = ["a", "b", "c", "d"];
        texts.into_iter().filter(|text| cache.path(&name(text)).exists()).collect()
    }

    #[test]
    fn the_oldest_go_first_and_what_is_registered_stays() {
        let (_dir, cache) = cache();
        let registered = HashSet::from([name("a")]);
        assert_eq!(cache.trim(4 * 132, &registered).unwrap().artifacts, 0);
        let trimmed = cache.trim(300, &registered).unwrap();
        assert_eq!(trimmed, Trimmed { artifacts: 2, bytes: 264, left_bytes: 264 });
        assert_eq!(left(&cache), "ad");
        let trimmed = cache.trim(0, &registered).unwrap();
        assert_eq!((left(&cache).as_str(), trimmed.left_bytes), ("a", 132));
    }

    #[test]
    fn nothing_goes_while_another_process_uses_the_folder() {
        let (dir, cache) = cache();
        // A lock belongs to an open file: opening it again stands for another process.
        let other = ArtifactCache::open(dir.path()).unwrap();
        assert_eq!(cache.trim(0, &HashSet::new()).unwrap().artifacts, 0);
        assert_eq!(left(&cache), "abcd");
        drop(other);
        assert_eq!(cache.trim(0, &HashSet::new()).unwrap().artifacts, 4);
        // And afterwards others come in again.
        ArtifactCache::open(dir.path()).unwrap();
    }

    #[test]
    fn what_a_crash_left_goes_once_it_is_old() {
        let (dir, cache) = cache();
        let (old, new) = (dir.path().join(".new-old"), dir.path().join(".new-new"));
        for path in [&old, &new] {
            fs::write(path, "half").unwrap();
        }
        age_by(&old, LEFT_AFTER + Duration::from_secs(60));
        cache.trim(u64::MAX, &HashSet::new()).unwrap();
        assert_eq!((old.exists(), new.exists()), (false, true));
        assert_eq!(left(&cache), "abcd");
    }
}
