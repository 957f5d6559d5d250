//! The public cases of the HTTP binding.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::headers;
use crate::cloud_event::http;

/// The path of `features/http-protocol-binding.feature` of
/// <https://github.com/cloudevents/conformance>. Without the variable, the test passes.
const VARIABLE: &str = "LACEWING_CLOUDEVENTS_FEATURE";

/// The cells of a row of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(row.split('|').map(str::trim).collect())
}

/// The text between the next two lines of three quotes, without its indentation.
fn quoted<'a>(lines: &mut impl Iterator<Item = &'a str>) -> String {
    let mut lines = lines.skip_while(|line| line.trim() != "\"\"\"");
    let indent = lines.next().unwrap().find('"').unwrap();
    let text = lines.take_while(|line| line.trim() != "\"\"\"");
    text.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect()
}

fn check(request: &str, attributes: &BTreeMap<&str, &str>, data: &str) {
    let (head, body) = request.split_once("\n\n").unwrap();
    let head: Vec<(&str, &str)> =
        head.lines().skip(1).map(|line| line.split_once(": ").unwrap()).collect();
    let events = http::read(&headers(&head), Bytes::copy_from_slice(body.as_bytes())).unwrap();
    let [event] = events.as_slice() else { panic!("one event in {request}") };
    let Value::Object(mut found) = event.to_value() else { panic!("an object") };
    let found_data = found.remove("data");
    let found: BTreeMap<&str, &str> =
        found.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
    assert_eq!(&found, attributes);
    assert_eq!(found_data, serde_json::from_str(data).unwrap());
}

#[test]
fn public_cases_agree() {
    let Some(path) = std::env::var_os(VARIABLE) else { return };
    let feature = std::fs::read_to_string(path).unwrap();
    let mut cases = 0;
    for scenario in feature.split("Scenario Outline:").skip(1) {
        let (_, examples) = scenario.split_once("Examples:").unwrap();
        for example in examples.lines().filter_map(cells).skip(1) {
            let scenario = scenario.replace("<contentType>", example[0]);
            let mut lines = scenario.lines();
            let request = quoted(&mut lines);
            let table = lines.by_ref().skip_while(|line| cells(line).is_none());
            let rows: Vec<_> = table.map_while(cells).skip(1).collect();
            let attributes = rows.iter().map(|row| (row[0], row[1])).collect();
            check(&request, &attributes, &quoted(&mut lines));
            cases += 1;
        }
    }
    println!("{cases} cases agree");
    assert!(cases > 0);
}
