//! [`send`](super::send) over wasi:http 0.3.

use http::HeaderMap;
use wasip3::http::client;
use wasip3::http::types as wasi;

use crate::extract::header_map;
use crate::wasi3::{failure, fields, incoming, outgoing};
use crate::{Error, Request, Response, Result};

pub(super) async fn send(request: Request) -> Result<Response> {
    let uri = request.uri().clone();
    let response = client::send(outgoing_request(request)?)
        .await
        .map_err(|code| failure(&code, &format!("no response from {uri}")))?;
    incoming_response(response)
}

fn outgoing_request(request: Request) -> Result<wasi::Request> {
    let (mut parts, body) = request.into_parts();
    // The host sets it, from the URL.
    parts.headers.remove(http::header::HOST);
    if let Some(bytes) = body.as_bytes().filter(|bytes| !bytes.is_empty()) {
        parts.headers.insert(http::header::CONTENT_LENGTH, bytes.len().into());
    }
    let (contents, end) = outgoing(body);
    let (request, _sent) = wasi::Request::new(fields(&parts.headers)?, contents, end, None);
    let refused = |()| Error::msg(format_args!("the host refuses the request to {}", parts.uri));
    request.set_method(&method(&parts.method)).map_err(refused)?;
    request.set_scheme(parts.uri.scheme().map(scheme).as_ref()).map_err(refused)?;
    request.set_authority(parts.uri.authority().map(|a| a.as_str())).map_err(refused)?;
    let path = parts.uri.path_and_query().map(|path| path.as_str());
    request.set_path_with_query(path).map_err(refused)?;
    Ok(request)
}

fn incoming_response(response: wasi::Response) -> Result<Response> {
    let status = response.get_status_code();
    let headers: HeaderMap = header_map(response.get_headers().copy_all()).map_err(|error| {
        Error::bad_gateway("a header of the response is malformed").with_detail(error)
    })?;
    let body = incoming(|verdict| wasi::Response::consume_body(response, verdict));
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(status)?;
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
