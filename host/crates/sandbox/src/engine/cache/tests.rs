//! Caches that this host wrote, and caches that it refuses.

use std::os::unix::fs::PermissionsExt;

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
        CacheLookup::Artifact(verified) => Some(verified.path),
        CacheLookup::Absent | CacheLookup::Rejected => None,
    }
}

#[test]
fn a_cached_artifact_is_found_by_the_next_process() {
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

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Why a cache is not opened. It has to be one that is not the host's alone.
fn untrusted(dir: &Path) -> String {
    match ArtifactCache::open(dir) {
        Err(CacheError::Untrusted(untrusted)) => untrusted.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn new_files_are_for_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let cache = ArtifactCache::open(&dir.path().join("a/b")).unwrap();
    for (path, expected) in [("a", 0o700), ("a/b", 0o700), ("a/b/host.key", 0o600)] {
        assert_eq!(mode(&dir.path().join(path)), expected, "{path}");
    }
    assert_eq!(mode(&cache.put(&name("a"), b"code").unwrap()), 0o600);
    // As a host of before has left it: others must not hold the lock.
    let lock = dir.path().join("a/b/host.lock");
    set_mode(&lock, 0o644);
    ArtifactCache::open(&dir.path().join("a/b")).unwrap();
    assert_eq!(mode(&lock), 0o600);
}

#[test]
fn hosts_that_start_at_once_have_one_key() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let open = || scope.spawn(|| ArtifactCache::open(&path).unwrap().key);
            let threads: Vec<_> = (0..4).map(|_| open()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(fs::read(path.join("host.key")).unwrap(), keys[0]);
    }
}

#[test]
fn a_cache_of_a_usual_umask_is_taken() {
    let (dir, cache) = cache();
    let path = cache.put(&name("a"), b"code").unwrap();
    set_mode(dir.path(), 0o755);
    set_mode(&path, 0o644);
    assert!(found(&ArtifactCache::open(dir.path()).unwrap(), &name("a")).is_some());
}

#[test]
fn a_key_that_others_may_read_or_that_is_none_is_refused() {
    let (dir, _cache) = cache();
    let path = dir.path().join("host.key");
    let head = "the artifact cache is not the host's alone";
    let text = path.display();
    for (mode, may) in [
        (0o644, "read by everybody (mode 0644)"),
        (0o640, "read by its group (mode 0640)"),
        (0o666, "written to by everybody (mode 0666)"),
    ] {
        set_mode(&path, mode);
        assert_eq!(
            untrusted(dir.path()),
            format!(
                "{head}: {text} may be {may}; take that right away with `chmod 600 {text}`, and have a new key made if a stranger may know this one: `rm {text}`"
            )
        );
    }
    set_mode(&path, 0o600);
    for bytes in [0, 31, 33] {
        fs::write(&path, vec![7; bytes]).unwrap();
        assert_eq!(
            untrusted(dir.path()),
            format!(
                "{head}: {text} has {bytes} bytes, and a key has 32; have a new one made with `rm {text}`"
            )
        );
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(untrusted(dir.path()).contains("host.key is a folder, and no file that the host"));
    fs::remove_dir(&path).unwrap();
    ArtifactCache::open(dir.path()).unwrap();
}

#[test]
fn a_folder_that_others_may_write_to_is_refused_wherever_it_is_on_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let (parent, path) = (dir.path().join("shared"), dir.path().join("shared/cache"));
    ArtifactCache::open(&path).unwrap();
    for folder in [&parent, &path] {
        set_mode(folder, 0o777);
        assert!(untrusted(&path).ends_with(&format!("`chmod go-w {}`", folder.display())));
        set_mode(folder, 0o700);
    }
    // Nothing is made where it would not be trusted.
    set_mode(&parent, 0o777);
    untrusted(&parent.join("new/cache"));
    assert!(!parent.join("new").exists());
}

#[test]
fn an_artifact_that_others_may_write_to_or_that_is_no_file_is_not_found() {
    let (dir, cache) = cache();
    let path = cache.put(&name("a"), b"code").unwrap();
    set_mode(&path, 0o666);
    assert_eq!(found(&cache, &name("a")), None);
    set_mode(&path, 0o600);
    fs::rename(&path, dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert_eq!(found(&cache, &name("a")), None, "a link, and be it to the very artifact");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(found(&cache, &name("a")), None);
    // And trimming goes on over it.
    cache.put(&name("b"), b"code").unwrap();
    let trimmed = cache.trim(0, Default::default()).unwrap();
    assert_eq!((trimmed.artifacts, trimmed.left_bytes), (1, 0));
}

#[test]
fn an_artifact_that_is_written_into_after_it_was_hashed_is_noticed() {
    let (_dir, cache) = cache();
    let path = cache.put(&name("a"), b"code").unwrap();
    let CacheLookup::Artifact(verified) = cache.find(&name("a")) else {
        panic!("it was put there")
    };
    assert!(verified.is_unchanged());
    // Another load that uses it has written nothing.
    ArtifactCache::touch(&File::open(&path).unwrap());
    assert!(verified.is_unchanged());
    // Another file under its name does not matter: this one is what is mapped.
    cache.put(&name("a"), b"code").unwrap();
    assert!(verified.is_unchanged());
    let file = File::options().append(true).open(&path).unwrap();
    (&file).write_all(b"more").unwrap();
    let CacheLookup::Rejected = cache.find(&name("a")) else { panic!("it is longer than it was") };
}

#[test]
fn a_sealed_file_is_unsealed_under_its_name_only() {
    let (dir, cache) = cache();
    cache.seal("a.ledger", b"contents").unwrap();
    assert_eq!(cache.unseal("a.ledger", 1 << 20).as_deref(), Some(&b"contents"[..]));
    fs::copy(dir.path().join("a.ledger"), dir.path().join("b.ledger")).unwrap();
    assert_eq!(cache.unseal("b.ledger", 1 << 20), None);
    assert_eq!(cache.unseal("a.ledger", 8), None, "longer than what is read");
    fs::write(dir.path().join("a.ledger"), b"contents").unwrap();
    assert_eq!(cache.unseal("a.ledger", 1 << 20), None);
}
