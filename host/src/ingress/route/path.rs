//! Paths: what a request's path is compared as, and the patterns that routes are written in.
//!
//! A path is compared in its normal form (RFC 3986, section 6.2.2): an encoded unreserved octet is the same
//! as the octet (`%61` is `a`), hexadecimal digits are upper case, and octets outside ASCII are encoded. What is
//! left encoded stays so until a parameter is captured: `%2F` never divides a segment.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;

/// Why a request's path is refused. Displays as a sentence for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
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
    /// A segment `.` or `..`, encoded or not. Two readers of such a path can take it for two places, so it is
    /// refused and not resolved.
    #[error("the path has a segment \".\" or \"..\"; send the path that they lead to instead")]
    DotSegment,
    /// What the route captures is not UTF-8 once decoded.
    #[error("the path's parameter {name:?} is not UTF-8 once its percent-encoding is decoded")]
    NotUtf8 {
        /// The parameter's name in the pattern.
        name: String,
    },
}

/// The normal form of a request's path. Allocates only if the path differs from it.
pub(super) fn normalize(path: &str) -> Result<Cow<'_, str>, BadPath> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(BadPath::NotAbsolute);
    }
    let mut suspect = false;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte == b'%' || !byte.is_ascii() {
            return rewrite(path).map(Cow::Owned);
        }
        suspect |= byte == b'.' && bytes[at.saturating_sub(1)] == b'/';
    }
    if suspect {
        refuse_dot_segments(path)?;
    }
    Ok(Cow::Borrowed(path))
}

/// The slow half of [`normalize`]: the path has something encoded, or something to encode.
fn rewrite(path: &str) -> Result<String, BadPath> {
    let mut normal = String::with_capacity(path.len() + 16);
    let mut bytes = path.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|(_, d)| char::from(d).to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err(BadPath::Encoding { at });
            };
            push_octet(&mut normal, u8::try_from(high * 16 + low).unwrap_or(b'%'), true);
        } else {
            push_octet(&mut normal, byte, false);
        }
    }
    refuse_dot_segments(&normal)?;
    Ok(normal)
}

fn push_octet(normal: &mut String, octet: u8, encoded: bool) {
    if is_unreserved(octet) || (!encoded && octet.is_ascii()) {
        normal.push(char::from(octet));
    } else {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        normal.push('%');
        normal.push(char::from(DIGITS[usize::from(octet >> 4)]));
        normal.push(char::from(DIGITS[usize::from(octet & 15)]));
    }
}

fn refuse_dot_segments(path: &str) -> Result<(), BadPath> {
    if path.split('/').any(is_dot_segment) { Err(BadPath::DotSegment) } else { Ok(()) }
}

fn is_dot_segment(segment: &str) -> bool {
    segment == "." || segment == ".."
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The value of a captured parameter, from its normal form.
///
/// A wildcard is meant to be used as a path, so that what it decodes to may not climb either.
pub(super) fn decode(name: &str, captured: &str, wildcard: bool) -> Result<String, BadPath> {
    let value = percent_decode_str(captured)
        .decode_utf8()
        .map_err(|_| BadPath::NotUtf8 { name: name.to_owned() })?
        .into_owned();
    if wildcard {
        refuse_dot_segments(&value)?;
    }
    Ok(value)
}

/// Why a text is no route's path. Displays as the end of a sentence that names the path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// It does not begin with a slash.
    #[error("it has to begin with a slash, as in \"/users/{{id}}\"")]
    NotAbsolute,
    /// A brace where none can be.
    #[error(
        "the segment {segment:?} has a brace that does not enclose all of it; a parameter is a whole segment, as in \"/users/{{id}}\""
    )]
    Brace {
        /// The segment at fault.
        segment: String,
    },
    /// A parameter's name that is none.
    #[error(
        "{name:?} is not a parameter's name: letters, digits and underscores, not beginning with a digit"
    )]
    Name {
        /// The name at fault.
        name: String,
    },
    /// Two parameters have the same name.
    #[error("the parameter {name:?} occurs twice")]
    Twice {
        /// The name at fault.
        name: String,
    },
    /// A wildcard that is not the last segment.
    #[error("the wildcard {{*{name}}} has to be the last segment")]
    WildcardNotLast {
        /// The wildcard's name.
        name: String,
    },
    /// A character that no request's path can have.
    #[error(
        "{character:?} cannot be in a path; where it is meant as itself, write its percent-encoding"
    )]
    Character {
        /// The character at fault.
        character: char,
    },
    /// What a request's path is refused for as well.
    #[error(transparent)]
    Path(#[from] BadPath),
}

/// A segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// Matches itself; in normal form. May be empty: `/users/` ends in one.
    Literal(String),
    /// Matches one segment that is not empty.
    Param(String),
    /// Matches the rest of the path, if that is not empty.
    Wildcard(String),
}

/// A route's path: literals, `{name}` for one segment, and `{*name}` at the end for all that is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) segments: Vec<Segment>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Pattern, BadPattern> {
        let rest = text.strip_prefix('/').ok_or(BadPattern::NotAbsolute)?;
        let segments = rest.split('/').map(parse_segment).collect::<Result<Vec<_>, _>>()?;
        let pattern = Pattern { segments };
        let names: Vec<&str> = pattern.names().collect();
        if let Some(twice) = (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
            return Err(BadPattern::Twice { name: names[twice].to_owned() });
        }
        let last = pattern.segments.len() - 1;
        for segment in &pattern.segments[..last] {
            if let Segment::Wildcard(name) = segment {
                return Err(BadPattern::WildcardNotLast { name: name.clone() });
            }
        }
        Ok(pattern)
    }

    /// The parameters' names in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Param(name) | Segment::Wildcard(name) => Some(name.as_str()),
        })
    }

    pub(super) fn ends_in_wildcard(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Wildcard(_)))
    }

    /// The pattern without its parameters' names: two routes of the same shape match the same paths.
    pub(super) fn shape(&self) -> String {
        let mut shape = String::new();
        for segment in &self.segments {
            shape.push('/');
            shape.push_str(segment.shape());
        }
        shape
    }

    /// For each parameter, the shape of what comes before it, and whether it is a wildcard.
    pub(super) fn captures(&self) -> impl Iterator<Item = (String, bool)> {
        let mut before = String::new();
        self.segments.iter().filter_map(move |segment| {
            let place = before.clone();
            before.push('/');
            before.push_str(segment.shape());
            match segment {
                Segment::Literal(_) => None,
                Segment::Param(_) => Some((place, false)),
                Segment::Wildcard(_) => Some((place, true)),
            }
        })
    }
}

fn parse_segment(segment: &str) -> Result<Segment, BadPattern> {
    let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    if let Some(name) = name.filter(|name| !name.contains(['{', '}'])) {
        return match name.strip_prefix('*') {
            Some(name) => Ok(Segment::Wildcard(parse_name(name)?)),
            None => Ok(Segment::Param(parse_name(name)?)),
        };
    }
    if segment.contains(['{', '}']) {
        return Err(BadPattern::Brace { segment: segment.to_owned() });
    }
    let allowed =
        |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:@".contains(c);
    if let Some(character) = segment.chars().find(|&c| !allowed(c)) {
        return Err(BadPattern::Character { character });
    }
    Ok(Segment::Literal(normalize(&format!("/{segment}"))?[1..].to_owned()))
}

fn parse_name(name: &str) -> Result<String, BadPattern> {
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if valid { Ok(name.to_owned()) } else { Err(BadPattern::Name { name: name.to_owned() }) }
}

impl Segment {
    fn shape(&self) -> &str {
        match self {
            Segment::Literal(literal) => literal,
            Segment::Param(_) => "{}",
            Segment::Wildcard(_) => "{*}",
        }
    }
}

/// In normal form, which is also how the tree of paths reads it.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(literal) => write!(f, "/{literal}")?,
                Segment::Param(name) => write!(f, "/{{{name}}}")?,
                Segment::Wildcard(name) => write!(f, "/{{*{name}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_is_its_own_normal_form_and_is_not_copied() {
        for path in ["/", "/a/b", "/a//b/", "/a.b/..c/.../~x", "/;v=1,2"] {
            assert!(matches!(normalize(path), Ok(Cow::Borrowed(same)) if same == path), "{path}");
        }
    }

    #[test]
    fn the_normal_form_decodes_only_what_means_the_same() {
        for (path, normal) in [
            ("/%61%2dz", "/a-z"),
            ("/a%2fb", "/a%2Fb"),
            ("/%c3%a9", "/%C3%A9"),
            ("/é", "/%C3%A9"),
            ("/a%20b%21", "/a%20b%21"),
            ("/%25%32%35", "/%2525"),
        ] {
            assert_eq!(normalize(path).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn a_path_that_two_readers_could_take_for_two_places_is_refused() {
        for path in ["/.", "/..", "/a/../b", "/a/./b", "/%2e%2e/b", "/a/.%2E", "/é/.."] {
            assert_eq!(normalize(path), Err(BadPath::DotSegment), "{path}");
        }
        for path in ["", "*", "a/b"] {
            assert_eq!(normalize(path), Err(BadPath::NotAbsolute), "{path}");
        }
        assert_eq!(
            normalize("/a%zz").unwrap_err().to_string(),
            "the path has a percent sign at byte 2 that is not followed by two hexadecimal digits; a percent sign itself is written %25"
        );
        for path in ["/%", "/%1", "/%é1"] {
            assert_eq!(normalize(path), Err(BadPath::Encoding { at: 1 }), "{path}");
        }
    }

    #[test]
    fn a_wildcard_may_not_climb_after_decoding_and_a_parameter_is_data() {
        assert_eq!(decode("id", "..%2Fa", false).as_deref(), Ok("../a"));
        assert_eq!(decode("rest", "..%2Fa", true), Err(BadPath::DotSegment));
        assert_eq!(
            decode("id", "%FF", false).unwrap_err().to_string(),
            "the path's parameter \"id\" is not UTF-8 once its percent-encoding is decoded"
        );
    }

    #[test]
    fn patterns_say_what_is_wrong_with_them() {
        for (text, error) in [
            ("users", "it has to begin with a slash, as in \"/users/{id}\""),
            (
                "/img-{id}.png",
                "the segment \"img-{id}.png\" has a brace that does not enclose all of it; a parameter is a whole segment, as in \"/users/{id}\"",
            ),
            (
                "/{}",
                "\"\" is not a parameter's name: letters, digits and underscores, not beginning with a digit",
            ),
            (
                "/{1a}",
                "\"1a\" is not a parameter's name: letters, digits and underscores, not beginning with a digit",
            ),
            ("/{a}/{a}", "the parameter \"a\" occurs twice"),
            ("/{*a}/b", "the wildcard {*a} has to be the last segment"),
            (
                "/a b",
                "' ' cannot be in a path; where it is meant as itself, write its percent-encoding",
            ),
            (
                "/a?b",
                "'?' cannot be in a path; where it is meant as itself, write its percent-encoding",
            ),
            (
                "/a/../b",
                "the path has a segment \".\" or \"..\"; send the path that they lead to instead",
            ),
        ] {
            assert_eq!(Pattern::parse(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn patterns_are_kept_in_normal_form() {
        let pattern = Pattern::parse("/caf%c3%a9/é/%61/{id}/{*rest}").unwrap();
        assert_eq!(pattern.to_string(), "/caf%C3%A9/%C3%A9/a/{id}/{*rest}");
        assert_eq!(pattern.shape(), "/caf%C3%A9/%C3%A9/a/{}/{*}");
        assert!(pattern.ends_in_wildcard());
        assert_eq!(pattern.names().collect::<Vec<_>>(), ["id", "rest"]);
    }
}
