//! What `new` makes passes its own tests and becomes a component.
//!
//! All templates are put into one workspace below `target/tmp`, so that the SDK is compiled once for all of them, and
//! not again by the next run.

use std::{fs, path::Path, process::Command};

use super::{lacewing, text};

/// Each template, and the interface that its component exports.
const TEMPLATES: [(&str, &str); 5] = [
    ("http", "lacewing:function/http@0.1.0"),
    ("json", "lacewing:function/http@0.1.0"),
    ("streaming", "wasi:http/handler@0.3"),
    ("event", "lacewing:function/events@0.1.0"),
    ("call", "lacewing:function/call@0.1.0"),
];

#[test]
fn every_template_passes_its_tests_and_builds() {
    let workspace = Path::new(env!("CARGO_TARGET_TMPDIR")).join("templates");
    make_workspace(&workspace);
    native_tests(&workspace);
    for (template, interface) in TEMPLATES {
        let component = build(&workspace.join(template));
        let found = component.windows(interface.len()).any(|window| window == interface.as_bytes());
        assert!(found, "{template} does not export {interface}");
    }
}

fn make_workspace(workspace: &Path) {
    fs::create_dir_all(workspace).unwrap();
    for (template, _) in TEMPLATES {
        let dir = workspace.join(template);
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap();
        }
        let name = format!("made-{template}");
        let mut new = lacewing(&["new", &name, "--template", template, "--dir"]);
        let output = new.arg(&dir).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        // It is below a workspace, this one, and so stands alone; here it is to be a member of another.
        let cargo_toml = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
        fs::write(dir.join("Cargo.toml"), cargo_toml.replace("[workspace]", "")).unwrap();
    }
    let members = TEMPLATES.map(|(template, _)| template);
    let manifest = format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n");
    fs::write(workspace.join("Cargo.toml"), manifest).unwrap();
    // The same versions as here: they are on this machine already.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    fs::copy(lock, workspace.join("Cargo.lock")).unwrap();
}

fn native_tests(workspace: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--quiet", "--workspace", "--target-dir", "target"]);
    let output = cargo.current_dir(workspace).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let passed = text(&output.stdout).matches("test result: ok. ").count();
    assert!(passed >= TEMPLATES.len(), "{}", text(&output.stdout));
}

fn build(dir: &Path) -> Vec<u8> {
    let mut build = lacewing(&["build", "--json"]);
    let output = build.arg(dir).env_remove("CARGO_TARGET_DIR").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    fs::read(result["functions"][0]["component"].as_str().unwrap()).unwrap()
}
