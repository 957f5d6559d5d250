//! The JSON Schema of a host file beside its parser.

use serde_json::{Value, json};

use super::super::json_schema;
use super::super::testing::Hosts;
use super::FULL;
use crate::testing::schema::{complaints, keys};

fn complaints_about(text: &str) -> Vec<String> {
    let value: toml::Value = toml::from_str::<toml::Table>(text).unwrap().into();
    complaints(&json_schema(), &serde_json::to_value(value).unwrap())
}

#[test]
fn every_key_has_a_description() {
    for (key, schema) in keys(&json_schema()) {
        let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        assert!(description.ends_with('.'), "{key}: {description:?}");
    }
}

#[test]
fn it_takes_what_the_parser_takes() {
    assert_eq!(complaints_about(FULL), Vec::<String>::new());
}

#[test]
fn it_refuses_what_the_parser_refuses() {
    assert_eq!(
        complaints_about("log.format = \"jsno\"\ntenants = {}\n"),
        ["/log/format fits nothing"]
    );
    assert_eq!(
        complaints_about("tenants.a.quota.memory = 1\n"),
        ["/tenants/a/quota/memory is unknown"]
    );
    assert_eq!(complaints_about("max_sandboxes = 1\n"), ["lacks tenants"]);
}

/// The tables that settings stand in, and the schema's names for them.
const TABLES: &[(&str, &str)] = &[
    ("", ""),
    ("connections.", "Connections"),
    ("admission.", "Admission"),
    ("residency.", "Residency"),
    ("compiler.", "Compiler"),
    ("metrics.", "Metrics"),
    ("tenants.acme.", "Tenant"),
    ("tenants.acme.quota.", "Quota"),
    ("tenants.acme.caps.", "Caps"),
    ("caps.", "Caps"),
];

/// The ranges of the schema are those of the parser.
#[test]
fn numbers_have_their_ranges() {
    let schema = json_schema();
    let hosts = Hosts::new();
    let mut checked = 0;
    for (prefix, name) in TABLES {
        let table = if name.is_empty() { &schema } else { &schema["$defs"][name] };
        for (key, value) in table["properties"].as_object().unwrap() {
            if value["type"] != "integer" {
                continue;
            }
            checked += 1;
            let (minimum, maximum) =
                (value["minimum"].as_i64().unwrap(), value["maximum"].as_i64().unwrap());
            let report = |number: i128| {
                hosts.report(&format!("{prefix}{key} = {number}\ntenants.acme.hosts = [\"*\"]\n"))
            };
            let text = |number: i128| {
                format!("error: `{key}` takes {minimum} to {maximum}, not {number}\n")
            };
            for wrong in [i128::from(minimum) - 1, i128::from(maximum) + 1] {
                assert!(report(wrong).starts_with(&text(wrong)), "{}", report(wrong));
            }
            for right in [minimum, maximum] {
                assert!(!report(right.into()).contains("error"), "{}", report(right.into()));
            }
        }
    }
    assert!(checked > 49, "{checked}");
}

/// Writing the schema's defaults changes nothing.
#[test]
fn settings_have_their_defaults() {
    let hosts = Hosts::new();
    let bare = "tenants.acme.hosts = [\"*\"]\n";
    let mut text = bare.to_owned();
    let schema = json_schema();
    for (prefix, name) in TABLES {
        let table = if name.is_empty() { &schema } else { &schema["$defs"][name] };
        for (key, value) in table["properties"].as_object().unwrap() {
            match value.get("default") {
                Some(Value::Object(_)) | None => {}
                Some(Value::Array(empty)) if empty.is_empty() => {}
                Some(default) => text.push_str(&format!("{prefix}{key} = {default}\n")),
            }
        }
    }
    assert!(text.lines().count() > 12, "{text}");
    assert_eq!(hosts.load(&text).unwrap().0, hosts.load(bare).unwrap().0);
    assert_eq!(schema["$defs"]["Log"]["properties"]["format"]["default"], json!("text"));
}
