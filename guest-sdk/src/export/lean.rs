//! The lean path: a record in, a record out, each field converted at most once.

use http::HeaderMap;

use crate::bindings::http::exports::lacewing::function::http as wit;
use crate::extract::{Incoming, Raw, Route};
use crate::handler::HttpHandler;
use crate::log;
use crate::respond::{IntoResponse, Reply, Response};

/// Runs a handler on one request.
pub fn http<Args>(request: wit::Request, handler: impl HttpHandler<Args>) -> wit::Response {
    log::install();
    match handler.reply(incoming(request)) {
        Reply::Plain { content_type, body } => match body.into_vec() {
            Ok(body) => {
                let field = wit::Field { name: "content-type".into(), value: content_type.into() };
                wit::Response { status: 200, headers: vec![field], body }
            }
            Err(error) => full(error.into_response()),
        },
        Reply::Full(response) => full(response),
    }
}

fn incoming(request: wit::Request) -> Incoming {
    let params = request.params.into_iter().map(|param| (param.name, param.value)).collect();
    let headers = request.headers.into_iter().map(|field| (field.name, field.value)).collect();
    let raw = Raw {
        method: request.method,
        scheme: request.scheme,
        authority: request.authority,
        path_with_query: request.path_with_query,
        headers,
    };
    Incoming::from_raw(raw, Route { pattern: request.route, params }, request.body.into())
}

fn full(response: Response) -> wit::Response {
    let (parts, body) = response.into_parts();
    match body.into_vec() {
        Ok(body) => {
            wit::Response { status: parts.status.as_u16(), headers: fields(&parts.headers), body }
        }
        Err(error) => full(error.into_response()),
    }
}

fn fields(headers: &HeaderMap) -> Vec<wit::Field> {
    headers
        .iter()
        .map(|(name, value)| wit::Field {
            name: name.as_str().into(),
            value: value.as_bytes().into(),
        })
        .collect()
}
