//! A guest's answer on its way to a client: a response that says one thing to every reader, or a
//! reason.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header::CONTENT_LENGTH};
use lacewing::{fuzzing, sandbox::LeanResponse};
use lacewing_base::Limits;

const USUAL: [&str; 12] = [
    "content-length",
    "Content-Length",
    "connection",
    "transfer-encoding",
    "trailer",
    "te",
    "upgrade",
    "keep-alive",
    "set-cookie",
    "lacewing-outcome",
    "x-request-id",
    "host",
];

const STATUSES: [u16; 8] = [200, 204, 205, 206, 304, 101, 103, 500];

/// Input: whether it answers HEAD; a status, which is a usual one where the first of its two bytes
/// is small; fields, each a name and a value, which is one of the usual names where its length is
/// over 200; and the body, behind a length of 0.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self, count: u8) -> &'a [u8] {
        let (first, rest) = self.0.split_at(self.0.len().min(count.into()));
        self.0 = rest;
        first
    }

    fn field(&mut self) -> Option<(String, Vec<u8>)> {
        let name = match self.byte()? {
            0 => return None,
            count @ 1..200 => String::from_utf8_lossy(self.bytes(count)).into_owned(),
            usual => USUAL[usize::from(usual) % USUAL.len()].to_owned(),
        };
        let count = self.byte()?;
        Some((name, self.bytes(count).to_vec()))
    }
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let (Some(head), Some(high), Some(low)) = (input.byte(), input.byte(), input.byte()) else {
        return;
    };
    let status = match high {
        0..128 => STATUSES[usize::from(low) % STATUSES.len()],
        _ => u16::from_be_bytes([high & 0x7f, low]),
    };
    let headers: Vec<(String, Vec<u8>)> = std::iter::from_fn(|| input.field()).collect();
    let method = if head & 1 == 1 { Method::HEAD } else { Method::GET };
    let limits = Limits { headers: 16, header_bytes: 1024, ..Limits::default() };
    streaming(status, &headers, &limits);
    let bytes = input.0.len() as u64;
    let lean = LeanResponse { status, headers, body: input.0.to_vec() };
    match fuzzing::response(lean, &limits, 256, &method) {
        Ok(response) => {
            check(response.status().as_u16(), response.headers());
            let length = declared(response.headers());
            let bodiless = [204, 205, 304].contains(&response.status().as_u16());
            assert!(!bodiless || length.is_none());
            assert!(length.is_none_or(|length| length == bytes) || method == Method::HEAD);
            assert!(bytes <= 256);
            assert!(!response.headers().contains_key("trailer"), "nothing follows it");
        }
        Err(reason) => assert!(!reason.is_empty() && reason.len() < 1024, "{reason}"),
    }
}

fn streaming(status: u16, fields: &[(String, Vec<u8>)], limits: &Limits) {
    let mut response = Response::new(Bytes::new());
    let Ok(status) = status.try_into() else { return };
    *response.status_mut() = status;
    for (name, value) in fields {
        let name = HeaderName::try_from(name.as_str());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) else { return };
        response.headers_mut().append(name, value);
    }
    if let Ok(length) = fuzzing::response_head(&mut response, limits) {
        check(status.as_u16(), response.headers());
        let bodiless = [204, 205, 304].contains(&status.as_u16());
        assert_eq!(bodiless, length == Some(0) && declared(response.headers()).is_none());
        assert!(bodiless || declared(response.headers()) == length);
    }
}

fn check(status: u16, headers: &HeaderMap) {
    assert!((200..600).contains(&status), "{status}");
    assert!(headers.get_all(CONTENT_LENGTH).iter().count() <= 1);
    for (name, value) in headers {
        let name = name.as_str();
        assert!(!name.starts_with("lacewing-"), "{name}");
        assert!(
            !["connection", "transfer-encoding", "upgrade", "keep-alive", "te"].contains(&name)
        );
        assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{name}");
    }
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(CONTENT_LENGTH)?.to_str().expect("a number is text");
    Some(length.parse().expect("a length is a number"))
}
