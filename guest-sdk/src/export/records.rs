//! The exports of our own contract: records in, records out, each field converted at most once.

use http::HeaderMap;

use super::flush;
use crate::bindings::call::exports::lacewing::function::call as call_wit;
use crate::bindings::events::exports::lacewing::function::events as events_wit;
use crate::bindings::http::exports::lacewing::function::http as wit;
use crate::call::CallHandler;
use crate::error::Retry;
use crate::event::{Event, EventHandler, Failure, RawEvent};
use crate::extract::{Incoming, Raw, Route};
use crate::handler::HttpHandler;
use crate::log;
use crate::respond::{IntoResponse, Reply, Response};

/// Runs a handler on one request.
pub fn http<Args>(request: wit::Request, handler: impl HttpHandler<Args>) -> wit::Response {
    log::install();
    let reply = handler.reply(incoming(request));
    flush();
    match reply {
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

/// Runs a handler on a batch of events.
pub fn events<Args>(
    batch: Vec<events_wit::Event>,
    handler: impl EventHandler<Args>,
) -> Vec<Result<(), events_wit::Failure>> {
    log::install();
    let results = handler.handle(batch.into_iter().map(event).collect());
    flush();
    results.into_iter().map(|result| result.map_err(failure)).collect()
}

fn event(event: events_wit::Event) -> RawEvent {
    Event {
        id: event.id,
        source: event.source,
        ty: event.type_,
        subject: event.subject,
        time: event.time,
        datacontenttype: event.datacontenttype,
        dataschema: event.dataschema,
        extensions: event
            .extensions
            .into_iter()
            .map(|extension| (extension.name, extension.value))
            .collect(),
        attempt: event.attempt,
        data: event.data,
    }
}

fn failure(failure: Failure) -> events_wit::Failure {
    let retry = match failure.retry {
        Retry::Backoff => events_wit::Retry::Backoff,
        Retry::After(wait) => {
            events_wit::Retry::AfterMs(wait.as_millis().try_into().unwrap_or(u64::MAX))
        }
        Retry::Never => events_wit::Retry::Never,
    };
    events_wit::Failure { message: failure.message, retry }
}

/// Runs a handler on a payload.
pub fn call<Args>(
    payload: Vec<u8>,
    handler: impl CallHandler<Args>,
) -> Result<Vec<u8>, call_wit::Error> {
    log::install();
    let result = handler.call(payload);
    flush();
    result.map_err(|failure| call_wit::Error { name: failure.name, message: failure.message })
}
