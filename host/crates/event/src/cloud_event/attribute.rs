//! The rules of attributes.

use jiff::Timestamp;

use super::{CloudEvent, CloudEventError, MAX_EXTENSIONS};

/// The names that extensions may not have: those of the other attributes and of the data.
const TAKEN: &[&str] = &[
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "specversion",
    "data",
];

/// The attributes that an event has, but for its version, with their names.
pub(super) fn all(event: &CloudEvent) -> impl Iterator<Item = (&str, &str)> {
    let optional = [
        ("subject", &event.subject),
        ("time", &event.time),
        ("datacontenttype", &event.datacontenttype),
        ("dataschema", &event.dataschema),
    ];
    let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let extensions = event.extensions.iter().map(|(name, value)| (&**name, &**value));
    [("id", &*event.id), ("source", &event.source), ("type", &event.ty)]
        .into_iter()
        .chain(optional)
        .chain(extensions)
}

pub(super) fn check(event: &CloudEvent) -> Result<(), CloudEventError> {
    let extensions = event.extensions.len();
    if extensions > MAX_EXTENSIONS {
        return Err(CloudEventError::new(format!(
            "it has {extensions} extensions, and the most are {MAX_EXTENSIONS}: send more as data"
        )));
    }
    for (at, (name, _)) in event.extensions.iter().enumerate() {
        extension_name(name)?;
        if event.extensions[..at].iter().any(|(other, _)| other == name) {
            return Err(twice(name));
        }
    }
    all(event).try_for_each(|(name, value)| check_value(name, value))
}

fn check_value(name: &str, value: &str) -> Result<(), CloudEventError> {
    if value.is_empty() && TAKEN.contains(&name) {
        return Err(CloudEventError::of(name, "is empty: give it a value"));
    }
    text(name, value)?;
    let form = match name {
        "source" => uri_reference(value),
        "time" => time(value),
        "datacontenttype" => media_type(value),
        "dataschema" => absolute_uri(value),
        _ => Ok(()),
    };
    form.map_err(|right| CloudEventError::of(name, format!("is {value:?}: {right}")))
}

pub(super) fn twice(name: &str) -> CloudEventError {
    CloudEventError::of(name, "is there twice: an attribute has one value")
}

pub(super) fn extension_name(name: &str) -> Result<(), CloudEventError> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || !name.bytes().all(is_name) {
        let reason =
            "is no name of an attribute: use lower-case letters and digits, as in `traceid`";
        return Err(CloudEventError::of(name, reason));
    }
    match TAKEN.contains(&name) {
        true => Err(CloudEventError::of(name, "is no extension: give the extension another name")),
        false => Ok(()),
    }
}

/// No attribute has control characters (U+0000 to U+001F, U+007F to U+009F) and noncharacters.
fn text(name: &str, value: &str) -> Result<(), CloudEventError> {
    let is_noncharacter = |c: char| {
        let code = u32::from(c);
        code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
    };
    match value.chars().find(|c| c.is_control() || is_noncharacter(*c)) {
        None => Ok(()),
        Some(c) => Err(CloudEventError::of(
            name,
            format!("has the character U+{:04X}: attributes have printable ones", u32::from(c)),
        )),
    }
}

/// RFC 3339, section 5.6. jiff takes more: other separators, and no seconds.
fn time(value: &str) -> Result<(), &'static str> {
    let bytes = value.as_bytes();
    let at = |index: usize| bytes.get(index).map(u8::to_ascii_uppercase);
    let offset = value
        .get(19..)
        .unwrap_or_default()
        .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let has_offset = match offset.as_bytes() {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', rest @ ..] => rest.len() == 5 && rest[2] == b':',
        _ => false,
    };
    let has_form = at(10) == Some(b'T') && at(13) == Some(b':') && at(16) == Some(b':');
    match has_form && has_offset && value.parse::<Timestamp>().is_ok() {
        true => Ok(()),
        false => Err("write a time of RFC 3339, as in `2026-01-31T12:00:00Z`"),
    }
}

/// RFC 2045: a type and a subtype, and perhaps parameters.
fn media_type(value: &str) -> Result<(), &'static str> {
    let is_token = |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(allowed)
    };
    match essence(value).split_once('/') {
        Some((ty, subtype)) if value.is_ascii() && is_token(ty) && is_token(subtype) => Ok(()),
        _ => Err("write a media type, as in `application/json`"),
    }
}

/// A media type without its parameters.
pub(super) fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

pub(super) fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type).to_ascii_lowercase();
    essence.split_once('/').is_some_and(|(_, sub)| sub == "json" || sub.ends_with("+json"))
}

/// Whether data of a media type is text and not JSON.
pub(super) fn is_text(media_type: &str) -> bool {
    let essence = essence(media_type).to_ascii_lowercase();
    essence
        .split_once('/')
        .is_some_and(|(ty, subtype)| ty == "text" || subtype == "xml" || subtype.ends_with("+xml"))
}

/// RFC 3986, section 4.1, by characters: an authority and a path are taken as they are.
fn uri_reference(value: &str) -> Result<(), &'static str> {
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let is_escape = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        let is_right = match byte {
            b'%' => is_escape(bytes.next()) && is_escape(bytes.next()),
            byte => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte),
        };
        if !is_right {
            return Err("write a URI reference, and other characters as `%20`");
        }
    }
    let has_one_fragment = value.matches('#').count() <= 1;
    match has_one_fragment && scheme(value).is_none_or(is_scheme) {
        true => Ok(()),
        false => Err("write a URI reference, as in `https://example.com/a` or `/a`"),
    }
}

fn absolute_uri(value: &str) -> Result<(), &'static str> {
    uri_reference(value)?;
    match scheme(value) {
        Some(_) => Ok(()),
        None => Err("write a URI with its scheme, as in `https://example.com/schema`"),
    }
}

/// The text before the first colon of the first segment.
fn scheme(value: &str) -> Option<&str> {
    let first = value.split(['/', '?', '#']).next().unwrap_or_default();
    first.split_once(':').map(|(scheme, _)| scheme)
}

fn is_scheme(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(is_part)
}
