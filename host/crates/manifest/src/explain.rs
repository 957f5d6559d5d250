//! Remedies for values that could not be decoded.

use std::sync::Arc;

use lacewing_base::LimitKey;
use toml::de::DeValue;

use super::decode::{DecodeError, DecodeErrorKind, Step};
use super::{Diagnostic, ManifestText};

/// Keys that people try, and what they are here.
const SYNONYMS: &[(&str, &str)] = &[
    ("name", "app"),
    ("function", "functions"),
    ("environment", "env"),
    ("variables", "env"),
    ("path", "crate"),
    ("package", "crate"),
    ("source", "component"),
    ("wasm", "component"),
    ("module", "component"),
    ("route", "routes"),
    ("method", "methods"),
    ("timeout", "deadline_ms"),
    ("timeout_ms", "deadline_ms"),
    ("timeout_s", "deadline_ms"),
    ("cmd", "command"),
    ("bind", "listen"),
    ("address", "listen"),
    ("domains", "hosts"),
];

/// The finding for an error, with the value that it is about.
pub(crate) fn explain(
    text: &Arc<ManifestText>,
    error: &DecodeError,
    value: &toml::Spanned<DeValue<'_>>,
) -> Diagnostic {
    let span = error.span.clone().unwrap_or_else(|| value.span());
    let finding = match &error.kind {
        DecodeErrorKind::UnknownKey { known } => unknown_key(&error.path, known),
        DecodeErrorKind::UnknownWord { known } => {
            let expected = words(known, "or");
            let found = found(value.get_ref());
            let finding = Diagnostic::error(format!(
                "{} takes {expected}, not {found}",
                subject(&error.path)
            ));
            match nearest(value.get_ref().as_str().unwrap_or_default(), known) {
                Some(near) => finding.help(format!("did you mean `{near}`?")),
                None => finding,
            }
        }
        DecodeErrorKind::WrongType { expected } => {
            wrong_type(&error.path, expected, value.get_ref())
        }
        DecodeErrorKind::Missing { key } => {
            let table = match &error.path[..] {
                [.., Step::Key(array), Step::Index(_)] => format!("an item of `{array}`"),
                path => subject(path),
            };
            Diagnostic::error(format!("{table} lacks `{key}`"))
        }
        DecodeErrorKind::Other(message) => {
            Diagnostic::error(format!("{}: {message}", subject(&error.path)))
        }
    };
    finding.at(&text.place(span))
}

fn unknown_key(path: &[Step], known: &[&str]) -> Diagnostic {
    let Some((Step::Key(key), table)) = path.split_last() else {
        return Diagnostic::error("unknown key");
    };
    let place = match table {
        [] => String::new(),
        [.., Step::Key(key), Step::Index(_)] => format!(" in an item of `{key}`"),
        table => format!(" in `[{}]`", dotted(table)),
    };
    let finding = Diagnostic::error(format!("unknown key `{key}`{place}"));
    let is_function =
        matches!(table, [Step::Key(functions), Step::Key(_)] if functions == "functions");
    let limit = LimitKey::ALL.iter().map(|key| key.as_str()).find(|limit| limit == key);
    match limit {
        Some(limit) if is_function => {
            finding.help(format!("`{limit}` stands in `[{}.limits]`", dotted(table)))
        }
        _ => suggest(finding, key, known),
    }
}

/// Names the nearest of the known words, then all of them.
fn suggest(finding: Diagnostic, word: &str, known: &[&str]) -> Diagnostic {
    match nearest(word, known) {
        Some(near) if known.len() <= 2 => finding.help(format!("did you mean `{near}`?")),
        Some(near) => finding
            .help(format!("did you mean `{near}`? What is known here: {}", words(known, "and"))),
        None if known.is_empty() => finding,
        None => finding.help(format!("what is known here: {}", words(known, "and"))),
    }
}

/// The longest word, in bytes, that is compared with known ones. None of them is half as long.
const MAX_WORD_BYTES: usize = 64;

/// The known word that is most probably meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > MAX_WORD_BYTES {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    let synonym = SYNONYMS.iter().find(|(tried, _)| *tried == word).map(|(_, key)| *key);
    if let Some(synonym) = known.iter().find(|key| Some(**key) == synonym) {
        return Some(synonym);
    }
    // `memory` for `memory_mib`.
    let without_unit =
        |key: &str| key.strip_prefix(word.as_str()).is_some_and(|rest| rest.starts_with('_'));
    if let Some(longer) = known.iter().find(|key| without_unit(key)) {
        return Some(longer);
    }
    let tolerated = (word.chars().count() / 3).max(1);
    let distance = |key: &str| strsim::osa_distance(&word, &key.to_ascii_lowercase());
    let (distance, key) = known.iter().map(|key| (distance(key), *key)).min()?;
    (distance <= tolerated).then_some(key)
}

fn wrong_type(path: &[Step], expected: &str, value: &DeValue<'_>) -> Diagnostic {
    let key = match path.last() {
        Some(Step::Key(key)) => key.as_str(),
        _ => "",
    };
    let unit = KeyUnit::of_key(key);
    let expected = match (expected, unit) {
        ("a sequence", _) => "an array".to_owned(),
        ("a boolean", _) => "`true` or `false`".to_owned(),
        ("a whole number", Some(unit)) => format!("a whole number {}", unit.phrase()),
        (expected, _) => expected.to_owned(),
    };
    let finding =
        Diagnostic::error(format!("{} takes {expected}, not {}", subject(path), found(value)));
    let assignment = |right: String| {
        if key.is_empty() { format!("write `{right}`") } else { format!("write `{key} = {right}`") }
    };
    match (expected.as_str(), value) {
        (expected, value) if expected.starts_with("a whole number") => {
            match whole_number(value, unit) {
                Some(number) => finding.help(assignment(number.to_string())),
                None => finding.help("write digits only, without quotes, fraction or unit"),
            }
        }
        ("an array", DeValue::String(text)) => finding.help(assignment(format!("[{text:?}]"))),
        ("an array", _) => finding.help("put it in brackets"),
        ("a string", DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_))
            if is_env(path) =>
        {
            finding.help(assignment(format!("{:?}", found(value))))
        }
        ("`true` or `false`", DeValue::String(text)) if matches!(&**text, "true" | "false") => {
            finding.help(assignment(text.to_string()))
        }
        ("a table", DeValue::Array(_)) if path.len() == 1 => {
            finding.help(format!("write `[{key}.NAME]`, with the name of your choice"))
        }
        _ => finding,
    }
}

/// The subject of a finding: `` `cpu_ms` ``, or an item of an array.
fn subject(path: &[Step]) -> String {
    match path {
        [] => "the file".to_owned(),
        [.., Step::Key(key)] => format!("`{key}`"),
        [.., Step::Key(key), Step::Index(_)] => format!("each item of `{key}`"),
        [.., Step::Index(_)] => "each item".to_owned(),
    }
}

/// Whether it is the value of an environment variable, where any text will do.
fn is_env(path: &[Step]) -> bool {
    matches!(path, [.., Step::Key(table), Step::Key(_)] if table == "env")
}

fn dotted(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        if let Step::Key(key) = step {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(key);
        }
    }
    text
}

fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().nth(40).is_some() => "a long string".to_owned(),
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.as_str().to_owned(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(date) => format!("the date {date}"),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Words in a sentence: `` `a`, `b` and `c` ``.
fn words(words: &[&str], conjunction: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {conjunction} {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// The unit that a key's name ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyUnit {
    Kib,
    Mib,
    Milliseconds,
    Seconds,
    PerSecond,
}

impl KeyUnit {
    fn of_key(key: &str) -> Option<KeyUnit> {
        let suffixes = [
            ("_kib", KeyUnit::Kib),
            ("_mib", KeyUnit::Mib),
            ("_ms", KeyUnit::Milliseconds),
            ("_per_s", KeyUnit::PerSecond),
            ("_s", KeyUnit::Seconds),
        ];
        suffixes.into_iter().find(|(suffix, _)| key.ends_with(suffix)).map(|(_, unit)| unit)
    }

    fn phrase(self) -> &'static str {
        match self {
            KeyUnit::Kib => "of KiB",
            KeyUnit::Mib => "of MiB",
            KeyUnit::Milliseconds => "of milliseconds",
            KeyUnit::Seconds => "of seconds",
            KeyUnit::PerSecond => "per second",
        }
    }

    /// How many bytes, milliseconds or times a second one of it is.
    fn size(self) -> f64 {
        match self {
            KeyUnit::Kib => 1024.0,
            KeyUnit::Mib => 1024.0 * 1024.0,
            KeyUnit::Milliseconds | KeyUnit::PerSecond => 1.0,
            KeyUnit::Seconds => 1000.0,
        }
    }

    /// How many bytes, milliseconds or times a second one of a written unit is, if it measures the
    /// same thing.
    fn written(self, name: &str) -> Option<f64> {
        let bytes = matches!(self, KeyUnit::Kib | KeyUnit::Mib);
        let time = matches!(self, KeyUnit::Milliseconds | KeyUnit::Seconds);
        // People who write `64MB` of memory mean MiB.
        match name.to_ascii_lowercase().as_str() {
            "" => Some(self.size()),
            "b" | "byte" | "bytes" if bytes => Some(1.0),
            "k" | "kb" | "kib" | "ki" if bytes => Some(1024.0),
            "m" | "mb" | "mib" | "mi" if bytes => Some(1024.0 * 1024.0),
            "g" | "gb" | "gib" | "gi" if bytes => Some(1024.0 * 1024.0 * 1024.0),
            "ms" | "millis" | "milliseconds" if time => Some(1.0),
            "s" | "sec" | "second" | "seconds" if time => Some(1000.0),
            "m" | "min" | "minute" | "minutes" if time => Some(60_000.0),
            "h" | "hour" | "hours" if time => Some(3_600_000.0),
            "/s" | "per second" | "rps" if self == KeyUnit::PerSecond => Some(1.0),
            _ => None,
        }
    }
}

/// The whole number, in the key's unit, that was probably meant.
fn whole_number(value: &DeValue<'_>, unit: Option<KeyUnit>) -> Option<u64> {
    let text = match value {
        DeValue::String(text) => text.trim(),
        DeValue::Float(float) => float.as_str(),
        _ => return None,
    };
    let digits_end =
        text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (digits, name) = text.split_at(digits_end);
    let number: f64 = digits.replace('_', "").parse().ok()?;
    let number = match unit {
        Some(unit) => number * unit.written(name.trim())? / unit.size(),
        None if name.is_empty() => number,
        None => return None,
    };
    // Written as text, a number is whole exactly if it has no fraction.
    format!("{number}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_that_was_meant() {
        let meant = |text: &str, key: &str| {
            whole_number(&DeValue::String(text.into()), KeyUnit::of_key(key))
        };
        assert_eq!(meant("64MB", "memory_mib"), Some(64));
        assert_eq!(meant("64 MiB", "memory_mib"), Some(64));
        assert_eq!(meant("1.5GiB", "memory_mib"), Some(1536));
        assert_eq!(meant("2048k", "memory_mib"), Some(2));
        assert_eq!(meant("500k", "memory_mib"), None);
        assert_eq!(meant("64", "memory_mib"), Some(64));
        assert_eq!(meant("64s", "memory_mib"), None);
        assert_eq!(meant("2s", "deadline_ms"), Some(2000));
        assert_eq!(meant("1m", "deadline_ms"), Some(60_000));
        assert_eq!(meant("1500ms", "grace_period_s"), None);
        assert_eq!(meant("10/s", "rate_per_s"), Some(10));
        assert_eq!(meant("1_000", "fuel"), Some(1000));
        assert_eq!(meant("many", "fuel"), None);
        assert_eq!(meant("1e400", "fuel"), None);
        assert_eq!(meant("9".repeat(400).as_str(), "fuel"), None);
    }

    #[test]
    fn the_word_that_was_meant() {
        let known = ["app", "functions", "memory_mib", "cpu_ms", "env"];
        assert_eq!(nearest("memory_mb", &known), Some("memory_mib"));
        assert_eq!(nearest("memory", &known), Some("memory_mib"));
        assert_eq!(nearest("Memory-MiB", &known), Some("memory_mib"));
        assert_eq!(nearest("function", &known), Some("functions"));
        assert_eq!(nearest("environment", &known), Some("env"));
        assert_eq!(nearest("name", &known), Some("app"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
