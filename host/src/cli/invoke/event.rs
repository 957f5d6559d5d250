//! CloudEvents in their JSON format (CloudEvents 1.0, JSON Event Format), as far as one writes them
//! by hand.

use lacewing_sandbox::{Event, EventFailure, Extension, Retry};
use serde_json::{Map, Value, json};

/// One event, or an array of them. Attributes that are not given are made up: `id`, `source`,
/// `type`.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Event>, String> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("the event is not JSON: {error}"))?;
    match value {
        Value::Array(events) => {
            events.into_iter().enumerate().map(|(index, event)| one(event, index)).collect()
        }
        event => Ok(vec![one(event, 0)?]),
    }
}

fn one(value: Value, index: usize) -> Result<Event, String> {
    let Value::Object(mut map) = value else {
        return Err(format!("event {index} is not a JSON object: {value}"));
    };
    let event = Event {
        id: text(&mut map, "id")?.unwrap_or_else(|| format!("event-{index}")),
        source: text(&mut map, "source")?.unwrap_or_else(|| "lacewing:invoke".to_owned()),
        type_: text(&mut map, "type")?.unwrap_or_else(|| "lacewing.invoke".to_owned()),
        subject: text(&mut map, "subject")?,
        time: text(&mut map, "time")?,
        datacontenttype: text(&mut map, "datacontenttype")?,
        dataschema: text(&mut map, "dataschema")?,
        data: map.remove("data").map(|data| data.to_string().into_bytes()),
        attempt: 1,
        extensions: Vec::new(),
    };
    text(&mut map, "specversion")?;
    let datacontenttype = event
        .datacontenttype
        .clone()
        .or_else(|| event.data.as_ref().map(|_| "application/json".to_owned()));
    let extensions =
        map.into_iter().map(|(name, value)| Extension { name, value: canonical(&value) }).collect();
    Ok(Event { datacontenttype, extensions, ..event })
}

fn text(map: &mut Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match map.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("the event's `{key}` is {other}, and has to be a string")),
    }
}

fn canonical(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The result of an event, for `invoke`'s output.
pub(super) fn describe(event: &Event, result: &Result<(), EventFailure>) -> Value {
    match result {
        Ok(()) => json!({ "id": event.id, "ok": true }),
        Err(failure) => {
            let retry = match failure.retry {
                Retry::Backoff => json!("backoff"),
                Retry::AfterMs(ms) => json!({ "after_ms": ms }),
                Retry::Never => json!("never"),
            };
            json!({ "id": event.id, "ok": false, "message": failure.message, "retry": retry })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_attributes_are_filled_in() {
        let events = parse(br#"{"type":"upload","data":{"key":"a.png"},"tenantid":7}"#).unwrap();
        let [event] = &events[..] else { panic!("{events:?}") };
        assert_eq!(
            (event.id.as_str(), event.type_.as_str(), event.attempt),
            ("event-0", "upload", 1)
        );
        assert_eq!(event.data.as_deref(), Some(&br#"{"key":"a.png"}"#[..]));
        assert_eq!(event.datacontenttype.as_deref(), Some("application/json"));
        assert_eq!(
            (event.extensions[0].name.as_str(), event.extensions[0].value.as_str()),
            ("tenantid", "7")
        );
        assert_eq!(parse(b"[{},{}]").unwrap().len(), 2);
    }

    #[test]
    fn input_that_is_no_event_is_reported() {
        assert!(parse(b"{").unwrap_err().starts_with("the event is not JSON: EOF"));
        assert_eq!(parse(b"7").unwrap_err(), "event 0 is not a JSON object: 7");
        assert_eq!(
            parse(br#"{"id":7}"#).unwrap_err(),
            "the event's `id` is 7, and has to be a string"
        );
    }
}
