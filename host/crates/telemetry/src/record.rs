//! The invocation log: one record per invocation, of what it was, how it ended and what it used.
//!
//! The time of a record is that of its end, as the time of every line is that at which it was
//! written: the log is in its order. The start of an invocation is that time less `duration_us`.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::{Duration, SystemTime},
};

use http::{Method, Uri};
use lacewing_base::{TenantAccount, outcome::Outcome};
use serde::Serialize;
use tracing::Level;

use crate::{Context, InvocationId, Origin, Sink, SpanId, TraceId, sink::push_text_head, text};

/// The longest detail, in bytes: a trap's message with its backtrace. A longer one is cut.
pub const MAX_DETAIL_BYTES: usize = 8 * 1024;

/// The usage of one invocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Wall time from admission to the end of the response.
    pub duration: Duration,
    /// Time spent running the guest.
    pub cpu: Duration,
    /// Time to make the sandbox. None where it was provisioned, or never made.
    pub instantiation: Option<Duration>,
    /// The most linear memory that the sandbox had, in bytes, over all its memories.
    pub memory_peak_bytes: u64,
    /// Fuel units. None where the revision is not metered.
    pub fuel: Option<u64>,
    /// Bytes of the request's body, or of the event.
    pub bytes_in: u64,
    /// Bytes of the response's body, or of the result.
    pub bytes_out: u64,
}

/// One line of the invocation log: an invocation, or a request that reached no function.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When it was recorded.
    pub time: SystemTime,
    /// The invocation or request.
    pub subject: Subject<'a>,
    /// The status that was answered. None where nothing was answered.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// The fault, for people: for a trap its message and backtrace. At most [`MAX_DETAIL_BYTES`]
    /// are kept.
    pub detail: Option<&'a str>,
}

/// The subject of a [`Record`].
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// An invocation, with its usage.
    Invocation(&'a Context, &'a Usage),
    /// A request that reached no function.
    Unrouted(UnroutedRequest<'a>),
}

/// A request that reached no function.
#[derive(Clone, Copy, Debug)]
pub struct UnroutedRequest<'a> {
    /// Its name in logs.
    pub request_id: &'a str,
    /// Where its connection comes from.
    pub peer: SocketAddr,
    /// Its method and target, if it could be read that far.
    pub request: Option<(&'a Method, &'a Uri)>,
    /// From its header to the response's.
    pub duration: Duration,
}

/// The invocations, and the requests that became none, that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InvocationLog {
    /// Every one.
    All,
    /// Those whose outcome is not `ok`, and those that the function answered with a status of 500
    /// or more.
    #[default]
    Errors,
    /// None.
    None,
}

/// Why a text is no choice of invocations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a choice of invocations to log: all, errors or none")]
pub struct InvalidInvocationLog(String);

impl FromStr for InvocationLog {
    type Err = InvalidInvocationLog;

    fn from_str(text: &str) -> Result<InvocationLog, InvalidInvocationLog> {
        match text {
            "all" => Ok(InvocationLog::All),
            "errors" => Ok(InvocationLog::Errors),
            "none" => Ok(InvocationLog::None),
            _ => Err(InvalidInvocationLog(text.to_owned())),
        }
    }
}

impl InvocationLog {
    /// Whether an invocation that ended like this is logged: ask before building a [`Record`].
    pub fn wants(self, outcome: Outcome, status: Option<u16>) -> bool {
        match self {
            InvocationLog::All => true,
            InvocationLog::Errors => outcome != Outcome::Ok || status.is_some_and(|s| s >= 500),
            InvocationLog::None => false,
        }
    }
}

impl Record<'_> {
    /// Emits the record into the log.
    pub fn emit(&self, sink: &Sink) {
        sink.record(self);
    }

    /// The account that the line is charged to. None for a request that reached no function.
    pub(super) fn account(&self) -> Option<&TenantAccount> {
        match self.subject {
            Subject::Invocation(context, _) => Some(&context.origin.account),
            Subject::Unrouted(_) => None,
        }
    }

    fn line(&self) -> RecordLine<'_> {
        let (target, context, usage, unrouted) = match &self.subject {
            Subject::Invocation(context, usage) => {
                ("invocation", Some(*context), Some(*usage), None)
            }
            Subject::Unrouted(unrouted) => ("request", None, None, Some(unrouted)),
        };
        let head = context.and_then(|context| context.head.as_ref());
        let head = head.map(|head| (&head.method, &head.uri));
        let head = head.or_else(|| unrouted.and_then(|unrouted| unrouted.request));
        let duration = usage.map(|usage| usage.duration);
        let duration = duration.or_else(|| unrouted.map(|unrouted| unrouted.duration));
        RecordLine {
            timestamp: self.time,
            level: level(self.outcome, self.status),
            target,
            origin: context.map(|context| &*context.origin),
            invocation: context.map(|context| context.invocation),
            request_id: match unrouted {
                Some(unrouted) => Some(unrouted.request_id),
                None => context.and_then(|context| context.request_id.as_deref()),
            },
            trace_id: context.and_then(|context| context.trace_id),
            span_id: context.and_then(|context| context.span_id),
            client: context.and_then(|context| context.client),
            peer: unrouted.map(|unrouted| unrouted.peer),
            method: head.map(|(method, _)| method.as_str()),
            path: head.map(|(_, uri)| uri.path()),
            status: self.status,
            outcome: self.outcome.as_str(),
            duration_us: micros(duration.unwrap_or_default()),
            cpu_us: usage.map(|usage| micros(usage.cpu)),
            memory_peak_bytes: usage.map(|usage| usage.memory_peak_bytes),
            fuel: usage.and_then(|usage| usage.fuel),
            bytes_in: usage.map(|usage| usage.bytes_in),
            bytes_out: usage.map(|usage| usage.bytes_out),
            detail: self.detail.map(cut),
        }
    }

    pub(super) fn push_json(&self, out: &mut String) {
        text::push_json(out, &self.line());
    }

    pub(super) fn push_text(&self, out: &mut String, ansi: bool) {
        self.line().push_text(out, ansi);
    }
}

/// A record as the log shows it.
#[derive(Serialize)]
struct RecordLine<'a> {
    #[serde(serialize_with = "text::serialize_time")]
    timestamp: SystemTime,
    #[serde(serialize_with = "text::serialize_level")]
    level: Level,
    target: &'static str,
    #[serde(flatten)]
    origin: Option<&'a Origin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation: Option<InvocationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<SpanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    outcome: &'static str,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_peak_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_out: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

impl RecordLine<'_> {
    fn push_text(&self, out: &mut String, ansi: bool) {
        push_text_head(out, ansi, self.timestamp, self.level, self.target);
        if let Some(origin) = self.origin {
            let _ = write!(out, "{origin} ");
        }
        out.push_str(self.outcome);
        if let Some(status) = self.status {
            let _ = write!(out, " {status}");
        }
        for value in [self.method, self.path].into_iter().flatten() {
            out.push(' ');
            text::push_escaped(out, value);
        }
        let numbers = [
            ("duration_us", Some(self.duration_us)),
            ("cpu_us", self.cpu_us),
            ("memory_peak_bytes", self.memory_peak_bytes),
            ("fuel", self.fuel),
            ("bytes_in", self.bytes_in),
            ("bytes_out", self.bytes_out),
        ];
        for (key, value) in numbers {
            push_field(out, key, value);
        }
        push_field(out, "client", self.client);
        push_field(out, "peer", self.peer);
        push_field(out, "invocation", self.invocation);
        if let Some(request_id) = self.request_id {
            out.push_str(" request_id=");
            text::push_escaped(out, request_id);
        }
        push_field(out, "trace_id", self.trace_id);
        push_field(out, "span_id", self.span_id);
        if let Some(detail) = self.detail {
            out.push_str(" detail=");
            text::push_json(out, &detail);
        }
    }
}

fn push_field(out: &mut String, key: &str, value: Option<impl fmt::Display>) {
    if let Some(value) = value {
        let _ = write!(out, " {key}={value}");
    }
}

/// How loud the log is about it.
fn level(outcome: Outcome, status: Option<u16>) -> Level {
    match outcome {
        Outcome::Internal => Level::ERROR,
        Outcome::Ok if status.is_none_or(|status| status < 500) => Level::INFO,
        // The caller's behaviour says nothing about the function.
        Outcome::NoRoute
        | Outcome::BadRequest
        | Outcome::Unauthorized
        | Outcome::Forbidden
        | Outcome::Throttled
        | Outcome::Canceled => Level::INFO,
        Outcome::Ok
        | Outcome::LoadShed
        | Outcome::Conflict
        | Outcome::StoreUnavailable
        | Outcome::CpuExceeded
        | Outcome::FuelExhausted
        | Outcome::DeadlineExceeded
        | Outcome::MemoryExceeded
        | Outcome::Trap
        | Outcome::BadResponse
        | Outcome::NoResponse => Level::WARN,
    }
}

fn cut(detail: &str) -> &str {
    &detail[..detail.floor_char_boundary(MAX_DETAIL_BYTES)]
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::{Captured, identity::example_context};

    const USAGE: Usage = Usage {
        duration: Duration::from_micros(1_234),
        cpu: Duration::from_nanos(987_654),
        instantiation: None,
        memory_peak_bytes: 524_288,
        fuel: Some(42),
        bytes_in: 3,
        bytes_out: 13,
    };

    fn record<'a>(context: &'a Context, outcome: Outcome, detail: Option<&'a str>) -> Record<'a> {
        Record {
            time: UNIX_EPOCH,
            subject: Subject::Invocation(context, &USAGE),
            status: Some(200),
            outcome,
            detail,
        }
    }

    #[test]
    fn json_has_every_field() {
        let context = example_context();
        let sink = Sink::memory();
        record(&context, Outcome::Trap, Some("wasm trap: unreachable\n  0: f")).emit(&sink);
        let captured = sink.take();
        let [Captured::Record(json)] = &captured[..] else { panic!("{captured:?}") };
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(json).unwrap(),
            serde_json::json!({
                "timestamp": "1970-01-01T00:00:00.000000Z", "level": "WARN", "target": "invocation",
                "tenant": "acme", "app": "shop", "function": "cart", "revision": "r7",
                "invocation": "00000000000000000000000000000abc", "request_id": "req-1",
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7",
                "client": "192.0.2.7",
                "method": "GET", "path": "/a", "status": 200, "outcome": "trap",
                "duration_us": 1234, "cpu_us": 987, "memory_peak_bytes": 524_288, "fuel": 42,
                "bytes_in": 3, "bytes_out": 13, "detail": "wasm trap: unreachable\n  0: f",
            })
        );
    }

    #[test]
    fn text_is_one_line() {
        let context = example_context();
        let mut text = String::new();
        record(&context, Outcome::Ok, Some("a\nb")).push_text(&mut text, false);
        assert_eq!(
            text,
            "1970-01-01T00:00:00.000000Z  INFO invocation: acme/shop/cart@r7 ok 200 GET /a \
             duration_us=1234 cpu_us=987 memory_peak_bytes=524288 fuel=42 bytes_in=3 bytes_out=13 \
             client=192.0.2.7 invocation=00000000000000000000000000000abc request_id=req-1 \
             trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7 detail=\"a\\nb\""
        );
    }

    #[test]
    fn a_request_without_a_function_has_its_own_record() {
        let uri = Uri::from_static("/a?secret");
        let request = UnroutedRequest {
            request_id: "req-1",
            peer: ([127, 0, 0, 1], 4000).into(),
            request: Some((&Method::GET, &uri)),
            duration: Duration::from_micros(17),
        };
        let unrouted = Record {
            time: UNIX_EPOCH,
            subject: Subject::Unrouted(request),
            status: Some(404),
            outcome: Outcome::NoRoute,
            detail: Some("no function is served at this address"),
        };
        let sink = Sink::memory();
        unrouted.emit(&sink);
        let captured = sink.take();
        let [Captured::Record(json)] = &captured[..] else { panic!("{captured:?}") };
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(json).unwrap(),
            serde_json::json!({
                "timestamp": "1970-01-01T00:00:00.000000Z", "level": "INFO", "target": "request",
                "request_id": "req-1", "peer": "127.0.0.1:4000", "method": "GET", "path": "/a",
                "status": 404, "outcome": "no_route", "duration_us": 17,
                "detail": "no function is served at this address",
            })
        );
        let mut text = String::new();
        unrouted.push_text(&mut text, false);
        assert_eq!(
            text,
            "1970-01-01T00:00:00.000000Z  INFO request: no_route 404 GET /a duration_us=17 \
             peer=127.0.0.1:4000 request_id=req-1 detail=\"no function is served at this address\""
        );
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let context = example_context();
        let detail = format!("x{}", "é".repeat(MAX_DETAIL_BYTES));
        let record = record(&context, Outcome::Trap, Some(&detail));
        assert_eq!(record.line().detail.map(str::len), Some(MAX_DETAIL_BYTES - 1));
    }

    #[test]
    fn errors_are_records_that_need_attention() {
        let wants = |outcome, status| InvocationLog::Errors.wants(outcome, status);
        assert!(!wants(Outcome::Ok, Some(404)));
        assert!(wants(Outcome::Ok, Some(500)));
        assert!(wants(Outcome::Canceled, None));
        assert!(InvocationLog::All.wants(Outcome::Ok, Some(200)));
        assert!(!InvocationLog::None.wants(Outcome::Internal, None));
        assert_eq!("errors".parse(), Ok(InvocationLog::Errors));
        assert_eq!(
            "some".parse::<InvocationLog>().unwrap_err().to_string(),
            "\"some\" is not a choice of invocations to log: all, errors or none"
        );
    }
}
