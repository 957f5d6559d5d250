//! The command line as a process: exit codes, what goes to which output, and templates that build.

use std::process::{Command, Output};

mod bench;
mod check;
mod invoke;
mod templates;

fn lacewing(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lacewing"));
    command.args(args).env_remove("NO_COLOR");
    command
}

fn run(args: &[&str]) -> Output {
    lacewing(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn exit_codes_tell_kinds_of_failure_apart() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    let code = |args: &[&str]| run(args).status.code();
    assert_eq!(code(&["schema"]), Some(0));
    assert_eq!(code(&["new", "hello", "--dir", dir]), Some(0));
    assert_eq!(code(&["new", "hello", "--dir", dir]), Some(1));
    assert_eq!(code(&["new", "Hello"]), Some(2));
    assert_eq!(code(&["build", "/nowhere"]), Some(4));
    std::fs::write(format!("{dir}/src/lib.rs"), "oops").unwrap();
    std::fs::write(format!("{dir}/Cargo.toml"), "[package]\nname = \"hello\"").unwrap();
    assert_eq!(code(&["build", dir]), Some(3));
}

#[test]
fn results_go_to_standard_output_and_messages_to_standard_error() {
    let schema = run(&["schema"]);
    let parsed: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(parsed["properties"].is_object(), "{parsed}");
    assert_eq!(text(&schema.stderr), "");

    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("hello");
    let new = run(&["new", "hello", "--dir", dir.to_str().unwrap()]);
    assert_eq!(text(&new.stdout), "");
    assert_eq!(
        text(&new.stderr),
        format!(
            "Created {0} from the template `http`\nNext:\n  cd {0}\n  cargo test\n  lacewing up --watch\n",
            dir.display()
        )
    );
}

#[test]
fn a_wrong_name_is_answered_with_the_rule() {
    let new = run(&["new", "My_App"]);
    assert_eq!(
        text(&new.stderr),
        "error: invalid value 'My_App' for '<NAME>': \"My_App\" is not a name: 1 to 63 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen\n\nFor more information, try '--help'.\n"
    );
}

#[test]
fn color_is_a_choice() {
    let colored = |args: &[&str]| text(&run(args).stderr).contains("\u{1b}[");
    // Standard error is no terminal here.
    assert!(!colored(&["build", "/nowhere"]));
    assert!(colored(&["build", "/nowhere", "--color", "always"]));
    assert!(!colored(&["build", "/nowhere", "--color", "never"]));
    assert!(colored(&["--color=always", "hatch"]));
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let completions = run(&["completions", shell]);
        assert!(completions.status.success(), "{shell}");
        assert!(text(&completions.stdout).contains("lacewing"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let script = format!("{} completions bash | head -n 1", env!("CARGO_BIN_EXE_lacewing"));
    let output = Command::new("bash").args(["-c", &format!("set -o pipefail; {script}")]).output();
    let output = output.unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}
