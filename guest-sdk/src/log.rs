//! Lines for the host's log.
//!
//! All output of a function on standard output or standard error reaches the host, which stores it
//! with the invocation it belongs to. A line of standard error may start with a level in angle
//! brackets, as the journal of systemd reads them; any language can write that:
//!
//! ```text
//! <3>shop::orders: the bank did not answer order=7 waited="2 s"
//! ```
//!
//! | prefix | level |
//! |---|---|
//! | `<3>` | error |
//! | `<4>` | warn |
//! | `<6>` | info |
//! | `<7>` | debug and trace |
//!
//! After it come the target, `: `, the message, and then `key=value` pairs; a value that is empty
//! or contains a space, a quote or `=` stands in quotes, with `\"` and `\\` inside. A line feed is
//! written as `\n` and a carriage return as `\r`, so that one record is one line.
//!
//! With the feature `log` (on by default) the macros of the [`log`](https://docs.rs/log) crate
//! write such lines, with the feature `tracing` those of [`tracing`](https://docs.rs/tracing);
//! nothing has to be set up. `trace` is off until [`set_max_level`] turns it on. A panic is an
//! `error` record with the place it happened at. A `print!` that no line feed ends arrives when the
//! handler returns, or at the end of a body that streams.
#![cfg_attr(feature = "log", doc = "```")]
#![cfg_attr(not(feature = "log"), doc = "```ignore")]
//! use lacewing_sdk::log;
//!
//! #[lacewing_sdk::http]
//! fn order() -> &'static str {
//!     log::info!("an order came in");
//!     "thank you"
//! }
//! ```

use std::fmt::{self, Display, Write as _};
#[cfg(target_family = "wasm")]
use std::io::Write as _;

#[cfg(feature = "log")]
mod facade;
#[cfg(feature = "tracing")]
mod subscriber;

#[cfg(feature = "log")]
pub use ::log::{
    Level, LevelFilter, debug, error, info, log, max_level, set_max_level, trace, warn,
};

pub(crate) const ERROR: u8 = 3;
#[cfg(any(feature = "log", feature = "tracing"))]
pub(crate) const WARN: u8 = 4;
#[cfg(any(feature = "log", feature = "tracing"))]
pub(crate) const INFO: u8 = 6;
#[cfg(any(feature = "log", feature = "tracing"))]
pub(crate) const DEBUG: u8 = 7;

/// Makes panics and the loggers of the enabled features write records. Done before a handler's
/// first run.
#[cfg_attr(not(target_family = "wasm"), allow(dead_code))]
pub(crate) fn install() {
    std::panic::set_hook(Box::new(panicked));
    #[cfg(feature = "log")]
    facade::install();
    #[cfg(feature = "tracing")]
    subscriber::install();
}

fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("a value that is not text");
    let mut line = Line::new(ERROR, "panic", &message);
    if let Some(place) = panic.location() {
        line.pair("at", &format_args!("{}:{}", place.file(), place.line()));
    }
    line.write();
}

/// Writes a record without pairs.
pub(crate) fn record(level: u8, target: &str, message: &dyn Display) {
    Line::new(level, target, message).write();
}

/// One record while it is put together.
pub(crate) struct Line(String);

impl Line {
    pub(crate) fn new(level: u8, target: &str, message: &dyn Display) -> Line {
        let mut line = Line(String::with_capacity(128));
        let _ = write!(OneLine(&mut line.0), "<{level}>{target}: {message}");
        line
    }

    /// Adds ` key=value`.
    pub(crate) fn pair(&mut self, key: &str, value: &dyn Display) {
        let value = value.to_string();
        let plain = !value.is_empty() && !value.contains([' ', '"', '=', '\n', '\r', '\t']);
        let mut text = OneLine(&mut self.0);
        let _ = if plain {
            write!(text, " {key}={value}")
        } else {
            write!(text, " {key}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
        };
    }

    /// Sends it to the host, in one write.
    pub(crate) fn write(mut self) {
        self.0.push('\n');
        // Where standard error is closed there is nobody to tell.
        #[cfg(target_family = "wasm")]
        let _ = std::io::stderr().write_all(self.0.as_bytes());
        // What is written by the macro is part of a test's captured output.
        #[cfg(not(target_family = "wasm"))]
        eprint!("{}", self.0);
    }
}

/// Keeps line ends out of what is written through it.
struct OneLine<'a>(&'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(['\n', '\r']) {
            self.0.push_str(&rest[..at]);
            self.0.push_str(if rest[at..].starts_with('\n') { "\\n" } else { "\\r" });
            rest = &rest[at + 1..];
        }
        self.0.push_str(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_it_says() {
        let line = Line::new(INFO, "shop::orders", &"two\nlines\r");
        assert_eq!(line.0, "<6>shop::orders: two\\nlines\\r");
    }

    #[test]
    fn a_value_is_quoted_only_where_it_must_be() {
        let mut line = Line::new(ERROR, "t", &"m");
        line.pair("plain", &7);
        line.pair("spaced", &"2 s");
        line.pair("quoted", &r#"say "\""#);
        line.pair("empty", &"");
        line.pair("lines", &"a\nb");
        assert_eq!(
            line.0,
            r#"<3>t: m plain=7 spaced="2 s" quoted="say \"\\\"" empty="" lines="a\nb""#
        );
    }
}
