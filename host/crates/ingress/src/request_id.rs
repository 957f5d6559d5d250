//! The id of a request: the client's `x-request-id`, or one that is made here.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use lacewing_base::random::{unique_u128, write_hex};

/// The header that carries it, in and out.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a client, in bytes.
const MAX_ID_BYTES: usize = 128;

/// 1 to 128 visible ASCII characters that name one request in logs, in the function's request and
/// in the response.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The client's id if it sent exactly one that is 1 to 128 visible ASCII characters; else a new
    /// one.
    pub fn of(headers: &HeaderMap) -> RequestId {
        let mut values = headers.get_all(REQUEST_ID_HEADER).iter();
        match (values.next(), values.next()) {
            (Some(value), None) if is_id(value.as_bytes()) => RequestId(value.clone()),
            _ => RequestId::generate(),
        }
    }

    /// A new id of 32 hexadecimal digits.
    pub fn generate() -> RequestId {
        let mut digits = [0; 32];
        write_hex(unique_u128(), &mut digits);
        RequestId(
            HeaderValue::from_bytes(&digits).unwrap_or_else(|_| HeaderValue::from_static("-")),
        )
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }

    /// The id as a header's value. Shares the bytes.
    pub fn to_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn is_id(bytes: &[u8]) -> bool {
    (1..=MAX_ID_BYTES).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(values: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(REQUEST_ID_HEADER, HeaderValue::from_bytes(value).unwrap());
        }
        RequestId::of(&headers).to_string()
    }

    #[test]
    fn a_clients_id_is_taken_if_it_is_one() {
        let long = [b'x'; 128];
        for good in [b"a".as_slice(), b"01J/+=~!", &long] {
            assert_eq!(id(&[good]).as_bytes(), good);
        }
    }

    #[test]
    fn anything_else_is_replaced() {
        let long = [b'x'; 129];
        let cases: [&[&[u8]]; 6] =
            [&[], &[b""], &[b"a b"], &["é".as_bytes()], &[&long], &[b"a", b"b"]];
        for values in cases {
            let made = id(values);
            assert!(made.len() == 32 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{made}");
        }
        assert_ne!(id(&[]), id(&[]));
    }
}
