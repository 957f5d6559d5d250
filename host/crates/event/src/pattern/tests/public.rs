//! The public cases of Event Ruler, or any other file of cases.
//!
//! The file is a JSON list of objects with a `rule`, an `event` and perhaps the outcome as
//! `expected`: true, false or "error". Without an outcome, the definition says it.

use serde_json::Value;

use super::definition;
use crate::pattern::Pattern;

/// The path of the file, such as `src/test/resources/correctness-cases.json` of
/// <https://github.com/aws/event-ruler>. Without the variable, the test passes.
const VARIABLE: &str = "LACEWING_EVENT_RULER_CASES";

#[test]
fn public_cases_agree() {
    let Some(path) = std::env::var_os(VARIABLE) else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let found = match Pattern::parse(&case["rule"]) {
            Ok(pattern) => Value::Bool(pattern.matches(&case["event"])),
            Err(_) => "error".into(),
        };
        let expected = match &case["expected"] {
            Value::Null => Value::Bool(definition::matches(&case["rule"], &case["event"])),
            expected => expected.clone(),
        };
        if found != expected {
            wrong.push(format!("{expected} expected, and {found} found: {case}"));
        }
    }
    println!("{} of {} cases agree", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
