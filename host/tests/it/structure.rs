//! The rules of `docs/architecture.md`, read off the source: dependencies point down, few modules
//! name Wasmtime and hyper, and a status is chosen in one place without a catch-all.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The modules of the host, from the top down. A module may name those below it, never one beside or above.
const LAYERS: &[&[&str]] = &[
    &["cli", "fuzzing"],
    &["control"],
    &["ingress"],
    &["invocation"],
    &["function"],
    &["sandbox"],
    &["capability"],
    &["engine"],
    &["telemetry"],
    &["config"],
    &["manifest"],
    &["body", "event_loop", "fields", "file"],
    &["heap"],
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The source of each top-level module, less comments, by file.
fn modules() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let mut modules: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    let mut folders = vec![src()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let top = path.strip_prefix(src()).unwrap().components().next().unwrap();
                let name = top.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
                modules.entry(name).or_default().push((path.clone(), code(&path)));
            }
        }
    }
    modules
}

fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

fn layer(module: &str) -> usize {
    LAYERS.iter().position(|layer| layer.contains(&module)).unwrap_or_else(|| {
        panic!("`{module}` has no place in LAYERS: decide what it may depend on")
    })
}

/// Whether `code` names the crate or module `name` in a path.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before =
            code[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        before && code[at + name.len()..].starts_with("::")
    })
}

/// The modules that `code` takes from the crate's root: `crate::x` and the heads of `use crate::{x, y::z}`.
fn uses(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut head = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut head)),
                    _ if depth == 0 => head.push(c),
                    _ => {}
                }
            }
            found.push(head);
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    let first = |path: String| path.trim().split("::").next().unwrap_or_default().trim().to_owned();
    found.into_iter().map(first).filter(|name| !name.is_empty()).collect()
}

#[test]
fn dependencies_point_down() {
    let mut wrong = Vec::new();
    for (module, files) in modules() {
        if module == "lib" || module == "main" {
            continue;
        }
        for (path, code) in files {
            for used in uses(&code).into_iter().filter(|used| *used != module) {
                if layer(&used) <= layer(&module) {
                    wrong.push(format!(
                        "{} names crate::{used}, which is not below it",
                        path.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn few_modules_name_wasmtime_and_hyper() {
    let rules: [(&str, &[&str]); 4] = [
        ("wasmtime", &["engine", "sandbox", "capability"]),
        ("wasmtime_wasi", &["sandbox", "capability"]),
        ("wasmtime_wasi_http", &["sandbox", "capability"]),
        // The admin listener of telemetry speaks HTTP too, and `bench` of the command line is a client.
        ("hyper", &["ingress", "control", "capability", "telemetry", "cli"]),
    ];
    for (name, allowed) in rules {
        for (module, files) in modules() {
            for (path, code) in files {
                assert!(
                    allowed.contains(&module.as_str()) || !names(&code, name),
                    "{} names {name}; only {allowed:?} may",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn a_status_is_chosen_in_one_place_without_a_catch_all() {
    let text = fs::read_to_string(src().join("../crates/base/src/outcome.rs")).unwrap();
    let (_, function) = text.split_once("fn http_status").unwrap();
    let (body, _) = function.split_once("\n    }\n").unwrap();
    assert!(!body.contains("_ =>"), "a catch-all arm hides the next outcome:\n{body}");
    for (_, files) in modules() {
        for (path, code) in files {
            let chooses = code.contains("Outcome::Trap") && code.contains("502");
            assert!(!chooses || code.contains("#[cfg(test)]"), "{}", path.display());
        }
    }
}

#[test]
fn traps_are_classified_in_one_place() {
    for (_, files) in modules() {
        for (path, code) in files {
            let classifies = code.contains("Trap::") && !code.contains("Outcome::Trap")
                || code.contains("downcast_ref::<Trap>");
            let allowed = path.ends_with("sandbox/fault.rs") || code.contains("#[cfg(test)]");
            assert!(
                !classifies || allowed,
                "{} looks at traps; only sandbox/fault.rs may",
                path.display()
            );
        }
    }
}

/// `cargo run` in the repository's root, as the README has it, takes the workspace's only default.
#[test]
fn cargo_run_is_lacewing() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]).current_dir(src());
    let metadata: serde_json::Value =
        serde_json::from_slice(&cargo.output().unwrap().stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let defaults: Vec<_> = packages
        .iter()
        .filter_map(|package| Some((package["name"].as_str()?, package["default_run"].as_str()?)))
        .collect();
    assert_eq!(defaults, [("lacewing", "lacewing")]);
}
