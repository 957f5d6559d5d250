//! A listener without a socket: its connections are whatever bytes a fuzz target reads and writes.

use std::{future::Future, net::SocketAddr, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    connection::Connection,
    drain::DrainGate,
    exchange::{Handler, Routes},
    options::Options,
    serve::Ingress,
};

/// The address that each connection comes from.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// A listener that is handed its connections.
pub struct Unbound<H: Handler> {
    ingress: Arc<Ingress<H>>,
    gate: Arc<DrainGate>,
}

impl<H: Handler> Unbound<H> {
    /// Serves the streams of HTTP/2 connections on the current runtime.
    pub fn new(options: Options, routes: Arc<Routes<H::Target>>, handler: Arc<H>) -> Unbound<H> {
        let gate = DrainGate::new(options.connections, options.heap_bytes);
        Unbound { ingress: Ingress::new(options, Arc::clone(&gate), routes, handler), gate }
    }

    /// A connection, and the future that serves the connection. None: there is no place.
    pub fn accept<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        socket: S,
    ) -> Option<(Held, impl Future<Output = ()> + Send + use<H, S>)> {
        let permit = self.gate.try_reserve()?;
        let (connection, serving) = self.ingress.connection(|| Ok(socket), PEER, permit);
        Some((Held(connection), serving))
    }

    /// Connections that are open.
    pub fn open(&self) -> u32 {
        self.gate.open()
    }

    /// Heap bytes that are noted for the connections together.
    pub fn heap_bytes(&self) -> u64 {
        self.gate.heap.used_bytes()
    }
}

/// The heap of a connection, also after its end.
pub struct Held(Arc<Connection>);

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
