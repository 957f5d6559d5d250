//! Access predicates: the choice of the test by which a pattern is found.

use std::{borrow::Cow, cmp::Ordering, collections::HashMap};

use serde_json::Value;

use crate::pattern::{
    number::Number,
    tree::{Leaf, Object, Test},
    value_test::{ValueTest, ValueTests},
};

/// The longest prefix in the index, in bytes: an event's text is looked up once for each length. A
/// longer prefix is cut, and its pattern is found a little too often.
pub(super) const MAX_PREFIX_BYTES: usize = 16;

/// A property of leaves that a hash table finds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    /// A text that begins with this one, of 1 to [`MAX_PREFIX_BYTES`] bytes.
    Prefix(Cow<'a, str>),
    /// Every leaf.
    Present,
}

impl<'a> Key<'a> {
    /// The most exact key that a leaf has.
    pub(super) fn of_leaf(leaf: &'a Value) -> Option<Key<'a>> {
        match leaf {
            Value::Null => Some(Key::Null),
            Value::Bool(bool) => Some(Key::Bool(*bool)),
            Value::Number(number) => Number::new(number).map(Key::Number),
            Value::String(text) => Some(Key::Text(text.into())),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The key of all leaves for which a test holds, which is of no number and no text.
    fn of_test(test: &'a ValueTest) -> Key<'a> {
        match test {
            ValueTest::Null => Key::Null,
            ValueTest::Bool(bool) => Key::Bool(*bool),
            ValueTest::Prefix(prefix) => Key::of_prefix(prefix),
            ValueTest::Wildcard(wildcard) => Key::of_prefix(wildcard.head()),
            _ => Key::Present,
        }
    }

    fn of_prefix(prefix: &'a str) -> Key<'a> {
        let lengths = 1..=prefix.len().min(MAX_PREFIX_BYTES);
        match lengths.rev().find_map(|length| prefix.get(..length)) {
            Some(prefix) => Key::Prefix(prefix.into()),
            None => Key::Present,
        }
    }

    pub(super) fn into_owned(self) -> Key<'static> {
        match self {
            Key::Null => Key::Null,
            Key::Bool(bool) => Key::Bool(bool),
            Key::Number(number) => Key::Number(number),
            Key::Text(text) => Key::Text(text.into_owned().into()),
            Key::Prefix(prefix) => Key::Prefix(prefix.into_owned().into()),
            Key::Present => Key::Present,
        }
    }

    /// How many leaves have such a key, among keys of as many patterns.
    fn looseness(&self) -> usize {
        match self {
            Key::Present => 3,
            Key::Null | Key::Bool(_) => 2,
            Key::Prefix(_) => 1,
            Key::Number(_) | Key::Text(_) => 0,
        }
    }
}

/// A key of the leaves at a path.
type Predicate<'a> = (Vec<&'a str>, Key<'a>);

/// The predicates of a set of patterns, with how often each stands in a pattern.
///
/// The values that many patterns ask for are taken for those that many events have. The estimate
/// may be wrong, and costs evaluations then.
#[derive(Default)]
pub(super) struct Access<'a> {
    paths: HashMap<Vec<&'a str>, Counts<'a>>,
}

#[derive(Default)]
struct Counts<'a> {
    keys: HashMap<Key<'a>, usize>,
    all: usize,
}

/// The expected share of events that satisfy some predicates, and their looseness.
#[derive(Clone, Copy, Default)]
struct Cost {
    share: f64,
    looseness: usize,
}

impl Cost {
    fn cmp(&self, other: &Cost) -> Ordering {
        self.share.total_cmp(&other.share).then(self.looseness.cmp(&other.looseness))
    }
}

impl<'a> Access<'a> {
    pub(super) fn of(patterns: impl Iterator<Item = &'a Object>) -> Access<'a> {
        let mut access = Access::default();
        patterns.for_each(|pattern| access.count(pattern, &mut Vec::new()));
        access
    }

    fn count(&mut self, object: &'a Object, path: &mut Vec<&'a str>) {
        for field in &object.fields {
            path.push(&field.name);
            match &field.test {
                Test::Leaf(leaf) => {
                    let counts = self.paths.entry(path.clone()).or_default();
                    for key in keys(leaf) {
                        *counts.keys.entry(key).or_default() += 1;
                        counts.all += 1;
                    }
                }
                Test::Within(object) => self.count(object, path),
            }
            path.pop();
        }
        let alternatives = object.choices.iter().flatten();
        alternatives.for_each(|alternative| self.count(alternative, path));
    }

    /// The cheapest predicates of which a matching event satisfies one. `None` if an event may
    /// match without a leaf.
    pub(super) fn predicates(&self, pattern: &'a Object) -> Option<Vec<Predicate<'a>>> {
        self.best(pattern, &mut Vec::new()).map(|(_, predicates)| predicates)
    }

    fn best(
        &self,
        object: &'a Object,
        path: &mut Vec<&'a str>,
    ) -> Option<(Cost, Vec<Predicate<'a>>)> {
        let mut options = Vec::new();
        for field in &object.fields {
            path.push(&field.name);
            options.extend(match &field.test {
                Test::Leaf(leaf) if leaf.absent => None,
                Test::Leaf(leaf) => {
                    Some(self.priced(keys(leaf).into_iter().map(|key| (path.clone(), key))))
                }
                Test::Within(object) => self.best(object, path),
            });
            path.pop();
        }
        for choice in &object.choices {
            let best: Option<Vec<_>> = choice.iter().map(|one| self.best(one, path)).collect();
            let all = best.map(|best| best.into_iter().flat_map(|(_, predicates)| predicates));
            options.extend(all.map(|all| self.priced(all)));
        }
        options.into_iter().min_by(|(cost, _), (other, _)| cost.cmp(other))
    }

    fn priced(
        &self,
        predicates: impl Iterator<Item = Predicate<'a>>,
    ) -> (Cost, Vec<Predicate<'a>>) {
        let predicates: Vec<Predicate<'a>> = predicates.collect();
        let cost = predicates.iter().fold(Cost::default(), |cost, (path, key)| Cost {
            share: cost.share + self.paths.get(path).map_or(1.0, |counts| counts.share(key)),
            looseness: cost.looseness + key.looseness(),
        });
        (cost, predicates)
    }
}

impl Counts<'_> {
    /// The expected share of events that have a key. A path of one pattern is expected in half of
    /// the events.
    fn share(&self, key: &Key<'_>) -> f64 {
        let count = match key {
            Key::Present => self.all,
            key => self.keys.get(key).copied().unwrap_or_default(),
        };
        count as f64 / (self.all + 1) as f64
    }
}

/// Keys of which one fits each leaf that a test selects.
fn keys(leaf: &Leaf) -> Vec<Key<'_>> {
    let ValueTests { numbers, texts, others } = &leaf.values;
    let numbers = numbers.iter().map(|number| Key::Number(*number));
    let texts = texts.iter().map(|text| Key::Text((&**text).into()));
    let keys: Vec<Key<'_>> = numbers.chain(texts).chain(others.iter().map(Key::of_test)).collect();
    match keys.contains(&Key::Present) {
        true => vec![Key::Present],
        false => keys,
    }
}
