//! [`fetch`](super::fetch) over wasi:http 0.2, whose calls block.

use wasip2::http::outgoing_handler;
use wasip2::http::types as wasi;
use wasip2::io::streams::StreamError;

use super::failure;
use crate::extract::header_map;
use crate::{Error, Request, Response, Result};

/// The most that one blocking write takes, in bytes: the standard says so.
const WRITE_BYTES: usize = 4096;
/// The most that is read at once, in bytes.
const READ_BYTES: u64 = 64 * 1024;

pub(super) fn send(request: Request) -> Result<Response> {
    let uri = request.uri().clone();
    let no_response =
        |code: wasi::ErrorCode| failure(&format!("{code:?}"), &format!("no response from {uri}"));
    let (request, body) = outgoing(request)?;
    // A request whose body is not touched has none, and the host says so.
    let outgoing_body = match body.is_empty() {
        true => None,
        false => Some(request.body().map_err(|()| Error::msg("the request has no body to write"))?),
    };
    let pending = outgoing_handler::handle(request, None).map_err(no_response)?;
    if let Some(outgoing_body) = outgoing_body {
        // The part that the other side did not take is not needed: the other side answers or fails
        // anyway.
        write(outgoing_body, &body);
    }
    let response = loop {
        match pending.get() {
            Some(Ok(response)) => break response.map_err(no_response)?,
            Some(Err(())) => return Err(Error::msg("the response was taken already")),
            None => pending.subscribe().block(),
        }
    };
    incoming(response).map_err(|error| match error.cause() {
        Some(cause) => {
            Error::bad_gateway("the response broke off").with_cause(format!("{uri}: {cause}"))
        }
        None => error,
    })
}

fn outgoing(request: Request) -> Result<(wasi::OutgoingRequest, Vec<u8>)> {
    let (mut parts, body) = request.into_parts();
    let body = body.into_vec()?;
    // The host sets it, from the URL.
    parts.headers.remove(http::header::HOST);
    if !body.is_empty() {
        parts.headers.insert(http::header::CONTENT_LENGTH, body.len().into());
    }
    let fields: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let fields = wasi::Fields::from_list(&fields)
        .map_err(|error| Error::msg(format_args!("the host refuses the headers: {error:?}")))?;
    let request = wasi::OutgoingRequest::new(fields);
    let refused = |()| Error::msg(format_args!("the host refuses the request to {}", parts.uri));
    request.set_method(&method(&parts.method)).map_err(refused)?;
    request.set_scheme(parts.uri.scheme().map(scheme).as_ref()).map_err(refused)?;
    request.set_authority(parts.uri.authority().map(|a| a.as_str())).map_err(refused)?;
    let path = parts.uri.path_and_query().map(|path| path.as_str());
    request.set_path_with_query(path).map_err(refused)?;
    Ok((request, body))
}

fn write(body: wasi::OutgoingBody, bytes: &[u8]) {
    if let Ok(stream) = body.write() {
        for chunk in bytes.chunks(WRITE_BYTES) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                return;
            }
        }
    }
    let _ = wasi::OutgoingBody::finish(body, None);
}

fn incoming(response: wasi::IncomingResponse) -> Result<Response> {
    let headers = header_map(response.headers().entries())?;
    let status = http::StatusCode::from_u16(response.status())?;
    let taken = |()| Error::msg("the body was taken already");
    let body = response.consume().map_err(taken)?;
    let stream = body.stream().map_err(taken)?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(chunk) if bytes.is_empty() => bytes = chunk,
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(Error::msg(error.to_debug_string()));
            }
        }
    }
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn method(method: &http::Method) -> wasi::Method {
    use http::Method;
    match *method {
        Method::GET => wasi::Method::Get,
        Method::HEAD => wasi::Method::Head,
        Method::POST => wasi::Method::Post,
        Method::PUT => wasi::Method::Put,
        Method::DELETE => wasi::Method::Delete,
        Method::CONNECT => wasi::Method::Connect,
        Method::OPTIONS => wasi::Method::Options,
        Method::TRACE => wasi::Method::Trace,
        Method::PATCH => wasi::Method::Patch,
        ref other => wasi::Method::Other(other.as_str().to_owned()),
    }
}

fn scheme(scheme: &http::uri::Scheme) -> wasi::Scheme {
    match scheme.as_str() {
        "http" => wasi::Scheme::Http,
        "https" => wasi::Scheme::Https,
        other => wasi::Scheme::Other(other.to_owned()),
    }
}
