//! The key file of a state directory.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use chacha20poly1305::{XChaCha20Poly1305, aead};
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::{super::directory, SecretError};

/// The name of the file. No tenant has a name with a dot.
pub(super) const FILE: &str = "secrets.key";

/// The bytes of a key.
const BYTES: usize = 32;

/// The key that seals and opens the secrets of a state directory.
pub(super) struct Key(XChaCha20Poly1305);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    pub(super) fn cipher(&self) -> &XChaCha20Poly1305 {
        &self.0
    }

    /// Reads a key file; `None` if there is none. A file that others may read or write is refused.
    pub(super) fn read(path: &Path) -> Result<Option<Key>, SecretError> {
        let system = |error| SecretError::system(path, error);
        let mut options = fs::File::options();
        options.read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(system)?,
        };
        let mode = file.metadata().map_err(system)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SecretError::KeyOpen { path: path.to_owned(), mode });
        }
        // Room for all that is read: a buffer that grows would leave copies.
        let mut text = Zeroizing::new(String::with_capacity(2 * BYTES + 2));
        let malformed = || SecretError::KeyMalformed { path: path.to_owned() };
        match file.take(2 * BYTES as u64 + 2).read_to_string(&mut text) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(malformed()),
            read => read.map_err(system)?,
        };
        let bytes = HEX.decode(text.trim_end().as_bytes()).map_err(|_| malformed())?;
        let bytes = Zeroizing::new(bytes);
        let cipher = <XChaCha20Poly1305 as aead::KeyInit>::new_from_slice(&bytes);
        cipher.map(|cipher| Some(Key(cipher))).map_err(|_| malformed())
    }

    /// Makes a key file with a new key, unless there is one by now.
    pub(super) fn make(path: &Path) -> Result<(), SecretError> {
        let system = |error| SecretError::system(path, error);
        let folder = path.parent().unwrap_or(Path::new("."));
        let key = <aead::Key<XChaCha20Poly1305> as aead::Generate>::try_generate();
        let key: Zeroizing<[u8; BYTES]> =
            Zeroizing::new(key.map_err(|_| SecretError::NoRandom)?.into());
        let text = Zeroizing::new(HEX.encode(&*key));
        // The mode is 0600 from the start.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(system)?;
        writeln!(file, "{}", *text).and_then(|()| file.as_file().sync_all()).map_err(system)?;
        match file.persist_noclobber(path) {
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(system(error.error)),
            Ok(_) => directory::sync_folder(folder).map_err(system),
        }
    }
}
