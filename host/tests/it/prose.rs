//! The first lines of source files: each is a noun phrase that names the thing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::harness::root;

/// Words that begin a question or a clause, and no name of a thing.
const NO_NAMES: &[&str] = &[
    "What", "Who", "Whose", "Whoever", "Whatever", "Which", "Nobody", "Where", "When", "How",
    "Whether", "Does", "Is",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_built = path.ends_with("target") || path.ends_with("bindings");
        if path.is_dir() && !is_built {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn first_lines_name_the_thing() {
    let mut files = Vec::new();
    for folder in ["host", "guest-sdk", "examples", "benches"] {
        sources(&root().join(folder), &mut files);
    }
    assert!(files.len() > 300, "{} files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let first = text.lines().next().unwrap_or_default();
        let Some(head) = first.strip_prefix("//! ") else { continue };
        let word = head.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        if NO_NAMES.contains(&word) {
            wrong.push(format!("{}: {head}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "begin with a noun phrase:\n{}", wrong.join("\n"));
}
