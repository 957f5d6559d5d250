use std::{fs, time::Duration};

use tokio::time::timeout;

use super::*;

/// Far more than a change needs to be seen; only a failing test waits as long.
const PATIENCE: Duration = Duration::from_secs(30);

struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    fn new() -> Project {
        let dir = tempfile::tempdir().unwrap();
        for name in ["src", "target", ".git", ".cargo", "dist"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("src/lib.rs"), "old").unwrap();
        Project { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str) {
        fs::write(self.path(name), "new").unwrap();
    }

    fn sources(&self) -> Sources {
        Sources { roots: vec![self.path("")], ignored: vec![self.path("dist")] }
    }

    fn watch(&self) -> Watch {
        Watch::new(self.sources()).unwrap()
    }
}

/// Everything that is reported until `last` is among it.
async fn changes_until(watch: &mut Watch, last: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    while !all.contains(last) {
        all.extend(timeout(PATIENCE, watch.changed()).await.unwrap().unwrap());
    }
    all
}

#[tokio::test]
async fn a_written_source_is_reported_and_a_read_one_is_not() {
    let project = Project::new();
    let mut watch = project.watch();
    fs::read(project.path("src/lib.rs")).unwrap();
    project.write("Cargo.toml");
    let last = project.path("Cargo.toml");
    assert_eq!(changes_until(&mut watch, &last).await, [last].into());
}

#[tokio::test]
async fn files_that_a_build_writes_are_not_reported() {
    let project = Project::new();
    let mut watch = project.watch();
    for name in
        ["target/out", ".git/index", "dist/x.wasm", ".lib.rs.swp", "src/lib.rs~", "src/.#lib.rs"]
    {
        project.write(name);
    }
    project.write(".cargo/config.toml");
    let last = project.path(".cargo/config.toml");
    assert_eq!(changes_until(&mut watch, &last).await, [last].into());
}

#[tokio::test]
async fn many_changes_are_few_reports_of_bounded_size() {
    let project = Project::new();
    let mut watch = project.watch();
    for n in 0..500 {
        project.write(&format!("src/{n}.rs"));
    }
    let first = timeout(PATIENCE, watch.changed()).await.unwrap().unwrap();
    assert!((1..=PATHS).contains(&first.len()), "{}", first.len());
}

#[tokio::test]
async fn changes_between_two_waits_are_kept() {
    let project = Project::new();
    let mut watch = project.watch();
    project.write("src/lib.rs");
    let seen = async {
        while lock(&watch.shared.changed).is_empty() {
            tokio::task::yield_now().await
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
    // Dropped before it is done, as a `select!` does.
    assert!(timeout(Duration::ZERO, watch.changed()).await.is_err());
    let changed = timeout(PATIENCE, watch.changed()).await.unwrap().unwrap();
    assert_eq!(changed, [project.path("src/lib.rs")]);
}

#[tokio::test]
async fn a_directory_made_later_is_watched_too() {
    let project = Project::new();
    let mut watch = project.watch();
    fs::create_dir(project.path("templates")).unwrap();
    changes_until(&mut watch, &project.path("templates")).await;
    project.write("templates/page.html");
    changes_until(&mut watch, &project.path("templates/page.html")).await;
    // Gone and back, as when another branch is checked out.
    fs::remove_dir_all(project.path("templates")).unwrap();
    changes_until(&mut watch, &project.path("templates")).await;
    fs::create_dir(project.path("templates")).unwrap();
    changes_until(&mut watch, &project.path("templates")).await;
    project.write("templates/page.html");
    changes_until(&mut watch, &project.path("templates/page.html")).await;
}

#[tokio::test]
async fn a_single_file_is_watched_through_replacement() {
    let project = Project::new();
    let manifest = project.path("lacewing.toml");
    project.write("lacewing.toml");
    let mut watch = Watch::new(Sources::of(&manifest)).unwrap();
    project.write("other.toml");
    project.write("new.toml");
    fs::rename(project.path("new.toml"), &manifest).unwrap();
    assert_eq!(changes_until(&mut watch, &manifest).await, [manifest].into());
}

#[tokio::test]
async fn other_sources_may_be_set_later() {
    let (first, second) = (Project::new(), Project::new());
    let mut watch = first.watch();
    let mut both = first.sources();
    both.extend(second.sources());
    watch.set(both).unwrap();
    second.write("src/lib.rs");
    changes_until(&mut watch, &second.path("src/lib.rs")).await;
    watch.set(first.sources()).unwrap();
    second.write("src/lib.rs");
    first.write("src/lib.rs");
    let last = first.path("src/lib.rs");
    assert_eq!(changes_until(&mut watch, &last).await, [last].into());
}

#[test]
fn only_the_first_target_directory_is_output() {
    assert!(!is_source(Path::new("target/debug/x.d")));
    assert!(!is_source(Path::new("node_modules/x/index.js")));
    assert!(is_source(Path::new("src/target/mod.rs")));
    assert!(is_source(Path::new("src/.cargo/config.toml")));
    assert!(!is_source(Path::new("src/.env/x")));
}
