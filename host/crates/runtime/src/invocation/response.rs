//! A guest's answer, made into an HTTP response, or refused with a reason.
//!
//! Fields that belong to the connection (RFC 9110, section 7.6.1) and the host's own `lacewing-*`
//! are taken out: a function that forwards another server's response cannot be blamed for them.
//! `trailer` stays where a body streams: HTTP/1.1 sends no trailers that the head has not named. A
//! body that its status forbids is dropped. An answer that is no HTTP at all is refused; so
//! is a `content-length` that is wrong, which is not put right: the guest's idea of what it sends
//! is wrong, and elsewhere its clients would get half of it.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, Entry, TRAILER},
};
use lacewing_base::{
    Limits,
    body::{Body, FREE_BYTES},
    fields::{Direction, strip},
};
use lacewing_sandbox::LeanResponse;

use super::headers::Excess;

/// Of a name or value that is at fault, in characters: a log line is for reading.
const SHOWN_CHARS: usize = 64;

/// Why a guest's answer is no response. For the author's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadResponse {
    #[error("the response's status is {0}; a final status is 200 to 599")]
    Status(u16),
    #[error(
        "the response has a header named {0:?}, which is not a field name: letters, digits and !#$%&'*+-.^_`|~"
    )]
    Name(String),
    #[error(
        "the value of the response's header {name} has the byte 0x{byte:02x}, which no field value may have"
    )]
    Value { name: HeaderName, byte: u8 },
    #[error("the response has {count} headers; the limit is {limit} (`headers`)")]
    HeaderCount { count: usize, limit: u32 },
    #[error("the response's headers have {bytes} bytes; the limit is {} KiB (`header_kib`)", .limit_bytes >> 10)]
    HeaderBytes { bytes: usize, limit_bytes: u32 },
    #[error("the response's body has {bytes} bytes; the limit is {} KiB (`response_body_kib`)", .limit_bytes >> 10)]
    Body { bytes: u64, limit_bytes: u64 },
    #[error("the response's content-length is {0:?}, which is not one number of bytes")]
    NoLength(String),
    #[error("the response says content-length: {declared}, and its body has {bytes} bytes")]
    ContentLength { declared: String, bytes: u64 },
}

impl From<Excess> for BadResponse {
    fn from(excess: Excess) -> BadResponse {
        match excess {
            Excess::Count { count, limit } => BadResponse::HeaderCount { count, limit },
            Excess::Bytes { bytes, limit_bytes } => BadResponse::HeaderBytes { bytes, limit_bytes },
        }
    }
}

/// Makes the response of the lean path.
pub(crate) fn from_lean(
    lean: LeanResponse,
    limits: &Limits,
    limit_bytes: u64,
    method: &Method,
) -> Result<Response<Body>, BadResponse> {
    let LeanResponse { status, headers: fields, body } = lean;
    let status = check_status(status)?;
    let bytes = body.len() as u64;
    if bytes > limit_bytes {
        return Err(BadResponse::Body { bytes, limit_bytes });
    }
    let field_bytes = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if let Some(excess) = Excess::of(fields.len(), field_bytes, limits) {
        return Err(excess.into());
    }
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let Ok(name) = HeaderName::try_from(&name) else {
            return Err(BadResponse::Name(shown(&name)));
        };
        let value = header_value(&name, &value)?;
        headers.append(name, value);
    }
    strip(&mut headers, Direction::Response);
    // Its trailers could only follow a body that streams.
    headers.remove(TRAILER);
    let declared = content_length(&mut headers)
        .map_err(|declared| BadResponse::ContentLength { declared, bytes })?;
    let mut response = Response::new(Body::EMPTY);
    if !is_bodiless(status) {
        if let Some(declared) = declared {
            // In answer to HEAD it is the length of what GET would get, whatever of that is here.
            if declared != bytes && *method != Method::HEAD {
                return Err(BadResponse::ContentLength { declared: declared.to_string(), bytes });
            }
            headers.insert(CONTENT_LENGTH, HeaderValue::from(declared));
        }
        *response.body_mut() = Body::full(charged_anew(body));
    }
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Checks and cleans the head of a response that streams. Gives the length that its body is to
/// have, if it says so.
pub(crate) fn check_head<B>(
    response: &mut Response<B>,
    limits: &Limits,
) -> Result<Option<u64>, BadResponse> {
    let status = check_status(response.status().as_u16())?;
    let headers = response.headers_mut();
    if let Some(excess) = Excess::of_headers(headers, limits) {
        return Err(excess.into());
    }
    strip(headers, Direction::Response);
    let declared = content_length(headers).map_err(BadResponse::NoLength)?;
    if is_bodiless(status) {
        headers.remove(TRAILER);
        return Ok(Some(0));
    }
    if let Some(declared) = declared {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(declared));
    }
    Ok(declared)
}

/// Whether a response with this status never has a body (RFC 9110, sections 6.4.1 and 15.3.6).
pub(super) fn is_bodiless(status: StatusCode) -> bool {
    let statuses = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
    statuses.contains(&status)
}

fn check_status(status: u16) -> Result<StatusCode, BadResponse> {
    let code = StatusCode::from_u16(status).ok();
    code.filter(|_| (200..600).contains(&status)).ok_or(BadResponse::Status(status))
}

/// A small body is copied, so that its connection has it on the connection's heap and the sandbox
/// leaves nothing behind. A large one stays where it is: its tenant is charged for it until the
/// client has it.
fn charged_anew(body: Vec<u8>) -> Bytes {
    match body.len() as u64 > FREE_BYTES {
        true => Bytes::from(body),
        false => Bytes::copy_from_slice(&body),
    }
}

/// As [`charged_anew`], for the value of a field.
fn header_value(name: &HeaderName, value: &[u8]) -> Result<HeaderValue, BadResponse> {
    let illegal =
        value.iter().copied().find(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f);
    HeaderValue::from_bytes(value)
        .map_err(|_| BadResponse::Value { name: name.clone(), byte: illegal.unwrap_or_default() })
}

/// Takes the `content-length` out, if there is one: several that agree are one. Where it is not one
/// number, gives what it is.
fn content_length(headers: &mut HeaderMap) -> Result<Option<u64>, String> {
    let Entry::Occupied(entry) = headers.entry(CONTENT_LENGTH) else { return Ok(None) };
    let (_, values) = entry.remove_entry_mult();
    let values: Vec<HeaderValue> = values.collect();
    let number = |value: &HeaderValue| {
        let text = value.to_str().ok()?;
        let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| all_digits)
    };
    let first = values.first().and_then(number);
    if first.is_some() && values.iter().all(|value| number(value) == first) {
        return Ok(first);
    }
    let all: Vec<_> =
        values.iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    Err(shown(&all.join(", ")))
}

/// The beginning of a text that may be anything.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lean(status: u16, headers: &[(&str, &[u8])], body: &[u8]) -> LeanResponse {
        LeanResponse {
            status,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
                .collect(),
            body: body.to_vec(),
        }
    }

    fn limits() -> Limits {
        Limits { headers: 3, header_bytes: 1024, ..Limits::default() }
    }

    fn answer(method: &Method, lean: LeanResponse) -> Result<Response<Body>, BadResponse> {
        from_lean(lean, &limits(), 2048, method)
    }

    fn refusal(lean: LeanResponse) -> String {
        answer(&Method::GET, lean).unwrap_err().to_string()
    }

    #[test]
    fn an_invalid_response_is_refused_with_a_reason() {
        for status in [0, 99, 100, 101, 199, 600, 999, 65535] {
            assert_eq!(
                refusal(lean(status, &[], b"")),
                format!("the response's status is {status}; a final status is 200 to 599")
            );
        }
        for (name, shown) in [("a b", "a b"), ("", ""), (&"é".repeat(99), &"é".repeat(64))] {
            assert_eq!(
                refusal(lean(200, &[(name, b"")], b"")),
                format!(
                    "the response has a header named {shown:?}, which is not a field name: letters, digits and !#$%&'*+-.^_`|~"
                )
            );
        }
        assert_eq!(
            refusal(lean(200, &[("X", b"a\r\nset-cookie: b")], b"")),
            "the value of the response's header x has the byte 0x0d, which no field value may have"
        );
        // A header that would be taken out counts too.
        assert_eq!(
            refusal(lean(200, &[("a", b""), ("b", b""), ("c", b""), ("te", b"")], b"")),
            "the response has 4 headers; the limit is 3 (`headers`)"
        );
        assert_eq!(
            refusal(lean(200, &[("a", &[b'x'; 1024])], b"")),
            "the response's headers have 1025 bytes; the limit is 1 KiB (`header_kib`)"
        );
        assert_eq!(
            refusal(lean(200, &[], &[0; 2049])),
            "the response's body has 2049 bytes; the limit is 2 KiB (`response_body_kib`)"
        );
    }

    #[test]
    fn a_length_that_is_not_the_bodys_is_refused() {
        let refusal = |lengths: &[&str]| {
            let fields: Vec<(&str, &[u8])> =
                lengths.iter().map(|length| ("Content-Length", length.as_bytes())).collect();
            refusal(lean(200, &fields, b"123"))
        };
        for declared in ["7", "x", "+3", "", "-3", "3 ", "99999999999999999999"] {
            assert_eq!(
                refusal(&[declared]),
                format!("the response says content-length: {declared}, and its body has 3 bytes")
            );
        }
        assert_eq!(
            refusal(&["3", "4"]),
            "the response says content-length: 3, 4, and its body has 3 bytes"
        );
        let twice = lean(200, &[("content-length", b"3"), ("content-length", b"3")], b"123");
        let response = answer(&Method::GET, twice).unwrap();
        assert_eq!(response.headers().get_all("content-length").iter().count(), 1);
    }

    #[test]
    fn bodies_go_where_they_may() {
        let answer = |method: Method, status: u16, body: &[u8]| {
            let length: &[(&str, &[u8])] = &[("content-length", b"5")];
            let response = answer(&method, lean(status, length, body)).ok()?;
            let length = response.headers().get("content-length").cloned();
            Some((
                length.map(|length| length.to_str().unwrap().to_owned()),
                response.body().full_len(),
            ))
        };
        assert_eq!(answer(Method::GET, 200, b"12345"), Some((Some("5".to_owned()), Some(5))));
        for status in [204, 205, 304] {
            assert_eq!(answer(Method::GET, status, b"12345"), Some((None, Some(0))));
            assert_eq!(answer(Method::GET, status, b""), Some((None, Some(0))));
        }
        assert_eq!(answer(Method::HEAD, 200, b""), Some((Some("5".to_owned()), Some(0))));
        assert_eq!(answer(Method::HEAD, 200, b"12345"), Some((Some("5".to_owned()), Some(5))));
        assert_eq!(answer(Method::HEAD, 200, b"123"), Some((Some("5".to_owned()), Some(3))));
        assert_eq!(answer(Method::GET, 200, b""), None);
    }

    #[test]
    fn the_hosts_own_fields_are_taken_out() {
        let fields: &[(&str, &[u8])] =
            &[("Transfer-Encoding", b"chunked"), ("lacewing-outcome", b"ok"), ("X-Kept", b"\xe9")];
        let response = answer(&Method::GET, lean(201, fields, b"")).unwrap();
        assert_eq!(response.headers().len(), 1);
        assert_eq!(response.headers()["x-kept"].as_bytes(), b"\xe9");
        let fields: &[(&str, &[u8])] =
            &[("connection", b"x-hop"), ("x-hop", b"1"), ("trailer", b"x-sum")];
        assert!(answer(&Method::GET, lean(200, fields, b"")).unwrap().headers().is_empty());
    }

    fn head(status: u16, fields: &[(&str, &str)]) -> Result<(Option<u64>, HeaderMap), String> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            let name = HeaderName::try_from(*name).unwrap();
            response.headers_mut().append(name, value.parse().unwrap());
        }
        let declared = check_head(&mut response, &limits()).map_err(|bad| bad.to_string())?;
        Ok((declared, response.into_parts().0.headers))
    }

    #[test]
    fn a_head_that_streams_is_checked_in_the_same_way() {
        let (declared, headers) =
            head(200, &[("trailer", "x-sum"), ("connection", "close"), ("lacewing-outcome", "ok")])
                .unwrap();
        assert_eq!(
            (declared, headers.len(), &headers["trailer"]),
            (None, 1, &"x-sum".parse().unwrap())
        );
        assert_eq!(head(200, &[("content-length", "7")]).unwrap().0, Some(7));
        assert_eq!(head(304, &[("content-length", "7")]).unwrap(), (Some(0), HeaderMap::new()));
        for (status, fields, error) in [
            (101, [].as_slice(), "the response's status is 101; a final status is 200 to 599"),
            (
                200,
                &[("content-length", "x")],
                "the response's content-length is \"x\", which is not one number of bytes",
            ),
            (
                200,
                &[("te", ""), ("te", ""), ("te", ""), ("te", "")],
                "the response has 4 headers; the limit is 3 (`headers`)",
            ),
        ] {
            assert_eq!(head(status, fields), Err(error.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_a_response_or_a_reason(
            status: u16,
            fields in proptest::collection::vec((".{0,9}", proptest::collection::vec(any::<u8>(), 0..9)), 0..4),
            body in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            if let Ok(response) = answer(&Method::GET, LeanResponse { status, headers: fields, body }) {
                let mut stripped = response.headers().clone();
                strip(&mut stripped, Direction::Response);
                prop_assert_eq!(&stripped, response.headers());
                let clean = |value: &HeaderValue| !value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
                prop_assert!(response.headers().values().all(clean));
            }
        }
    }
}
