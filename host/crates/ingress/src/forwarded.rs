//! The client that asked, where proxies stand between, and the fields that tell a function of it.
//!
//! The fields are `Forwarded` (RFC 7239) and the older `X-Forwarded-*`. A proxy that the operator
//! trusts is believed, and the connection that it comes by is added to its list. Of any other
//! client these fields are dropped: a function can rely on what it finds.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PREFIX: &str = "x-forwarded-";
const REAL_IP: &str = "x-real-ip";

/// The other end of a connection, as it is said in a request's header.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    address: IpAddr,
    is_trusted: bool,
    /// An element of `Forwarded`.
    element: HeaderValue,
    /// The address.
    text: HeaderValue,
}

impl Peer {
    pub(super) fn of(peer: SocketAddr, trusted: &[IpNet]) -> Peer {
        let address = peer.ip().to_canonical();
        let element = match address {
            IpAddr::V4(address) => format!("for={address};proto=http"),
            IpAddr::V6(address) => format!("for=\"[{address}]\";proto=http"),
        };
        let value = |text: String| {
            // Digits, letters and punctuation of ASCII.
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        };
        Peer {
            address,
            is_trusted: is_trusted(address, trusted),
            element: value(element),
            text: value(address.to_string()),
        }
    }

    /// The client: the last address of the list that is no trusted proxy's.
    pub(super) fn client(&self, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
        if !self.is_trusted {
            return self.address;
        }
        let mut client = self.address;
        for address in listed(headers).into_iter().rev() {
            // An entry that is no address says nothing of the entries before it.
            let Some(address) = address else { break };
            client = address;
            if !is_trusted(address, trusted) {
                break;
            }
        }
        client
    }

    /// Writes who asked into a request's header.
    pub(super) fn write_to(&self, headers: &mut HeaderMap) {
        if !self.is_trusted {
            drop_claims(headers);
            headers.insert(FORWARDED, self.element.clone());
            headers.insert(FORWARDED_FOR, self.text.clone());
            return;
        }
        for (name, value) in [(FORWARDED, &self.element), (FORWARDED_FOR, &self.text)] {
            let mut list: Vec<&[u8]> =
                headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
            list.push(value.as_bytes());
            if let Ok(list) = HeaderValue::from_bytes(&list.join(&b", "[..])) {
                headers.insert(name, list);
            }
        }
    }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// Drops what a client says of itself.
fn drop_claims(headers: &mut HeaderMap) {
    let is_claim = |name: &&HeaderName| {
        let name = name.as_str();
        name.starts_with(PREFIX) || name == FORWARDED.as_str() || name == REAL_IP
    };
    let claims: Vec<HeaderName> = headers.keys().filter(is_claim).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

/// The addresses of `X-Forwarded-For`, or else of `Forwarded`, the client's first. None for what is
/// no address.
fn listed(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let items = |name: &HeaderName| {
        let lines = headers.get_all(name).into_iter();
        lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
    };
    if headers.contains_key(FORWARDED_FOR) {
        return items(&FORWARDED_FOR).map(address).collect();
    }
    items(&FORWARDED).map(|element| address(node(element)?)).collect()
}

/// The node of an element of `Forwarded`: the value of its parameter `for`.
fn node(element: &[u8]) -> Option<&[u8]> {
    let pairs = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let mut named = pairs.filter_map(|pair| {
        let (name, value) = pair.split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"for=").then_some(value)
    });
    let value = named.next()?;
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// An address, in brackets or not, with a port or not.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text.parse().ok().or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lacewing_base::fields::testing::{lines, map};

    /// The client, and the fields that the function sees.
    fn seen(peer: &str, fields: &[(&'static str, &'static str)]) -> (String, Vec<String>) {
        let trusted: [IpNet; 2] = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut headers = map(fields);
        let peer = Peer::of(peer.parse().unwrap(), &trusted);
        let client = peer.client(&headers, &trusted).to_string();
        peer.write_to(&mut headers);
        (client, lines(&headers))
    }

    #[test]
    fn a_client_that_is_no_trusted_proxy_is_not_believed() {
        let (client, fields) = seen(
            "192.0.2.7:1234",
            &[
                ("forwarded", "for=198.51.100.1"),
                ("x-forwarded-for", "198.51.100.1"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "bank.test"),
                ("x-real-ip", "198.51.100.1"),
                ("accept", "*/*"),
            ],
        );
        assert_eq!(client, "192.0.2.7");
        assert_eq!(
            fields,
            ["accept: */*", "forwarded: for=192.0.2.7;proto=http", "x-forwarded-for: 192.0.2.7"]
        );
        let (client, fields) = seen("[2001:db8::7]:1", &[]);
        assert_eq!(client, "2001:db8::7");
        assert_eq!(
            fields,
            ["forwarded: for=\"[2001:db8::7]\";proto=http", "x-forwarded-for: 2001:db8::7"]
        );
        assert_eq!(seen("[::ffff:192.0.2.7]:1", &[]).0, "192.0.2.7");
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_goes_on_the_list() {
        let (client, fields) = seen(
            "10.0.0.1:1",
            &[
                ("x-forwarded-for", "203.0.113.9, 198.51.100.1"),
                ("x-forwarded-for", "10.9.9.9"),
                ("x-forwarded-proto", "https"),
            ],
        );
        // The first address is what the client said.
        assert_eq!(client, "198.51.100.1");
        assert_eq!(
            fields,
            [
                "forwarded: for=10.0.0.1;proto=http",
                "x-forwarded-for: 203.0.113.9, 198.51.100.1, 10.9.9.9, 10.0.0.1",
                "x-forwarded-proto: https",
            ]
        );
        let client = |fields: &[(&'static str, &'static str)]| seen("10.0.0.1:1", fields).0;
        assert_eq!(client(&[]), "10.0.0.1");
        assert_eq!(client(&[("x-forwarded-for", "10.0.0.2, 10.0.0.3")]), "10.0.0.2");
        assert_eq!(client(&[("x-forwarded-for", "198.51.100.1, unknown")]), "10.0.0.1");
        assert_eq!(client(&[("x-forwarded-for", "198.51.100.1:99")]), "198.51.100.1");
        assert_eq!(client(&[("forwarded", "for=198.51.100.1;proto=https")]), "198.51.100.1");
        assert_eq!(
            client(&[("forwarded", "for=1.1.1.1, proto=https; For=\"[2001:db8::1]:4711\"")]),
            "2001:db8::1"
        );
        assert_eq!(client(&[("forwarded", "for=_hidden, for=10.2.2.2")]), "10.2.2.2");
    }
}
