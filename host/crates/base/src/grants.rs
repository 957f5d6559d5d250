//! The grants of a function.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use crate::{BucketGrant, HostPattern, InvalidHost, KvGrant, SecretName, SqlGrant};

/// Everything that a function was granted. Nothing else is reachable.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Grants {
    /// Where outbound HTTP may go.
    pub http: Vec<HttpGrant>,
    /// The private, loopback, link-local and otherwise special addresses that a granted *name* may
    /// resolve to, as far as the operator lets the tenant reach them.
    /// Without bits after the prefix.
    pub networks: Vec<IpNet>,
    /// Key-value stores, each name once.
    pub kv: Vec<KvGrant>,
    /// Buckets, each name once.
    pub buckets: Vec<BucketGrant>,
    /// Secrets of the app, each name once.
    pub secrets: Vec<SecretName>,
    /// SQL databases, each name once.
    pub sql: Vec<SqlGrant>,
}

impl Grants {
    /// The grant, if any, for a request to a scheme (`http` or `https`), a host (in lower case,
    /// IPv6 addresses in brackets) and a port.
    pub fn http_grant(&self, scheme: &str, host: &str, port: u16) -> Option<&HttpGrant> {
        // One that names the address comes first, because it reaches what the others may not.
        let allows = |grant: &&HttpGrant| grant.allows(scheme, host, port);
        let by_address = self
            .http
            .iter()
            .filter(|grant| matches!(grant.host, GrantHost::Address(_)))
            .find(allows);
        by_address.or_else(|| self.http.iter().find(allows))
    }

    /// Whether a special address, one that is not on the public internet, may be connected to under
    /// `grant`: if a granted network holds it, or the grant names that very address.
    pub fn reaches(&self, grant: &HttpGrant, address: IpAddr) -> bool {
        let address = address.to_canonical();
        grant.host == GrantHost::Address(address)
            || self.networks.iter().any(|network| network.contains(&address))
    }
}

/// One allowed destination of outbound HTTP, as in `https://api.example.com`,
/// `https://*.example.com`, `*://example.com`, `http://127.0.0.1:9000`, `http://example.com:*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpGrant {
    /// The scheme.
    pub scheme: GrantScheme,
    /// The host.
    pub host: GrantHost,
    /// The port.
    pub port: GrantPort,
}

impl HttpGrant {
    /// Whether it is for a scheme (`http` or `https`), a host (in lower case, IPv6 addresses in
    /// brackets) and a port.
    pub fn allows(&self, scheme: &str, host: &str, port: u16) -> bool {
        let scheme_allowed = match self.scheme {
            GrantScheme::Http => scheme == "http",
            GrantScheme::Https => scheme == "https",
            GrantScheme::Both => matches!(scheme, "http" | "https"),
        };
        let host_allowed = match &self.host {
            GrantHost::Address(address) => parse_address(host) == Some(*address),
            GrantHost::Name(pattern) => pattern.matches(host),
        };
        let port_allowed = match self.port {
            GrantPort::Default => port == if scheme == "https" { 443 } else { 80 },
            GrantPort::Only(allowed) => port == allowed,
            GrantPort::Any => true,
        };
        scheme_allowed && host_allowed && port_allowed
    }
}

impl fmt::Display for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            GrantScheme::Http => "http",
            GrantScheme::Https => "https",
            GrantScheme::Both => "*",
        };
        write!(f, "{scheme}://{}", self.host)?;
        match self.port {
            GrantPort::Default => Ok(()),
            GrantPort::Only(port) => write!(f, ":{port}"),
            GrantPort::Any => f.write_str(":*"),
        }
    }
}

/// The scheme of an [`HttpGrant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrantScheme {
    /// `http://`.
    Http,
    /// `https://`.
    Https,
    /// `*://`.
    Both,
}

/// The host of an [`HttpGrant`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GrantHost {
    /// An address, which is reached even if it is private or loopback, as far as the operator lets
    /// the tenant. In canonical form: no IPv4 in IPv6.
    Address(IpAddr),
    /// A name or a pattern of names; where it resolves to a special address, [`Grants::networks`]
    /// decides.
    Name(HostPattern),
}

impl GrantHost {
    /// Whether every host that `other` means is meant by `self`.
    pub fn covers(&self, other: &GrantHost) -> bool {
        match (self, other) {
            (GrantHost::Name(HostPattern::Any), _) => true,
            (GrantHost::Name(pattern), GrantHost::Name(other)) => pattern.covers(other),
            (GrantHost::Address(address), GrantHost::Address(other)) => address == other,
            (GrantHost::Name(_), GrantHost::Address(_))
            | (GrantHost::Address(_), GrantHost::Name(_)) => false,
        }
    }
}

impl FromStr for GrantHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<GrantHost, InvalidHost> {
        match parse_address(text) {
            Some(address) => Ok(GrantHost::Address(address)),
            None => text.parse().map(GrantHost::Name),
        }
    }
}

impl fmt::Display for GrantHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GrantHost::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            GrantHost::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            GrantHost::Name(pattern) => write!(f, "{pattern}"),
        }
    }
}

crate::text_form::serde_as_text!(HttpGrant, GrantHost);

/// The port of an [`HttpGrant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrantPort {
    /// The scheme's own: 80 or 443.
    Default,
    /// This one.
    Only(u16),
    /// `:*`.
    Any,
}

/// Why a text is no HTTP grant. Displays as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrant {
    /// It has no scheme.
    #[error("{0:?} is not an HTTP grant: it does not say the scheme")]
    NoScheme(String),
    /// It has a scheme that outbound HTTP does not speak.
    #[error(
        "{text:?} is not an HTTP grant: its scheme is `{scheme}`, and only `http`, `https` and `*` (both) are known"
    )]
    Scheme {
        /// The grant.
        text: String,
        /// Its scheme.
        scheme: String,
    },
    /// It has a user name or password.
    #[error("an HTTP grant takes no user name or password: it names a host, not an account")]
    Credentials,
    /// It has a path, query or fragment.
    #[error(
        "{0:?} is not an HTTP grant: it takes a host and perhaps a port, no path, because a grant holds for all of a host"
    )]
    Path(String),
    /// Its port is none.
    #[error("{0:?} is not an HTTP grant: its port is not a number from 1 to 65535, or `*` for any")]
    Port(String),
    /// Its host is none.
    #[error(transparent)]
    Host(#[from] InvalidHost),
}

impl InvalidGrant {
    /// The remedy, as a grant, where it can be told.
    pub fn help(&self) -> Option<String> {
        match self {
            InvalidGrant::NoScheme(text) => {
                // The part before two slashes was to be a scheme.
                let text = text.split_once("//").map_or(&text[..], |(_, host)| host);
                Some(format!("write `https://{text}`, or `*://{text}` for http as well"))
            }
            InvalidGrant::Path(text) => {
                let start = text.find("://")? + 3;
                let end = start + text[start..].find(['/', '?', '#'])?;
                Some(format!("write `{}`", &text[..end]))
            }
            InvalidGrant::Credentials => Some(
                "pass the credentials to the function in its environment, and let it send them"
                    .to_owned(),
            ),
            InvalidGrant::Scheme { .. } | InvalidGrant::Port(_) | InvalidGrant::Host(_) => None,
        }
    }
}

impl FromStr for HttpGrant {
    type Err = InvalidGrant;

    fn from_str(text: &str) -> Result<HttpGrant, InvalidGrant> {
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| InvalidGrant::NoScheme(text.to_owned()))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => GrantScheme::Http,
            "https" => GrantScheme::Https,
            "*" => GrantScheme::Both,
            other => {
                return Err(InvalidGrant::Scheme {
                    text: text.to_owned(),
                    scheme: other.to_owned(),
                });
            }
        };
        if rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
            return Err(InvalidGrant::Credentials);
        }
        if rest.contains(['/', '?', '#']) {
            return Err(InvalidGrant::Path(text.to_owned()));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, digits)) if !digits.contains(']') => {
                (host, parse_port(text, digits, scheme)?)
            }
            _ => (rest, GrantPort::Default),
        };
        Ok(HttpGrant { scheme, host: host.parse()?, port })
    }
}

fn parse_port(text: &str, digits: &str, scheme: GrantScheme) -> Result<GrantPort, InvalidGrant> {
    if digits == "*" {
        return Ok(GrantPort::Any);
    }
    match (digits.parse(), scheme) {
        (Ok(80), GrantScheme::Http) | (Ok(443), GrantScheme::Https) => Ok(GrantPort::Default),
        (Ok(port @ 1..), _) => Ok(GrantPort::Only(port)),
        _ => Err(InvalidGrant::Port(text.to_owned())),
    }
}

/// The address that a host is, in canonical form, if it is one.
fn parse_address(host: &str) -> Option<IpAddr> {
    let address = match host.strip_prefix('[') {
        Some(rest) => IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?),
        None => IpAddr::V4(host.parse().ok()?),
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> HttpGrant {
        text.parse().unwrap()
    }

    #[test]
    fn a_grant_is_for_its_scheme_host_and_port() {
        assert!(grant("https://a.com").allows("https", "a.com", 443));
        assert!(!grant("https://a.com").allows("https", "a.com", 8443));
        assert!(!grant("https://a.com").allows("http", "a.com", 443));
        assert!(!grant("https://a.com").allows("https", "b.a.com", 443));
        assert!(grant("https://A.com:443").allows("https", "a.com", 443));
        assert!(grant("http://a.com:8080").allows("http", "a.com", 8080));
        assert!(!grant("http://a.com:8080").allows("http", "a.com", 80));
        assert!(grant("*://a.com").allows("http", "a.com", 80));
        assert!(grant("*://a.com").allows("https", "a.com", 443));
        assert!(!grant("*://a.com").allows("https", "a.com", 80));
        assert!(!grant("*://a.com").allows("ftp", "a.com", 80));
        assert!(grant("https://*.a.com:*").allows("https", "x.y.a.com", 1));
        assert!(grant("https://*").allows("https", "anything.org", 443));
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        assert!(grant("http://[::1]:9000").allows("http", "[0:0::1]", 9000));
        assert!(grant("http://127.0.0.1").allows("http", "[::ffff:127.0.0.1]", 80));
        assert!(!grant("http://127.0.0.1").allows("http", "localhost", 80));
        assert!(!grant("http://[::1]").allows("http", "::1", 80));
    }

    #[test]
    fn hosts_cover_hosts() {
        let covers = |one: &str, other: &str| {
            one.parse::<GrantHost>().unwrap().covers(&other.parse().unwrap())
        };
        for (one, other) in [
            ("*", "*"),
            ("*", "a.com"),
            ("*", "127.0.0.1"),
            ("*.a.com", "*.b.a.com"),
            ("*.a.com", "x.a.com"),
            ("A.com", "a.com"),
            ("[::ffff:127.0.0.1]", "127.0.0.1"),
            ("[0:0::1]", "[::1]"),
        ] {
            assert!(covers(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("*.a.com", "*"),
            ("*.a.com", "a.com"),
            ("a.com", "*.a.com"),
            ("*.0.0.a", "10.0.0.1"),
            ("127.0.0.1", "127.0.0.2"),
            ("127.0.0.1", "*"),
            ("localhost", "127.0.0.1"),
        ] {
            assert!(!covers(one, other), "{one} {other}");
        }
    }

    #[test]
    fn special_addresses_need_a_network_or_to_be_named() {
        let grants = Grants {
            http: vec![
                grant("http://*:9000"),
                grant("http://127.0.0.1:9000"),
                grant("http://api.internal"),
            ],
            networks: vec!["10.1.0.0/16".parse().unwrap()],
            ..Grants::default()
        };
        let reaches = |host: &str, port: u16, address: &str| {
            let grant = grants.http_grant("http", host, port).unwrap();
            grants.reaches(grant, address.parse().unwrap())
        };
        assert!(reaches("127.0.0.1", 9000, "127.0.0.1"), "the grant that names it comes first");
        assert!(!reaches("localhost", 9000, "127.0.0.1"));
        assert!(reaches("api.internal", 80, "10.1.2.3"));
        assert!(reaches("api.internal", 80, "::ffff:10.1.2.3"));
        assert!(!reaches("api.internal", 80, "10.2.0.1"));
        assert!(!reaches("api.internal", 80, "169.254.169.254"));
        assert_eq!(grants.http_grant("https", "api.internal", 443), None);
    }
}
