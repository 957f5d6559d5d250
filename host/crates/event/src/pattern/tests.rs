//! Tests of patterns.

mod cases;
mod definition;
mod errors;
mod properties;
mod public;

use serde_json::Value;

use super::Pattern;

fn parse(pattern: &Value) -> Pattern {
    Pattern::parse(pattern).unwrap_or_else(|error| panic!("{error}, in {pattern}"))
}
