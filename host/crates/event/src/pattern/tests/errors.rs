//! The errors of patterns, word for word.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::parse;
use crate::pattern::{MAX_PATTERN_BYTES, MAX_PATTERN_DEPTH, MAX_PATTERN_FIELDS, Pattern};

#[track_caller]
fn refuses(pattern: Value, expected: &str) {
    let error = Pattern::parse(&pattern).expect_err(&pattern.to_string());
    assert_eq!(error.to_string(), format!("the pattern{expected}"), "{pattern}");
}

/// A test of the field `x` is refused.
#[track_caller]
fn refuses_test(test: Value, expected: &str) {
    refuses(json!({ "x": [test] }), &format!(" at `/x/0{expected}"));
}

#[test]
fn the_shape() {
    refuses(
        json!("a"),
        ": this is a string, and a pattern is an object: write `{\"source\": [\"shop\"]}`",
    );
    refuses(json!({}), ": an object without fields matches no event: name a field");
    refuses(
        json!({"a": {"b/c~": {}}}),
        " at `/a/b~1c~0`: an object without fields matches no event: name a field",
    );
    refuses(
        json!({"a": "b"}),
        " at `/a`: this is a string, and a field has a list of tests: put it in brackets",
    );
    refuses(
        json!({"a": {"prefix": "b"}}),
        " at `/a/prefix`: `prefix` is an operator, and a test stands in a list: write \
         `[{\"prefix\": …}]`",
    );
    refuses(
        json!({"a": []}),
        " at `/a`: an empty list matches no event: list a value, or write `[{\"exists\": true}]`",
    );
    refuses_test(json!([1]), "`: a list in a list is no test: list its values here");
    let error = "{".parse::<Pattern>().unwrap_err().to_string();
    let expected = "the pattern: this is no JSON (EOF while parsing an object at line 1 column \
                    1): write a JSON object";
    assert_eq!(error, expected);
}

#[test]
fn operators() {
    let several = "of several tests in a list, one has to hold";
    refuses_test(json!({}), &format!("`: a test has one operator, and this has 0: {several}"));
    refuses_test(
        json!({"prefix": "a", "suffix": "b"}),
        &format!("`: a test has one operator, and this has 2: {several}"),
    );
    refuses_test(
        json!({"regex": "a"}),
        "/regex`: `regex` is no operator: use one of `anything-but`, `cidr`, \
         `equals-ignore-case`, `exists`, `numeric`, `prefix`, `suffix`, `wildcard`",
    );
    refuses_test(json!({"exists": "a"}), "/exists`: this is a string: write `true` or `false`");
    for name in ["prefix", "suffix", "equals-ignore-case", "wildcard", "cidr"] {
        refuses_test(
            json!({ name: 5 }),
            &format!("/{name}`: this is a number, and the operator takes a string"),
        );
    }
    refuses_test(
        json!({"prefix": {"wildcard": "a"}}),
        "/prefix/wildcard`: `prefix` takes a string or `{\"equals-ignore-case\": \"…\"}`",
    );
    refuses_test(
        json!({"suffix": {"equals-ignore-case": ["a"]}}),
        "/suffix/equals-ignore-case`: this is a list, and the operator takes a string",
    );
    refuses_test(
        json!({"wildcard": "a**"}),
        "/wildcard`: two stars in a row mean no more than one",
    );
    for text in ["a\\b", "a\\"] {
        refuses_test(
            json!({ "wildcard": text }),
            "/wildcard`: a backslash stands before `*` or another backslash only",
        );
    }
    for text in
        ["10.0.0.1", "10.0.0.0/33", "10.0.0/8", "::/129", "foo/8", "1.2.3.4/-1", "2.1.0.-1/3"]
    {
        refuses_test(
            json!({ "cidr": text }),
            &format!(
                "/cidr`: {text:?} is no network: write an address and the bits of its prefix, as \
                 in `10.0.0.0/24` or `2001:db8::/32`"
            ),
        );
    }
}

#[test]
fn numeric() {
    let form = "write `[\"=\", 5]`, `[\">\", 0]` or `[\">\", 0, \"<=\", 5]`";
    for operand in
        [json!(5), json!([]), json!(["="]), json!([">", 1, "<"]), json!([">", 1, "<", 2, 3])]
    {
        refuses_test(
            json!({ "numeric": operand }),
            &format!("/numeric`: `numeric` has one comparison or two: {form}"),
        );
    }
    refuses_test(
        json!({"numeric": ["==", 1]}),
        &format!("/numeric/0`: \"==\" is no comparison: {form}"),
    );
    refuses_test(
        json!({"numeric": [">", "1"]}),
        "/numeric/1`: a comparison has a number: write `[\">=\", 5]`",
    );
    for terms in [json!([">", 1, "=", 1]), json!(["=", 1, "<", 2])] {
        refuses_test(
            json!({ "numeric": terms }),
            &format!("/numeric`: `=` has no second comparison: {form}"),
        );
    }
    refuses_test(
        json!({"numeric": [">", 1, ">=", 2]}),
        &format!("/numeric`: both comparisons bound the same side: {form}"),
    );
    for terms in [json!([">", 30, "<", 1]), json!([">", 1, "<", 1]), json!([">=", 1, "<", 1])] {
        refuses_test(
            json!({ "numeric": terms }),
            "/numeric`: no number lies in this range: write the lower bound first",
        );
    }
}

#[test]
fn anything_but() {
    let but = |operand: Value| json!({ "anything-but": operand });
    refuses_test(
        but(json!(["a", 1])),
        "/anything-but`: a list has strings or numbers, and not both: keep those of the field's \
         type",
    );
    refuses_test(
        but(json!([null])),
        "/anything-but/0`: this is null, and `anything-but` takes strings or numbers",
    );
    for (operand, place) in [(json!([]), ""), (json!({"prefix": []}), "/prefix")] {
        refuses_test(
            but(operand),
            &format!(
                "/anything-but{place}`: an empty list excludes nothing: write `[{{\"exists\": \
                 true}}]`"
            ),
        );
    }
    refuses_test(
        but(json!({"numeric": ["=", 1]})),
        "/anything-but/numeric`: `anything-but` takes values or one of `prefix`, `suffix`, \
         `equals-ignore-case`, `wildcard`",
    );
    refuses_test(
        but(json!({"suffix": ["a", ""]})),
        "/anything-but/suffix/1`: every text has the empty text: write a longer one",
    );
    refuses_test(
        but(json!({"wildcard": 1})),
        "/anything-but/wildcard`: this is a number, and the operator takes a string",
    );
}

#[test]
fn alternatives() {
    let form = "write `[{\"a\": [1]}, {\"b\": [2]}]`";
    refuses(
        json!({"$or": {"a": [1]}}),
        &format!(" at `/$or`: `$or` has a list of objects: {form}"),
    );
    refuses(
        json!({"$or": [{"a": [1]}]}),
        &format!(" at `/$or`: `$or` has two alternatives and more: {form}"),
    );
    refuses(
        json!({"$or": [{"a": [1]}, "b"]}),
        &format!(" at `/$or/1`: an alternative is an object of fields: {form}"),
    );
    refuses(
        json!({"a": {"$or": [{"numeric": ["=", 1]}, {"prefix": "a"}]}}),
        " at `/a/$or/0/numeric`: `numeric` is an operator, and an alternative names a field: \
         write `{\"field\": [{\"numeric\": …}]}`",
    );
    let twice = "has tests in `$or` and outside of it: write all of them within the alternatives";
    refuses(json!({"a": [1], "$or": [{"a": [2]}, {"b": [3]}]}), &format!(": `a` {twice}"));
    refuses(
        json!({"d": {"e": {"a": [1]}}, "$or": [{"b": [3]}, {"d": {"e": {"a": [2]}}}]}),
        &format!(": `d.e.a` {twice}"),
    );
}

#[test]
fn a_large_pattern() {
    let pattern = |bytes: usize| json!({ "x": ["a".repeat(bytes - r#"{"x":[""]}"#.len())] });
    parse(&pattern(MAX_PATTERN_BYTES));
    refuses(
        pattern(MAX_PATTERN_BYTES + 1),
        ": it has 4097 bytes, and the most is 4096: write several patterns",
    );
}

#[test]
fn a_deep_pattern() {
    let pattern = |depth| (0..depth).fold(json!([1]), |below, _| json!({ "x": below }));
    parse(&pattern(MAX_PATTERN_DEPTH));
    let error = Pattern::parse(&pattern(MAX_PATTERN_DEPTH + 1)).unwrap_err();
    assert_eq!(error.pointer(), "/x".repeat(MAX_PATTERN_DEPTH + 1));
    assert_eq!(
        error.reason(),
        "it is the name 33 of a path, and the most are 32: test a field above"
    );
}

#[test]
fn alternatives_that_multiply() {
    let choice = |prefix: &str| -> Value {
        (0..30).map(|at| json!({"d": {format!("{prefix}{at}"): [1]}})).collect()
    };
    // Apart, choices cost the sum of their alternatives.
    parse(&json!({"$or": choice("a"), "e": {"$or": choice("b")}}));
    // A field moves into each alternative.
    let fields: BTreeMap<String, Value> =
        (0..40).map(|at| (format!("f{at}"), json!([1]))).collect();
    refuses(
        json!({"$or": choice("a"), "d": fields}),
        &format!(
            ": `$or` and the fields beside it come to more than {MAX_PATTERN_FIELDS} fields: write \
             several patterns"
        ),
    );
}
