//! The seam between the ingress and its handler.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, Response, StatusCode, Uri, header, request::Parts};
use lacewing_base::{body::Body, outcome::Outcome};

use super::{
    body::RequestBody,
    cors::Cors,
    forwarded::Peer,
    request_id::{REQUEST_ID_HEADER, RequestId},
    respond::Problem,
    route::{Params, Route, Router},
    trace::TraceContext,
};

/// The target of a route, and its sharing with other origins.
#[derive(Clone, Debug)]
pub struct Endpoint<T> {
    /// The handler.
    pub target: T,
    /// The route's sharing. None: the host says nothing, and the function may say it itself.
    pub cors: Option<Arc<Cors>>,
}

/// The routes that are served, swapped whole.
pub type Routes<T> = arc_swap::ArcSwap<Router<Endpoint<T>>>;

/// One request on its way to a function, and its response on the way back.
///
/// The request's header has been cleaned of what concerns the connection; [`Exchange::introduce`]
/// adds what the host says of the request.
#[derive(Debug)]
pub struct Exchange<T> {
    /// The route that matched.
    pub route: Arc<Route<Endpoint<T>>>,
    /// The route's captures.
    pub params: Params,
    /// The request's line and header.
    pub parts: Parts,
    /// The request's body, not yet read. Dropping it unread is allowed.
    pub body: RequestBody,
    /// The address of the client, as far as proxies are trusted.
    pub client: IpAddr,
    /// Where the connection comes from, as the function is told.
    pub(super) from: Peer,
    /// `http` or `https`, as the client connected.
    pub scheme: &'static str,
    /// Its name in logs.
    pub request_id: RequestId,
    /// Its place in a trace.
    pub trace: TraceContext,
    /// When its header had been read.
    pub received: Instant,
}

impl<T> Exchange<T> {
    /// Adds to the request's header what the function is to be told of it: `x-request-id`,
    /// `traceparent`, `forwarded` and `x-forwarded-for`. Limits on what the client may send are
    /// looked at before.
    pub fn introduce(&mut self) {
        let headers = &mut self.parts.headers;
        self.from.write_to(headers);
        headers.insert(REQUEST_ID_HEADER, self.request_id.to_value());
        self.trace.write_to(headers);
    }

    /// The handler.
    pub fn target(&self) -> &T {
        &self.route.value().target
    }

    /// Host name or address, with the port if the client named one. Empty in HTTP/1.0 without
    /// `Host`.
    pub fn authority(&self) -> &str {
        let host = || self.parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        self.parts.uri.authority().map(http::uri::Authority::as_str).or_else(host).unwrap_or("")
    }

    /// Path and query as sent.
    pub fn path_and_query(&self) -> &str {
        self.parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
    }
}

/// How a request was answered.
#[derive(Debug)]
pub struct Answered<'a> {
    /// The outcome that the response carries.
    pub outcome: Outcome,
    /// Its status.
    pub status: StatusCode,
    /// The request's name.
    pub request_id: &'a RequestId,
    /// The request's method and target, if it could be read that far.
    pub request: Option<(&'a Method, &'a Uri)>,
    /// The path of the route that matched.
    pub route: Option<&'a str>,
    /// The sentence of a problem.
    pub detail: Option<&'a str>,
    /// Where the connection comes from.
    pub peer: SocketAddr,
    /// From the request's header to the response's.
    pub elapsed: Duration,
}

/// The target of the requests that a route matches.
pub trait Handler: Send + Sync + 'static {
    /// The target of routes.
    type Target: Send + Sync + 'static;

    /// The number of the tenant that a target belongs to.
    fn tenant(&self, target: &Self::Target) -> u64;

    /// Answers one request, or says why not. The future is dropped when the client goes away.
    ///
    /// A response is sent as it is, but for the headers that only the host sets: what a guest made
    /// was checked where it was invoked. Its outcome is `ok`, unless an [`Outcome`] among its
    /// extensions says otherwise.
    fn handle(
        &self,
        exchange: Exchange<Self::Target>,
    ) -> impl Future<Output = Result<Response<Body>, Problem>> + Send;

    /// Is told of each answer when its header is about to be sent, also of those that no function
    /// was asked for.
    fn answered(&self, answered: &Answered<'_>) {
        let _ = answered;
    }
}
