//! SQL functions of linear time, in the place of SQLite's own.
//!
//! Nothing interrupts a function while it runs. On texts of a mebibyte, some of SQLite's take
//! minutes: their time is the product of the lengths of their arguments.

use std::{borrow::Cow, cell::OnceCell, collections::HashSet};

use memchr::memmem;
use rusqlite::{
    Connection, Error, Result,
    functions::{Context, FunctionFlags},
    types::{ToSql, ToSqlOutput, ValueRef},
};

use super::{harden::VALUE_BYTES, memory};

/// Gives a connection the functions.
pub(super) fn add(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("instr", 2, flags, |context| instr(context))?;
    connection.create_scalar_function("replace", 3, flags, |context| replace(context))?;
    for (name, sides) in [("trim", Sides::BOTH), ("ltrim", Sides::LEFT), ("rtrim", Sides::RIGHT)] {
        connection.create_scalar_function(name, 2, flags, move |context| trim(context, sides))?;
    }
    connection.create_scalar_function("unhex", 2, flags, |_| -> Result<Option<i64>> {
        Err(failed("unhex() takes one argument here: remove other characters with replace()"))
    })
}

/// A text of any bytes, as the result of a function.
struct Text(Vec<u8>);

impl ToSql for Text {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

fn failed(text: &str) -> Error {
    Error::UserFunctionError(text.into())
}

/// The text of an argument as SQLite casts it; `None` for NULL.
fn text<'a>(context: &'a Context<'_>, index: usize) -> Result<Option<Cow<'a, [u8]>>> {
    Ok(match context.get_raw(index) {
        ValueRef::Null => None,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.into()),
        ValueRef::Integer(number) => Some(number.to_string().into_bytes().into()),
        ValueRef::Real(number) => Some(text_of_real(number)?.into_bytes().into()),
    })
}

/// A floating-point number as SQLite writes it.
fn text_of_real(number: f64) -> Result<String> {
    thread_local! {
        static CALCULATOR: OnceCell<Connection> = const { OnceCell::new() };
    }
    // It outlives the connection that asks.
    memory::unbounded(|| {
        CALCULATOR.with(|calculator| {
            if calculator.get().is_none() {
                let _ = calculator.set(Connection::open_in_memory()?);
            }
            let calculator = calculator.get().ok_or_else(|| failed("no calculator"))?;
            let mut cast = calculator.prepare_cached("SELECT CAST(?1 AS TEXT)")?;
            cast.query_row([number], |row| row.get(0))
        })
    })
}

/// The place of a part, from 1; 0 if it is not there. Bytes are counted in two blobs, and
/// characters in all else.
fn instr(context: &Context<'_>) -> Result<Option<i64>> {
    let blobs = [0, 1].map(|index| matches!(context.get_raw(index), ValueRef::Blob(_)));
    let (Some(whole), Some(part)) = (text(context, 0)?, text(context, 1)?) else {
        return Ok(None);
    };
    let Some(at) = memmem::find(&whole, &part) else { return Ok(Some(0)) };
    let before = match blobs {
        [true, true] => at,
        _ => whole[..at].iter().filter(|byte| !is_continuation(**byte)).count(),
    };
    Ok(i64::try_from(before + 1).ok())
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// A text with another one in each place of a part.
fn replace(context: &Context<'_>) -> Result<Option<Text>> {
    let (Some(whole), Some(part)) = (text(context, 0)?, text(context, 1)?) else {
        return Ok(None);
    };
    if part.is_empty() {
        return Ok(Some(Text(whole.into_owned())));
    }
    let Some(other) = text(context, 2)? else { return Ok(None) };
    let (mut replaced, mut rest) = (Vec::with_capacity(whole.len()), 0);
    for at in memmem::find_iter(&whole, &part) {
        replaced.extend_from_slice(&whole[rest..at]);
        replaced.extend_from_slice(&other);
        rest = at + part.len();
        if i32::try_from(replaced.len()).is_ok_and(|length| length > VALUE_BYTES) {
            return Err(failed("string or blob too big"));
        }
    }
    replaced.extend_from_slice(&whole[rest..]);
    Ok(Some(Text(replaced)))
}

/// The sides of a text that are trimmed.
#[derive(Clone, Copy)]
struct Sides {
    left: bool,
    right: bool,
}

impl Sides {
    const BOTH: Sides = Sides { left: true, right: true };
    const LEFT: Sides = Sides { left: true, right: false };
    const RIGHT: Sides = Sides { left: false, right: true };
}

/// A text without the given characters at its sides.
fn trim(context: &Context<'_>, sides: Sides) -> Result<Option<Text>> {
    let (Some(whole), Some(characters)) = (text(context, 0)?, text(context, 1)?) else {
        return Ok(None);
    };
    let mut set: HashSet<&[u8]> = HashSet::new();
    let mut rest = &characters[..];
    while !rest.is_empty() {
        let (first, others) = rest.split_at(first_length(rest));
        set.insert(first);
        rest = others;
    }
    let (mut from, mut to) = (0, whole.len());
    while sides.left && from < to {
        let length = first_length(&whole[from..to]);
        if !set.contains(&whole[from..from + length]) {
            break;
        }
        from += length;
    }
    while sides.right && from < to {
        let length = last_length(&whole[from..to]);
        if !set.contains(&whole[to - length..to]) {
            break;
        }
        to -= length;
    }
    Ok(Some(Text(whole[from..to].to_vec())))
}

/// The bytes of the first character of a text that is not empty.
fn first_length(text: &[u8]) -> usize {
    1 + text[1..].iter().take_while(|byte| is_continuation(**byte)).count()
}

/// The bytes of the last character of a text that is not empty.
fn last_length(text: &[u8]) -> usize {
    let continuations = text.iter().rev().take_while(|byte| is_continuation(**byte)).count();
    (continuations + 1).min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The functions give what SQLite's own give.
    #[test]
    fn they_give_what_the_own_ones_of_sqlite_give() {
        // The other tests of this process need it.
        assert!(memory::install());
        let (own, ours) =
            (Connection::open_in_memory().unwrap(), Connection::open_in_memory().unwrap());
        add(&ours).unwrap();
        let values = [
            "NULL",
            "''",
            "'a'",
            "'abcabc'",
            "'bc'",
            "'ü'",
            "'süß'",
            "'  a b  '",
            "' '",
            "x'6162'",
            "x'62'",
            "12",
            "2",
            "1.5",
            "1e300",
            "-0.0",
            "'.'",
            "'çüç'",
            "'çb'",
            "0.1",
        ];
        let mut compared = 0;
        for one in values {
            for other in values {
                for third in ["'xy'", "NULL", "7"] {
                    let sql = format!(
                        "SELECT instr({one}, {other}), hex(replace({one}, {other}, {third})),
                         typeof(replace({one}, {other}, {third})), hex(trim({one}, {other})),
                         hex(ltrim({one}, {other})), hex(rtrim({one}, {other}))"
                    );
                    let ask = |connection: &Connection| -> Vec<rusqlite::types::Value> {
                        let columns =
                            |row: &rusqlite::Row<'_>| (0..6).map(|i| row.get(i)).collect();
                        connection.query_row(&sql, [], columns).unwrap()
                    };
                    assert_eq!(ask(&own), ask(&ours), "{sql}");
                    compared += 1;
                }
            }
        }
        assert_eq!(compared, 20 * 20 * 3);
    }
}
