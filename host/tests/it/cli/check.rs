//! `lacewing check`: a manifest and its components against each other.

use std::{fs, path::Path, process::Output};

use serde_json::{Value, json};

use super::text;
use crate::{
    components::{Core, write_component},
    harness::{component, guest, root},
    process::command,
    snapshot::manifest as suspect,
};

/// An app of two prebuilt components. The first is granted what it never asks for; the second asks
/// for what it is not granted.
fn app(dir: &Path, second_route: &str) {
    let manifest = format!(
        r#"app = "pair"

[functions.one]
component = {:?}
routes = ["/"]

[functions.one.grants]
http = ["https://example.com"]

[functions.two]
component = {:?}
routes = ["{second_route}"]

[functions.one.limits]
provisioned = 8
"#,
        component("hello"),
        guest("portable-02"),
    );
    fs::write(dir.join("lacewing.toml"), manifest).unwrap();
}

fn check(dir: &Path, args: &[&str]) -> Output {
    command(&["check"]).arg(dir).args(args).output().unwrap()
}

const WARNINGS: &str = r#"warning: `one` has a grant of outbound HTTP, but its component imports neither wasi:http/outgoing-handler nor wasi:http/client
 --> DIR/lacewing.toml:8:9
  |
8 | http = ["https://example.com"]
  |         ^^^^^^^^^^^^^^^^^^^^^
  = help: remove the grant, or send requests in the function
warning: `two` imports wasi:http/outgoing-handler@0.2.12, and has no grant of outbound HTTP: every request that it sends is denied
  --> DIR/lacewing.toml:10:12
   |
10 | [functions.two]
   |            ^^^
   = help: name the servers that it may call: [functions.two.grants] http = ["https://api.example.com"]
"#;

#[test]
fn a_table_that_no_sandbox_has_room_for_is_one_error() {
    let dir = tempfile::tempdir().unwrap();
    let fields = "(table 10000000 funcref)".to_owned();
    let component = Core { fields, ..Core::default() }.lean();
    let path = write_component(dir.path(), "x.wasm", &component);
    // The second time there is an artifact.
    for _ in 0..2 {
        let output = check(&path, &[]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{stderr}");
        let said: Vec<&str> = stderr.lines().filter(|line| !line.starts_with("Fresh ")).collect();
        assert_eq!(said.len(), 1, "{stderr}");
        assert!(said[0].starts_with("error: function x of app x ("), "{stderr}");
        assert!(said[0].contains("table"), "{stderr}");
    }
}

#[test]
fn no_example_has_a_finding() {
    let examples = fs::read_dir(root().join("examples")).unwrap();
    let mut checked = 0;
    for dir in examples.map(|entry| entry.unwrap().path()) {
        let output = check(&dir, &["--deny-warnings"]);
        let stderr = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), ""), "{stderr}");
        assert!(stderr.contains("Checked local/"), "{stderr}");
        assert!(stderr.contains(": exports "), "{stderr}");
        checked += 1;
    }
    assert!(checked >= 6, "{checked}");
}

#[test]
fn grants_and_imports_that_do_not_meet_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    app(dir.path(), "/two");
    let output = check(dir.path(), &[]);
    let stderr = text(&output.stderr).replace(dir.path().to_str().unwrap(), "DIR");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), ""), "{stderr}");
    assert!(stderr.contains(WARNINGS), "{stderr}");
    assert_eq!(check(dir.path(), &["--deny-warnings"]).status.code(), Some(4));
}

#[test]
fn findings_are_json_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    app(dir.path(), "/two");
    let output = check(dir.path(), &["--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &found["errors"]), (Some(0), &json!([])));
    let findings = found["findings"].as_array().unwrap();
    let places: Vec<_> =
        findings.iter().map(|f| (&f["severity"], &f["line"], &f["column"])).collect();
    let warning = json!("warning");
    let nowhere = (&warning, &Value::Null, &Value::Null);
    assert_eq!(
        places,
        [(&warning, &json!(8), &json!(9)), (&warning, &json!(10), &json!(12)), nowhere]
    );
    // The guest was linked without `lacewing build`.
    assert!(
        findings[2]["message"].as_str().unwrap().starts_with("`two` starts slowly: "),
        "{findings:?}"
    );
    assert_eq!(found["functions"][0]["exports"], json!(["lacewing:function/http"]));
    assert_eq!(found["functions"][1]["function"], "two");

    // Two functions on one route: an error, with the other's place.
    app(dir.path(), "/");
    let output = check(dir.path(), &["--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(found["findings"][0]["message"], "route `/` is taken by function `one`");
    assert_eq!(found["findings"][0]["related"][0]["line"], 5);

    // The error says too that it is no component.
    fs::write(dir.path().join("x.wasm"), "not wasm").unwrap();
    fs::write(
        dir.path().join("lacewing.toml"),
        "app = \"a\"\n[functions.f]\ncomponent = \"x.wasm\"\n",
    )
    .unwrap();
    let output = check(dir.path(), &["--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &found["functions"]), (Some(4), &json!([])));
    let error = found["errors"][0].as_str().unwrap();
    assert!(error.starts_with("function f of app a ("), "{error}");
}

#[test]
fn a_component_alone_is_checked() {
    let output = check(&guest("portable-03"), &[]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let warning = "warning: `portable-03` imports wasi:http/client@0.3.";
    assert!(stderr.contains(warning), "{stderr}");
    let help = "  = help: a component without a manifest is granted nothing: give it a lacewing.toml with `grants.http`\n";
    assert!(stderr.contains(help), "{stderr}");
    assert!(stderr.contains(": exports wasi:http/handler@0.3; imports "), "{stderr}");
    // The linker was told nothing.
    let slow = "warning: `portable-03` starts slowly: its stack has 1024 KiB, ";
    assert!(stderr.contains(slow), "{stderr}");
    let flags = "RUSTFLAGS=\"-Clink-arg=-zstack-size=131072 -Clink-arg=--initial-heap=65536\"";
    assert!(stderr.contains(flags), "{stderr}");

    let output = check(&guest("portable-03"), &["--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let memory = &found["functions"][0]["memories"][0];
    assert_eq!((&memory["stack_bytes"], &memory["grows"]), (&json!(1 << 20), &json!(true)));
}

#[test]
fn an_init_that_ends_is_shown_with_its_output() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("lacewing.toml"), suspect("panic", "")).unwrap();
    for args in [&["check"][..], &["invoke", "--path=/inits"], &["bench", "--starts=0"]] {
        let (name, rest) = args.split_first().unwrap();
        let output = command(&[name]).arg(dir.path()).args(rest).output().unwrap();
        let stderr = text(&output.stderr);
        let (said, error) = stderr.split_once("error: function suspect").expect(stderr);
        assert!(said.contains("this init panics") && said.contains("init.rs:"), "{stderr}");
        assert!(error.contains("its init ended as trap"), "{stderr}");
        assert_eq!(output.status.code(), Some(4), "{stderr}");
    }
}
