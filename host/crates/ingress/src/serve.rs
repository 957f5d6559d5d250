//! Accepts connections and serves HTTP/1.1 and, to clients that begin with it, HTTP/2 on them.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{SocketAddr, TcpStream as Accepted},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::future::{AbortHandle, AbortRegistration, Abortable};
use hyper::{
    Request,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use lacewing_base::event_loop::LoopsHandle;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Handle,
    select,
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, sleep, timeout_at},
};

use super::{
    body::BodyBudget,
    connection::Connection,
    dispatch::Dispatch,
    drain::{ConnectionPlace, DrainGate, Drained, Phase},
    exchange::{Answered, Handler, Routes},
    forwarded::Peer,
    frames::FrameBudget,
    heap::OfConnection,
    options::Options,
    patience::AwaitedRequest,
    streams::Streams,
    transport::{Prefix, Speaks, Spoken, Transport, listen_in},
};

/// hyper's own limit of header fields, which it keeps on the stack. Another costs an allocation for
/// each request.
const HYPER_HEADERS: usize = 100;
/// The least that hyper reads into, and what is read of a body at once at the most, in bytes.
const READ_BUFFER_BYTES: usize = 128 * 1024;
/// How long an HTTP/2 connection may idle where connections are not kept: it is made for many
/// requests.
const LEAST_HTTP2_IDLE: Duration = Duration::from_secs(1);
/// How often an HTTP/2 connection is looked at while it waits for its client as long as it may.
const LOOKS_PER_WAIT: u32 = 4;
/// The count of HTTP/2 for a header field besides name and value (RFC 9113, section 6.5.2), in
/// bytes.
const HTTP2_FIELD_BYTES: usize = 32;
/// The bytes that an HTTP/2 client may send ahead of the reader, for one stream and for one
/// connection.
const HTTP2_WINDOWS: (u32, u32) = (256 * 1024, 1024 * 1024);
/// The bytes that one HTTP/2 stream buffers of its response.
const HTTP2_SEND_BYTES: usize = 128 * 1024;
/// The first and the longest pause after the system could not accept a connection.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Why an address cannot be listened on. Displays as a sentence that says what would help.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", reason(.error, .flag))]
pub struct ListenError {
    address: SocketAddr,
    flag: &'static str,
    // Not a source: the sentence has what it says.
    error: io::Error,
}

fn reason(error: &io::Error, flag: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "address already in use (is another lacewing running? choose another with {flag})"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address (choose another with {flag})")
        }
        io::ErrorKind::PermissionDenied => format!(
            "permission denied (ports below 1024 are for privileged processes; choose another with {flag})"
        ),
        _ => error.to_string(),
    }
}

/// Connections that wait in the kernel's queue, at most; the kernel has a limit of its own
/// (`net.core.somaxconn`). A burst of more is sent again after a second, that of every client.
const BACKLOG: u32 = 4096;

/// Bytes of a response that the kernel holds besides those on their way, before the connection may
/// write more; half of them have to leave first. A socket's buffer grows to megabytes, and takes
/// more only once a third is free: of a client that reads slowly the host would see nothing for so
/// long. Bytes that are on their way are not bounded by this, so that a long way takes no
/// throughput. At 10 Gbit/s, half of this lasts 26 us: long enough for the connection's thread to
/// write again.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 64 * 1024;

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // An address whose last connections have just ended may be bound again.
    socket.set_reuseaddr(true)?;
    // Its connections inherit the bound. Where the system has none, a client that reads slowly is
    // given up sooner.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES);
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A bound socket. Clients can connect already, and wait until it is served.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds an address. `flag` is how the user chooses it, for the error's text: `--listen`.
    pub async fn bind(address: SocketAddr, flag: &'static str) -> Result<Listener, ListenError> {
        let bound =
            bind(address).and_then(|socket| Ok(Listener { address: socket.local_addr()?, socket }));
        bound.map_err(|error| ListenError { address, flag, error })
    }

    /// The address with the port that the system chose, if port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A listener that is being served. Dropping it leaves its connections running.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    gate: Arc<DrainGate>,
    linger: Duration,
    /// Ends when nothing is accepted any more.
    accepting: oneshot::Receiver<()>,
}

impl Server {
    /// Begins to serve, connections on `loops` and the streams of HTTP/2 connections on the current
    /// runtime.
    pub fn start<H: Handler>(
        listener: Listener,
        options: Options,
        loops: &LoopsHandle,
        routes: Arc<Routes<H::Target>>,
        handler: Arc<H>,
    ) -> Server {
        let gate = DrainGate::new(options.connections, options.heap_bytes);
        let (address, linger) = (listener.address, options.drain_linger);
        let ingress = Ingress::new(options, Arc::clone(&gate), routes, handler);
        let (ended, accepting) = oneshot::channel();
        let connections = loops.clone();
        loops.spawn(async move {
            accept(listener.socket, ingress, connections).await;
            let _ = ended.send(());
        });
        Server { address, gate, linger, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open.
    pub fn connections(&self) -> u32 {
        self.gate.open()
    }

    /// Whether a connection waits for a place.
    #[cfg(test)]
    pub(super) fn is_full(&self) -> bool {
        self.gate.wants_places_back()
    }

    /// Counts the open connections, for as long as somebody wants to know.
    pub fn connection_counter(&self) -> impl Fn() -> u32 + Send + Sync + use<> {
        let gate = Arc::clone(&self.gate);
        move || gate.open()
    }

    /// Counts the heap bytes of the open connections, for as long as somebody wants to know.
    pub fn heap_counter(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let gate = Arc::clone(&self.gate);
        move || gate.heap.used_bytes()
    }

    /// Stops accepting, lets what was accepted finish, and cuts what is not finished after `grace`.
    pub async fn drain(self, grace: Duration) -> Drained {
        self.gate.drain(self.accepting, self.linger, grace).await
    }
}

fn http1_builder(options: &Options) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // hyper would count from the end of the last response. The transport does better.
        .header_read_timeout(None)
        .keep_alive(!options.keep_alive.is_zero())
        .max_header_size(options.header_bytes)
        .max_buf_size(options.header_bytes.max(READ_BUFFER_BYTES));
    if options.headers != HYPER_HEADERS {
        builder.max_headers(options.headers);
    }
    builder
}

fn http2_builder(options: &Options, streams: Streams) -> http2::Builder<Streams> {
    let header_bytes = options.header_bytes + HTTP2_FIELD_BYTES * options.headers;
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.streams)
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(options.reset_streams)
        .max_local_error_reset_streams(options.reset_streams)
        .initial_stream_window_size(HTTP2_WINDOWS.0)
        .initial_connection_window_size(HTTP2_WINDOWS.1)
        .max_send_buf_size(HTTP2_SEND_BYTES);
    builder
}

/// The state that the connections of a listener share.
pub(super) struct Ingress<H: Handler> {
    dispatch: Arc<Dispatch<H>>,
    gate: Arc<DrainGate>,
    budget: BodyBudget,
    http1: http1::Builder,
    /// Where streams of HTTP/2 run.
    runtime: Handle,
    options: Arc<Options>,
}

/// Accepts until the drain begins, and then what is already waiting.
///
/// One connection at most waits for a place here, and others make room for it: see
/// [`super::crowd`]. The rest wait in the kernel's queue, which is bounded: to accept and to refuse
/// them would cost as much as to answer.
async fn accept<H: Handler>(listener: TcpListener, ingress: Arc<Ingress<H>>, loops: LoopsHandle) {
    let gate = Arc::clone(&ingress.gate);
    let mut draining = pin!(gate.reached(Phase::Draining));
    let mut pause = BACKOFF.0;
    loop {
        let accepted = select! {
            biased;
            () = &mut draining => break,
            accepted = accept_one(&listener, &gate) => accepted,
        };
        match accepted {
            Ok((socket, peer, permit)) => {
                pause = BACKOFF.0;
                spawn(&ingress, &loops, socket, peer, permit);
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                let pause_ms = pause.as_millis();
                tracing::warn!(%error, pause_ms, "cannot accept connections; trying again");
                select! {
                    () = sleep(pause) => {}
                    () = &mut draining => break,
                }
                pause = (pause * 2).min(BACKOFF.1);
            }
        }
    }
    // A client that had connected before the drain began was accepted, as far as the client can
    // know. The runtime may not have been told of it yet, so the system is asked.
    let Ok(listener) = listener.into_std() else { return };
    while let Some(permit) = gate.try_reserve()
        && let Ok((socket, peer)) = listener.accept()
        && socket.set_nonblocking(true).is_ok()
    {
        spawn(&ingress, &loops, socket, peer, permit);
    }
}

/// Serves a connection in a task of its own.
fn spawn<H: Handler>(
    ingress: &Arc<Ingress<H>>,
    loops: &LoopsHandle,
    socket: Accepted,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    // By the event loop that the connection belongs to.
    let open = move || {
        let socket = TcpStream::from_std(socket)?;
        // Without it small pieces of a stream wait for the client's acknowledgement, up to 40 ms.
        let _ = socket.set_nodelay(true);
        Ok(socket)
    };
    let (_, serving) = ingress.connection(open, peer, permit);
    loops.spawn(serving);
}

async fn accept_one(
    listener: &TcpListener,
    gate: &Arc<DrainGate>,
) -> io::Result<(Accepted, SocketAddr, OwnedSemaphorePermit)> {
    let (socket, peer) = listener.accept().await?;
    let permit = gate.reserve(peer.ip()).await.ok_or(io::ErrorKind::Other)?;
    // It is to belong to another event loop than this one.
    Ok((socket.into_std()?, peer, permit))
}

/// Whether accepting failed for the one client that was being accepted, which has gone, and not for
/// all.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Serves one connection to its end.
async fn serve<H: Handler, S: AsyncRead + AsyncWrite + Unpin>(
    ingress: Arc<Ingress<H>>,
    open: impl FnOnce() -> io::Result<S>,
    connection: Arc<Connection>,
    place: ConnectionPlace,
) {
    let peer = connection.peer;
    let mut socket = match open() {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!(%peer, %error, "cannot serve a connection"),
    };
    let first_head = Instant::now() + ingress.options.header_timeout;
    let spoken = select! {
        spoken = timeout_at(first_head, listen_in(&mut socket)) => spoken,
        () = ingress.gate.reached(Phase::Closing) => return,
    };
    let ended = match spoken {
        Ok(Ok(Spoken::Http1(prefix))) => {
            ingress.serve_http1(socket, prefix, first_head, &connection).await
        }
        Ok(Ok(Spoken::Http2(prefix))) => ingress.serve_http2(socket, prefix, &connection).await,
        Ok(Err(_)) | Err(_) => return,
    };
    if let Some((problem, request_id)) = connection.refused() {
        ingress.dispatch.handler.answered(&Answered {
            outcome: problem.outcome(),
            status: problem.status(),
            request_id,
            request: None,
            route: None,
            detail: Some(problem.sentence()),
            peer,
            elapsed: Duration::ZERO,
        });
    }
    match ended {
        ConnectionEnd::ByItself(Ok(())) => {}
        ConnectionEnd::ByItself(Err(error)) => {
            tracing::debug!(%peer, error = &error as &dyn std::error::Error, "connection failed");
        }
        ConnectionEnd::Cut { requests } => ingress.gate.note_cut(requests),
    }
    drop(place);
}

/// How a connection ended.
enum ConnectionEnd {
    ByItself(hyper::Result<()>),
    Cut { requests: u32 },
}

impl<H: Handler> Ingress<H> {
    /// Serves the streams of HTTP/2 connections on the current runtime.
    pub(super) fn new(
        options: Options,
        gate: Arc<DrainGate>,
        routes: Arc<Routes<H::Target>>,
        handler: Arc<H>,
    ) -> Arc<Ingress<H>> {
        Arc::new(Ingress {
            dispatch: Arc::new(Dispatch::new(&options, routes, handler)),
            gate,
            budget: BodyBudget::new(&options),
            http1: http1_builder(&options),
            runtime: Handle::current(),
            options: Arc::new(options),
        })
    }

    /// Takes a place for a connection, and serves the connection until the connection ends or has
    /// to make room for others.
    pub(super) fn connection<S, O>(
        self: &Arc<Ingress<H>>,
        open: O,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> (Arc<Connection>, impl Future<Output = ()> + Send + use<H, S, O>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        O: FnOnce() -> io::Result<S> + Send + 'static,
    {
        let (end, ended): (AbortHandle, AbortRegistration) = AbortHandle::new_pair();
        let gate = &self.gate;
        let from = Peer::of(peer, &self.options.trusted_proxies);
        let connection = Connection::new(peer, from, self.budget.clone(), &gate.heap, end);
        let place = gate.enter(permit, &connection);
        let serving = serve(Arc::clone(self), open, Arc::clone(&connection), place);
        let serving = Abortable::new(serving, ended);
        let serving = OfConnection::new(serving, Arc::clone(&connection), Arc::clone(gate));
        let serving = async move {
            // Aborted or not, it is over.
            let _ = serving.await;
        };
        (connection, serving)
    }

    async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: S,
        prefix: Prefix,
        first_head: Instant,
        connection: &Arc<Connection>,
    ) -> ConnectionEnd {
        let last = || self.gate.wants_places_back();
        let service = service_fn(|request: Request<Incoming>| {
            // At once, and not when it is first polled: the transport has to know that a request
            // was read.
            let in_flight = connection.begin();
            async move { Ok::<_, Infallible>(self.dispatch.answer(request, in_flight, last).await) }
        });
        let speaks = Speaks::Http1(AwaitedRequest::new(first_head, &self.options));
        let io = self.transport(socket, prefix, speaks, connection);
        let http = pin!(self.http1.serve_connection(io, service));
        self.drive(http, connection, Phase::Closing, |http| http.graceful_shutdown()).await
    }

    async fn serve_http2<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: S,
        prefix: Prefix,
        connection: &Arc<Connection>,
    ) -> ConnectionEnd {
        let (dispatch, shared) = (Arc::clone(&self.dispatch), Arc::clone(connection));
        let service = service_fn(move |request: Request<Incoming>| {
            let (dispatch, in_flight) = (Arc::clone(&dispatch), shared.begin());
            async move { Ok::<_, Infallible>(dispatch.answer(request, in_flight, || false).await) }
        });
        let speaks = Speaks::Http2(FrameBudget::new(Instant::now().into_std()));
        let io = self.transport(socket, prefix, speaks, connection);
        let (runtime, gate) = (self.runtime.clone(), Arc::clone(&self.gate));
        let streams = Streams::new(runtime, Arc::clone(connection), gate);
        let builder = http2_builder(&self.options, streams);
        let mut http = pin!(builder.serve_connection(io, service));
        // hyper has no limits of time for HTTP/2. First the client is asked to leave, then it is
        // left: a client that reads nothing of its responses is one that idles.
        for _ in 0..2 {
            let graceful = |http: Pin<&mut http2::Connection<_, _, _>>| http.graceful_shutdown();
            select! {
                biased;
                ended = self.drive(http.as_mut(), connection, Phase::Draining, graceful) => return ended,
                () = idle(connection, &self.options) => {}
            }
            http.as_mut().graceful_shutdown();
        }
        ConnectionEnd::ByItself(Ok(()))
    }

    fn transport<S>(
        &self,
        socket: S,
        prefix: Prefix,
        speaks: Speaks,
        connection: &Arc<Connection>,
    ) -> TokioIo<Transport<S>> {
        let (connection, options) = (Arc::clone(connection), Arc::clone(&self.options));
        TokioIo::new(Transport::new(socket, prefix, speaks, connection, options))
    }

    /// Drives a connection to its end, or to the drain's: from `close_at` on it is asked to end.
    async fn drive<C: Future<Output = hyper::Result<()>>>(
        &self,
        mut http: Pin<&mut C>,
        connection: &Connection,
        close_at: Phase,
        close: impl Fn(Pin<&mut C>),
    ) -> ConnectionEnd {
        let mut seen = Phase::Serving;
        loop {
            if let Some(result) = self.gate.drive(seen, http.as_mut()).await {
                return ConnectionEnd::ByItself(result);
            }
            let phase = self.gate.phase();
            if phase == Phase::Cut {
                return ConnectionEnd::Cut { requests: connection.in_flight() };
            }
            if seen < close_at && phase >= close_at {
                close(http.as_mut());
            }
            seen = phase;
        }
    }
}

/// Ready when an HTTP/2 connection has waited for its client for too long: between requests for
/// [`Options::keep_alive`], with a response that the client does not read, or a request that the
/// client does not go on with, for [`Options::write_idle`]. A client that takes what it was sent
/// before makes progress.
async fn idle(connection: &Connection, options: &Options) {
    let keep_alive = match options.keep_alive {
        Duration::ZERO => LEAST_HTTP2_IDLE,
        keep_alive => keep_alive,
    };
    let look_every = keep_alive.min(options.write_idle) / LOOKS_PER_WAIT;
    let mut waits_since = None;
    loop {
        sleep(look_every).await;
        let progress = connection.waits_for_reader().then(|| connection.progress());
        let now = Instant::now();
        waits_since = match (progress, waits_since) {
            (None, _) => None,
            (Some(progress), Some((seen, since))) if progress == seen => {
                let patience = match connection.in_flight() {
                    0 => keep_alive,
                    _ => options.write_idle,
                };
                if now.saturating_duration_since(since) >= patience {
                    return;
                }
                Some((seen, since))
            }
            (Some(progress), _) => Some((progress, now)),
        };
    }
}
