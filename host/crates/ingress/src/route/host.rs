//! Host names as requests name them.

use std::borrow::Cow;

use lacewing_base::host_pattern::{MAX_HOST_BYTES, canonical_literal};

/// The form in which a request's authority is looked up: lower case, without port and without the
/// root's trailing dot, an IPv6 address in its shortest form. `None` if it is no authority.
/// Allocates only for an authority in another form.
pub(crate) fn host_key(authority: &str) -> Option<Cow<'_, str>> {
    let (host, port) = split_port(authority);
    let port_is_valid = port.is_none_or(|port| port.is_empty() || port.parse::<u16>().is_ok());
    if !port_is_valid {
        return None;
    }
    if host.starts_with('[') {
        return canonical_literal(host);
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if !is_name(host) {
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

fn is_name(host: &str) -> bool {
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
            ("[0:0::1]:80", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("[::ffff:7f00:1]", "[::ffff:127.0.0.1]"),
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
            "[::1].",
            "[fe80::1%25eth0]",
        ] {
            assert_eq!(host_key(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_host_in_canonical_form_is_not_copied() {
        for authority in ["example.com:80", "a.b.", "127.0.0.1", "[::1]:80", "[2001:db8::a]"] {
            assert!(matches!(host_key(authority), Some(Cow::Borrowed(_))), "{authority}");
        }
    }
}
