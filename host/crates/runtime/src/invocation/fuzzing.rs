//! The parts of invocations that fuzz targets reach. No interface: other users have to reckon with
//! their going away.

use ::http::{HeaderMap, Method, Request, Response};
use lacewing_base::{
    Limits,
    body::{Body, RequestStream},
};
use lacewing_sandbox::{LeanField, LeanResponse};

use super::{HttpRequest, http, response};

/// A request as the portable path hands it to a guest.
pub fn portable(request: HttpRequest<'_>, body: RequestStream) -> Request<RequestStream> {
    request.portable(body)
}

/// A request's header as the lean path hands it to a guest.
pub fn lean_fields(headers: &HeaderMap) -> Vec<LeanField<'_>> {
    http::fields(headers)
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
    response::from_lean(lean, limits, body_bytes, method).map_err(|error| error.to_string())
}

/// Checks and cleans the head of a response that streams; gives the length that its body is to
/// have.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn response_head<B>(
    response: &mut Response<B>,
    limits: &Limits,
) -> Result<Option<u64>, String> {
    response::check_head(response, limits).map_err(|error| error.to_string())
}
