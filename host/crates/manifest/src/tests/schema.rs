//! The JSON Schema of a manifest beside its parser.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::super::testing::schema::{complaints, keys};
use super::super::*;
use super::FULL;

fn complaints_about(text: &str) -> Vec<String> {
    let value: toml::Value = toml::from_str::<toml::Table>(text).unwrap().into();
    complaints(&json_schema(), &serde_json::to_value(value).unwrap())
}

#[test]
fn every_key_has_a_description() {
    let schema = json_schema();
    let keys = keys(&schema);
    assert!(keys.len() > 40, "{}", keys.len());
    for (key, schema) in keys {
        let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        assert!(description.ends_with('.'), "{key}: {description:?}");
    }
}

#[test]
fn nothing_is_null() {
    let schema = json_schema().to_string();
    assert!(!schema.contains("null"), "{schema}");
}

#[test]
fn limits_have_their_ranges_and_defaults() {
    let schema = json_schema();
    let limits = &schema["$defs"]["Limits"]["properties"];
    assert_eq!(limits.as_object().unwrap().len(), LimitKey::COUNT);
    for (index, &key) in LimitKey::ALL.iter().enumerate() {
        assert_eq!(key as usize, index);
        let limit = &limits[key.as_str()];
        let range = json!([limit["minimum"], limit["maximum"]]);
        assert_eq!(range, json!([key.range().start(), key.range().end()]), "{key}");
        assert_eq!(
            limit.get("default").and_then(Value::as_u64),
            Limits::default().get(key),
            "{key}"
        );
    }
}

#[test]
fn setting_a_limit_gets_it() {
    for &key in LimitKey::ALL {
        for value in [*key.range().start(), *key.range().end()] {
            let mut limits = Limits::default();
            limits.set(key, value);
            assert_eq!(limits.get(key), Some(value), "{key}");
        }
    }
}

#[test]
fn it_takes_what_the_parser_takes() {
    assert_eq!(complaints_about(FULL), Vec::<String>::new());
    assert_eq!(complaints_about("app = \"a\"\nfunctions.f = {}\n"), Vec::<String>::new());
}

#[test]
fn it_refuses_what_the_parser_refuses() {
    let refused = [
        ("functions.f = {}\n", "lacks app"),
        ("app = \"a\"\n", "lacks functions"),
        (
            "app = \"A\"\nfunctions.f = {}\n",
            "/app does not match ^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$",
        ),
        (
            "app = \"a\"\nfunctions.F = {}\n",
            "/functions/F does not match ^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$",
        ),
        ("app = \"a\"\nfunctions.f.routs = []\n", "/functions/f/routs is unknown"),
        ("app = \"a\"\nfunctions.f.limits.cpu_ms = 0\n", "/functions/f/limits/cpu_ms is under 1"),
        (
            "app = \"a\"\nfunctions.f.limits.cpu_ms = 1000000\n",
            "/functions/f/limits/cpu_ms is over 900000",
        ),
        (
            "app = \"a\"\nfunctions.f.limits.cpu_ms = \"1\"\n",
            "/functions/f/limits/cpu_ms is no integer",
        ),
        ("app = \"a\"\nfunctions.f.routes = [\"x\"]\n", "/functions/f/routes/0 fits nothing"),
        ("app = \"a\"\nfunctions.f.build.command = \"x\"\n", "/functions/f/build lacks output"),
        ("app = \"a\"\nfunctions.f.cors = {}\n", "/functions/f/cors lacks origins"),
    ];
    for (text, complaint) in refused {
        assert_eq!(complaints_about(text), [complaint], "{text}");
        assert!(App::parse(&ManifestText::new("lacewing.toml", text)).is_err(), "{text}");
    }
}

/// The examples that are in the repository are taken by both, without a warning.
#[test]
fn the_examples_are_right() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples");
    let Ok(entries) = fs::read_dir(&examples) else { return };
    let manifests: Vec<_> = entries
        .map(|entry| entry.unwrap().path().join(FILE_NAME))
        .filter(|path| path.exists())
        .collect();
    assert!(!manifests.is_empty(), "no example has a manifest");
    for path in manifests {
        let (_, warnings) = App::load(&path).unwrap();
        assert!(warnings.is_empty(), "{}: {warnings:?}", path.display());
        assert_eq!(complaints_about(&fs::read_to_string(&path).unwrap()), Vec::<String>::new());
    }
}
