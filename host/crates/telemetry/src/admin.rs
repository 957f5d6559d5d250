//! The admin listener: metrics for scrapers, health for supervisors, readiness for load balancers.
//!
//! It is for the machine that the host runs on: loopback unless told otherwise, no authentication,
//! no request with an effect. A client that reaches it is bounded all the same: in connections, of
//! which one that waits for its client gives way to a new one (`places`); in time; in the size of a
//! head; and to one request for each connection. Metrics are put together piece by piece as they
//! are read, by one thread at a time, which serves nothing else: no look at the host's health waits
//! for them.

mod door;
mod places;

use std::{convert::Infallible, error::Error, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use self::{
    door::DoorRefusal,
    places::{ClientPlace, ClientPlaces, Made, Watched},
};
use crate::{Health, Metrics, metrics::Exposition};

/// Pause after an error of `accept`, which is mostly a lack of file descriptors and would come back
/// at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A request's head, in bytes: many times what a scraper sends. Over it the answer is 431.
const HEAD_BYTES: usize = 16 << 10;
/// A request's header fields. Over it the answer is 431.
const FIELDS: usize = 64;

/// Bounds on the clients of the listener, together and each.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Connections at once. The next one has the place of the one that has waited longest for its
    /// client.
    connections: usize,
    /// Connections at once that are asked for metrics: each holds a piece of them and a list of
    /// series. As for connections; where none waits for its client, 503.
    scrapes: usize,
    /// From the connection's opening to the end of the request's head. The connection is closed.
    head: Duration,
    /// From then on to the last byte of the response: what Prometheus waits for a scrape by
    /// default. The connection is closed.
    response: Duration,
}

const BOUNDS: Bounds = Bounds {
    connections: 64,
    scrapes: 4,
    head: Duration::from_secs(5),
    response: Duration::from_secs(10),
};

/// Why there is no admin listener.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Another process listens there.
    #[error(
        "the admin listener cannot use {address}: the port is in use; choose another with --admin, or `--admin off`"
    )]
    InUse {
        /// The request.
        address: SocketAddr,
    },
    /// The address is not one of this machine's, the port needs a privilege, and so on.
    #[error("the admin listener cannot use {address}")]
    Bind {
        /// The request.
        address: SocketAddr,
        /// The system's figures.
        source: io::Error,
    },
}

/// The admin listener, bound.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    state: Arc<AdminState>,
    bounds: Bounds,
}

#[derive(Debug)]
struct AdminState {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// The names of the listener besides its addresses.
    names: Vec<String>,
}

impl Admin {
    /// Binds the listener. It answers under addresses, `localhost` and these host names, which are
    /// in lower case.
    pub async fn bind(
        address: SocketAddr,
        names: Vec<String>,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> Result<Admin, AdminError> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => AdminError::InUse { address },
            _ => AdminError::Bind { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let state = Arc::new(AdminState { metrics, health, names });
        Ok(Admin { listener, address, state, bounds: BOUNDS })
    }

    /// Where it listens: with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the future is dropped. During a drain it goes on: that is when readiness is
    /// asked for.
    pub async fn serve(self) -> Infallible {
        let Admin { listener, state, bounds, .. } = self;
        let places = ClientPlaces::new(bounds.connections, bounds.scrapes);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (place, end) = places.take().await;
                    tokio::spawn(serve_connection(stream, state.clone(), place, end, bounds));
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin listener could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Answers one request.
async fn serve_connection(
    stream: TcpStream,
    state: Arc<AdminState>,
    place: Arc<ClientPlace>,
    end: oneshot::Receiver<()>,
    bounds: Bounds,
) {
    let socket = TokioIo::new(Watched::new(stream, place.clone()));
    let service = service_fn(move |request: Request<Incoming>| {
        let (state, place) = (state.clone(), place.clone());
        async move {
            place.is_served();
            let response = state.answer(&request, &place);
            place.is_answered();
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .max_headers(FIELDS)
        .serve_connection(socket, service);
    tokio::select! {
        ended = tokio::time::timeout(bounds.head + bounds.response, connection) => match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an admin connection ended early"),
            Err(_) => tracing::debug!("an admin connection took too long, and was closed"),
        },
        _ = end => tracing::debug!("an admin connection was idle, and made room for another"),
    }
}

const INDEX: &str = "\
Lacewing admin
/metrics  what Prometheus scrapes
/healthz  200 while the process lives; /livez is the same
/readyz   200 while requests are welcome, else 503
";

const TEXT: &str = "text/plain; charset=utf-8";

/// The body of an answer: a sentence, or a scrape that is made as it is read.
type AdminAnswer = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

impl AdminState {
    fn answer(
        &self,
        request: &Request<Incoming>,
        place: &Arc<ClientPlace>,
    ) -> Response<AdminAnswer> {
        if let Err(DoorRefusal { status, detail }) = door::admits(request, &self.names) {
            return problem(status, &detail);
        }
        let path = request.uri().path();
        if !matches!(path, "/" | "/metrics" | "/healthz" | "/livez" | "/readyz") {
            return respond(StatusCode::NOT_FOUND, TEXT, format!("not found\n\n{INDEX}"));
        }
        // hyper sends no body in answer to HEAD.
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let text = "only GET and HEAD are allowed here\n";
            let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, text);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => self.metrics(request, place),
            "/readyz" => self.readiness(),
            "/" => respond(StatusCode::OK, TEXT, INDEX),
            _ => respond(StatusCode::OK, TEXT, "ok\n"),
        }
    }

    fn metrics(
        &self,
        request: &Request<Incoming>,
        place: &Arc<ClientPlace>,
    ) -> Response<AdminAnswer> {
        if !place.scrapes() {
            return busy("as many scrapes as may be are under way: try again in a second");
        }
        let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let exposition = Exposition::negotiate(accept);
        let text = Made::new(self.metrics.scrape(exposition), place.clone());
        let mut response = answer(StatusCode::OK, exposition.content_type(), text.boxed_unsync());
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
        response
    }

    fn readiness(&self) -> Response<AdminAnswer> {
        match self.health.readiness() {
            Ok(()) => respond(StatusCode::OK, TEXT, "ready\n"),
            Err(reason) => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n")),
        }
    }
}

fn busy(detail: &str) -> Response<AdminAnswer> {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, detail);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A problem document (RFC 9457).
fn problem(status: StatusCode, detail: &str) -> Response<AdminAnswer> {
    #[derive(Serialize)]
    struct ProblemDocument<'a> {
        title: &'a str,
        status: u16,
        detail: &'a str,
    }
    let title = status.canonical_reason().unwrap_or_default();
    let document = ProblemDocument { title, status: status.as_u16(), detail };
    // Infallible: strings and a number.
    let text = serde_json::to_string(&document).unwrap_or_default();
    respond(status, "application/problem+json", text + "\n")
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<AdminAnswer> {
    let body = Full::new(body.into()).map_err(|never| match never {});
    answer(status, content_type, body.boxed_unsync())
}

fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: AdminAnswer,
) -> Response<AdminAnswer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
