//! The evaluation of a pattern: one walk of the pattern over the event, without backtracking.
//!
//! Fields below an array of objects have to hold in one element. A field that may be absent
//! chooses no element: it follows the choice of the fields that are present. A pattern whose
//! fields are all absent below an array has to find them absent in every element.

use serde_json::Value;

use super::{
    tree::{Field, Leaf, Object, Test},
    value_test::any_leaf,
};

/// How a pattern holds in a value. The order is from worst to best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holds {
    No,
    /// All fields are absent, as they may be.
    Absent,
    /// A field is present, and chose the elements of the arrays above.
    Present,
}

impl Holds {
    fn and(self, other: Holds) -> Holds {
        match self.min(other) {
            Holds::No => Holds::No,
            _ => self.max(other),
        }
    }

    fn absent_if(absent: bool) -> Holds {
        if absent { Holds::Absent } else { Holds::No }
    }
}

pub(super) fn matches(pattern: &Object, event: &Value) -> bool {
    // An event is an object: an array of events is none.
    event.is_object() && object(pattern, event) != Holds::No
}

fn object(pattern: &Object, value: &Value) -> Holds {
    match value {
        Value::Array(items) => {
            if items.iter().any(|item| object(pattern, item) == Holds::Present) {
                return Holds::Present;
            }
            Holds::absent_if(all_absent(pattern, &[value]))
        }
        Value::Object(members) => {
            let mut holds = Holds::Absent;
            for Field { name, test } in &pattern.fields {
                holds = holds.and(field(test, members.get(&**name)));
                if holds == Holds::No {
                    return Holds::No;
                }
            }
            for alternatives in &pattern.choices {
                let best = alternatives.iter().map(|alternative| object(alternative, value)).max();
                holds = holds.and(best.unwrap_or(Holds::No));
            }
            holds
        }
        _ => Holds::absent_if(pattern.may_be_absent),
    }
}

fn field(test: &Test, value: Option<&Value>) -> Holds {
    match (test, value) {
        (test, None) => Holds::absent_if(test.may_be_absent()),
        (Test::Leaf(test), Some(value)) => leaf(test, value),
        (Test::Within(pattern), Some(value)) => object(pattern, value),
    }
}

fn leaf(test: &Leaf, value: &Value) -> Holds {
    if any_leaf(value, &mut |leaf| test.values.hold(leaf)) {
        return Holds::Present;
    }
    Holds::absent_if(test.absent && !has_leaf(value))
}

fn has_leaf(value: &Value) -> bool {
    any_leaf(value, &mut |_| true)
}

/// Whether all fields are absent in every object of some values, an array standing for its
/// elements.
fn all_absent(pattern: &Object, values: &[&Value]) -> bool {
    if !pattern.may_be_absent {
        return false;
    }
    let fields = pattern.fields.iter().all(|Field { name, test }| {
        let mut members = Vec::new();
        values.iter().for_each(|value| push_members(value, name, &mut members));
        match test {
            Test::Leaf(_) => !members.iter().any(|member| has_leaf(member)),
            Test::Within(pattern) => all_absent(pattern, &members),
        }
    });
    let alternatives = |choice: &Vec<Object>| choice.iter().any(|one| all_absent(one, values));
    fields && pattern.choices.iter().all(alternatives)
}

/// The members of one name of an object, or of the objects in an array.
fn push_members<'a>(value: &'a Value, name: &str, members: &mut Vec<&'a Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| push_members(item, name, members)),
        value => members.extend(value.get(name)),
    }
}
