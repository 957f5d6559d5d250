//! The table of `SECURITY.md` says what is true: each test that it names is in the sources, and
//! each attack of this suite is in it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::harness::{module_file, root};

/// The rows of the table of attacks: what is between the bars.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (_, attacks) = text.split_once("\n## Attacks\n").expect("there is a table of attacks");
    let attacks = attacks.split("\n## ").next().unwrap();
    let cells = |line: &str| {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    let lines = attacks.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    lines.map(cells).collect()
}

/// The words in backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn source(module: &str) -> PathBuf {
    let parts: Vec<&str> = module.split("::").collect();
    match parts.split_first() {
        Some((&"src", rest)) => module_file(&rest.join("::")),
        _ => root().join("host/tests/it").join(parts.join("/")).with_extension("rs"),
    }
}

fn has_test(file: &Path, name: &str) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    [format!("fn {name}()"), format!("fn {name}(\n")]
        .iter()
        .any(|text_of| text.contains(text_of.as_str()))
}

#[test]
fn every_test_of_the_table_exists() {
    let rows = rows();
    assert!(rows.len() >= 40, "{} attacks", rows.len());
    for row in rows {
        assert_eq!(row.len(), 4, "attack, outcome, limit, test: {row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        let mut tests = 0;
        for path in quoted(&row[3]) {
            let (module, name) = path.rsplit_once("::").unwrap_or_else(|| panic!("{path}"));
            assert!(
                has_test(&source(module), name),
                "{path} is no test in {}",
                source(module).display()
            );
            tests += 1;
        }
        assert!(tests > 0, "no test: {row:?}");
    }
}

#[test]
fn every_attack_of_this_suite_is_in_the_table() {
    let named: BTreeSet<String> = rows()
        .iter()
        .flat_map(|row| quoted(&row[3]).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let mut missing = Vec::new();
    for entry in fs::read_dir(root().join("host/tests/it/attacks")).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_string_lossy().into_owned();
        if module == "table" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (_, rest) in text.match_indices("#[tokio::test(").map(|(at, _)| text.split_at(at)) {
            let name = rest.split("async fn ").nth(1).unwrap().split('(').next().unwrap();
            let path = format!("attacks::{module}::{name}");
            if !named.contains(&path) {
                missing.push(path);
            }
        }
    }
    assert!(missing.is_empty(), "not in SECURITY.md: {missing:#?}");
}

/// The text of a section of the page.
fn section(heading: &str) -> String {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (_, rest) = text.split_once(&format!("\n## {heading}\n")).expect("there is such a section");
    rest.split("\n## ").next().unwrap().to_owned()
}

#[test]
fn every_promise_names_tests_that_exist() {
    let promises = section("What is promised");
    let promises: Vec<&str> = promises.split("\n- ").skip(1).collect();
    assert!(promises.len() > 10);
    for promise in promises {
        let (_, tests) = promise.rsplit_once('(').unwrap_or_else(|| panic!("no test: {promise}"));
        for module in quoted(tests) {
            let file = match module.ends_with(".rs") {
                true => root().join(module),
                false => source(module),
            };
            assert!(file.exists(), "{module} of {promise}");
        }
        assert!(quoted(tests).count() > 0, "no test: {promise}");
    }
}

/// The block that operators copy is a host file that the host takes.
#[test]
fn the_settings_for_strangers_are_taken() {
    let text = section("Settings for a host of strangers");
    let block = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let app = dir.path().join("apps/acme");
    fs::create_dir_all(&app).unwrap();
    fs::copy(crate::harness::component("hello"), app.join("hello.wasm")).unwrap();
    let manifest =
        "app = \"acme\"\n[functions.hello]\ncomponent = \"hello.wasm\"\nroutes = [\"/\"]\n";
    fs::write(app.join("lacewing.toml"), manifest).unwrap();
    let path = dir.path().join("host.toml");
    fs::write(&path, block).unwrap();
    let (file, warnings) = lacewing::config::HostFile::load(&path).unwrap_or_else(|findings| {
        panic!("{}", findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    });
    assert!(warnings.is_empty(), "{warnings:?}");
    let tenant = &file.tenants[0];
    assert_eq!((tenant.apps.len(), tenant.refused.len()), (1, 0));
}
