//! Messages of the program itself in its log: lines for people, or JSON objects. A message waits
//! for no reader of the log.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    collections::BTreeMap,
    panic::PanicHookInfo,
    time::SystemTime,
};

use lacewing_base::heap;
use serde::Serialize;
use tracing::Level;

use crate::{
    logs::LogFormat,
    text,
    writer::{LineOwner, LogWriter},
};

/// The target of messages in a JSON log.
const TARGET: &str = "lacewing";

/// A handle on the log for messages. Clones share the log.
#[derive(Clone, Debug)]
pub struct Messages {
    writer: LogWriter,
    format: LogFormat,
}

impl Messages {
    pub(super) fn new(writer: LogWriter, format: LogFormat) -> Messages {
        Messages { writer, format }
    }

    /// The form of the log.
    pub fn format(&self) -> LogFormat {
        self.format
    }

    /// Adds text as it is, its newline included. For a log of text.
    pub fn text(&self, text: &str) {
        self.writer.line(LineOwner::Host, text.as_bytes());
    }

    /// Adds an object with a message and further fields. For a log of JSON.
    pub fn object(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        let mut line = json_line(level, message, fields);
        line.push('\n');
        self.text(&line);
    }

    /// Has panics of all threads reported here: the usual report is plain text, and waits for the
    /// reader of standard error.
    pub fn take_panics(self) {
        std::panic::set_hook(Box::new(move |panic| self.panicked(panic)));
    }

    fn panicked(&self, panic: &PanicHookInfo<'_>) {
        // The first backtrace of a process reads its symbols: megabytes, which no connection or
        // sandbox has to pay for.
        let _host = heap::enter_host();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("<unnamed>");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("a value that is no text");
        let backtrace = Backtrace::capture();
        let backtrace = match backtrace.status() {
            BacktraceStatus::Captured => backtrace.to_string(),
            _ => String::new(),
        };
        match self.format {
            LogFormat::Json => {
                let message = format!("a thread panicked: {message}");
                let fields = [("thread", thread), ("place", &place), ("backtrace", &backtrace)];
                self.object(Level::ERROR, &message, &fields);
            }
            LogFormat::Text => self
                .text(&format!("thread '{thread}' panicked at {place}:\n{message}\n{backtrace}")),
        }
    }
}

/// An object with a message, and with those fields that are not empty, on one line. The newline is
/// not part of it.
pub fn json_line(level: Level, message: &str, fields: &[(&str, &str)]) -> String {
    let mut line = String::with_capacity(128 + message.len());
    let fields = fields.iter().copied().filter(|(_, value)| !value.is_empty()).collect();
    let object =
        MessageJson { timestamp: SystemTime::now(), level, target: TARGET, message, fields };
    text::push_json(&mut line, &object);
    line
}

#[derive(Serialize)]
struct MessageJson<'a> {
    #[serde(serialize_with = "text::serialize_time")]
    timestamp: SystemTime,
    #[serde(serialize_with = "text::serialize_level")]
    level: Level,
    target: &'static str,
    message: &'a str,
    #[serde(flatten)]
    fields: BTreeMap<&'a str, &'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_one_line_and_leaves_out_empty_fields() {
        let line = json_line(Level::WARN, "a \"b\"\nc\x1b[2J", &[("help", "d\ne"), ("place", "")]);
        assert!(!line.contains('\n') && !line.contains('\x1b'), "{line}");
        let mut value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(value["timestamp"].take().is_string());
        assert_eq!(
            value,
            serde_json::json!({
                "timestamp": null, "level": "WARN", "target": "lacewing",
                "message": "a \"b\"\nc\x1b[2J", "help": "d\ne",
            })
        );
    }
}
