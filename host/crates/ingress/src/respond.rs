//! The answers that the host makes itself: which status an outcome has, and the problem document
//! (RFC 9457).
//!
//! The status of an outcome is chosen in [`Outcome::http_status_where`]; a fault of the request
//! refines it here. The part that finds a failure describes it as a [`Problem`]. The client is told
//! nothing of the host beyond the outcome and one sentence.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use lacewing_base::{body::Body, outcome::Outcome};
use serde::Serialize;

use super::{
    options::Options,
    request_id::{REQUEST_ID_HEADER, RequestId},
};

/// The header that carries the outcome's word on every response.
pub const OUTCOME_HEADER: HeaderName = HeaderName::from_static("lacewing-outcome");

/// The methods that a server of functions knows, whatever its routes: the answer to `OPTIONS *`.
pub(super) const SERVED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// When a client is asked to come back where nobody knows better.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The fault of a request whose outcome is `bad_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadInput {
    /// It is not HTTP, or contradicts itself. 400.
    Malformed,
    /// It asks for a tunnel. 405, with the methods that are known.
    Connect,
    /// Its body did not arrive in time. 408.
    BodyTooSlow,
    /// Its body is over the limit. 413.
    BodyTooLarge,
    /// Its target is over the limit. 414.
    TargetTooLong,
    /// Its header is over the limit, in fields or in bytes. 431.
    HeaderTooLarge,
}

/// The cause of an answer without a response of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    /// An outcome that needs no more to be said.
    Of(Outcome),
    /// `no_route`, because of the method.
    Method {
        /// The value of `Allow`.
        allow: String,
    },
    /// `bad_request`.
    Input(BadInput),
    /// `store_unavailable`, because there is no room.
    StoreFull,
}

/// The status in the record of a problem that no client receives: nginx's "client closed request".
const NOT_SENT: u16 = 499;

impl Cause {
    fn outcome(&self) -> Outcome {
        match self {
            Cause::Of(outcome) => *outcome,
            Cause::Method { .. } => Outcome::NoRoute,
            Cause::Input(_) => Outcome::BadRequest,
            Cause::StoreFull => Outcome::StoreUnavailable,
        }
    }

    fn status(&self) -> u16 {
        match self {
            Cause::Of(outcome) => outcome.http_status().unwrap_or(NOT_SENT),
            Cause::Method { .. } => 405,
            Cause::StoreFull => self.outcome().http_status_where(true).unwrap_or(NOT_SENT),
            Cause::Input(input) => match input {
                BadInput::Malformed => 400,
                BadInput::Connect => 405,
                BadInput::BodyTooSlow => 408,
                BadInput::BodyTooLarge => 413,
                BadInput::TargetTooLong => 414,
                BadInput::HeaderTooLarge => 431,
            },
        }
    }

    fn default_detail(&self) -> &'static str {
        match self {
            Cause::Of(outcome) => match outcome {
                Outcome::Ok => "the function answered",
                Outcome::NoRoute => "no function is served at this address",
                Outcome::BadRequest => "the request is malformed",
                Outcome::Unauthorized => "the request has no credentials",
                Outcome::Forbidden => "the caller is not allowed to do this",
                Outcome::Throttled => {
                    "the function or its tenant has more requests than its concurrency or rate allows; try again later"
                }
                Outcome::LoadShed => "the host has no room for this request now; try again later",
                Outcome::Conflict => {
                    "other requests changed the same state again and again; try again later"
                }
                Outcome::StoreUnavailable => "the state of the function cannot be used now",
                Outcome::CpuExceeded => "the function used up its CPU time before it answered",
                Outcome::FuelExhausted => "the function used up its fuel before it answered",
                Outcome::DeadlineExceeded => "the function did not answer before its deadline",
                Outcome::MemoryExceeded => "the function ran out of memory",
                Outcome::Trap => "the function failed",
                Outcome::BadResponse => {
                    "the function answered with something that is not a valid response"
                }
                Outcome::NoResponse => "the function ended without an answer",
                Outcome::Canceled => "the client went away before the answer",
                Outcome::Internal => "the host failed; this is not the function's fault",
            },
            Cause::StoreFull => "the state that the function writes to has no room",
            Cause::Method { .. } => {
                "this path does not take this method; the Allow header lists the methods that it takes"
            }
            Cause::Input(input) => match input {
                BadInput::Malformed => "the request is malformed",
                BadInput::Connect => "this server is not a proxy and opens no tunnels",
                BadInput::BodyTooSlow => "the request's body did not arrive in time",
                BadInput::BodyTooLarge => "the request's body is too large",
                BadInput::TargetTooLong => "the request's path and query are too long",
                BadInput::HeaderTooLarge => "the request's header is too large",
            },
        }
    }

    /// The methods to name in `Allow`.
    fn allow(&self) -> Option<&str> {
        match self {
            Cause::Of(_) | Cause::StoreFull => None,
            Cause::Method { allow } => Some(allow),
            Cause::Input(BadInput::Connect) => Some(SERVED_METHODS),
            Cause::Input(
                BadInput::Malformed
                | BadInput::BodyTooSlow
                | BadInput::BodyTooLarge
                | BadInput::TargetTooLong
                | BadInput::HeaderTooLarge,
            ) => None,
        }
    }
}

fn title(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "OK",
        Outcome::NoRoute => "No route",
        Outcome::BadRequest => "Bad request",
        Outcome::Unauthorized => "Unauthorized",
        Outcome::Forbidden => "Forbidden",
        Outcome::Throttled => "Throttled",
        Outcome::LoadShed => "Load shed",
        Outcome::Conflict => "Conflict",
        Outcome::StoreUnavailable => "Store unavailable",
        Outcome::CpuExceeded => "CPU budget exceeded",
        Outcome::FuelExhausted => "Fuel exhausted",
        Outcome::DeadlineExceeded => "Deadline exceeded",
        Outcome::MemoryExceeded => "Memory exceeded",
        Outcome::Trap => "Function failed",
        Outcome::BadResponse => "Bad response",
        Outcome::NoResponse => "No response",
        Outcome::Canceled => "Canceled",
        Outcome::Internal => "Internal error",
    }
}

/// Why a request has no response of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    cause: Cause,
    detail: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    invocation: Option<Box<str>>,
}

impl Problem {
    /// The outcome, with the sentence that is usual for it.
    pub fn new(outcome: Outcome) -> Problem {
        Problem::from_cause(Cause::Of(outcome))
    }

    /// `no_route`, because nothing there serves the method: `allow` is the value of `Allow`.
    pub fn method_not_allowed(allow: String) -> Problem {
        Problem::from_cause(Cause::Method { allow })
    }

    /// `bad_request`.
    pub fn bad_input(input: BadInput) -> Problem {
        Problem::from_cause(Cause::Input(input))
    }

    /// `store_unavailable`, because a quota or the disk has no room.
    pub fn store_full() -> Problem {
        Problem::from_cause(Cause::StoreFull)
    }

    fn from_cause(cause: Cause) -> Problem {
        Problem { cause, detail: None, retry_after: None, invocation: None }
    }

    /// Replaces the usual sentence. The client reads it: nothing of the host belongs into it.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Problem {
        self.detail = Some(detail.into());
        self
    }

    /// When the client may try again. Without it, `throttled` and `load_shed` say one second, and
    /// others nothing.
    pub fn retry_after(mut self, after: Duration) -> Problem {
        self.retry_after = Some(after);
        self
    }

    /// The invocation that failed.
    pub fn invocation(mut self, id: impl Into<Box<str>>) -> Problem {
        self.invocation = Some(id.into());
        self
    }

    /// The one word for it.
    pub fn outcome(&self) -> Outcome {
        self.cause.outcome()
    }

    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.cause.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The sentence for the client.
    pub fn sentence(&self) -> &str {
        self.detail.as_deref().unwrap_or(self.cause.default_detail())
    }

    /// The sentence for the client, by itself.
    pub(super) fn into_sentence(self) -> Cow<'static, str> {
        self.detail.unwrap_or(Cow::Borrowed(self.cause.default_detail()))
    }

    /// The response, but for the headers that every response has.
    pub(super) fn to_response(&self, request_id: &str) -> Response<Body> {
        let mut response = Response::new(Body::full(self.document(request_id)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        if let Some(allow) = self.cause.allow()
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            headers.insert(header::ALLOW, allow);
        }
        response
    }

    /// Whole seconds, never fewer than are meant.
    fn retry_after_s(&self) -> Option<u64> {
        let usual = matches!(self.outcome(), Outcome::Throttled | Outcome::LoadShed);
        let after = self.retry_after.or(usual.then_some(RETRY_AFTER))?;
        Some(after.as_secs() + u64::from(after.subsec_nanos() > 0))
    }

    fn document(&self, request_id: &str) -> Bytes {
        let outcome = self.outcome();
        let document = Document {
            r#type: format!("urn:lacewing:outcome:{outcome}"),
            title: title(outcome),
            status: self.cause.status(),
            detail: self.sentence(),
            outcome: outcome.as_str(),
            invocation: self.invocation.as_deref(),
            request_id: self.invocation.is_none().then_some(request_id),
        };
        // Texts and a number: this cannot fail, and an empty body would still have the status and
        // the outcome.
        serde_json::to_vec(&document).unwrap_or_default().into()
    }
}

/// RFC 9457, with three members of our own.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation: Option<&'a str>,
    /// Where no function was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// The answer to `OPTIONS`: 204, and the methods that are served.
pub(super) fn options(allow: &str) -> Response<Body> {
    let mut response = Response::new(Body::EMPTY);
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// The answer that is sent in the place of `bare`, hyper's own answer to bytes that are no HTTP/1
/// request: a header without any body. hyper has chosen the status and written the date; both are
/// kept.
pub(super) fn refusal(
    bare: &str,
    status: u16,
    request_id: &RequestId,
    options: &Options,
) -> (Problem, Bytes) {
    let problem = match status {
        414 => Problem::bad_input(BadInput::TargetTooLong),
        431 => Problem::bad_input(BadInput::HeaderTooLarge).detail(format!(
            "the request's line and header are more than {} bytes, or more than {} fields",
            options.header_bytes, options.headers
        )),
        _ => Problem::bad_input(BadInput::Malformed)
            .detail("the request's first line or its header is not valid HTTP/1.1"),
    };
    let document = problem.document(request_id.as_str());
    let fields = format!(
        "content-type: application/problem+json\r\ncache-control: no-store\r\n{OUTCOME_HEADER}: {}\r\n{REQUEST_ID_HEADER}: {request_id}\r\ncontent-length: {}\r\n",
        problem.outcome(),
        document.len(),
    );
    let mut bytes = bare.replacen("content-length: 0\r\n", &fields, 1).into_bytes();
    bytes.extend_from_slice(&document);
    (problem, bytes.into())
}

/// The outcome's header value.
pub(super) fn outcome_value(outcome: Outcome) -> HeaderValue {
    HeaderValue::from_static(outcome.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(problem: &Problem) -> String {
        String::from_utf8(problem.document("0af7").to_vec()).unwrap()
    }

    #[test]
    fn every_outcome_has_the_status_of_the_table() {
        let statuses: Vec<(&str, u16)> = Outcome::ALL
            .iter()
            .map(|&outcome| (outcome.as_str(), Problem::new(outcome).status().as_u16()))
            .collect();
        assert_eq!(
            statuses,
            [
                ("ok", NOT_SENT),
                ("no_route", 404),
                ("bad_request", 400),
                ("unauthorized", 401),
                ("forbidden", 403),
                ("throttled", 429),
                ("load_shed", 503),
                ("conflict", 409),
                ("store_unavailable", 503),
                ("cpu_exceeded", 504),
                ("fuel_exhausted", 504),
                ("deadline_exceeded", 504),
                ("memory_exceeded", 502),
                ("trap", 502),
                ("bad_response", 502),
                ("no_response", 502),
                ("canceled", NOT_SENT),
                ("internal", 500),
            ]
        );
        let full = Problem::store_full();
        assert_eq!((full.outcome(), full.status().as_u16()), (Outcome::StoreUnavailable, 507));
        let inputs = [
            (BadInput::Malformed, 400),
            (BadInput::Connect, 405),
            (BadInput::BodyTooSlow, 408),
            (BadInput::BodyTooLarge, 413),
            (BadInput::TargetTooLong, 414),
            (BadInput::HeaderTooLarge, 431),
        ];
        for (input, status) in inputs {
            let problem = Problem::bad_input(input);
            assert_eq!(
                (problem.status().as_u16(), problem.outcome()),
                (status, Outcome::BadRequest)
            );
        }
    }

    #[test]
    fn the_document_is_rfc_9457() {
        assert_eq!(
            text(&Problem::new(Outcome::CpuExceeded).invocation("42")),
            r#"{"type":"urn:lacewing:outcome:cpu_exceeded","title":"CPU budget exceeded","status":504,"detail":"the function used up its CPU time before it answered","outcome":"cpu_exceeded","invocation":"42"}"#
        );
        assert_eq!(
            text(&Problem::bad_input(BadInput::Malformed).detail("no \"Host\"")),
            r#"{"type":"urn:lacewing:outcome:bad_request","title":"Bad request","status":400,"detail":"no \"Host\"","outcome":"bad_request","request_id":"0af7"}"#
        );
    }

    #[test]
    fn headers_go_with_the_outcome() {
        let response = Problem::new(Outcome::LoadShed).to_response("1");
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(!response.headers().contains_key("allow"));

        let response = Problem::new(Outcome::Throttled)
            .retry_after(Duration::from_millis(1500))
            .to_response("1");
        assert_eq!(response.headers()["retry-after"], "2");

        let response = Problem::method_not_allowed("GET, OPTIONS".to_owned()).to_response("1");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &HeaderValue::from_static("GET, OPTIONS"))
        );
        assert!(!response.headers().contains_key("retry-after"));
    }
}
