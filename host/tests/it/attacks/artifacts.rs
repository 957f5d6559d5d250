//! Attackers that write into the folder of artifacts: the host runs no code that it did not
//! compile.
//!
//! The host keeps one program in memory, so that each request of the suspect's, between the
//! neighbour's, maps its artifact anew.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use super::{Host, Target};
use crate::{bad_components::replace, client, components::Core, tenants::SUSPECT};

/// One function in memory.
const ONE: &str = "[residency]\nmax_functions = 1";

/// The suspect, whose answer is `body`, in this folder.
fn target(cache: &Path, body: &'static str) -> Target {
    Target::core(&Core { body, ..Core::default() }).settings(ONE).cached_in(cache).patient()
}

fn artifacts(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|e| e == "cwasm")).collect()
}

async fn answers(host: &Host, body: &str) {
    let reply = client::get(host.address(), SUSPECT, "/").await;
    assert_eq!((reply.status, reply.text()), (200, body), "{}", host.said());
}

/// Puts other contents in the place of every artifact while the host serves, again and again.
async fn tampers(with: impl Fn(&[u8]) -> Vec<u8>) {
    tampers_with(|artifact, good| replace(artifact, &with(good))).await;
}

/// Does something to every artifact while the host serves, again and again.
async fn tampers_with(tamper: impl Fn(&Path, &[u8])) {
    let dir = tempfile::tempdir().unwrap();
    target(dir.path(), "mine")
        .attacked(async |host| {
            for _ in 0..5 {
                answers(host, "mine").await;
                for artifact in artifacts(dir.path()) {
                    // One that was put there before, and not asked for since, stays.
                    let is_file = |found: fs::Metadata| found.is_file();
                    if !fs::symlink_metadata(&artifact).is_ok_and(is_file) {
                        continue;
                    }
                    let Ok(good) = fs::read(&artifact) else { continue };
                    tamper(&artifact, &good);
                }
                host.neighbour_is_served().await;
                answers(host, "mine").await;
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_with_one_bit_changed() {
    tampers(|good| {
        let mut bad = good.to_vec();
        bad[good.len() / 2] ^= 1;
        bad
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_is_cut_short() {
    tampers(|good| good[..good.len() / 2].to_vec()).await;
    tampers(|_| Vec::new()).await;
}

/// Opening a pipe waits for whoever writes into it, and a link leads to what can still be changed.
#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_is_no_file() {
    tampers_with(|artifact, _| {
        fs::remove_file(artifact).unwrap();
        assert!(Command::new("mkfifo").arg(artifact).status().unwrap().success());
    })
    .await;
    let elsewhere = tempfile::tempdir().unwrap();
    tampers_with(|artifact, good| {
        let moved = elsewhere.path().join(artifact.file_name().unwrap());
        fs::write(&moved, good).unwrap();
        fs::remove_file(artifact).unwrap();
        symlink(&moved, artifact).unwrap();
    })
    .await;
}

/// A mapped file can be written to after it was hashed, by any user that may write to the file.
#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_others_may_write_to() {
    tampers_with(|artifact, _| {
        fs::set_permissions(artifact, fs::Permissions::from_mode(0o666)).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_that_are_swapped() {
    let dir = tempfile::tempdir().unwrap();
    target(dir.path(), "mine")
        .attacked(async |host| {
            answers(host, "mine").await;
            let all = artifacts(dir.path());
            let [one, other] = &all[..] else { panic!("{all:?}") };
            let contents = [fs::read(one).unwrap(), fs::read(other).unwrap()];
            for _ in 0..3 {
                replace(one, &contents[1]);
                replace(other, &contents[0]);
                host.neighbour_is_served().await;
                answers(host, "mine").await;
            }
        })
        .await;
}

/// Another host's artifact of another component is whole, and has that host's hash.
#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_of_another_host() {
    let [dir, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let theirs = target(other.path(), "evil")
        .attacked(async |host| {
            answers(host, "evil").await;
            artifacts(other.path())
        })
        .await;
    target(dir.path(), "mine")
        .attacked(async |host| {
            answers(host, "mine").await;
            for artifact in artifacts(dir.path()) {
                for evil in &theirs {
                    replace(&artifact, &fs::read(evil).unwrap());
                    host.neighbour_is_served().await;
                    answers(host, "mine").await;
                }
            }
        })
        .await;
}

/// An artifact of a Wasmtime that was another, under the name of this one's.
#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_of_another_version() {
    tampers(|good| {
        let version = b"48.0.8";
        let mut old = good.to_vec();
        let at = good.windows(version.len()).position(|part| part == version);
        old[at.unwrap_or(64)] = b'3';
        old
    })
    .await;
}
