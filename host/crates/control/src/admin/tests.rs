//! The table of operations, and the document that is made of it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::admin::operation::Content;

fn openapi() -> Value {
    serde_json::from_slice(&OPENAPI).unwrap()
}

#[test]
fn the_document_has_each_operation_once() {
    let document = openapi();
    let mut ids = BTreeSet::new();
    for operation in operations() {
        let method = operation.method.as_str().to_lowercase();
        let found = &document["paths"][operation.path][&method];
        assert_eq!(found["operationId"], operation.id);
        assert!(ids.insert(operation.id), "{} is there twice", operation.id);
        assert!(operation.summary.ends_with('.'), "{}", operation.summary);
        if operation.method == Method::GET {
            let head = &document["paths"][operation.path]["head"];
            assert_eq!(head["operationId"], format!("{}Head", operation.id));
            assert_eq!(head["parameters"], found["parameters"]);
        }
        for success in operation.answers {
            let answer = &found["responses"][success.status.to_string()];
            let has_content = !matches!(success.content, Content::Empty);
            assert_eq!(answer["content"].is_object(), has_content, "{} {answer}", operation.id);
        }
    }
    assert_eq!(ids.len(), 13);
}

/// The parameters of a path are those of its template, in the same order: handlers read them by
/// their place.
#[test]
fn parameters_of_paths_are_those_of_the_template() {
    for operation in operations() {
        let of_path = operation.parameters.iter().filter(|one| one.place == ParameterPlace::Path);
        let named: Vec<_> = of_path.map(|one| format!("{{{}}}", one.name)).collect();
        let segments = operation.path.split('/').filter(|segment| segment.starts_with('{'));
        assert_eq!(named, segments.collect::<Vec<_>>(), "{}", operation.id);
    }
}

/// Every reference of the document leads to a part of it.
#[test]
fn references_lead_somewhere() {
    fn check(document: &Value, at: &Value, seen: &mut usize) {
        match at {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                    *seen += 1;
                }
                fields.values().for_each(|value| check(document, value, seen));
            }
            Value::Array(values) => values.iter().for_each(|value| check(document, value, seen)),
            _ => {}
        }
    }
    let (document, mut seen) = (openapi(), 0);
    check(&document, &document, &mut seen);
    assert!(seen > 40, "{seen} references");
}

#[test]
fn a_path_has_its_methods_and_no_others() {
    let route = |method: Method, path: &str| {
        let (head, ()) =
            http::Request::builder().method(method).uri(path).body(()).unwrap().into_parts();
        match ControlApi::route(&head) {
            Ok((operation, path)) => Ok((operation.id, path.join(" "))),
            Err(refused) => {
                let allow = refused.headers().get(header::ALLOW);
                let allow = allow.map(|allow| allow.to_str().unwrap().to_owned());
                Err((refused.status().as_u16(), allow.unwrap_or_default()))
            }
        }
    };
    let key = "/v1/tenants/acme/kv/shop/users/keys/a%2Fb";
    let words = "acme shop users a/b".to_owned();
    assert_eq!(route(Method::GET, key), Ok(("getEntry", words.clone())));
    assert_eq!(route(Method::HEAD, key), Ok(("getEntry", words.clone())));
    assert_eq!(route(Method::PUT, key), Ok(("setEntry", words)));
    assert_eq!(route(Method::POST, key), Err((405, "GET, HEAD, PUT, DELETE".to_owned())));
    assert_eq!(route(Method::GET, "/v1/backups"), Err((405, "POST".to_owned())));
    assert_eq!(route(Method::GET, "/v1/tenants/"), Err((404, String::new())));
    assert_eq!(route(Method::GET, "/v1/tenants/%ff/kv").unwrap_err().0, 400);
}

#[test]
fn parameters_are_within_their_bounds() {
    let keys = operations().find(|operation| operation.id == "listKeys").unwrap();
    let check = |query: &str| {
        let path = ["acme", "shop", "users"].map(str::to_owned);
        checked(keys, &path, query).map_err(|refusal| refusal.detail)
    };
    assert_eq!(check("limit=1000&prefix=").unwrap().len(), 2);
    for (query, fault) in [
        ("limit=0", "`limit` is \"0\"; it is a whole number from 1 to 1000"),
        ("limit=1001", "`limit` is \"1001\"; it is a whole number from 1 to 1000"),
        ("limit=x", "`limit` is \"x\"; it is a whole number from 1 to 1000"),
        ("limit=", "`limit` is \"\"; it is a whole number from 1 to 1000"),
        ("lim=1", "the query has no parameter \"lim\" here: there are prefix, after, limit"),
    ] {
        assert_eq!(check(query).unwrap_err(), fault);
    }
    let long = format!("prefix={}", "x".repeat(513));
    assert_eq!(check(&long).unwrap_err(), "`prefix` has 513 bytes; the limit is 512");
}
