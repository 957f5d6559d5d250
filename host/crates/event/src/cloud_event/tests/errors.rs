//! The errors of events, word for word.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{CloudEvent, binary, full, headers};
use crate::cloud_event::{MAX_EXTENSIONS, http};

/// An event with other members is refused. Null removes a member.
#[track_caller]
fn refuses(more: Value, expected: &str) {
    let mut json = json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "paid"});
    json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let error = CloudEvent::from_json(json.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), format!("the event: {expected}"));
}

#[track_caller]
fn refuses_headers(more: &[(&str, &str)], expected: &str) {
    let error = http::read(&binary(more), Bytes::new()).unwrap_err();
    assert_eq!(error.to_string(), format!("the event: {expected}"));
}

#[test]
fn required_attributes() {
    for name in ["specversion", "id", "source", "type"] {
        refuses(
            json!({ name: null }),
            &format!("`{name}` is missing: an event has `specversion`, `id`, `source` and `type`"),
        );
    }
    for name in ["id", "source", "type", "subject", "time", "datacontenttype", "dataschema"] {
        refuses(json!({ name: "" }), &format!("`{name}` is empty: give it a value"));
    }
    refuses(
        json!({"specversion": "0.3"}),
        "`specversion` is \"0.3\": send an event of version \"1.0\"",
    );
}

#[test]
fn forms() {
    refuses(
        json!({"source": "a b"}),
        "`source` is \"a b\": write a URI reference, and other characters as `%20`",
    );
    refuses(
        json!({"source": "1:a"}),
        "`source` is \"1:a\": write a URI reference, as in `https://example.com/a` or `/a`",
    );
    refuses(
        json!({"dataschema": "a"}),
        "`dataschema` is \"a\": write a URI with its scheme, as in `https://example.com/schema`",
    );
    refuses(
        json!({"time": "noon"}),
        "`time` is \"noon\": write a time of RFC 3339, as in `2026-01-31T12:00:00Z`",
    );
    refuses(
        json!({"datacontenttype": "json"}),
        "`datacontenttype` is \"json\": write a media type, as in `application/json`",
    );
    refuses(
        json!({"datacontenttype": "a/b;c=ä"}),
        "`datacontenttype` is \"a/b;c=ä\": write a media type, as in `application/json`",
    );
    for (text, code) in
        [("a\n", "000A"), ("\u{85}", "0085"), ("\u{fdd0}", "FDD0"), ("\u{1ffff}", "1FFFF")]
    {
        refuses(
            json!({ "id": text }),
            &format!("`id` has the character U+{code}: attributes have printable ones"),
        );
    }
}

#[test]
fn extensions() {
    for name in ["traceId", "trace_id", "trace-id", "", "ä"] {
        refuses(
            json!({ name: "a" }),
            &format!(
                "`{name}` is no name of an attribute: use lower-case letters and digits, as in \
                 `traceid`"
            ),
        );
    }
    for value in [json!(1.5), json!(2147483648_u32), json!([]), json!({})] {
        refuses(
            json!({ "note": value }),
            "`note` is no value of an attribute: send a string, a boolean, or a whole number of \
             32 bits",
        );
    }
    let check = |names: [&str; 2]| {
        let extensions = names.map(|name| (name.to_owned(), String::new())).into();
        CloudEvent { extensions, ..full() }.check().unwrap_err().to_string()
    };
    assert_eq!(check(["a", "a"]), "the event: `a` is there twice: an attribute has one value");
    assert_eq!(
        check(["a", "data"]),
        "the event: `data` is no extension: give the extension another name"
    );
}

#[test]
fn json_data() {
    refuses(
        json!({"data": 1, "data_base64": "YQ=="}),
        "`data_base64` stands beside `data`: send one of them",
    );
    for wrong in [json!("YQ"), json!("?"), json!(1)] {
        refuses(
            json!({ "data_base64": wrong }),
            "`data_base64` is no Base64: send a padded string (RFC 4648)",
        );
    }
    refuses(
        json!({"datacontenttype": "text/plain", "data": 1}),
        "`data` is no string, and `datacontenttype` is not of JSON: send a string, or \
         `data_base64`",
    );
    let error = CloudEvent::from_json(b"[]").unwrap_err().to_string();
    let expected = "the event: it is no JSON object (invalid type: sequence, expected a map at \
                    line 1 column 0): send one with `id`";
    assert_eq!(error, expected);
}

#[test]
fn batches() {
    let event = String::from_utf8(full().to_json()).unwrap();
    let error = CloudEvent::batch_from_json(format!("[{event}, {{}}]").as_bytes()).unwrap_err();
    assert_eq!((error.index(), error.attribute()), (Some(1), Some("specversion")));
    let expected = "the event 1 of the batch: `specversion` is missing: an event has \
                    `specversion`, `id`, `source` and `type`";
    assert_eq!(error.to_string(), expected);
    let error = CloudEvent::batch_from_json(b"{}").unwrap_err().to_string();
    let expected = "the event: the batch is no JSON list (invalid type: map, expected a sequence \
                    at line 1 column 0): send `[{…}, {…}]`";
    assert_eq!(error, expected);
}

#[test]
fn messages() {
    refuses_headers(
        &[("content-type", "application/cloudevents+avro")],
        "`content-type` is \"application/cloudevents+avro\": send \
         `application/cloudevents+json`, `application/cloudevents-batch+json`, or `ce-` headers",
    );
    refuses_headers(
        &[("ce-datacontenttype", "a/b")],
        "`ce-datacontenttype` is no header: send the media type as `content-type`",
    );
    refuses_headers(&[("ce-id", "2")], "`id` is there twice: an attribute has one value");
    refuses_headers(
        &[("ce-note", "ä")],
        "`ce-note` has bytes outside of printable ASCII: encode them, as in `%E2%82%AC`",
    );
    refuses_headers(
        &[("ce-note", "%C0%A0")],
        "`ce-note` is no UTF-8 after percent-decoding: encode UTF-8",
    );
    for open in ["\"a", "\"a\\"] {
        refuses_headers(
            &[("ce-note", open)],
            "`ce-note` has an open quote: close it, or send `%22`",
        );
    }
    let error = http::read(&headers(&[]), Bytes::new()).unwrap_err().to_string();
    let expected = "the event: the message has no `ce-` header: send `ce-id` and so on, or JSON \
                    as `application/cloudevents+json`";
    assert_eq!(error, expected);
}

#[test]
fn an_event_that_no_header_holds() {
    let wrong = |event: CloudEvent| http::binary(&event).unwrap_err().to_string();
    assert_eq!(
        wrong(CloudEvent { id: String::new(), ..full() }),
        "the event: `id` is empty: give it a value"
    );
    let name = "a".repeat(1 << 16);
    assert_eq!(
        wrong(CloudEvent { extensions: vec![(name.clone(), String::new())], ..full() }),
        format!("the event: `{name}` is too long for a header: shorten it")
    );
}

#[test]
fn many_extensions() {
    let event = |count| CloudEvent {
        extensions: (0..count).map(|at| (format!("e{at}"), String::new())).collect(),
        ..full()
    };
    event(MAX_EXTENSIONS).check().unwrap();
    assert_eq!(
        event(MAX_EXTENSIONS + 1).check().unwrap_err().to_string(),
        "the event: it has 101 extensions, and the most are 100: send more as data"
    );
}
