//! The pages of `docs`: what they name exists.

use std::{fs, path::PathBuf};

use crate::harness::root;

/// The rows of the tables of a page, as cells.
fn rows(page: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| word"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// The words in backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// A file of the host's sources, or of its domain types.
fn source(path: &str) -> PathBuf {
    let [host, base] = ["host/src", "host/crates/base/src"].map(|src| root().join(src).join(path));
    if base.exists() { base } else { host }
}

#[test]
fn the_glossary_names_modules_that_exist() {
    let rows = rows("glossary.md");
    assert!(rows.len() > 30, "{} words", rows.len());
    for row in &rows {
        for module in quoted(row.last().unwrap()) {
            let path = source(&format!("{}.rs", module.replace("::", "/")));
            assert!(path.exists(), "{}: there is no module {module}", row[0]);
        }
    }
}

#[test]
fn each_constant_of_scheduling_is_in_the_file_that_the_page_names() {
    let mut constants = 0;
    for row in rows("scheduling.md") {
        let Some(file) = quoted(row.last().unwrap()).next() else { continue };
        let text = fs::read_to_string(source(file)).unwrap_or_else(|_| panic!("no file {file}"));
        for name in quoted(&row[0]) {
            let found = match name.strip_prefix("admission.") {
                Some(key) => text.contains(&format!("Key: `{key}`")),
                None => text.contains(&format!("const {name}: ")),
            };
            assert!(found, "{file} has no {name}");
            constants += 1;
        }
    }
    assert!(constants > 15, "{constants} constants");
}
