//! The projects that `new` makes: each passes its own tests, becomes a component, and does with
//! `invoke` what its README says.
//!
//! All templates are put into one workspace below `target/tmp`, so that the SDK is compiled once
//! for all of them, and not again by the next run.

use std::{fs, path::Path, process::Command};

use super::{lacewing, text};
use crate::process::command;

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
        check(&workspace.join(template));
    }
    invoke_http(&workspace.join("http"));
    invoke_call(&workspace.join("call"));
    invoke_event(&workspace.join("event"));
    cargo_makes_a_component(&workspace);
    a_task_of_a_handler_that_is_not_async_is_refused(&workspace.join("http"));
    a_function_from_nothing_is_as_the_page_says(&workspace);
}

/// Without Lacewing.
fn cargo_makes_a_component(workspace: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release", "--target=wasm32-wasip2", "-p=made-http"]);
    cargo.args(["--target-dir", "target/plain"]).current_dir(workspace);
    if let Some(rustc) = std::env::var_os("LACEWING_GUEST_RUSTC") {
        cargo.env("RUSTC", rustc);
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let component = workspace.join("target/plain/wasm32-wasip2/release/made_http.wasm");
    // 13: a component, not a core module.
    assert_eq!(fs::read(component).unwrap()[..5], *b"\0asm\x0d");
}

fn a_task_of_a_handler_that_is_not_async_is_refused(dir: &Path) {
    let handler = "#[lacewing_sdk::http]\nfn hello() -> &'static str {\n    lacewing_sdk::spawn(async {});\n    \"\"\n}\n";
    fs::write(dir.join("src/lib.rs"), handler).unwrap();
    let (code, _, stderr) = invoke(dir, &["--path", "/Ada"]);
    assert_eq!(code, Some(5), "{stderr}");
    for said in [
        "at=http/src/lib.rs:3",
        "`lacewing_sdk::spawn` works only in an `async` handler: make the handler an `async fn`",
    ] {
        assert!(stderr.contains(said), "{said:?} is not in {stderr}");
    }
}

/// The files that the page of the SDK has for a function, built with the SDK that is here.
fn a_function_from_nothing_is_as_the_page_says(workspace: &Path) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/README.md");
    let page = fs::read_to_string(page).unwrap();
    let block = |after: &str, language: &str| {
        let rest = page.split_once(after).unwrap().1;
        let rest = rest.split_once(&format!("```{language}\n")).unwrap().1;
        rest.split_once("```").unwrap().0.to_owned()
    };
    let dir = workspace.join("from-nothing");
    fs::create_dir_all(dir.join("src")).unwrap();
    let git = "{ git = \"https://github.com/lacewing-run/lacewing\" }";
    let cargo_toml = block("`Cargo.toml`:", "toml");
    assert!(cargo_toml.contains(&format!("\nlacewing-sdk = {git}\n")), "{cargo_toml}");
    let cargo_toml = cargo_toml.replace(git, "\"0.1.0\"") + "[workspace]\n";
    fs::write(dir.join("Cargo.toml"), cargo_toml).unwrap();
    fs::copy(workspace.join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    fs::write(dir.join("src/lib.rs"), block("attribute:", "rust")).unwrap();
    fs::write(dir.join("lacewing.toml"), block("and `lacewing.toml`:", "toml")).unwrap();
    let (code, stdout, stderr) = invoke(&dir, &[]);
    assert_eq!((code, stdout.as_str()), (Some(0), "Hello, world!\n"), "{stderr}");
}

/// Without a finding.
fn check(dir: &Path) {
    let output = command(&["check", "--deny-warnings"]).arg(dir).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("Checked local/made-"), "{}", text(&output.stderr));
}

/// Runs `invoke`, and gives exit code, standard output and standard error.
fn invoke(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = command(&["invoke"]).arg(dir).args(args).output().unwrap();
    (output.status.code(), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

fn invoke_http(dir: &Path) {
    let (code, stdout, stderr) = invoke(dir, &["--path", "/Ada"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "Hello, Ada!\n"), "{stderr}");
}

fn invoke_call(dir: &Path) {
    let (code, stdout, stderr) = invoke(dir, &["--call", r#"{"numbers":[1,2,6]}"#]);
    assert_eq!((code, stdout.as_str()), (Some(0), r#"{"mean":3.0}"#), "{stderr}");
    assert!(stderr.contains("\nok in "), "{stderr}");

    // An error of the function's own: its outcome is `ok`, and the call has failed.
    let (code, stdout, _) = invoke(dir, &["--call", r#"{"numbers":[]}"#]);
    let error = r#"{"error":"NoNumbers","message":"the mean of no numbers is not defined"}"#;
    assert_eq!((code, stdout.as_str()), (Some(5), error));

    let (code, stdout, _) = invoke(dir, &["--json", "--call", r#"{"numbers":[4]}"#]);
    let result: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &result["outcome"], &result["body"]["mean"]),
        (Some(0), &"ok".into(), &4.0.into())
    );

    let (code, _, stderr) = invoke(dir, &[]);
    assert_eq!(code, Some(2));
    let expected = "error: `made-call` answers no HTTP: it does not export lacewing:function/http or wasi:http; use --call or --event\n";
    assert!(stderr.ends_with(expected), "{stderr}");
}

fn invoke_event(dir: &Path) {
    let one = r#"{"data":{"key":"a.png","bytes":7}}"#;
    let (code, stdout, stderr) = invoke(dir, &["--event", one]);
    assert_eq!((code, stdout.as_str()), (Some(0), r#"[{"id":"event-0","ok":true}]"#), "{stderr}");
    assert!(stderr.contains("[stdout INFO] a.png: 7 bytes, attempt 1\n"), "{stderr}");

    // Of a batch, the event that failed is named.
    let batch = r#"[{"id":"a","data":{"key":"a.png","bytes":7}},{"id":"b","data":{"key":"b.png","bytes":0}}]"#;
    let (code, stdout, _) = invoke(dir, &["--event", batch]);
    let results: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &results[0]["ok"], &results[1]["ok"]),
        (Some(5), &true.into(), &false.into())
    );
    assert_eq!(
        (&results[1]["id"], &results[1]["message"], &results[1]["retry"]),
        (&"b".into(), &"b.png is empty".into(), &"never".into())
    );

    let (code, _, stderr) = invoke(dir, &["--event", "{"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("error: the event is not JSON: "), "{stderr}");
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
        // It is below a workspace, this one, and so stands alone; here it is to be a member of
        // another.
        let cargo_toml = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
        fs::write(dir.join("Cargo.toml"), cargo_toml.replace("[workspace]", "")).unwrap();
    }
    // cargo reads the configuration of the directory that it runs in.
    fs::create_dir_all(workspace.join(".cargo")).unwrap();
    fs::copy(workspace.join("http/.cargo/config.toml"), workspace.join(".cargo/config.toml"))
        .unwrap();
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
