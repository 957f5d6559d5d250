//! The text of a manifest or host file, and places in it.

use std::{
    fmt,
    hash::{Hash, Hasher},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use lacewing_base::file::{Located, OpenError, Stamp};

/// The longest manifest, in bytes, where no host file says otherwise: a bound on what one file
/// makes the host hold and read, for some thousands of functions.
pub const MANIFEST_BYTES: u32 = 256 * 1024;

/// The longest host file, in bytes: some hundred thousand tenants.
pub(crate) const HOST_FILE_BYTES: u32 = 16 * 1024 * 1024;

/// A file's text and the path it was read from: what a [`Place`] points into.
#[derive(Debug)]
pub struct ManifestText {
    path: PathBuf,
    text: String,
    stamp: Option<Stamp>,
    index: OnceLock<Index>,
}

impl ManifestText {
    /// Text that is at hand already. `path` is what diagnostics call it.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Arc<ManifestText> {
        let (path, text, index) = (path.into(), text.into(), OnceLock::new());
        Arc::new(ManifestText { path, text, stamp: None, index })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file is not regular, cannot be read, is larger than `most_bytes` or is not UTF-8.
    pub fn read(file: &Located, most_bytes: u32) -> Result<Arc<ManifestText>, ReadError> {
        let opened = file.open()?;
        if opened.begins_with(b"\0asm") {
            return Err(ReadError::Wasm);
        }
        let (path, stamp) = (file.path().to_owned(), Some(opened.stamp()));
        let text = decode(opened.read(most_bytes.into())?)?;
        Ok(Arc::new(ManifestText { path, text, stamp, index: OnceLock::new() }))
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The file's state when it was read; `None` for text that was at hand.
    pub fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }

    /// The place of some bytes of the text.
    pub fn place(self: &Arc<Self>, span: Range<usize>) -> Place {
        Place { text: Arc::clone(self), start: narrow(span.start), end: narrow(span.end) }
    }
}

fn decode(bytes: Vec<u8>) -> Result<String, ReadError> {
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
    /// It is larger than it may be.
    #[error("this is larger than {} KiB, the most that is read", most_bytes / 1024)]
    TooLarge {
        /// The most that it may have.
        most_bytes: u64,
    },
    /// A link leads out of the folder that it has to be in.
    #[error("this is, or is behind, a symbolic link that leads out of the app's folder")]
    Outside,
    /// It changed between its opening and the end of reading.
    #[error("this changed while it was read, or is not a file on a disk")]
    Changed,
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

impl From<OpenError> for ReadError {
    fn from(error: OpenError) -> ReadError {
        match error {
            OpenError::Outside => ReadError::Outside,
            OpenError::Directory => ReadError::Directory,
            OpenError::Special => ReadError::Special,
            OpenError::TooLarge { most_bytes } => ReadError::TooLarge { most_bytes },
            OpenError::Changed => ReadError::Changed,
            OpenError::Io(error) if error.kind() == io::ErrorKind::NotFound => ReadError::Missing,
            OpenError::Io(error) => ReadError::Io(error),
        }
    }
}

/// Offsets fit, because a file has no more bytes; one from elsewhere is clamped.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// Where something was written.
///
/// Two places always compare equal: where a thing stands is no part of what it is, so that two
/// readings of a manifest are equal when they mean the same.
#[derive(Clone)]
pub struct Place {
    text: Arc<ManifestText>,
    start: u32,
    end: u32,
}

impl Place {
    /// The text that it is in.
    pub fn text(&self) -> &ManifestText {
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
        let (line_start, line_end) = self.text.index().line(start, text.len());
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
        let (offset, index) = (floor(&self.text, offset), self.index());
        let (line_start, _) = index.line(offset, self.text.len());
        let chars = |offset| index.chars_before(offset, self.text.as_bytes());
        (index.line_number(offset), chars(offset) - chars(line_start) + 1)
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of(self.text.as_bytes()))
    }
}

/// An index from offsets to lines and columns, so that a look-up does not scan the text. Made when
/// it is first asked for.
#[derive(Debug)]
struct Index {
    /// Where each line begins.
    lines: Vec<u32>,
    /// How many characters begin before each block.
    chars: Vec<u32>,
}

/// The bytes between two places of which the number of characters before them is known.
const BLOCK_BYTES: usize = 1024;

impl Index {
    fn of(text: &[u8]) -> Index {
        let newlines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let lines = std::iter::once(0).chain(newlines.map(|(at, _)| narrow(at + 1))).collect();
        let mut chars = vec![0];
        for block in text.chunks(BLOCK_BYTES) {
            let before: u32 = chars.last().copied().unwrap_or(0);
            chars.push(before.saturating_add(narrow(char_starts(block))));
        }
        Index { lines, chars }
    }

    /// Counted from 1.
    fn line_number(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start as usize <= offset)
    }

    /// Where the line of an offset begins and ends, in a text of so many bytes.
    fn line(&self, offset: usize, bytes: usize) -> (usize, usize) {
        let number = self.line_number(offset);
        let start = self.lines.get(number.saturating_sub(1)).map_or(0, |start| *start as usize);
        (start, self.lines.get(number).map_or(bytes, |next| *next as usize - 1))
    }

    fn chars_before(&self, offset: usize, text: &[u8]) -> usize {
        let block = offset / BLOCK_BYTES;
        let before = self.chars.get(block).copied().unwrap_or(0);
        before as usize + char_starts(&text[block * BLOCK_BYTES..offset])
    }
}

/// How many bytes begin a character of UTF-8: all but `10xxxxxx`.
fn char_starts(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0b1100_0000 != 0b1000_0000).count()
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

impl Hash for Place {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.file().display())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The index tells what a look at all of the text tells.
        #[test]
        fn positions(text in "([a-zé日\\r\\n\\t]|\\PC){0,60}", repeat in 1..60_usize, offset in 0..9000_usize) {
            let text = text.repeat(repeat);
            let place = ManifestText::new("x", text.clone()).place(offset..offset);
            let before = &text[..text.floor_char_boundary(offset)];
            let start = before.rfind('\n').map_or(0, |newline| newline + 1);
            let line = before.matches('\n').count() + 1;
            prop_assert_eq!(place.line_column(), (line, before[start..].chars().count() + 1));
            let whole = text.split('\n').nth(line - 1).unwrap().trim_end_matches('\r');
            prop_assert_eq!(place.line().0, whole);
        }
    }
}
