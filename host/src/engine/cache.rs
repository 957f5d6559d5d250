//! Artifacts on disk.
//!
//! An artifact is native code, and reading one is trusting it: only files that this host wrote are ever
//! mapped. Each file ends in a keyed hash over its name and its contents, with a key that only this host's user can
//! read; a file that was tampered with, cut short, swapped with another, or written by another host or version
//! does not match, is treated as absent and is written anew.
//!
//! ```text
//!   <dir>/host.key                      32 random bytes, mode 0600
//!   <dir>/<name>.cwasm                  artifact | keyed hash (32 bytes)
//!   name = blake3(component bytes, profile, engine compatibility), in hex
//!     or   blake3(component bytes, what its init could see), of a snapshot, which is a component
//! ```
//!
//! The hash stands behind the artifact because an ELF image is found from its first bytes: the file is mapped
//! as it is.

use std::{
    fs::{self, File},
    hash::{Hash, Hasher},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::{Profile, fold};

const KEY_BYTES: usize = 32;
const HASH_BYTES: usize = 32;

/// Why the cache cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The folder or its key cannot be made or read.
    #[error("cannot use the artifact cache {}: {source}", path.display())]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The name of an artifact: what was compiled, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ArtifactName(String);

impl ArtifactName {
    pub(super) fn new(
        digest: &blake3::Hash,
        profile: Profile,
        engine: &wasmtime::Engine,
    ) -> ArtifactName {
        let mut hasher = CompatibilityHasher(blake3::Hasher::new());
        hasher.0.update(digest.as_bytes());
        hasher.0.update(profile.as_str().as_bytes());
        hasher.0.update(&[fold::VERSION]);
        hasher.0.update(env!("CARGO_PKG_VERSION").as_bytes());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        ArtifactName(hasher.0.finalize().to_hex().to_string())
    }

    /// The name of a component's snapshot: what was run, and all that it could see.
    pub(super) fn snapshot(digest: &blake3::Hash, seen: &[u8]) -> ArtifactName {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"snapshot");
        hasher.update(digest.as_bytes());
        hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
        hasher.update(seen);
        ArtifactName(hasher.finalize().to_hex().to_string())
    }
}

/// Feeds what `Hash` writes into blake3, whose result does not change from one process to the next.
struct CompatibilityHasher(blake3::Hasher);

impl Hasher for CompatibilityHasher {
    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// A folder of artifacts with the key that vouches for them.
pub struct ArtifactCache {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
}

impl ArtifactCache {
    /// Opens the cache in `dir`; makes the folder (mode 0700) and the key (mode 0600) if they are missing.
    pub fn open(dir: &Path) -> Result<ArtifactCache, CacheError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| CacheError::Unusable { path, source }
        };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(dir).map_err(unusable(dir))?;
        own(dir).map_err(unusable(dir))?;
        let path = dir.join("host.key");
        let key = match read_key(&path) {
            Ok(key) => key,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_key(&path).map_err(unusable(&path))?;
                // Another process may have been first: what counts is what the file holds.
                read_key(&path).map_err(unusable(&path))?
            }
            Err(error) => return Err(unusable(&path)(error)),
        };
        own(&path).map_err(unusable(&path))?;
        Ok(ArtifactCache { dir: dir.to_owned(), key })
    }

    /// The file of an artifact whose keyed hash is right, or `None`.
    pub(super) fn find(&self, name: &ArtifactName) -> Option<PathBuf> {
        let path = self.path(name);
        match self.verify(name, &path) {
            Ok(true) => Some(path),
            Ok(false) => {
                tracing::warn!(path = %path.display(), "an artifact does not match its keyed hash; compiling it again");
                None
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "an artifact cannot be read; compiling it again");
                None
            }
        }
    }

    /// The contents of a file whose keyed hash is right: what is not mapped.
    pub(super) fn read(&self, name: &ArtifactName) -> Option<Vec<u8>> {
        let mut contents = fs::read(self.find(name)?).ok()?;
        contents.truncate(contents.len().checked_sub(HASH_BYTES)?);
        Some(contents)
    }

    /// Writes an artifact so that it is there whole or not at all, also after a crash.
    pub(super) fn put(&self, name: &ArtifactName, artifact: &[u8]) -> io::Result<PathBuf> {
        let path = self.path(name);
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.dir)?;
        file.write_all(artifact)?;
        file.write_all(self.hash(name, artifact).as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(path)
    }

    fn path(&self, name: &ArtifactName) -> PathBuf {
        self.dir.join(format!("{}.cwasm", name.0))
    }

    fn hash(&self, name: &ArtifactName, artifact: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name.0.as_bytes());
        hasher.update(artifact);
        hasher.finalize()
    }

    fn verify(&self, name: &ArtifactName, path: &Path) -> io::Result<bool> {
        let contents = fs::read(path)?;
        let Some((artifact, stored)) = contents.split_last_chunk::<HASH_BYTES>() else {
            return Ok(false);
        };
        // `blake3::Hash` compares in constant time.
        Ok(self.hash(name, artifact) == blake3::Hash::from_bytes(*stored))
    }
}

/// Whether only this process's user can change a file or folder. Whoever else could, could plant native code.
#[cfg(unix)]
fn own(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::symlink_metadata(path)?;
    let refuse = |what: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    if metadata.file_type().is_symlink() {
        return refuse("it is a symbolic link: name the folder itself");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return refuse("it belongs to another user: name a folder of your own with --cache-dir");
    }
    if metadata.mode() & 0o022 != 0 {
        return refuse("others may write to it: take that right from them (chmod go-w)");
    }
    Ok(())
}

#[cfg(not(unix))]
fn own(_: &Path) -> io::Result<()> {
    Ok(())
}

fn read_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    let mut file = File::open(path)?;
    file.read_exact(&mut key)?;
    if file.read(&mut [0])? != 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "a key has {KEY_BYTES} bytes and this file has more; remove it to have a new one made"
            ),
        ));
    }
    Ok(key)
}

/// Makes the key under another name (mode 0600) and gives it its own only when it is whole. A key that is already there stays.
fn write_key(path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".key-").tempfile_in(dir)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, ArtifactCache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = ArtifactCache::open(dir.path()).unwrap();
        (dir, cache)
    }

    fn name(text: &str) -> ArtifactName {
        ArtifactName(text.into())
    }

    #[test]
    fn what_was_put_is_found_also_by_the_next_process() {
        let (dir, cache) = cache();
        let path = cache.put(&name("a"), b"code").unwrap();
        assert_eq!(cache.find(&name("a")), Some(path.clone()));
        assert_eq!(ArtifactCache::open(dir.path()).unwrap().find(&name("a")), Some(path));
        assert_eq!(cache.find(&name("b")), None);
    }

    #[test]
    fn tampered_cut_short_swapped_and_foreign_artifacts_are_not_found() {
        let (_dir, cache) = cache();
        let path = cache.put(&name("a"), b"code").unwrap();
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[0] ^= 1;
        for bad in [&flipped[..], &good[..good.len() - 1], &good[1..], b"", &[0; HASH_BYTES]] {
            fs::write(&path, bad).unwrap();
            assert_eq!(cache.find(&name("a")), None, "{bad:?}");
        }
        fs::write(cache.path(&name("b")), &good).unwrap();
        assert_eq!(cache.find(&name("b")), None, "an artifact under another's name");
        let (_other_dir, other) = self::cache();
        fs::write(other.path(&name("a")), &good).unwrap();
        assert_eq!(other.find(&name("a")), None, "an artifact of another host");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_the_key() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, _cache) = cache();
        let mode = fs::metadata(dir.path().join("host.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_or_key_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, _cache) = cache();
        for path in [dir.path().join("host.key"), dir.path().to_owned()] {
            let before = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
            let error = ArtifactCache::open(dir.path()).err().unwrap().to_string();
            assert!(
                error.ends_with("others may write to it: take that right from them (chmod go-w)"),
                "{error}"
            );
            fs::set_permissions(&path, before).unwrap();
        }
    }

    #[test]
    fn a_key_of_the_wrong_length_is_refused_in_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("host.key"), [0; 33]).unwrap();
        let error = ArtifactCache::open(dir.path()).err().unwrap().to_string();
        assert!(error.ends_with("host.key: a key has 32 bytes and this file has more; remove it to have a new one made"), "{error}");
    }
}
