//! Artifacts on disk.
//!
//! An artifact is native code, and reading one is trusting it: only files that this host wrote are
//! ever mapped. Each file ends in a keyed hash over its name and its contents, with a key that only
//! this host's user can read; a file that was tampered with, cut short, swapped with another, or
//! written by another host or version does not match, is treated as absent and is written anew.
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
//! The folder, and every folder on the way to it, has to be the host's alone, and so have the
//! files: where another user could change them, or read the key, the cache is
//! [refused](CacheError::Untrusted), and no host starts with it.
//!
//! The hash stands behind the artifact because an ELF image is found from its first bytes: the file
//! is mapped as it is. It is opened once: what is hashed and what is mapped are the same file,
//! whatever its name leads to by then.

mod trim;
mod trust;

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    hash::{Hash, Hasher},
    io::{self, Read, Seek, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use lacewing_base::file::Stamp;
use parking_lot::Mutex;

pub use trim::{ArtifactOwner, Trimmed};
pub use trust::Untrusted;

use self::trust::{Kind, Refused};

use super::{Profile, fold};

const KEY_BYTES: usize = 32;
const HASH_BYTES: usize = 32;

/// How much is hashed at a time: it stays in the processor's cache, and is enough to hash sixteen
/// KiB side by side.
const CHUNK_BYTES: usize = 64 << 10;

/// Why the cache cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Another user could change what the host runs, or read the key. A host does not start: what
    /// is wrong is to be repaired, or somebody is at work there.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The folder or its key cannot be made or read. A host goes on without a cache.
    #[error("cannot use the artifact cache {}: {source}", path.display())]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// The identity of an engine: artifacts of another version, another profile or other flags are not
/// for it.
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

    /// Whether the file is still the one that was hashed: no process wrote into it since. Another
    /// load may have [touched](ArtifactCache::touch) it, and another file may have taken its
    /// name.
    pub(super) fn is_unchanged(&self) -> bool {
        Stamp::of_file(&self.file).is_ok_and(|now| now.has_contents_of(&self.stamp))
    }
}

/// The result of a look into the cache.
#[derive(Debug)]
pub(super) enum CacheLookup {
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
    owners: Mutex<HashMap<String, ArtifactOwner>>,
}

impl ArtifactCache {
    /// Opens the cache in `dir`; makes the folder (mode 0700) and the key (mode 0600) if they are
    /// missing.
    pub fn open(dir: &Path) -> Result<ArtifactCache, CacheError> {
        let refused = |path: &Path| {
            let path = path.to_owned();
            move |refused| match refused {
                Refused::Untrusted(untrusted) => CacheError::Untrusted(untrusted),
                Refused::System(source) => CacheError::Unusable { path, source },
            }
        };
        make_folder(dir).map_err(refused(dir))?;
        let path = dir.join("host.key");
        let key = match read_key(&path) {
            Err(absent) if absent.is_absence() => {
                // Another process may be first: what counts is what the file holds.
                write_key(&path).map_err(|error| refused(&path)(error.into()))?;
                read_key(&path)
            }
            read => read,
        };
        let key = key.map_err(refused(&path))?;
        let path = dir.join("host.lock");
        let lock = trim::lock(&path).map_err(refused(&path))?;
        Ok(ArtifactCache { dir: dir.to_owned(), key, lock, owners: Mutex::default() })
    }

    /// Looks for an artifact and hashes it. Blocks.
    pub(super) fn find(&self, name: &ArtifactName) -> CacheLookup {
        let path = self.path(name);
        match self.verify(name, &path) {
            Ok(Some(verified)) => CacheLookup::Artifact(verified),
            Ok(None) => {
                tracing::warn!(path = %path.display(), "an artifact does not match its keyed hash; compiling it again");
                CacheLookup::Rejected
            }
            Err(error) if error.is_absence() => CacheLookup::Absent,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "an artifact cannot be read; compiling it again");
                CacheLookup::Rejected
            }
        }
    }

    /// The contents of a file whose keyed hash is right: what is not mapped.
    pub(super) fn read(&self, name: &ArtifactName) -> Option<Vec<u8>> {
        let CacheLookup::Artifact(Verified { mut file, .. }) = self.find(name) else { return None };
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

    /// Puts something of the host's own under the keyed hash, in the file `name`. Like an artifact,
    /// it is there whole or not at all.
    pub fn seal(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.write(&self.dir.join(name), name.as_bytes(), contents)
    }

    /// The artifact that was sealed as `name`. `None`: there is none, or this host did not seal it.
    /// At most `limit_bytes` are read.
    pub fn unseal(&self, name: &str, limit_bytes: u64) -> Option<Vec<u8>> {
        let mut contents = Vec::new();
        let file = match trust::open(&self.dir.join(name), &mut reading(), Kind::Own) {
            Ok(file) => file,
            Err(error) => {
                if !error.is_absence() {
                    tracing::warn!(name, %error, "a file of the cache cannot be read, and is ignored");
                }
                return None;
            }
        };
        contents.reserve(usize::try_from(file.metadata().ok()?.len().min(limit_bytes)).ok()?);
        file.take(limit_bytes).read_to_end(&mut contents).ok()?;
        let (sealed, stored) = contents.split_last_chunk::<HASH_BYTES>()?;
        let mut hasher = self.hasher(name.as_bytes());
        hasher.update(sealed);
        if hasher.finalize() != blake3::Hash::from_bytes(*stored) {
            tracing::warn!(
                name,
                "a file of the cache does not match its keyed hash, and is ignored"
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

    fn verify(&self, name: &ArtifactName, path: &Path) -> Result<Option<Verified>, Refused> {
        let mut file = trust::open(path, &mut reading(), Kind::Own)?;
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

fn reading() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    options
}

/// Makes the folder, and those on the way to it that are missing, unless another user could put
/// something else in its place.
fn make_folder(dir: &Path) -> Result<(), Refused> {
    if trust::folder(dir)? {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // Where all users may make folders, another user may have been first.
    if !trust::folder(dir)? {
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    }
    Ok(())
}

fn read_key(path: &Path) -> Result<[u8; KEY_BYTES], Refused> {
    let mut file = trust::open(path, &mut reading(), Kind::Secret)?;
    let bytes = file.metadata()?.len();
    if bytes != KEY_BYTES as u64 {
        return Err(Untrusted::new(
            path,
            format!("has {bytes} bytes, and a key has {KEY_BYTES}"),
            format!("have a new one made with `rm {}`", trust::quoted(path)),
        )
        .into());
    }
    let mut key = [0; KEY_BYTES];
    file.read_exact(&mut key)?;
    Ok(key)
}

/// Makes the key under another name, with mode 0600 whatever the umask is, and gives it its own
/// only when it is whole and on the disk. A key that is already there stays.
fn write_key(path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".key-").tempfile_in(dir)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error.error),
    }
    // The name as well. Without it, the next start makes another key, and compiles again.
    let _ = File::open(dir).and_then(|dir| dir.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests;
