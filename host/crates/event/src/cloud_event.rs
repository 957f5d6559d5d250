//! CloudEvents 1.0, and their binding to HTTP.
//!
//! A [`CloudEvent`] has the attributes of the
//! [specification](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md) as texts
//! in their canonical form, and its data as bytes. Events come from HTTP by [`http::read`] and go
//! to HTTP by [`http::binary`], [`http::structured`] and [`http::batch`].
//!
//! The body and the headers that the caller takes bound the size of an event.

mod attribute;
mod draft;
mod error;
pub mod http;
mod json;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use error::CloudEventError;

/// The only version of the specification that is read and written.
pub const SPEC_VERSION: &str = "1.0";

/// The most extension attributes of an event. An event with more is refused: each is a header, and
/// every function and pattern sees it.
pub const MAX_EXTENSIONS: usize = 100;

/// An event. The fields are those of a function's event. An event that was read is valid; a built
/// one is checked by [`CloudEvent::check`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudEvent {
    /// The identifier, unique within the source. Not empty.
    pub id: String,
    /// The source of the event: a URI reference, not empty.
    pub source: String,
    /// The kind of the event: the attribute `type`. Not empty.
    pub ty: String,
    /// The subject of the event within its source. Not empty.
    pub subject: Option<String>,
    /// The time of the occurrence, in the form of RFC 3339 as it came.
    pub time: Option<String>,
    /// The media type of the data. Absent for JSON.
    pub datacontenttype: Option<String>,
    /// The schema of the data: an absolute URI.
    pub dataschema: Option<String>,
    /// The names and values of the extension attributes, in the order in which they came. A name
    /// has lower-case letters and digits. A value that is no text in JSON has its canonical form:
    /// `true`, `5`.
    pub extensions: Vec<(String, String)>,
    /// The data. JSON data that came within JSON keeps its bytes.
    pub data: Option<Bytes>,
}

impl CloudEvent {
    /// The value of an extension attribute.
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Checks every attribute. The error names the first attribute that is wrong.
    pub fn check(&self) -> Result<(), CloudEventError> {
        attribute::check(self)
    }

    /// Whether the data is JSON by its media type: `*/json`, `*/*+json`, or none.
    pub fn has_json(&self) -> bool {
        self.datacontenttype.as_deref().is_none_or(attribute::is_json)
    }

    /// Reads an event in the JSON format (`application/cloudevents+json`).
    pub fn from_json(json: &[u8]) -> Result<CloudEvent, CloudEventError> {
        json::read(json)
    }

    /// Reads a list of events (`application/cloudevents-batch+json`). An error names the index of
    /// the first event that is wrong.
    pub fn batch_from_json(json: &[u8]) -> Result<Vec<CloudEvent>, CloudEventError> {
        json::read_batch(json)
    }

    /// The event in the JSON format. Data is a member `data` if it is JSON or text, and otherwise
    /// `data_base64`. Extensions are strings.
    pub fn to_json(&self) -> Vec<u8> {
        json::write(self)
    }

    /// The event as a JSON value, for a [`Pattern`](crate::pattern::Pattern).
    pub fn to_value(&self) -> serde_json::Value {
        json::to_value(self)
    }
}
