//! The reading of one test: a value, or an object with an operator.

use std::net::Ipv6Addr;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::{Place, Result, kind};
use crate::pattern::{
    number::{Number, Range},
    text::{Caseless, Wildcard},
    value_test::ValueTest,
};

const EXISTS: &str = "exists";
const IGNORE_CASE: &str = "equals-ignore-case";
const PREFIX: &str = "prefix";
const SUFFIX: &str = "suffix";
const WILDCARD: &str = "wildcard";
const NUMERIC: &str = "numeric";
const CIDR: &str = "cidr";
const ANYTHING_BUT: &str = "anything-but";

/// The names of the operators.
pub(super) const NAMES: &[&str] =
    &[ANYTHING_BUT, CIDR, IGNORE_CASE, EXISTS, NUMERIC, PREFIX, SUFFIX, WILDCARD];

/// Reads a test. `None` is the test of an absent leaf.
pub(super) fn test(place: &Place, json: &Value) -> Result<Option<ValueTest>> {
    let members = match json {
        Value::Object(members) => members,
        Value::Array(_) => {
            return Err(place.error("a list in a list is no test: list its values here"));
        }
        scalar => return value(place, scalar).map(Some),
    };
    let (place, name, operand) = single(place, members, "a test")?;
    let test = match name {
        EXISTS => match operand {
            Value::Bool(false) => return Ok(None),
            Value::Bool(true) => ValueTest::Exists,
            other => {
                let reason = format!("this is {}: write `true` or `false`", kind(other));
                return Err(place.error(reason));
            }
        },
        PREFIX | SUFFIX => affix(&place, name, operand)?,
        IGNORE_CASE | WILDCARD => of_text(&place, name, text(&place, operand)?)?,
        NUMERIC => numeric(&place, operand)?,
        CIDR => ValueTest::Network(network(&place, text(&place, operand)?)?),
        ANYTHING_BUT => ValueTest::AnythingBut(excluded(&place, operand)?.into_iter().collect()),
        unknown => {
            let reason = format!("`{unknown}` is no operator: use one of {}", list(NAMES));
            return Err(place.error(reason));
        }
    };
    Ok(Some(test))
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The one member of an object, with its place.
fn single<'a>(
    place: &Place,
    members: &'a Map<String, Value>,
    of: &str,
) -> Result<(Place, &'a str, &'a Value)> {
    let mut all = members.iter();
    match (all.next(), all.next()) {
        (Some((name, operand)), None) => Ok((place.below(name), name, operand)),
        _ => Err(place.error(format!(
            "{of} has one operator, and this has {}: of several tests in a list, one has to hold",
            members.len()
        ))),
    }
}

fn text<'a>(place: &Place, json: &'a Value) -> Result<&'a str> {
    json.as_str().ok_or_else(|| {
        place.error(format!("this is {}, and the operator takes a string", kind(json)))
    })
}

fn number(place: &Place, json: Option<&Value>) -> Result<Number> {
    let number = match json {
        Some(Value::Number(number)) => Number::new(number),
        _ => None,
    };
    number.ok_or_else(|| place.error("a comparison has a number: write `[\">=\", 5]`"))
}

fn value(place: &Place, scalar: &Value) -> Result<ValueTest> {
    Ok(match scalar {
        Value::Bool(bool) => ValueTest::Bool(*bool),
        Value::Number(_) => ValueTest::Number(number(place, Some(scalar))?),
        Value::String(text) => exact(text),
        _ => ValueTest::Null,
    })
}

/// An IPv6 address has several forms, and matches in any.
fn exact(text: &str) -> ValueTest {
    match text.parse::<Ipv6Addr>() {
        Ok(address) => ValueTest::Network(IpNet::from(std::net::IpAddr::V6(address))),
        Err(_) => ValueTest::Text(text.into()),
    }
}

fn network(place: &Place, text: &str) -> Result<IpNet> {
    text.parse().map_err(|_| {
        place.error(format!(
            "{text:?} is no network: write an address and the bits of its prefix, as in \
             `10.0.0.0/24` or `2001:db8::/32`"
        ))
    })
}

/// A prefix or a suffix, with regard to case or without.
fn affix(place: &Place, name: &str, operand: &Value) -> Result<ValueTest> {
    let Value::Object(members) = operand else {
        return of_text(place, name, text(place, operand)?);
    };
    let (place, inner, operand) = single(place, members, "an operand")?;
    if inner != IGNORE_CASE {
        let reason = format!("`{name}` takes a string or `{{\"{IGNORE_CASE}\": \"…\"}}`");
        return Err(place.error(reason));
    }
    let caseless = Caseless::new(text(&place, operand)?);
    Ok(match name {
        PREFIX => ValueTest::CaselessPrefix(caseless),
        _ => ValueTest::CaselessSuffix(caseless),
    })
}

/// A test by an operator that takes one text.
fn of_text(place: &Place, name: &str, text: &str) -> Result<ValueTest> {
    Ok(match name {
        PREFIX => ValueTest::Prefix(text.into()),
        SUFFIX => ValueTest::Suffix(text.into()),
        IGNORE_CASE => ValueTest::Caseless(Caseless::new(text)),
        _ => {
            let wildcard = Wildcard::parse(text).map_err(|reason| place.error(reason))?;
            ValueTest::Wildcard(wildcard)
        }
    })
}

fn numeric(place: &Place, operand: &Value) -> Result<ValueTest> {
    let form = "write `[\"=\", 5]`, `[\">\", 0]` or `[\">\", 0, \"<=\", 5]`";
    let terms = operand.as_array().map_or(&[][..], Vec::as_slice);
    if !matches!(terms.len(), 2 | 4) {
        return Err(place.error(format!("`numeric` has one comparison or two: {form}")));
    }
    let mut range = Range::default();
    for (at, pair) in terms.chunks(2).enumerate() {
        let bound = number(&place.below(2 * at + 1), pair.get(1))?;
        let sign = pair[0].as_str().unwrap_or_default();
        let side = match sign {
            "=" if terms.len() == 2 => return Ok(ValueTest::Number(bound)),
            ">" | ">=" => &mut range.low,
            "<" | "<=" => &mut range.high,
            "=" => return Err(place.error(format!("`=` has no second comparison: {form}"))),
            _ => {
                let reason = format!("{} is no comparison: {form}", pair[0]);
                return Err(place.below(2 * at).error(reason));
            }
        };
        if side.replace((bound, sign.ends_with('='))).is_some() {
            return Err(place.error(format!("both comparisons bound the same side: {form}")));
        }
    }
    if range.is_empty() {
        return Err(place.error("no number lies in this range: write the lower bound first"));
    }
    Ok(ValueTest::Range(range))
}

/// The tests of which none may hold: values of one type, or texts of one operator.
fn excluded(place: &Place, operand: &Value) -> Result<Vec<ValueTest>> {
    match operand {
        Value::Object(members) => {
            let (place, name, operand) = single(place, members, "an operand")?;
            if ![PREFIX, SUFFIX, IGNORE_CASE, WILDCARD].contains(&name) {
                let allowed = list(&[PREFIX, SUFFIX, IGNORE_CASE, WILDCARD]);
                let reason = format!("`{ANYTHING_BUT}` takes values or one of {allowed}");
                return Err(place.error(reason));
            }
            each(&place, operand, |place, item| match text(place, item)? {
                "" if matches!(name, PREFIX | SUFFIX) => {
                    Err(place.error("every text has the empty text: write a longer one"))
                }
                text => of_text(place, name, text),
            })
        }
        operand => {
            let tests = each(place, operand, |place, item| match item {
                Value::String(text) => Ok(ValueTest::Text(text.as_str().into())),
                Value::Number(_) => Ok(ValueTest::Number(number(place, Some(item))?)),
                other => Err(place.error(format!(
                    "this is {}, and `{ANYTHING_BUT}` takes strings or numbers",
                    kind(other)
                ))),
            })?;
            let texts = tests.iter().filter(|test| matches!(test, ValueTest::Text(_))).count();
            match texts {
                0 => Ok(tests),
                all if all == tests.len() => Ok(tests),
                _ => Err(place.error(
                    "a list has strings or numbers, and not both: keep those of the field's type",
                )),
            }
        }
    }
}

/// Reads a value or the values of a list.
fn each(
    place: &Place,
    json: &Value,
    read: impl Fn(&Place, &Value) -> Result<ValueTest>,
) -> Result<Vec<ValueTest>> {
    match json {
        Value::Array(items) if items.is_empty() => {
            Err(place.error("an empty list excludes nothing: write `[{\"exists\": true}]`"))
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.map(|(at, item)| read(&place.below(at), item)).collect()
        }
        single => Ok(vec![read(place, single)?]),
    }
}
