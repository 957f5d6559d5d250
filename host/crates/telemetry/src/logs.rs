//! The host's log: tracing events, guests' lines and invocation records, on stderr, as text or
//! JSON.

use std::{
    io::{self, IsTerminal},
    str::FromStr,
};

use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::ParseError,
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use crate::{
    messages::Messages,
    sink::{GuestLevels, Sink},
    writer::{Guard, LogWriter},
};

/// The environment variable with the log's filter.
pub const FILTER_VARIABLE: &str = "LACEWING_LOG";

/// The filter of the log by default. Guests, servers and clients could make any number of outbound
/// connections that break, and of S3 requests that are refused.
pub const DEFAULT_FILTER: &str = "info,wasmtime_wasi_http=error,s3s=off";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a text is no log format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a log format: text or json")]
pub struct InvalidLogFormat(String);

impl FromStr for LogFormat {
    type Err = InvalidLogFormat;

    fn from_str(text: &str) -> Result<LogFormat, InvalidLogFormat> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(InvalidLogFormat(text.to_owned())),
        }
    }
}

/// The options of the log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// How a line looks.
    pub format: LogFormat,
    /// Directives `[target=]level`, separated by commas. Guests' lines have the target `guest`.
    pub filter: String,
    /// Whether text is coloured.
    pub ansi: bool,
}

/// The filter of a command that ends by itself: it has its own way to say how it went.
const COMMAND_FILTER: &str = "warn";

impl LogOptions {
    /// Options for a process that serves: the filter from [`FILTER_VARIABLE`], colours if stderr is
    /// a terminal and `NO_COLOR` is unset or empty.
    pub fn from_env(format: LogFormat) -> LogOptions {
        LogOptions::with_default(format, DEFAULT_FILTER)
    }

    /// Options for a command that ends by itself: text, and warnings unless [`FILTER_VARIABLE`]
    /// says otherwise.
    pub fn for_command() -> LogOptions {
        LogOptions::with_default(LogFormat::Text, COMMAND_FILTER)
    }

    fn with_default(format: LogFormat, default: &str) -> LogOptions {
        let filter = std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.trim().is_empty());
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
        LogOptions {
            format,
            filter: filter.unwrap_or_else(|| default.to_owned()),
            ansi: !no_color && io::stderr().is_terminal(),
        }
    }
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The thread that writes it.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(io::Error),
    /// The filter has a directive that is none.
    #[error(
        "the log filter {filter:?} (environment variable {FILTER_VARIABLE}) is not valid; right would be \"info\" or \"info,lacewing=debug,guest=warn\""
    )]
    Filter {
        /// The whole filter.
        filter: String,
        /// The fault of the filter.
        source: ParseError,
    },
    /// The process has a log already.
    #[error("the log is already set up")]
    AlreadySet(#[from] TryInitError),
}

/// The log, as long as this lives. Dropping it writes out what is queued, for two seconds at most.
#[derive(Debug)]
pub struct Logs {
    writer: LogWriter,
    format: LogFormat,
    sink: Sink,
    _guard: Guard,
}

impl Logs {
    /// Where guests' lines and invocation records go.
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Where the program's own messages go.
    pub fn messages(&self) -> Messages {
        Messages::new(self.writer.clone(), self.format)
    }

    /// A counter of the lines that were dropped because stderr was slower than the log.
    pub fn dropped_lines(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let writer = self.writer.clone();
        move || writer.dropped_lines()
    }
}

/// Sets up the process's log on stderr.
pub fn init(options: &LogOptions) -> Result<Logs, LogsError> {
    let filter = parse_filter(&options.filter)?;
    let (writer, guard) = LogWriter::start(io::stderr()).map_err(LogsError::Thread)?;
    subscriber(options, filter, writer.clone()).try_init()?;
    let sink = Sink::log(writer.clone(), options.format, options.ansi, guest_levels());
    Ok(Logs { writer, format: options.format, sink, _guard: guard })
}

fn parse_filter(filter: &str) -> Result<EnvFilter, LogsError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LogsError::Filter { filter: filter.to_owned(), source })
}

fn subscriber(
    options: &LogOptions,
    filter: EnvFilter,
    writer: LogWriter,
) -> impl tracing::Subscriber + Send + Sync + use<> {
    let layer = tracing_subscriber::fmt::layer().with_ansi(options.ansi).with_writer(writer);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match options.format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    };
    tracing_subscriber::registry().with(layer).with(filter)
}

/// The guests' lines that the current subscriber's filter lets through. They do not pass through it
/// one by one.
fn guest_levels() -> GuestLevels {
    GuestLevels([
        tracing::enabled!(target: "guest", Level::ERROR),
        tracing::enabled!(target: "guest", Level::WARN),
        tracing::enabled!(target: "guest", Level::INFO),
        tracing::enabled!(target: "guest", Level::DEBUG),
        tracing::enabled!(target: "guest", Level::TRACE),
    ])
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{GuestLog, Stream, identity::example_context};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The log of a host that says one thing, with a guest that says two.
    fn written(format: LogFormat, filter: &str) -> String {
        let options = LogOptions { format, filter: filter.to_owned(), ansi: false };
        let out = Written::default();
        let (writer, guard) = LogWriter::start(out.clone()).unwrap();
        let subscriber = subscriber(&options, parse_filter(filter).unwrap(), writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(port = 8080, "listening\x1b[2J");
            let sink = Sink::log(writer.clone(), format, false, guest_levels());
            let log = GuestLog::new(Arc::new(example_context()), 1024, sink);
            log.write(Stream::Stdout, b"<7>detail\n<4>careful\n");
        });
        drop(guard);
        String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn text_and_guests_share_one_stream() {
        let text = written(LogFormat::Text, "info");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains(" INFO lacewing_telemetry::logs::tests: listening"), "{text}");
        assert!(!lines[0].contains('\x1b'), "{text}");
        assert!(lines[1].contains(" WARN guest: careful origin=acme/shop/cart@r7"), "{text}");
    }

    #[test]
    fn json_has_the_same_keys_for_host_and_guest() {
        let text = written(LogFormat::Json, "off,lacewing=info,guest=debug");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3, "{text}");
        for line in &lines {
            for key in ["timestamp", "level", "target", "message"] {
                assert!(line[key].is_string(), "{key} of {line}");
            }
        }
        assert_eq!(lines[0]["port"], 8080);
        assert_eq!((&lines[1]["message"], &lines[1]["level"]), (&"detail".into(), &"DEBUG".into()));
    }

    #[test]
    fn the_filter_holds_for_guests() {
        assert_eq!(written(LogFormat::Text, "guest=error,lacewing=error"), "");
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_an_example() {
        let error = parse_filter("lacewing=loud").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the log filter \"lacewing=loud\" (environment variable LACEWING_LOG) is not valid; \
             right would be \"info\" or \"info,lacewing=debug,guest=warn\""
        );
        assert_eq!(
            "xml".parse::<LogFormat>().unwrap_err().to_string(),
            "\"xml\" is not a log format: text or json"
        );
    }
}
