//! From a target that is granted to a connection: resolve once, judge every address, connect to
//! what was judged.
//!
//! Of a name's addresses, those that are refused are left out, and the others are tried in turn. So
//! a name with a public and a private address (a rebinding, or a split horizon seen from the wrong
//! side) reaches the public one and never the private one; a name with private ones only is
//! refused.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use lacewing_base::account::OutboundShare;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{client::TlsStream, rustls::pki_types::ServerName};

use super::{
    Egress,
    error::{EgressError, Prohibition},
    exchange::InvocationEgress,
    policy::{OutboundTarget, TargetHost, TargetScheme},
};

/// Addresses of one name that are tried, at most.
const MAX_ADDRESSES: usize = 8;

/// A connection to a target, with or without TLS.
pub enum OutboundTransport {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Opens a connection. One is made per request: a pool would sit here, keyed by tenant, scheme,
/// authority and the address that was judged, and be asked after [`allowed_addresses`].
pub(super) async fn open(
    shared: &InvocationEgress,
    target: &OutboundTarget,
    connect_timeout: Duration,
) -> Result<OutboundTransport, EgressError> {
    let egress = &shared.egress;
    let addresses = allowed_addresses(shared, target).await?;
    let deadline = Instant::now() + connect_timeout;
    let stream = connect(target, &addresses, deadline).await?;
    // Small chunks would otherwise wait for the peer's acknowledgment, 40 ms mostly.
    stream
        .set_nodelay(true)
        .map_err(|source| EgressError::Connect { target: target.clone(), source })?;
    match target.scheme {
        TargetScheme::Http => Ok(OutboundTransport::Plain(stream)),
        TargetScheme::Https => {
            let name = server_name(target)?;
            let handshake = egress.tls.connect(name, stream);
            let stream = timeout_at(deadline, handshake)
                .await
                .map_err(|_| EgressError::ConnectTimeout { target: target.clone() })?
                .map_err(|source| EgressError::Tls { target: target.clone(), source })?;
            Ok(OutboundTransport::Tls(Box::new(stream)))
        }
    }
}

/// The addresses that may be connected to, in the resolver's order; at least one.
pub(super) async fn allowed_addresses(
    shared: &InvocationEgress,
    target: &OutboundTarget,
) -> Result<Vec<SocketAddr>, EgressError> {
    let InvocationEgress { egress, account, policy, .. } = shared;
    let share = &account.outbound;
    let grant = policy.grant(target)?;
    let bounds = share.bounds();
    if !bounds.allows(&target.host.as_granted()) {
        return Err(EgressError::HostNotAllowed { target: target.clone() });
    }
    let addresses = match &target.host {
        TargetHost::Address(address) => vec![*address],
        TargetHost::Name(name) => resolve(egress, share, target, name).await?,
    };
    let judge = |address: SocketAddr| {
        let granted = policy.refuses(grant, address.ip()).map(Prohibition::NotGranted);
        let allowed = || bounds.refuses(address.ip()).map(Prohibition::NotAllowed);
        granted.or_else(allowed).or_else(|| egress.is_admin(address).then_some(Prohibition::Admin))
    };
    let mut allowed = Vec::new();
    let mut prohibited = None;
    for address in addresses {
        // The address that the kernel would connect to.
        let address = SocketAddr::new(address.to_canonical(), target.port);
        match judge(address) {
            None if !allowed.contains(&address) => allowed.push(address),
            None => {}
            Some(why) => prohibited = prohibited.or(Some((address, why))),
        }
    }
    allowed.truncate(MAX_ADDRESSES);
    let target = || target.clone();
    match prohibited {
        _ if !allowed.is_empty() => Ok(allowed),
        Some((address, why)) => Err(EgressError::Prohibited { target: target(), address, why }),
        None => Err(EgressError::NoAddress { target: target() }),
    }
}

/// Whether an address leads to this machine: whatever a socket can be bound to does. Where the
/// system does not say, it counts as one that does.
pub(super) fn is_local(address: IpAddr) -> bool {
    let bound = std::net::UdpSocket::bind((address, 0));
    !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

/// A look-up that takes too long is not waited for, and still counts as one of its tenant's until
/// it ends.
async fn resolve(
    egress: &Egress,
    share: &OutboundShare,
    target: &OutboundTarget,
    name: &str,
) -> Result<Vec<IpAddr>, EgressError> {
    let (lookups, resolver) = (share.lookups.clone(), egress.resolver.clone());
    let name: Arc<str> = name.into();
    let lookup = async move {
        let permit = lookups.acquire_owned().await.map_err(io::Error::other)?;
        let lookup = async move {
            let addresses = resolver.resolve(name).await;
            drop(permit);
            addresses
        };
        tokio::spawn(lookup).await.map_err(io::Error::other)?
    };
    match timeout(egress.timeouts.dns, lookup).await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(source)) => Err(EgressError::Dns { target: target.clone(), source }),
        Err(_) => Err(EgressError::DnsTimeout { target: target.clone() }),
    }
}

/// Connects to the first address that answers. Each gets an equal share of the time that is left,
/// so that one that swallows packets does not keep the others from being tried.
async fn connect(
    target: &OutboundTarget,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, EgressError> {
    let mut failure = EgressError::NoAddress { target: target.clone() };
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let remaining = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        failure = match timeout(left / remaining, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(source)) => EgressError::Connect { target: target.clone(), source },
            Err(_) => EgressError::ConnectTimeout { target: target.clone() },
        };
    }
    Err(failure)
}

fn server_name(target: &OutboundTarget) -> Result<ServerName<'static>, EgressError> {
    match &target.host {
        TargetHost::Address(address) => Ok(ServerName::from(*address)),
        TargetHost::Name(name) => ServerName::try_from(name.clone())
            .map_err(|_| EgressError::ServerName { target: target.clone() }),
    }
}

impl AsyncRead for OutboundTransport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            OutboundTransport::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            OutboundTransport::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for OutboundTransport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            OutboundTransport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            OutboundTransport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            OutboundTransport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            OutboundTransport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            OutboundTransport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            OutboundTransport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            OutboundTransport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            OutboundTransport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            OutboundTransport::Plain(stream) => stream.is_write_vectored(),
            OutboundTransport::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
