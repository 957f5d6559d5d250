//! Owners, modes, links and things that are no files.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn dir() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    // Where temporary files are behind a link.
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

fn refusal<T>(result: Result<T, Refused>, root: &Path) -> String {
    match result {
        Ok(_) => "trusted".to_owned(),
        Err(refused) => refused.to_string().replace(&root.display().to_string(), "ROOT"),
    }
}

#[test]
fn modes_are_judged_by_the_rights_of_others() {
    let judged = |mode, kind| check_mode(Path::new("x"), mode, kind).is_ok();
    for (mode, secret, own, on_the_way) in [
        (0o600, true, true, true),
        (0o400, true, true, true),
        (0o700, true, true, true),
        (0o640, false, true, true),
        (0o604, false, true, true),
        (0o610, false, true, true),
        (0o755, false, true, true),
        (0o775, false, false, false),
        (0o757, false, false, false),
        (0o1777, false, false, true),
        (0o1755, false, true, true),
        (0o2775, false, false, false),
    ] {
        let kinds = [Kind::Secret, Kind::Own, Kind::OnTheWay];
        assert_eq!(kinds.map(|kind| judged(mode, kind)), [secret, own, on_the_way], "{mode:o}");
    }
}

#[test]
fn owners_are_the_hosts_user_and_root() {
    let users = Users { own: 1000, owner_of_root: 65534 };
    let judged = |uid| users.check_owner(Path::new("/x/it's"), uid);
    assert!([0, 1000, 65534].into_iter().all(|uid| judged(uid).is_ok()));
    assert_eq!(
        judged(1001).unwrap_err().to_string(),
        r"the artifact cache is not the host's alone: /x/it's belongs to user 1001, and the host runs as user 1000; give it to the host's user with `chown 1000 '/x/it'\''s'`, or name another folder with --cache-dir"
    );
}

#[test]
fn every_folder_on_the_way_is_looked_at() {
    let (_dir, root) = dir();
    let way = root.join("a/b/c");
    assert!(!folder(&way).unwrap(), "it is not there yet");
    fs::create_dir_all(&way).unwrap();
    assert!(folder(&way).unwrap());
    for (path, name) in [(root.join("a"), "a"), (root.join("a/b"), "a/b"), (way.clone(), "a/b/c")] {
        set_mode(&path, 0o777);
        assert_eq!(
            refusal(folder(&way), &root),
            format!(
                "the artifact cache is not the host's alone: ROOT/{name} may be written to by everybody (mode 0777); take that right away with `chmod go-w ROOT/{name}`"
            )
        );
        set_mode(&path, 0o770);
        assert!(refusal(folder(&way), &root).contains("by its group (mode 0770)"));
        // Of what is in such a folder nobody else can take anything away.
        set_mode(&path, 0o1777);
        assert_eq!(folder(&way).is_ok(), name != "a/b/c");
        set_mode(&path, 0o755);
    }
    assert!(folder(&way).unwrap());
    assert!(!folder(&root.join("a/x/../b")).unwrap(), "there is no x");
    fs::write(root.join("a/file"), "").unwrap();
    assert!(refusal(folder(&root.join("a/file/b")), &root).contains("not a directory"));
}

#[test]
fn links_are_followed_and_the_folders_on_the_way_are_checked() {
    let (_dir, root) = dir();
    fs::create_dir_all(root.join("real/cache")).unwrap();
    fs::create_dir(root.join("links")).unwrap();
    symlink("../real/../real/cache", root.join("links/relative")).unwrap();
    symlink(root.join("links/relative"), root.join("links/absolute")).unwrap();
    symlink("round", root.join("links/round")).unwrap();
    symlink("nowhere", root.join("links/broken")).unwrap();
    let cache = root.join("links/absolute");
    assert!(folder(&cache).unwrap());
    for exposed in ["real", "real/cache", "links"] {
        set_mode(&root.join(exposed), 0o777);
        let refused = refusal(folder(&cache), &root);
        assert!(refused.contains(&format!("ROOT/{exposed} may be written to")), "{refused}");
        set_mode(&root.join(exposed), 0o755);
    }
    assert!(!folder(&root.join("links/broken")).unwrap());
    assert!(refusal(folder(&root.join("links/round")), &root).contains("symbolic links"));
}

#[test]
fn a_path_that_is_no_file_is_not_opened_and_not_waited_for() {
    let (_dir, root) = dir();
    let (file, link) = (root.join("file"), root.join("link"));
    fs::write(&file, "x").unwrap();
    set_mode(&file, 0o600);
    symlink("file", &link).unwrap();
    fs::create_dir(root.join("folder")).unwrap();
    let pipe = root.join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let mut read = OpenOptions::new();
    read.read(true);
    let mut write = OpenOptions::new();
    write.append(true).create(true);
    for options in [&mut read, &mut write] {
        assert!(open(&file, options, Kind::Secret).is_ok());
        for (name, is, remove) in [
            ("link", "a symbolic link", "rm"),
            ("folder", "a folder", "rm -r"),
            ("pipe", "a pipe", "rm"),
            ("socket", "a socket", "rm"),
        ] {
            assert_eq!(
                refusal(open(&root.join(name), options, Kind::Own), &root),
                format!(
                    "the artifact cache is not the host's alone: ROOT/{name} is {is}, and no file that the host made; remove it with `{remove} ROOT/{name}`"
                )
            );
        }
    }
    assert!(open(&root.join("nothing"), &mut read, Kind::Own).unwrap_err().is_absence());
}
