//! The export of wasi:http/handler 0.3: bodies stream in both directions.

use http::header;
use wasip3::http::types as wasi;

use super::flush;
use crate::extract::{Incoming, Raw, Route};
use crate::handler::AsyncHttpHandler;
use crate::log;
use crate::respond::Response;
use crate::task::scope;
use crate::wasi3::{fields, incoming, outgoing};

/// The request header in which the host says what the route captured: form-urlencoded pairs, in
/// order.
const PARAMS: &str = "lacewing-params";
/// The request header in which the host says which pattern matched.
const ROUTE: &str = "lacewing-route";

/// Runs a handler on one request; its tasks go on after the head of the response has been returned.
pub async fn async_http<Args>(
    request: wasi::Request,
    handler: impl AsyncHttpHandler<Args>,
) -> Result<wasi::Response, wasi::ErrorCode> {
    log::install();
    let reply = scope::within(handler.reply(taken_apart(request)));
    let response = reply.await.into_response();
    flush();
    put_together(response).map_err(|error| {
        error.log();
        wasi::ErrorCode::InternalError(None)
    })
}

fn taken_apart(request: wasi::Request) -> Incoming {
    let mut headers = request.get_headers().copy_all();
    let mut route = Route::default();
    headers.retain(|(name, value)| match name.as_str() {
        ROUTE => {
            route.pattern = String::from_utf8_lossy(value).into_owned();
            false
        }
        PARAMS => {
            route.params = form_urlencoded::parse(value).into_owned().collect();
            false
        }
        _ => true,
    });
    let raw = Raw {
        method: method(request.get_method()),
        scheme: request.get_scheme().map(scheme).unwrap_or_default(),
        authority: request.get_authority().unwrap_or_default(),
        path_with_query: request.get_path_with_query().unwrap_or_default(),
        headers,
    };
    let body = incoming(|verdict| wasi::Request::consume_body(request, verdict));
    Incoming::from_raw(raw, route, body)
}

fn put_together(response: Response) -> crate::Result<wasi::Response> {
    let (mut parts, body) = response.into_parts();
    if let Some(bytes) = body.as_bytes() {
        parts.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| bytes.len().into());
    }
    let headers = fields(&parts.headers)?;
    let (contents, end) = outgoing(body);
    let (response, _sent) = wasi::Response::new(headers, contents, end);
    // A status of the `http` crate is always one that the host takes.
    let _ = response.set_status_code(parts.status.as_u16());
    Ok(response)
}

fn method(method: wasi::Method) -> String {
    let name = match method {
        wasi::Method::Get => "GET",
        wasi::Method::Head => "HEAD",
        wasi::Method::Post => "POST",
        wasi::Method::Put => "PUT",
        wasi::Method::Delete => "DELETE",
        wasi::Method::Connect => "CONNECT",
        wasi::Method::Options => "OPTIONS",
        wasi::Method::Trace => "TRACE",
        wasi::Method::Patch => "PATCH",
        wasi::Method::Other(name) => return name,
    };
    name.to_owned()
}

fn scheme(scheme: wasi::Scheme) -> String {
    match scheme {
        wasi::Scheme::Http => "http".to_owned(),
        wasi::Scheme::Https => "https".to_owned(),
        wasi::Scheme::Other(name) => name,
    }
}
