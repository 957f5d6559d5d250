//! The OpenAPI document, made from the table of operations.

use http::{Method, StatusCode};
use lacewing_base::name::MAX_NAME_BYTES;
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    documents::Problem,
    operation::{Content, Operation, Parameter, ParameterKind, ParameterPlace, Success, schema},
};

/// The refusals that every operation has.
pub(super) const COMMON_REFUSALS: &[u16] = &[400, 401, 403, 413, 421, 431, 503, 504];

/// The refusals of an operation that takes content.
pub(super) const CONTENT_REFUSALS: &[u16] = &[408];

/// The path of the document itself.
pub(super) const PATH: &str = "/v1/openapi.json";

/// The document that describes some operations.
pub(super) fn document(operations: &[&Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for operation in operations {
        let methods = paths.entry(operation.path).or_insert_with(|| json!({}));
        methods[operation.method.as_str().to_lowercase()] = of(operation, &mut generator);
        if operation.method == Method::GET {
            methods["head"] = without_content(methods["get"].clone());
        }
    }
    paths.insert(PATH.to_owned(), json!({ "get": own() }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lacewing",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "The state of a running host.",
            "description": "The host listens at the address of `admin`. The token and the address are in the file `lacewing.admin` of the state directory. A request that is refused is answered with a problem document (RFC 9457).",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": responses(),
        },
    })
}

fn of(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let parameters: Vec<_> = operation.parameters.iter().map(parameter).collect();
    let mut found = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {},
    });
    if let Some(content) = content(operation.content, generator) {
        found["requestBody"] = json!({ "required": true, "content": content });
    }
    for success in operation.answers {
        found["responses"][success.status.to_string()] = answer(success, generator);
    }
    for status in refusals(operation) {
        let reference = format!("#/components/responses/{status}");
        found["responses"][status.to_string()] = json!({ "$ref": reference });
    }
    found
}

/// The statuses with which an operation may refuse.
pub(super) fn refusals(operation: &Operation) -> impl Iterator<Item = u16> {
    let own = operation.refusals;
    let content: &[u16] = match operation.content {
        Content::Empty => &[],
        Content::Bytes { .. } | Content::Json { .. } | Content::Stream => CONTENT_REFUSALS,
    };
    [COMMON_REFUSALS, content, own].concat().into_iter()
}

/// The operation of HEAD, which is that of GET without the content of its answer.
fn without_content(mut operation: Value) -> Value {
    if let Some(id) = operation["operationId"].as_str() {
        operation["operationId"] = format!("{id}Head").into();
    }
    let responses = operation["responses"].as_object_mut();
    for (status, response) in responses.into_iter().flatten() {
        if let Some(success) = response.as_object_mut()
            && success.remove("$ref").is_some()
        {
            success.insert("description".to_owned(), title(status.parse().unwrap_or(0)).into());
        } else if let Some(success) = response.as_object_mut() {
            success.remove("content");
        }
    }
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    let place = match parameter.place {
        ParameterPlace::Path => "path",
        ParameterPlace::Query => "query",
        ParameterPlace::Header => "header",
    };
    let schema = match parameter.kind {
        ParameterKind::Name => json!({
            "type": "string",
            "maxLength": MAX_NAME_BYTES,
            "pattern": "^[a-z]([a-z0-9-]*[a-z0-9])?$",
        }),
        // An app's name, a dot and the bucket's name.
        ParameterKind::Bucket => json!({
            "type": "string",
            "maxLength": 2 * MAX_NAME_BYTES + 1,
            "pattern": "^[a-z0-9][a-z0-9.-]*$",
        }),
        ParameterKind::Key { max } => {
            json!({ "type": "string", "minLength": 1, "maxLength": max })
        }
        ParameterKind::Text { max } => json!({ "type": "string", "maxLength": max }),
        ParameterKind::Number { min, max } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        ParameterKind::Tags => json!({
            "type": "string",
            "pattern": r#"^(\*|(W/)?"[0-9a-f-]+"(, (W/)?"[0-9a-f-]+")*)$"#,
        }),
        ParameterKind::Range => {
            json!({ "type": "string", "pattern": "^bytes=([0-9]+-[0-9]*|-[0-9]+)$" })
        }
    };
    json!({
        "name": parameter.name,
        "in": place,
        "description": parameter.description,
        "required": parameter.place == ParameterPlace::Path,
        "schema": schema,
    })
}

/// The content of a request or an answer; `None` for none.
fn content(content: Content, generator: &mut SchemaGenerator) -> Option<Value> {
    match content {
        Content::Empty => None,
        Content::Bytes { .. } => Some(json!({ "application/octet-stream": { "schema": {} } })),
        Content::Stream => Some(json!({ "*/*": { "schema": {} } })),
        Content::Json { schema, .. } => {
            Some(json!({ "application/json": { "schema": schema(generator) } }))
        }
    }
}

fn answer(success: &Success, generator: &mut SchemaGenerator) -> Value {
    let mut found = json!({ "description": success.description });
    if let Some(content) = content(success.content, generator) {
        found["content"] = content;
    }
    for (name, description) in success.fields {
        found["headers"][name] =
            json!({ "description": description, "schema": { "type": "string" } });
    }
    found
}

fn title(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("")
}

/// The status of a head that is too large. The library of HTTP answers it, before the API.
const HEAD_TOO_LARGE: u16 = 431;

/// The refusals of all operations, by status.
fn responses() -> Value {
    let mut responses = Map::new();
    for (status, cause) in [
        (400, "A parameter, a field or the content is not as described."),
        (401, "The request has no token, or not that of this start of the host."),
        (403, "The request comes from a page of another site."),
        (
            404,
            "The tenant, the store or bucket, the entry or object, or the directory is not there.",
        ),
        (408, "The content was not complete in time."),
        (
            409,
            "Others change the same entry again and again, the store or bucket takes no writes, or the directory is not empty.",
        ),
        (412, "A condition of the request does not hold."),
        (413, "The content, the value or the object is larger than what is allowed."),
        (415, "The content is of another type."),
        (416, "The body has none of the bytes that are asked for."),
        (421, "The host field is none of the listener's."),
        (HEAD_TOO_LARGE, "The head is too large. The answer has no content."),
        (503, "Too many requests are under way, or the state cannot be used."),
        (504, "The disk did not answer in time. The write may have been made or not."),
        (507, "The disk, the store, the bucket or the tenant's quota is full."),
    ] {
        let mut response = json!({
            "description": cause,
            "content": {
                "application/problem+json": {
                    "schema": schema::<Problem>(&mut problem_generator()),
                },
            },
        });
        if status == HEAD_TOO_LARGE
            && let Some(response) = response.as_object_mut()
        {
            response.remove("content");
        }
        if status == 401 {
            response["headers"]["WWW-Authenticate"] =
                json!({ "required": true, "schema": { "type": "string" } });
        }
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

/// A generator that refers to the schemas of the document.
fn problem_generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator()
}

/// The operation that answers with the document.
fn own() -> Value {
    json!({
        "operationId": "getOpenApi",
        "summary": "This document.",
        "security": [],
        "responses": {
            "200": {
                "description": "The document.",
                "content": { "application/json": { "schema": { "type": "object" } } },
            },
        },
    })
}
