//! The admin listener: metrics for scrapers, health for supervisors, readiness for load balancers.
//!
//! It is for the machine that the host runs on: loopback unless told otherwise. These pages ask for
//! no password and have no effect. The API below `/v1/`, which has both, is a crate's above
//! ([`AdminApi`]).
//!
//! A client that reaches the listener is bounded: in connections, of which one that waits for its
//! client gives way to a new one (`places`); in time; in the size of a head; and to one request for
//! each connection. Metrics are put together piece by piece as they
//! are read, by one thread at a time, which serves nothing else: no look at the host's health waits
//! for them.

mod api;
mod deadline;
mod door;
mod places;

use std::{convert::Infallible, error::Error, fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

pub use self::api::{AdminApi, Answering, ApiContent, ContentError};
use self::{
    api::{ApiBounds, ApiClient},
    deadline::Deadline,
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
/// What a client still sends after its answer, in bytes: as much as sockets hold. Over it the
/// connection is closed.
const UNREAD_BYTES: usize = 16 << 20;

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
    /// Of a request of the API, the time until its answer.
    work: Duration,
    /// Of a body of the API in pieces, the time for each.
    piece: Duration,
}

const BOUNDS: Bounds = Bounds {
    connections: 64,
    scrapes: 4,
    head: Duration::from_secs(5),
    response: Duration::from_secs(10),
    work: Duration::from_hours(1),
    piece: Duration::from_secs(30),
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
    state: AdminState,
    bounds: Bounds,
}

struct AdminState {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// The names of the listener besides its addresses.
    names: Vec<String>,
    api: Option<Arc<dyn AdminApi>>,
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").field("names", &self.names).finish_non_exhaustive()
    }
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
        let state = AdminState { metrics, health, names, api: None };
        Ok(Admin { listener, address, state, bounds: BOUNDS })
    }

    /// Has an API answer below `/v1/`.
    #[must_use]
    pub fn with_api(mut self, api: Arc<dyn AdminApi>) -> Admin {
        self.state.api = Some(api);
        self
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
        let state = Arc::new(state);
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
    pushed_out: oneshot::Receiver<()>,
    bounds: Bounds,
) {
    let socket = TokioIo::new(Watched::new(stream, place.clone()));
    let (deadline, passing) = Deadline::after(bounds.head + bounds.response);
    let deadline = Arc::new(deadline);
    let service = service_fn(move |request: Request<Incoming>| {
        let (state, place, deadline) = (state.clone(), place.clone(), deadline.clone());
        async move { Ok::<_, Infallible>(state.answer(request, &place, &deadline, bounds).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .max_headers(FIELDS)
        .serve_connection(socket, service);
    let connection = async {
        match connection.without_shutdown().await {
            Ok(parts) => end(parts.io.into_inner()).await,
            Err(error) => tracing::debug!(%error, "an admin connection ended early"),
        }
    };
    tokio::select! {
        () = connection => {}
        () = passing.passed() => {
            tracing::debug!("an admin connection took too long, and was closed");
        }
        _ = pushed_out => {
            tracing::debug!("an admin connection was idle, and made room for another");
        }
    }
}

/// Ends a connection whose answer is sent, and takes what its client still sends: the system would
/// discard the answer otherwise (RFC 9112, section 9.6).
async fn end(mut socket: impl AsyncRead + AsyncWrite + Unpin) {
    if socket.shutdown().await.is_err() {
        return;
    }
    let (mut unread, mut left) = (vec![0; HEAD_BYTES], UNREAD_BYTES);
    while left > 0 {
        match socket.read(&mut unread).await {
            Ok(0) | Err(_) => return,
            Ok(bytes) => left = left.saturating_sub(bytes),
        }
    }
}

const INDEX: &str = "\
Lacewing admin
/metrics  what Prometheus scrapes
/healthz  200 while the process lives; /livez is the same
/readyz   200 while requests are welcome, else 503
/v1/      the API of the host's state, with a token; /v1/openapi.json describes it
";

const TEXT: &str = "text/plain; charset=utf-8";

/// The body of an answer: a sentence, or one that is made as it is read.
pub type AdminAnswer = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

impl AdminState {
    async fn answer(
        &self,
        request: Request<Incoming>,
        place: &Arc<ClientPlace>,
        deadline: &Arc<Deadline>,
        bounds: Bounds,
    ) -> Response<AdminAnswer> {
        if let Err(refusal) = door::admits(&request, &self.names) {
            return refused(&refusal);
        }
        if let Some(api) = &self.api
            && request.uri().path().starts_with(api::PREFIX)
        {
            let Bounds { response, work, piece, .. } = bounds;
            let bounds = ApiBounds { content: response, piece, work, response };
            let (place, deadline) = (place.clone(), deadline.clone());
            let client = ApiClient { place, deadline, bounds };
            return api::answer(api.clone(), request, client).await;
        }
        place.is_served();
        let response = self.page(&request, place);
        place.is_answered();
        response
    }

    fn page(&self, request: &Request<Incoming>, place: &Arc<ClientPlace>) -> Response<AdminAnswer> {
        if let Err(refusal) = door::takes_no_content(request) {
            return refused(&refusal);
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

fn refused(DoorRefusal { status, detail }: &DoorRefusal) -> Response<AdminAnswer> {
    problem(*status, detail)
}

fn busy(detail: &str) -> Response<AdminAnswer> {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, detail);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A problem document (RFC 9457).
pub fn problem(status: StatusCode, detail: &str) -> Response<AdminAnswer> {
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

/// The body that has these bytes.
pub fn whole(bytes: Bytes) -> AdminAnswer {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<AdminAnswer> {
    answer(status, content_type, whole(body.into()))
}

/// An answer that no cache keeps.
fn answer<B>(status: StatusCode, content_type: &'static str, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
