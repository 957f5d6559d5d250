//! Properties of patterns: no input panics, and all evaluations agree.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::definition;
use crate::pattern::{Pattern, PatternSet};

/// Few names and values, so that patterns and events meet.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = Value> {
    let values = vec![
        json!(null),
        json!(true),
        json!(1),
        json!(1.5),
        json!(2.0),
        json!(""),
        json!("x"),
        json!("xy"),
        json!("Xyx"),
        json!("10.0.0.1"),
        json!("::1"),
    ];
    prop::sample::select(values)
}

fn object(member: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::btree_map(name(), member, 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn event() -> impl Strategy<Value = Value> {
    let member = scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            object(inner)
        ]
    });
    object(member)
}

fn test() -> impl Strategy<Value = Value> {
    let operators = vec![
        json!({"prefix": "x"}),
        json!({"suffix": "x"}),
        json!({"prefix": {"equals-ignore-case": "xY"}}),
        json!({"equals-ignore-case": "XYX"}),
        json!({"wildcard": "x*"}),
        json!({"wildcard": "*y*"}),
        json!({"anything-but": ["x", "xy"]}),
        json!({"anything-but": 1}),
        json!({"anything-but": {"suffix": "y"}}),
        json!({"numeric": [">", 1, "<=", 2]}),
        json!({"cidr": "10.0.0.0/8"}),
        json!({"exists": true}),
        json!({"exists": false}),
    ];
    prop_oneof![scalar(), prop::sample::select(operators)]
}

/// Objects of fields, some with two alternatives more. A pattern may have a mistake.
fn pattern() -> impl Strategy<Value = Value> {
    let leaf = prop::collection::vec(test(), 1..3).prop_map(Value::Array);
    let fields = |member: BoxedStrategy<Value>| {
        prop::collection::btree_map(name(), member, 1..3)
            .prop_map(|fields| fields.into_iter().collect::<Map<String, Value>>())
    };
    let member = leaf.prop_recursive(3, 12, 3, move |inner| {
        let object = fields(inner.boxed()).boxed();
        (object.clone(), prop::option::weighted(0.3, (object.clone(), object))).prop_map(
            |(mut object, alternatives)| {
                if let Some((one, other)) = alternatives {
                    object.insert("$or".into(), json!([one, other]));
                }
                Value::Object(object)
            },
        )
    });
    member.prop_filter("a pattern is an object", Value::is_object)
}

/// JSON that looks like a pattern here and there.
fn anything() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "a",
        "$or",
        "prefix",
        "suffix",
        "numeric",
        "anything-but",
        "exists",
        "wildcard",
        "cidr",
        "equals-ignore-case",
        "=",
        "<",
        "10.0.0.0/8",
        "**",
        "\\",
        "",
    ]);
    let leaf = prop_oneof![scalar(), word.clone().prop_map(Value::from)];
    leaf.prop_recursive(6, 48, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(word.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_pattern_panics(json in anything(), event in event()) {
        if let Ok(pattern) = Pattern::parse(&json) {
            pattern.matches(&event);
        }
    }

    #[test]
    fn evaluation_agrees_with_the_definition(
        json in pattern(),
        events in prop::collection::vec(event(), 8),
    ) {
        if let Ok(pattern) = Pattern::parse(&json) {
            for event in &events {
                let expected = definition::matches(&json, event);
                prop_assert_eq!(pattern.matches(event), expected, "{} on {}", json, event);
            }
        }
    }

    #[test]
    fn a_set_agrees_with_its_patterns(
        patterns in prop::collection::vec(pattern(), 0..12),
        events in prop::collection::vec(event(), 8),
    ) {
        let patterns: Vec<Pattern> =
            patterns.iter().filter_map(|json| Pattern::parse(json).ok()).collect();
        let set: PatternSet = patterns.iter().cloned().collect();
        for event in &events {
            let expected: Vec<usize> =
                (0..patterns.len()).filter(|index| patterns[*index].matches(event)).collect();
            prop_assert_eq!(set.matches(event), expected);
        }
    }
}
