//! `lacewing bucket`, of a running host and of a directory: both print the same.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use super::lacewing;
use crate::{
    admin_api::{Running, objects::with_made_bucket},
    process::memory_bytes,
};

/// A command on the app in a directory, with the state beside it.
fn bucket(dir: &Path, args: &[&str]) -> Command {
    let mut command = lacewing(&[&["bucket"], args].concat());
    command.current_dir(dir.join("app")).env("LACEWING_STATE", dir.join("state"));
    command
}

#[track_caller]
fn said(dir: &Path, args: &[&str]) -> String {
    super::said(&mut bucket(dir, args))
}

#[track_caller]
fn refused(dir: &Path, args: &[&str]) -> (i32, String) {
    super::refused(&mut bucket(dir, args))
}

/// The directory of a host that has ended.
fn ended(host: Running) -> tempfile::TempDir {
    let Running { up, dir, .. } = host;
    up.signal("KILL");
    up.wait();
    dir
}

fn uses_objects(dir: &Path) {
    let said = |args: &[&str]| said(dir, args);
    let empty = "made: 0 objects, 0 of 10737418240 bytes\nshop.files: 0 objects, 0 of 2097152 bytes\nshop.large: 0 objects, 0 of 10737418240 bytes\n";
    assert!(said(&["list"]).starts_with(empty), "{}", said(&["list"]));
    assert_eq!(said(&["list", "files"]), "");
    fs::write(dir.join("app/body"), "body").unwrap();
    assert_eq!(said(&["put", "files", "a/b.txt", "body", "--content-type", "text/plain"]), "");
    assert_eq!(said(&["put", "shop.files", "b\u{1b}", "body"]), "");
    assert_eq!(said(&["put", "made", "o", "body"]), "");
    assert_eq!(said(&["get", "files", "a/b.txt"]), "body");
    assert_eq!(said(&["get", "made", "o", "copy"]), "");
    assert_eq!(fs::read_to_string(dir.join("app/copy")).unwrap(), "body");
    fs::write(dir.join("app/body"), "").unwrap();
    assert_eq!(said(&["put", "files", "empty", "body"]), "");
    assert_eq!(said(&["get", "files", "empty", "nothing"]), "");
    assert_eq!(fs::read(dir.join("app/nothing")).unwrap(), b"");
    let listed = said(&["list", "files"]);
    // Each line begins with a time.
    let behind = |line: &str| line.split_once("Z  ").unwrap().1.to_owned();
    let lines: Vec<_> = listed.lines().map(behind).collect();
    assert_eq!(lines, ["           4  a/b.txt", "           4  b\\u{1b}", "           0  empty"]);
    assert_eq!(said(&["list", "files", "a/"]).lines().count(), 1);
    let buckets = said(&["list"]);
    assert!(buckets.starts_with("made: 1 object, "), "{buckets}");
    assert!(buckets.contains("\nshop.files: 3 objects, "), "{buckets}");
    assert!(buckets.lines().last().unwrap().starts_with("local: "), "{buckets}");
    for key in ["a/b.txt", "b\u{1b}", "empty"] {
        assert_eq!(said(&["remove", "files", key]), "");
    }
    assert_eq!(said(&["remove", "made", "o"]), "");
    assert_eq!(said(&["list", "files"]), "");
}

fn is_told_what_is_wrong(dir: &Path) {
    fs::write(dir.join("app/body"), "x".repeat((1 << 20) + 1)).unwrap();
    let missing = "there is no object \"o\" in the bucket `shop.files`";
    let unknown = "tenant `local` has no bucket \"file\": it has made, shop.files, shop.large";
    for (args, error) in [
        (&["get", "files", "o"][..], missing),
        (&["get", "files", "o", "none"], missing),
        (&["remove", "files", "o"], missing),
        (&["list", "file"], unknown),
        (&["get", "file", "o"], unknown),
        (
            &["put", "file", "o", "app.txt"],
            "cannot read app.txt: No such file or directory (os error 2)",
        ),
        (&["put", "file", "o", "body"], unknown),
        (&["put", "files", "o", "."], "the content cannot be read: Is a directory (os error 21)"),
        (&["put", "files", "o", "body"], "the object has over 1048576 bytes (`max_object_mib`)"),
        (&["put", "files", "", "body"], "the key has 0 bytes; a key has 1 to 1024"),
    ] {
        assert_eq!(refused(dir, args), (1, format!("error: {error}\n")), "{args:?}");
    }
    assert!(!dir.join("app/none").exists());
    fs::write(dir.join("app/body"), "body").unwrap();
    assert_eq!(said(dir, &["put", "files", "o", "body"]), "");
    let target = "no/such/folder";
    let (code, error) = refused(dir, &["get", "files", "o", target]);
    assert_eq!(code, 1);
    assert_eq!(
        error,
        "error: cannot write no/such/folder: No such file or directory (os error 2)\n"
    );
    assert_eq!(said(dir, &["remove", "files", "o"]), "");
}

#[test]
fn objects_of_a_running_host_and_of_a_directory() {
    let host = Running::beside(with_made_bucket(), "", &[]);
    let dir = host.dir.path().to_owned();
    uses_objects(&dir);
    is_told_what_is_wrong(&dir);
    let _dir = ended(host);
    uses_objects(&dir);
    is_told_what_is_wrong(&dir);
}

/// A bucket of a tenant of a host file is named as clients of S3 name it.
#[test]
fn objects_of_a_tenant_and_of_a_url() {
    let host = Running::start();
    let dir = host.dir.path();
    fs::write(dir.join("app/body"), "body").unwrap();
    let url = format!("http://{}", host.up.admin);
    let mut put = bucket(dir, &["put", "shop.files", "o", "body", "--url", &url]);
    super::said(put.env("LACEWING_TOKEN", host.token()));
    assert_eq!(said(dir, &["get", "files", "o"]), "body");
    let file = "[tenants.local]\nhosts = [\"*\"]\napps = [\"app\"]\n";
    fs::write(dir.join("host.toml"), file).unwrap();
    let place = ["--host", "../host.toml", "--tenant", "local"];
    assert_eq!(said(dir, &[&["get", "shop.files", "o"][..], &place].concat()), "body");
    let bare = refused(dir, &[&["get", "files", "o"][..], &place].concat());
    let error = "error: tenant `local` has no bucket \"files\": it has shop.files, shop.large\n";
    assert_eq!(bare, (1, error.to_owned()));
    let other = refused(dir, &["list", "--host", "../host.toml", "--tenant", "umbra"]);
    assert_eq!(other, (2, "error: ../host.toml has no tenant \"umbra\"\n".to_owned()));
}

/// The command holds little of a body that goes through it, in both directions.
fn streams(dir: &Path) {
    let piece: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let mut put = bucket(dir, &["put", "large", "o", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = put.stdin.take().unwrap();
    stdin.write_all(&piece).unwrap();
    let before = memory_bytes(put.id(), "VmHWM:");
    for _ in 1..64 {
        stdin.write_all(&piece).unwrap();
    }
    let grown = memory_bytes(put.id(), "VmHWM:") - before;
    drop(stdin);
    assert!(put.wait().unwrap().success());
    assert!(grown < 24 << 20, "{} KiB more", grown >> 10);
    let mut get = bucket(dir, &["get", "large", "o"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = get.stdout.take().unwrap();
    let mut found = vec![0; 1 << 20];
    stdout.read_exact(&mut found).unwrap();
    let before = memory_bytes(get.id(), "VmHWM:");
    for _ in 2..64 {
        assert!(found == piece);
        stdout.read_exact(&mut found).unwrap();
    }
    let grown = memory_bytes(get.id(), "VmHWM:") - before;
    assert!(grown < 24 << 20, "{} KiB more", grown >> 10);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert!(rest == piece && get.wait().unwrap().success());
}

#[test]
fn large_bodies_go_through_in_pieces() {
    let host = Running::start();
    let dir = host.dir.path().to_owned();
    streams(&dir);
    let _dir = ended(host);
    streams(&dir);
}

/// A body that breaks off is an error that names the file.
#[test]
fn a_body_that_breaks_off_is_told() {
    let host = Running::start();
    let dir = host.dir.path().to_owned();
    fs::write(dir.join("app/body"), vec![0; 8 << 20]).unwrap();
    said(&dir, &["put", "large", "o", "body"]);
    // Damage behind the first pieces, which a reader finds.
    let objects = fs::read_dir(dir.join("state/local/objects")).unwrap();
    let file = objects.flatten().next().unwrap().path();
    let mut bytes = fs::read(&file).unwrap();
    bytes[4 << 20] = 1;
    fs::write(&file, bytes).unwrap();
    let (code, error) = refused(&dir, &["get", "large", "o", "copy"]);
    assert_eq!(code, 1);
    assert!(
        error.starts_with("error: copy has a part of the object only: the host at "),
        "{error}"
    );
    let _dir = ended(host);
    let (code, error) = refused(&dir, &["get", "large", "o", "copy"]);
    assert_eq!(code, 1);
    let damaged = "error: copy has a part of the object only: the state of the tenant is damaged";
    assert!(error.starts_with(damaged), "{error}");
}
