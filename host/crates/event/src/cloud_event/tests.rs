//! Tests of CloudEvents.

mod errors;
mod format;
mod public;

use ::http::{HeaderMap, HeaderName, HeaderValue};

use super::CloudEvent;

/// An event with every attribute.
fn full() -> CloudEvent {
    CloudEvent {
        id: "1".into(),
        source: "/shop".into(),
        ty: "order.paid".into(),
        subject: Some("orders/7".into()),
        time: Some("2026-01-31T12:00:00Z".into()),
        datacontenttype: Some("application/json".into()),
        dataschema: Some("https://example.com/order".into()),
        extensions: vec![("traceid".into(), "€ \"5%\"".into()), ("urgent".into(), "true".into())],
        data: Some(r#"{"total": 1.50}"#.into()),
    }
}

fn headers(headers: &[(&str, &str)]) -> HeaderMap {
    let parse = |(name, value): &(&str, &str)| {
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    let mut map = HeaderMap::new();
    headers.iter().map(parse).for_each(|(name, value)| _ = map.append(name, value));
    map
}

/// The headers of a small event in binary mode, and more.
fn binary(more: &[(&str, &str)]) -> HeaderMap {
    let small =
        [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/shop"), ("ce-type", "paid")];
    headers(&[&small, more].concat())
}
