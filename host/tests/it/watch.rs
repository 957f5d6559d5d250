//! `lacewing up --watch`: the changes that start no build.

use std::fs;

use crate::{
    harness::{eventually, guest},
    process::Up,
    up::{arg, replace},
};

#[tokio::test(flavor = "multi_thread")]
async fn files_that_the_build_itself_writes_start_no_build() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let runs = elsewhere.path().join("runs");
    // Output of each kind: beside the component, anew in each build, ignored by git, and the log of
    // the host.
    let command = format!(
        "echo run >> {}; mkdir -p dist gen out; cp source.wasm out/x.wasm; date +%N > dist/page.js; date +%N > gen/page.ts; date +%N > top.js",
        runs.display()
    );
    let manifest = format!(
        "app = \"watched\"\n[functions.it]\nroutes = [\"/\"]\nbuild = {{ command = {command:?}, output = \"out/x.wasm\" }}\n"
    );
    fs::write(dir.path().join("lacewing.toml"), manifest).unwrap();
    fs::write(dir.path().join(".gitignore"), "gen\n").unwrap();
    let source = dir.path().join("source.wasm");
    fs::copy(guest("portable-02"), &source).unwrap();
    let up = Up::start(&[arg(dir.path()), "--watch"]);
    up.line("Watching");
    for (swap, name) in ["portable-03", "portable-02", "portable-03"].into_iter().enumerate() {
        replace(&guest(name), &source);
        up.nth_line("Swapped local/watched/it@", swap);
    }
    let runs = fs::read_to_string(runs).unwrap();
    assert_eq!(runs.lines().count(), 4, "{}", up.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_among_the_sources_starts_no_build() {
    let dir = tempfile::tempdir().unwrap();
    let command = "echo a build; cp source.wasm x.wasm";
    let manifest = format!(
        "app = \"watched\"\n[functions.it]\nroutes = [\"/\"]\nbuild = {{ command = {command:?}, output = \"x.wasm\" }}\n"
    );
    fs::write(dir.path().join("lacewing.toml"), manifest).unwrap();
    let source = dir.path().join("source.wasm");
    fs::copy(guest("portable-02"), &source).unwrap();
    // A name that is not a log's.
    let log = dir.path().join("said");
    let up = Up::limited(
        &format!("exec 2> {}", arg(&log)),
        &[arg(dir.path()), "--watch", "--request-log=none"],
    );
    let said = |part: &str| fs::read_to_string(&log).unwrap_or_default().matches(part).count();
    eventually("it watches", || said("Watching") == 1).await;
    for (swap, name) in ["portable-03", "portable-02"].into_iter().enumerate() {
        replace(&guest(name), &source);
        eventually("it is swapped", || said("Swapped local/watched/it@") == swap + 1).await;
    }
    assert_eq!(said("a build"), 3);
    up.signal("TERM");
    assert_eq!(up.exit().code(), Some(0));
}
