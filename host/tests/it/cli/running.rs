//! `lacewing kv` and `lacewing state` with the state of a running host: they print the same as of a
//! directory.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use super::{lacewing, text};
use crate::admin_api::{Running, Unattended};

/// A command in the app's directory, with its state directory.
fn command(host: &Running, args: &[&str]) -> Command {
    let mut command = lacewing(args);
    command.current_dir(host.path("app")).env("LACEWING_STATE", host.path("state"));
    command
}

#[track_caller]
fn said(host: &Running, args: &[&str]) -> String {
    super::said(&mut command(host, args))
}

#[track_caller]
fn refused(host: &Running, args: &[&str]) -> (i32, String) {
    super::refused(&mut command(host, args))
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_a_running_host() {
    let host = Running::start();
    let kv = |args: &[&str]| said(&host, &[&["kv"], args].concat());
    assert_eq!(kv(&["list", "things"]), "");
    assert_eq!(kv(&["set", "things", "ada", "{\"name\":\"Ada\"}"]), "");
    assert_eq!(kv(&["set", "things", "b\u{1b}e/a", "1"]), "");
    assert_eq!(kv(&["get", "things", "ada"]), "{\"name\":\"Ada\"}");
    assert_eq!(host.function("/get/ada").await.text(), "{\"name\":\"Ada\"}");
    assert_eq!(host.function("/put/bea/7").await.status, 204);
    assert_eq!(kv(&["get", "things", "bea"]), "7");
    assert_eq!(kv(&["list", "things"]), "ada\nb\\u{1b}e/a\nbea\n");
    assert_eq!(kv(&["list", "things", "a"]), "ada\n");
    assert_eq!(kv(&["set", "things", "soon", "1", "--expires-in-s", "0"]), "");
    assert_eq!(kv(&["delete", "things", "ada"]), "");
    for (args, code, error) in [
        (&["get", "things", "ada"][..], 1, "there is no entry \"ada\" in the kv store `things`"),
        (&["get", "things", "soon"], 1, "there is no entry \"soon\" in the kv store `things`"),
        (&["delete", "things", "ada"], 1, "there is no entry \"ada\" in the kv store `things`"),
        (&["get", "thing", "ada"], 2, "app `shop` has no kv store \"thing\": it has things"),
        (&["get", "things", ""], 1, "the key has 0 bytes; a key has 1 to 512"),
    ] {
        let found = refused(&host, &[&["kv"], args].concat());
        assert_eq!(found, (code, format!("error: {error}\n")));
    }
    let large = "x".repeat(8193);
    assert_eq!(
        refused(&host, &["kv", "set", "things", "x", &large]).1,
        "error: the value has 8193 bytes; the limit is 8192 (`max_value_kib`)\n"
    );
    let all = "shop/things: 3 entries, 207 of 1048576 bytes\nlocal: 207 of 10737418240 bytes\n";
    assert_eq!(kv(&["stores"]), all);
}

/// More keys than a page has.
#[tokio::test(flavor = "multi_thread")]
async fn all_keys_of_a_running_host() {
    let host = Running::start();
    for _ in 0..1003 {
        assert_eq!(host.function("/claim/n").await.status, 200);
    }
    let listed = said(&host, &["kv", "list", "things", "n"]);
    assert_eq!(listed.lines().count(), 1003);
    assert!(listed.ends_with("\nn001001\nn001002\n"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_host_is_checked_and_backed_up() {
    let host = Running::start();
    said(&host, &["kv", "set", "things", "ada", "1"]);
    assert_eq!(said(&host, &["state", "check"]), "local: shop/things: 1 entry, 68 bytes\n");
    // Relative to the directory of the command, and not of the host.
    assert_eq!(said(&host, &["state", "backup", "copies/all"]), "copies/all: local\n");
    said(&host, &["kv", "set", "things", "ada", "2"]);
    let copy = host.path("app/copies/all");
    let of_copy = ["kv", "get", "things", "ada", "--state", copy.to_str().unwrap()];
    assert_eq!(said(&host, &of_copy), "1");
    let again = refused(&host, &["state", "backup", "copies/all"]);
    let empty = "error: copies/all is not empty: name a directory that does not exist\n";
    assert_eq!(again, (1, empty.to_owned()));
    let other = refused(&host, &["state", "backup", "copies/acme", "--tenant", "acme"]);
    assert_eq!(other, (1, "error: there is no tenant \"acme\" with state\n".to_owned()));
    assert!(!host.path("app/copies/acme").exists());
    let one = ["state", "backup", "copies/one", "--tenant", "local"];
    assert_eq!(said(&host, &one), "copies/one: local\n");
}

/// A damaged database of one tenant is a finding, with the exit code of a failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_a_running_host_finds_a_damaged_database() {
    let host = Running::start();
    said(&host, &["kv", "set", "things", "ada", "1"]);
    fs::create_dir(host.path("state/gone")).unwrap();
    fs::write(host.path("state/gone/state.db"), "no database".repeat(1000)).unwrap();
    let check = command(&host, &["state", "check"]).output().unwrap();
    assert_eq!(check.status.code(), Some(1));
    assert_eq!(text(&check.stdout), "local: shop/things: 1 entry, 68 bytes\n");
    let error = text(&check.stderr);
    assert!(
        error.starts_with("error: tenant `gone`: the state of the tenant is damaged"),
        "{error}"
    );
    assert_eq!(host.function("/get/ada").await.text(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_reached_by_its_url() {
    let host = Running::start();
    let url = format!("http://{}", host.up.admin);
    let file = host.path("state/lacewing.admin");
    let bare = host.path("token");
    fs::write(&bare, format!("{}\n", host.token())).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let remote = |args: &[&str], token: Option<&str>| {
        let mut command = lacewing(&[args, &["--url", &url]].concat());
        command.current_dir(&elsewhere).env_remove("LACEWING_TOKEN");
        command.envs(token.map(|token| ("LACEWING_TOKEN", token)));
        command.output().unwrap()
    };
    let set = remote(&["kv", "set", "shop/things", "ada", "1"], Some(host.token()));
    assert_eq!((set.status.code(), text(&set.stderr)), (Some(0), ""));
    for token in [&file, &bare] {
        let token = token.to_str().unwrap();
        let get = remote(&["kv", "get", "shop/things", "ada", "--token-file", token], None);
        assert_eq!(text(&get.stdout), "1", "{}", text(&get.stderr));
    }
    let check = remote(&["state", "check"], Some(host.token()));
    assert_eq!(text(&check.stdout), "local: shop/things: 1 entry, 68 bytes\n");
    for (args, token, code, part) in [
        (&["kv", "list", "shop/things"][..], None, 2, "set LACEWING_TOKEN"),
        (&["kv", "list", "shop/things"], Some("x"), 1, "does not take the token"),
        (&["kv", "list", "things"], Some(host.token()), 2, "a store of a tenant is APP/NAME"),
        (&["kv", "get", "shop/other", "a"], Some(host.token()), 1, "has no kv store `shop/other`"),
    ] {
        let output = remote(args, token);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_an_admin_listener_is_named() {
    let Running { up, dir, .. } = Running::start();
    up.signal("KILL");
    up.wait();
    let (app, state) = (dir.path().join("app"), dir.path().join("state"));
    let _off = Unattended::start(&app, &state);
    let list = lacewing(&["kv", "list", "things"])
        .current_dir(&app)
        .env("LACEWING_STATE", &state)
        .output();
    let list = list.unwrap();
    let error = text(&list.stderr);
    assert_eq!((list.status.code(), text(&list.stdout)), (Some(1), ""), "{error}");
    assert!(error.contains("is in use by another process without an admin listener"), "{error}");
    assert!(error.contains("start it with `--admin ADDRESS`, or stop it"), "{error}");
}

/// A value that comes from standard input, with every byte that there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_any_bytes_comes_back() {
    let host = Running::start();
    let value: Vec<u8> = (0..=255).cycle().take(8 << 10).collect();
    let mut set = command(&host, &["kv", "set", "things", "bytes", "-"]);
    let mut set = set.stdin(Stdio::piped()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(&value).unwrap();
    assert!(set.wait().unwrap().success());
    assert_eq!(command(&host, &["kv", "get", "things", "bytes"]).output().unwrap().stdout, value);
}
