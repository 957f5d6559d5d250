//! The parts of the inside that fuzz targets reach. No interface: other users have to reckon with
//! its going away.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use lacewing_ingress::{Handler, Options, Problem, Routes};
use lacewing_sandbox::capability::egress::Gate;
use tokio::io::{AsyncRead, AsyncWrite};

/// The bytes that are compiled in the place of a component, where those are others.
pub fn folded(component: &[u8]) -> Option<Vec<u8>> {
    lacewing_sandbox::engine::folded(component)
}

/// Whether a component names an interface of WASI 0.3.
pub fn names_wasi_03(component: &[u8]) -> bool {
    lacewing_sandbox::engine::names_wasi_03(component)
}

/// The authority and the path that a request is for.
///
/// # Errors
/// It is for none, or two readers could take it for two.
pub fn target(parts: &Parts, max_bytes: usize) -> Result<(&str, &str), Problem> {
    let target = lacewing_ingress::read_target(parts, max_bytes)?;
    Ok((target.authority, target.path))
}

pub use lacewing_runtime::invocation::fuzzing::{lean_fields, portable, response, response_head};

/// The bytes of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Work of the host's.
pub type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A listener that is handed its connections. The streams of HTTP/2 connections run on the runtime
/// that makes the listener.
pub struct Listener<H: Handler>(lacewing_ingress::Unbound<H>);

/// The heap of one connection of a [`Listener`], also after the connection's end.
pub struct Held(lacewing_ingress::Held);

impl<H: Handler> Listener<H> {
    /// A listener with these limits.
    pub fn new(options: Options, routes: Arc<Routes<H::Target>>, handler: Arc<H>) -> Listener<H> {
        Listener(lacewing_ingress::Unbound::new(options, routes, handler))
    }

    /// A connection, and the work that serves the connection. None: all places are taken.
    pub fn accept(&self, socket: impl Stream) -> Option<(Held, Work<()>)> {
        let (held, work) = self.0.accept(socket)?;
        Some((Held(held), Box::pin(work)))
    }

    /// Connections that are open, and the heap bytes that are noted for them.
    pub fn holds(&self) -> (u32, u64) {
        (self.0.open(), self.0.heap_bytes())
    }
}

impl Held {
    /// Bytes of the heap that the connection's tasks have allocated and not freed.
    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    /// Requests that are being answered.
    pub fn in_flight(&self) -> u32 {
        self.0.in_flight()
    }
}

/// A response of a server that a guest asked: its body's frames, and the work that moves its bytes.
pub type Fetched = (Response<UnsyncBoxBody<Bytes, String>>, Work<Result<(), String>>);

/// Sends a guest's request on a connection that is there already.
///
/// # Errors
/// The code that the guest is told.
pub async fn fetch(
    gate: &mut Gate,
    stream: impl Stream,
    request: Request<Bytes>,
) -> Result<Fetched, String> {
    let body = |bytes| Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
    let (response, driver) =
        gate.send_over(stream, request.map(body)).await.map_err(|code| format!("{code:?}"))?;
    let response = response.map(|body| body.map_err(|code| format!("{code:?}")).boxed_unsync());
    let driver = Box::into_pin(driver);
    Ok((response, Box::pin(async move { driver.await.map_err(|code| format!("{code:?}")) })))
}
