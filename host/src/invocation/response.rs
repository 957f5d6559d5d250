//! What a guest answered, made into an HTTP response, or refused with a reason.
//!
//! Fields that belong to the connection (RFC 9110, section 7.6.1) and the host's own `lacewing-*` are taken out: a function
//! that forwards another server's response cannot be blamed for them. `trailer` stays where a body streams: HTTP/1.1 sends
//! no trailers that the head has not named. What is no HTTP at all is refused.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, Entry, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};

use crate::{body::Body, manifest::Limits, sandbox::LeanResponse};

/// Why a guest's answer is no response. For the author's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadResponse {
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
    #[error("the response says content-length: {declared}, and its body has {bytes} bytes")]
    ContentLength { declared: String, bytes: u64 },
}

/// Fields of the connection, which are the host's.
const CONNECTION_FIELDS: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

fn is_the_hosts(name: &HeaderName) -> bool {
    name.as_str().starts_with("lacewing-") || CONNECTION_FIELDS.contains(name)
}

/// Makes the response of the lean path.
pub(super) fn from_lean(
    lean: LeanResponse,
    limits: &Limits,
    limit_bytes: u64,
    method: &Method,
) -> Result<Response<Body>, BadResponse> {
    let LeanResponse { status, headers: fields, body } = lean;
    let code = StatusCode::from_u16(status)
        .ok()
        .filter(|code| code.as_u16() >= 200 && code.as_u16() < 600)
        .ok_or(BadResponse::Status(status))?;
    let bytes = body.len() as u64;
    if bytes > limit_bytes {
        return Err(BadResponse::Body { bytes, limit_bytes });
    }
    let mut headers = header_map(fields, limits)?;
    check_headers(&headers, limits)?;
    check_length(&mut headers, bytes, method)?;
    let mut response = Response::new(Body::Full(body.into()));
    *response.status_mut() = code;
    *response.headers_mut() = headers;
    Ok(response)
}

fn header_map(fields: Vec<(String, Vec<u8>)>, limits: &Limits) -> Result<HeaderMap, BadResponse> {
    let (count, limit) = (fields.len(), limits.headers);
    let mut headers = HeaderMap::with_capacity(count.min(limit as usize));
    for (name, value) in fields {
        let Ok(name) = HeaderName::try_from(&name) else { return Err(BadResponse::Name(name)) };
        let value = header_value(&name, value)?;
        if is_the_hosts(&name) || name == TRAILER {
            continue;
        }
        // A map that is asked to hold more than some ten thousand panics.
        if headers.len() == limit as usize {
            return Err(BadResponse::HeaderCount { count, limit });
        }
        headers.append(name, value);
    }
    Ok(headers)
}

/// The host counts the bytes itself and takes out what the guest says. Only in answer to HEAD, where the body may be missing,
/// is it the length of what GET would get; then it has to be one number all the same.
fn check_length(headers: &mut HeaderMap, bytes: u64, method: &Method) -> Result<(), BadResponse> {
    let Entry::Occupied(entry) = headers.entry(CONTENT_LENGTH) else { return Ok(()) };
    let (_, declared) = entry.remove_entry_mult();
    let declared: Vec<HeaderValue> = declared.collect();
    let is_number = |value: &HeaderValue| {
        let digits = value.as_bytes().iter().all(u8::is_ascii_digit);
        digits && value.to_str().is_ok_and(|text| text.parse::<u64>().is_ok())
    };
    let is_right = |value: &HeaderValue| match *method {
        Method::HEAD => is_number(value) && *value == declared[0],
        _ => value.as_bytes() == bytes.to_string().as_bytes(),
    };
    if let Some(wrong) = declared.iter().find(|value| !is_right(value)) {
        let declared = String::from_utf8_lossy(wrong.as_bytes()).into_owned();
        return Err(BadResponse::ContentLength { declared, bytes });
    }
    if *method == Method::HEAD {
        headers.extend(declared.into_iter().take(1).map(|value| (CONTENT_LENGTH, value)));
    }
    Ok(())
}

fn header_value(name: &HeaderName, value: Vec<u8>) -> Result<HeaderValue, BadResponse> {
    let illegal =
        value.iter().copied().find(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f);
    HeaderValue::try_from(value)
        .map_err(|_| BadResponse::Value { name: name.clone(), byte: illegal.unwrap_or_default() })
}

/// Checks and cleans the head of a response that streams.
pub(super) fn check_head<B>(
    response: &mut Response<B>,
    limits: &Limits,
) -> Result<(), BadResponse> {
    let status = response.status().as_u16();
    if !(200..600).contains(&status) {
        return Err(BadResponse::Status(status));
    }
    let headers = response.headers_mut();
    let theirs: Vec<HeaderName> =
        headers.keys().filter(|name| is_the_hosts(name)).cloned().collect();
    for name in theirs {
        headers.remove(name);
    }
    check_headers(headers, limits)
}

fn check_headers(headers: &HeaderMap, limits: &Limits) -> Result<(), BadResponse> {
    if headers.len() > limits.headers as usize {
        return Err(BadResponse::HeaderCount { count: headers.len(), limit: limits.headers });
    }
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > limits.header_bytes as usize {
        return Err(BadResponse::HeaderBytes { bytes, limit_bytes: limits.header_bytes });
    }
    Ok(())
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

    fn check(lean: LeanResponse) -> Result<Response<Body>, BadResponse> {
        from_lean(
            lean,
            &Limits { headers: 2, header_bytes: 1024, ..Limits::default() },
            2048,
            &Method::GET,
        )
    }

    fn refusal(lean: LeanResponse) -> String {
        check(lean).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_response_is_refused_with_a_reason() {
        for status in [0, 99, 100, 101, 199, 600, 999, 65535] {
            assert_eq!(
                refusal(lean(status, &[], b"")),
                format!("the response's status is {status}; a final status is 200 to 599")
            );
        }
        assert_eq!(
            refusal(lean(200, &[("a b", b"")], b"")),
            "the response has a header named \"a b\", which is not a field name: letters, digits and !#$%&'*+-.^_`|~"
        );
        assert_eq!(
            refusal(lean(200, &[("x", b"a\r\nset-cookie: b")], b"")),
            "the value of the response's header x has the byte 0x0d, which no field value may have"
        );
        assert_eq!(
            refusal(lean(200, &[("a", b""), ("b", b""), ("c", b"")], b"")),
            "the response has 3 headers; the limit is 2 (`headers`)"
        );
        assert_eq!(
            refusal(lean(200, &[("a", &[b'x'; 1024])], b"")),
            "the response's headers have 1025 bytes; the limit is 1 KiB (`header_kib`)"
        );
        assert_eq!(
            refusal(lean(200, &[], &[0; 2049])),
            "the response's body has 2049 bytes; the limit is 2 KiB (`response_body_kib`)"
        );
        assert_eq!(
            refusal(lean(200, &[("content-length", b"7")], b"123")),
            "the response says content-length: 7, and its body has 3 bytes"
        );
    }

    #[test]
    fn the_hosts_own_fields_are_taken_out() {
        let fields: &[(&str, &[u8])] = &[
            ("Transfer-Encoding", b"chunked"),
            ("lacewing-outcome", b"ok"),
            ("X-Kept", b"\xe9"),
            ("Trailer", b"x"),
        ];
        let response = check(lean(201, fields, b"")).unwrap();
        assert_eq!(response.headers().len(), 1);
        assert_eq!(response.headers()["x-kept"].as_bytes(), b"\xe9");
    }

    proptest! {
        #[test]
        fn any_answer_is_a_response_or_a_reason(
            status: u16,
            fields in proptest::collection::vec((".{0,9}", proptest::collection::vec(any::<u8>(), 0..9)), 0..4),
            body in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            if let Ok(response) = check(LeanResponse { status, headers: fields, body }) {
                prop_assert!(response.headers().keys().all(|name| !is_the_hosts(name) && name != TRAILER));
                let clean = |value: &HeaderValue| !value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
                prop_assert!(response.headers().values().all(clean));
            }
        }
    }
}
