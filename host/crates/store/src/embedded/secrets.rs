//! Secrets of apps: one sealed file for each, and the key file that opens them.
//!
//! ```text
//!   DIR/secrets.key                   the key, mode 0600; in no backup
//!   DIR/TENANT/secrets/APP/NAME       one secret, sealed
//!   DIR/TENANT/s3-keys/ID             one access key for S3, sealed
//! ```
//!
//! A command writes secrets while a host reads them, and neither locks anything: a file is whole,
//! because it gets its name when it is on the disk. A host keeps no secret in memory but the key.
//! It reads the file when an invocation asks, so that a new value reaches the next invocation.

mod key;
mod seal;
#[cfg(test)]
mod tests;

use std::{
    fmt, fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use lacewing_base::{
    SecretName,
    name::{AppName, TenantName},
    secret::{MAX_APP_SECRETS, MAX_SECRET_BYTES},
};
use parking_lot::Mutex;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use self::key::Key;
use super::directory::{self, DirectoryError};

/// The folder of a tenant's secrets, beside the tenant's database.
pub(super) const FOLDER: &str = "secrets";

/// The folder of a tenant's access keys for S3, beside the tenant's database.
pub(super) const S3_FOLDER: &str = "s3-keys";

/// The value of a secret: text. Only [`Secret::expose`] shows the value, and the memory is cleared
/// when the value is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a value of 1 byte to 64 KiB.
    ///
    /// # Errors
    /// The value is empty or too large.
    pub fn new(value: String) -> Result<Secret, SecretError> {
        let value = Zeroizing::new(value);
        match value.len() {
            0 => Err(SecretError::Empty),
            1..=MAX_SECRET_BYTES => Ok(Secret(value)),
            bytes => Err(SecretError::TooLarge { bytes }),
        }
    }

    /// The value.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a secret cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A value without a byte.
    #[error("the value is empty")]
    Empty,
    /// A value over the bound.
    #[error("the value has over {} KiB, the most that a secret may have", MAX_SECRET_BYTES >> 10)]
    TooLarge {
        /// Its size, or at least so many bytes.
        bytes: usize,
    },
    /// A value that is no text.
    #[error("the value is not UTF-8: encode other bytes as text, for example with base64")]
    NotText,
    /// One secret too many.
    #[error("the app has {MAX_APP_SECRETS} secrets, the most that it may have: remove one first")]
    TooMany,
    /// There are sealed files, and not the key that opens them.
    #[error(
        "the key file {} is missing, and secrets or S3 access keys were sealed with it: put the file back; or remove all of them with `lacewing secret remove` and `lacewing s3 remove-key`, and make them again",
        path.display()
    )]
    NoKey {
        /// The key file.
        path: PathBuf,
    },
    /// The key file is not the host's alone.
    #[error("the key file {} is open to others (mode {mode:04o}): run `chmod 600 {}`", path.display(), path.display())]
    KeyOpen {
        /// The key file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key file does not hold a key.
    #[error("the key file {} does not hold 64 hexadecimal digits: put the right file back", path.display())]
    KeyMalformed {
        /// The key file.
        path: PathBuf,
    },
    /// The seal is not that of the key, or not of this tenant, app and name.
    #[error(
        "the secret `{name}` does not open with the key of the state directory: another key sealed it, or its file was moved or damaged; set the secret again, or make another S3 access key"
    )]
    Sealed {
        /// The secret.
        name: SecretName,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers, which a seal needs")]
    NoRandom,
    /// The directory of state.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// An error of the system.
    #[error("{} cannot be used: {error}", path.display())]
    System {
        /// The file or folder.
        path: PathBuf,
        /// The error.
        #[source]
        error: io::Error,
    },
}

impl SecretError {
    fn system(path: &Path, error: io::Error) -> SecretError {
        SecretError::System { path: path.to_owned(), error }
    }

    /// The error in words for the developers of a tenant, who are not told of the host's files. The
    /// host's own log has the rest, at most once a second.
    pub fn for_tenants(&self, name: &SecretName) -> String {
        static LAST_S: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if LAST_S.swap(now, Relaxed) != now {
            tracing::error!(secret = %name, error = %self, "a secret cannot be read");
        }
        format!("the secret `{name}` cannot be read now")
    }
}

/// The secrets of all tenants in a state directory. Nothing is opened or made until the first use.
#[derive(Debug)]
pub struct SecretStore {
    dir: PathBuf,
    key: Mutex<Option<Arc<Key>>>,
}

/// The secrets of one app, or the access keys of a tenant for S3.
#[derive(Clone, Debug)]
pub struct SecretFolder {
    store: Arc<SecretStore>,
    /// The place that seals belong to.
    place: String,
    folder: PathBuf,
}

/// A secret as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSecret {
    /// Its name.
    pub name: SecretName,
    /// When it was last set.
    pub set: SystemTime,
}

impl SecretStore {
    /// The secrets in a state directory, which need not be there.
    pub fn at(dir: &Path) -> SecretStore {
        SecretStore { dir: dir.to_owned(), key: Mutex::default() }
    }

    /// The secrets of an app of a tenant.
    pub fn app(self: &Arc<Self>, tenant: &TenantName, app: &AppName) -> SecretFolder {
        let folder = self.dir.join(tenant.as_str()).join(FOLDER).join(app.as_str());
        SecretFolder { store: self.clone(), place: format!("{tenant}/{app}"), folder }
    }

    /// The access keys of a tenant for S3, by their ids.
    pub fn s3_keys(self: &Arc<Self>, tenant: &TenantName) -> SecretFolder {
        let folder = self.dir.join(tenant.as_str()).join(S3_FOLDER);
        // No app has a colon in its name.
        SecretFolder { store: self.clone(), place: format!("{tenant}/s3:"), folder }
    }

    /// The key, read once.
    fn key(&self) -> Result<Arc<Key>, SecretError> {
        let mut key = self.key.lock();
        match &*key {
            Some(key) => Ok(key.clone()),
            None => {
                let path = self.key_path();
                let read = Key::read(&path)?.ok_or(SecretError::NoKey { path })?;
                Ok(key.insert(Arc::new(read)).clone())
            }
        }
    }

    /// The key, made if nothing was sealed yet.
    fn key_to_seal(&self) -> Result<Arc<Key>, SecretError> {
        match self.key() {
            Err(SecretError::NoKey { path }) if !self.has_secrets()? => {
                Key::make(&path)?;
                self.key()
            }
            key => key,
        }
    }

    fn key_path(&self) -> PathBuf {
        self.dir.join(key::FILE)
    }

    /// Checks that the key can be used, if anything is sealed. Blocks for a look at the folders of
    /// the tenants.
    ///
    /// # Errors
    /// Something is sealed, and the key is missing or refused; or a folder cannot be read.
    pub fn check(&self) -> Result<(), SecretError> {
        match self.key() {
            Err(error) if self.has_secrets()? => Err(error),
            Err(_) | Ok(_) => Ok(()),
        }
    }

    /// Whether anything is sealed.
    fn has_secrets(&self) -> Result<bool, SecretError> {
        let system = |error| SecretError::system(&self.dir, error);
        if !self.dir.is_dir() {
            return Ok(false);
        }
        for (_, folder) in named::<TenantName>(&self.dir).map_err(system)? {
            if !sealed_files(&folder).map_err(system)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl SecretFolder {
    /// The value of a secret; `None` if it is not set. Blocks for as long as the reading of a small
    /// file takes.
    ///
    /// # Errors
    /// The file or the key cannot be read, or the one is not sealed with the other.
    pub fn get(&self, name: &SecretName) -> Result<Option<Secret>, SecretError> {
        let path = self.folder.join(name.as_str());
        let Some(sealed) = read(&path)? else { return Ok(None) };
        let key = self.store.key()?;
        let opened = match seal::open(&key, &self.place(name), &sealed) {
            // Another key may be there since this one was read, as after a backup was put back.
            None => {
                *self.store.key.lock() = None;
                seal::open(&*self.store.key()?, &self.place(name), &sealed)
            }
            opened => opened,
        };
        match opened {
            Some(value) => Secret::new(value).map(Some),
            None => Err(SecretError::Sealed { name: name.clone() }),
        }
    }

    /// Whether a secret is set, without opening it.
    pub fn is_set(&self, name: &SecretName) -> bool {
        self.folder.join(name.as_str()).is_file()
    }

    /// Sets a secret: an invocation that begins afterwards reads the new value. The directory of
    /// state, and its key, are made if they are not there.
    ///
    /// # Errors
    /// The app has too many secrets, or the directory or the key cannot be used.
    pub fn set(&self, name: &SecretName, value: &Secret) -> Result<(), SecretError> {
        directory::prepare(&self.store.dir)?;
        let key = self.store.key_to_seal()?;
        let others = self.list()?.iter().filter(|other| other.name != *name).count();
        if others >= MAX_APP_SECRETS {
            return Err(SecretError::TooMany);
        }
        let sealed = seal::seal(&key, &self.place(name), value.expose())?;
        let system = |error| SecretError::system(&self.folder, error);
        directory::make(&self.folder).map_err(system)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(system)?;
        file.write_all(&sealed).and_then(|()| file.as_file().sync_all()).map_err(system)?;
        let path = self.folder.join(name.as_str());
        file.persist(&path).map_err(|error| SecretError::system(&path, error.error))?;
        directory::sync_folder(&self.folder).map_err(system)
    }

    /// Removes a secret. Returns whether it was set.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(&self, name: &SecretName) -> Result<bool, SecretError> {
        let path = self.folder.join(name.as_str());
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(SecretError::system(&path, error)),
        }
        directory::sync_folder(&self.folder)
            .map_err(|error| SecretError::system(&self.folder, error))?;
        Ok(true)
    }

    /// The secrets that are set, in the order of their names.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<ListedSecret>, SecretError> {
        let system = |error| SecretError::system(&self.folder, error);
        // Files that are being written have other names.
        let files = match named::<SecretName>(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(system)?,
        };
        let mut listed = Vec::new();
        for (name, file) in files {
            let set = file.metadata().and_then(|metadata| metadata.modified()).map_err(system)?;
            listed.push(ListedSecret { name, set });
        }
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listed)
    }

    /// The place that a seal belongs to: a file that is moved to another one does not open.
    fn place(&self, name: &SecretName) -> String {
        format!("{}/{name}", self.place)
    }
}

/// The bytes of a sealed file, if there is one. No link is followed.
fn read(path: &Path) -> Result<Option<Vec<u8>>, SecretError> {
    let mut options = fs::File::options();
    options.read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| SecretError::system(path, error))?,
    };
    let mut sealed = Vec::new();
    file.take(seal::MAX_BYTES + 1)
        .read_to_end(&mut sealed)
        .map_err(|error| SecretError::system(path, error))?;
    Ok(Some(sealed))
}

/// The fault of a state directory whose key does not open what a tenant has sealed.
pub(super) fn inspect(dir: &Path, tenant: &Path) -> Option<String> {
    match sealed_files(tenant) {
        Ok(sealed) if sealed.is_empty() => None,
        Ok(_) => SecretStore::at(dir).key().err().map(|error| error.to_string()),
        Err(error) => Some(SecretError::system(tenant, error).to_string()),
    }
}

/// Copies a tenant's sealed secrets, and not the key, from one folder of the tenant to another.
pub(super) fn back_up(from: &Path, to: &Path) -> io::Result<()> {
    for (folder, file) in sealed_files(from)? {
        let folder = to.join(folder);
        directory::make(&folder)?;
        let copy = folder.join(file.file_name().unwrap_or_default());
        fs::copy(file, &copy)?;
        fs::File::open(copy)?.sync_all()?;
        directory::sync_folder(&folder)?;
    }
    Ok(())
}

/// The sealed files of a tenant, each with its folder in that of the tenant.
fn sealed_files(tenant: &Path) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut folders = vec![PathBuf::from(S3_FOLDER)];
    if tenant.join(FOLDER).is_dir() {
        let apps = named::<AppName>(&tenant.join(FOLDER))?.into_iter();
        folders.extend(apps.map(|(app, _)| Path::new(FOLDER).join(app.as_str())));
    }
    let mut files = Vec::new();
    for folder in folders.into_iter().filter(|folder| tenant.join(folder).is_dir()) {
        let sealed = named::<SecretName>(&tenant.join(&folder))?;
        files.extend(sealed.into_iter().map(|(_, file)| (folder.clone(), file)));
    }
    Ok(files)
}

/// The entries of a folder whose names are names of that kind, with their paths.
fn named<T: FromStr>(folder: &Path) -> io::Result<Vec<(T, PathBuf)>> {
    let mut named = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_str().and_then(|name| name.parse().ok());
        named.extend(name.map(|name| (name, entry.path())));
    }
    Ok(named)
}
