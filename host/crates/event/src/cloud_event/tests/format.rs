//! The formats of events, there and back.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::{CloudEvent, binary, full};
use crate::{cloud_event::http, pattern::Pattern};

/// Reads an event with the members of a small one and more.
fn read(more: serde_json::Value) -> CloudEvent {
    let mut json = json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "paid"});
    json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    CloudEvent::from_json(json.to_string().as_bytes()).unwrap()
}

#[test]
fn an_event_survives_each_mode() {
    let event = full();
    event.check().unwrap();
    assert_eq!(CloudEvent::from_json(&event.to_json()).unwrap(), event);
    let (headers, body) = http::binary(&event).unwrap();
    assert_eq!(headers["ce-traceid"], "%E2%82%AC%20%225%25%22");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(body, r#"{"total": 1.50}"#);
    assert_eq!(http::read(&headers, body).unwrap(), std::slice::from_ref(&event));
    let (headers, body) = http::structured(&event);
    assert_eq!(http::read(&headers, body).unwrap(), std::slice::from_ref(&event));
    let batch = [event, read(json!({}))];
    let (headers, body) = http::batch(&batch);
    assert_eq!(http::read(&headers, body).unwrap(), batch);
    let (headers, body) = http::batch(&[]);
    assert_eq!(http::read(&headers, body).unwrap(), []);
}

#[test]
fn attributes_of_json() {
    let event = read(json!({"subject": null, "count": -5, "urgent": true, "empty": ""}));
    assert_eq!(event.subject, None);
    assert_eq!(event.extension("count"), Some("-5"));
    assert_eq!(event.extension("urgent"), Some("true"));
    assert_eq!(event.extension("empty"), Some(""));
    assert_eq!(event.extension("none"), None);
}

#[test]
fn data_of_json() {
    let data = |more| read(more).data;
    assert_eq!(data(json!({})), None);
    assert_eq!(data(json!({"data": null})), Some("null".into()));
    assert_eq!(data(json!({"data": {"a": [1]}})), Some(r#"{"a":[1]}"#.into()));
    assert_eq!(data(json!({"data": "{}"})), Some(r#""{}""#.into()));
    let typed = |media_type: &str, data| json!({"datacontenttype": media_type, "data": data});
    assert_eq!(data(typed("application/x+JSON; a=b", json!(1.5))), Some("1.5".into()));
    assert_eq!(data(typed("text/xml", json!("<a/>"))), Some("<a/>".into()));
    assert_eq!(data(typed("text/xml", json!(null))), None);
    assert_eq!(data(json!({"data_base64": "AP8="})), Some(Bytes::from_static(&[0, 255])));
    assert_eq!(data(json!({"data_base64": null})), None);
    // A number keeps all of its digits.
    let json = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":[1.10,1e999]}"#;
    let event = CloudEvent::from_json(json.as_bytes()).unwrap();
    assert_eq!(event.data, Some("[1.10,1e999]".into()));
    assert!(String::from_utf8(event.to_json()).unwrap().ends_with(r#","data":[1.10,1e999]}"#));
}

#[test]
fn data_to_json() {
    let written = |media_type: Option<&str>, data: &'static [u8]| {
        let event = CloudEvent {
            datacontenttype: media_type.map(Into::into),
            data: Some(data.into()),
            ..full()
        };
        let json: serde_json::Value = serde_json::from_slice(&event.to_json()).unwrap();
        (json.get("data").cloned(), json.get("data_base64").cloned())
    };
    assert_eq!(written(None, b"[1]"), (Some(json!([1])), None));
    assert_eq!(written(Some("a/b+json"), b"null"), (Some(json!(null)), None));
    assert_eq!(written(Some("text/plain"), b"null"), (Some(json!("null")), None));
    assert_eq!(written(Some("image/svg+xml"), b"<a/>"), (Some(json!("<a/>")), None));
    // Data that is not of its type is binary.
    assert_eq!(written(None, b"{"), (None, Some(json!("ew=="))));
    assert_eq!(written(Some("text/plain"), &[255]), (None, Some(json!("/w=="))));
    assert_eq!(written(Some("image/png"), b"a"), (None, Some(json!("YQ=="))));
}

#[test]
fn attributes_of_headers() {
    let more =
        [("ce-note", "\"a \\\"b\\\\\" %E2%82%ac%zz"), ("content-type", "text/plain"), ("x", "y")];
    let events = http::read(&binary(&more), Bytes::new()).unwrap();
    assert_eq!(events[0].extensions, [("note".into(), "a \"b\\ €%zz".into())]);
    assert_eq!(events[0].datacontenttype.as_deref(), Some("text/plain"));
    assert_eq!(events[0].data, None);
}

#[test]
fn data_without_a_media_type_is_json_on_the_wire() {
    let event = CloudEvent { datacontenttype: None, ..full() };
    assert_eq!(http::binary(&event).unwrap().0["content-type"], "application/json");
    let event = CloudEvent { data: None, ..event };
    assert!(!http::binary(&event).unwrap().0.contains_key("content-type"));
}

#[test]
fn a_pattern_selects_an_event_by_its_attributes_and_data() {
    let pattern = json!({"type": [{"prefix": "order."}], "urgent": ["true"],
        "data": {"total": [{"numeric": ["=", 1.5]}]}});
    assert!(Pattern::parse(&pattern).unwrap().matches(&full().to_value()));
}

#[test]
fn times() {
    let is_time = |time: &str| CloudEvent { time: Some(time.into()), ..full() }.check().is_ok();
    for time in [
        "2018-04-05T17:31:00Z",
        "2018-04-05t17:31:00z",
        "2018-04-05T17:31:00.123456789Z",
        "2018-04-05T17:31:00+02:00",
        "2018-04-05T17:31:00.5-00:30",
    ] {
        assert!(is_time(time), "{time}");
    }
    for time in [
        "2018-04-05",
        "2018-04-05 17:31:00Z",
        "2018-04-05T17:31Z",
        "2018-04-05T17:31:00",
        "2018-13-05T17:31:00Z",
        "2018-04-05T25:31:00Z",
        "2018-04-05T17:31:00+0200",
        "2018-04-05T17:31:00Z[UTC]",
        "2018-04-05T17:31:00.Z",
        "20180405T173100Z",
        "yesterday",
    ] {
        assert!(!is_time(time), "{time}");
    }
}

#[test]
fn uris() {
    let is_source = |source: &str| CloudEvent { source: source.into(), ..full() }.check().is_ok();
    for source in [
        "https://github.com/cloudevents?a=b#c",
        "mailto:cncf@lists.cncf.io",
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "cloudevents/spec/pull/123",
        "/sensors/tn-1234567/alerts",
        "1-555-123-4567",
        "//[::1]:80/a%20b",
        "?a:b",
    ] {
        assert!(is_source(source), "{source}");
    }
    for source in ["a b", "a%2", "a%xy", "a#b#c", "1:a", ":a", "ä", "a\\b", "<a>", "{a}"] {
        assert!(!is_source(source), "{source}");
    }
    let schema = |uri: &str| CloudEvent { dataschema: Some(uri.into()), ..full() }.check().is_ok();
    assert!(schema("urn:a") && !schema("/a"));
}

proptest! {
    #[test]
    fn no_message_panics(body in ".{0,80}", value in "\\PC{0,20}", kind in 0..3_usize) {
        let media_type = ["application/cloudevents+json", "application/cloudevents-batch+json", "a"];
        let more = [("content-type", media_type[kind]), ("ce-note", &value)];
        let _ = http::read(&binary(&more), body.into());
    }

    #[test]
    fn texts_survive_each_mode(id in "\\PC{1,20}", note in "\\PC{0,20}", data in any::<Vec<u8>>()) {
        let data = (!data.is_empty()).then(|| data.into());
        let extensions = vec![("note".to_owned(), note)];
        let datacontenttype = Some("application/octet-stream".to_owned());
        let event = CloudEvent { id, extensions, data, datacontenttype, ..full() };
        prop_assume!(event.check().is_ok());
        prop_assert_eq!(&CloudEvent::from_json(&event.to_json()).unwrap(), &event);
        let (headers, body) = http::binary(&event).unwrap();
        prop_assert_eq!(http::read(&headers, body).unwrap(), [event]);
    }
}
