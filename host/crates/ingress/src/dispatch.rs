//! The path of one request through the ingress.
//!
//! target -> route -> (answered here: no route, wrong method, OPTIONS, preflight) -> the function's
//! view of the request -> handler -> the client's view of the response

use std::{borrow::Cow, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header, request::Parts};
use hyper::body::Incoming;
use ipnet::IpNet;
use lacewing_base::{
    body::Body,
    fields::{Direction, strip},
    outcome::Outcome,
};

use super::{
    body::RequestBody,
    connection::{Connection, InFlight, Sending},
    cors::{Cors, preflight_method},
    exchange::{Answered, Endpoint, Exchange, Handler, Routes},
    options::Options,
    request_id::{REQUEST_ID_HEADER, RequestId},
    respond::{self, BadInput, OUTCOME_HEADER, Problem, outcome_value},
    route::{Match, Params, Route, RouteLookup, Router},
    target::{self, Target},
    trace::TraceContext,
};

/// Everything that answering a request takes and that requests share.
pub(super) struct Dispatch<H: Handler> {
    pub(super) handler: Arc<H>,
    routes: Arc<Routes<H::Target>>,
    max_headers: usize,
    max_target_bytes: usize,
    trusted_proxies: Arc<[IpNet]>,
}

/// The decision about a request.
enum Decision<T> {
    Invoke(Arc<Route<Endpoint<T>>>, Params),
    Answer(Response<Body>),
    Refuse(Problem),
}

impl<H: Handler> Dispatch<H> {
    pub(super) fn new(options: &Options, routes: Arc<Routes<H::Target>>, handler: Arc<H>) -> Self {
        Dispatch {
            handler,
            routes,
            max_headers: options.headers,
            max_target_bytes: options.target_bytes,
            trusted_proxies: Arc::clone(&options.trusted_proxies),
        }
    }

    /// Answers one request. `last` asks the client not to send another on this connection.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        in_flight: InFlight,
        last: impl Fn() -> bool,
    ) -> Response<Sending> {
        let received = Instant::now();
        // It is nobody's until it is known to have a route.
        let connection = in_flight.connection();
        let (parts, incoming) = request.into_parts();
        let body = RequestBody::new(incoming, Arc::clone(connection), parts.version);
        let request_id = RequestId::of(&parts.headers);
        let (method, uri, version) = (parts.method.clone(), parts.uri.clone(), parts.version);
        let ambiguous = is_ambiguous(&parts.headers);
        let (mut matched, mut sharing) = (None, None);
        let decision = match ambiguous {
            true => Decision::Refuse(Problem::bad_input(BadInput::Malformed).detail(CODED)),
            false => self.decide(&parts, connection),
        };
        let answer = match decision {
            Decision::Answer(response) => Ok(response),
            Decision::Refuse(problem) => {
                sharing = self.sharing_at(&parts);
                Err(problem)
            }
            Decision::Invoke(route, params) => {
                let trace = TraceContext::of(&parts.headers);
                matched = Some(Arc::clone(&route));
                connection.asks_for(self.handler.tenant(&route.value().target));
                sharing = Sharing::of(route.value(), &parts.headers);
                let from = connection.from.clone();
                let client = from.client(&parts.headers, &self.trusted_proxies);
                let exchange = Exchange {
                    route,
                    params,
                    parts: cleaned(parts),
                    body,
                    client,
                    from,
                    scheme: "http",
                    request_id: request_id.clone(),
                    trace,
                    received,
                };
                // A panic is a bug of ours; it ends this request and neither the connection nor the
                // others on it.
                let answer = AssertUnwindSafe(self.handler.handle(exchange)).catch_unwind().await;
                answer.unwrap_or_else(|_| Err(Problem::new(Outcome::Internal)))
            }
        };
        let (outcome, detail, mut response) = finish(answer, &method, &request_id);
        if let Some(Sharing { cors, origin }) = sharing {
            cors.decorate(origin.as_ref(), response.headers_mut());
        }
        if version < Version::HTTP_2 && (ambiguous || last()) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.handler.answered(&Answered {
            outcome,
            status: response.status(),
            request_id: &request_id,
            request: Some((&method, &uri)),
            route: matched.as_ref().map(|route| route.pattern()),
            detail: detail.as_deref(),
            peer: connection.peer,
            elapsed: received.elapsed(),
        });
        response.map(|body| Sending::new(body, in_flight.answered()))
    }

    /// The sharing of a request that is refused before its route is known, so that a page of
    /// another origin can read why.
    fn sharing_at(&self, parts: &Parts) -> Option<Sharing> {
        // The answer is stored nowhere, and a client that names no origin does not ask.
        parts.headers.get(header::ORIGIN)?;
        let authority = target::authority(parts).ok()?;
        let routes = self.routes.load();
        let route = routes.nearest(authority, &parts.method, parts.uri.path())?;
        Sharing::of(route.value(), &parts.headers)
    }

    /// Finds out what to do with a request. Takes no lock: the routes are a snapshot.
    fn decide(&self, parts: &Parts, connection: &Connection) -> Decision<H::Target> {
        if connection.is_flooding() {
            let detail = "too many requests of this connection are taken back; try again later";
            return Decision::Refuse(Problem::new(Outcome::LoadShed).detail(detail));
        }
        let target = match target::read(parts, self.max_target_bytes) {
            Ok(target) => target,
            Err(problem) => return Decision::Refuse(problem),
        };
        if parts.headers.len() > self.max_headers {
            let detail = format!("the request has more than {} header fields", self.max_headers);
            return Decision::Refuse(Problem::bad_input(BadInput::HeaderTooLarge).detail(detail));
        }
        if target.path == "*" {
            return Decision::Answer(respond::options(respond::SERVED_METHODS));
        }
        let routes = self.routes.load();
        if let Some(method) = preflight_method(&parts.method, &parts.headers)
            && let Some(answer) = preflight(&routes, &target, &method, parts)
        {
            return Decision::Answer(answer);
        }
        match routes.find(target.authority, &parts.method, target.path) {
            RouteLookup::Match(Match { route, params }) => {
                Decision::Invoke(Arc::clone(route), params)
            }
            RouteLookup::NoMethod { allow } if parts.method == Method::OPTIONS => {
                Decision::Answer(respond::options(&allow))
            }
            RouteLookup::NoMethod { allow } => Decision::Refuse(Problem::method_not_allowed(allow)),
            RouteLookup::None => Decision::Refuse(Problem::new(Outcome::NoRoute)),
            RouteLookup::BadPath(bad) => {
                Decision::Refuse(Problem::bad_input(BadInput::Malformed).detail(bad.to_string()))
            }
        }
    }
}

/// The sharing of a route, and the origin that asks.
struct Sharing {
    cors: Arc<Cors>,
    origin: Option<HeaderValue>,
}

impl Sharing {
    fn of<T>(endpoint: &Endpoint<T>, headers: &HeaderMap) -> Option<Sharing> {
        let cors = endpoint.cors.clone()?;
        Some(Sharing { cors, origin: headers.get(header::ORIGIN).cloned() })
    }
}

const CODED: &str =
    "the request's transfer-encoding is not `chunked` alone, which is all that this server decodes";

/// Whether its body is coded in more ways than one. Others might not decode the same, or not see
/// its end where this server does.
fn is_ambiguous(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next();
    first.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || codings.next().is_some()
}

/// The answer to a preflight, if the route that it asks about shares anything.
fn preflight<T>(
    routes: &Router<Endpoint<T>>,
    target: &Target<'_>,
    method: &Method,
    parts: &Parts,
) -> Option<Response<Body>> {
    let RouteLookup::Match(found) = routes.find(target.authority, method, target.path) else {
        return None;
    };
    let cors = found.route.value().cors.as_ref()?;
    let allow = routes.allow(target.authority, target.path)?;
    let mut response = respond::options(&allow);
    cors.preflight(&parts.headers, response.headers_mut());
    Some(response)
}

/// Takes out of the request's header what concerns the connection. The rest says the same in both
/// versions of HTTP.
fn cleaned(mut parts: Parts) -> Parts {
    strip(&mut parts.headers, Direction::Request);
    if parts.version >= Version::HTTP_2 {
        name_host(&mut parts);
        join_cookies(&mut parts.headers);
    }
    parts
}

/// Names the authority of an HTTP/2 request in `Host`, where a function of HTTP/1.1 looks for it
/// (RFC 9113, section 8.3.1).
fn name_host(parts: &mut Parts) {
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.entry(header::HOST).or_insert(host);
    }
}

/// Joins the cookies that an HTTP/2 client sends in fields of their own (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> =
        headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(cookies) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, cookies);
    }
}

/// Makes an answer the response that the client is to see; gives the outcome, and a problem's
/// sentence.
fn finish(
    answer: Result<Response<Body>, Problem>,
    method: &Method,
    request_id: &RequestId,
) -> (Outcome, Option<Cow<'static, str>>, Response<Body>) {
    let (outcome, detail, mut response) = match answer {
        Ok(mut response) => {
            let outcome = response.extensions_mut().remove::<Outcome>();
            (outcome.unwrap_or(Outcome::Ok), None, response)
        }
        Err(problem) => {
            let response = problem.to_response(request_id.as_str());
            (problem.outcome(), Some(problem.into_sentence()), response)
        }
    };
    if method == Method::HEAD {
        drop_body(&mut response);
    }
    let headers = response.headers_mut();
    headers.insert(OUTCOME_HEADER, outcome_value(outcome));
    headers.insert(REQUEST_ID_HEADER, request_id.to_value());
    (outcome, detail, response)
}

/// The answer to HEAD: the header that GET would have got.
fn drop_body(response: &mut Response<Body>) {
    let body = std::mem::replace(response.body_mut(), Body::EMPTY);
    if let Some(len) = body.full_len().filter(|len| *len > 0)
        && !response.headers().contains_key(header::CONTENT_LENGTH)
    {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    }
}
