//! The recorder in ordinary programs, and the replay of what it saw.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lacewing_powerloss::{DIRECTORY, Disk, Loss, RECORD};

/// What cargo builds with the tests: the library, or the program that is recorded.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.ancestors().nth(2).unwrap().join("examples").join(name)
}

/// A directory with the file `old`, in which a scenario of the program `writes` has run.
struct Ran {
    dir: tempfile::TempDir,
    before: Disk,
}

impl Ran {
    fn scenario(name: &str) -> Ran {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("disk");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("old"), "old").unwrap();
        let before = Disk::read(&root).unwrap();
        let status = Command::new(example("writes"))
            .arg(name)
            .current_dir(&root)
            .env("LD_PRELOAD", example("librecorder.so"))
            .env(DIRECTORY, root.canonicalize().unwrap())
            .env(RECORD, dir.path().join("record"))
            .status();
        assert!(status.unwrap().success());
        Ran { dir, before }
    }

    fn after(&self, loss: Loss) -> BTreeMap<String, Option<String>> {
        let mut disk = self.before.clone();
        let record = fs::read(self.dir.path().join("record")).unwrap();
        disk.replay(&record, |_| false).unwrap();
        readable(disk.after(loss, &mut |_| 0))
    }

    fn there(&self) -> BTreeMap<String, Option<String>> {
        let there = Disk::read(&self.dir.path().join("disk")).unwrap();
        readable(there.after(Loss::Nothing, &mut |_| 0))
    }
}

fn readable(files: BTreeMap<PathBuf, Option<Vec<u8>>>) -> BTreeMap<String, Option<String>> {
    let name = |path: &Path| path.to_string_lossy().into_owned();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    files.into_iter().map(|(path, content)| (name(&path), content.map(text))).collect()
}

fn file(content: &str) -> Option<String> {
    Some(content.to_owned())
}

#[test]
fn all_changes_of_a_process_are_seen() {
    let ran = Ran::scenario("all");
    let there = ran.there();
    assert_eq!(there["moved/a"], file("hello, world"));
    assert_eq!(there["d"], file("0123xx67"));
    assert_eq!(ran.after(Loss::Nothing), there);
    // Nothing was synced.
    let old = [(String::new(), None), ("old".to_owned(), file("old"))];
    assert_eq!(ran.after(Loss::Everything), BTreeMap::from(old));
}

#[test]
fn what_was_synced_before_is_kept_and_no_more() {
    let ran = Ran::scenario("synced");
    let kept = BTreeMap::from([
        (String::new(), None),
        ("a".to_owned(), file("content")),
        ("folder".to_owned(), None),
        ("old".to_owned(), file("Old")),
    ]);
    assert_eq!(ran.after(Loss::Everything), kept);
    assert_eq!(ran.after(Loss::Nothing), ran.there());
}

#[test]
fn a_disk_that_forgets_a_sync_loses_what_it_covers() {
    let ran = Ran::scenario("forgotten");
    assert_eq!(ran.after(Loss::Everything)["old"], file("new"));
    let mut disk = ran.before.clone();
    let record = fs::read(ran.dir.path().join("record")).unwrap();
    disk.replay(&record, |path| path == Path::new("old")).unwrap();
    assert_eq!(readable(disk.after(Loss::Everything, &mut |_| 0))["old"], file("old"));
    // A record that ends within an entry is one of a process that was killed.
    let mut disk = ran.before.clone();
    disk.replay(&record[..record.len() - 1], |_| false).unwrap();
    assert_eq!(readable(disk.after(Loss::Everything, &mut |_| 0))["old"], file("old"));
}
