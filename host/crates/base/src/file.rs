//! Files of strangers: opened safely, and told apart from a changed file.

mod open;

use std::{fs::File, fs::Metadata, io, path::Path, time::SystemTime};

use serde::{Deserialize, Serialize};

pub use open::{Located, OpenError, OpenedFile, Reach, plain};

/// The identity of a file's contents, as far as the system tells without reading them: where they
/// are, how long they are, and when they were last written or renamed.
///
/// Two equal stamps mean the same contents if the stamp [is settled](Stamp::is_settled): a file
/// that is written into twice within one tick of the file system's clock has the same stamp both
/// times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    // Since 1970, until 2262.
    modified_ns: i64,
    changed_ns: i64,
}

/// The coarsest tick of a clock that Linux stamps files with, 100 Hz, doubled.
const TICK_NS: i64 = 20_000_000;

impl Stamp {
    /// The stamp of an open file.
    pub fn of_file(file: &File) -> io::Result<Stamp> {
        Ok(Stamp::of(&file.metadata()?))
    }

    /// The stamp of the file that a path leads to.
    pub fn of_path(path: &Path) -> io::Result<Stamp> {
        Ok(Stamp::of(&path.metadata()?))
    }

    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Stamp {
        use std::os::unix::fs::MetadataExt;
        let ns = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> Stamp {
        let modified_ns = metadata.modified().map_or(i64::MAX, since_epoch_ns);
        Stamp { device: 0, inode: 0, bytes: metadata.len(), modified_ns, changed_ns: modified_ns }
    }

    /// The file's size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing was written into the file between this stamp and another one of it. Renaming
    /// it is no writing.
    pub fn has_contents_of(&self, other: &Stamp) -> bool {
        (self.bytes, self.modified_ns) == (other.bytes, other.modified_ns)
    }

    /// Whether the file had this stamp for long enough before `moment` that a change at or after it
    /// gives another one.
    pub fn is_settled(&self, moment: SystemTime) -> bool {
        self.modified_ns.max(self.changed_ns).saturating_add(TICK_NS) < since_epoch_ns(moment)
    }
}

fn since_epoch_ns(moment: SystemTime) -> i64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    #[test]
    fn another_file_under_the_same_name_has_another_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "1").unwrap();
        let before = Stamp::of_path(&path).unwrap();
        assert_eq!(Stamp::of_file(&File::open(&path).unwrap()).unwrap(), before);
        fs::write(dir.path().join("b"), "2").unwrap();
        fs::rename(dir.path().join("b"), &path).unwrap();
        assert_ne!(Stamp::of_path(&path).unwrap(), before);
    }

    #[test]
    fn a_stamp_settles() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "1").unwrap();
        let stamp = Stamp::of_path(&path).unwrap();
        assert!(!stamp.is_settled(SystemTime::now() - Duration::from_secs(1)));
        assert!(stamp.is_settled(SystemTime::now() + Duration::from_secs(1)));
    }
}
