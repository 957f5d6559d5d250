//! Outbound HTTP: the gate that every request of a guest passes, whichever version of wasi:http it
//! speaks.
//!
//! ```text
//!  guest ─> Gate ─> count ─> grant for scheme, host, port ─> a place among the invocation's open requests
//!            │                                                        │
//!            │        response head <─ exchange <─ TLS <─ connect <─ judge every address <─ resolve, once
//!            └─ bodies: bytes counted both ways, silence timed
//! ```
//!
//! Three judge each address: the manifest's grants ([`Policy`]), the operator's bounds on the
//! tenant ([`OutboundShare::set_bounds`]), and the host, whose admin listener is out of reach
//! whatever is granted ([`Egress::keep_from`]). Bounds are looked up for each connection, so that a
//! reload which narrows them holds for revisions and invocations that were there before.
//!
//! Not here: nothing follows a redirect (the guest does, and passes the gate again), reads a proxy
//! from the environment, or keeps a connection for later. A failure is told to the guest as a code
//! and to the function's author as a sentence in its log, each sentence once per invocation.

mod body;
mod connect;
mod error;
mod exchange;
mod head_bound;
mod policy;
mod reads_on;
mod resolve;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use lacewing_base::account::OutboundShare;
use lacewing_telemetry::GuestLog;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer},
};
use wasmtime_wasi_http::{Error as Code, RequestOptions, WasiBody, WasiHttpHooks};

use self::{
    body::{ByteBudget, Report},
    error::EgressError,
    exchange::{Driver, InvocationEgress},
};
pub use self::{
    connect::OutboundTransport,
    policy::Policy,
    resolve::{Lookup, Resolve, SystemResolver},
};

/// How long the host waits for others. A guest may ask for less, and what it does not ask for is
/// this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a name's addresses. Default 10 s.
    pub dns: Duration,
    /// For a connection, TLS included, over all of a name's addresses. Default 10 s.
    pub connect: Duration,
    /// For a response's head, once the connection is there; sending the request's body counts.
    /// Default 10 min, because the invocation's deadline is over it.
    pub first_byte: Duration,
    /// Between two pieces of a response's body. Default 10 min.
    pub between_bytes: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            dns: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(600),
            between_bytes: Duration::from_secs(600),
        }
    }
}

/// The outbound HTTP of this host.
pub struct EgressOptions {
    /// How long the host waits for others.
    pub timeouts: Timeouts,
    /// Outbound connections of the whole host at once. Default 1,024, because each takes a file
    /// descriptor. A request waits for one as long as for a connection. A tenant may hold half
    /// of them.
    pub connections: usize,
    /// Certificates that are trusted besides those of Mozilla's programme.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The source of the addresses of names. Default the system.
    pub resolver: Arc<dyn Resolve>,
}

impl Default for EgressOptions {
    fn default() -> EgressOptions {
        EgressOptions {
            timeouts: Timeouts::default(),
            connections: 1024,
            extra_roots: Vec::new(),
            resolver: Arc::new(SystemResolver::default()),
        }
    }
}

impl fmt::Debug for EgressOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressOptions")
            .field("timeouts", &self.timeouts)
            .field("connections", &self.connections)
            .field("extra_roots", &self.extra_roots.len())
            .finish_non_exhaustive()
    }
}

/// Why there is no outbound HTTP on this host.
#[derive(Debug, thiserror::Error)]
#[error("outbound TLS could not be set up")]
pub struct EgressSetupError(#[from] rustls::Error);

/// A tenant's look-ups of names at once. A quarter of the look-ups that the system's resolver does
/// at once.
const TENANT_LOOKUPS: usize = 16;

/// Outbound HTTP of this host: what all its invocations share.
pub struct Egress {
    timeouts: Timeouts,
    /// Connections of the host, used or free.
    capacity: usize,
    connections: Arc<Semaphore>,
    admin: OnceLock<SocketAddr>,
    resolver: Arc<dyn Resolve>,
    tls: TlsConnector,
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress")
            .field("timeouts", &self.timeouts)
            .field("free_connections", &self.connections.available_permits())
            .finish_non_exhaustive()
    }
}

impl Egress {
    /// Sets outbound HTTP up.
    pub fn new(options: EgressOptions) -> Result<Egress, EgressSetupError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        for root in options.extra_roots {
            roots.add(root)?;
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A ticket would tell the server that two tenants share this host.
        config.resumption = rustls::client::Resumption::disabled();
        let connections = options.connections.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Egress {
            timeouts: options.timeouts,
            capacity: connections,
            connections: Arc::new(Semaphore::new(connections)),
            admin: OnceLock::new(),
            resolver: options.resolver,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// The share of one more tenant: half of the connections of the host, and 16 look-ups.
    pub fn share(&self) -> OutboundShare {
        OutboundShare::new(self.capacity.div_ceil(2), TENANT_LOOKUPS)
    }

    /// Keeps guests from the admin listener, which is at this address, in any way that leads to it:
    /// its port is out of reach on every address of this machine. Only the first call counts.
    ///
    /// The limit of it: where something else takes a connection on, such as a proxy or a
    /// translation of addresses, the host does not see where that goes.
    pub fn keep_from(&self, admin: SocketAddr) {
        // The one listener of a process is bound once.
        let _ = self.admin.set(admin);
    }

    fn is_admin(&self, address: SocketAddr) -> bool {
        let port = self.admin.get().map(SocketAddr::port);
        port == Some(address.port()) && connect::is_local(address.ip())
    }

    /// Outbound connections that are not in use.
    pub fn free_connections(&self) -> usize {
        self.connections.available_permits()
    }
}

/// The bounds of one invocation's outbound HTTP. From `manifest::Limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EgressLimits {
    /// Requests open at once; the next one waits.
    pub concurrency: u32,
    /// Requests over the invocation, refused ones included; the next one fails.
    pub requests: u32,
    /// Bytes of bodies, sent and received; the body that goes over it fails.
    pub bytes: u64,
}

impl EgressLimits {
    /// The bounds of an invocation that may send nothing.
    pub(crate) const NONE: EgressLimits = EgressLimits { concurrency: 0, requests: 0, bytes: 0 };
}

impl From<&lacewing_base::Limits> for EgressLimits {
    fn from(limits: &lacewing_base::Limits) -> EgressLimits {
        EgressLimits {
            concurrency: limits.outbound_concurrency,
            requests: limits.outbound_requests,
            bytes: limits.egress_bytes,
        }
    }
}

/// Where an outbound request came from: header fields that are added where the guest has not set
/// its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Propagation {
    /// The W3C trace context, with the invocation's span as parent.
    pub traceparent: Option<HeaderValue>,
    /// Goes with `traceparent`, and only with the one given here.
    pub tracestate: Option<HeaderValue>,
    /// The request's id.
    pub request_id: Option<HeaderValue>,
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Propagation {
    fn add_to(&self, headers: &mut HeaderMap) {
        let mut add = |name, value: &Option<HeaderValue>| {
            if let Some(value) = value {
                headers.entry(name).or_insert_with(|| value.clone());
            }
        };
        add(REQUEST_ID, &self.request_id);
        if headers.contains_key(TRACEPARENT) || self.traceparent.is_none() {
            return;
        }
        let mut add = |name, value: &Option<HeaderValue>| {
            headers.remove(&name);
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        };
        add(TRACEPARENT, &self.traceparent);
        add(TRACESTATE, &self.tracestate);
    }
}

/// The gate of one invocation. Costs a few reference counts until the first request.
pub struct Gate {
    egress: Arc<Egress>,
    policy: Policy,
    limits: EgressLimits,
    propagation: Propagation,
    log: Arc<GuestLog>,
    /// Requests so far.
    requests: u32,
    shared: Option<Arc<InvocationEgress>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("policy", &self.policy)
            .field("limits", &self.limits)
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// The gate of an invocation, which tells its refusals to the invocation's log.
    pub fn new(
        egress: Arc<Egress>,
        policy: Policy,
        limits: EgressLimits,
        propagation: Propagation,
        log: Arc<GuestLog>,
    ) -> Gate {
        Gate { egress, policy, limits, propagation, log, requests: 0, shared: None }
    }

    /// Requests so far, refused ones included.
    pub(crate) fn requests(&self) -> u32 {
        self.requests
    }

    /// Sends a request, if it may be sent. The future holds no borrow, and dropping it, the
    /// response's body and the driver closes the connection.
    fn send(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> impl Future<Output = Result<(Response<WasiBody>, Driver), Code>> + Send + use<> {
        let limit = self.limits.requests;
        let over = self.requests >= limit;
        self.requests = self.requests.saturating_add(1);
        let shared = self.shared().clone();
        async move {
            let report = shared.report.clone();
            let exchanged = if over {
                Err(EgressError::TooManyRequests { limit })
            } else {
                exchange::exchange(shared, request, options).await
            };
            exchanged.map_err(|error| {
                report(&error);
                error.code()
            })
        }
    }

    /// As a request of the guest, but on a connection that is there already: for a fuzz target.
    pub async fn send_over(
        &mut self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        mut request: Request<WasiBody>,
    ) -> Result<(Response<WasiBody>, Driver), Code> {
        let shared = self.shared().clone();
        let exchanged = async {
            let admitted = exchange::admit(&shared, &mut request, None).await?;
            exchange::exchange_over(stream, &shared, admitted, request).await
        };
        exchanged.await.map_err(|error| {
            (shared.report)(&error);
            error.code()
        })
    }

    fn shared(&mut self) -> &Arc<InvocationEgress> {
        let (egress, policy) = (&self.egress, &self.policy);
        let (propagation, log, limits) = (&self.propagation, &self.log, &self.limits);
        self.shared.get_or_insert_with(|| {
            Arc::new(InvocationEgress {
                egress: egress.clone(),
                account: log.context().origin.account.clone(),
                policy: policy.clone(),
                propagation: propagation.clone(),
                // Of none, the first would wait for ever.
                open_requests: Arc::new(Semaphore::new(limits.concurrency.max(1) as usize)),
                budget: Arc::new(ByteBudget::new(limits.bytes)),
                report: report_to(log.clone()),
            })
        })
    }
}

/// Sentences that an invocation's log remembers, so as not to say them again.
const MAX_SENTENCES: usize = 16;

fn report_to(log: Arc<GuestLog>) -> Report {
    let said: Mutex<Vec<String>> = Mutex::default();
    Arc::new(move |error| {
        if error.is_of_body() {
            return;
        }
        let sentence = error.to_string();
        let mut said = said.lock();
        if said.len() < MAX_SENTENCES && !said.contains(&sentence) {
            log.note(&sentence);
            said.push(sentence);
        }
    })
}

/// Bytes that a guest may have in one piece of a body on its way out: the host holds up to two
/// pieces for each body, and they are counted with what is held behind handles.
pub const BODY_PIECE_BYTES: usize = 64 << 10;

impl WasiHttpHooks for Gate {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_PIECE_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_PIECE_BYTES
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_processed: Box<dyn Future<Output = Result<(), Code>> + Send>,
    ) -> Box<
        dyn Future<
                Output = wasmtime_wasi_http::Result<(
                    Response<WasiBody>,
                    Box<dyn Future<Output = Result<(), Code>> + Send>,
                )>,
            > + Send,
    > {
        Box::new(self.send(request, options))
    }
}
