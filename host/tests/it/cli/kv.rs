//! `lacewing kv` and `lacewing state`: entries, checks and copies of a state directory.

use std::{fs, path::Path};

use lacewing_store::embedded::{EmbeddedOptions, EmbeddedStore};

use super::lacewing;

const MANIFEST: &str = "app = \"shop\"\n[kv.users]\nmax_value_kib = 1\n[functions.api]\ncomponent = \"lacewing.toml\"\ngrants.kv = { users = \"read\" }\n";

#[track_caller]
fn said(dir: &Path, args: &[&str]) -> String {
    super::said(lacewing(args).current_dir(dir))
}

#[track_caller]
fn refused(dir: &Path, args: &[&str]) -> (i32, String) {
    super::refused(lacewing(args).current_dir(dir))
}

/// A directory with an app, and a host file that names it.
fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("app")).unwrap();
    fs::write(dir.path().join("app/lacewing.toml"), MANIFEST).unwrap();
    fs::create_dir(dir.path().join("app/state")).unwrap();
    let host = "state = \"app/state\"\n[tenants.acme]\nhosts = [\"*\"]\napps = [\"app\"]\n";
    fs::write(dir.path().join("host.toml"), host).unwrap();
    dir
}

#[test]
fn entries_are_set_read_listed_and_deleted() {
    let dir = project();
    let app = &dir.path().join("app");
    let state = ["--state", "state"];
    let kv = |args: &[&str]| said(app, &[&["kv"], args, &state].concat());
    assert_eq!(kv(&["list", "users"]), "");
    assert_eq!(kv(&["set", "users", "ada", "{\"name\":\"Ada\"}"]), "");
    assert_eq!(kv(&["set", "users", "b\u{1b}ea", "1"]), "");
    assert_eq!(kv(&["get", "users", "ada"]), "{\"name\":\"Ada\"}");
    // What acts on a terminal is shown.
    assert_eq!(kv(&["list", "users"]), "ada\nb\\u{1b}ea\n");
    assert_eq!(kv(&["list", "users", "a"]), "ada\n");
    assert_eq!(kv(&["set", "users", "soon", "1", "--expires-in-s", "0"]), "");
    assert_eq!(kv(&["delete", "users", "ada"]), "");
    let refused = |args: &[&str]| refused(app, &[&["kv"], args, &state].concat());
    for (args, code, error) in [
        (&["get", "users", "ada"][..], 1, "there is no entry \"ada\" in the kv store `users`"),
        (&["get", "users", "soon"], 1, "there is no entry \"soon\" in the kv store `users`"),
        (&["delete", "users", "ada"], 1, "there is no entry \"ada\" in the kv store `users`"),
        (&["get", "user", "ada"], 2, "app `shop` has no kv store \"user\": it has users"),
        (&["get", "users", ""], 1, "the key has 0 bytes; a key has 1 to 512"),
    ] {
        assert_eq!(refused(args), (code, format!("error: {error}\n")));
    }
    let large = "x".repeat(1025);
    assert_eq!(
        refused(&["set", "users", "x", &large]).1,
        "error: the value has 1025 bytes; the limit is 1024 (`max_value_kib`)\n"
    );
}

#[test]
fn stores_of_a_host_are_named_with_tenant_and_app() {
    let dir = project();
    let place = ["--host", "host.toml", "--tenant", "acme"];
    let kv = |args: &[&str]| said(dir.path(), &[&["kv"], args, &place].concat());
    kv(&["set", "shop/users", "ada", "1"]);
    assert_eq!(kv(&["get", "shop/users", "ada"]), "1");
    let check = said(dir.path(), &["state", "check", "--state", "app/state"]);
    assert_eq!(check, "acme: shop/users: 1 entry, 68 bytes\n");
    let refused = |args: &[&str]| refused(dir.path(), args);
    let other = ["kv", "get", "shop/users", "ada", "--host", "host.toml", "--tenant", "umbra"];
    assert_eq!(refused(&other), (2, "error: host.toml has no tenant \"umbra\"\n".into()));
    let bare = [&["kv", "get", "users", "ada"][..], &place].concat();
    assert_eq!(
        refused(&bare),
        (2, "error: a store of a tenant is APP/NAME, not \"users\"\n".into())
    );
}

#[test]
fn stores_are_listed_with_their_use() {
    let dir = project();
    let app = &dir.path().join("app");
    let stores = |args: &[&str]| said(app, &[&["kv", "stores", "--state", "state"], args].concat());
    let empty = "shop/users: 0 entries, 0 of 1073741824 bytes\nlocal: 0 of 10737418240 bytes\n";
    assert_eq!(stores(&[]), empty);
    said(app, &["kv", "set", "users", "ada", "1", "--state", "state"]);
    let used = "shop/users: 1 entry, 68 of 1073741824 bytes\nlocal: 68 of 10737418240 bytes\n";
    assert_eq!(stores(&[]), used);
    let of_host = ["kv", "stores", "--host", "host.toml", "--tenant", "acme"];
    let of_host = said(dir.path(), &of_host);
    assert!(of_host.ends_with("\nacme: 0 of 10737418240 bytes\n"), "{of_host}");
    let alone = ["kv", "stores", "--tenant", "acme"];
    let (code, error) = refused(app, &alone);
    assert_eq!(code, 2);
    assert!(error.contains("add `--host FILE` or `--url URL`"), "{error}");
}

#[test]
fn a_copy_of_the_state_is_state() {
    let dir = project();
    let app = &dir.path().join("app");
    said(app, &["kv", "set", "users", "ada", "1", "--state", "state"]);
    let copied = said(app, &["state", "backup", "copy", "--state", "state"]);
    assert_eq!(copied, "copy: local\n");
    said(app, &["kv", "set", "users", "ada", "2", "--state", "state"]);
    assert_eq!(said(app, &["kv", "get", "users", "ada", "--state", "copy"]), "1");
    let one = ["state", "backup", "one", "--tenant", "local", "--state", "state"];
    assert_eq!(said(app, &one), "one: local\n");
    let other = ["state", "backup", "two", "--tenant", "acme", "--state", "state"];
    assert_eq!(refused(app, &other), (2, "error: tenant `acme` has no state\n".into()));
    let (code, error) = refused(app, &["state", "backup", "copy", "--state", "state"]);
    assert_eq!(code, 1);
    assert_eq!(error, "error: copy is not empty: name a directory that does not exist\n");
}

#[test]
fn a_directory_that_is_in_use_or_not_there_is_refused() {
    let dir = project();
    let app = &dir.path().join("app");
    let (code, error) = refused(app, &["kv", "list", "users"]);
    assert_eq!(code, 2);
    assert!(error.contains("there is no state directory"), "{error}");
    assert!(
        error.contains(": `lacewing up` makes one when a function is granted a store"),
        "{error}"
    );
    let open = EmbeddedStore::open(&app.join("state"), EmbeddedOptions::default()).unwrap();
    for args in [&["kv", "list", "users"][..], &["state", "check"], &["state", "backup", "copy"]] {
        let (code, error) = refused(app, &[args, &["--state", "state"]].concat());
        assert_eq!(code, 1);
        assert!(
            error.contains("is in use by another process without an admin listener"),
            "{error}"
        );
        assert!(error.contains("start it with `--admin ADDRESS`, or stop it"), "{error}");
    }
    drop(open);
    said(app, &["state", "check", "--state", "state"]);
}
