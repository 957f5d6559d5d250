//! `lacewing up --log-format json`: every line on standard error is one JSON object, from the first
//! to the last.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    client::get,
    harness::guest,
    process::{Up, command},
};

/// The lines of a process, each of which has what a line of the log has. Records have fields in
/// place of a message.
fn objects(said: &str) -> Vec<Value> {
    let object = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        for key in ["timestamp", "level", "target"] {
            assert!(value[key].is_string(), "{key} is not in {line}");
        }
        let is_record = value["outcome"].is_string();
        assert!(is_record || value["message"].is_string(), "no message is in {line}");
        value
    };
    said.lines().map(object).collect()
}

fn level_of<'a>(objects: &'a [Value], message: &str) -> &'a str {
    let has = |one: &&Value| one["message"].as_str().is_some_and(|text| text.contains(message));
    let found = objects.iter().find(has);
    found.unwrap_or_else(|| panic!("{message} is not in {objects:#?}"))["level"].as_str().unwrap()
}

/// A host file of two tenants, of which one has an app that is refused.
fn write_host(dir: &Path, more: &str) -> String {
    let path = dir.join("host.toml");
    let text = format!(
        "{more}\n[log]\nformat = \"json\"\n[tenants.red]\nhosts = [\"red.test\"]\napps = [\"red\"]\n[tenants.blue]\nhosts = [\"blue.test\"]\napps = [\"blue\"]\n"
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn write_app(dir: &Path, app: &str, more: &str) {
    fs::create_dir_all(dir.join(app)).unwrap();
    fs::copy(guest("portable-02"), dir.join(app).join("x.wasm")).unwrap();
    let manifest = format!(
        "app = \"{app}\"\n[functions.it]\nroutes = [\"/\"]\ncomponent = \"x.wasm\"\n{more}"
    );
    fs::write(dir.join(app).join("lacewing.toml"), manifest).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_says_everything_in_objects() {
    let dir = tempfile::tempdir().unwrap();
    write_app(dir.path(), "red", "");
    write_app(dir.path(), "blue", "colour = 1\n");
    let host = write_host(dir.path(), "");
    let up = Up::start(&["--host", &host]);
    assert_eq!(get(up.address, "red.test", "/").await.status, 200);
    // A reload that is refused, and one that swaps.
    write_host(dir.path(), "colour = 1");
    up.signal("HUP");
    up.line("the previous revisions stay in place");
    write_host(dir.path(), "");
    write_app(dir.path(), "red", "limits = { memory_mib = 7 }\n");
    up.signal("HUP");
    up.line("Swapped red/red/it@");
    up.signal("TERM");
    let (status, said) = up.wait_raw();
    assert_eq!(status.code(), Some(0), "{said}");
    let objects = objects(&said);
    for (message, level) in [
        ("unknown key `colour` in `[functions.it]`", "ERROR"),
        ("Serving http://", "INFO"),
        ("1 app refused: ", "WARN"),
        ("unknown key `colour` in ", "ERROR"),
        ("Swapped ", "INFO"),
        ("Draining ", "INFO"),
    ] {
        assert_eq!(level_of(&objects, message), level, "{message}");
    }
    let finding = objects.iter().find(|one| one["place"].is_string()).unwrap();
    assert!(finding["place"].as_str().unwrap().ends_with("blue/lacewing.toml:5:1"), "{finding}");
    assert!(finding["text"].as_str().unwrap().contains("5 | colour = 1\n"), "{finding}");
}

#[test]
fn a_start_that_fails_says_so_in_an_object() {
    let dir = tempfile::tempdir().unwrap();
    write_app(dir.path(), "red", "");
    let red = dir.path().join("red");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let host = write_host(dir.path(), "colour = 1");
    let (red, json) = (red.to_str().unwrap(), "--log-format=json");
    for (args, code, message) in [
        (vec![red, json, "--listen", &address, "--admin=off"], 1, "address already in use"),
        (vec![dir.path().to_str().unwrap(), json], 4, "there is no such file"),
        (vec![red, json, "--listen=here"], 2, "not an IP address with a port"),
        (vec![red, "--log-format", "json", "--colour"], 2, "unexpected argument '--colour'"),
        (vec!["--host", &host], 4, "unknown key `colour`"),
    ] {
        let output = command(&["up"]).args(&args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert_eq!(level_of(&objects(&said), message), "ERROR", "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_an_invocation_are_in_the_order_of_their_times() {
    let up = Up::start(&[guest("says").to_str().unwrap(), "--log-format=json"]);
    assert_eq!(get(up.address, "localhost", "/speak").await.status, 200);
    up.line("\"outcome\":\"ok\"");
    up.signal("TERM");
    let (_, said) = up.wait_raw();
    let objects = objects(&said);
    let of_invocation = objects.iter().filter(|one| one["invocation"].is_string());
    let times: Vec<&str> = of_invocation.map(|one| one["timestamp"].as_str().unwrap()).collect();
    assert!(times.len() > 4 && times.is_sorted(), "{said}");
    let record = objects.iter().find(|one| one["outcome"] == "ok").unwrap();
    assert_eq!(record["timestamp"].as_str(), times.last().copied());
    assert!(record["duration_us"].as_u64().unwrap() > 0, "{record}");
}

#[test]
fn a_build_that_fails_says_so_in_objects() {
    let dir = tempfile::tempdir().unwrap();
    let command = "printf 'one\\ntwo \\033[31mred\\n'; exit 7";
    let manifest = format!(
        "app = \"it\"\n[functions.it]\nbuild = {{ command = {command:?}, output = \"x.wasm\" }}\n"
    );
    fs::write(dir.path().join("lacewing.toml"), manifest.replace("\\u{1b}", "\\u001b")).unwrap();
    let up = Up::spawn(&[dir.path().to_str().unwrap(), "--log-format=json"], |_| {});
    let (status, said) = up.wait_raw();
    assert_eq!(status.code(), Some(3), "{said}");
    let objects = objects(&said);
    assert_eq!(level_of(&objects, "one"), "INFO");
    assert_eq!(level_of(&objects, "two \u{1b}[31mred"), "INFO");
    assert_eq!(level_of(&objects, "the build command"), "ERROR");
}
