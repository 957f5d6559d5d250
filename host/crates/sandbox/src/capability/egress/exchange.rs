//! One request and its response over a connection of their own.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, Uri, Version, header, uri::PathAndQuery};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use lacewing_base::{
    TenantAccount,
    fields::{Direction, strip},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Semaphore, oneshot},
    task::yield_now,
    time::{Instant, timeout, timeout_at},
};
use wasmtime_wasi_http::{Error as Code, RequestOptions, WasiBody};

use super::{
    Egress, Propagation,
    body::{ByteBudget, ConnectionPlaces, OutboundRequestBody, Reading, Report, ResponseBody},
    connect,
    error::{EgressError, http_code},
    head_bound::{HeadArrived, HeadBound},
    policy::{OutboundTarget, Policy},
    reads_on::ReadsOn,
};

/// Header fields of a response, and of its trailers.
const MAX_HEADERS: usize = 128;
/// Bytes of a response's head, and of its trailers.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Bytes of a connection that the host holds for a guest that does not read.
const MAX_BUFFER_BYTES: usize = 128 * 1024;
/// Bytes of a connection before the response's head is there: interim responses, the head, and as
/// much of the body as one buffer holds.
const MAX_BYTES_TO_HEAD: usize = MAX_HEADER_BYTES + MAX_BUFFER_BYTES;

/// The task that drives a connection after its response's head has come.
pub(super) type Driver = Box<dyn Future<Output = Result<(), Code>> + Send>;

/// The state that all requests of one invocation share.
pub(super) struct InvocationEgress {
    pub(super) egress: Arc<Egress>,
    pub(super) account: Arc<TenantAccount>,
    pub(super) policy: Policy,
    pub(super) propagation: Propagation,
    pub(super) open_requests: Arc<Semaphore>,
    pub(super) budget: Arc<ByteBudget>,
    pub(super) report: Report,
}

/// Sends a request and waits for the head of its response.
pub(super) async fn exchange(
    shared: Arc<InvocationEgress>,
    mut request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<(Response<WasiBody>, Driver), EgressError> {
    let admitted = admit(&shared, &mut request, options).await?;
    let transport = connect::open(&shared, &admitted.target, admitted.timeouts.connect).await?;
    exchange_over(transport, &shared, admitted, request).await
}

/// A request that may be sent.
pub(super) struct Admitted {
    target: OutboundTarget,
    timeouts: Timeouts,
    places: ConnectionPlaces,
}

/// Waits until a request may be sent, and brings the request into the form that goes on the wire.
pub(super) async fn admit(
    shared: &InvocationEgress,
    request: &mut Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<Admitted, EgressError> {
    if request.method() == Method::CONNECT {
        return Err(EgressError::Tunnel);
    }
    let target = OutboundTarget::of(request.uri())?;
    // Before a place is waited for, so that a refusal costs nothing.
    shared.policy.grant(&target)?;
    let timeouts = Timeouts::of(&shared.egress, options.unwrap_or_default());
    prepare(request, &shared.propagation)?;

    let busy = || EgressError::HostBusy { target: target.clone() };
    // Waits for this invocation's own requests, then for its tenant's, then for the whole host's;
    // none is ever closed.
    let own = shared.open_requests.clone().acquire_owned().await.map_err(|_| busy())?;
    let until = Instant::now() + timeouts.connect;
    let place = async |places: &Arc<Semaphore>| {
        timeout_at(until, places.clone().acquire_owned()).await.ok().and_then(Result::ok)
    };
    let tenants = place(&shared.account.outbound.connections).await;
    let tenants = tenants.ok_or_else(|| EgressError::TenantBusy { target: target.clone() })?;
    let hosts = place(&shared.egress.connections).await.ok_or_else(busy)?;
    Ok(Admitted { target, timeouts, places: ConnectionPlaces::new([own, tenants, hosts]) })
}

/// Sends a request on a connection, and waits for the head of the response.
pub(super) async fn exchange_over<S: ByteStream>(
    transport: S,
    shared: &InvocationEgress,
    admitted: Admitted,
    request: Request<WasiBody>,
) -> Result<(Response<WasiBody>, Driver), EgressError> {
    let Admitted { target, timeouts, places } = admitted;
    let mut request = request
        .map(|inner| OutboundRequestBody::new(inner, shared.budget.clone(), shared.report.clone()));
    poll_fn(|cx| request.body_mut().look_ahead(cx)).await;
    declare_empty(&mut request);
    let mut sent = send(transport, request, &target, timeouts.first_byte).await?;
    strip(sent.response.headers_mut(), Direction::OutboundResponse);
    let (connection, read) = oneshot::channel();
    let reading = Reading { _connection: connection, _places: places.clone() };
    let response = sent.response.map(|incoming| {
        ResponseBody::new(
            incoming,
            shared.budget.clone(),
            shared.report.clone(),
            timeouts.between_bytes,
            reading,
        )
        .boxed_unsync()
    });
    Ok((response, Box::new(drive(sent.connection, read, places))))
}

/// Drives a connection to its end, or to that of its response: what the guest would still send
/// then, nobody waits for. Its places are taken for as long as there is a socket, or a response to
/// be read.
async fn drive<S: ByteStream>(
    connection: Option<OutboundConnection<S>>,
    read: oneshot::Receiver<Infallible>,
    places: ConnectionPlaces,
) -> Result<(), Code> {
    let result = match connection {
        None => Ok(()),
        Some(mut connection) => tokio::select! {
            biased;
            ended = &mut connection => match ended {
                Ok(()) => Ok(()),
                Err(error) => {
                    // wasi:http 0.3 drops a response whose connection fails when it is first looked
                    // at. The part that was sent is there all the same, and the body's reader sees
                    // the part that was not.
                    yield_now().await;
                    Err(http_code(&error))
                }
            },
            _ = read => Ok(()),
        },
    };
    drop(places);
    result
}

/// The bytes of a connection.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for S {}

type OutboundConnection<S> =
    Pin<Box<http1::Connection<TokioIo<HeadBound<ReadsOn<S>>>, OutboundRequestBody>>>;

/// A request that was sent, and the head of its response.
struct SentRequest<S: ByteStream> {
    response: Response<Incoming>,
    /// None: it has ended.
    connection: Option<OutboundConnection<S>>,
}

struct Timeouts {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Timeouts {
    /// The guest's options, as far as the host's caps allow.
    fn of(egress: &Egress, options: RequestOptions) -> Timeouts {
        let caps = &egress.timeouts;
        let capped = |asked: Option<Duration>, cap| asked.map_or(cap, |asked| asked.min(cap));
        Timeouts {
            connect: capped(options.connect_timeout, caps.connect),
            first_byte: capped(options.first_byte_timeout, caps.first_byte),
            between_bytes: capped(options.between_bytes_timeout, caps.between_bytes),
        }
    }
}

/// Brings a request into the form that goes on the wire: path and query only, the host that is
/// connected to, and the trace that it belongs to.
fn prepare(request: &mut Request<WasiBody>, propagation: &Propagation) -> Result<(), EgressError> {
    let parts = request.uri().clone().into_parts();
    let authority = parts.authority.as_ref().map_or("", |authority| authority.as_str());
    let host = HeaderValue::from_str(authority).map_err(|_| EgressError::InvalidTarget {
        reason: "its host is not a valid header value",
    })?;
    *request.uri_mut() = origin_form(parts.path_and_query)?;
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    // A request that is passed on brings what the last connection, and this host, said of it.
    strip(headers, Direction::OutboundRequest);
    headers.insert(header::HOST, host);
    // The connection serves this one request.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    propagation.add_to(headers);
    Ok(())
}

/// Says that there is no body where a server has to expect one (RFC 9110, section 8.6). Otherwise
/// an empty body would be sent as chunks, or not be told from one that is still to come.
fn declare_empty(request: &mut Request<OutboundRequestBody>) {
    let expects_body = [Method::POST, Method::PUT, Method::PATCH].contains(request.method());
    if expects_body && request.body().is_end_stream() {
        request.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(0));
    }
}

fn origin_form(path: Option<PathAndQuery>) -> Result<Uri, EgressError> {
    let path = match path {
        None => PathAndQuery::from_static("/"),
        Some(path) if path.as_str().starts_with('/') => path,
        Some(path) if path.as_str().starts_with('?') => format!("/{path}")
            .try_into()
            .map_err(|_| EgressError::InvalidTarget { reason: "its query is malformed" })?,
        Some(_) => return Err(EgressError::InvalidTarget { reason: "its path has no slash" }),
    };
    Ok(Uri::from(path))
}

async fn send<S: ByteStream>(
    transport: S,
    request: Request<OutboundRequestBody>,
    target: &OutboundTarget,
    first_byte: Duration,
) -> Result<SentRequest<S>, EgressError> {
    let failed = |source| EgressError::Http { target: target.clone(), source };
    let arrived = HeadArrived::default();
    let transport = HeadBound::new(ReadsOn::new(transport), MAX_BYTES_TO_HEAD, arrived.clone());
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_BUFFER_BYTES)
        .handshake(TokioIo::new(transport))
        .await
        .map_err(failed)?;
    let mut connection = Box::pin(connection);
    let mut response = pin!(timeout(first_byte, sender.send_request(request)));
    let first = tokio::select! {
        biased;
        response = &mut response => Ok(response),
        ended = &mut connection => Err(ended),
    };
    let (response, connection) = match first {
        Ok(response) => (response, Some(connection)),
        // The response may have come in the step in which the connection ended. A server that
        // answers an upload early, and closes, ends the connection in an error.
        Err(ended) => {
            drop(connection);
            let response = response.await;
            if !matches!(response, Ok(Ok(_))) {
                ended.map_err(failed)?;
            }
            (response, None)
        }
    };
    let response = response
        .map_err(|_| EgressError::ResponseTimeout { target: target.clone() })?
        .map_err(failed)?;
    arrived.set();
    Ok(SentRequest { response, connection })
}
