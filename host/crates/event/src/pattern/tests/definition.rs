//! The definition of a match, word for word and slow: every choice of leaves is tried.
//!
//! A pattern is a list of alternatives, each a list of paths with tests. An event is a list of
//! leaves, each with its path and the elements of the arrays of objects that hold it. An
//! alternative holds if there is a leaf for each path such that no array has two elements. A path
//! that may be absent has no leaf in the chosen elements.

use std::collections::BTreeMap;

use serde_json::Value;

use super::parse;
use crate::pattern::tree::{Leaf, Test};

type Path = Vec<String>;
type Alternative = Vec<(Path, Leaf)>;
/// The chosen element of each array, which is named by its place in memory.
type Elements = BTreeMap<*const Value, usize>;

pub(super) fn matches(pattern: &Value, event: &Value) -> bool {
    let mut leaves = Vec::new();
    flatten(event, &Vec::new(), &Elements::new(), &mut leaves);
    let alternatives = alternatives(pattern, &Vec::new());
    event.is_object()
        && alternatives.iter().any(|fields| holds(fields, &leaves, &Elements::new(), &[]))
}

/// Every combination of the alternatives of `$or`.
fn alternatives(pattern: &Value, path: &Path) -> Vec<Alternative> {
    let mut all = vec![Vec::new()];
    for (name, value) in pattern.as_object().unwrap() {
        let below: Path = path.iter().cloned().chain([name.clone()]).collect();
        let of_member: Vec<Alternative> = match value {
            Value::Array(items) if name == "$or" => {
                items.iter().flat_map(|item| alternatives(item, path)).collect()
            }
            Value::Array(_) => vec![vec![(below, leaf(value))]],
            value => alternatives(value, &below),
        };
        let products = all.iter().flat_map(|one| of_member.iter().map(move |other| (one, other)));
        all = products.map(|(one, other)| [one.clone(), other.clone()].concat()).collect();
    }
    all
}

fn leaf(tests: &Value) -> Leaf {
    match &parse(&serde_json::json!({ "x": tests })).root.fields[0].test {
        Test::Leaf(leaf) => leaf.clone(),
        Test::Within(_) => unreachable!("a list is a leaf"),
    }
}

fn flatten<'a>(
    value: &'a Value,
    path: &Path,
    elements: &Elements,
    leaves: &mut Vec<(Path, &'a Value, Elements)>,
) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = path.iter().cloned().chain([name.clone()]).collect();
                flatten(value, &path, elements, leaves);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                let mut elements = elements.clone();
                // An array of values binds none of them.
                if item.is_object() || item.is_array() {
                    elements.insert(std::ptr::from_ref(value), at);
                }
                flatten(item, path, &elements, leaves);
            }
        }
        leaf => leaves.push((path.clone(), leaf, elements.clone())),
    }
}

/// Both choices together, unless an array has two elements.
fn together(one: &Elements, other: &Elements) -> Option<Elements> {
    let agree = one.iter().all(|(array, at)| other.get(array).is_none_or(|other| other == at));
    agree.then(|| one.iter().chain(other).map(|(array, at)| (*array, *at)).collect())
}

fn holds(
    fields: &[(Path, Leaf)],
    leaves: &[(Path, &Value, Elements)],
    chosen: &Elements,
    absent: &[&Path],
) -> bool {
    let Some(((path, test), rest)) = fields.split_first() else {
        return absent.iter().all(|path| {
            let at_path = leaves.iter().filter(|(leaf_path, ..)| leaf_path == *path);
            !at_path.into_iter().any(|(.., elements)| together(chosen, elements).is_some())
        });
    };
    let present = leaves.iter().any(|(leaf_path, value, elements)| {
        leaf_path == path
            && test.values.hold(value)
            && together(chosen, elements).is_some_and(|chosen| holds(rest, leaves, &chosen, absent))
    });
    present || test.absent && holds(rest, leaves, chosen, &[absent, &[path]].concat())
}
