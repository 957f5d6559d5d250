//! The reading of a pattern from JSON: fields, lists and `$or`.

mod operator;

use serde_json::{Map, Value};

use super::{
    MAX_PATTERN_BYTES, MAX_PATTERN_DEPTH, MAX_PATTERN_FIELDS, PatternError,
    tree::{Clash, Field, Leaf, Object, Room, Test},
    value_test::ValueTest,
};

const OR: &str = "$or";

type Result<T, E = PatternError> = std::result::Result<T, E>;

pub(super) fn pattern(json: &Value) -> Result<Object> {
    let Value::Object(members) = json else {
        let reason = format!(
            "this is {}, and a pattern is an object: write `{{\"source\": [\"shop\"]}}`",
            kind(json)
        );
        return Err(PatternError::at("", reason));
    };
    let bytes = serde_json::to_vec(json).map_or(usize::MAX, |text| text.len());
    if bytes > MAX_PATTERN_BYTES {
        let reason = format!(
            "it has {bytes} bytes, and the most is {MAX_PATTERN_BYTES}: write several patterns"
        );
        return Err(PatternError::at("", reason));
    }
    Parser { room: Room::default() }.object(&Place::default(), members)
}

/// The place of a value in the pattern.
#[derive(Default)]
struct Place {
    pointer: String,
    /// The number of names, without those of operators.
    depth: usize,
}

impl Place {
    /// The place of a member or an element.
    fn below(&self, token: impl ToString) -> Place {
        let token = token.to_string().replace('~', "~0").replace('/', "~1");
        Place { pointer: format!("{}/{token}", self.pointer), depth: self.depth }
    }

    fn error(&self, reason: impl Into<String>) -> PatternError {
        PatternError::at(&*self.pointer, reason)
    }
}

/// The kind of a value, with its article.
fn kind(json: &Value) -> &'static str {
    match json {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

struct Parser {
    room: Room,
}

impl Parser {
    fn object(&mut self, place: &Place, members: &Map<String, Value>) -> Result<Object> {
        if members.is_empty() {
            return Err(place.error("an object without fields matches no event: name a field"));
        }
        let (mut fields, mut choices) = (Vec::new(), Vec::new());
        for (name, json) in members {
            let place = place.below(name);
            match name.as_str() {
                OR => choices.push(self.choice(&place, json)?),
                name => fields.push(self.field(place, name, json)?),
            }
        }
        Object::new(fields, choices, &mut self.room).map_err(|clash| clash.at(place))
    }

    fn field(&mut self, mut place: Place, name: &str, json: &Value) -> Result<Field> {
        place.depth += 1;
        if place.depth > MAX_PATTERN_DEPTH {
            return Err(place.error(format!(
                "it is the name {} of a path, and the most are {MAX_PATTERN_DEPTH}: test a field \
                 above",
                place.depth
            )));
        }
        let test = match json {
            Value::Array(items) => Test::Leaf(leaf(&place, items)?),
            Value::Object(members) => Test::Within(self.object(&place, members)?),
            _ if operator::NAMES.contains(&name) => {
                return Err(place.error(format!(
                    "`{name}` is an operator, and a test stands in a list: write \
                     `[{{\"{name}\": …}}]`"
                )));
            }
            other => {
                return Err(place.error(format!(
                    "this is {}, and a field has a list of tests: put it in brackets",
                    kind(other)
                )));
            }
        };
        Ok(Field { name: name.into(), test })
    }

    fn choice(&mut self, place: &Place, json: &Value) -> Result<Vec<Object>> {
        let form = "write `[{\"a\": [1]}, {\"b\": [2]}]`";
        let Value::Array(items) = json else {
            return Err(place.error(format!("`$or` has a list of objects: {form}")));
        };
        if items.len() < 2 {
            return Err(place.error(format!("`$or` has two alternatives and more: {form}")));
        }
        let alternatives = items.iter().enumerate().map(|(at, item)| {
            let place = place.below(at);
            let Value::Object(members) = item else {
                return Err(place.error(format!("an alternative is an object of fields: {form}")));
            };
            match members.keys().find(|name| operator::NAMES.contains(&name.as_str())) {
                Some(name) => Err(place.below(name).error(format!(
                    "`{name}` is an operator, and an alternative names a field: write \
                     `{{\"field\": [{{\"{name}\": …}}]}}`"
                ))),
                None => self.object(&place, members),
            }
        });
        alternatives.collect()
    }
}

fn leaf(place: &Place, items: &[Value]) -> Result<Leaf> {
    if items.is_empty() {
        return Err(place.error(
            "an empty list matches no event: list a value, or write `[{\"exists\": true}]`",
        ));
    }
    let items = items.iter().enumerate();
    let tests = items.map(|(at, item)| operator::test(&place.below(at), item));
    let tests: Vec<Option<ValueTest>> = tests.collect::<Result<_>>()?;
    let absent = tests.iter().any(Option::is_none);
    Ok(Leaf { values: tests.into_iter().flatten().collect(), absent })
}

impl Clash {
    fn at(self, place: &Place) -> PatternError {
        match self {
            Clash::TooMany => place.error(format!(
                "`$or` and the fields beside it come to more than {MAX_PATTERN_FIELDS} fields: \
                 write several patterns"
            )),
            Clash::Twice(mut path) => {
                path.reverse();
                place.error(format!(
                    "`{}` has tests in `$or` and outside of it: write all of them within the \
                     alternatives",
                    path.join(".")
                ))
            }
        }
    }
}
