//! The canonical form of a path, and what a parameter stands for. The rules are in [`super`].

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Why a request's path is refused. Displays as a sentence for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// The target is neither a path nor a URL with one.
    #[error("the request target is not a path: it has to begin with a slash")]
    NotAbsolute,
    /// A `%` that two hexadecimal digits do not follow.
    #[error(
        "the path has a percent sign at byte {at} that is not followed by two hexadecimal digits; a percent sign itself is written %25"
    )]
    Encoding {
        /// Where the percent sign is, in bytes from the path's start.
        at: usize,
    },
    /// A segment `.` or `..`, encoded or not. Two readers of such a path can take it for two
    /// places, so it is refused and not resolved.
    #[error("the path has a segment \".\" or \"..\"; send the path that they lead to instead")]
    DotSegment,
    /// The value of a parameter is not UTF-8 once decoded.
    #[error("the path's parameter {name:?} is not UTF-8 once its percent-encoding is decoded")]
    NotUtf8 {
        /// The parameter's name in the pattern.
        name: String,
    },
}

/// The canonical form of a request's path. Borrows where the path has it already, as nearly all
/// have.
///
/// # Errors
/// All of [`InvalidPath`] but `NotUtf8`.
pub fn canonical_path(path: &str) -> Result<Cow<'_, str>, InvalidPath> {
    if !path.starts_with('/') {
        return Err(InvalidPath::NotAbsolute);
    }
    let canonical = encoded(path).map_err(|at| InvalidPath::Encoding { at })?;
    refuse_dot_segments(&canonical)?;
    Ok(canonical)
}

/// The value of a parameter: its capture of a canonical path, decoded.
///
/// One that stands for all the rest of a path is meant to be used as a path, so that what it
/// decodes to may not climb either.
///
/// # Errors
/// [`InvalidPath::NotUtf8`], [`InvalidPath::DotSegment`].
pub fn decode_parameter(name: &str, captured: &str, rest: bool) -> Result<String, InvalidPath> {
    let value = percent_decode_str(captured)
        .decode_utf8()
        .map_err(|_| InvalidPath::NotUtf8 { name: name.to_owned() })?
        .into_owned();
    if rest {
        refuse_dot_segments(&value)?;
    }
    Ok(value)
}

/// A part of a path with each byte written in the one way that is canonical, or where a percent
/// sign is at fault.
pub(super) fn encoded(text: &str) -> Result<Cow<'_, str>, usize> {
    let bytes = text.as_bytes();
    let Some(first) = bytes.iter().position(|&byte| !IS_LITERAL[usize::from(byte)]) else {
        return Ok(Cow::Borrowed(text));
    };
    let mut canonical = String::with_capacity(text.len() + 16);
    canonical.push_str(&text[..first]);
    let mut at = first;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let decoded = hex_pair(bytes.get(at + 1..at + 3)).ok_or(at)?;
            at += 3;
            // A slash that was encoded stays so: it does not divide segments.
            push(&mut canonical, decoded, decoded != b'/');
        } else {
            at += 1;
            push(&mut canonical, byte, true);
        }
    }
    Ok(Cow::Owned(canonical))
}

pub(super) fn refuse_dot_segments(path: &str) -> Result<(), InvalidPath> {
    // Nearly no segment begins with a dot, and to look for one that does is faster than to divide
    // all of them.
    let suspect = path.starts_with('.') || path.contains("/.");
    if suspect && path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(InvalidPath::DotSegment);
    }
    Ok(())
}

fn push(canonical: &mut String, byte: u8, may_be_literal: bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if may_be_literal && IS_LITERAL[usize::from(byte)] {
        canonical.push(char::from(byte));
    } else {
        let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        canonical.push('%');
        canonical.extend(digits.map(char::from));
    }
}

fn hex_pair(digits: Option<&[u8]>) -> Option<u8> {
    let value =
        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    match digits? {
        [high, low] => Some(value(*high)? << 4 | value(*low)?),
        _ => None,
    }
}

/// The bytes that stand for themselves: RFC 3986's `pchar` without the percent sign, and the slash.
const IS_LITERAL: [bool; 256] = {
    const MARKS: &[u8] = b"-._~!$&'()*+,;=:@/";
    let mut is_literal = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        is_literal[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut mark = 0;
    while mark < MARKS.len() {
        is_literal[MARKS[mark] as usize] = true;
        mark += 1;
    }
    is_literal
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_canonical_path_is_not_copied() {
        for path in ["/", "/a/b", "/a//b/", "/a.b/..c/.../~x", "/;v=1,2", "/@me/a:b!$&'()*+"] {
            assert!(
                matches!(canonical_path(path), Ok(Cow::Borrowed(same)) if same == path),
                "{path}"
            );
        }
    }

    #[test]
    fn each_byte_has_one_way_to_be_written() {
        for (path, canonical) in [
            ("/%61%2dz", "/a-z"),
            ("/%7Euser/%40me", "/~user/@me"),
            ("/a%2fb", "/a%2Fb"),
            ("/%c3%a9", "/%C3%A9"),
            ("/é", "/%C3%A9"),
            ("/a%20b%21", "/a%20b!"),
            ("/{id}\"|", "/%7Bid%7D%22%7C"),
            ("/%25%32%35", "/%2525"),
            ("/%ff%00", "/%FF%00"),
        ] {
            assert_eq!(canonical_path(path).as_deref(), Ok(canonical), "{path}");
        }
    }

    #[test]
    fn a_path_that_two_readers_could_take_for_two_places_is_refused() {
        for path in
            ["/.", "/..", "/a/../b", "/a/./b", "/%2e%2e/b", "/a/.%2E", "/é/..", "/a/.b/c/.."]
        {
            assert_eq!(canonical_path(path), Err(InvalidPath::DotSegment), "{path}");
        }
        for path in ["", "*", "a/b"] {
            assert_eq!(canonical_path(path), Err(InvalidPath::NotAbsolute), "{path}");
        }
        assert_eq!(
            canonical_path("/a%zz").unwrap_err().to_string(),
            "the path has a percent sign at byte 2 that is not followed by two hexadecimal digits; a percent sign itself is written %25"
        );
        for path in ["/%", "/%1", "/%4g", "/%g4", "/%%41", "/%+1", "/%é1"] {
            assert_eq!(canonical_path(path), Err(InvalidPath::Encoding { at: 1 }), "{path}");
        }
    }

    #[test]
    fn the_rest_may_not_climb_after_decoding_and_a_segment_is_data() {
        assert_eq!(decode_parameter("id", "a%2Fb%20c", false).as_deref(), Ok("a/b c"));
        assert_eq!(decode_parameter("id", "..%2Fa", false).as_deref(), Ok("../a"));
        assert_eq!(decode_parameter("rest", "..%2Fa", true), Err(InvalidPath::DotSegment));
        assert_eq!(
            decode_parameter("id", "%FF", false).unwrap_err().to_string(),
            "the path's parameter \"id\" is not UTF-8 once its percent-encoding is decoded"
        );
    }

    proptest! {
        #[test]
        fn canonical_paths_stay_as_they_are(path in "/(/|\\PC|%[0-9a-fA-F]{2}){0,20}") {
            let canonical = canonical_path(&path);
            if let Ok(canonical) = canonical {
                prop_assert_eq!(canonical_path(&canonical), Ok(canonical.clone()));
                let slashes = |text: &str| text.matches('/').count();
                prop_assert_eq!(slashes(&canonical), slashes(&path));
                let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
                prop_assert_eq!(decoded(&canonical), decoded(&path));
            }
        }
    }
}
