//! The pages of other origins that may call a function from a browser.

use std::{fmt, net::Ipv6Addr, str::FromStr, time::Duration};

use http::{HeaderName, Method};

use crate::{HostPattern, InvalidHost};

/// Cross-origin resource sharing of one function. The host answers preflight requests by it, and
/// the function sees none of them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cors {
    /// The origins whose pages may call.
    pub origins: Origins,
    /// The methods that they may use. `GET`, `HEAD` and `POST` where the manifest names none:
    /// those that browsers allow without asking, as long as nothing else about the request has
    /// to be asked for.
    #[serde(with = "crate::text_form::list")]
    pub methods: Vec<Method>,
    /// The request headers that they may send, beyond those that browsers allow without asking.
    pub headers: Headers,
    /// The response headers that they may read, beyond those that browsers show anyway.
    pub expose: Headers,
    /// Whether browsers send cookies and authorization along. Never true for [`Origins::Any`].
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight request, in seconds; `None`
    /// leaves it to the browser.
    pub max_age: Option<Duration>,
}

impl Cors {
    /// The longest `max_age_s`: a day, which is the most that a browser heeds.
    pub const MAX_AGE: Duration = Duration::from_secs(86_400);
}

/// The origins of [`Cors`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Origins {
    /// `*`.
    Any,
    /// At least one.
    Only(Vec<Origin>),
}

impl Origins {
    /// Whether the value of a request's `origin` header is one of them.
    pub fn allow(&self, origin: &str) -> bool {
        match self {
            Origins::Any => true,
            Origins::Only(origins) => origins.iter().any(|allowed| allowed.matches(origin)),
        }
    }
}

/// Header names of [`Cors`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Headers {
    /// `*`, which browsers take for every header only when no credentials are sent.
    Any,
    /// These; may be empty.
    Only(#[serde(with = "crate::text_form::list")] Vec<HeaderName>),
}

/// An origin: scheme, host and port, as in `https://example.com` or `https://*.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: OriginScheme,
    host: HostPattern,
    /// `None` is the scheme's own.
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum OriginScheme {
    Http,
    Https,
}

impl OriginScheme {
    fn as_str(self) -> &'static str {
        match self {
            OriginScheme::Http => "http",
            OriginScheme::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            OriginScheme::Http => 80,
            OriginScheme::Https => 443,
        }
    }
}

impl Origin {
    /// Whether an `origin` header's value is this one. Browsers write it in lower case and leave
    /// out the scheme's own port.
    pub fn matches(&self, origin: &str) -> bool {
        let Some(rest) =
            origin.strip_prefix(self.scheme.as_str()).and_then(|rest| rest.strip_prefix("://"))
        else {
            return false;
        };
        let host = match self.port {
            None => rest,
            Some(port) => match rest.rsplit_once(':') {
                Some((host, digits)) if is_port(digits) && digits.parse() == Ok(port) => host,
                _ => return false,
            },
        };
        is_host(host) && self.host.matches(host)
    }
}

/// Nothing but a host may be matched by a star: no port, path or credentials.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|address| address.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
    }
}

fn is_port(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0')
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Why a text is no origin. Displays as a sentence that says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrigin {
    /// It has no scheme, or another one.
    #[error(
        "{0:?} is not an origin: it begins with `https://` or `http://`, as in `https://example.com`"
    )]
    Scheme(String),
    /// Something follows the host and port.
    #[error("{0:?} is not an origin: nothing follows the host and port, not even a slash")]
    Path(String),
    /// The port is no number from 1 to 65535.
    #[error("{0:?} is not an origin: its port is not a number from 1 to 65535")]
    Port(String),
    /// The host is none.
    #[error(transparent)]
    Host(#[from] InvalidHost),
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Origin, InvalidOrigin> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (OriginScheme::Http, rest),
            Some(("https", rest)) => (OriginScheme::Https, rest),
            _ => return Err(InvalidOrigin::Scheme(text.to_owned())),
        };
        if rest.contains(['/', '?', '#']) {
            return Err(InvalidOrigin::Path(text.to_owned()));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, digits)) if !digits.contains(']') => match digits.parse() {
                Ok(port @ 1..) => (host, Some(port)),
                _ => return Err(InvalidOrigin::Port(text.to_owned())),
            },
            _ => (rest, None),
        };
        Ok(Origin { scheme, host: host.parse()?, port: port.filter(|port| *port != scheme.port()) })
    }
}

crate::text_form::serde_as_text!(Origin);

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn matching() {
        assert!(origin("https://example.com").matches("https://example.com"));
        assert!(origin("https://example.com:443").matches("https://example.com"));
        assert!(!origin("https://example.com").matches("http://example.com"));
        assert!(!origin("https://example.com").matches("https://example.com:444"));
        assert!(origin("http://localhost:3000").matches("http://localhost:3000"));
        assert!(!origin("http://localhost:3000").matches("http://localhost"));
        assert!(origin("http://[::1]:3000").matches("http://[::1]:3000"));
        assert!(origin("https://*.example.com").matches("https://a.b.example.com"));
        assert!(!origin("https://*.example.com").matches("https://example.com"));
        assert!(!origin("https://*.example.com").matches("https://evil.com/.example.com"));
        assert!(!origin("https://*.example.com").matches("https://evil.com:1.example.com"));
        assert!(!origin("https://example.com").matches("null"));
        for other in [
            "https://.a.com:8443",
            "https://x.a.com",
            "https://x.a.com:84430",
            "https://x.a.com:+8443",
            "https://x.a.com:08443",
            "http://x.a.com:8443",
            "https://u@x.a.com:8443",
            "https://x y.a.com:8443",
            "https://[::1].a.com:8443",
        ] {
            assert!(!origin("https://*.a.com:8443").matches(other), "{other}");
        }
        assert!(origin("https://*").matches("https://[::1]"));
        assert!(!origin("https://*").matches("https://[::1]/a]"));
        assert!(origin("https://A.com").matches("https://a.com"));
        assert_eq!(origin("https://*.Example.com:8443").to_string(), "https://*.example.com:8443");
    }

    #[test]
    fn every_refusal_says_why() {
        let refusals = [
            ("example.com", "it begins with `https://` or `http://`, as in `https://example.com`"),
            ("null", "it begins with `https://` or `http://`, as in `https://example.com`"),
            ("https://example.com/", "nothing follows the host and port, not even a slash"),
            (
                "capacitor://localhost",
                "it begins with `https://` or `http://`, as in `https://example.com`",
            ),
            ("https://example.com:0", "its port is not a number from 1 to 65535"),
            ("https://example.com:x", "its port is not a number from 1 to 65535"),
        ];
        for (text, reason) in refusals {
            let error = text.parse::<Origin>().unwrap_err();
            assert_eq!(error.to_string(), format!("{text:?} is not an origin: {reason}"));
        }
        for bad in ["https://", "https://a.com.", "https://a.*.com", "https://u@a.com"] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
        assert_eq!(
            "https://a b".parse::<Origin>().unwrap_err().to_string(),
            "\"a b\" is not a host name: between its dots it takes 1 to 63 letters, digits and hyphens, a hyphen neither first nor last"
        );
    }
}
