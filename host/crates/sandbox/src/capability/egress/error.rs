//! Why an outbound request failed: a sentence for the function's author, and a code for the guest.

use std::{
    error::Error as _,
    io,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use lacewing_base::address::Special;
use lacewing_base::egress_bounds::OutOfBounds;
use tokio_rustls::rustls;
use wasmtime_wasi_http::Error as Code;

use super::{head_bound::HeadTooLong, policy::OutboundTarget};

/// Why an outbound request failed. Displays as a sentence for the log; the guest gets the code of
/// [`EgressError::code`], which says nothing about the host's network.
#[derive(Debug, thiserror::Error)]
pub(super) enum EgressError {
    #[error("outbound http: the request's URI is refused: {reason}")]
    InvalidTarget { reason: &'static str },
    #[error("outbound http: CONNECT is refused, because it would be a tunnel")]
    Tunnel,
    #[error(
        "outbound http to {target} is not granted: add grants.http = [\"{}\"]",
        target.as_grant()
    )]
    NotGranted { target: OutboundTarget },
    #[error(
        "outbound http to {target} is refused: the operator allows only the hosts that egress.hosts of the host file names"
    )]
    HostNotAllowed { target: OutboundTarget },
    #[error("outbound http to {target} is refused: {}", why.sentence(address.ip()))]
    Prohibited { target: OutboundTarget, address: SocketAddr, why: Prohibition },
    #[error(
        "outbound http: an invocation of this function may make {limit} requests: raise limits.outbound_requests"
    )]
    TooManyRequests { limit: u32 },
    #[error("outbound http to {target}: all of the host's outbound connections are in use")]
    HostBusy { target: OutboundTarget },
    #[error(
        "outbound http to {target}: all of the outbound connections that one tenant may have at once are in use"
    )]
    TenantBusy { target: OutboundTarget },
    #[error(
        "outbound http: an invocation of this function may send and receive {limit_bytes} bytes: raise limits.egress_kib"
    )]
    TooManyBytes { limit_bytes: u64, direction: BodyDirection },
    #[error("outbound http to {target}: its name was not resolved in time")]
    DnsTimeout { target: OutboundTarget },
    #[error("outbound http to {target}: its name could not be resolved: {source}")]
    Dns { target: OutboundTarget, source: io::Error },
    #[error("outbound http to {target}: its name has no address")]
    NoAddress { target: OutboundTarget },
    #[error("outbound http to {target}: no connection was made in time")]
    ConnectTimeout { target: OutboundTarget },
    #[error("outbound http to {target}: the connection was not made: {source}")]
    Connect { target: OutboundTarget, source: io::Error },
    #[error("outbound http to {target}: no certificate can hold the name {}", target.host_text())]
    ServerName { target: OutboundTarget },
    #[error("outbound http to {target}: TLS failed: {source}")]
    Tls { target: OutboundTarget, source: io::Error },
    #[error("outbound http to {target}: no response came in time")]
    ResponseTimeout { target: OutboundTarget },
    #[error("outbound http to {target}: the exchange failed: {}", with_source(source))]
    Http { target: OutboundTarget, source: hyper::Error },
}

/// Why an address is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prohibition {
    /// The manifest does not grant it.
    NotGranted(Special),
    /// The operator does not allow it.
    NotAllowed(OutOfBounds),
    /// It is the host's own admin listener.
    Admin,
}

impl Prohibition {
    fn sentence(self, ip: IpAddr) -> String {
        match self {
            Prohibition::NotGranted(special) => format!(
                "{ip} is {special}; if that is meant, add grants.networks = [\"{}\"]",
                IpNet::from(ip)
            ),
            Prohibition::NotAllowed(OutOfBounds { address, special }) => format!(
                "{address} is {special}, and the operator of this host does not allow it; egress.networks = [\"{}\"] in the host file allows it",
                IpNet::from(address)
            ),
            Prohibition::Admin => format!("at {ip} is the admin listener of this host"),
        }
    }
}

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyDirection {
    Sent,
    Received,
}

/// hyper's errors do not say their cause.
fn with_source(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl EgressError {
    /// Whether the exchange ended because the guest's own body did, which the guest knows, or which
    /// was said when the body went over its limit.
    pub(super) fn is_of_body(&self) -> bool {
        matches!(self, EgressError::Http { source, .. } if body_code(source).is_some())
    }

    /// The code that the guest is told.
    pub(super) fn code(&self) -> Code {
        match self {
            EgressError::InvalidTarget { .. } | EgressError::ServerName { .. } => {
                Code::HttpRequestUriInvalid
            }
            EgressError::Tunnel => Code::HttpRequestMethodInvalid,
            EgressError::NotGranted { .. } | EgressError::HostNotAllowed { .. } => {
                Code::HttpRequestDenied
            }
            EgressError::Prohibited { .. } => Code::DestinationIpProhibited,
            EgressError::TooManyRequests { .. }
            | EgressError::HostBusy { .. }
            | EgressError::TenantBusy { .. } => Code::ConnectionLimitReached,
            EgressError::TooManyBytes { limit_bytes, direction: BodyDirection::Sent } => {
                Code::HttpRequestBodySize(Some(*limit_bytes))
            }
            EgressError::TooManyBytes { limit_bytes, direction: BodyDirection::Received } => {
                Code::HttpResponseBodySize(Some(*limit_bytes))
            }
            EgressError::DnsTimeout { .. } => Code::DnsTimeout,
            EgressError::Dns { .. } => dns_code("the name could not be resolved"),
            EgressError::NoAddress { .. } => dns_code("the name has no address"),
            EgressError::ConnectTimeout { .. } => Code::ConnectionTimeout,
            EgressError::Connect { source, .. } => connect_code(source),
            EgressError::Tls { source, .. } => tls_code(source),
            EgressError::ResponseTimeout { .. } => Code::ConnectionReadTimeout,
            EgressError::Http { source, .. } => http_code(source),
        }
    }
}

/// The system's resolver does not tell the server's own code.
fn dns_code(text: &str) -> Code {
    Code::DnsError { rcode: Some(text.to_owned()), info_code: None }
}

fn connect_code(error: &io::Error) -> Code {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Code::ConnectionRefused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            Code::ConnectionTerminated
        }
        io::ErrorKind::TimedOut => Code::ConnectionTimeout,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable => Code::DestinationIpUnroutable,
        _ => Code::DestinationUnavailable,
    }
}

fn tls_code(error: &io::Error) -> Code {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(_)) => Code::TlsCertificateError,
        Some(rustls::Error::AlertReceived(alert)) => Code::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: Some(format!("{alert:?}")),
        },
        Some(_) => Code::TlsProtocolError,
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Code::ConnectionTerminated,
            _ => Code::TlsProtocolError,
        },
    }
}

/// The code for an error of an exchange that had begun, in its head or in a body.
pub(super) fn http_code(error: &hyper::Error) -> Code {
    if let Some(code) = body_code(error) {
        return match code {
            Code::HttpRequestBodySize(bytes) => Code::HttpRequestBodySize(*bytes),
            _ => Code::HttpProtocolError,
        };
    }
    if error.is_parse_too_large() {
        return Code::HttpResponseHeaderSectionSize(None);
    }
    if error.is_incomplete_message() {
        return Code::HttpResponseIncomplete;
    }
    if error.is_timeout() {
        return Code::HttpResponseTimeout;
    }
    let lost = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    if lost.and_then(io::Error::get_ref).is_some_and(|cause| cause.is::<HeadTooLong>()) {
        return Code::HttpResponseHeaderSectionSize(None);
    }
    if lost.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
        return Code::HttpResponseIncomplete;
    }
    if lost.is_some() || error.is_closed() || error.is_canceled() || error.is_body_write_aborted() {
        return Code::ConnectionTerminated;
    }
    Code::HttpProtocolError
}

/// The error of the request's body, which hyper hands back.
fn body_code(error: &hyper::Error) -> Option<&Code> {
    error.source()?.downcast_ref()
}
