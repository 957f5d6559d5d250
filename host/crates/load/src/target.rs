//! The target of a load: one URL, and the connections to it.

use std::{fmt, io, net::SocketAddr, str::FromStr, sync::Arc};

use http::{HeaderValue, Uri, uri::PathAndQuery};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

/// A URL that can be put under load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadTarget {
    host: String,
    port: u16,
    tls: bool,
    path: PathAndQuery,
    authority: HeaderValue,
}

/// A connection, with or without TLS.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Why a text is no such URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It does not parse.
    #[error("{0:?} is not a URL: write one such as http://127.0.0.1:8080/")]
    NotAUrl(String),
    /// Neither http nor https.
    #[error(
        "{0:?} is not a URL that can be measured: write one that begins with http:// or https://"
    )]
    Scheme(String),
    /// With a user name or a password.
    #[error(
        "a URL with a user name is not supported: give the header with -H 'authorization: ...'"
    )]
    UserInfo,
}

impl FromStr for LoadTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<LoadTarget, TargetError> {
        let not_a_url = || TargetError::NotAUrl(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| not_a_url())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(TargetError::Scheme(text.to_owned())),
        };
        let authority = uri.authority().ok_or_else(not_a_url)?;
        if authority.as_str().contains('@') {
            return Err(TargetError::UserInfo);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(not_a_url());
        }
        // `Authority` says of a port that is none that there is no port.
        let port = match (authority.as_str().strip_prefix(authority.host()), tls) {
            (None | Some(""), true) => 443,
            (None | Some(""), false) => 80,
            (Some(port), _) => port.trim_start_matches(':').parse().map_err(|_| not_a_url())?,
        };
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let authority = HeaderValue::from_str(authority.as_str()).map_err(|_| not_a_url())?;
        Ok(LoadTarget { host, port, tls, path, authority })
    }
}

impl fmt::Display for LoadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let authority = self.authority.to_str().unwrap_or_default();
        write!(f, "{scheme}://{authority}{}", self.path)
    }
}

impl LoadTarget {
    /// A path of a server on this machine, without TLS.
    pub fn local(address: SocketAddr, path: PathAndQuery) -> LoadTarget {
        let authority = HeaderValue::from_str(&address.to_string())
            .unwrap_or(HeaderValue::from_static("localhost"));
        LoadTarget {
            host: address.ip().to_string(),
            port: address.port(),
            tls: false,
            path,
            authority,
        }
    }

    /// The target that the request's first line names.
    pub fn path(&self) -> &PathAndQuery {
        &self.path
    }

    /// The value of the header `host`.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Looks the name up, once for all connections.
    ///
    /// # Errors
    /// The name has no address.
    pub async fn resolve(&self) -> io::Result<Connector> {
        let mut addresses: Vec<SocketAddr> =
            tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        addresses.dedup();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        let tls = match self.tls {
            true => Some((connector()?, server_name(&self.host)?)),
            false => None,
        };
        Ok(Connector { addresses, tls })
    }
}

fn connector() -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// A target whose addresses are known.
#[derive(Clone)]
pub struct Connector {
    addresses: Vec<SocketAddr>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    /// The addresses, for people.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Opens a connection to the first address that takes one.
    ///
    /// # Errors
    /// None does, or TLS fails.
    pub async fn connect(&self) -> io::Result<Box<dyn Transport>> {
        let stream = TcpStream::connect(&self.addresses[..]).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some((tls, name)) => Ok(Box::new(tls.connect(name.clone(), stream).await?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LoadTarget, String> {
        text.parse::<LoadTarget>().map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_has_an_address_and_a_path() {
        let target = parse("http://[::1]:8080/a?b=c").unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.tls, target.path.as_str()),
            ("::1", 8080, false, "/a?b=c")
        );
        assert_eq!(target.authority, "[::1]:8080");
        let target = parse("https://example.com").unwrap();
        assert_eq!((target.port, target.tls, target.path.as_str()), (443, true, "/"));
    }

    #[test]
    fn an_invalid_url_is_answered_with_an_example() {
        let not =
            |text: &str| format!("{text:?} is not a URL: write one such as http://127.0.0.1:8080/");
        let scheme = |text: &str| {
            format!(
                "{text:?} is not a URL that can be measured: write one that begins with http:// or https://"
            )
        };
        assert_eq!(parse("http://"), Err(not("http://")));
        assert_eq!(parse("http://a b/"), Err(not("http://a b/")));
        assert_eq!(parse("http://a:99999/"), Err(not("http://a:99999/")));
        assert_eq!(parse("127.0.0.1:8080"), Err(scheme("127.0.0.1:8080")));
        assert_eq!(parse("ftp://a/"), Err(scheme("ftp://a/")));
        assert!(parse("http://me:secret@a/").unwrap_err().contains("-H 'authorization: ...'"));
    }
}
