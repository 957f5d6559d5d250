//! A diagnostic: the error, its place and its remedy, for people as text and for programs as JSON.
//!
//! ```text
//! error: unknown key `memory_mb`                              message
//!  --> shop/lacewing.toml:6:1                                 place
//!   |
//! 6 | memory_mb = 64
//!   | ^^^^^^^^^
//!   = help: did you mean `memory_mib`?                        help
//! note: ...                                                   related places, in the same way
//! ```

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::Place;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is taken, and probably does not do what was meant.
    Warning,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One finding.
///
/// Displays as text of several lines, without a newline at the end. Serialises as an object with
/// `severity`, `message`, `help`, `file`, `line`, `column`, `end_line`, `end_column` and `related`,
/// where what is not known is null; lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The fault.
    pub message: String,
    /// The remedy.
    pub help: Option<String>,
    /// The file, as its path was given, if the finding is about a file.
    pub file: Option<PathBuf>,
    /// Where in the file, if it is about a place in it.
    pub place: Option<Place>,
    /// Other places that have to do with it, each with a sentence that says what is there.
    pub related: Vec<(Place, String)>,
}

impl Diagnostic {
    /// A finding that refuses the file.
    pub fn error(message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Error, message.into())
    }

    /// A finding that lets the file pass.
    pub fn warning(message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, message.into())
    }

    fn new(severity: Severity, message: String) -> Diagnostic {
        Diagnostic {
            severity,
            message: shortened(message),
            help: None,
            file: None,
            place: None,
            related: Vec::new(),
        }
    }

    /// Says where it is.
    pub fn at(mut self, place: &Place) -> Diagnostic {
        self.file = Some(place.file().to_owned());
        self.place = Some(place.clone());
        self
    }

    /// Says which file it is about, when it is about the whole of it.
    pub fn in_file(mut self, file: &Path) -> Diagnostic {
        self.file = Some(file.to_owned());
        self
    }

    /// Says what would be right.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(shortened(help.into()));
        self
    }

    /// Points to another place that has to do with it.
    pub fn related(mut self, place: &Place, text: impl Into<String>) -> Diagnostic {
        self.related.push((place.clone(), shortened(text.into())));
        self
    }

    /// Whether it refuses the file.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The line, counted from 1.
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.line_column().0)
    }

    /// The column, counted from 1 in characters.
    pub fn column(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.line_column().1)
    }

    /// The file, and where in it, as `lacewing.toml:6:1`.
    pub fn place_text(&self) -> Option<String> {
        let file = self.file.as_ref()?.display();
        Some(match self.place.as_ref().map(Place::line_column) {
            Some((line, column)) => format!("{file}:{line}:{column}"),
            None => file.to_string(),
        })
    }

    /// As text with the terminal's colours.
    pub fn colored(&self) -> impl fmt::Display + '_ {
        Rendered { diagnostic: self, colors: COLORS }
    }
}

/// The longest message or help, in bytes: what a file holds may be quoted in it.
const MAX_MESSAGE_BYTES: usize = 1000;

fn shortened(mut text: String) -> String {
    if text.len() > MAX_MESSAGE_BYTES {
        text.truncate(text.floor_char_boundary(MAX_MESSAGE_BYTES));
        text.push_str("...");
    }
    text
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Rendered { diagnostic: self, colors: PLAIN }.fmt(f)
    }
}

impl std::error::Error for Diagnostic {}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let end = self.place.as_ref().map(Place::end_line_column);
        let mut object = serializer.serialize_struct("Diagnostic", 9)?;
        object.serialize_field("severity", &self.severity)?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("help", &self.help)?;
        object.serialize_field("file", &self.file.as_ref().map(|file| file.to_string_lossy()))?;
        object.serialize_field("line", &self.line())?;
        object.serialize_field("column", &self.column())?;
        object.serialize_field("end_line", &end.map(|(line, _)| line))?;
        object.serialize_field("end_column", &end.map(|(_, column)| column))?;
        object.serialize_field(
            "related",
            &self.related.iter().map(Related::new).collect::<Vec<_>>(),
        )?;
        object.end()
    }
}

#[derive(serde::Serialize)]
struct Related<'a> {
    message: &'a str,
    file: String,
    line: usize,
    column: usize,
}

impl Related<'_> {
    fn new((place, message): &(Place, String)) -> Related<'_> {
        let (line, column) = place.line_column();
        Related { message, file: place.file().to_string_lossy().into_owned(), line, column }
    }
}

/// Escape sequences before each part, and the one that ends them all.
#[derive(Clone, Copy)]
struct Colors {
    error: &'static str,
    warning: &'static str,
    strong: &'static str,
    frame: &'static str,
    end: &'static str,
}

const PLAIN: Colors = Colors { error: "", warning: "", strong: "", frame: "", end: "" };
const COLORS: Colors = Colors {
    error: "\x1b[1;31m",
    warning: "\x1b[1;33m",
    strong: "\x1b[1m",
    frame: "\x1b[1;34m",
    end: "\x1b[0m",
};

struct Rendered<'a> {
    diagnostic: &'a Diagnostic,
    colors: Colors,
}

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rendered { diagnostic: finding, colors } = self;
        let Colors { strong, frame, end, .. } = colors;
        let color = match finding.severity {
            Severity::Error => colors.error,
            Severity::Warning => colors.warning,
        };
        write!(
            f,
            "{color}{}{end}{strong}: {}{end}",
            finding.severity.as_str(),
            Printable(&finding.message)
        )?;
        let width = self.gutter();
        if let Some(place) = &finding.place {
            self.snippet(f, place, color, width)?;
        } else if let Some(file) = &finding.file {
            write!(f, "\n{:width$}{frame}-->{end} {}", "", Printable(&file.to_string_lossy()))?;
        }
        if let Some(help) = &finding.help {
            write!(f, "\n{:width$} {frame}={end} {strong}help{end}: {}", "", Printable(help))?;
        }
        for (place, text) in &finding.related {
            write!(f, "\n{strong}note{end}: {}", Printable(text))?;
            self.snippet(f, place, colors.frame, width)?;
        }
        Ok(())
    }
}

/// A line's characters on each side of the caret that are shown, when the line is longer.
const CONTEXT_CHARS: usize = 70;

impl Rendered<'_> {
    /// Columns for the line numbers.
    fn gutter(&self) -> usize {
        let places = self
            .diagnostic
            .place
            .iter()
            .chain(self.diagnostic.related.iter().map(|(place, _)| place));
        places.map(|place| place.line_column().0.to_string().len()).max().unwrap_or(1)
    }

    fn snippet(
        &self,
        f: &mut fmt::Formatter<'_>,
        place: &Place,
        caret: &str,
        width: usize,
    ) -> fmt::Result {
        let Colors { frame, end, .. } = self.colors;
        let (line, column) = place.line_column();
        let file = place.file().to_string_lossy();
        write!(f, "\n{:width$}{frame}-->{end} {}:{line}:{column}", "", Printable(&file))?;
        let (text, span) = place.line();
        let (before, marked, after) = excerpt(text, span);
        write!(f, "\n{:width$} {frame}|{end}", "")?;
        write!(f, "\n{frame}{line:width$} |{end} {before}{marked}{after}")?;
        let indent = before.chars().count();
        let carets = "^".repeat(marked.chars().count().max(1));
        write!(f, "\n{:width$} {frame}|{end} {:indent$}{caret}{carets}{end}", "", "")
    }
}

/// The parts of a line before, in and after a span, printable, each cut to what is worth showing.
/// The rest is not looked at: a line may be as long as its file.
fn excerpt(line: &str, span: Range<usize>) -> (String, String, String) {
    /// As many characters show as more than are shown.
    const ENOUGH: usize = CONTEXT_CHARS + 4;
    let clean = |text: &str| Printable(text).to_string().chars().collect::<Vec<char>>();
    let first = |text: &str| match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => clean(&text[..end]),
        None => clean(text),
    };
    let before = &line[..span.start];
    let cut = before.char_indices().rev().nth(ENOUGH - 1).map_or(0, |(start, _)| start);
    let (before, marked, after) =
        (clean(&before[cut..]), first(&line[span.clone()]), first(&line[span.end..]));
    let before = match before.len().checked_sub(CONTEXT_CHARS) {
        Some(cut) if cut > 3 => format!("...{}", before[cut..].iter().collect::<String>()),
        _ => before.iter().collect(),
    };
    (before, cut_end(&marked), cut_end(&after))
}

fn cut_end(text: &[char]) -> String {
    if text.len() <= CONTEXT_CHARS + 3 {
        return text.iter().collect();
    }
    format!("{}...", text[..CONTEXT_CHARS].iter().collect::<String>())
}

/// Text that cannot move a terminal's cursor or change its colours, with tabs as four blanks.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\t' => f.write_str("    ")?,
                c if c.is_control() || is_bidi_control(c) => f.write_str("\u{fffd}")?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}

/// Characters that make a terminal show text in another order than it has.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ManifestText;
    use super::*;

    fn finding() -> Diagnostic {
        let text = ManifestText::new("a/lacewing.toml", "é = \"ü\"\r\n\tkey = [\n 1,\n]\n");
        let place = text.place(21..25);
        Diagnostic::warning("odd").help("be even").at(&place).related(&text.place(5..9), "as here")
    }

    #[test]
    fn text() {
        assert_eq!(
            finding().to_string(),
            "warning: odd
 --> a/lacewing.toml:3:2
  |
3 |  1,
  |  ^^
  = help: be even
note: as here
 --> a/lacewing.toml:1:5
  |
1 | é = \"ü\"
  |     ^^^"
        );
        let whole = Diagnostic::error("wrong").in_file(Path::new("x.toml"));
        assert_eq!(whole.to_string(), "error: wrong\n --> x.toml");
        assert_eq!(Diagnostic::error("wrong").to_string(), "error: wrong");
    }

    #[test]
    fn colors() {
        assert_eq!(
            Diagnostic::error("wrong").in_file(Path::new("x.toml")).colored().to_string(),
            "\x1b[1;31merror\x1b[0m\x1b[1m: wrong\x1b[0m\n \x1b[1;34m-->\x1b[0m x.toml"
        );
    }

    #[test]
    fn json() {
        assert_eq!(
            serde_json::to_value(finding()).unwrap(),
            json!({
                "severity": "warning",
                "message": "odd",
                "help": "be even",
                "file": "a/lacewing.toml",
                "line": 3,
                "column": 2,
                "end_line": 4,
                "end_column": 2,
                "related": [{ "message": "as here", "file": "a/lacewing.toml", "line": 1, "column": 5 }],
            })
        );
        let nowhere = serde_json::to_value(Diagnostic::error("wrong")).unwrap();
        assert_eq!((&nowhere["line"], &nowhere["file"]), (&json!(null), &json!(null)));
    }

    #[test]
    fn a_terminal_is_safe() {
        let text = ManifestText::new("\x1b[2J.toml", "\tx\x1b[31m\u{202e}y\n");
        let finding = Diagnostic::error("a\x07b").at(&text.place(2..7));
        assert_eq!(
            finding.to_string(),
            "error: a\u{fffd}b
 --> \u{fffd}[2J.toml:1:3
  |
1 |     x\u{fffd}[31m\u{fffd}y
  |      ^^^^^"
        );
    }

    #[test]
    fn messages_have_a_bound() {
        let finding = Diagnostic::error("é".repeat(1000)).help("x".repeat(2000));
        assert_eq!(finding.message, format!("{}...", "é".repeat(500)));
        assert_eq!(finding.help, Some(format!("{}...", "x".repeat(1000))));
    }

    #[test]
    fn places_outside_of_the_text_are_its_end() {
        let text = ManifestText::new("x.toml", "a\n");
        for span in [5..9, 2..usize::MAX] {
            let finding = Diagnostic::error("wrong").at(&text.place(span));
            assert_eq!(finding.to_string(), "error: wrong\n --> x.toml:2:1\n  |\n2 | \n  | ^");
        }
    }
}
