use std::{
    fs,
    time::{Duration, SystemTime},
};

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
        let (roots, ignored) = (vec![self.path("")], vec![self.path("dist")]);
        Sources { roots, ignored, ..Sources::default() }
    }

    fn watch(&self) -> SourceWatch {
        SourceWatch::new(self.sources(), built()).unwrap()
    }
}

/// A build that was over before any of the project was written.
fn built() -> Window {
    let (began, ended) = (SystemTime::UNIX_EPOCH, Some(SystemTime::UNIX_EPOCH));
    Window { began, ended }
}

/// Everything that is reported until `last` is among it.
async fn changes_until(watch: &mut SourceWatch, last: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    while !all.contains(last) {
        all.extend(timeout(PATIENCE, watch.changed()).await.unwrap().unwrap().sources);
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
    for name in [
        "target/out",
        ".git/index",
        "dist/x.wasm",
        ".lib.rs.swp",
        "src/lib.rs~",
        "src/.#lib.rs",
        "up.log",
    ] {
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
    let first = timeout(PATIENCE, watch.changed()).await.unwrap().unwrap().sources;
    assert!((1..=PATHS).contains(&first.len()), "{}", first.len());
}

#[tokio::test]
async fn changes_between_two_waits_are_kept() {
    let project = Project::new();
    let mut watch = project.watch();
    project.write("src/lib.rs");
    let seen = async {
        while watch.shared.changed.lock().is_empty() {
            tokio::task::yield_now().await
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
    // Dropped before it is done, as a `select!` does.
    assert!(timeout(Duration::ZERO, watch.changed()).await.is_err());
    let changed = timeout(PATIENCE, watch.changed()).await.unwrap().unwrap();
    assert_eq!(changed.sources, [project.path("src/lib.rs")]);
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
    let mut watch = SourceWatch::new(Sources::of(&manifest), built()).unwrap();
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
    watch.set(both, built(), true).unwrap();
    second.write("src/lib.rs");
    changes_until(&mut watch, &second.path("src/lib.rs")).await;
    watch.set(first.sources(), built(), true).unwrap();
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

#[tokio::test]
async fn a_file_that_git_ignores_is_reported_only_if_the_build_reads_it() {
    let project = Project::new();
    fs::write(project.path(".gitignore"), "gen/\n/*.txt\n!kept.txt\n").unwrap();
    fs::create_dir(project.path("gen")).unwrap();
    fs::create_dir(project.path("src/inner")).unwrap();
    fs::write(project.path("src/inner/.gitignore"), "*.out\n").unwrap();
    let mut sources = project.sources();
    sources.files = vec![project.path("gen/read.rs"), project.path(".hidden/read.rs")];
    fs::create_dir(project.path(".hidden")).unwrap();
    let mut watch = SourceWatch::new(sources, built()).unwrap();
    for name in ["gen/a.rs", "notes.txt", "src/inner/x.out", ".hidden/other.rs"] {
        project.write(name);
    }
    let reported = ["kept.txt", "src/notes.txt", ".hidden/read.rs", "gen/read.rs"];
    reported.iter().for_each(|name| project.write(name));
    let all = changes_until(&mut watch, &project.path("gen/read.rs")).await;
    assert_eq!(all, reported.map(|name| project.path(name)).into());
}

#[tokio::test]
async fn rules_that_change_are_read_by_the_next_build() {
    let project = Project::new();
    let mut watch = project.watch();
    fs::write(project.path(".gitignore"), "*.txt\n").unwrap();
    changes_until(&mut watch, &project.path(".gitignore")).await;
    watch.set(project.sources(), built(), true).unwrap();
    project.write("notes.txt");
    project.write("last.rs");
    let last = project.path("last.rs");
    assert_eq!(changes_until(&mut watch, &last).await, [last].into());
}

#[tokio::test]
async fn what_the_first_build_writes_is_its_output() {
    let project = Project::new();
    fs::create_dir(project.path("public")).unwrap();
    let window = Window::begin();
    project.write("public/page.js");
    let mut watch = SourceWatch::new(project.sources(), window.end()).unwrap();
    let window = Window::begin();
    watch.building(window);
    project.write("public/page.js");
    watch.set(project.sources(), window.end(), true).unwrap();
    after_the_clock_ticks();
    project.write("src/lib.rs");
    let source = project.path("src/lib.rs");
    assert_eq!(changes_until(&mut watch, &source).await, [source].into());
    // Changed by somebody else it is a source.
    project.write("public/page.js");
    changes_until(&mut watch, &project.path("public/page.js")).await;
}

/// Waits until the clock of the file system is later than now.
fn after_the_clock_ticks() {
    let now = SystemTime::now();
    let file = tempfile::NamedTempFile::new().unwrap();
    while file.as_file().metadata().unwrap().modified().unwrap() <= now {
        fs::write(file.path(), "x").unwrap();
    }
}

#[tokio::test]
async fn a_source_that_is_saved_during_builds_is_reported_and_an_output_is_not_for_long() {
    let project = Project::new();
    let mut watch = project.watch();
    let source = project.path("src/lib.rs");
    let read = project.path("src/read.rs");
    let sources = || Sources { files: vec![read.clone()], ..project.sources() };
    let (mut outputs, mut is_reported, mut rounds) = (Vec::new(), false, 0);
    while outputs.is_empty() {
        rounds += 1;
        let window = Window::begin();
        watch.building(window);
        project.write("late.js");
        if rounds == 1 {
            project.write("src/lib.rs");
        }
        // Saved during each build, and read by each.
        project.write("src/read.rs");
        watch.set(sources(), window.end(), true).unwrap();
        let changed = timeout(PATIENCE, watch.changed()).await.unwrap().unwrap();
        is_reported |= changed.sources.contains(&source);
        outputs = changed.outputs;
    }
    assert_eq!(outputs, [project.path("late.js")]);
    assert!(is_reported && rounds >= 3, "{rounds}");
    project.write("src/read.rs");
    changes_until(&mut watch, &read).await;
}

#[tokio::test]
async fn after_a_build_that_failed_the_sources_before_stay() {
    let (first, second) = (Project::new(), Project::new());
    let mut watch = first.watch();
    watch.set(second.sources(), built(), false).unwrap();
    first.write("src/lib.rs");
    changes_until(&mut watch, &first.path("src/lib.rs")).await;
    second.write("src/lib.rs");
    changes_until(&mut watch, &second.path("src/lib.rs")).await;
}
