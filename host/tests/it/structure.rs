//! The rules of `docs/architecture.md`, read off the sources: dependencies point down, few crates
//! depend on Wasmtime and hyper, and a status is chosen in one place without a catch-all.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::root;

/// The crates of the host, from the top down, each with its modules from the top down. A crate may
/// depend on those below it. A module may name modules below it in its crate, never one beside or
/// above; modules that are not listed are parts of the crate's root.
const CRATES: &[(&str, &[&[&str]])] = &[
    ("lacewing", &[&["cli", "fuzzing"]]),
    ("lacewing-load", &[]),
    ("lacewing-compat", &[]),
    ("lacewing-control", &[]),
    ("lacewing-event", &[]),
    ("lacewing-ingress", &[]),
    ("lacewing-runtime", &[&["invocation"], &["function"]]),
    ("lacewing-sandbox", &[&["sandbox"], &["capability"], &["engine"]]),
    ("lacewing-store", &[]),
    ("lacewing-telemetry", &[]),
    ("lacewing-manifest", &[&["config"]]),
    ("lacewing-base", &[]),
];

/// Dependencies that few crates may have.
const OWNERS: &[(&str, &[&str])] = &[
    ("wasmtime", &["lacewing-sandbox"]),
    ("wasmtime-wasi", &["lacewing-sandbox"]),
    ("wasmtime-wasi-http", &["lacewing-sandbox"]),
    // Telemetry has the admin listener, and the sandbox outbound HTTP. Control has a client of the
    // admin API, compat the listener of S3, and the load generator is a client.
    (
        "hyper",
        &[
            "lacewing-load",
            "lacewing-compat",
            "lacewing-control",
            "lacewing-ingress",
            "lacewing-telemetry",
            "lacewing-sandbox",
        ],
    ),
    ("hdrhistogram", &["lacewing-load"]),
    ("clap", &["lacewing"]),
    ("postcard", &["lacewing-control"]),
    ("rusqlite", &["lacewing-store"]),
    ("s3s", &["lacewing-compat"]),
    ("croner", &["lacewing-event"]),
    ("chacha20poly1305", &["lacewing-store"]),
    ("toml", &["lacewing", "lacewing-manifest"]),
];

fn folder(name: &str) -> PathBuf {
    match name.strip_prefix("lacewing-") {
        Some(short) => root().join("host/crates").join(short),
        None => root().join("host"),
    }
}

/// The sources of a crate, less comments, by file.
fn sources(name: &str) -> Vec<(PathBuf, String)> {
    let src = folder(name).join("src");
    let mut found = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.strip_prefix(&src).unwrap().to_owned(), code(&path)));
            }
        }
    }
    found
}

/// The sources of all crates of the host.
fn all_sources() -> Vec<(PathBuf, String)> {
    let sources = CRATES.iter().flat_map(|(name, _)| {
        let src = folder(name).join("src");
        sources(name).into_iter().map(move |(path, code)| (src.join(path), code))
    });
    sources.collect()
}

/// The names of the crates that a crate depends on, without those of its tests.
fn dependencies(name: &str) -> Vec<String> {
    let text = fs::read_to_string(folder(name).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&text).unwrap();
    manifest["dependencies"].as_table().unwrap().keys().cloned().collect()
}

fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The modules that `code` takes from the crate's root: `crate::x` and the heads of `use crate::{x,
/// y::z}`.
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
fn crates_depend_on_crates_below_them() {
    let place = |name: &str| CRATES.iter().position(|(listed, _)| *listed == name);
    for (at, (name, _)) in CRATES.iter().enumerate() {
        for used in dependencies(name).iter().filter(|used| used.starts_with("lacewing")) {
            let below = place(used).unwrap_or_else(|| {
                panic!("`{used}` has no place in CRATES: decide what it may depend on")
            });
            assert!(below > at, "{name} depends on {used}, which is not below it");
        }
    }
}

#[test]
fn modules_name_modules_below_them() {
    let mut wrong = Vec::new();
    for (name, layers) in CRATES {
        // The root of the crate, and what is not listed, is below all that is listed.
        let layer =
            |module: &str| layers.iter().position(|layer| layer.contains(&module)).unwrap_or(9);
        for (path, code) in sources(name) {
            let top = path.components().next().unwrap().as_os_str().to_string_lossy();
            let module = top.trim_end_matches(".rs");
            // The root lists its modules.
            if ["lib", "main"].contains(&module) {
                continue;
            }
            for used in uses(&code).into_iter().filter(|used| used != module) {
                if layer(&used) <= layer(module) && layer(&used) < 9 {
                    wrong.push(format!(
                        "{name}: {} names crate::{used}, which is not below it",
                        path.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn few_crates_have_the_large_dependencies() {
    for (dependency, owners) in OWNERS {
        let users: Vec<_> = CRATES
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| dependencies(name).iter().any(|used| used == dependency))
            .collect();
        assert!(!users.is_empty(), "no crate depends on {dependency}");
        for user in users {
            assert!(owners.contains(&user), "{user} depends on {dependency}; only {owners:?} may");
        }
    }
}

#[test]
fn a_status_is_chosen_in_one_place_without_a_catch_all() {
    let text = fs::read_to_string(folder("lacewing-base").join("src/outcome.rs")).unwrap();
    let (_, function) = text.split_once("fn http_status").unwrap();
    let (body, _) = function.split_once("\n    }\n").unwrap();
    assert!(!body.contains("_ =>"), "a catch-all arm hides the next outcome:\n{body}");
    for (path, code) in all_sources() {
        let chooses = code.contains("Outcome::Trap") && code.contains("502");
        assert!(!chooses || code.contains("#[cfg(test)]"), "{}", path.display());
    }
}

#[test]
fn traps_are_classified_in_one_place() {
    for (path, code) in all_sources() {
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

/// `cargo run` in the repository's root, as the README has it, takes the workspace's only default.
#[test]
fn cargo_run_is_lacewing() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]).current_dir(root());
    let metadata: serde_json::Value =
        serde_json::from_slice(&cargo.output().unwrap().stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let defaults: Vec<_> = packages
        .iter()
        .filter_map(|package| Some((package["name"].as_str()?, package["default_run"].as_str()?)))
        .collect();
    assert_eq!(defaults, [("lacewing", "lacewing")]);
}
