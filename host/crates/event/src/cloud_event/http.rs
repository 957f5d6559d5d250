//! The HTTP binding of CloudEvents, version 1.0.2 of its specification.
//!
//! | mode | headers | body |
//! |---|---|---|
//! | binary | `ce-id`, `ce-source` and so on; `content-type` of the data | the data |
//! | structured | `content-type: application/cloudevents+json` | an event in JSON |
//! | batched | `content-type: application/cloudevents-batch+json` | a list of events in JSON |

use ::http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

use super::{CloudEvent, CloudEventError, SPEC_VERSION, attribute, draft::Draft, json};

const PREFIX: &str = "ce-";
const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";

/// The printable characters that a header has percent-encoded. Others outside of ASCII are so too.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

type Result<T> = std::result::Result<T, CloudEventError>;

/// Reads the events of a message in any mode: one, or those of a batch.
pub fn read(headers: &HeaderMap, body: Bytes) -> Result<Vec<CloudEvent>> {
    let content_type = headers.get(CONTENT_TYPE).map(|value| ascii(CONTENT_TYPE.as_str(), value));
    let content_type = content_type.transpose()?;
    let essence = content_type.map(attribute::essence).unwrap_or_default().to_ascii_lowercase();
    match essence.as_str() {
        STRUCTURED => Ok(vec![json::read(&body)?]),
        BATCHED => json::read_batch(&body),
        other if other.starts_with("application/cloudevents") => Err(CloudEventError::of(
            CONTENT_TYPE.as_str(),
            format!("is {other:?}: send `{STRUCTURED}`, `{BATCHED}`, or `ce-` headers"),
        )),
        _ => Ok(vec![read_binary(headers, content_type, body)?]),
    }
}

fn read_binary(headers: &HeaderMap, content_type: Option<&str>, body: Bytes) -> Result<CloudEvent> {
    let mut draft = Draft::default();
    let mut is_event = false;
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(PREFIX) else { continue };
        is_event = true;
        if name == "datacontenttype" {
            let reason = "is no header: send the media type as `content-type`";
            return Err(CloudEventError::of(header.as_str(), reason));
        }
        draft.set(name, decode(header.as_str(), value)?)?;
    }
    if !is_event {
        return Err(CloudEventError::new(format!(
            "the message has no `ce-` header: send `ce-id` and so on, or JSON as `{STRUCTURED}`"
        )));
    }
    if let Some(content_type) = content_type {
        draft.set("datacontenttype", content_type.to_owned())?;
    }
    draft.finish((!body.is_empty()).then_some(body))
}

fn ascii<'a>(name: &str, value: &'a HeaderValue) -> Result<&'a str> {
    let reason = "has bytes outside of printable ASCII: encode them, as in `%E2%82%AC`";
    value.to_str().map_err(|_| CloudEventError::of(name, reason))
}

/// Section 3.1.3.2: quotes first, which older senders use, and then percent-encoding.
fn decode(name: &str, value: &HeaderValue) -> Result<String> {
    let text = unquote(ascii(name, value)?)
        .ok_or_else(|| CloudEventError::of(name, "has an open quote: close it, or send `%22`"))?;
    let decoded = percent_decode(text.as_bytes()).decode_utf8();
    let wrong = |_| CloudEventError::of(name, "is no UTF-8 after percent-decoding: encode UTF-8");
    decoded.map(std::borrow::Cow::into_owned).map_err(wrong)
}

/// The text without the quotes of RFC 7230, section 3.2.6. `None` for a quote that stays open.
fn unquote(text: &str) -> Option<String> {
    let mut unquoted = String::with_capacity(text.len());
    let mut is_quoted = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted => unquoted.push(chars.next()?),
            c => unquoted.push(c),
        }
    }
    (!is_quoted).then_some(unquoted)
}

/// The headers and the body of an event in binary mode. An event that is not valid is an error.
pub fn binary(event: &CloudEvent) -> Result<(HeaderMap, Bytes)> {
    event.check()?;
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", HeaderValue::from_static(SPEC_VERSION));
    for (name, value) in attribute::all(event) {
        let (header, value) = match name {
            "datacontenttype" => (Ok(CONTENT_TYPE), HeaderValue::try_from(value)),
            name => {
                let encoded = utf8_percent_encode(value, ENCODED).to_string();
                let header = HeaderName::try_from(format!("{PREFIX}{name}"));
                (header, HeaderValue::try_from(encoded))
            }
        };
        let (Ok(header), Ok(value)) = (header, value) else {
            return Err(CloudEventError::of(name, "is too long for a header: shorten it"));
        };
        headers.insert(header, value);
    }
    // Data without a media type is JSON, which other receivers are told.
    if event.data.is_some() && event.datacontenttype.is_none() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok((headers, event.data.clone().unwrap_or_default()))
}

/// The headers and the body of an event in structured mode.
pub fn structured(event: &CloudEvent) -> (HeaderMap, Bytes) {
    (typed(STRUCTURED), json::write(event).into())
}

/// The headers and the body of a batch.
pub fn batch(events: &[CloudEvent]) -> (HeaderMap, Bytes) {
    (typed(BATCHED), json::write_batch(events).into())
}

fn typed(media_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))])
}
