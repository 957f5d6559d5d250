//! The OpenAPI document against the answers: each answer is one that the document has.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;

use super::{KEYS, Running, exchange, objects::OBJECTS};
use crate::harness::Reply;

/// The document of a host, which needs no token.
async fn document(host: &Running) -> Value {
    let request = Request::get("/v1/openapi.json").header("host", "localhost");
    let reply = exchange(host.up.admin, request.body(Full::<Bytes>::default()).unwrap()).await;
    let reply = Reply::read(reply).await;
    assert_eq!(reply.headers["content-type"], "application/json");
    serde_json::from_slice(&reply.body).unwrap()
}

/// The part of the document that a reference names.
fn resolved<'a>(document: &'a Value, part: &'a Value) -> &'a Value {
    match part["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => part,
    }
}

/// The operation of a request in the document: its path there, and the operation.
fn operation<'a>(document: &'a Value, method: &Method, target: &str) -> (&'a str, &'a Value) {
    let path = target.split('?').next().unwrap();
    let fits = |template: &str| {
        let (wanted, found): (Vec<_>, Vec<_>) =
            (template.split('/').collect(), path.split('/').collect());
        wanted.len() == found.len()
            && wanted
                .iter()
                .zip(found)
                .all(|(wanted, found)| wanted.starts_with('{') || *wanted == found)
    };
    let paths = document["paths"].as_object().unwrap();
    let (template, methods) = paths.iter().find(|(template, _)| fits(template)).unwrap();
    (template, &methods[method.as_str().to_lowercase()])
}

/// A document has the members that its schema has, each of its type.
fn conforms(document: &Value, schema: &Value, found: &Value) {
    let schema = resolved(document, schema);
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    let kind = match found {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(kinds.contains(&kind), "{found} is no {kinds:?}");
    if let Value::Object(members) = found {
        let Some(properties) = schema["properties"].as_object() else { return };
        for (name, member) in members {
            conforms(document, &properties[name], member);
        }
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(members.contains_key(required.as_str().unwrap()), "{required} in {found}");
        }
    }
    for item in found.as_array().into_iter().flatten() {
        conforms(document, &schema["items"], item);
    }
}

/// An answer is one of those that the document has for its request.
fn is_described(document: &Value, method: &Method, target: &str, reply: &Reply) -> (String, u16) {
    let (template, operation) = operation(document, method, target);
    let status = reply.status.to_string();
    let described = resolved(document, &operation["responses"][&status]);
    assert!(described.is_object(), "{method} {target}: {status} {}", reply.text());
    for (name, _) in described["headers"].as_object().into_iter().flatten() {
        let may_lack = name == "lacewing-expires-ms";
        assert!(may_lack || reply.headers.contains_key(name), "{method} {target}: no {name}");
    }
    let kind = reply.headers.get("content-type").map(|kind| kind.to_str().unwrap());
    match (described["content"].as_object(), kind) {
        (None, None) => assert!(reply.body.is_empty()),
        (Some(kinds), Some(kind)) => {
            let content = kinds.get(kind).or_else(|| kinds.get("*/*"));
            let content = content.unwrap_or_else(|| panic!("{method} {target}: {kind}"));
            if kind.ends_with("json") {
                let found = serde_json::from_slice(&reply.body).unwrap();
                conforms(document, &content["schema"], &found);
            }
        }
        // HEAD has the fields of the content, and not the content.
        (None, Some(_)) if *method == Method::HEAD => assert!(reply.body.is_empty()),
        (wanted, found) => panic!("{method} {target}: {wanted:?}, and not {found:?}"),
    }
    (format!("{method} {template}"), reply.status)
}

/// A request: its method, target, fields and content.
type Asked<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], &'a str);

/// Sends requests, with the token and without it. Returns the operations and statuses.
async fn ask(host: &Running, document: &Value, all: &[Asked<'_>]) -> BTreeSet<(String, u16)> {
    let mut seen = BTreeSet::new();
    for (method, target, fields, content) in all {
        let reply = host.send(method.clone(), target, fields, (*content).to_owned()).await;
        seen.insert(is_described(document, method, target, &reply));
        // Without the token nothing is told, not even whether the path is there.
        if *target != "/v1/openapi.json" {
            let request = Request::builder().method(method.clone()).uri(*target);
            let request = request.header("host", "localhost").body(Full::<Bytes>::default());
            let reply = Reply::read(exchange(host.up.admin, request.unwrap()).await).await;
            assert_eq!(is_described(document, method, target, &reply).1, 401);
            assert_eq!(reply.headers["www-authenticate"], "Bearer realm=\"lacewing\"");
        }
    }
    seen
}

const NONE: &[(&str, &str)] = &[];

async fn of_objects(host: &Running, document: &Value) -> BTreeSet<(String, u16)> {
    let none = NONE;
    let object = format!("{OBJECTS}/a.txt");
    let huge = "x".repeat((1 << 20) + 1);
    let all: &[Asked<'_>] = &[
        (Method::PUT, &object, &[("content-type", "text/plain")], "body"),
        (Method::PUT, &object, &[("if-match", "\"77\"")], "1"),
        (Method::PUT, &object, none, &huge),
        (Method::PUT, &format!("{OBJECTS}/"), none, "1"),
        (Method::PUT, "/v1/tenants/local/buckets/shop.other/objects/a", none, "1"),
        (Method::GET, &object, none, ""),
        (Method::GET, &object, &[("range", "bytes=1-2")], ""),
        (Method::GET, &object, &[("range", "bytes=9-")], ""),
        (Method::GET, &object, &[("if-none-match", "*")], ""),
        (Method::GET, &object, &[("if-match", "\"77\"")], ""),
        (Method::GET, &object, none, "content"),
        (Method::GET, &format!("{OBJECTS}/b"), none, ""),
        (Method::HEAD, &object, none, ""),
        (Method::HEAD, &format!("{OBJECTS}/b"), none, ""),
        (Method::GET, OBJECTS, none, ""),
        (Method::GET, &format!("{OBJECTS}?limit=x"), none, ""),
        (Method::GET, "/v1/tenants/local/buckets/shop.other/objects", none, ""),
        (Method::GET, "/v1/tenants/local/buckets", none, ""),
        (Method::GET, "/v1/tenants/acme/buckets", none, ""),
        (Method::DELETE, &object, &[("if-match", "\"77\"")], ""),
        (Method::DELETE, &object, none, ""),
        (Method::DELETE, &object, none, ""),
    ];
    ask(host, document, all).await
}

async fn of_entries(host: &Running, document: &Value) -> BTreeSet<(String, u16)> {
    let key = format!("{KEYS}/ada");
    let page = format!("{KEYS}?limit=1");
    let (json, none): (&[_], _) = (&[("content-type", "application/json")], NONE);
    let large = "x".repeat(9 << 10);
    let order = format!("{{\"directory\":{:?}}}", host.path("copy"));
    std::fs::create_dir(host.path("copy")).unwrap();
    let all: &[Asked<'_>] = &[
        (Method::PUT, &*key, none, "1"),
        (Method::PUT, &key, &[("if-match", "\"77\"")], "1"),
        (Method::PUT, &key, none, &large),
        (Method::PUT, &format!("{KEYS}/"), none, "1"),
        (Method::PUT, &format!("{KEYS}/%ff"), none, "1"),
        (Method::PUT, "/v1/tenants/local/kv/shop/other/keys/a", none, "1"),
        (Method::GET, &key, none, ""),
        (Method::GET, &key, &[("if-none-match", "*")], ""),
        (Method::GET, &key, &[("if-match", "\"77\"")], ""),
        (Method::GET, &key, none, "content"),
        (Method::HEAD, &key, none, ""),
        (Method::HEAD, &format!("{KEYS}/bea"), none, ""),
        (Method::GET, &format!("{KEYS}/bea"), none, ""),
        (Method::GET, KEYS, none, ""),
        (Method::GET, &page, none, ""),
        (Method::HEAD, KEYS, none, ""),
        (Method::GET, &format!("{KEYS}?limit=x"), none, ""),
        (Method::GET, "/v1/tenants/acme/kv/shop/things/keys", none, ""),
        (Method::GET, "/v1/tenants/local/kv", none, ""),
        (Method::GET, "/v1/tenants/acme/kv", none, ""),
        (Method::GET, "/v1/tenants", none, ""),
        (Method::HEAD, "/v1/tenants", none, ""),
        (Method::POST, "/v1/tenants/local/checks", none, ""),
        (Method::POST, "/v1/tenants/acme/checks", none, ""),
        (Method::POST, "/v1/backups", json, &order),
        (Method::POST, "/v1/backups", json, &order),
        (Method::POST, "/v1/backups", json, "{\"directory\":\"/no/such\"}"),
        (Method::POST, "/v1/backups", json, "{"),
        (Method::POST, "/v1/backups", none, "{"),
        (Method::DELETE, &key, &[("if-match", "\"77\"")], ""),
        (Method::DELETE, &key, none, ""),
        (Method::DELETE, &key, none, ""),
        (Method::GET, "/v1/openapi.json", none, ""),
    ];
    ask(host, document, all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_is_in_the_document() {
    let host = Running::start();
    let document = document(&host).await;
    let mut seen = of_entries(&host, &document).await;
    seen.extend(of_objects(&host, &document).await);
    // Each operation was asked for what it does, and answered as asked.
    for (template, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let asked = format!("{} {template}", method.to_uppercase());
            let done = seen.iter().any(|(name, status)| *name == asked && *status < 400);
            assert!(done || method == "head", "{}", operation["operationId"]);
        }
    }
}
