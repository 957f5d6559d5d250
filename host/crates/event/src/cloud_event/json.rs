//! The JSON format of CloudEvents, version 1.0.2 of its specification.

use std::collections::BTreeMap;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, value::RawValue};

use super::{CloudEvent, CloudEventError, SPEC_VERSION, attribute, draft::Draft};

const DATA: &str = "data";
const DATA_BASE64: &str = "data_base64";

type Result<T> = std::result::Result<T, CloudEventError>;

pub(super) fn read(json: &[u8]) -> Result<CloudEvent> {
    let mut members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(json).map_err(|error| {
            CloudEventError::new(format!("it is no JSON object ({error}): send one with `id`"))
        })?;
    let (data, data_base64) = (members.remove(DATA), members.remove(DATA_BASE64));
    let mut draft = Draft::default();
    for (name, json) in members {
        if let Some(value) = canonical(&name, json)? {
            draft.set(&name, value)?;
        }
    }
    let data = match (data, data_base64) {
        (Some(_), Some(_)) => {
            let reason = "stands beside `data`: send one of them";
            return Err(CloudEventError::of(DATA_BASE64, reason));
        }
        (Some(data), None) => of_data(data, draft.datacontenttype())?,
        (None, Some(data)) => of_base64(data)?,
        (None, None) => None,
    };
    draft.finish(data)
}

pub(super) fn read_batch(json: &[u8]) -> Result<Vec<CloudEvent>> {
    let events: Vec<&RawValue> = serde_json::from_slice(json).map_err(|error| {
        CloudEventError::new(format!("the batch is no JSON list ({error}): send `[{{…}}, {{…}}]`"))
    })?;
    let events = events.into_iter().enumerate();
    events
        .map(|(index, json)| read(json.get().as_bytes()).map_err(|error| error.in_batch(index)))
        .collect()
}

/// The value of a member. `None` for a number that no float holds and for half a surrogate.
fn value(json: &RawValue) -> Option<Value> {
    serde_json::from_str(json.get()).ok()
}

/// An attribute in its canonical form. Null stands for no attribute.
fn canonical(name: &str, json: &RawValue) -> Result<Option<String>> {
    let is_integer = |number: &serde_json::Number| {
        number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
    };
    match value(json) {
        Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Bool(bool)) => Ok(Some(bool.to_string())),
        Some(Value::Number(number)) if is_integer(&number) => Ok(Some(number.to_string())),
        _ => Err(CloudEventError::of(
            name,
            "is no value of an attribute: send a string, a boolean, or a whole number of 32 bits",
        )),
    }
}

fn of_data(json: &RawValue, media_type: Option<&str>) -> Result<Option<Bytes>> {
    if media_type.is_none_or(attribute::is_json) {
        return Ok(Some(Bytes::copy_from_slice(json.get().as_bytes())));
    }
    match value(json) {
        Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.into())),
        _ => Err(CloudEventError::of(
            DATA,
            "is no string, and `datacontenttype` is not of JSON: send a string, or `data_base64`",
        )),
    }
}

fn of_base64(json: &RawValue) -> Result<Option<Bytes>> {
    let decoded = match value(json) {
        Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => BASE64.decode(text.as_bytes()).ok(),
        _ => None,
    };
    let wrong =
        || CloudEventError::of(DATA_BASE64, "is no Base64: send a padded string (RFC 4648)");
    decoded.map(|bytes| Some(bytes.into())).ok_or_else(wrong)
}

// Strings and well-formed JSON have no error as JSON.

pub(super) fn to_value(event: &CloudEvent) -> Value {
    serde_json::to_value(Form(event)).unwrap_or_default()
}

pub(super) fn write(event: &CloudEvent) -> Vec<u8> {
    serde_json::to_vec(&Form(event)).unwrap_or_default()
}

pub(super) fn write_batch(events: &[CloudEvent]) -> Vec<u8> {
    let events: Vec<Form<'_>> = events.iter().map(Form).collect();
    serde_json::to_vec(&events).unwrap_or_default()
}

/// An event as its JSON form.
struct Form<'a>(&'a CloudEvent);

impl Serialize for Form<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Form(event) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", SPEC_VERSION)?;
        for (name, value) in attribute::all(event) {
            map.serialize_entry(name, value)?;
        }
        match event.data.as_deref().map(|data| Data::of(event, data)) {
            None => {}
            Some(Data::Json(json)) => map.serialize_entry(DATA, json)?,
            Some(Data::Text(text)) => map.serialize_entry(DATA, text)?,
            Some(Data::Binary(bytes)) => {
                map.serialize_entry(DATA_BASE64, &BASE64.encode(bytes))?;
            }
        }
        map.end()
    }
}

/// Data as the JSON format has it.
enum Data<'a> {
    Json(&'a RawValue),
    Text(&'a str),
    Binary(&'a [u8]),
}

impl<'a> Data<'a> {
    /// Data that is not of its media type is binary.
    fn of(event: &CloudEvent, data: &'a [u8]) -> Data<'a> {
        let (json, text) = match event.has_json() {
            true => (serde_json::from_slice(data).ok(), None),
            false => {
                let is_text = event.datacontenttype.as_deref().is_some_and(attribute::is_text);
                (None, str::from_utf8(data).ok().filter(|_| is_text))
            }
        };
        json.map(Data::Json).or(text.map(Data::Text)).unwrap_or(Data::Binary(data))
    }
}
