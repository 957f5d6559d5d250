//! The credential of the API: a token that each start of the host makes anew, in a file of the
//! state directory that only the host's user may read.
//!
//! The file has the address of the listener beside the token. So a program of the same user finds
//! both, and sends no token to a host that did not make it.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};

/// The file in the state directory. No tenant has a name with a dot.
pub(super) const FILE: &str = "lacewing.admin";

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// The largest file that is read, in bytes.
const FILE_BYTES: u64 = 4096;

/// The text of the file.
#[derive(Serialize, Deserialize)]
pub(super) struct CredentialFile {
    /// Where the listener is.
    pub(super) address: SocketAddr,
    /// The token, as it is sent.
    pub(super) token: String,
}

/// The token of this host. Its file goes with it.
pub(crate) struct Credential {
    digest: blake3::Hash,
    path: PathBuf,
}

impl Credential {
    /// Makes a token, and its file in a directory of state.
    pub(crate) fn make(dir: &Path, address: SocketAddr) -> io::Result<Credential> {
        let mut random = [0; TOKEN_BYTES];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let token = blake3::Hash::from_bytes(random).to_hex().to_string();
        let digest = blake3::hash(token.as_bytes());
        let text = serde_json::to_string(&CredentialFile { address: reachable(address), token })?;
        // Of mode 0600 from its first byte on.
        let mut file = tempfile::Builder::new().prefix(".admin-").tempfile_in(dir)?;
        writeln!(file, "{text}")?;
        let path = dir.join(FILE);
        file.persist(&path)?;
        Ok(Credential { digest, path })
    }

    /// Whether the fields of a request have the token. The comparison of digests takes the same
    /// time for all texts.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return false };
        let field = field.as_bytes();
        let Some((scheme, token)) = field.split_at_checked("Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && blake3::hash(token) == self.digest
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        // A file that stays has the token of no host.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the file of a host that had the directory before, and did not end well.
pub(crate) fn withdraw(dir: &Path) {
    // The file of a host that has ended does no harm.
    let _ = fs::remove_file(dir.join(FILE));
}

/// Reads the file of the host that has a directory open; `None` if there is none.
pub(super) fn read(dir: &Path) -> io::Result<Option<CredentialFile>> {
    let mut text = String::new();
    match File::open(dir.join(FILE)) {
        Ok(file) => file.take(FILE_BYTES).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(serde_json::from_str(&text)?))
}

/// The address by which a program of this machine reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9180);

    fn headers(values: &[&str]) -> HeaderMap {
        let value = |value: &&str| (header::AUTHORIZATION, value.parse().unwrap());
        values.iter().map(value).collect()
    }

    #[test]
    fn a_token_is_for_the_user_and_for_one_start() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap().is_none());
        let first = Credential::make(dir.path(), ANY).unwrap();
        let old = read(dir.path()).unwrap().unwrap();
        assert_eq!(old.address.to_string(), "127.0.0.1:9180");
        assert_eq!(old.token.len(), 2 * TOKEN_BYTES);
        let second = Credential::make(dir.path(), ANY).unwrap();
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let new = read(dir.path()).unwrap().unwrap();
        let bearer = |file: &CredentialFile| headers(&[&format!("Bearer {}", file.token)]);
        assert!(first.admits(&bearer(&old)) && !first.admits(&bearer(&new)));
        assert!(second.admits(&bearer(&new)) && !second.admits(&bearer(&old)));
        drop(second);
        assert!(read(dir.path()).unwrap().is_none());
    }

    #[test]
    fn a_request_has_the_whole_token_once() {
        let dir = tempfile::tempdir().unwrap();
        let credential = Credential::make(dir.path(), ANY).unwrap();
        let token = read(dir.path()).unwrap().unwrap().token;
        let good = format!("bearer {token}");
        assert!(credential.admits(&headers(&[&good])));
        for bad in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &[&token],
            &[&format!("Basic {token}")],
            &[&format!("Bearer {}", &token[1..])],
            &[&format!("Bearer {token}x")],
            &[&format!("Bearer  {token}")],
            &[&good, &good],
        ] {
            assert!(!credential.admits(&headers(bad)), "{bad:?}");
        }
    }
}
