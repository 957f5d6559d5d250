//! Event patterns in the language of Amazon EventBridge.
//!
//! A [`Pattern`] is a JSON object in the shape of the events that it selects. Each field holds the
//! list of its tests, of which one has to hold:
//!
//! ```json
//! {
//!   "source": ["shop"],
//!   "data": { "total": [{ "numeric": [">", 100] }], "country": [{ "anything-but": "US" }] }
//! }
//! ```
//!
//! The language is that of [Event Ruler](https://github.com/aws/event-ruler), the open library
//! behind EventBridge. A test asks the leaves of an event: its strings, numbers, booleans and
//! nulls. An array stands for its elements, and fields below one array of objects have to hold in
//! the same element.
//!
//! Differences from Event Ruler, each for one meaning instead of two:
//!
//! - A name with a dot means that name, and no path.
//! - Numbers compare by their exact values. Event Ruler compares some of them as text.
//! - `exists: false` looks at the element that the other fields chose, whatever their names.
//!   Event Ruler looks at the fields in the order of their names.
//! - `$or` is an operator wherever it stands, and a field has its tests once: outside of `$or` or
//!   within.
//!
//! [`PatternSet`] finds the patterns of a large set that match an event.

mod error;
mod evaluate;
mod number;
mod parse;
mod set;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod value_test;

use std::{str::FromStr, sync::Arc};

use serde_json::Value;

pub use error::PatternError;
pub use set::PatternSet;

/// The largest pattern, in bytes of JSON without white space. EventBridge takes 2,048 characters,
/// and 4,096 on request. A larger pattern is refused.
pub const MAX_PATTERN_BYTES: usize = 4096;

/// The deepest field of a pattern: the number of names on its path. A deeper pattern is refused.
pub const MAX_PATTERN_DEPTH: usize = 32;

/// The most fields that are copied where `$or` and a field beside it look into one object: the
/// field moves into each alternative, and counts each time. A pattern with more is refused.
pub const MAX_PATTERN_FIELDS: usize = 1000;

/// A test of events. Clones share their memory.
#[derive(Clone, Debug)]
pub struct Pattern {
    root: Arc<tree::Object>,
}

impl Pattern {
    /// Reads a pattern. A pattern that can match no event is an error.
    pub fn parse(json: &Value) -> Result<Pattern, PatternError> {
        parse::pattern(json).map(|root| Pattern { root: Arc::new(root) })
    }

    /// Whether an event matches. The time is at most the product of the sizes of both.
    pub fn matches(&self, event: &Value) -> bool {
        evaluate::matches(&self.root, event)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        let json = serde_json::from_str(text).map_err(|error| {
            PatternError::at("", format!("this is no JSON ({error}): write a JSON object"))
        })?;
        Pattern::parse(&json)
    }
}
