//! The text for people on standard error: messages, and progress for work that takes over a second.

mod log_terminal;

use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use clap::{
    ColorChoice,
    builder::styling::{AnsiColor, Style},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lacewing_manifest::Diagnostic;
use lacewing_telemetry::{Messages, displayed, logs::LogFormat, messages::json_line};
use tracing::Level;

use log_terminal::LogTerminal;

/// How long something may take before it shows progress: one second.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the progress line moves: ten times a second.
const TICK: Duration = Duration::from_millis(100);

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const STATUS: Style = AnsiColor::Green.on_default().bold();

/// Standard error, as the user wants it.
#[derive(Clone, Debug)]
pub struct Console {
    color: bool,
    terminal: bool,
    output: MessageOutput,
}

/// The way of a message.
#[derive(Clone, Debug)]
enum MessageOutput {
    /// Nowhere.
    Silent,
    /// Written at once, in this form; the writer waits for the reader.
    Stderr(LogFormat),
    /// Queued with the lines of the log, in the log's form; nothing waits.
    Log(Messages),
}

impl Console {
    /// Colours as asked for; left to itself, on a terminal unless `NO_COLOR` is set. Progress on a
    /// terminal.
    pub fn for_stderr(color: ColorChoice) -> Console {
        let terminal = std::io::stderr().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !no_color,
        };
        Console { color, terminal, output: MessageOutput::Stderr(LogFormat::Text) }
    }

    /// Says nothing at all.
    pub fn silent() -> Console {
        Console { color: false, terminal: false, output: MessageOutput::Silent }
    }

    /// The same console with each message in this form. JSON has neither colours nor progress.
    #[must_use]
    pub fn formatted(&self, format: LogFormat) -> Console {
        self.through(MessageOutput::Stderr(format), format)
    }

    /// The same console with its messages in the log, so that no message waits for the reader of
    /// standard error.
    #[must_use]
    pub fn logged(&self, messages: Messages) -> Console {
        let format = messages.format();
        self.through(MessageOutput::Log(messages), format)
    }

    fn through(&self, output: MessageOutput, format: LogFormat) -> Console {
        let text = format == LogFormat::Text;
        Console { color: self.color && text, terminal: self.terminal && text, output }
    }

    /// Whether messages are coloured, theirs and those of the programs that are run.
    pub fn color(&self) -> bool {
        self.color
    }

    /// An error and what caused it, on one line.
    pub fn error(&self, error: &dyn std::error::Error) {
        // It may tell names that a component brought.
        self.labelled(("error", ERROR), Level::ERROR, &displayed(&chain(error)));
    }

    /// A finding in a file, with the place it is at.
    pub fn finding(&self, finding: &Diagnostic) {
        let level = if finding.is_error() { Level::ERROR } else { Level::WARN };
        let place = finding.place_text().unwrap_or_default();
        let help = finding.help.as_deref().unwrap_or_default();
        let text = finding.to_string();
        let fields = [("place", place.as_str()), ("help", help), ("text", &text)];
        if !self.object(level, &finding.message, &fields) {
            if self.color { self.text(finding.colored()) } else { self.text(text) }
        }
    }

    /// A warning that was shown before, as text.
    pub fn warned_before(&self, text: &str) {
        if !self.object(Level::WARN, text, &[]) {
            self.text(text);
        }
    }

    /// Something that is probably not what the user wants.
    pub fn warning(&self, text: impl Display) {
        self.labelled(("warning", WARNING), Level::WARN, &text);
    }

    /// The finished work: `Built hello in 1.2 s`, its first word in colour.
    pub fn status(&self, verb: &str, text: impl Display) {
        self.line(format_args!("{} {text}", self.styled(verb, STATUS)));
    }

    /// A line as it is.
    pub fn line(&self, text: impl Display) {
        if !self.is_json() || !self.object(Level::INFO, &text.to_string(), &[]) {
            self.text(text);
        }
    }

    /// A progress line that appears on a terminal once a second has passed, and goes away when
    /// dropped.
    pub fn progress(&self, text: impl Into<String>) -> ProgressLine {
        ProgressLine::start(self.clone(), text.into())
    }

    fn labelled(&self, (label, style): (&str, Style), level: Level, text: &dyn Display) {
        if !self.is_json() || !self.object(level, &text.to_string(), &[]) {
            self.text(format_args!("{}: {text}", self.styled(label, style)));
        }
    }

    fn styled(&self, text: &str, style: Style) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn is_json(&self) -> bool {
        match &self.output {
            MessageOutput::Silent => false,
            MessageOutput::Stderr(format) => *format == LogFormat::Json,
            MessageOutput::Log(messages) => messages.format() == LogFormat::Json,
        }
    }

    fn draw_target(&self) -> ProgressDrawTarget {
        match &self.output {
            MessageOutput::Silent => ProgressDrawTarget::hidden(),
            MessageOutput::Stderr(_) => ProgressDrawTarget::stderr(),
            MessageOutput::Log(messages) => {
                ProgressDrawTarget::term_like(Box::new(LogTerminal::new(messages.clone())))
            }
        }
    }

    /// Gives the message as a JSON object, if that is the form. Says whether.
    fn object(&self, level: Level, message: &str, fields: &[(&str, &str)]) -> bool {
        match &self.output {
            _ if !self.is_json() => return false,
            MessageOutput::Silent => {}
            MessageOutput::Stderr(_) => write_line(json_line(level, message, fields)),
            MessageOutput::Log(messages) => messages.object(level, message, fields),
        }
        true
    }

    fn text(&self, text: impl Display) {
        match &self.output {
            MessageOutput::Silent => {}
            MessageOutput::Stderr(_) => write_line(text),
            MessageOutput::Log(messages) => messages.text(&format!("{text}\n")),
        }
    }
}

fn write_line(text: impl Display) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// An error with its causes, each after a colon.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// One thing that takes a while.
#[derive(Debug)]
pub struct ProgressLine {
    console: Console,
    bar: ProgressBar,
    /// Dropping the sender ends the thread that would have shown the bar.
    shower: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl ProgressLine {
    fn start(console: Console, text: String) -> ProgressLine {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        // A literal template; the fallback is indicatif's own spinner.
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(text);
        let shower = console.terminal.then(|| show_later(bar.clone(), console.draw_target()));
        ProgressLine { console, bar, shower }
    }

    /// Whether anybody sees it.
    pub fn is_shown(&self) -> bool {
        self.shower.is_some()
    }

    /// Replaces the text.
    pub fn set(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// A line for the user, above the progress line.
    pub fn line(&self, text: impl Display) {
        self.bar.suspend(|| self.console.line(text));
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.shower.take() {
            drop(done);
            // It only waits for the channel and draws: it does not panic.
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

fn show_later(bar: ProgressBar, target: ProgressDrawTarget) -> (mpsc::Sender<()>, JoinHandle<()>) {
    let (done, finished) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        if finished.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            bar.set_draw_target(target);
            bar.enable_steady_tick(TICK);
        }
    });
    (done, thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn an_error_names_its_causes_in_order() {
        let error = Outer(std::io::Error::other("no such port"));
        assert_eq!(chain(&error), "cannot start: no such port");
    }

    #[test]
    fn color_is_applied_only_where_it_is_wanted() {
        let plain = Console::for_stderr(ColorChoice::Never);
        assert_eq!(plain.styled("error", ERROR), "error");
        let colored = Console::for_stderr(ColorChoice::Always);
        assert_eq!(colored.styled("error", ERROR), "\u{1b}[1m\u{1b}[31merror\u{1b}[0m");
    }
}
