//! The targets that a function's grants allow to its outbound requests.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use http::{Uri, uri::Scheme};
use lacewing_base::{
    GrantHost, Grants, HostPattern, HttpGrant,
    address::{Special, translated},
};

use super::error::EgressError;

/// The grants of a revision. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Policy(Arc<Grants>);

impl Policy {
    /// The targets that these grants allow, and no others.
    pub fn new(grants: &Grants) -> Policy {
        Policy(Arc::new(grants.clone()))
    }

    /// The targets that it allows.
    pub fn grants(&self) -> &Grants {
        &self.0
    }

    /// The grant for a target.
    pub(super) fn grant(&self, target: &OutboundTarget) -> Result<&HttpGrant, EgressError> {
        self.0
            .http_grant(target.scheme.as_str(), &target.host_text(), target.port)
            .ok_or_else(|| EgressError::NotGranted { target: target.clone() })
    }

    /// Why an address must not be connected to; none if it may be.
    ///
    /// An address that a translator leads elsewhere must be granted at both ends, so that a grant
    /// of NAT64's prefix reaches the IPv4 internet and not the loopback behind it.
    pub(super) fn refuses(&self, grant: &HttpGrant, address: IpAddr) -> Option<Special> {
        let refused = |address| Special::of(address).filter(|_| !self.0.reaches(grant, address));
        if let Some(special) = refused(address) {
            return Some(special);
        }
        if grant.host == GrantHost::Address(address.to_canonical()) {
            return None;
        }
        translated(address).and_then(|behind| refused(IpAddr::V4(behind)))
    }
}

/// Where a request goes, in the form that grants are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutboundTarget {
    pub(super) scheme: TargetScheme,
    pub(super) host: TargetHost,
    pub(super) port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetScheme {
    Http,
    Https,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TargetHost {
    /// In canonical form: no IPv4 in IPv6.
    Address(IpAddr),
    /// In lower case, without the dot that may end it.
    Name(String),
}

impl TargetHost {
    /// The host as a grant of it alone names it.
    pub(super) fn as_granted(&self) -> GrantHost {
        match self {
            TargetHost::Address(address) => GrantHost::Address(*address),
            TargetHost::Name(name) => GrantHost::Name(HostPattern::Exact(name.as_str().into())),
        }
    }
}

impl TargetScheme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            TargetScheme::Http => "http",
            TargetScheme::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            TargetScheme::Http => 80,
            TargetScheme::Https => 443,
        }
    }
}

impl OutboundTarget {
    /// The target of a request's URI.
    pub(super) fn of(uri: &Uri) -> Result<OutboundTarget, EgressError> {
        let invalid = |reason| EgressError::InvalidTarget { reason };
        let scheme = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => TargetScheme::Http,
            Some(scheme) if *scheme == Scheme::HTTPS => TargetScheme::Https,
            Some(_) => return Err(invalid("its scheme is neither http nor https")),
            None => return Err(invalid("it has no scheme")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("it has a user name; send an Authorization header instead"));
        }
        let port = match (authority.port(), authority.as_str().ends_with(':')) {
            (Some(port), _) => port.as_u16(),
            (None, true) => return Err(invalid("its port is empty")),
            (None, false) => scheme.default_port(),
        };
        let host = parse_host(authority.host())
            .ok_or_else(|| invalid("its host is neither a name nor an address"))?;
        Ok(OutboundTarget { scheme, host, port })
    }

    /// The host as it stands in a URI.
    pub(super) fn host_text(&self) -> String {
        match &self.host {
            TargetHost::Address(IpAddr::V4(address)) => address.to_string(),
            TargetHost::Address(IpAddr::V6(address)) => format!("[{address}]"),
            TargetHost::Name(name) => name.clone(),
        }
    }

    /// The grant that would let this through, as one writes it in a manifest.
    pub(super) fn as_grant(&self) -> String {
        let port = if self.port == self.scheme.default_port() {
            String::new()
        } else {
            format!(":{}", self.port)
        };
        format!("{}://{}{port}", self.scheme.as_str(), self.host_text())
    }
}

impl fmt::Display for OutboundTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host_text(), self.port)
    }
}

fn parse_host(host: &str) -> Option<TargetHost> {
    let address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => Some(IpAddr::V6(inner.parse::<Ipv6Addr>().ok()?)),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    if let Some(address) = address {
        return Some(TargetHost::Address(address.to_canonical()));
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (!name.is_empty()).then_some(TargetHost::Name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::egress::testing::policy;

    fn target(uri: &str) -> OutboundTarget {
        OutboundTarget::of(&uri.parse().unwrap()).unwrap()
    }

    fn refusal(policy: &Policy, uri: &str, address: &str) -> Option<Special> {
        let target = target(uri);
        policy.refuses(policy.grant(&target).unwrap(), address.parse().unwrap())
    }

    #[test]
    fn only_granted_targets_pass() {
        let policy = policy(
            &[
                "https://api.example.com",
                "https://*.cdn.example.com",
                "http://example.org:8080",
                "http://127.0.0.1:9000",
            ],
            &[],
        );
        for (uri, granted) in [
            ("https://api.example.com/x", true),
            ("https://API.Example.COM./x", true),
            ("https://api.example.com:443/", true),
            ("https://api.example.com:8443/", false),
            ("http://api.example.com/", false),
            ("https://evil-api.example.com/", false),
            ("https://api.example.com.evil.org/", false),
            ("https://a.cdn.example.com/", true),
            ("https://cdn.example.com/", false),
            ("http://example.org:8080/", true),
            ("http://example.org/", false),
            ("http://127.0.0.1:9000/", true),
            ("http://[::ffff:127.0.0.1]:9000/", true),
            ("http://127.0.0.1:9001/", false),
            ("http://127.1:9000/", false),
            ("http://0x7f000001:9000/", false),
        ] {
            assert_eq!(policy.grant(&target(uri)).is_ok(), granted, "{uri}");
        }
    }

    #[test]
    fn a_refusal_names_the_missing_grant() {
        let nothing = Policy::default();
        for (uri, sentence) in [
            (
                "https://example.com/secret?x",
                "outbound http to example.com:443 is not granted: add grants.http = [\"https://example.com\"]",
            ),
            (
                "http://[2606:4700::1]:81/",
                "outbound http to [2606:4700::1]:81 is not granted: add grants.http = [\"http://[2606:4700::1]:81\"]",
            ),
        ] {
            assert_eq!(nothing.grant(&target(uri)).unwrap_err().to_string(), sentence);
        }
    }

    #[test]
    fn uris_that_hide_their_target_are_refused() {
        for uri in [
            "https://granted.com@evil.org/",
            "https://u:p@example.com/",
            "ftp://example.com/",
            "/x",
            "http://[fe80::1%25eth0]/",
            "http://./",
        ] {
            // Text that the URI's own parser refuses never comes here.
            let Ok(parsed) = uri.parse() else { continue };
            let error = OutboundTarget::of(&parsed).unwrap_err();
            assert!(matches!(error, EgressError::InvalidTarget { .. }), "{uri}: {error}");
        }
    }

    #[test]
    fn special_addresses_need_a_network_or_their_own_name() {
        let policy = policy(
            &["https://a.test", "http://10.0.0.9"],
            &["10.1.0.0/16", "64:ff9b::/96", "fd00::/8"],
        );
        let name = "https://a.test/";
        assert_eq!(refusal(&policy, name, "93.184.216.34"), None);
        assert_eq!(refusal(&policy, name, "10.1.2.3"), None);
        assert_eq!(refusal(&policy, name, "::ffff:10.1.2.3"), None);
        assert_eq!(refusal(&policy, name, "fd12::1"), None);
        assert_eq!(refusal(&policy, name, "10.2.0.1"), Some(Special::Private));
        // A target that one grant names is not reached under another.
        assert_eq!(refusal(&policy, name, "10.0.0.9"), Some(Special::Private));
        assert_eq!(refusal(&policy, "http://10.0.0.9/", "10.0.0.9"), None);
        // The translator's prefix leads to the internet, and to the network that is granted
        // besides.
        assert_eq!(refusal(&policy, name, "64:ff9b::808:808"), None);
        assert_eq!(refusal(&policy, name, "64:ff9b::10.1.2.3"), None);
        assert_eq!(refusal(&policy, name, "64:ff9b::127.0.0.1"), Some(Special::Loopback));
        assert_eq!(refusal(&policy, name, "2002:808:808::1"), Some(Special::Translated));
    }
}
