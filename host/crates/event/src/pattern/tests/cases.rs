//! A table of patterns, with events that match and events that do not.

use serde_json::{Value, json};

use super::parse;
use crate::pattern::PatternSet;

/// Asserts that a pattern matches some events and no others, alone and in a set.
#[track_caller]
fn check(pattern: Value, matching: &[Value], others: &[Value]) {
    let parsed = parse(&pattern);
    let set: PatternSet = [parsed.clone()].into_iter().collect();
    let expected = matching.iter().map(|event| (event, true));
    for (event, expected) in expected.chain(others.iter().map(|event| (event, false))) {
        assert_eq!(parsed.matches(event), expected, "{pattern} on {event}");
        assert_eq!(set.matches(event) == [0], expected, "a set of {pattern} on {event}");
    }
}

/// The same for the tests of one field.
#[track_caller]
fn check_field(tests: Value, matching: Value, others: Value) {
    let events = |values: Value| -> Vec<Value> {
        values.as_array().unwrap().iter().map(|value| json!({ "x": value })).collect()
    };
    check(json!({ "x": tests }), &events(matching), &events(others));
}

#[test]
fn exact_values() {
    check_field(json!(["a", 5, true, null]), json!(["a", 5, true, null]), json!(["5", false, 0]));
    check_field(json!(["null"]), json!(["null"]), json!([null]));
    check_field(json!(["true"]), json!(["true"]), json!([true]));
    check_field(json!(["A"]), json!(["A"]), json!(["a", " A", "A "]));
    check_field(json!([""]), json!([""]), json!([" ", null]));
    check(json!({"x": ["a"]}), &[], &[json!({}), json!([{"x": "a"}]), json!("a"), json!(null)]);
    check(json!({"": ["a"]}), &[json!({"": "a"})], &[json!({"x": "a"})]);
    check(json!({"a.b": ["c"]}), &[json!({"a.b": "c"})], &[json!({"a": {"b": "c"}})]);
}

#[test]
fn numbers() {
    check_field(json!([300]), json!([300, 300.0, 3.0e2]), json!([301, "300"]));
    check_field(json!([0]), json!([0, -0.0]), json!([1e-320]));
    check_field(json!([123456789012_u64]), json!([123456789012_u64]), json!([123456789013_u64]));
    check_field(
        json!([u64::MAX]),
        json!([u64::MAX]),
        json!([u64::MAX - 1, 18446744073709551616.0]),
    );
    check_field(json!([3, 1, 2, "c", "a", "b"]), json!([1, 2, 3, "a", "b", "c"]), json!([0, "d"]));
    check_field(json!([0.1]), json!([0.1, 1e-1]), json!([0.10000000000000002]));
}

#[test]
fn numeric() {
    check_field(json!([{"numeric": ["=", 301.8]}]), json!([301.8, 3.018e2]), json!(["301.8", 302]));
    check_field(json!([{"numeric": [">", 0]}]), json!([1, 1e-320, 1e300]), json!([0, -1, "1"]));
    check_field(json!([{"numeric": [">=", 0]}]), json!([0, -0.0, 1]), json!([-1e-320]));
    check_field(json!([{"numeric": ["<", 0]}]), json!([-1, -1e300]), json!([0, 1]));
    check_field(json!([{"numeric": ["<=", 0.5]}]), json!([0.5, -7]), json!([0.6, null, true]));
    check_field(json!([{"numeric": [">", 0, "<=", 5]}]), json!([1, 5, 4.9]), json!([0, 5.1, 6]));
    check_field(json!([{"numeric": ["<=", 5, ">", 0]}]), json!([1, 5]), json!([0, 6]));
    check_field(json!([{"numeric": [">=", 5, "<=", 5]}]), json!([5, 5.0]), json!([4, 6]));
}

#[test]
fn prefixes_and_suffixes() {
    check_field(json!([{"prefix": "ab"}]), json!(["ab", "abc"]), json!(["a", "Ab", "cab", 5]));
    check_field(json!([{"prefix": ""}]), json!(["", "a"]), json!([5, null, {}]));
    check_field(json!([{"suffix": "ab"}]), json!(["ab", "cab"]), json!(["b", "aB", "abc", 5]));
    check_field(json!([{"suffix": "漢"}]), json!(["漢", "字漢"]), json!(["字", ""]));
    check_field(
        json!([{"prefix": "a prefix that is long"}]),
        json!(["a prefix that is long", "a prefix that is long indeed"]),
        json!(["a prefix that is short", "a prefix that i"]),
    );
    check_field(
        json!([{"prefix": {"equals-ignore-case": "äB"}}]),
        json!(["Äbc", "äB"]),
        json!(["ab", "ä", 1]),
    );
    check_field(
        json!([{"suffix": {"equals-ignore-case": "Bä"}}]),
        json!(["aBÄ", "bä"]),
        json!(["ba", "ä", 1]),
    );
}

#[test]
fn texts_without_regard_to_case() {
    check_field(
        json!([{"equals-ignore-case": "aBc"}]),
        json!(["abc", "ABC"]),
        json!(["ab", "abcd"]),
    );
    // Both cases of this letter differ in their number of bytes.
    check_field(json!([{"equals-ignore-case": "Ⱥ"}]), json!(["ⱥ", "Ⱥ"]), json!(["a"]));
    check_field(json!([{"equals-ignore-case": "ß"}]), json!(["ß"]), json!(["SS", "s"]));
    check_field(json!([{"equals-ignore-case": ""}]), json!([""]), json!(["a", null]));
}

#[test]
fn wildcards() {
    check_field(json!([{"wildcard": "*"}]), json!(["", "a"]), json!([1, null]));
    check_field(json!([{"wildcard": "a*"}]), json!(["a", "ab"]), json!(["ba", ""]));
    check_field(json!([{"wildcard": "*a"}]), json!(["a", "ba"]), json!(["ab", ""]));
    check_field(json!([{"wildcard": "a*a"}]), json!(["aa", "aba"]), json!(["a", "ab"]));
    check_field(
        json!([{"wildcard": "*/bin/*.jar"}]),
        json!(["/bin/.jar", "a/bin/b/bin/c.jar"]),
        json!(["/bin.jar", "/bin/a.jars", "bin/a.jar"]),
    );
    check_field(json!([{"wildcard": "*ab*ab*"}]), json!(["abab", "1ab2ab3"]), json!(["ab", "aab"]));
    check_field(json!([{"wildcard": "a\\*b"}]), json!(["a*b"]), json!(["ab", "acb", "a\\*b"]));
    check_field(json!([{"wildcard": "a\\\\*"}]), json!(["a\\", "a\\b"]), json!(["a*", "a"]));
    check_field(json!([{"wildcard": "none"}]), json!(["none"]), json!(["non", "nones"]));
    check_field(json!([{"wildcard": ""}]), json!([""]), json!(["a"]));
}

#[test]
fn anything_but() {
    let but = |operand: Value| json!([{ "anything-but": operand }]);
    check_field(but(json!("a")), json!(["b", "A", 1, true, null, ""]), json!(["a"]));
    check_field(but(json!(5)), json!([4, "5", null]), json!([5, 5.0]));
    check_field(but(json!(["a", "b"])), json!(["c", 1]), json!(["a", "b"]));
    check_field(but(json!([1, 2])), json!([3, "1"]), json!([1, 2.0]));
    check_field(but(json!({"prefix": "a"})), json!(["ba", 1, "A"]), json!(["a", "ab"]));
    check_field(but(json!({"prefix": ["a", "b"]})), json!(["c"]), json!(["ab", "b"]));
    check_field(but(json!({"suffix": "a"})), json!(["ab", 1]), json!(["a", "ba"]));
    check_field(but(json!({"suffix": ["a", "b"]})), json!(["c"]), json!(["ba", "b"]));
    check_field(but(json!({"equals-ignore-case": "a"})), json!(["b", 1]), json!(["a", "A"]));
    check_field(but(json!({"equals-ignore-case": ["a", "b"]})), json!(["c"]), json!(["A", "B"]));
    check_field(but(json!({"wildcard": "a*c"})), json!(["ab", 1]), json!(["ac", "abc"]));
    check_field(but(json!({"wildcard": ["a*", "*b"]})), json!(["ba"]), json!(["a", "cb"]));
    // An array stands for its elements, and an absent field is none.
    check_field(but(json!("a")), json!([["a", "b"]]), json!([["a"], [], {}]));
    check(json!({"x": [{"anything-but": "a"}]}), &[], &[json!({})]);
}

#[test]
fn networks() {
    check_field(
        json!([{"cidr": "10.0.0.0/24"}]),
        json!(["10.0.0.0", "10.0.0.255"]),
        json!(["10.0.1.0", "10.0.0", "10.0.0.1/24", "::ffff", 10, ""]),
    );
    check_field(json!([{"cidr": "10.0.0.77/24"}]), json!(["10.0.0.1"]), json!(["10.0.1.77"]));
    check_field(json!([{"cidr": "10.0.0.7/32"}]), json!(["10.0.0.7"]), json!(["10.0.0.8"]));
    check_field(json!([{"cidr": "0.0.0.0/0"}]), json!(["1.2.3.4"]), json!(["::1"]));
    check_field(
        json!([{"cidr": "2001:db8::/32"}]),
        json!(["2001:db8::1", "2001:0DB8:ffff::"]),
        json!(["2001:db9::", "10.0.0.1"]),
    );
    // An IPv6 address matches in each of its forms.
    check_field(json!(["2001:db8::1"]), json!(["2001:DB8:0:0::1"]), json!(["2001:db8::2", "x"]));
    check_field(json!(["10.0.0.1"]), json!(["10.0.0.1"]), json!(["10.0.0.01"]));
}

#[test]
fn existence_is_that_of_a_leaf() {
    let leaves = json!([null, 0, "", false, ["a"], [[1]], [{}, 1]]);
    let no_leaves = json!([{}, [], {"y": 1}, [{"y": 1}], [[]]]);
    check_field(json!([{"exists": true}]), leaves.clone(), no_leaves.clone());
    check_field(json!([{"exists": false}]), no_leaves, leaves);
    check(json!({"x": [{"exists": false}]}), &[json!({})], &[]);
    check(json!({"x": {"y": [{"exists": false}]}}), &[json!({}), json!({"x": 1})], &[]);
    check(
        json!({"x": [{"exists": false}, "a"]}),
        &[json!({}), json!({"x": "a"}), json!({"x": ["b", "a"]})],
        &[json!({"x": "b"})],
    );
}

#[test]
fn fields_all_hold() {
    check(
        json!({"source": ["shop"],
            "data": {"state": ["paid", "sent"], "sum": [{"numeric": [">", 5]}]}}),
        &[json!({"source": "shop", "data": {"state": "sent", "sum": 6, "more": 1}})],
        &[
            json!({"source": "shop", "data": {"state": "sent", "sum": 5}}),
            json!({"source": "shop", "data": {"state": "sent"}}),
            json!({"source": "shop", "data": "sent"}),
            json!({"source": "x", "data": {"state": "sent", "sum": 6}}),
        ],
    );
}

#[test]
fn an_array_of_values_stands_for_each() {
    check_field(json!(["a"]), json!([["b", "a"], [["a"]], [{}, "a"]]), json!([["b"], [], [{}]]));
    // The same field may be tested through several elements.
    check(
        json!({"tags": ["a"], "names": [{"prefix": "b"}]}),
        &[json!({"tags": ["c", "a"], "names": ["a", "bc"]})],
        &[json!({"tags": ["c", "a"], "names": ["a"]})],
    );
}

#[test]
fn fields_below_an_array_hold_in_one_element() {
    check(
        json!({"d": {"a": [1], "b": [2]}}),
        &[
            json!({"d": {"a": 1, "b": 2}}),
            json!({"d": [{"a": 1}, {"a": 1, "b": 2}]}),
            json!({"d": [[{"a": 0}], [{"a": 1, "b": 2}]]}),
            json!({"d": {"a": [0, 1], "b": [2, 3]}}),
        ],
        &[json!({"d": [{"a": 1}, {"b": 2}]}), json!({"d": [[{"a": 1}], [{"b": 2}]]})],
    );
    check(
        json!({"d": {"a": [1], "e": {"b": [2], "c": [3]}}}),
        &[json!({"d": [{"a": 1, "e": [{"b": 2}, {"b": 2, "c": 3}]}]})],
        &[
            json!({"d": [{"a": 1, "e": [{"b": 2}, {"c": 3}]}]}),
            json!({"d": [{"a": 1}, {"e": {"b": 2, "c": 3}}]}),
        ],
    );
}

#[test]
fn an_absent_field_follows_the_choice_of_the_others() {
    check(
        json!({"d": {"a": [{"exists": false}], "b": [2]}}),
        &[json!({"d": [{"a": 1}, {"b": 2}]}), json!({"d": {"b": 2}})],
        &[json!({"d": [{"a": 1, "b": 2}, {"b": 3}]})],
    );
    // Without a choice, the field is absent everywhere.
    check(
        json!({"d": {"a": [{"exists": false}]}}),
        &[json!({"d": [{"b": 1}, {}]}), json!({"d": []}), json!({"d": [1]})],
        &[json!({"d": [{"a": 1}, {"b": 2}]}), json!({"d": [[{"a": 1}], {}]})],
    );
    check(
        json!({"d": {"b": [2], "e": {"a": [{"exists": false}]}}}),
        &[json!({"d": [{"b": 2, "e": [{"c": 1}]}, {"e": {"a": 1}}]})],
        &[json!({"d": [{"b": 2, "e": [{"c": 1}, {"a": 1}]}]})],
    );
}

#[test]
fn alternatives() {
    let pattern = json!({"s": ["x"], "$or": [{"a": [1]}, {"b": [2], "c": [3]}]});
    check(
        pattern,
        &[json!({"s": "x", "a": 1}), json!({"s": "x", "b": 2, "c": 3})],
        &[json!({"s": "x", "b": 2}), json!({"a": 1}), json!({"s": "x", "a": 2})],
    );
    check(
        json!({"$or": [{"a": [1]}, {"b": [2], "$or": [{"c": [3]}, {"d": [{"exists": false}]}]}]}),
        &[json!({"a": 1, "d": 0}), json!({"b": 2}), json!({"b": 2, "c": 3, "d": 0})],
        &[json!({"b": 2, "d": 0}), json!({"c": 3})],
    );
    check(
        json!({"$or": [{"a": [1]}, {"b": [2]}], "d": {"$or": [{"a": [1]}, {"b": [2]}]}}),
        &[json!({"a": 1, "d": {"b": 2}}), json!({"b": 2, "d": {"a": 1}})],
        &[json!({"a": 1, "b": 2}), json!({"d": {"a": 1}})],
    );
    check(
        json!({"$or": [{"a": [{"exists": false}]}, {"b": [2]}]}),
        &[json!({}), json!({"a": 1, "b": 2})],
        &[json!({"a": 1})],
    );
}

#[test]
fn alternatives_hold_in_the_element_of_the_fields_beside_them() {
    check(
        json!({"d": {"a": [1]}, "$or": [{"d": {"b": [2]}}, {"c": [3]}]}),
        &[json!({"d": [{"a": 1, "b": 2}]}), json!({"d": [{"a": 1}, {"b": 2}], "c": 3})],
        &[json!({"d": [{"a": 1}, {"b": 2}]}), json!({"d": {"b": 2}, "c": 3})],
    );
    check(
        json!({"d": {"$or": [{"a": [1]}, {"b": [2]}], "e": {"x": [1]}},
            "$or": [{"d": {"c": [3], "e": {"y": [1]}}}, {"f": [4]}]}),
        &[
            json!({"d": [{"a": 1, "c": 3, "e": [{"x": 1, "y": 1}]}]}),
            json!({"d": [{"b": 2, "e": {"x": 1}}], "f": 4}),
        ],
        &[
            json!({"d": [{"a": 1, "c": 3, "e": [{"x": 1}, {"y": 1}]}]}),
            json!({"d": [{"a": 1, "e": {"x": 1}}, {"c": 3}]}),
        ],
    );
}

#[test]
fn a_set_names_the_patterns_that_match() {
    let patterns = [
        json!({"s": ["a"], "x": [1]}),
        json!({"s": ["a"], "x": [2]}),
        json!({"s": [{"prefix": "b"}]}),
        json!({"y": [{"exists": false}]}),
        json!({"s": [{"suffix": "a"}]}),
        json!({"$or": [{"s": ["a"]}, {"x": [{"numeric": ["<", 0]}]}]}),
    ];
    let set: PatternSet = patterns.iter().map(parse).collect();
    assert_eq!(set.len(), 6);
    assert!(!set.is_empty());
    assert_eq!(set.matches(&json!({"s": "a", "x": 1})), [0, 3, 4, 5]);
    assert_eq!(set.matches(&json!({"s": ["a", "bb"], "x": [1, 2], "y": 0})), [0, 1, 2, 4, 5]);
    assert_eq!(set.matches(&json!({"x": -1, "y": 0})), [5]);
    assert_eq!(set.matches(&json!(null)), [] as [usize; 0]);
}
