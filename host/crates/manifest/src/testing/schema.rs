//! As much of JSON Schema as the schemas here use.

use serde_json::Value;

/// The faults of a value by a schema, each as a sentence with the place.
pub(crate) fn complaints(schema: &Value, value: &Value) -> Vec<String> {
    let mut checker = Checker { root: schema, complaints: Vec::new() };
    checker.check(schema, value, "");
    checker.complaints
}

/// Every key of every table that a schema defines, with the schema of its value.
pub(crate) fn keys(schema: &Value) -> Vec<(String, &Value)> {
    let definitions = schema["$defs"].as_object().into_iter().flatten();
    let tables = definitions.map(|(name, table)| (name.as_str(), table)).chain([("", schema)]);
    let mut keys = Vec::new();
    for (name, table) in tables {
        for (key, value) in table["properties"].as_object().into_iter().flatten() {
            keys.push((format!("{name}.{key}"), value));
        }
    }
    keys
}

struct Checker<'a> {
    root: &'a Value,
    complaints: Vec<String>,
}

/// The keywords that the checker knows; anything else in a schema would be passed over, and so
/// fails the test.
const KNOWN: &[&str] = &[
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "enum",
    "items",
    "maximum",
    "minimum",
    "oneOf",
    "pattern",
    "properties",
    "propertyNames",
    "required",
    "title",
    "type",
];

impl<'a> Checker<'a> {
    fn complain(&mut self, at: &str, what: impl std::fmt::Display) {
        self.complaints.push(format!("{at} {what}").trim().to_owned());
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) -> bool {
        let mut checker = Checker { root: self.root, complaints: Vec::new() };
        checker.check(schema, value, at);
        checker.complaints.is_empty()
    }

    fn check(&mut self, schema: &Value, value: &Value, at: &str) {
        for key in schema.as_object().unwrap().keys() {
            assert!(KNOWN.contains(&key.as_str()), "`{key}` is not checked");
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let root: &'a Value = self.root;
            self.check(root.pointer(&reference[1..]).unwrap(), value, at);
        }
        for choices in ["anyOf", "oneOf"].iter().filter_map(|key| schema[key].as_array()) {
            if !choices.iter().any(|choice| self.fits(choice, value, at)) {
                self.complain(at, "fits nothing");
            }
        }
        let right_type = match schema["type"].as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("boolean") => value.is_boolean(),
            Some("array") => value.is_array(),
            Some("object") => value.is_object(),
            None => true,
            Some(other) => panic!("type {other} is not checked"),
        };
        if !right_type {
            return self.complain(at, format!("is no {}", schema["type"].as_str().unwrap()));
        }
        self.check_scalar(schema, value, at);
        self.check_table(schema, value, at);
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&schema["items"], item, &format!("{at}/{index}"));
        }
    }

    fn check_scalar(&mut self, schema: &Value, value: &Value, at: &str) {
        if let (Some(number), Some(minimum)) = (value.as_i64(), schema["minimum"].as_i64())
            && number < minimum
        {
            self.complain(at, format!("is under {minimum}"));
        }
        if let (Some(number), Some(maximum)) = (value.as_u64(), schema["maximum"].as_u64())
            && number > maximum
        {
            self.complain(at, format!("is over {maximum}"));
        }
        if let (Some(text), Some(pattern)) = (value.as_str(), schema["pattern"].as_str()) {
            self.check_pattern(pattern, text, at);
        }
        if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
            self.complain(at, format!("is none of {words:?}"));
        }
        if schema.get("const").is_some_and(|word| word != value) {
            self.complain(at, format!("is not {}", schema["const"]));
        }
    }

    fn check_pattern(&mut self, pattern: &str, text: &str, at: &str) {
        let fits = match pattern {
            "^/" => text.starts_with('/'),
            super::super::raw::NAME_PATTERN => text.parse::<lacewing_base::name::AppName>().is_ok(),
            other => panic!("pattern {other} is not checked"),
        };
        if !fits {
            self.complain(at, format!("does not match {pattern}"));
        }
    }

    fn check_table(&mut self, schema: &Value, value: &Value, at: &str) {
        let Some(table) = value.as_object() else { return };
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !table.contains_key(key) {
                self.complain(at, format!("lacks {key}"));
            }
        }
        for (key, value) in table {
            let at = format!("{at}/{key}");
            if schema["propertyNames"].is_object() {
                self.check(&schema["propertyNames"], &Value::String(key.clone()), &at);
            }
            match (&schema["properties"][key], &schema["additionalProperties"]) {
                (Value::Null, Value::Bool(false)) => self.complain(&at, "is unknown"),
                (Value::Null, Value::Null) => {}
                (Value::Null, other) => self.check(other, value, &at),
                (known, _) => self.check(known, value, &at),
            }
        }
    }
}
