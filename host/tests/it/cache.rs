//! Cache folders that are not the host's alone: no host starts with one, and each error says what
//! repairs it.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    client::get,
    components::{Core, write_component},
    process::Up,
};

/// A component, and a folder for its artifacts with a folder around it.
struct Cached {
    dir: tempfile::TempDir,
    component: PathBuf,
}

impl Cached {
    fn new() -> Cached {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("around")).unwrap();
        let core = Core { body: "cached", ..Core::default() };
        let component = write_component(dir.path(), "it.wasm", &core.lean());
        Cached { dir, component }
    }

    fn around(&self) -> PathBuf {
        self.dir.path().join("around")
    }

    fn path(&self) -> PathBuf {
        self.around().join("cache")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn spawn(&self, limits: &str) -> Up {
        let (component, cache) = (self.component.to_str().unwrap(), self.path());
        Up::limited(limits, &[component, "--cache-dir", cache.to_str().unwrap()])
    }

    /// Starts a host, and asks once.
    async fn serves(&self, limits: &str) {
        let up = self.spawn(limits).serving();
        assert_eq!(get(up.address, "localhost", "/").await.text(), "cached");
        up.signal("TERM");
        assert_eq!(up.exit().code(), Some(0));
    }

    /// Why no host starts.
    fn refusal(&self) -> String {
        let (status, said) = self.spawn("true").wait();
        assert_eq!(status.code(), Some(1), "{said}");
        let error = said.lines().last().unwrap();
        let head = "error: the artifact cache is not the host's alone: ";
        error.strip_prefix(head).unwrap_or_else(|| panic!("{said}")).to_owned()
    }

    /// As [`Cached::refusal`]; then does as the error says, and a host starts.
    async fn refused_and_repaired(&self, what: &str, command: &str) {
        let refusal = self.refusal();
        assert!(refusal.contains(what), "{refusal}");
        assert!(refusal.contains(&format!("`{command}`")), "{command}: {refusal}");
        let status = Command::new("sh").args(["-c", command]).status().unwrap();
        assert!(status.success());
        self.serves("true").await;
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_may_read() {
    let cached = Cached::new();
    cached.serves("true").await;
    let key = cached.file("host.key");
    set_mode(&key, 0o644);
    let repair = format!("chmod 600 {}", key.display());
    cached.refused_and_repaired("may be read by everybody (mode 0644)", &repair).await;
    set_mode(&key, 0o620);
    cached.refused_and_repaired("may be written to by its group (mode 0620)", &repair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_a_pipe_a_link_or_a_folder() {
    let cached = Cached::new();
    cached.serves("true").await;
    let key = cached.file("host.key");
    fs::remove_file(&key).unwrap();
    pipe(&key);
    cached.refused_and_repaired("is a pipe, ", &format!("rm {}", key.display())).await;
    // The very key, elsewhere.
    fs::rename(&key, cached.around().join("moved")).unwrap();
    symlink(cached.around().join("moved"), &key).unwrap();
    cached.refused_and_repaired("is a symbolic link, ", &format!("rm {}", key.display())).await;
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    cached.refused_and_repaired("is a folder, ", &format!("rm -r {}", key.display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_length() {
    let cached = Cached::new();
    cached.serves("true").await;
    let key = cached.file("host.key");
    for bytes in [0_usize, 31, 33, 1 << 20] {
        fs::write(&key, vec![7; bytes]).unwrap();
        let what = format!("has {bytes} bytes, and a key has 32");
        cached.refused_and_repaired(&what, &format!("rm {}", key.display())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_a_pipe() {
    let cached = Cached::new();
    cached.serves("true").await;
    let lock = cached.file("host.lock");
    fs::remove_file(&lock).unwrap();
    pipe(&lock);
    cached.refused_and_repaired("is a pipe, ", &format!("rm {}", lock.display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_others_may_write_to() {
    let cached = Cached::new();
    cached.serves("true").await;
    for folder in [cached.path(), cached.around()] {
        set_mode(&folder, 0o777);
        let repair = format!("chmod go-w {}", folder.display());
        cached.refused_and_repaired("may be written to by everybody (mode 0777)", &repair).await;
    }
    // Through a link that another user could have lead elsewhere.
    let shared = cached.dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::rename(cached.path(), cached.dir.path().join("real")).unwrap();
    symlink(cached.dir.path().join("real"), cached.path()).unwrap();
    cached.serves("true").await;
    fs::remove_file(cached.path()).unwrap();
    symlink(&shared, cached.path()).unwrap();
    set_mode(&shared, 0o777);
    let repair = format!("chmod go-w {}", shared.display());
    cached.refused_and_repaired("may be written to by everybody (mode 0777)", &repair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_another_user() {
    let cached = Cached::new();
    cached.serves("true").await;
    if !rustix::process::geteuid().is_root() {
        // Only root gives files away; the unit tests of the rule need no root.
        return;
    }
    for path in [cached.file("host.key"), cached.path(), cached.around()] {
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        let repair = format!("chown 0 {}", path.display());
        cached.refused_and_repaired("belongs to user 12345", &repair).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_made_under_any_umask() {
    for umask in ["umask 000", "umask 022", "umask 077"] {
        let cached = Cached::new();
        cached.serves(umask).await;
        let made = ["", "host.key", "host.lock"].map(|name| mode(&cached.file(name)));
        assert_eq!(made, [0o700, 0o600, 0o600], "{umask}");
        for entry in fs::read_dir(cached.path()).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{umask}: {}", path.display());
        }
    }
    // As a folder is that an operator makes beforehand.
    let cached = Cached::new();
    fs::create_dir(cached.path()).unwrap();
    set_mode(&cached.path(), 0o755);
    cached.serves("umask 022").await;
    assert_eq!(mode(&cached.path()), 0o755);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_start_at_once_share_one_key() {
    let cached = Cached::new();
    let ups: Vec<Up> = (0..3).map(|_| cached.spawn("true")).collect();
    for up in ups {
        let up = up.serving();
        assert_eq!(get(up.address, "localhost", "/").await.text(), "cached");
        assert!(!up.said().contains("keyed hash"), "{}", up.said());
    }
    assert_eq!(fs::metadata(cached.file("host.key")).unwrap().len(), 32);
    // The next run trusts their output.
    let next = cached.spawn("true").serving();
    let metrics = get(next.admin, "localhost", "/metrics").await;
    let none = "lacewing_artifact_cache_lookups_total{result=\"rejected\"} 0";
    assert_eq!(get(next.address, "localhost", "/").await.text(), "cached");
    assert!(metrics.text().contains(none), "{}", metrics.text());
}
