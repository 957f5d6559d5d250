//! The artifacts that go.

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

fn owned(tenant: &str, names: &[&str]) -> HashMap<ArtifactName, ArtifactOwner> {
    let owner = ArtifactOwner { tenant: tenant.parse().unwrap(), weight: 1 };
    names.iter().map(|text| (name(text), owner.clone())).collect()
}

#[test]
fn a_tenant_that_deploys_all_the_time_pushes_out_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let cache = ArtifactCache::open(dir.path()).unwrap();
    let put = |text: &str, age: u64| {
        let path = cache.put(&name(text), &[7; 100]).unwrap();
        age_by(&path, Duration::from_secs(age));
    };
    // A neighbour's revision of yesterday, and one of today.
    put("yesterday", 100_000);
    put("today", 50_000);
    cache.trim(1 << 20, owned("neighbour", &["yesterday"])).unwrap();
    for deploy in 0..20 {
        let current = format!("v{deploy}");
        put(&current, 20 - deploy);
        let mut registered = owned("neighbour", &["today"]);
        registered.extend(owned("greedy", &[&current]));
        let trimmed = cache.trim(5 * 132, registered).unwrap();
        assert!(trimmed.left_bytes <= 5 * 132);
        assert!(cache.path(&name(&current)).exists(), "it is served");
    }
    assert!(cache.path(&name("yesterday")).exists(), "it is not the tenant with the most");
    assert!(!cache.path(&name("v0")).exists() && cache.path(&name("v18")).exists());
    let owners = cache.owners.lock().len();
    assert!(owners <= 6, "{owners}: of what is gone nothing is remembered");
}

fn age_by(path: &Path, age: Duration) {
    let file = File::options().append(true).open(path).unwrap();
    let time = SystemTime::now() - age;
    file.set_times(FileTimes::new().set_modified(time).set_accessed(time)).unwrap();
}

fn left(cache: &ArtifactCache) -> String {
    let texts = ["a", "b", "c", "d"];
    texts.into_iter().filter(|text| cache.path(&name(text)).exists()).collect()
}

#[test]
fn the_oldest_artifacts_go_first_and_registered_ones_stay() {
    let (_dir, cache) = cache();
    let registered = owned("t", &["a"]);
    assert_eq!(cache.trim(4 * 132, registered.clone()).unwrap().artifacts, 0);
    let trimmed = cache.trim(300, registered.clone()).unwrap();
    assert_eq!(trimmed, Trimmed { artifacts: 2, bytes: 264, left_bytes: 264 });
    assert_eq!(left(&cache), "ad");
    let trimmed = cache.trim(0, registered).unwrap();
    assert_eq!((left(&cache).as_str(), trimmed.left_bytes), ("a", 132));
}

#[test]
fn nothing_goes_while_another_process_uses_the_folder() {
    let (dir, cache) = cache();
    // A lock belongs to an open file: opening it again stands for another process.
    let other = ArtifactCache::open(dir.path()).unwrap();
    assert_eq!(cache.trim(0, HashMap::new()).unwrap().artifacts, 0);
    assert_eq!(left(&cache), "abcd");
    drop(other);
    assert_eq!(cache.trim(0, HashMap::new()).unwrap().artifacts, 4);
    // And afterwards others come in again.
    ArtifactCache::open(dir.path()).unwrap();
}

#[test]
fn files_of_a_crash_go_once_they_are_old() {
    let (dir, cache) = cache();
    let (old, new) = (dir.path().join(".new-old"), dir.path().join(".new-new"));
    for path in [&old, &new] {
        fs::write(path, "half").unwrap();
    }
    age_by(&old, LEFT_AFTER + Duration::from_secs(60));
    cache.trim(u64::MAX, HashMap::new()).unwrap();
    assert_eq!((old.exists(), new.exists()), (false, true));
    assert_eq!(left(&cache), "abcd");
}
