//! The log lines of the SDK's functions: they arrive with level, target and text, tagged with their
//! invocation.

use std::collections::BTreeMap;

use lacewing::telemetry::{GuestLine, Stream};
use serde_json::Value;

use crate::{
    client::get,
    harness::guest,
    process::Up,
    tenants::{Ended, SUSPECT, Tenants},
};

/// Stream, level and text of each line.
fn said(lines: &[GuestLine]) -> Vec<(&'static str, String, &str)> {
    let line = |line: &'_ GuestLine| (line.stream.as_str(), line.level.to_string());
    lines.iter().map(|l| (line(l).0, line(l).1, l.message.as_str())).collect()
}

/// That every line is the invocation's whose record this is.
fn assert_tagged(ended: &Ended) {
    let record = &ended.record;
    for line in &ended.lines {
        let context = &line.context;
        let tags = [
            ("tenant", context.origin.tenant().to_string()),
            ("app", context.origin.app.to_string()),
            ("function", context.origin.function.to_string()),
            ("revision", context.origin.revision.to_string()),
            ("invocation", context.invocation.to_string()),
            ("request_id", context.request_id.as_deref().unwrap().to_owned()),
            ("trace_id", context.trace_id.unwrap().to_string()),
            ("span_id", context.span_id.unwrap().to_string()),
        ];
        for (tag, value) in tags {
            assert_eq!(record[tag], value.as_str(), "{tag} of {:?}", line.message);
        }
    }
}

const SAID: [(&str, &str, &str); 5] = [
    ("stdout", "INFO", "printed"),
    ("stderr", "WARN", "printed as an error"),
    ("stderr", "WARN", "shop::orders: logged order=7"),
    ("stderr", "ERROR", "says: traced order=7 waited=\"2 s\""),
    ("stderr", "DEBUG", "shop::stock: counted\\ntwice"),
];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_handler_says_arrives_with_its_tags() {
    let tenants =
        Tenants::with(&guest("says"), "[functions.suspect.env]\nGREETING = \"hello\"", |_| {})
            .await;
    let mut invocations = Vec::new();
    for _ in 0..2 {
        let (reply, ended) = tenants.survives("/speak").await;
        assert_eq!(reply.text(), "hello", "the environment is the manifest's");
        let expected = SAID.map(|(stream, level, text)| (stream, level.to_owned(), text));
        assert_eq!(said(&ended.lines), expected);
        assert_tagged(&ended);
        invocations.push(ended.record["invocation"].clone());
    }
    assert_ne!(invocations[0], invocations[1]);
    let ended = tenants.fails("/panic", "trap", 502, "the function failed").await;
    assert_tagged(&ended);
    let last = ended.lines.last().unwrap();
    assert_eq!((last.stream, last.level.to_string()), (Stream::Stderr, "ERROR".to_owned()));
    assert!(
        last.message.starts_with("panic: it was asked to at=src/says.rs:")
            || last.message.starts_with("panic: it was asked to at=host/tests/guests/src/says.rs:"),
        "{}",
        last.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_printed_while_a_body_streams_arrive() {
    let tenants = Tenants::with(&guest("streams"), "", |_| {}).await;
    let (reply, ended) = tenants.survives("/says").await;
    assert_eq!(reply.text(), "said it");
    let expected = [
        ("stdout", "INFO".to_owned(), "before the head"),
        ("stderr", "WARN".to_owned(), "streams: while it streams"),
        ("stderr", "INFO".to_owned(), "streams: traced chunks=1"),
        ("stdout", "INFO".to_owned(), "and no line feed"),
    ];
    assert_eq!(said(&ended.lines), expected);
    assert_tagged(&ended);
}

/// One object on each line of standard error: the host's own, the functions', and the records.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_logs_json_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = format!(
        "app = \"shop\"\n[functions.says]\ncomponent = {:?}\nroutes = [\"/{{what}}\"]\n",
        guest("says")
    );
    std::fs::write(dir.path().join("lacewing.toml"), manifest).unwrap();
    let up = Up::start(&[dir.path().to_str().unwrap(), "--log-format=json"]);
    let reply = get(up.address, SUSPECT, "/panic").await;
    assert_eq!((reply.status, reply.outcome()), (502, "trap"));
    up.line("\"target\":\"invocation\"");
    let said = up.said();
    let lines = said.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut by_target = BTreeMap::<&str, Vec<&Value>>::new();
    for line in &lines {
        by_target.entry(line["target"].as_str().unwrap()).or_default().push(line);
    }
    let [record] = by_target["invocation"][..] else { panic!("{said}") };
    assert_eq!((&record["outcome"], &record["status"]), (&"trap".into(), &502.into()));
    assert_eq!((&record["method"], &record["path"]), (&"GET".into(), &"/panic".into()));
    assert_eq!((&record["app"], &record["function"]), (&"shop".into(), &"says".into()));
    let guest = &by_target["guest"];
    assert_eq!(guest[0]["message"], "printed");
    assert!(
        guest.last().unwrap()["message"].as_str().unwrap().starts_with("panic: it was asked to")
    );
    for line in guest {
        for tag in ["tenant", "app", "function", "revision", "invocation", "request_id", "trace_id"]
        {
            assert!(
                line[tag].is_string() && line[tag] == record[tag],
                "{tag} of {line} is not {record}"
            );
        }
    }
}
