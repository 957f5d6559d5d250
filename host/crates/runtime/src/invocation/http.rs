//! An HTTP request's way through a function.

use std::{
    pin::{Pin, pin},
    sync::Arc,
};

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri,
    header::CONTENT_LENGTH,
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use bytes::Bytes;
use futures_util::future::AbortHandle;
use http_body_util::BodyExt;
use lacewing_base::{
    Limits,
    body::{Body, BodyError, FREE_BYTES, RequestStream, ResponseStream},
    budget::Share,
    event_loop,
    outcome::Outcome,
};
use lacewing_sandbox::{
    Fault, LeanField, LeanParam, LeanRequest, Sandbox, capability::egress::Propagation,
};
use tokio::sync::oneshot;

use super::{
    Failure,
    commit::{Runs, Verdict},
    headers::Excess,
    lifecycle::{CLIENT_GONE, Pending, RunningInvocation},
    making::Serving,
    response,
    stream::{BodyProgress, GuestBody, GuestRequestBody, Outlet, StreamStop},
};

/// A request, routed and clean: its hop-by-hop fields are gone.
pub struct HttpRequest<'a> {
    /// Method, target, headers.
    pub parts: Parts,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host name or address, with the port if the client named one.
    pub authority: &'a str,
    /// The pattern of the route.
    pub route: &'a str,
    /// The captures of the pattern: names and decoded values.
    pub params: &'a [(&'a str, &'a str)],
}

impl HttpRequest<'_> {
    /// The trace that outbound requests of the function carry on, unless it says otherwise.
    fn propagation(&self) -> Propagation {
        let field = |name: &str| self.parts.headers.get(name).cloned();
        Propagation {
            traceparent: field("traceparent"),
            tracestate: field("tracestate"),
            request_id: field("x-request-id"),
        }
    }

    fn lean<'a>(
        &'a self,
        headers: &'a [LeanField<'a>],
        params: &'a [LeanParam<'a>],
        body: &'a [u8],
    ) -> LeanRequest<'a> {
        LeanRequest {
            method: self.parts.method.as_str(),
            scheme: self.scheme,
            authority: self.authority,
            path_with_query: self.parts.uri.path_and_query().map_or("/", |path| path.as_str()),
            route: self.route,
            params,
            headers,
            body,
        }
    }
}

/// The header in which a portable function finds what its route captured, form-encoded, in the
/// pattern's order.
pub const PARAMS_HEADER: HeaderName = HeaderName::from_static("lacewing-params");
/// The header in which a portable function finds its route's pattern.
pub const ROUTE_HEADER: HeaderName = HeaderName::from_static("lacewing-route");

impl HttpRequest<'_> {
    /// As wasi:http has it: an absolute URI, and the route in header fields of the host's.
    pub(crate) fn portable(self, body: RequestStream) -> Request<RequestStream> {
        let mut parts = self.parts;
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.scheme = Some(if self.scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP });
        // HTTP/1.0 clients may name no host; an authority is needed all the same.
        let authority = if self.authority.is_empty() { "localhost" } else { self.authority };
        uri.authority = authority.parse::<Authority>().ok().or(uri.authority);
        uri.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        parts.uri = Uri::from_parts(uri).unwrap_or_default();
        if let Ok(route) = HeaderValue::try_from(self.route) {
            parts.headers.insert(ROUTE_HEADER, route);
        }
        if !self.params.is_empty() {
            let params =
                form_urlencoded::Serializer::new(String::new()).extend_pairs(self.params).finish();
            if let Ok(params) = HeaderValue::try_from(params) {
                parts.headers.insert(PARAMS_HEADER, params);
            }
        }
        Request::from_parts(parts, body)
    }
}

pub(crate) fn fields(headers: &HeaderMap) -> Vec<LeanField<'_>> {
    headers
        .iter()
        .map(|(name, value)| LeanField { name: name.as_str(), value: value.as_bytes() })
        .collect()
}

impl Pending {
    /// The lean path: a body that is already here, an answer that is whole.
    pub async fn buffered(
        self,
        request: HttpRequest<'_>,
        body: Bytes,
    ) -> Result<Response<Body>, Failure> {
        let revision = self.revision().clone();
        let propagation = request.propagation();
        let mut running = self.run::<Sandbox>(propagation.clone()).await?;
        running.bytes_in = body.len() as u64;
        let headers = fields(&request.parts.headers);
        let params: Vec<LeanParam<'_>> =
            request.params.iter().map(|(name, value)| LeanParam { name, value }).collect();
        let limits = &revision.spec.limits;
        let limit_bytes = limits.response_body_bytes.unwrap_or(Limits::BUFFERED_BODY_BYTES);
        let mut runs = Runs::new(propagation);
        let result = loop {
            let lean = running.sandbox().http(request.lean(&headers, &params, &body)).await;
            let response = lean.and_then(|lean| {
                response::from_lean(lean, limits, limit_bytes, &request.parts.method)
                    .map_err(|error| bad_response(error.to_string()))
            });
            // All that may refuse the response comes before its effects are committed.
            let response =
                response.and_then(|response| charged(response, revision.tenant.bodies()));
            let verdict = |response: &mut Response<Body>| match response.status().is_server_error()
            {
                true => Verdict::Discard,
                false => Verdict::Commit,
            };
            if let Some(result) = running.commit(&mut runs, response, verdict).await {
                break result;
            }
        };
        if let Ok(response) = &result {
            running.status = Some(response.status().as_u16());
            running.bytes_out = response.body().full_len().unwrap_or_default();
        }
        running.end(result.as_ref().map(|_| ()));
        result.map_err(Failure::from)
    }

    /// The portable path: bodies that stream. Returns when the guest has sent the head of its
    /// response; the guest runs on in a task of its own, until it is done, its deadline has
    /// passed, or nobody reads its body any more.
    pub async fn streaming(
        self,
        request: HttpRequest<'_>,
        body: RequestStream,
    ) -> Result<Response<Body>, Failure> {
        let running = self.run::<Serving>(request.propagation()).await?;
        let method = request.parts.method.clone();
        let progress = Arc::new(BodyProgress::default());
        let body = GuestRequestBody::new(body, progress.clone()).boxed_unsync();
        let request = request.portable(body);
        let (respond, head) = oneshot::channel();
        let task = event_loop::spawn(run(running, request, method, respond, progress.clone()));
        // Until the head is here, dropping this future is the client's going away.
        let guest = AbortOnDrop(Some(task.abort_handle()));
        match head.await {
            Ok(head) => Ok(deliver(head, guest)),
            Err(_) => {
                let outcome = task.result().await.unwrap_or(Outcome::Internal);
                let body = progress.reason().and_then(|reason| match reason {
                    StreamStop::Request(error) if outcome == outcome_of(error) => {
                        Some(error.clone())
                    }
                    StreamStop::Request(_)
                    | StreamStop::ResponseTooLarge
                    | StreamStop::TrailersTooLarge(_)
                    | StreamStop::Broken(_)
                    | StreamStop::ReaderGone
                    | StreamStop::NoRoom => None,
                });
                Err(Failure { body, ..Failure::of(outcome) })
            }
        }
    }
}

/// Puts a response that is large on an account until it is written.
fn charged(response: Response<Body>, account: &Arc<Share>) -> Result<Response<Body>, Fault> {
    match response.body() {
        Body::Full(bytes) if bytes.len() as u64 > FREE_BYTES => {
            let (mut part, bytes) = (account.lease(), bytes.clone());
            part.grow(bytes.len() as u64)
                .map_err(|error| Fault::new(Outcome::LoadShed, error.to_string()))?;
            Ok(response.map(|_| Body::held(bytes, part)))
        }
        Body::Full(_) | Body::Stream(_) => Ok(response),
    }
}

/// The head of a response, and where its body comes out.
struct ResponseHead {
    response: Response<()>,
    /// Bytes of the body, where the guest has said so.
    declared: Option<u64>,
    outlet: Arc<Outlet>,
    /// Whether nobody gets the body: what the guest writes of it is thrown away, and the guest
    /// does not notice.
    unread: bool,
    /// How its guest ended, where that was not well, and the answer is whole all the same.
    failed: Option<Outcome>,
}

impl ResponseHead {
    /// Whether its status alone tells the client that there is no answer.
    fn is_failure(&self) -> bool {
        self.response.status().is_server_error()
    }
}

/// Runs the guest to its end.
async fn run(
    mut running: RunningInvocation<Serving>,
    request: Request<RequestStream>,
    method: Method,
    respond: oneshot::Sender<ResponseHead>,
    progress: Arc<BodyProgress>,
) -> Outcome {
    running.progress = Some(progress.clone());
    let (spec, bodies) = (running.spec(), running.bodies());
    let limits = &spec.limits;
    let (send, mut head) = oneshot::channel();
    let result = {
        let (sandbox, status) = running.sandbox_and_status();
        let mut guest = pin!(sandbox.serve(request, send));
        // A head is most often set in the same step in which the guest ends, or fails.
        let (response, ended) = tokio::select! {
            biased;
            response = &mut head => (response.ok(), None),
            ended = run_on(guest.as_mut(), &progress, limits) => (head.try_recv().ok(), Some(ended)),
        };
        match (response, ended) {
            (None, None) => run_on(guest, &progress, limits).await,
            // While nothing was sent, a failure is still answered as one.
            (_, Some(Err(fault))) => Err(fault),
            (None, Some(Ok(()))) => Ok(()),
            (Some(response), ended) => match open(response, &method, &progress, limits, bodies) {
                Err(fault) => Err(fault),
                Ok(head) => {
                    let ended = match ended {
                        None if head.is_failure() && !head.unread => {
                            held(guest.as_mut(), &head.outlet, &progress, limits).await
                        }
                        ended => ended,
                    };
                    let answering = Answering { head, respond, status };
                    match ended {
                        Some(ended) => answering.ended(ended, &progress, limits).await,
                        None => answering.runs_on(guest, &progress, limits).await,
                    }
                }
            },
        }
    };
    running.end(result.as_ref().copied()).outcome
}

/// A head that is ready to be sent.
struct Answering<'a> {
    head: ResponseHead,
    respond: oneshot::Sender<ResponseHead>,
    /// Set to what was sent.
    status: &'a mut Option<u16>,
}

impl Answering<'_> {
    fn send(self) {
        *self.status = Some(self.head.response.status().as_u16());
        // If nobody listens any more, this task is about to be aborted.
        let _ = self.respond.send(self.head);
    }

    /// Sends it, and runs the guest to its end.
    async fn runs_on(
        self,
        guest: Pin<&mut impl Future<Output = Result<(), Fault>>>,
        progress: &BodyProgress,
        limits: &Limits,
    ) -> Result<(), Fault> {
        let (outlet, unread) = (self.head.outlet.clone(), self.head.unread);
        self.send();
        let ended = match unread {
            true => run_unread(guest, &outlet, progress, limits).await,
            false => run_on(guest, progress, limits).await,
        };
        settled(ended, &outlet, progress, limits).await
    }

    /// Sends it, if that is still an answer: the guest has ended, and the client has nothing yet.
    async fn ended(
        mut self,
        ended: Result<(), Fault>,
        progress: &BodyProgress,
        limits: &Limits,
    ) -> Result<(), Fault> {
        let result = settled(ended, &self.head.outlet, progress, limits).await;
        let says_enough = self.head.is_failure() || self.head.unread;
        match &result {
            // A runtime that has caught what its handler threw says so, and finishes nothing.
            Err(fault) if fault.outcome == Outcome::BadResponse && says_enough => {
                self.head.outlet.end_here();
                self.head.failed = Some(fault.outcome);
                self.send();
            }
            // The client can be told.
            Err(_) if progress.bytes_out() == 0 => {}
            Ok(()) | Err(_) => self.send(),
        }
        result
    }
}

/// How a guest that had set a head ended, and takes out what is left of its body.
async fn settled(
    ended: Result<(), Fault>,
    outlet: &Outlet,
    progress: &BodyProgress,
    limits: &Limits,
) -> Result<(), Fault> {
    // The limit for which a guest was to be stopped explains how it ended, even where it ended
    // before it was stopped. But settling wakes the reader, and a reader that leaves at what it
    // reads explains nothing.
    let left = progress.reader_is_gone();
    let complete = outlet.settle().await;
    match progress.reason() {
        Some(StreamStop::ReaderGone) if !left => finished(ended, complete),
        // A guest that fails leaves its body unfinished.
        Some(StreamStop::Broken(_)) if ended.is_err() => ended,
        Some(stop) => Err(stopped(stop, limits)),
        None => finished(ended, complete),
    }
}

/// Runs a guest that says that it failed until a body follows, or until it ends: what is wrong with
/// the answer is best known before it is sent.
async fn held(
    guest: Pin<&mut impl Future<Output = Result<(), Fault>>>,
    outlet: &Outlet,
    progress: &BodyProgress,
    limits: &Limits,
) -> Option<Result<(), Fault>> {
    tokio::select! {
        biased;
        ended = run_on(guest, progress, limits) => Some(ended),
        () = outlet.begun() => None,
    }
}

/// Runs the guest to its end, or until one of its bodies says that it is to be stopped.
async fn run_on(
    guest: Pin<&mut impl Future<Output = Result<(), Fault>>>,
    progress: &BodyProgress,
    limits: &Limits,
) -> Result<(), Fault> {
    tokio::select! {
        biased;
        ended = guest => ended,
        stop = progress.stopped() => Err(stopped(stop, limits)),
    }
}

/// As [`run_on`], for a guest whose body nobody gets. It need not notice; but one that writes on
/// and on is told that nobody reads, and if it fails because of that, it has still answered.
async fn run_unread(
    mut guest: Pin<&mut impl Future<Output = Result<(), Fault>>>,
    outlet: &Outlet,
    progress: &BodyProgress,
    limits: &Limits,
) -> Result<(), Fault> {
    tokio::select! {
        biased;
        ended = run_on(guest.as_mut(), progress, limits) => return ended,
        () = outlet.discard() => {}
    }
    match run_on(guest, progress, limits).await {
        Err(Fault { outcome: Outcome::Trap, .. }) => Ok(()),
        ended => ended,
    }
}

fn open(
    mut response: Response<ResponseStream>,
    method: &Method,
    progress: &Arc<BodyProgress>,
    limits: &Limits,
    bodies: Arc<Share>,
) -> Result<ResponseHead, Fault> {
    let declared = response::check_head(&mut response, limits)
        .map_err(|error| bad_response(error.to_string()))?;
    let (parts, body) = response.into_parts();
    let unread = *method == Method::HEAD || response::is_bodiless(parts.status);
    let limit_bytes = streamed_limit(limits.response_body_bytes);
    let promised = declared.filter(|_| !unread);
    let outlet = Outlet::new(body, progress.clone(), promised, limit_bytes, limits, bodies);
    let response = Response::from_parts(parts, ());
    Ok(ResponseHead { response, declared, outlet: Arc::new(outlet), unread, failed: None })
}

/// How a guest that had sent a head ended.
fn finished(ended: Result<(), Fault>, complete: bool) -> Result<(), Fault> {
    ended?;
    if complete {
        return Ok(());
    }
    let detail = "the guest ended without having finished the body of its response";
    Err(bad_response(detail.to_owned()))
}

fn bad_response(detail: String) -> Fault {
    Fault::new(Outcome::BadResponse, detail)
}

fn stopped(stop: &StreamStop, limits: &Limits) -> Fault {
    match stop {
        StreamStop::ResponseTooLarge => {
            let limit_bytes = streamed_limit(limits.response_body_bytes);
            bad_response(format!(
                "the body of the response has more than {limit_bytes} bytes (`response_body_kib`)"
            ))
        }
        StreamStop::TrailersTooLarge(Excess::Count { count, limit }) => bad_response(format!(
            "the response has {count} trailers; the limit is {limit} (`headers`)"
        )),
        StreamStop::TrailersTooLarge(Excess::Bytes { bytes, limit_bytes }) => {
            bad_response(format!(
                "the response's trailers have {bytes} bytes; the limit is {} KiB (`header_kib`)",
                limit_bytes >> 10
            ))
        }
        StreamStop::Broken(error) => bad_response(error.to_string()),
        StreamStop::ReaderGone => Fault::new(Outcome::Canceled, CLIENT_GONE),
        StreamStop::NoRoom => Fault::new(
            Outcome::LoadShed,
            "the host has no room for what was left of the response when the guest ended",
        ),
        StreamStop::Request(error) => Fault::new(outcome_of(error), error.to_string()),
    }
}

fn outcome_of(error: &BodyError) -> Outcome {
    match error {
        BodyError::TooLarge { .. }
        | BodyError::Idle { .. }
        | BodyError::Slow { .. }
        | BodyError::Malformed => Outcome::BadRequest,
        BodyError::NoRoom => Outcome::LoadShed,
        BodyError::Gone => Outcome::Canceled,
    }
}

fn streamed_limit(limit_bytes: Option<u64>) -> u64 {
    limit_bytes.unwrap_or(Limits::STREAMED_BODY_BYTES)
}

/// Attaches the guest to its body. Where nobody gets that, it runs on by itself.
fn deliver(head: ResponseHead, mut guard: AbortOnDrop) -> Response<Body> {
    let ResponseHead { mut response, mut declared, outlet, unread, failed } = head;
    let guest = guard.0.take();
    if let Some(outcome) = failed {
        // As much of the body as there is.
        declared = None;
        response.headers_mut().remove(CONTENT_LENGTH);
        response.extensions_mut().insert(outcome);
    }
    if unread {
        return response.map(|()| Body::EMPTY);
    }
    response.map(|()| Body::stream(GuestBody::new(outlet, declared, guest)))
}

/// Stops the guest when dropped, unless it was taken.
struct AbortOnDrop(Option<AbortHandle>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(guest) = &self.0 {
            guest.abort();
        }
    }
}
