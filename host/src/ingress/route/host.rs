//! Host names: what a route is bound to, and what a request names.

use std::{borrow::Cow, fmt, str::FromStr};

/// The longest host name, in bytes (RFC 1035).
const MAX_HOST_BYTES: usize = 253;

/// The host names that a route is served under.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This name or address, in lower case and without a port.
    Exact(String),
    /// Every name below this one, at any depth, but not the name itself: `*.example.com`.
    Below(String),
    /// Every name, also none.
    Any,
}

/// Why a text is no host pattern. Displays as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a host: a name such as \"api.example.com\", a wildcard such as \"*.example.com\", an address, or \"*\"; no scheme, port or path"
)]
pub struct BadHost {
    text: String,
}

impl FromStr for HostPattern {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<HostPattern, BadHost> {
        let bad = || BadHost { text: text.to_owned() };
        if text == "*" {
            return Ok(HostPattern::Any);
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let name = host_key(name).filter(|_| port_of(name).is_none()).ok_or_else(bad)?.into_owned();
        match below {
            true if name.starts_with('[') => Err(bad()),
            true => Ok(HostPattern::Below(name)),
            false => Ok(HostPattern::Exact(name)),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Below(name) => write!(f, "*.{name}"),
            HostPattern::Any => f.write_str("any host"),
        }
    }
}

impl HostPattern {
    /// Whether every name that `narrower` stands for is also one of this pattern's, and some other is as well.
    pub(super) fn is_wider_than(&self, narrower: &HostPattern) -> bool {
        match (self, narrower) {
            (HostPattern::Any, HostPattern::Any) | (HostPattern::Exact(_), _) => false,
            (HostPattern::Any, _) => true,
            (HostPattern::Below(wide), HostPattern::Exact(name) | HostPattern::Below(name)) => {
                name.strip_suffix(wide.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            (HostPattern::Below(_), HostPattern::Any) => false,
        }
    }

    /// Orders patterns that cover the same name, the narrowest first.
    pub(super) fn narrowness(&self) -> usize {
        match self {
            HostPattern::Exact(_) => 0,
            HostPattern::Below(name) => 1 + MAX_HOST_BYTES - name.len(),
            HostPattern::Any => usize::MAX,
        }
    }
}

/// What a request's authority is looked up as: lower case, without port and without the root's trailing dot. `None`
/// if it is no authority. Allocates only if there are upper-case letters.
pub(crate) fn host_key(authority: &str) -> Option<Cow<'_, str>> {
    let (host, port) = split_port(authority);
    let port_is_valid = port.is_none_or(|port| port.is_empty() || port.parse::<u16>().is_ok());
    let host = host.strip_suffix('.').unwrap_or(host);
    if !port_is_valid || !is_host(host) {
        return None;
    }
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Some(Cow::Owned(host.to_ascii_lowercase()))
    } else {
        Some(Cow::Borrowed(host))
    }
}

/// The port in a request's authority, if it names one.
pub(crate) fn port_of(authority: &str) -> Option<&str> {
    split_port(authority).1
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    let from = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[from..].find(':') {
        Some(colon) => (&authority[..from + colon], Some(&authority[from + colon + 1..])),
        None => (authority, None),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|a| a.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let name = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    (1..=MAX_HOST_BYTES).contains(&host.len())
        && host.split('.').all(|label| !label.is_empty() && label.bytes().all(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_become_keys() {
        for (authority, key) in [
            ("example.com", "example.com"),
            ("Example.COM:8080", "example.com"),
            ("example.com.", "example.com"),
            ("example.com:", "example.com"),
            ("127.0.0.1:3000", "127.0.0.1"),
            ("[::1]:3000", "[::1]"),
            ("[::1]", "[::1]"),
            ("a_b-c", "a_b-c"),
        ] {
            assert_eq!(host_key(authority).as_deref(), Some(key), "{authority}");
        }
        for bad in [
            "",
            ".",
            "a..b",
            "a b",
            "user@example.com",
            "example.com:99999",
            "example.com:x",
            "a/b",
            "[::1",
            "[x]",
            "a:1:2",
            "é.com",
            "a%20b",
            "[::1]x",
        ] {
            assert_eq!(host_key(bad), None, "{bad}");
        }
    }

    #[test]
    fn patterns_say_what_would_be_one() {
        assert_eq!("*".parse(), Ok(HostPattern::Any));
        assert_eq!("*.Example.com".parse(), Ok(HostPattern::Below("example.com".into())));
        assert_eq!("[::1]".parse(), Ok(HostPattern::Exact("[::1]".into())));
        for bad in ["", "https://a.b", "a.b:80", "a.*.b", "**", "*.[::1]", "a/b"] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
        assert_eq!(
            "a.b:80".parse::<HostPattern>().unwrap_err().to_string(),
            "\"a.b:80\" is not a host: a name such as \"api.example.com\", a wildcard such as \"*.example.com\", an address, or \"*\"; no scheme, port or path"
        );
    }

    #[test]
    fn wider_means_a_proper_superset() {
        let pattern = |text: &str| text.parse::<HostPattern>().unwrap();
        for (wide, narrow) in
            [("*", "a.b"), ("*", "*.b"), ("*.b", "a.b"), ("*.b", "*.a.b"), ("*.b", "x.a.b")]
        {
            assert!(pattern(wide).is_wider_than(&pattern(narrow)), "{wide} {narrow}");
            assert!(!pattern(narrow).is_wider_than(&pattern(wide)), "{narrow} {wide}");
            assert!(pattern(narrow).narrowness() < pattern(wide).narrowness(), "{wide} {narrow}");
        }
        for (one, other) in
            [("*.b", "b"), ("*.b", "*.b"), ("*", "*"), ("*.b", "xb"), ("*.b", "a.c")]
        {
            assert!(!pattern(one).is_wider_than(&pattern(other)), "{one} {other}");
        }
    }
}
