//! `lacewing bench`: what it finds, in which form, and what it refuses.

use serde_json::{Value, json};

use super::text;
use crate::{
    harness::{guest, root},
    process::{Up, command},
};

struct Benched {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// With as little of everything as there can be, where the arguments say nothing else.
fn bench(args: &[&str]) -> Benched {
    let mut bench = command(&["bench"]);
    for (key, least) in [("--duration-s", "1"), ("--rounds", "1"), ("--starts", "1")] {
        if !args.iter().any(|arg| arg.starts_with(key)) {
            bench.args([key, least]);
        }
    }
    let output = bench.args(args).current_dir(root()).output().unwrap();
    Benched {
        code: output.status.code(),
        stdout: text(&output.stdout).to_owned(),
        stderr: text(&output.stderr).to_owned(),
    }
}

fn json_of(benched: &Benched) -> Value {
    assert_eq!(benched.code, Some(0), "{}", benched.stderr);
    serde_json::from_str(&benched.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", benched.stderr))
}

#[track_caller]
fn assert_positive(found: &Value, pointers: &[&str]) {
    for pointer in pointers {
        let value =
            found.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not there: {found:#}"));
        assert!(value.as_f64().unwrap() > 0.0, "{pointer}: {value}");
    }
}

#[test]
fn an_app_has_its_cold_starts_and_its_speed() {
    let found = json_of(&bench(&["examples/hello", "--json"]));
    let subject = &found["subject"];
    assert!(subject["name"].as_str().unwrap().starts_with("local/hello/hello@"), "{subject}");
    assert_eq!(
        (&subject["method"], &subject["path"], &subject["status"], &subject["response_bytes"]),
        (&json!("GET"), &json!("/"), &json!(200), &json!(14))
    );
    assert_positive(
        &found,
        &[
            "/cold_starts/fresh_to_guest_us/median",
            "/cold_starts/fresh_us/p99",
            "/cold_starts/scaled_to_zero_ms/median",
            "/cold_starts/host_start_ms/median",
            "/cold_starts/deploy_ms/median",
            "/machine/cpus",
            "/steadiness/loop_ms/median",
            "/full_speed/per_second/median",
            "/full_speed/latency/p99",
            "/full_speed/responses",
            "/fixed_rate/asked_per_second",
            "/fixed_rate/responses",
        ],
    );
    assert_eq!(found["full_speed"]["errors"], json!({}));
    assert_eq!(found["fixed_rate"]["errors"], json!({}));
    if cfg!(target_os = "linux") {
        assert_positive(&found, &["/full_speed/peak_bytes"]);
        assert!(found["full_speed"]["cpu_us"]["median"].is_number());
    }
}

#[test]
fn one_function_and_one_request_of_several_can_be_chosen() {
    let args = ["examples/json-api", "users", "--path=/users/1?x=y", "--starts=0", "--json"];
    let found = json_of(&bench(&args));
    assert_eq!(found["cold_starts"], Value::Null);
    assert_eq!(found["subject"]["path"], "/users/1?x=y");
    let new = r#"{"name":"Grace Hopper","email":"grace@example.com"}"#;
    let args = [
        "examples/json-api",
        "--path=/users",
        "-H",
        "content-type: application/json",
        "--data",
        new,
    ];
    let found = json_of(&bench(&[&args[..], &["--starts=0", "--json", "--threads=2"]].concat()));
    assert_eq!(
        (&found["subject"]["method"], &found["subject"]["status"]),
        (&json!("POST"), &json!(201))
    );
    assert_eq!(found["full_speed"]["errors"], json!({}));
}

#[test]
fn a_component_that_streams_is_measured_too() {
    for name in ["portable-02", "portable-03"] {
        let component = guest(name);
        let found = json_of(&bench(&[component.to_str().unwrap(), "--json"]));
        assert_positive(&found, &["/cold_starts/fresh_us/p50", "/full_speed/responses"]);
        assert_eq!(found["fixed_rate"]["errors"], json!({}), "{name}");
    }
}

#[test]
fn a_url_is_asked_at_the_rate_that_was_named() {
    let up = Up::start(
        &["examples/hello"]
            .map(|path| root().join(path))
            .each_ref()
            .map(|path| path.to_str().unwrap()),
    );
    let url = format!("http://{}/", up.address);
    let found = json_of(&bench(&["--url", &url, "--rate=50", "--json"]));
    assert_eq!(found["subject"]["name"], url);
    assert_eq!((&found["cold_starts"], &found["full_speed"]), (&Value::Null, &Value::Null));
    let fixed = &found["fixed_rate"];
    assert_eq!(fixed["asked_per_second"], 50);
    let count = |key: &str| fixed[key].as_u64().unwrap();
    assert_eq!(count("responses") + count("unsent"), 50, "{fixed:#}");
    // The test does not look into the server.
    assert_eq!(fixed["cpu_us"], Value::Null);
    // Connections that close after each answer are opened again.
    let closing =
        json_of(&bench(&["--url", &url, "--rate=50", "-H", "connection: close", "--json"]));
    assert_eq!(closing["fixed_rate"]["errors"], json!({}));
}

#[test]
fn the_table_is_for_people() {
    let benched = bench(&["examples/hello", "--connections=4"]);
    assert_eq!(benched.code, Some(0), "{}", benched.stderr);
    for part in [
        "GET / answers 200 with 14 bytes\n",
        "\nsteadiness: the same loop took ",
        "\nfresh, to the guest ",
        "\nfresh, to the response ",
        "\nscaled to zero, in process ",
        "\nstart of the host ",
        "\ndeploy, compilation included ",
        "\nfull speed ",
        "4 connections from 1 thread, 1 round of 1 s each",
    ] {
        assert!(benched.stdout.contains(part), "{part:?} is not there:\n{}", benched.stdout);
    }
}

#[test]
fn the_page_stands_alone_and_carries_its_figures() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bench.html");
    let benched = bench(&["examples/hello", "--report", path.to_str().unwrap(), "--json"]);
    let printed = json_of(&benched);
    assert!(benched.stderr.contains(&format!("Wrote {}\n", path.display())), "{}", benched.stderr);
    let page = std::fs::read_to_string(&path).unwrap();
    for loads in ["src=", "href=", "url(", "@import", "fetch("] {
        assert!(!page.contains(loads), "a page that stands alone has no {loads}");
    }
    assert_eq!(page.matches("<svg ").count(), 4);
    let (_, rest) = page.split_once("id=\"results\">").unwrap();
    let (carried, _) = rest.split_once("</script>").unwrap();
    assert_eq!(serde_json::from_str::<Value>(carried).unwrap(), printed);
}

#[test]
fn an_app_that_cannot_be_measured_is_refused_with_a_reason() {
    for (args, code, expected) in [
        (&["examples/hello", "nobody"][..], 2, "the app has no function `nobody`; it has: hello"),
        (&["examples/hello", "--path=x"], 2, "\"x\" is not a path: a path begins with a slash"),
        (
            &["examples/hello", "--path=/x"],
            2,
            "no route of `hello` matches GET /x; its routes are: / (choose with --path and --method)",
        ),
        (
            &["examples/misbehave"],
            2,
            "the routes of `misbehave` have parameters: /{what}; choose a path with --path",
        ),
        (
            &["examples/misbehave", "--path=/panic"],
            2,
            "`misbehave` does not answer GET /panic: trap",
        ),
        (&["/nowhere"], 4, "there is no such file\n --> /nowhere"),
        (
            &["examples/hello", "--report=/nowhere/x.html"],
            1,
            "cannot write /nowhere/x.html: No such file or directory (os error 2)",
        ),
    ] {
        let benched = bench(args);
        assert_eq!(benched.code, Some(code), "{args:?}: {}", benched.stderr);
        assert!(
            benched.stderr.ends_with(&format!("error: {expected}\n")),
            "{args:?}: {}",
            benched.stderr
        );
    }
    let missing = bench(&["examples/json-api", "--path=/users/999"]);
    assert_eq!(missing.code, Some(2));
    assert!(
        missing.stderr.contains("answers 404 Not Found to GET /users/999, and bench measures good answers: choose the request"),
        "{}",
        missing.stderr
    );
}

#[test]
fn a_url_that_is_not_there_is_told_where_to_say_another() {
    let up = Up::start(&[root().join("examples/hello").to_str().unwrap()]);
    let url = format!("http://{}/a/b", up.address);
    let benched = bench(&["--url", &url]);
    assert_eq!(benched.code, Some(2));
    let error = format!(
        "error: {url} answers 404 Not Found to GET /a/b, and bench measures good answers: choose the request with another path in \
         the URL, -X, -H and --data\n"
    );
    assert!(benched.stderr.ends_with(&error), "{}", benched.stderr);
}

#[test]
fn arguments_are_checked_before_anything_is_built() {
    for (args, part) in [
        (
            &["--url=ftp://a/"][..],
            "is not a URL that can be measured: write one that begins with http:// or https://",
        ),
        (&["--url=http://a/", "examples/hello"], "cannot be used with"),
        (&["--connections=0"], "0 is not in 1..=4096"),
        (&["--connections=5000"], "5000 is not in 1..=4096"),
        (&["--duration-s=601"], "601 is not in 1..=600"),
        (&["--rate=0"], "0 is not in 1..=1000000"),
        (&["-H", "accept"], "a header field is `name: value`, with a colon"),
    ] {
        let benched = bench(args);
        assert_eq!(benched.code, Some(2), "{args:?}: {}", benched.stderr);
        assert!(benched.stderr.contains(part), "{args:?}: {}", benched.stderr);
    }
}

#[test]
fn a_url_without_a_server_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let benched = bench(&["--url", &format!("http://{address}/")]);
    assert_eq!(benched.code, Some(1));
    let error = format!(
        "error: cannot send load to http://{address}/: Connection refused (os error 111)\n"
    );
    assert!(benched.stderr.ends_with(&error), "{}", benched.stderr);
}
