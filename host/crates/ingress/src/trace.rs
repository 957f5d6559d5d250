//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): the trace that a request belongs to.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use lacewing_base::random::{unique_u64, unique_u128, write_hex};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The most members that a `tracestate` may have.
const MAX_STATE_MEMBERS: usize = 32;
/// The longest `tracestate` that is passed on, in bytes over all its lines. The standard asks for
/// at least 512.
const MAX_STATE_BYTES: usize = 1024;
/// The flags that are known: sampled, and random trace id.
const KNOWN_FLAGS: u8 = 0b11;
/// The flags of a trace that begins here: its id was made at random, and it is sampled, because the
/// invocation's record has the span. Services further on do not record a trace that is not sampled.
const BEGUN: u8 = 0b11;

/// Where a request stands in a trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    parent: Option<u64>,
    span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// The trace that the client names in one valid `traceparent`, with a new span below the
    /// client's; else a new trace.
    pub fn of(headers: &HeaderMap) -> TraceContext {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let named = match (values.next(), values.next()) {
            (Some(value), None) => parse(value.as_bytes()),
            _ => None,
        };
        let span_id = unique_u64();
        match named {
            Some((trace_id, parent, flags)) => {
                TraceContext { trace_id, parent: Some(parent), span_id, flags: flags & KNOWN_FLAGS }
            }
            None => TraceContext { trace_id: unique_u128(), parent: None, span_id, flags: BEGUN },
        }
    }

    /// The trace's id, not zero.
    pub fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The client's span, not zero, if the client named a trace.
    pub fn parent(&self) -> Option<u64> {
        self.parent
    }

    /// This request's own span, not zero: the parent of what the function does.
    pub fn span_id(&self) -> u64 {
        self.span_id
    }

    /// Whether this trace is recorded: as the client says, and where the client names none.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// Writes `traceparent` into the function's request, with this request's span as the parent,
    /// and drops a `tracestate` that does not belong to it or is malformed.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        if headers.contains_key(&TRACESTATE) && !(self.parent.is_some() && is_state(headers)) {
            headers.remove(TRACESTATE);
        }
        if let Ok(value) = HeaderValue::from_bytes(&self.traceparent()) {
            headers.insert(TRACEPARENT, value);
        }
    }

    fn traceparent(&self) -> [u8; 55] {
        let mut text = *b"00-................................-................-..";
        write_hex(self.trace_id, &mut text[3..35]);
        write_hex(self.span_id.into(), &mut text[36..52]);
        write_hex(self.flags.into(), &mut text[53..55]);
        text
    }
}

/// The `traceparent` for what the function does: `00-{trace id}-{span id}-{flags}`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.traceparent()).unwrap_or_default())
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Trace id, parent's span id and flags of a `traceparent`.
fn parse(value: &[u8]) -> Option<(u128, u64, u8)> {
    let (known, rest) = value.split_at_checked(55)?;
    let version = hex(&known[..2])?;
    let separated = [2, 35, 52].iter().all(|&at| known[at] == b'-');
    // Version ff is invalid, version 0 ends here, and later ones may only go on after another
    // hyphen.
    let ends = rest.is_empty() || (version > 0 && rest[0] == b'-');
    if version == 0xff || !separated || !ends {
        return None;
    }
    let trace_id = hex(&known[3..35])?;
    let parent = u64::try_from(hex(&known[36..52])?).ok()?;
    let flags = u8::try_from(hex(&known[53..55])?).ok()?;
    (trace_id != 0 && parent != 0).then_some((trace_id, parent, flags))
}

fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Some(number << 4 | u128::from(digit - b'a' + 10)),
        _ => None,
    })
}

/// Whether all `tracestate` lines together are a list that may be passed on.
fn is_state(headers: &HeaderMap) -> bool {
    let (mut members, mut bytes) = (0, 0);
    for line in headers.get_all(TRACESTATE) {
        bytes += line.len();
        for member in line.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if !member.is_empty() {
                members += 1;
                if !is_member(member) {
                    return false;
                }
            }
        }
    }
    members <= MAX_STATE_MEMBERS && bytes <= MAX_STATE_BYTES
}

fn is_member(member: &[u8]) -> bool {
    let Some(equals) = member.iter().position(|&b| b == b'=') else { return false };
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let key_char = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/@".contains(b);
    let value_char = |b: &u8| matches!(b, 0x20..=0x7e) && !b",=".contains(b);
    (1..=256).contains(&key.len())
        && (key[0].is_ascii_lowercase() || key[0].is_ascii_digit())
        && key.iter().all(key_char)
        && (1..=256).contains(&value.len())
        && value.iter().all(value_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn the_trace_goes_on_with_a_new_span() {
        let mut headers = headers(&[("traceparent", GOOD), ("tracestate", "a=1,b@c=2")]);
        let trace = TraceContext::of(&headers);
        assert_eq!(trace.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(trace.parent(), Some(0xb7ad_6b71_6920_3331));
        assert!(trace.is_sampled());
        trace.write_to(&mut headers);
        let written = headers["traceparent"].to_str().unwrap();
        assert_eq!((&written[..36], &written[52..]), (&GOOD[..36], "-01"));
        assert_ne!(&written[36..52], &GOOD[36..52]);
        assert_eq!(headers["tracestate"], "a=1,b@c=2");
        assert_eq!(TraceContext::of(&headers).parent(), Some(trace.span_id()));
    }

    #[test]
    fn an_invalid_header_starts_a_new_trace_and_drops_the_state() {
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
        ] {
            let mut headers = headers(&[("traceparent", bad), ("tracestate", "a=1")]);
            let trace = TraceContext::of(&headers);
            assert_eq!(trace.parent(), None, "{bad}");
            assert!(trace.is_sampled() && trace.to_string().ends_with("-03"));
            trace.write_to(&mut headers);
            assert!(!headers.contains_key("tracestate"), "{bad}");
            assert_eq!(headers["traceparent"].to_str().unwrap(), trace.to_string());
        }
        let twice = headers(&[("traceparent", GOOD), ("traceparent", GOOD)]);
        assert_eq!(TraceContext::of(&twice).parent(), None);
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff-more";
        let trace = TraceContext::of(&headers(&[("traceparent", later)]));
        assert_eq!(trace.parent(), Some(0xb7ad_6b71_6920_3331));
        assert!(trace.to_string().ends_with("-03"));
    }

    #[test]
    fn a_malformed_state_is_dropped_and_the_trace_kept() {
        let many = (0..33).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        let long = format!(
            "a={},b={},c={},d={},e=1",
            "x".repeat(256),
            "x".repeat(256),
            "x".repeat(256),
            "x".repeat(256)
        );
        for bad in ["a", "A=1", "a=", "=1", "a=b=c", "a=1,,b", "a=\u{e9}", &many, &long] {
            let mut headers = headers(&[("traceparent", GOOD), ("tracestate", bad)]);
            TraceContext::of(&headers).write_to(&mut headers);
            assert!(!headers.contains_key("tracestate"), "{bad}");
        }
        let mut good =
            headers(&[("traceparent", GOOD), ("tracestate", "a=1, ,b=2"), ("tracestate", "c=3")]);
        TraceContext::of(&good).write_to(&mut good);
        assert_eq!(good.get_all("tracestate").iter().count(), 2);
    }
}
