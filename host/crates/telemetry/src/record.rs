//! The invocation log: one record per invocation, of what it was, how it ended and what it used.
//!
//! The time of a record is that of its end, as the time of every line is that at which it was written: the log is in its order. The
//! start of an invocation is that time less `duration_us`.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    str::FromStr,
    time::{Duration, SystemTime},
};

use lacewing_base::outcome::Outcome;
use tracing::Level;

use crate::{
    Context, Sink,
    sink::{push_json_context, push_json_head, push_text_context, push_text_head},
    text,
};

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

/// One invocation, for the invocation log.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When it was recorded.
    pub time: SystemTime,
    /// The origin of the invocation.
    pub context: &'a Context,
    /// The request's method. None where no request started it.
    pub method: Option<&'a str>,
    /// The request's path, without its query: queries hold secrets. None where no request started it.
    pub path: Option<&'a str>,
    /// The status that was answered. None where nothing was answered.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// The fault, for people: for a trap its message and backtrace. At most [`MAX_DETAIL_BYTES`] are kept.
    pub detail: Option<&'a str>,
    /// The usage.
    pub usage: &'a Usage,
}

/// One request that reached no function, for the invocation log.
#[derive(Clone, Copy, Debug)]
pub struct UnroutedRecord<'a> {
    /// When it was recorded.
    pub time: SystemTime,
    /// Its name in logs.
    pub request_id: &'a str,
    /// Where its connection comes from.
    pub peer: SocketAddr,
    /// Its method, if it could be read that far.
    pub method: Option<&'a str>,
    /// Its path, without its query, if it could be read that far.
    pub path: Option<&'a str>,
    /// The status that was answered.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// From its header to the response's.
    pub duration: Duration,
    /// The fault. At most [`MAX_DETAIL_BYTES`] are kept.
    pub detail: Option<&'a str>,
}

/// The invocations, and the requests that became none, that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InvocationLog {
    /// Every one.
    All,
    /// Those whose outcome is not `ok`, and those that the function answered with a status of 500 or more.
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

    fn level(&self) -> Level {
        level(self.outcome, self.status)
    }

    fn detail(&self) -> Option<&str> {
        self.detail.map(cut)
    }

    /// Numbers that both formats have, in one order.
    fn numbers(&self) -> [(&'static str, Option<u64>); 6] {
        [
            ("duration_us", Some(micros(self.usage.duration))),
            ("cpu_us", Some(micros(self.usage.cpu))),
            ("memory_peak_bytes", Some(self.usage.memory_peak_bytes)),
            ("fuel", self.usage.fuel),
            ("bytes_in", Some(self.usage.bytes_in)),
            ("bytes_out", Some(self.usage.bytes_out)),
        ]
    }

    pub(super) fn push_json(&self, out: &mut String) {
        push_json_head(out, self.time, self.level(), "invocation");
        push_json_context(out, self.context);
        if let Some(client) = self.context.client {
            let _ = write!(out, ",\"client\":\"{client}\"");
        }
        for (key, value) in [("method", self.method), ("path", self.path)] {
            if let Some(value) = value {
                let _ = write!(out, ",\"{key}\":");
                text::push_json_string(out, value);
            }
        }
        if let Some(status) = self.status {
            let _ = write!(out, ",\"status\":{status}");
        }
        let _ = write!(out, ",\"outcome\":\"{}\"", self.outcome);
        for (key, value) in self.numbers() {
            if let Some(value) = value {
                let _ = write!(out, ",\"{key}\":{value}");
            }
        }
        if let Some(detail) = self.detail() {
            out.push_str(",\"detail\":");
            text::push_json_string(out, detail);
        }
        out.push('}');
    }

    pub(super) fn push_text(&self, out: &mut String, ansi: bool) {
        push_text_head(out, ansi, self.time, self.level(), "invocation");
        let _ = write!(out, "{} {}", self.context.origin, self.outcome);
        if let Some(status) = self.status {
            let _ = write!(out, " {status}");
        }
        for value in [self.method, self.path].into_iter().flatten() {
            out.push(' ');
            text::push_escaped(out, value);
        }
        for (key, value) in self.numbers() {
            if let Some(value) = value {
                let _ = write!(out, " {key}={value}");
            }
        }
        if let Some(client) = self.context.client {
            let _ = write!(out, " client={client}");
        }
        push_text_context(out, self.context);
        if let Some(detail) = self.detail() {
            out.push_str(" detail=");
            text::push_json_string(out, detail);
        }
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

impl UnroutedRecord<'_> {
    /// Emits the record into the log.
    pub fn emit(&self, sink: &Sink) {
        sink.unrouted(self);
    }

    pub(super) fn push_json(&self, out: &mut String) {
        push_json_head(out, self.time, level(self.outcome, self.status), "request");
        let _ = write!(out, ",\"request_id\":");
        text::push_json_string(out, self.request_id);
        let _ = write!(out, ",\"peer\":\"{}\"", self.peer);
        for (key, value) in [("method", self.method), ("path", self.path)] {
            if let Some(value) = value {
                let _ = write!(out, ",\"{key}\":");
                text::push_json_string(out, value);
            }
        }
        if let Some(status) = self.status {
            let _ = write!(out, ",\"status\":{status}");
        }
        let (outcome, us) = (self.outcome, micros(self.duration));
        let _ = write!(out, ",\"outcome\":\"{outcome}\",\"duration_us\":{us}");
        if let Some(detail) = self.detail.map(cut) {
            out.push_str(",\"detail\":");
            text::push_json_string(out, detail);
        }
        out.push('}');
    }

    pub(super) fn push_text(&self, out: &mut String, ansi: bool) {
        push_text_head(out, ansi, self.time, level(self.outcome, self.status), "request");
        let _ = write!(out, "{}", self.outcome);
        if let Some(status) = self.status {
            let _ = write!(out, " {status}");
        }
        for value in [self.method, self.path].into_iter().flatten() {
            out.push(' ');
            text::push_escaped(out, value);
        }
        let _ = write!(out, " duration_us={} peer={}", micros(self.duration), self.peer);
        out.push_str(" request_id=");
        text::push_escaped(out, self.request_id);
        if let Some(detail) = self.detail.map(cut) {
            out.push_str(" detail=");
            text::push_json_string(out, detail);
        }
    }
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
            context,
            method: Some("GET"),
            path: Some("/a\x1b"),
            status: Some(200),
            outcome,
            detail,
            usage: &USAGE,
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
                "method": "GET", "path": "/a\x1b", "status": 200, "outcome": "trap",
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
            "1970-01-01T00:00:00.000000Z  INFO invocation: acme/shop/cart@r7 ok 200 GET /a\\u{1b} \
             duration_us=1234 cpu_us=987 memory_peak_bytes=524288 fuel=42 bytes_in=3 bytes_out=13 \
             client=192.0.2.7 invocation=00000000000000000000000000000abc request_id=req-1 \
             trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7 detail=\"a\\nb\""
        );
    }

    #[test]
    fn a_request_without_a_function_has_its_own_record() {
        let unrouted = UnroutedRecord {
            time: UNIX_EPOCH,
            request_id: "req-1",
            peer: ([127, 0, 0, 1], 4000).into(),
            method: Some("GET"),
            path: Some("/a\x1b"),
            status: Some(404),
            outcome: Outcome::NoRoute,
            duration: Duration::from_micros(17),
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
                "request_id": "req-1", "peer": "127.0.0.1:4000", "method": "GET", "path": "/a\x1b",
                "status": 404, "outcome": "no_route", "duration_us": 17,
                "detail": "no function is served at this address",
            })
        );
        let mut text = String::new();
        unrouted.push_text(&mut text, false);
        assert_eq!(
            text,
            "1970-01-01T00:00:00.000000Z  INFO request: no_route 404 GET /a\\u{1b} duration_us=17 \
             peer=127.0.0.1:4000 request_id=req-1 detail=\"no function is served at this address\""
        );
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let context = example_context();
        let detail = format!("x{}", "é".repeat(MAX_DETAIL_BYTES));
        let record = record(&context, Outcome::Trap, Some(&detail));
        assert_eq!(record.detail().map(str::len), Some(MAX_DETAIL_BYTES - 1));
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
