//! What fuzz targets reach of the inside. No interface: whatever else uses it has to reckon with its going away.

use http::{HeaderMap, Method, Request, Response, request::Parts};

use crate::{
    body::{Body, RequestStream},
    engine,
    ingress::{self, Problem},
    invocation::{self, HttpRequest},
    manifest::Limits,
    sandbox::{LeanField, LeanResponse},
};

/// What is compiled in the place of a component, where that is something else.
pub fn folded(component: &[u8]) -> Option<Vec<u8>> {
    engine::folded(component)
}

/// Whether a component names an interface of WASI 0.3.
pub fn names_wasi_03(component: &[u8]) -> bool {
    engine::names_wasi_03(component)
}

/// The authority and the path that a request is for.
///
/// # Errors
/// It is for none, or two readers could take it for two.
pub fn target(parts: &Parts, max_bytes: usize) -> Result<(&str, &str), Problem> {
    let target = ingress::read_target(parts, max_bytes)?;
    Ok((target.authority, target.path))
}

/// A request as the portable path hands it to a guest.
pub fn portable(request: HttpRequest<'_>, body: RequestStream) -> Request<RequestStream> {
    request.portable(body)
}

/// A request's header as the lean path hands it to a guest.
pub fn lean_fields(headers: &HeaderMap) -> Vec<LeanField<'_>> {
    invocation::lean_fields(headers)
}

/// The response of the lean path that is made of what a guest returned.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn response(
    lean: LeanResponse,
    limits: &Limits,
    body_bytes: u64,
    method: &Method,
) -> Result<Response<Body>, String> {
    invocation::from_lean(lean, limits, body_bytes, method).map_err(|error| error.to_string())
}

/// Checks and cleans the head of a response that streams; gives the length that its body is to have.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn response_head<B>(
    response: &mut Response<B>,
    limits: &Limits,
) -> Result<Option<u64>, String> {
    invocation::check_head(response, limits).map_err(|error| error.to_string())
}
