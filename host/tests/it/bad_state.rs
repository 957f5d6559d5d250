//! State that is full, read-only, damaged or of another host: the client reads one sentence, the
//! operator the reason, nothing acknowledged is lost, and a neighbour notices nothing.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    client,
    harness::{Reply, guest},
    process::{Up, command},
    tenants::assert_problem,
    up::arg,
};

/// Two tenants with state, in a directory that hosts are started on one after the other.
struct Disk {
    dir: TempDir,
    /// Entries of `acme` whose writes were acknowledged.
    acknowledged: BTreeMap<String, String>,
    hits: u32,
}

const FULL: &str = "the state that the function writes to has no room";
const UNUSABLE: &str = "the state cannot be used now";

impl Disk {
    /// `quota` is that of `acme`.
    fn new(quota: &str) -> Disk {
        let dir = tempfile::tempdir().unwrap();
        let component = guest("state");
        let mut host = "state = \"state\"\n".to_owned();
        for (tenant, quota) in [("acme", quota), ("umbra", "")] {
            let app = dir.path().join(tenant);
            fs::create_dir(&app).unwrap();
            fs::copy(&component, app.join("state.wasm")).unwrap();
            let manifest = "app = \"shop\"\n[kv.things]\n[functions.api]\ncomponent = \"state.wasm\"\nroutes = [\"/{*rest}\"]\ngrants.kv = { things = \"read-write\" }\n";
            fs::write(app.join("lacewing.toml"), manifest).unwrap();
            host += &format!(
                "[tenants.{tenant}]\nhosts = [\"{tenant}.test\"]\napps = [\"{tenant}\"]\nquota = {{ {quota} }}\n"
            );
        }
        fs::write(dir.path().join("host.toml"), host).unwrap();
        Disk { dir, acknowledged: BTreeMap::new(), hits: 0 }
    }

    fn path(&self, rest: &str) -> PathBuf {
        self.dir.path().join(rest)
    }

    fn up(&self) -> Up {
        Up::start(&["--host", arg(&self.path("host.toml"))])
    }

    /// A host with mounts of its own: `mounts` is a script.
    fn up_with(&self, mounts: &str) -> Up {
        let script = format!("set -e; {mounts}; exec \"$0\" \"$@\"");
        let host = self.path("host.toml");
        let unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c", &script];
        Up::within(&unshare, &["--host", arg(&host)]).serving()
    }

    /// Writes an entry of `acme`.
    async fn put(&mut self, up: &Up, key: &str, value: &str) -> Reply {
        let reply = client::get(up.address, "acme.test", &format!("/put/{key}/{value}")).await;
        if reply.status == 204 {
            self.acknowledged.insert(key.to_owned(), value.to_owned());
        }
        reply
    }

    /// Fills the state of `acme` until an answer is another than 204.
    async fn fill(&mut self, up: &Up) -> Reply {
        let value = "x".repeat(7000);
        for n in self.acknowledged.len()..10_000 {
            let reply = self.put(up, &format!("key-{n}"), &value).await;
            if reply.status != 204 {
                return reply;
            }
        }
        panic!("it is never full");
    }

    /// All that was acknowledged is there.
    async fn assert_kept(&self, up: &Up) {
        for (key, value) in &self.acknowledged {
            let reply = client::get(up.address, "acme.test", &format!("/get/{key}")).await;
            assert_eq!((reply.status, reply.text()), (200, value.as_str()), "{key}");
        }
    }

    /// The neighbour reads and writes, and has lost nothing.
    async fn neighbour_is_served(&mut self, up: &Up) {
        self.hits += 1;
        let reply = client::get(up.address, "umbra.test", "/count/hits").await;
        assert_eq!((reply.status, reply.text()), (200, self.hits.to_string().as_str()));
    }

    /// `acme` is told that its state cannot be used, and the operator the reason.
    async fn is_refused(&mut self, up: &Up, path: &str, reason: &str) {
        let reply = client::get(up.address, "acme.test", path).await;
        assert_eq!((reply.status, &reply.problem()["detail"]), (503, &UNUSABLE.into()), "{path}");
        let line = up.line("cannot be used: ");
        assert!(line.contains("/state/acme cannot be used: "), "{line}");
        assert!(line.contains(reason), "{line}");
        let body = reply.text().to_owned();
        assert!(!body.contains(reason) && !body.contains("/state"), "{body}");
        self.neighbour_is_served(up).await;
    }

    /// A host that leaves an entry of each tenant.
    async fn used(quota: &str) -> Disk {
        let mut disk = Disk::new(quota);
        let up = disk.up();
        assert_eq!(disk.put(&up, "first", "1").await.status, 204);
        disk.neighbour_is_served(&up).await;
        up.signal("TERM");
        assert_eq!(up.wait().0.code(), Some(0));
        // A check closes each database: its log is empty, and all is in the file.
        assert!(checked(&disk).contains("acme: shop/things: 1 entry"));
        disk
    }
}

/// Whether a test that mounts file systems says why it does nothing.
fn cannot_mount() -> bool {
    let mount = "mount -t tmpfs -o size=64k none /tmp";
    let arguments = ["--map-root-user", "--mount", "sh", "-c", mount];
    let reason = match Command::new("unshare").args(arguments).output() {
        Ok(output) if output.status.success() => return false,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    eprintln!("skipped: no mounts of its own: {reason}");
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_takes_nothing_that_was_acknowledged() {
    if cannot_mount() {
        return;
    }
    let mut disk = Disk::used("").await;
    let acme = disk.path("state/acme");
    // The tenant's folder is a new disk, which holds its database and something to be removed.
    let mounts = format!(
        "mount -t tmpfs -o size=3m,mode=700 none {0}; dd if=/dev/zero of={0}/other bs=1M count=1 2>/dev/null",
        arg(&acme)
    );
    disk.acknowledged.clear();
    let up = disk.up_with(&mounts);
    let reply = disk.fill(&up).await;
    assert_problem(&reply, "store_unavailable", 507, FULL);
    let line = up.line("cannot be used: ");
    assert!(line.ends_with("/state/acme cannot be used: the disk that holds the state is full"));
    let record = up.line(" store_unavailable 507 GET /put/key-");
    assert!(record.contains("the disk that holds the state is full"), "{record}");
    assert!(disk.acknowledged.len() > 10);
    disk.assert_kept(&up).await;
    disk.neighbour_is_served(&up).await;
    // The operator makes room, and the host goes on.
    let other = format!("/proc/{}/root{}/other", up.pid(), acme.display());
    fs::remove_file(other).unwrap();
    let reply = disk.put(&up, "after", "1").await;
    assert_eq!(reply.status, 204, "{}", reply.text());
    disk.assert_kept(&up).await;
    disk.neighbour_is_served(&up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_read_only_is_told() {
    if cannot_mount() {
        return;
    }
    let mut disk = Disk::used("").await;
    let acme = disk.path("state/acme");
    let mounts = format!("mount --bind {0} {0}; mount -o remount,bind,ro {0}", arg(&acme));
    let up = disk.up_with(&mounts);
    disk.is_refused(&up, "/put/second/1", "can only be read").await;
    drop(up);
    // It is writable for the next host.
    let up = disk.up();
    disk.assert_kept(&up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_is_read_only_is_no_start() {
    if cannot_mount() {
        return;
    }
    let disk = Disk::used("").await;
    let state = disk.path("state");
    let mounts = format!("mount --bind {0} {0}; mount -o remount,bind,ro {0}", arg(&state));
    let script = format!("set -e; {mounts}; exec \"$0\" \"$@\"");
    let unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c", &script];
    let (status, said) = Up::within(&unshare, &["--host", arg(&disk.path("host.toml"))]).wait();
    assert_ne!(status.code(), Some(0));
    let reason = format!(
        "the state directory {} cannot be used: Read-only file system (os error 30)",
        state.canonicalize().unwrap().display()
    );
    assert!(said.contains(&reason), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_told() {
    let mut disk = Disk::used("state_mib = 1").await;
    let up = disk.up();
    let reply = disk.fill(&up).await;
    assert_problem(&reply, "store_unavailable", 507, FULL);
    let record = up.line(" store_unavailable 507 GET /put/key-");
    assert!(record.contains("the state of the tenant would have "), "{record}");
    assert!(record.contains("and may have 1048576"), "{record}");
    disk.assert_kept(&up).await;
    disk.neighbour_is_served(&up).await;
}

/// Changes bytes of the database of `acme`.
fn patch(disk: &Disk, at: u64, bytes: &[u8]) {
    let file = fs::File::options().write(true).open(disk.path("state/acme/state.db")).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_later_version_is_told() {
    let mut disk = Disk::used("").await;
    // The user version, in the header of the file (SQLite's file format, 1.3).
    patch(&disk, 60, &999_u32.to_be_bytes());
    let up = disk.up();
    let reason = "has schema 999, and this host knows schemas up to";
    disk.is_refused(&up, "/get/first", reason).await;
    disk.is_refused(&up, "/put/second/1", "run the version of the host that wrote it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_no_database_is_told() {
    let mut disk = Disk::used("").await;
    patch(&disk, 0, b"no database at all");
    let up = disk.up();
    disk.is_refused(&up, "/get/first", "the state of the tenant is damaged: ").await;
    disk.is_refused(&up, "/put/second/1", "damaged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_database_is_told() {
    for (keep, reason) in [(4096_u64, "damaged"), (100, "damaged")] {
        let mut disk = Disk::used("").await;
        let file = fs::File::options().write(true).open(disk.path("state/acme/state.db")).unwrap();
        file.set_len(keep).unwrap();
        let up = disk.up();
        disk.is_refused(&up, "/get/first", reason).await;
        disk.is_refused(&up, "/put/second/1", reason).await;
    }
}

/// The places of a file whose bits are flipped, in a host each: a whole page is wrong then.
#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_harm_no_neighbour() {
    let pages =
        fs::metadata(Disk::used("").await.path("state/acme/state.db")).unwrap().len() / 4096;
    let mut refused = 0;
    for page in 1..pages {
        let mut disk = Disk::used("").await;
        let path = disk.path("state/acme/state.db");
        let mut bytes = fs::read(&path).unwrap();
        let start = page as usize * 4096;
        bytes[start..start + 4096].iter_mut().for_each(|byte| *byte ^= 0x40);
        fs::write(&path, bytes).unwrap();
        let up = disk.up();
        for path in ["/get/first", "/put/second/1", "/sum"] {
            let reply = client::get(up.address, "acme.test", path).await;
            assert!([200, 204, 404, 503].contains(&reply.status), "page {page}: {}", reply.text());
            refused += u32::from(reply.status == 503);
        }
        disk.neighbour_is_served(&up).await;
        up.signal("TERM");
        assert_eq!(up.wait().0.code(), Some(0));
        let check = checked(&disk);
        assert!(check.contains("error: tenant `acme`: "), "page {page}: {check}");
        assert!(check.contains("umbra: shop/things: 1 entry"), "page {page}: {check}");
    }
    assert!(refused > 0);
}

/// What `lacewing state check` says.
fn checked(disk: &Disk) -> String {
    let state = disk.path("state");
    let output = command(&["state", "check", "--state", arg(&state)]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_another_host_is_refused() {
    let mut disk = Disk::used("").await;
    let first = disk.up();
    let (host, app, state) = (disk.path("host.toml"), disk.path("acme"), disk.path("state"));
    let alone = [arg(&app), "--state", arg(&state)];
    // One error for the host, however many functions have state.
    let refused = |args: &[&str], text: &str| {
        let (status, said) = Up::spawn(args, |_| {}).wait();
        assert_eq!(status.code(), Some(1), "{said}");
        assert_eq!(said.matches(text).count(), 1, "{said}");
    };
    for args in [&["--host", arg(&host)][..], &alone] {
        refused(args, "is in use by another process: stop that host, or give this one");
    }
    disk.assert_kept(&first).await;
    disk.neighbour_is_served(&first).await;
    drop(first);
    fs::write(disk.path("state/lacewing.state"), "99\n").unwrap();
    refused(
        &["--host", arg(&host)],
        "has form \"99\", and this host knows form 1: run the version",
    );
}

/// A folder of a tenant that is a link would have two tenants share a database.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_folder_is_a_link_is_refused() {
    let mut disk = Disk::used("").await;
    let acme = disk.path("state/acme");
    fs::remove_dir_all(&acme).unwrap();
    std::os::unix::fs::symlink(Path::new("umbra"), &acme).unwrap();
    let up = disk.up();
    disk.is_refused(&up, "/get/hits", "the folder is a symbolic link").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_a_store_that_is_not_there_refuses_the_app_alone() {
    let mut disk = Disk::new("");
    let manifest = disk.path("acme/lacewing.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("[kv.things]", "[kv.other]")).unwrap();
    let up = disk.up();
    up.line("the app has no kv store \"things\"");
    let reply = client::get(up.address, "acme.test", "/get/first").await;
    assert_eq!((reply.status, reply.outcome()), (404, "no_route"));
    disk.neighbour_is_served(&up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_values_and_stores_that_are_none_are_told() {
    let mut disk = Disk::used("").await;
    let up = disk.up();
    for (path, sentence) in [
        (format!("/put/{}/1", "k".repeat(513)), "the key has 513 bytes; a key has 1 to 512"),
        (
            "/fill/1048577".to_owned(),
            "the value has 1048577 bytes; the limit is 1048576 (`max_value_kib`)",
        ),
        (
            "/use/other".to_owned(),
            "the kv store \"other\" is not granted: the function may use things",
        ),
    ] {
        let reply = client::get(up.address, "acme.test", &path).await;
        // A mistake of the function, which its developer reads in the log.
        assert_eq!((reply.status, reply.outcome()), (500, "ok"));
        assert!(!reply.text().contains("limit"), "{}", reply.text());
        assert!(!reply.text().contains("grant"), "{}", reply.text());
        up.line(sentence);
        disk.neighbour_is_served(&up).await;
    }
    assert_eq!(disk.put(&up, &"k".repeat(512), "1").await.status, 204);
    disk.assert_kept(&up).await;
}
