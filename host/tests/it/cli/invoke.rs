//! `lacewing invoke`: one request. Events and calls are in `templates`.

use std::{io::Write, path::Path, process::Stdio};

use serde_json::{Value, json};

use super::text;
use crate::{
    harness::{guest, root},
    process::command,
};

struct Invoked {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(path: &Path, args: &[&str]) -> Invoked {
    let output = command(&["invoke"]).arg(path).args(args).output().unwrap();
    Invoked {
        code: output.status.code(),
        stdout: text(&output.stdout).to_owned(),
        stderr: text(&output.stderr).to_owned(),
    }
}

fn example(name: &str, args: &[&str]) -> Invoked {
    run(&root().join("examples").join(name), args)
}

fn json_of(invoked: &Invoked) -> Value {
    serde_json::from_str(&invoked.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", invoked.stderr))
}

#[test]
fn a_request_prints_its_answer_and_its_cost() {
    let hello = example("hello", &[]);
    assert_eq!(
        (hello.code, hello.stdout.as_str()),
        (Some(0), "Hello, world!\n"),
        "{}",
        hello.stderr
    );
    assert!(
        hello.stderr.contains("\n200 OK\ncontent-type: text/plain; charset=utf-8\n\n"),
        "{}",
        hello.stderr
    );
    // ok in 0.249 ms (cpu 0.174 ms), fuel 3822, memory 0.5 MiB
    let figures = hello.stderr.lines().find(|line| line.starts_with("ok in ")).unwrap();
    let words: Vec<&str> =
        figures.split([' ', '(', ')', ',']).filter(|word| !word.is_empty()).collect();
    assert_eq!(
        [words[1], words[3], words[4], words[6], words[7], words[9], words[11]],
        ["in", "ms", "cpu", "ms", "fuel", "memory", "MiB"]
    );
    for number in [words[2], words[5], words[8], words[10]] {
        assert!(number.parse::<f64>().unwrap() > 0.0, "{figures}");
    }
}

#[test]
fn the_hosts_own_warnings_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("lacewing");
    std::fs::write(&cache, "in the way").unwrap();
    for subcommand in ["invoke", "check"] {
        let mut run = command(&[subcommand]);
        run.arg(guest("unended"))
            .env("XDG_CACHE_HOME", dir.path())
            .env_remove("LACEWING_CACHE_DIR");
        let output = run.output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        let warning = stderr.lines().find(|line| line.contains(" WARN lacewing_")).unwrap();
        assert!(warning.contains("cannot use the artifact cache "), "{subcommand}: {warning}");
    }
}

#[test]
fn a_cache_that_is_not_the_hosts_alone_is_an_error_of_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("lacewing");
    std::fs::create_dir(&cache).unwrap();
    std::fs::write(cache.join("host.key"), [0; 33]).unwrap();
    for subcommand in ["invoke", "check"] {
        let mut run = command(&[subcommand]);
        run.arg(guest("unended"))
            .env("XDG_CACHE_HOME", dir.path())
            .env_remove("LACEWING_CACHE_DIR");
        let output = run.output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let error = "error: the artifact cache is not the host's alone: ";
        assert!(stderr.lines().any(|line| line.starts_with(error)), "{subcommand}: {stderr}");
    }
}

#[test]
fn fuel_is_the_same_each_time() {
    let fuel = || json_of(&example("json-api", &["--json", "--path", "/users/1"]))["fuel"].clone();
    let first = fuel();
    assert!(first.as_u64().unwrap() > 0);
    assert_eq!(first, fuel());
}

#[test]
fn json_has_everything() {
    let found = json_of(&example("json-api", &["users", "--json", "--path", "/users?limit=1"]));
    assert_eq!(
        (&found["outcome"], &found["status"], &found["body"][0]["name"]),
        (&json!("ok"), &json!(200), &json!("Ada Lovelace"))
    );
    assert_eq!(found["headers"], json!([["content-type", "application/json"]]));
    for key in ["duration_us", "cpu_us", "fuel", "memory_peak_bytes"] {
        assert!(found[key].as_u64().unwrap() > 0, "{key}: {found}");
    }
}

#[test]
fn a_body_comes_from_the_command_line_or_a_pipe() {
    let args = ["--path", "/users", "-H", "content-type: application/json", "--data"];
    let new = r#"{"name":"Grace Hopper","email":"grace@example.com"}"#;
    let added = example("json-api", &[&args[..], &[new]].concat());
    assert!(added.stderr.contains("\n201 Created\n"), "{}", added.stderr);

    let mut piped = command(&["invoke"]);
    piped.arg(root().join("examples/json-api")).args(args).arg("-").stdin(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(new.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), added.stdout);
    assert_eq!(added.stdout, r#"{"id":3,"name":"Grace Hopper","email":"grace@example.com"}"#);
}

#[test]
fn a_trap_has_its_message_its_backtrace_and_an_exit_code() {
    let panic = example("misbehave", &["--path", "/panic"]);
    assert_eq!((panic.code, panic.stdout.as_str()), (Some(5), ""));
    assert!(
        panic.stderr.contains("[stderr ERROR] panic: this function panics on demand"),
        "{}",
        panic.stderr
    );
    assert!(panic.stderr.contains("\ntrap in "), "{}", panic.stderr);
    assert!(
        panic.stderr.contains("\nwasm trap: wasm `unreachable` instruction executed\n  at "),
        "{}",
        panic.stderr
    );
    let spin = json_of(&example("misbehave", &["--json", "--path", "/spin"]));
    assert_eq!(
        (&spin["outcome"], &spin["detail"]),
        (&json!("cpu_exceeded"), &json!("the CPU budget is spent"))
    );
}

#[test]
fn a_component_that_streams_is_invoked_too() {
    for name in ["portable-02", "portable-03"] {
        let count = run(&guest(name), &["--path", "/count", "--data", "hello"]);
        assert_eq!((count.code, count.stdout.as_str()), (Some(0), "5"), "{}", count.stderr);
        // The lines before the trap are shown.
        let cut = run(&guest(name), &["--path", "/trap-after-head"]);
        assert_eq!(cut.code, Some(5), "{}", cut.stderr);
        assert!(cut.stderr.contains("\ntrap in "), "{}", cut.stderr);
    }
    let late = run(&guest("portable-02"), &["--path", "/spin-after-response", "--json"]);
    let found = json_of(&late);
    assert_eq!(
        (late.code, &found["outcome"], &found["body"]),
        (Some(5), &json!("cpu_exceeded"), &json!("done"))
    );
}

#[test]
fn an_unknown_target_is_answered_with_the_known_ones() {
    for (args, expected) in [
        (&["nobody"][..], "the app has no function `nobody`; it has: hello"),
        (&["--call", "1"], "`hello` cannot be called: it does not export lacewing:function/call"),
        (
            &["--event", "{}"],
            "`hello` takes no events: it does not export lacewing:function/events",
        ),
        (&["--path", "users"], "\"users\" is not a path: a path begins with a slash"),
        (
            &["--path", "/x"],
            "no route of `hello` matches GET /x; its routes are: / (choose with --path and --method)",
        ),
    ] {
        let invoked = example("hello", args);
        assert_eq!(invoked.code, Some(2), "{args:?}");
        assert!(invoked.stderr.ends_with(&format!("error: {expected}\n")), "{}", invoked.stderr);
    }
    let nowhere = run(Path::new("/nowhere"), &[]);
    assert_eq!(
        (nowhere.code, nowhere.stderr.as_str()),
        (Some(4), "error: there is no such file\n --> /nowhere\n")
    );
}
