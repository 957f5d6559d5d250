//! Artifacts on disk.
//!
//! An artifact is native code, and reading one is trusting it: only files that this host wrote are ever
//! mapped. Each file ends in a keyed hash over its name and its contents, with a key that only this host's user can
//! read; a file that was tampered with, cut short, swapped with another, or written by another host or version
//! does not match, is treated as absent and is written anew.
//!
//! ```text
//!   <dir>/host.key                      32 random bytes, mode 0600
//!   <dir>/host.lock                     held, shared, by every process that uses the folder
//!   <dir>/<name>.cwasm                  artifact | keyed hash (32 bytes)
//!   <dir>/<name>.ledger                 what was deployed | keyed hash
//!   name = blake3(component bytes, profile, engine compatibility), in hex
//!     or   blake3(component bytes, what its init could see), of a snapshot, which is a component
//! ```
//!
//! The hash stands behind the artifact because an ELF image is found from its first bytes: the file is mapped
//! as it is. It is opened once: what is hashed and what is mapped are the same file, whatever its name leads to by then.

mod trim;

use std::{
    collections::HashMap,
    fs::{self, File},
    hash::{Hash, Hasher},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

pub use trim::{Owner, Trimmed};

use super::{Profile, fold};
use crate::file::Stamp;

const KEY_BYTES: usize = 32;
const HASH_BYTES: usize = 32;

/// How much is hashed at a time: it stays in the processor's cache, and is enough to hash sixteen KiB side by side.
const CHUNK_BYTES: usize = 64 << 10;

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

/// What an engine takes: artifacts of another version, another profile or other flags are not for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compatibility(blake3::Hash);

impl Compatibility {
    pub(super) fn of(engine: &wasmtime::Engine, profile: Profile) -> Compatibility {
        let mut hasher = CompatibilityHasher(blake3::Hasher::new());
        hasher.0.update(profile.as_str().as_bytes());
        hasher.0.update(&[fold::VERSION]);
        hasher.0.update(env!("CARGO_PKG_VERSION").as_bytes());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Compatibility(hasher.0.finalize())
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

/// The name of an artifact: what was compiled, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ArtifactName(blake3::Hash);

impl ArtifactName {
    pub(super) fn new(digest: &blake3::Hash, compatibility: &Compatibility) -> ArtifactName {
        let mut hasher = blake3::Hasher::new();
        hasher.update(digest.as_bytes());
        hasher.update(compatibility.0.as_bytes());
        ArtifactName(hasher.finalize())
    }

    /// The name of a component's snapshot: what was run, and all that it could see.
    pub(super) fn snapshot(digest: &blake3::Hash, seen: &[u8]) -> ArtifactName {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"snapshot");
        hasher.update(digest.as_bytes());
        hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
        hasher.update(seen);
        ArtifactName(hasher.finalize())
    }

    fn file_name(&self) -> String {
        format!("{}{ARTIFACT_SUFFIX}", self.0.to_hex())
    }
}

const ARTIFACT_SUFFIX: &str = ".cwasm";

/// An artifact whose keyed hash was right when it was looked at.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) file: File,
    pub(super) path: PathBuf,
    stamp: Stamp,
}

impl Verified {
    /// Its size in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.stamp.bytes()
    }

    /// Whether the file is still what was hashed: nobody has written into it since.
    pub(super) fn is_unchanged(&self) -> bool {
        Stamp::of_file(&self.file).is_ok_and(|now| now == self.stamp)
    }
}

/// What a look into the cache found.
#[derive(Debug)]
pub(super) enum Found {
    /// An artifact that may be mapped.
    Artifact(Verified),
    /// Nothing.
    Absent,
    /// Something that must not be mapped; the log says why.
    Rejected,
}

/// A folder of artifacts with the key that vouches for them.
#[derive(Debug)]
pub struct ArtifactCache {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
    lock: File,
    /// The tenants that the files are of, or were, as far as that is known.
    owners: Mutex<HashMap<String, Owner>>,
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
        let path = dir.join("host.lock");
        let lock = trim::lock(&path).map_err(unusable(&path))?;
        Ok(ArtifactCache { dir: dir.to_owned(), key, lock, owners: Mutex::default() })
    }

    /// Looks for an artifact and hashes it. Blocks.
    pub(super) fn find(&self, name: &ArtifactName) -> Found {
        let path = self.path(name);
        match self.verify(name, &path) {
            Ok(Some(verified)) => Found::Artifact(verified),
            Ok(None) => {
                tracing::warn!(path = %path.display(), "an artifact does not match its keyed hash; compiling it again");
                Found::Rejected
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Absent,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "an artifact cannot be read; compiling it again");
                Found::Rejected
            }
        }
    }

    /// The contents of a file whose keyed hash is right: what is not mapped.
    pub(super) fn read(&self, name: &ArtifactName) -> Option<Vec<u8>> {
        let Found::Artifact(Verified { mut file, .. }) = self.find(name) else { return None };
        let mut contents = Vec::new();
        ArtifactCache::touch(&file);
        file.rewind().ok()?;
        file.read_to_end(&mut contents).ok()?;
        contents.truncate(contents.len().checked_sub(HASH_BYTES)?);
        Some(contents)
    }

    /// Writes an artifact so that it is there whole or not at all, also after a crash.
    pub(super) fn put(&self, name: &ArtifactName, artifact: &[u8]) -> io::Result<PathBuf> {
        let path = self.path(name);
        self.write(&path, name.0.to_hex().as_bytes(), artifact)?;
        Ok(path)
    }

    /// Puts something of the host's own under the keyed hash, in the file `name`. Like an artifact, it is there whole or
    /// not at all.
    pub fn seal(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.write(&self.dir.join(name), name.as_bytes(), contents)
    }

    /// What was sealed as `name`; `None` if there is nothing, or something that this host did not seal. At most
    /// `limit_bytes` are read.
    pub fn unseal(&self, name: &str, limit_bytes: u64) -> Option<Vec<u8>> {
        let mut contents = Vec::new();
        let file = File::open(self.dir.join(name)).ok()?;
        contents.reserve(usize::try_from(file.metadata().ok()?.len().min(limit_bytes)).ok()?);
        file.take(limit_bytes).read_to_end(&mut contents).ok()?;
        let (sealed, stored) = contents.split_last_chunk::<HASH_BYTES>()?;
        let mut hasher = self.hasher(name.as_bytes());
        hasher.update(sealed);
        if hasher.finalize() != blake3::Hash::from_bytes(*stored) {
            tracing::warn!(
                name,
                "a file of the cache does not match its keyed hash; it is ignored"
            );
            return None;
        }
        contents.truncate(contents.len() - HASH_BYTES);
        Some(contents)
    }

    fn write(&self, path: &Path, name: &[u8], contents: &[u8]) -> io::Result<()> {
        let mut hasher = self.hasher(name);
        hasher.update(contents);
        let mut file = tempfile::Builder::new().prefix(trim::NEW_PREFIX).tempfile_in(&self.dir)?;
        file.write_all(contents)?;
        file.write_all(hasher.finalize().as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    fn path(&self, name: &ArtifactName) -> PathBuf {
        self.dir.join(name.file_name())
    }

    fn hasher(&self, name: &[u8]) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name);
        hasher
    }

    fn verify(&self, name: &ArtifactName, path: &Path) -> io::Result<Option<Verified>> {
        let mut file = File::open(path)?;
        let stamp = Stamp::of_file(&file)?;
        let Some(mut left) = stamp.bytes().checked_sub(HASH_BYTES as u64) else {
            return Ok(None);
        };
        let mut hasher = self.hasher(name.0.to_hex().as_bytes());
        let mut chunk = vec![0; CHUNK_BYTES];
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            file.read_exact(&mut chunk[..part])?;
            hasher.update(&chunk[..part]);
            left -= part as u64;
        }
        let mut stored = [0; HASH_BYTES];
        file.read_exact(&mut stored)?;
        // `blake3::Hash` compares in constant time.
        let right = hasher.finalize() == blake3::Hash::from_bytes(stored);
        Ok(right.then(|| Verified { file, path: path.to_owned(), stamp }))
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
        ArtifactName(blake3::hash(text.as_bytes()))
    }

    fn found(cache: &ArtifactCache, name: &ArtifactName) -> Option<PathBuf> {
        match cache.find(name) {
            Found::Artifact(verified) => Some(verified.path),
            Found::Absent | Found::Rejected => None,
        }
    }

    #[test]
    fn what_was_put_is_found_also_by_the_next_process() {
        let (dir, cache) = cache();
        let path = cache.put(&name("a"), b"code").unwrap();
        assert_eq!(found(&cache, &name("a")), Some(path.clone()));
        assert_eq!(found(&ArtifactCache::open(dir.path()).unwrap(), &name("a")), Some(path));
        assert_eq!(found(&cache, &name("b")), None);
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
            assert_eq!(found(&cache, &name("a")), None, "{bad:?}");
        }
        fs::write(cache.path(&name("b")), &good).unwrap();
        assert_eq!(found(&cache, &name("b")), None, "an artifact under another's name");
        let (_other_dir, other) = self::cache();
        fs::write(other.path(&name("a")), &good).unwrap();
        assert_eq!(found(&other, &name("a")), None, "an artifact of another host");
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

    #[test]
    fn an_artifact_that_is_written_into_after_it_was_hashed_is_noticed() {
        let (_dir, cache) = cache();
        let path = cache.put(&name("a"), b"code").unwrap();
        let Found::Artifact(verified) = cache.find(&name("a")) else { panic!("it was put there") };
        assert!(verified.is_unchanged());
        // Another file under its name does not matter: this one is what is mapped.
        cache.put(&name("a"), b"code").unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        (&file).write_all(b"more").unwrap();
        let Found::Rejected = cache.find(&name("a")) else { panic!("it is longer than it was") };
    }

    #[test]
    fn what_was_sealed_is_unsealed_under_its_name_only() {
        let (dir, cache) = cache();
        cache.seal("a.ledger", b"contents").unwrap();
        assert_eq!(cache.unseal("a.ledger", 1 << 20).as_deref(), Some(&b"contents"[..]));
        fs::copy(dir.path().join("a.ledger"), dir.path().join("b.ledger")).unwrap();
        assert_eq!(cache.unseal("b.ledger", 1 << 20), None);
        assert_eq!(cache.unseal("a.ledger", 8), None, "longer than what is read");
        fs::write(dir.path().join("a.ledger"), b"contents").unwrap();
        assert_eq!(cache.unseal("a.ledger", 1 << 20), None);
    }
}
