//! The escaping of text of unknown origin in a log line, so that the text can neither forge a
//! second line nor drive a terminal.

use std::{fmt::Write as _, io, time::SystemTime};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use tracing::Level;

/// `text`, or as much of its beginning as fits with a mark that there was more: at most
/// `max_bytes`, which are more than the mark's three.
pub fn shortened(mut text: String, max_bytes: usize) -> String {
    const MORE: &str = "\u{2026}";
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes.saturating_sub(MORE.len())));
        text.push_str(MORE);
    }
    text
}

/// Whether a character may act on a terminal or on the order of what is displayed: C0 (but not the
/// tab), DEL, C1, line and paragraph separators, and the bidirectional embeddings, overrides and
/// isolates.
fn acts(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends `text` with acting characters as `\n`, `\r` or `\u{1b}`. Backslashes stay as they are:
/// the form is for reading, and is not reversible.
pub(super) fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(acts) {
        out.push_str(&rest[..at]);
        let mut chars = rest[at..].chars();
        if let Some(c) = chars.next() {
            out.extend(c.escape_default());
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// Text of several lines, with all acting characters escaped but for those that end a line: what a
/// terminal may be given.
pub fn displayed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        push_escaped(&mut out, line);
    }
    out
}

/// Appends `value` as JSON. Acting characters are escaped too, so that a JSON log is safe to
/// display; a parser gets the original text.
pub(super) fn push_json(out: &mut String, value: &impl Serialize) {
    let mut serializer = serde_json::Serializer::with_formatter(Utf8(out), Displayable);
    // A log line is a struct of texts and numbers, and a `String` takes all of them.
    let _ = value.serialize(&mut serializer);
}

/// JSON in one line whose acting characters are escaped.
struct Displayable;

impl Formatter for Displayable {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(acts) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut chars = rest[at..].chars();
            if let Some(c) = chars.next() {
                // Every acting character is in the basic plane: four digits suffice.
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// A text that takes whole characters in each write, as a JSON serializer writes.
struct Utf8<'a>(&'a mut String);

impl io::Write for Utf8<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.push_str(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Serialises a time as [`push_time`] writes it.
pub(super) fn serialize_time<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    let mut text = String::with_capacity(32);
    push_time(&mut text, *time);
    to.serialize_str(&text)
}

/// Serialises a level by its name in capitals.
pub(super) fn serialize_level<S: Serializer>(level: &Level, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(level.as_str())
}

/// Appends a time as RFC 3339 in UTC with microseconds. A time that no calendar has is shown as
/// 1970.
/// A time as RFC 3339 has it, in UTC and with microseconds.
pub fn rfc3339(time: SystemTime) -> String {
    let mut text = String::new();
    push_time(&mut text, time);
    text
}

pub(super) fn push_time(out: &mut String, time: SystemTime) {
    let time = Timestamp::try_from(time).unwrap_or_default();
    let _ = write!(out, "{time:.6}");
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = String::new();
        push_escaped(&mut out, text);
        out
    }

    fn json(text: &str) -> String {
        let mut out = String::new();
        push_json(&mut out, &text);
        out
    }

    #[test]
    fn control_characters_cannot_act() {
        assert_eq!(escaped("a\tb é \\"), "a\tb é \\");
        assert_eq!(escaped("\x1b[31mred\r\n"), r"\u{1b}[31mred\r\n");
        assert_eq!(displayed("a\n  at \x1b[31mb\r\n"), "a\n  at \\u{1b}[31mb\\r\n");
        assert_eq!(escaped("\u{7f}\u{9b}\u{202e}\u{2028}"), r"\u{7f}\u{9b}\u{202e}\u{2028}");
        assert_eq!(
            json("a\"\\\t\n\x1b\u{9b}\u{2066}é"),
            "\"a\\\"\\\\\\t\\n\\u001b\\u009b\\u2066é\""
        );
    }

    #[test]
    fn times_are_rfc_3339() {
        for (seconds, micros, text) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, 999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000001Z"),
            (1_709_251_199, 0, "2024-02-29T23:59:59.000000Z"),
            (1_709_251_200, 0, "2024-03-01T00:00:00.000000Z"),
            (1_795_218_000, 500_000, "2026-11-20T23:40:00.500000Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
        ] {
            let mut out = String::new();
            let since = Duration::from_secs(seconds) + Duration::from_micros(micros);
            push_time(&mut out, UNIX_EPOCH + since);
            assert_eq!(out, text);
        }
    }

    proptest! {
        #[test]
        fn json_strings_parse_back(text in any::<String>()) {
            let encoded = json(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&encoded).unwrap(), text);
            prop_assert!(!encoded.contains(acts));
        }

        #[test]
        fn escaped_text_never_acts(text in any::<String>()) {
            prop_assert!(!escaped(&text).contains(acts));
        }
    }
}
