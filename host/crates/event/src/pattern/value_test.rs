//! Tests of one leaf of an event.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::{
    number::{Number, Range},
    text::{Caseless, Wildcard},
};

/// A test of a string, a number, a boolean or a null.
#[derive(Clone, Debug)]
pub(super) enum ValueTest {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    Caseless(Caseless),
    Prefix(Box<str>),
    CaselessPrefix(Caseless),
    Suffix(Box<str>),
    CaselessSuffix(Caseless),
    Wildcard(Wildcard),
    Range(Range),
    Network(IpNet),
    /// Every leaf.
    Exists,
    /// A leaf of any type for which no test holds.
    AnythingBut(ValueTests),
}

/// Tests of which one holds. A search finds a number and a text, since a pattern may list
/// thousands, and an event may have as many leaves.
#[derive(Clone, Debug, Default)]
pub(super) struct ValueTests {
    /// Sorted.
    pub(super) numbers: Vec<Number>,
    /// Sorted.
    pub(super) texts: Vec<Box<str>>,
    pub(super) others: Vec<ValueTest>,
}

impl FromIterator<ValueTest> for ValueTests {
    fn from_iter<I: IntoIterator<Item = ValueTest>>(tests: I) -> ValueTests {
        let mut all = ValueTests::default();
        for test in tests {
            match test {
                ValueTest::Number(number) => all.numbers.push(number),
                ValueTest::Text(text) => all.texts.push(text),
                other => all.others.push(other),
            }
        }
        all.numbers.sort_unstable();
        all.texts.sort_unstable();
        all
    }
}

impl ValueTests {
    /// Whether a test holds.
    pub(super) fn hold(&self, leaf: &Value) -> bool {
        let is_listed = match leaf {
            Value::Number(number) => Number::new(number)
                .is_some_and(|number| self.numbers.binary_search(&number).is_ok()),
            Value::String(text) => {
                self.texts.binary_search_by(|one| (**one).cmp(text.as_str())).is_ok()
            }
            _ => false,
        };
        is_listed || self.others.iter().any(|test| test.holds(leaf))
    }
}

impl ValueTest {
    /// Whether the test holds. False for an array and an object, which are no leaves.
    fn holds(&self, leaf: &Value) -> bool {
        match (self, leaf) {
            (_, Value::Array(_) | Value::Object(_)) => false,
            (ValueTest::Exists, _) | (ValueTest::Null, Value::Null) => true,
            (ValueTest::AnythingBut(tests), leaf) => !tests.hold(leaf),
            (ValueTest::Bool(expected), Value::Bool(bool)) => expected == bool,
            (test, Value::Number(number)) => {
                Number::new(number).is_some_and(|number| test.holds_number(number))
            }
            (test, Value::String(text)) => test.holds_text(text),
            _ => false,
        }
    }

    fn holds_number(&self, number: Number) -> bool {
        match self {
            ValueTest::Number(expected) => *expected == number,
            ValueTest::Range(range) => range.contains(number),
            _ => false,
        }
    }

    fn holds_text(&self, text: &str) -> bool {
        match self {
            ValueTest::Text(expected) => **expected == *text,
            ValueTest::Caseless(expected) => expected.equals(text),
            ValueTest::Prefix(prefix) => text.starts_with(&**prefix),
            ValueTest::CaselessPrefix(prefix) => prefix.begins(text),
            ValueTest::Suffix(suffix) => text.ends_with(&**suffix),
            ValueTest::CaselessSuffix(suffix) => suffix.ends(text),
            ValueTest::Wildcard(wildcard) => wildcard.matches(text),
            ValueTest::Network(network) => {
                text.parse::<IpAddr>().is_ok_and(|address| network.contains(&address))
            }
            _ => false,
        }
    }
}

/// Calls `look` with the leaves of a value, an array standing for its elements, until `look` says
/// true. Whether it did.
pub(super) fn any_leaf(value: &Value, look: &mut impl FnMut(&Value) -> bool) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| any_leaf(item, look)),
        Value::Object(_) => false,
        leaf => look(leaf),
    }
}
