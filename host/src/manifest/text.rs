//! The text of a manifest or host file, and places in it.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use crate::file::Stamp;

/// The longest manifest or host file, in bytes: a bound on what one file can make the host hold and parse.
pub const MAX_FILE_BYTES: u32 = 1024 * 1024;

/// A file's text and the path it was read from: what a [`Place`] points into.
#[derive(Debug)]
pub struct ManifestText {
    path: PathBuf,
    text: String,
    stamp: Option<Stamp>,
}

impl ManifestText {
    /// Text that is at hand already. `path` is what diagnostics call it.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Arc<ManifestText> {
        Arc::new(ManifestText { path: path.into(), text: text.into(), stamp: None })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is not a regular file, cannot be read, is larger than [`MAX_FILE_BYTES`] or is not UTF-8.
    pub fn read(path: &Path) -> Result<Arc<ManifestText>, ReadError> {
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            return Err(ReadError::Directory);
        }
        if !metadata.is_file() {
            return Err(ReadError::Special);
        }
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        let stamp = Stamp::of_file(&file).ok();
        file.take(u64::from(MAX_FILE_BYTES) + 1).read_to_end(&mut bytes)?;
        Ok(Arc::new(ManifestText { path: path.to_owned(), text: decode(bytes)?, stamp }))
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the file was when it was read; `None` for text that was at hand.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }

    /// The place of some bytes of the text.
    pub fn place(self: &Arc<Self>, span: Range<usize>) -> Place {
        Place { text: Arc::clone(self), start: narrow(span.start), end: narrow(span.end) }
    }
}

fn decode(bytes: Vec<u8>) -> Result<String, ReadError> {
    if bytes.starts_with(b"\0asm") {
        return Err(ReadError::Wasm);
    }
    if bytes.len() > MAX_FILE_BYTES as usize {
        return Err(ReadError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
        ReadError::NotUtf8 { line, offset }
    })
}

/// Why a file cannot be read as text. Displays as a sentence about "this", the file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nothing is there.
    #[error("there is no such file")]
    Missing,
    /// It is a directory.
    #[error("this is a directory, and a text file was expected")]
    Directory,
    /// It is a device, pipe or socket.
    #[error("this is a device, pipe or socket, and a text file was expected")]
    Special,
    /// It is a Wasm module or component.
    #[error("this is a Wasm file, and a text file was expected")]
    Wasm,
    /// It is larger than [`MAX_FILE_BYTES`].
    #[error("this is larger than {} KiB, the most that is read", MAX_FILE_BYTES / 1024)]
    TooLarge,
    /// It is not text.
    #[error("this is not UTF-8 text: line {line} holds the first wrong byte, at offset {offset}")]
    NotUtf8 {
        /// The line of the first wrong byte, counted from 1.
        line: usize,
        /// The offset of the first wrong byte in the file.
        offset: usize,
    },
    /// The system does not let it be read.
    #[error("this cannot be read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        if error.kind() == io::ErrorKind::NotFound {
            ReadError::Missing
        } else {
            ReadError::Io(error)
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
    /// No place: for what outlives the file that it was written in, whose text a place holds.
    pub(crate) fn none() -> Place {
        static NOTHING: LazyLock<Arc<ManifestText>> = LazyLock::new(|| ManifestText::new("", ""));
        NOTHING.place(0..0)
    }

    /// The text that it is in.
    pub(crate) fn text(&self) -> &ManifestText {
        &self.text
    }

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
