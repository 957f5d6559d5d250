//! The command line as a process: exit codes, what goes to which output, and templates that build.

use std::process::{Command, Output};

mod bench;
mod bucket;
mod check;
mod invoke;
mod kv;
mod running;
mod templates;

fn lacewing(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lacewing"));
    command.args(args).env_remove("NO_COLOR");
    command
}

fn run(args: &[&str]) -> Output {
    lacewing(args).output().unwrap()
}

/// The standard output of a command that succeeds.
#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{command:?}");
    text(&output.stdout).to_owned()
}

/// The exit code and the error of a command that fails.
#[track_caller]
fn refused(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    assert_eq!(text(&output.stdout), "", "{command:?}");
    (output.status.code().unwrap(), text(&output.stderr).to_owned())
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
fn an_empty_variable_is_unset_and_a_wrong_one_is_named() {
    let said = |variable: &str, value: &str, args: &[&str]| {
        let output = lacewing(args).env(variable, value).output().unwrap();
        (output.status.code(), text(&output.stderr).to_owned())
    };
    let nowhere = ["up", "/nowhere"];
    let missing = said("LACEWING_LOG", "", &nowhere);
    assert_eq!(missing.0, Some(4));
    for variable in ["LISTEN", "ADMIN", "CACHE_DIR", "LOG_FORMAT", "REQUEST_LOG"]
        .map(|v| format!("LACEWING_{v}"))
    {
        assert_eq!(said(&variable, "", &nowhere), missing, "{variable}");
    }
    let variable = "LACEWING_LISTEN";
    assert_eq!(
        said(variable, "127.0.0.1:1,here", &nowhere),
        (Some(2), "error: invalid value 'here' for 'environment variable LACEWING_LISTEN': not an IP address with a port, such as 127.0.0.1:8080\n\nFor more information, try '--help'.\n".to_owned())
    );
    let (_, option) = said(variable, "there", &["up", "/nowhere", "--listen=here"]);
    assert!(option.starts_with("error: invalid value 'here' for '--listen <ADDRESS>'"), "{option}");
    let (_, choice) = said("LACEWING_LOG_FORMAT", "xml", &nowhere);
    assert!(choice.contains("'xml' for 'environment variable LACEWING_LOG_FORMAT'"), "{choice}");
    assert!(choice.contains("[possible values: text, json]"), "{choice}");
}

#[test]
fn every_command_has_the_cache_of_the_variable() {
    let app = crate::harness::guest("portable-02");
    for command in ["check", "invoke"] {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let mut command = lacewing(&[command]);
        let output = command.arg(&app).env("LACEWING_CACHE_DIR", &cache).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let files = std::fs::read_dir(&cache).unwrap();
        let artifacts = files.filter(|file| {
            file.as_ref().unwrap().path().extension().is_some_and(|end| end == "cwasm")
        });
        assert_eq!(artifacts.count(), 1);
    }
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
