//! The sink of guests' lines and invocation records. They are formatted straight into the log's
//! queue, without the cost of a tracing event, or into memory for `lacewing invoke` and for tests.

use std::{cell::RefCell, fmt::Write as _, sync::Arc, time::SystemTime};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;
use tracing::Level;

use lacewing_base::{account::LineShares, fair::Weight};

use crate::{
    Context, InvocationId, Origin, Record, SpanId, Stream, TraceId,
    logs::LogFormat,
    text,
    writer::{LineBudgets, LineOwner, LogWriter},
};

/// Something that takes guests' lines and invocation records. Clones share the destination.
#[derive(Clone, Debug)]
pub struct Sink {
    destination: Arc<Destination>,
    budgets: LineBudgets,
}

#[derive(Debug)]
enum Destination {
    Log { writer: LogWriter, format: LogFormat, ansi: bool, guest_levels: GuestLevels },
    Memory { captured: Mutex<Vec<Captured>>, recorded: Notify },
    Nothing,
}

/// The levels of guests' lines that the log's filter lets through, error first.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuestLevels(pub(super) [bool; 5]);

impl GuestLevels {
    fn contain(self, level: Level) -> bool {
        self.0[level_index(level)]
    }
}

pub(super) fn level_index(level: Level) -> usize {
    match level {
        Level::ERROR => 0,
        Level::WARN => 1,
        Level::INFO => 2,
        Level::DEBUG => 3,
        Level::TRACE => 4,
    }
}

/// The lines that a sink in memory has taken.
#[derive(Clone, Debug)]
pub enum Captured {
    /// A line that a guest printed.
    Line(GuestLine),
    /// An invocation record, as the JSON object that the log would have.
    Record(String),
}

/// A line that a guest printed.
#[derive(Clone, Debug)]
pub struct GuestLine {
    /// When the host saw it.
    pub time: SystemTime,
    /// The guest that printed it.
    pub context: Arc<Context>,
    /// The level of its prefix, else its stream's.
    pub level: Level,
    /// Where it was printed.
    pub stream: Stream,
    /// The line without its prefix and its newline; not escaped.
    pub message: String,
}

thread_local! {
    /// Lines are built here, then copied into the queue at their exact size.
    static SCRATCH: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The part of its scratch space that a thread keeps between two lines, in bytes.
const SCRATCH_BYTES: usize = 16 * 1024;

impl Sink {
    pub(super) fn log(
        writer: LogWriter,
        format: LogFormat,
        ansi: bool,
        guest_levels: GuestLevels,
    ) -> Sink {
        let budgets = writer.budgets().clone();
        Sink::to(Destination::Log { writer, format, ansi, guest_levels }, budgets)
    }

    /// A sink that keeps everything until [`Sink::take`].
    pub fn memory() -> Sink {
        let memory = Destination::Memory { captured: Mutex::default(), recorded: Notify::new() };
        Sink::to(memory, LineBudgets::default())
    }

    /// A sink that drops everything.
    pub fn nothing() -> Sink {
        Sink::to(Destination::Nothing, LineBudgets::default())
    }

    fn to(destination: Destination, budgets: LineBudgets) -> Sink {
        Sink { destination: Arc::new(destination), budgets }
    }

    /// The shares of the log for one more tenant.
    pub fn shares(&self, weight: &Weight) -> LineShares {
        self.budgets.shares(weight)
    }

    /// Removes and returns what a sink in memory has taken so far. Empty for the other kinds.
    pub fn take(&self) -> Vec<Captured> {
        match &*self.destination {
            Destination::Memory { captured, .. } => std::mem::take(&mut *captured.lock()),
            Destination::Log { .. } | Destination::Nothing => Vec::new(),
        }
    }

    /// As [`Sink::take`], once an invocation record is among it. Never comes for the other kinds.
    pub async fn recorded(&self) -> Vec<Captured> {
        let Destination::Memory { captured, recorded } = &*self.destination else {
            return std::future::pending().await;
        };
        loop {
            // Made before the look: it is woken by what is recorded from here on.
            let more = recorded.notified();
            {
                let mut captured = captured.lock();
                if captured.iter().any(|one| matches!(one, Captured::Record(_))) {
                    return std::mem::take(&mut *captured);
                }
            }
            more.await;
        }
    }

    /// Emits one line of a guest.
    pub(super) fn guest_line(
        &self,
        context: &Arc<Context>,
        level: Level,
        stream: Stream,
        message: &str,
    ) {
        let time = SystemTime::now();
        match &*self.destination {
            Destination::Log { guest_levels, .. } if !guest_levels.contain(level) => {}
            Destination::Log { writer, format, ansi, .. } => {
                send(writer, LineOwner::Guest(&context.origin.account.lines), |out| match format {
                    LogFormat::Json => guest_json(out, time, context, level, stream, message),
                    LogFormat::Text => {
                        guest_text(out, *ansi, time, context, level, stream, message);
                    }
                });
            }
            Destination::Memory { captured, .. } => {
                captured.lock().push(Captured::Line(GuestLine {
                    time,
                    context: context.clone(),
                    level,
                    stream,
                    message: message.to_owned(),
                }));
            }
            Destination::Nothing => {}
        }
    }

    /// Emits one record of the invocation log.
    pub(super) fn record(&self, record: &Record<'_>) {
        match &*self.destination {
            Destination::Log { writer, format, ansi, .. } => {
                let owner = record
                    .account()
                    .map_or(LineOwner::Unrouted, |account| LineOwner::Record(&account.lines));
                send(writer, owner, |out| match format {
                    LogFormat::Json => record.push_json(out),
                    LogFormat::Text => record.push_text(out, *ansi),
                });
            }
            Destination::Memory { captured, recorded } => {
                let mut json = String::new();
                record.push_json(&mut json);
                captured.lock().push(Captured::Record(json));
                recorded.notify_waiters();
            }
            Destination::Nothing => {}
        }
    }
}

fn send(writer: &LogWriter, owner: LineOwner<'_>, fill: impl FnOnce(&mut String)) {
    SCRATCH.with_borrow_mut(|line| {
        line.clear();
        fill(line);
        line.push('\n');
        writer.line(owner, line.as_bytes());
        line.shrink_to(SCRATCH_BYTES);
    });
}

/// Appends `time LEVEL target: ` as tracing-subscriber's text format does.
pub(super) fn push_text_head(
    out: &mut String,
    ansi: bool,
    time: SystemTime,
    level: Level,
    target: &str,
) {
    let (dim, plain) = if ansi { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
    let color = match level {
        _ if !ansi => "",
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    };
    out.push_str(dim);
    text::push_time(out, time);
    let _ = write!(out, "{plain} {color}{level:>5}{plain} {dim}{target}:{plain} ");
}

/// Appends ` key=value` of the context.
pub(super) fn push_text_context(out: &mut String, context: &Context) {
    let _ = write!(out, " invocation={}", context.invocation);
    if let Some(request_id) = &context.request_id {
        out.push_str(" request_id=");
        text::push_escaped(out, request_id);
    }
    if let Some(trace_id) = context.trace_id {
        let _ = write!(out, " trace_id={trace_id}");
    }
    if let Some(span_id) = context.span_id {
        let _ = write!(out, " span_id={span_id}");
    }
}

/// A guest's line as the log shows it.
#[derive(Serialize)]
struct GuestJson<'a> {
    #[serde(serialize_with = "text::serialize_time")]
    timestamp: SystemTime,
    #[serde(serialize_with = "text::serialize_level")]
    level: Level,
    target: &'static str,
    message: &'a str,
    #[serde(flatten)]
    origin: &'a Origin,
    invocation: InvocationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<SpanId>,
    stream: &'static str,
}

fn guest_json(
    out: &mut String,
    time: SystemTime,
    context: &Context,
    level: Level,
    stream: Stream,
    message: &str,
) {
    let line = GuestJson {
        timestamp: time,
        level,
        target: "guest",
        message,
        origin: &context.origin,
        invocation: context.invocation,
        request_id: context.request_id.as_deref(),
        trace_id: context.trace_id,
        span_id: context.span_id,
        stream: stream.as_str(),
    };
    text::push_json(out, &line);
}

fn guest_text(
    out: &mut String,
    ansi: bool,
    time: SystemTime,
    context: &Context,
    level: Level,
    stream: Stream,
    message: &str,
) {
    push_text_head(out, ansi, time, level, "guest");
    text::push_escaped(out, message);
    let (dim, plain) = if ansi { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
    let _ = write!(out, "{dim} origin={} stream={}", context.origin, stream.as_str());
    push_text_context(out, context);
    out.push_str(plain);
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::identity::example_context;

    #[test]
    fn a_guest_cannot_forge_a_line() {
        let context = example_context();
        let forged = "hi\n2026 INFO fake \x1b[2J";
        let mut text = String::new();
        guest_text(&mut text, false, UNIX_EPOCH, &context, Level::INFO, Stream::Stdout, forged);
        assert_eq!(
            text,
            "1970-01-01T00:00:00.000000Z  INFO guest: hi\\n2026 INFO fake \\u{1b}[2J \
             origin=acme/shop/cart@r7 stream=stdout invocation=00000000000000000000000000000abc \
             request_id=req-1 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7"
        );
    }

    #[test]
    fn a_json_line_has_every_tag() {
        let context = example_context();
        let mut json = String::new();
        guest_json(&mut json, UNIX_EPOCH, &context, Level::WARN, Stream::Stderr, "a \"b\"");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "timestamp": "1970-01-01T00:00:00.000000Z", "level": "WARN", "target": "guest",
                "message": "a \"b\"", "tenant": "acme", "app": "shop", "function": "cart", "revision": "r7",
                "invocation": "00000000000000000000000000000abc", "request_id": "req-1",
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7",
                "stream": "stderr",
            })
        );
    }
}
