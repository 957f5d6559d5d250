//! The text of a manifest or host file, and places in it.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Diagnostic;

/// The longest manifest or host file, in bytes: a bound on what one file can make the host hold and parse.
pub const MAX_FILE_BYTES: u32 = 1024 * 1024;

/// A file's text and the path it was read from: what a [`Place`] points into.
#[derive(Debug)]
pub struct ManifestText {
    path: PathBuf,
    text: String,
}

impl ManifestText {
    /// Text that is at hand already. `path` is what diagnostics call it.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Arc<ManifestText> {
        Arc::new(ManifestText { path: path.into(), text: text.into() })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is not a regular file, cannot be read, is larger than [`MAX_FILE_BYTES`] or is not UTF-8.
    pub fn read(path: &Path) -> Result<Arc<ManifestText>, Diagnostic> {
        let failed = |error: io::Error| {
            let message = match error.kind() {
                io::ErrorKind::NotFound => "there is no such file".to_owned(),
                _ => format!("it cannot be read: {error}"),
            };
            Diagnostic::error(message).in_file(path)
        };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if metadata.is_dir() {
            return Err(
                Diagnostic::error("it is a directory, and a text file was expected").in_file(path)
            );
        }
        if !metadata.is_file() {
            return Err(Diagnostic::error(
                "it is a device, pipe or socket, and a text file was expected",
            )
            .in_file(path));
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(u64::from(MAX_FILE_BYTES) + 1).read_to_end(&mut bytes).map_err(failed)?;
        from_bytes(path, bytes)
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The place of some bytes of the text.
    pub fn place(self: &Arc<Self>, span: Range<usize>) -> Place {
        Place { text: Arc::clone(self), start: narrow(span.start), end: narrow(span.end) }
    }
}

fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Arc<ManifestText>, Diagnostic> {
    if bytes.starts_with(b"\0asm") {
        return Err(
            Diagnostic::error("it is a Wasm file, and a manifest was expected").in_file(path)
        );
    }
    if bytes.len() > MAX_FILE_BYTES as usize {
        let message =
            format!("it is larger than {} KiB, the most that is read", MAX_FILE_BYTES / 1024);
        return Err(Diagnostic::error(message).in_file(path));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(ManifestText::new(path, text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            let message = format!(
                "it is not UTF-8 text: the first wrong byte is number {at}, in line {line}"
            );
            Err(Diagnostic::error(message).in_file(path))
        }
    }
}

/// Offsets fit, because a file has at most [`MAX_FILE_BYTES`]; one from elsewhere is clamped.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// Where something was written.
///
/// Two places always compare equal: where a thing stands is no part of what it is, so that two readings of a
/// manifest are equal when they mean the same.
#[derive(Clone)]
pub struct Place {
    text: Arc<ManifestText>,
    start: u32,
    end: u32,
}

impl Place {
    /// The file, as its path was given.
    pub fn file(&self) -> &Path {
        self.text.path()
    }

    /// The line and column of the first character, both counted from 1; columns count characters.
    pub fn line_column(&self) -> (usize, usize) {
        self.text.position(self.start as usize)
    }

    /// The line and column just after the last character.
    pub fn end_line_column(&self) -> (usize, usize) {
        self.text.position(self.end.max(self.start) as usize)
    }

    /// The line that the place begins in, without its end, and the place's bytes within that line.
    pub(crate) fn line(&self) -> (&str, Range<usize>) {
        let text = self.text.text();
        let start = floor(text, self.start as usize);
        let end = floor(text, self.end as usize).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let within = |offset: usize| (offset - line_start).min(line.len());
        (line, within(start)..within(end))
    }

    pub(crate) fn offset(&self) -> u32 {
        self.start
    }
}

impl ManifestText {
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..floor(&self.text, offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }
}

/// The nearest character boundary at or before `offset`.
fn floor(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset)
}

impl PartialEq for Place {
    fn eq(&self, _: &Place) -> bool {
        true
    }
}

impl Eq for Place {}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.file().display())
    }
}
