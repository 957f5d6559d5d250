//! Host names, and patterns of them.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

/// The longest host name, in bytes (RFC 1035, section 2.3.4, without the final dot).
pub const MAX_HOST_BYTES: usize = 253;

/// The host names of a pattern. Host names are in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `api.example.com`, or an address: `127.0.0.1`, `[::1]`. An IPv6 address is in its shortest
    /// form (RFC 5952).
    Exact(Arc<str>),
    /// `*.example.com`: every name below `example.com` at any depth, but not `example.com` itself.
    /// Holds what follows the star: `.example.com`.
    Below(Arc<str>),
    /// `*`: every name.
    Any,
}

impl HostPattern {
    /// Whether `host` is meant. `host` is in lower case and has no port.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => &**name == host,
            HostPattern::Below(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
            HostPattern::Any => true,
        }
    }

    /// Whether every host that `other` means is meant by `self`.
    pub fn covers(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (HostPattern::Any, _) => true,
            (_, HostPattern::Any) => false,
            (HostPattern::Below(suffix), HostPattern::Below(other)) => other.ends_with(&**suffix),
            (HostPattern::Exact(_), HostPattern::Below(_)) => false,
            (pattern, HostPattern::Exact(host)) => pattern.matches(host),
        }
    }

    /// The patterns that cover this one, but for itself, the narrowest first.
    pub fn wider(&self) -> Vec<HostPattern> {
        let name = match self {
            HostPattern::Exact(name) => name,
            // Its own suffix is itself.
            HostPattern::Below(suffix) => suffix,
            HostPattern::Any => return Vec::new(),
        };
        let dots = name.match_indices('.').filter(|(at, _)| *at > 0);
        let below = dots.map(|(at, _)| HostPattern::Below(name[at..].into()));
        below.chain([HostPattern::Any]).collect()
    }

    /// Orders the patterns that mean the same host, the narrowest first.
    pub fn narrowness(&self) -> usize {
        match self {
            HostPattern::Exact(_) => 0,
            HostPattern::Below(suffix) => 1 + MAX_HOST_BYTES.saturating_sub(suffix.len()),
            HostPattern::Any => usize::MAX,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Below(suffix) => write!(f, "*{suffix}"),
            HostPattern::Any => f.write_str("*"),
        }
    }
}

/// Why a text is not a host pattern. Displays as a sentence that says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a host name: {reason}")]
pub struct InvalidHost {
    text: String,
    reason: &'static str,
}

impl FromStr for HostPattern {
    type Err = InvalidHost;

    /// Upper case is taken as lower case, and an IPv6 address in any form as the same address.
    fn from_str(text: &str) -> Result<HostPattern, InvalidHost> {
        let lower = text.to_ascii_lowercase();
        let checked = match lower.strip_prefix('*') {
            Some("") => Ok(HostPattern::Any),
            Some(suffix) => check_suffix(suffix).map(|()| HostPattern::Below(suffix.into())),
            None => check_host(&lower).map(|host| HostPattern::Exact((*host).into())),
        };
        checked.map_err(|reason| InvalidHost { text: text.to_owned(), reason })
    }
}

crate::text_form::serde_as_text!(HostPattern);

fn check_suffix(suffix: &str) -> Result<(), &'static str> {
    let Some(name) = suffix.strip_prefix('.') else {
        return Err("a star stands for whole labels, as in `*.example.com`");
    };
    if name.parse::<IpAddr>().is_ok() {
        return Err("an address takes no star");
    }
    check_name(name)
}

/// Gives the host in canonical form.
fn check_host(host: &str) -> Result<Cow<'_, str>, &'static str> {
    if host.starts_with('[') {
        return canonical_literal(host)
            .ok_or("the text in brackets is not an IPv6 address, such as `[::1]`");
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Err("an IPv6 address stands in brackets, as in `[::1]`");
    }
    check_name(host).map(|()| host.into())
}

/// An IPv6 address in brackets, in its shortest form: two spellings of an address are one host.
/// `None` if it is none. Allocates only where it is written in another form.
pub fn canonical_literal(host: &str) -> Option<Cow<'_, str>> {
    let inner = host.strip_prefix('[')?.strip_suffix(']')?;
    let address = inner.parse::<Ipv6Addr>().ok()?;
    let mut rest = Unwritten(inner);
    let is_canonical = write!(rest, "{address}").is_ok() && rest.0.is_empty();
    Some(if is_canonical { host.into() } else { format!("[{address}]").into() })
}

/// The end of a text that is compared with what is written, piece by piece.
struct Unwritten<'a>(&'a str);

impl fmt::Write for Unwritten<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(piece).ok_or(fmt::Error)?;
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.contains("://") {
        return Err("leave the scheme out");
    }
    if name.contains('/') {
        return Err("leave the path out");
    }
    if let Some((_, port)) = name.rsplit_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err("leave the port out");
    }
    if name.contains('*') {
        return Err("a star stands only at the beginning, as in `*.example.com`");
    }
    if !name.is_ascii() {
        return Err("write it in its ASCII form, which begins with `xn--`");
    }
    if name.ends_with('.') {
        return Err("leave the dot at the end out");
    }
    if name.len() > MAX_HOST_BYTES {
        return Err("it is longer than 253 bytes");
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte)
            })
    };
    if !name.split('.').all(is_label) {
        return Err(
            "between its dots it takes 1 to 63 letters, digits and hyphens, a hyphen neither first nor last",
        );
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) && name.parse::<std::net::Ipv4Addr>().is_err()
    {
        return Err("it ends like an IPv4 address and is none");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    #[test]
    fn matching() {
        assert!(host("api.example.com").matches("api.example.com"));
        assert!(!host("api.example.com").matches("x.api.example.com"));
        assert!(host("*.example.com").matches("a.example.com"));
        assert!(host("*.example.com").matches("a.b.example.com"));
        assert!(!host("*.example.com").matches("example.com"));
        assert!(!host("*.example.com").matches(".example.com"));
        assert!(!host("*.example.com").matches("badexample.com"));
        assert!(host("*").matches("anything"));
        assert!(host("[::1]").matches("[::1]"));
        assert_eq!(host("API.Example.com").to_string(), "api.example.com");
        for same in ["[::1]", "[0:0::1]", "[0:0:0:0:0:0:0:1]", "[::0.0.0.1]"] {
            assert_eq!(host(same), host("[::1]"), "{same}");
        }
        assert_eq!(host("[2001:DB8:0::A]").to_string(), "[2001:db8::a]");
    }

    #[test]
    fn covering() {
        assert!(host("*").covers(&host("*.example.com")));
        assert!(host("*.example.com").covers(&host("a.example.com")));
        assert!(host("*.example.com").covers(&host("*.a.example.com")));
        assert!(host("*.example.com").covers(&host("*.example.com")));
        assert!(!host("*.example.com").covers(&host("example.com")));
        assert!(!host("a.example.com").covers(&host("*.example.com")));
        assert!(!host("*.a.example.com").covers(&host("*.example.com")));
        assert!(!host("*.example.com").covers(&host("*")));
    }

    #[test]
    fn of_two_patterns_for_a_host_the_covered_one_is_narrower() {
        for (wide, narrow) in
            [("*", "a.b"), ("*", "*.b"), ("*.b", "a.b"), ("*.b", "*.a.b"), ("*.b", "x.a.b")]
        {
            let (wide, narrow) = (host(wide), host(narrow));
            assert!(wide.covers(&narrow) && !narrow.covers(&wide), "{wide} {narrow}");
            assert!(narrow.narrowness() < wide.narrowness(), "{wide} {narrow}");
        }
        for (one, other) in [("*.b", "b"), ("*.b", "xb"), ("*.b", "a.c")] {
            assert!(!host(one).covers(&host(other)), "{one} {other}");
        }
    }

    #[test]
    fn every_refusal_says_why() {
        let refusals = [
            ("", "it is empty"),
            ("https://example.com", "leave the scheme out"),
            ("example.com/", "leave the path out"),
            ("example.com:80", "leave the port out"),
            ("example.com.", "leave the dot at the end out"),
            ("*example.com", "a star stands for whole labels, as in `*.example.com`"),
            ("*.10.0.0.1", "an address takes no star"),
            ("a.*.com", "a star stands only at the beginning, as in `*.example.com`"),
            ("münchen.de", "write it in its ASCII form, which begins with `xn--`"),
            ("::1", "an IPv6 address stands in brackets, as in `[::1]`"),
            ("[::g]", "the text in brackets is not an IPv6 address, such as `[::1]`"),
            ("1.2.3", "it ends like an IPv4 address and is none"),
            (
                "a..b",
                "between its dots it takes 1 to 63 letters, digits and hyphens, a hyphen neither first nor last",
            ),
        ];
        for (text, reason) in refusals {
            let error = text.parse::<HostPattern>().unwrap_err();
            assert_eq!(error.to_string(), format!("{text:?} is not a host name: {reason}"));
        }
        for bad in ["**", "*.[::1]", "a b", "u@a", "*.", "-a.b", &"a".repeat(254)] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_displays_as_it_was_parsed(text in "\\PC{0,30}|(\\*\\.)?[a-z0-9.:\\[\\]-]{0,20}") {
            if let Ok(pattern) = text.parse::<HostPattern>() {
                if !text.starts_with('[') {
                    prop_assert_eq!(pattern.to_string(), text.to_ascii_lowercase());
                }
                prop_assert_eq!(pattern.to_string().parse::<HostPattern>().unwrap(), pattern);
            }
        }
    }
}
