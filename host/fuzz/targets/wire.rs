//! Bytes of HTTP/1.1 and HTTP/2: a small grammar to write them, and readers that know nothing of
//! the host's own.

use super::script::Script;

pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
pub(crate) const SETTINGS: &[u8; 9] = b"\0\0\0\x04\0\0\0\0\0";

const METHODS: [&str; 10] =
    ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "CONNECT", "get", "PRI", "M-SEARCH"];
const PATHS: [&str; 16] = [
    "/",
    "/echo",
    "/relay",
    "/stream",
    "/broken",
    "/endless",
    "/large",
    "/wait",
    "/fail/x",
    "/none",
    "*",
    "http://other/echo",
    "h:80",
    "/%2e%2e/echo?q=1",
    "//",
    "/echo#f",
];
const VERSIONS: [&str; 6] = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.2", "HTTP/9"];
const FIELDS: [&str; 16] = [
    "host: h",
    "content-length: 5",
    "transfer-encoding: chunked",
    "expect: 100-continue",
    "connection: close",
    "connection: keep-alive",
    "content-length: 0",
    "content-length: 70000",
    "transfer-encoding: gzip, chunked",
    "host: other:80",
    "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__",
    "trailer: x-sum\r\nte: trailers",
    "origin: https://a.com\r\naccess-control-request-method: PUT",
    "content-length: 18446744073709551616",
    "x-folded: a\r\n b",
    "x-odd :\tb",
];
/// HPACK of the fields of a request (RFC 7541): indexed ones of the static table, and literals.
const PACKED: [&[u8]; 16] = [
    b"\x82",
    b"\x84",
    b"\x86",
    b"\x01\x01h",
    b"\x83",
    b"\x04\x05/echo",
    b"\x04\x06/relay",
    b"\x04\x08/endless",
    b"\x04\x05/wait",
    b"\x04\x06/large",
    b"\x00\x06expect\x0c100-continue",
    b"\x00\x0econtent-length\x015",
    b"\x40\x05x-one\x05value",
    b"\xbe",
    b"\x3f\xe1\x1f",
    b"\x00\x0aconnection\x05close",
];

/// A request of HTTP/1: line, fields, the empty line.
pub(crate) fn request(script: &mut Script<'_>) -> Vec<u8> {
    let (method, path) = (script.one_of(&METHODS), script.one_of(&PATHS));
    let style = script.or_zero();
    let version = VERSIONS[usize::from(style) % VERSIONS.len()];
    let end = if style & 0x80 == 0 { "\r\n" } else { "\n" };
    let mut text = format!("{method} {path} {version}{end}");
    // Mostly a host: a request without one is soon answered.
    if style & 0x40 == 0 {
        text.push_str("host: h");
        text.push_str(end);
    }
    for field in script.some_of(&FIELDS) {
        text.push_str(field);
        text.push_str(end);
    }
    text.push_str(end);
    text.into_bytes()
}

fn framed(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Any frame of HTTP/2, whole.
pub(crate) fn frame(script: &mut Script<'_>) -> Vec<u8> {
    let (kind, flags, stream) = (script.or_zero(), script.or_zero(), script.or_zero());
    // Mostly kinds that there are.
    let kind = if kind < 240 { kind % 10 } else { kind };
    framed(kind, flags, stream.into(), script.piece())
}

/// A HEADERS frame whose block is made of fields.
pub(crate) fn headers(script: &mut Script<'_>) -> Vec<u8> {
    let (stream, flags) = (script.or_zero(), script.or_zero());
    let mut block: Vec<u8> = script.some_of(&PACKED).copied().flatten().copied().collect();
    // Mostly a GET of a stream that is not used yet.
    if block.is_empty() {
        block.extend(b"\x82\x84\x86\x01\x01h");
    }
    let flags = if flags < 128 { 0x4 | flags & 1 } else { flags };
    framed(1, flags, (stream | 1).into(), &block)
}

/// The header of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
}

impl Frame {
    pub(crate) fn is_headers(&self) -> bool {
        self.kind == 1
    }
}

/// The frames that begin in these bytes.
pub(crate) fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Frame> + '_ {
    std::iter::from_fn(move || {
        let [a, b, c, kind, _flags, stream @ ..] = *bytes.first_chunk::<9>()?;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        bytes = bytes.get(9 + length..).unwrap_or_default();
        Some(Frame { kind, stream: u32::from_be_bytes(stream) & 0x7fff_ffff })
    })
}

/// The host's own count of its answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// Whether a request could be read.
    pub(crate) has_request: bool,
    pub(crate) is_head: bool,
    pub(crate) status: u16,
}

/// No fewer than the heads of requests in these bytes: each ends with an empty line.
pub(crate) fn count_heads(bytes: &[u8]) -> usize {
    let ends = |end: &[u8]| bytes.windows(end.len()).filter(|window| *window == end).count();
    ends(b"\n\r\n") + ends(b"\n\n")
}

/// Reads responses of HTTP/1 as a client does, and finds those that were answered, in their order,
/// and nothing else. The last may be cut short.
pub(crate) fn check_http1(mut bytes: &[u8], answered: &[Answer]) {
    let mut answers = answered.iter();
    while !bytes.is_empty() {
        let Some((head, rest)) = head(bytes) else { return };
        let status = status(head);
        bytes = rest;
        if status == 100 {
            continue;
        }
        let Some(answer) = answers.next() else {
            // hyper's own answer to bytes that are no request, behind responses that were not sent
            // yet.
            assert!((400..500).contains(&status), "nothing was asked that {head:?} answers");
            assert_eq!(field(head, "connection"), Some("close"), "{head:?}");
            assert_eq!((field(head, "content-length"), bytes), (Some("0"), &b""[..]), "{head:?}");
            return;
        };
        assert_eq!(status, answer.status, "{head:?}");
        let Some(rest) = body(head, answer, bytes) else { return };
        bytes = rest;
    }
}

/// A head, and what follows upon it.
fn head(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("the host's heads are text");
    Some((head, &bytes[end..]))
}

fn status(head: &str) -> u16 {
    let version = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "));
    let status = version.and_then(|rest| rest.get(..3));
    status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head:?}"))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The part that follows a body. None: the body is all that there is.
fn body<'a>(head: &str, answer: &Answer, bytes: &'a [u8]) -> Option<&'a [u8]> {
    if answer.is_head || [204, 304].contains(&answer.status) {
        return Some(bytes);
    }
    match (field(head, "transfer-encoding"), field(head, "content-length")) {
        (Some("chunked"), None) => chunks(bytes),
        (None, Some(length)) => bytes.get(length.parse().expect("a length is a number")..),
        (None, None) => None,
        both => panic!("{both:?}"),
    }
}

fn chunks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..line]).expect("a size is text");
        let size = usize::from_str_radix(size, 16).expect("a size is a number");
        bytes = &bytes[line + 2..];
        if size == 0 {
            break;
        }
        let rest = bytes.get(size..)?;
        if rest.len() < 2 {
            return None;
        }
        bytes = rest.strip_prefix(b"\r\n").expect("a chunk ends with a line's end");
    }
    // Trailers.
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n")?;
        bytes = &bytes[line + 2..];
        if line == 0 {
            return Some(bytes);
        }
    }
}
