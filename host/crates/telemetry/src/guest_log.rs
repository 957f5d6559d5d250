//! The output of a guest: bytes in, tagged lines out, bounded per invocation.
//!
//! Chunks need not be lines, UTF-8, or ever end. A line that starts with `<3>` to `<7>`, the
//! convention of sd-daemon(3), has that level: 0 to 3 error, 4 warning, 5 and 6 information, 7
//! debug. Without a prefix, stdout is information and stderr a warning, because a guest's panic
//! message arrives there unmarked.
//!
//! ```text
//!            newline, or 8 KiB                            over the limit
//!  partial ─────────────────────> emit, charge ─────────────────────────────> drop and count
//!  (at most 8 KiB, nothing                                                      │
//!   until the first byte)                                               finish: one last line
//! ```

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tracing::Level;

use crate::{Context, Sink};

/// The longest line, in bytes. A longer one is split, between characters where it is UTF-8.
pub const MAX_LINE_BYTES: usize = 8 * 1024;

/// The least that a line counts towards the limit, in bytes, because the host adds its tags to
/// each: a limit of 64 KiB is a limit of 1,024 lines too.
pub const MIN_LINE_CHARGE_BYTES: u64 = 64;

/// Where a guest printed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
    /// A logging import, which has levels of its own.
    Logging,
    /// Nowhere: the host remarks on something that the guest did.
    Host,
}

impl Stream {
    /// The stream's name in a log line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Logging => "logging",
            Stream::Host => "host",
        }
    }

    /// The level of a line without a prefix.
    const fn default_level(self) -> Level {
        match self {
            Stream::Stdout | Stream::Logging => Level::INFO,
            Stream::Stderr | Stream::Host => Level::WARN,
        }
    }
}

/// The output of one invocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogTotals {
    /// Lines that were emitted.
    pub lines: u64,
    /// Bytes of those lines as the guest printed them.
    pub bytes: u64,
    /// Bytes that the limit dropped.
    pub dropped_bytes: u64,
}

/// The log of one invocation. Costs no allocation until a line is printed in pieces; share it in an
/// [`Arc`].
///
/// Dropping it finishes it, so the last line is there for a trap and a cancellation too.
#[derive(Debug)]
pub struct GuestLog {
    context: Arc<Context>,
    sink: Sink,
    limit_bytes: u64,
    state: Mutex<LogState>,
}

#[derive(Debug, Default)]
struct LogState {
    stdout: Partial,
    stderr: Partial,
    /// The bytes that count towards the limit so far.
    charged_bytes: u64,
    full: bool,
    finished: bool,
    totals: LogTotals,
}

/// The start of a line whose end has not arrived.
#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    /// The level of the line's earlier pieces, when it was too long and is split.
    split: Option<Level>,
}

impl GuestLog {
    /// The log of the invocation `context`, which may print `limit_bytes` into `sink`.
    pub fn new(context: Arc<Context>, limit_bytes: u64, sink: Sink) -> GuestLog {
        GuestLog { context, sink, limit_bytes, state: Mutex::default() }
    }

    /// The invocation whose log this is.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Takes what the guest printed. Never fails and never waits.
    pub fn write(&self, stream: Stream, bytes: &[u8]) {
        let mut state = self.state();
        if state.finished {
            return;
        }
        let mut partial = std::mem::take(state.partial(stream));
        let mut rest = bytes;
        while !rest.is_empty() && !state.full {
            rest = self.step(&mut state, &mut partial, stream, rest);
        }
        if state.full {
            state.totals.dropped_bytes += (partial.bytes.len() + rest.len()) as u64;
            partial = Partial::default();
        }
        *state.partial(stream) = partial;
    }

    /// Emits one record of a logging import. Line breaks in `message` do not end it; over 8 KiB it
    /// is split.
    pub fn log(&self, level: Level, message: &str) {
        self.say(level, Stream::Logging, message);
    }

    /// Emits a remark of the host on what the guest did, such as a refused outbound request. It
    /// counts towards the limit, because it is the guest that provokes it.
    pub fn note(&self, message: &str) {
        self.say(Level::WARN, Stream::Host, message);
    }

    fn say(&self, level: Level, stream: Stream, message: &str) {
        let mut state = self.state();
        if state.finished {
            return;
        }
        let mut rest = message.as_bytes();
        while !rest.is_empty() {
            let piece = &rest[..split_at(rest)];
            self.emit(&mut state, level, stream, piece, piece.len());
            rest = &rest[piece.len()..];
        }
    }

    /// Emits lines without an end and, if the limit was reached, the line that says so. Output
    /// after that is dropped. Further calls return the same.
    pub fn finish(&self) -> LogTotals {
        let mut state = self.state();
        if !state.finished {
            for stream in [Stream::Stdout, Stream::Stderr] {
                let partial = std::mem::take(state.partial(stream));
                let (line, printed) = (chomp(&partial.bytes), partial.bytes.len());
                self.emit_line(&mut state, stream, partial.split, line, printed);
            }
            state.finished = true;
            if state.totals.dropped_bytes > 0 {
                let message = format!(
                    "log limit of {} bytes reached, {} bytes dropped",
                    self.limit_bytes, state.totals.dropped_bytes
                );
                self.sink.guest_line(&self.context, Level::WARN, Stream::Host, &message);
            }
        }
        state.totals
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock()
    }

    /// Takes bytes up to the end of a line, of a piece, or of the chunk; returns what is left.
    fn step<'a>(
        &self,
        state: &mut LogState,
        partial: &mut Partial,
        stream: Stream,
        rest: &'a [u8],
    ) -> &'a [u8] {
        let room = MAX_LINE_BYTES - partial.bytes.len();
        // One byte more than fits may be the newline.
        let window = &rest[..rest.len().min(room + 1)];
        if let Some(end) = window.iter().position(|&b| b == b'\n') {
            let split = partial.split.take();
            if partial.bytes.is_empty() {
                self.emit_line(state, stream, split, chomp(&rest[..end]), end + 1);
            } else {
                partial.bytes.extend_from_slice(&rest[..end]);
                let line = std::mem::take(&mut partial.bytes);
                self.emit_line(state, stream, split, chomp(&line), line.len() + 1);
                partial.bytes = line;
                partial.bytes.clear();
            }
            return &rest[end + 1..];
        }
        if rest.len() <= room {
            partial.bytes.extend_from_slice(rest);
            return &[];
        }
        partial.bytes.extend_from_slice(&rest[..room]);
        let cut = split_at(&partial.bytes);
        let tail = partial.bytes.split_off(cut);
        let piece = std::mem::replace(&mut partial.bytes, tail);
        let level = partial.split.or_else(|| prefix(&piece).map(|(level, _)| level));
        self.emit_line(state, stream, partial.split, &piece, piece.len());
        partial.split = Some(level.unwrap_or(stream.default_level()));
        &rest[room..]
    }

    /// Emits a line, or a piece of one whose level is known. Blank lines say nothing and cost
    /// nothing.
    fn emit_line(
        &self,
        state: &mut LogState,
        stream: Stream,
        split: Option<Level>,
        line: &[u8],
        printed_bytes: usize,
    ) {
        let (level, message) = match split {
            Some(level) => (level, line),
            None => prefix(line).unwrap_or((stream.default_level(), line)),
        };
        if !message.is_empty() {
            self.emit(state, level, stream, message, printed_bytes);
        }
    }

    fn emit(
        &self,
        state: &mut LogState,
        level: Level,
        stream: Stream,
        message: &[u8],
        printed_bytes: usize,
    ) {
        let printed_bytes = printed_bytes as u64;
        let charge = printed_bytes.max(MIN_LINE_CHARGE_BYTES);
        if state.full || state.charged_bytes + charge > self.limit_bytes {
            state.full = true;
            state.totals.dropped_bytes += printed_bytes;
            return;
        }
        state.charged_bytes += charge;
        state.totals.lines += 1;
        state.totals.bytes += printed_bytes;
        self.sink.guest_line(&self.context, level, stream, &String::from_utf8_lossy(message));
    }
}

impl Drop for GuestLog {
    fn drop(&mut self) {
        self.finish();
    }
}

impl LogState {
    fn partial(&mut self, stream: Stream) -> &mut Partial {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr | Stream::Logging | Stream::Host => &mut self.stderr,
        }
    }
}

/// A line without the carriage return that some guests end it with.
fn chomp(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The level of a line's prefix, and the line without it.
fn prefix(line: &[u8]) -> Option<(Level, &[u8])> {
    let [b'<', digit, b'>', message @ ..] = line else { return None };
    let level = match digit {
        b'0'..=b'3' => Level::ERROR,
        b'4' => Level::WARN,
        b'5' | b'6' => Level::INFO,
        b'7' => Level::DEBUG,
        _ => return None,
    };
    Some((level, message))
}

/// Where to split bytes that are too long for a line: at the last start of a character within the
/// limit, or at the limit where there is no UTF-8.
fn split_at(bytes: &[u8]) -> usize {
    if bytes.len() < MAX_LINE_BYTES {
        return bytes.len();
    }
    let head = &bytes[..MAX_LINE_BYTES];
    let last = head.iter().rev().take(4).position(|b| b & 0xc0 != 0x80);
    match last.map(|back| MAX_LINE_BYTES - 1 - back) {
        Some(start) if start + width(head[start]) > MAX_LINE_BYTES => start,
        _ => MAX_LINE_BYTES,
    }
}

/// Bytes of the character that starts with this byte.
fn width(first: u8) -> usize {
    match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Captured, GuestLine, identity::example_context};

    fn log(limit_bytes: u64) -> (GuestLog, Sink) {
        let sink = Sink::memory();
        (GuestLog::new(Arc::new(example_context()), limit_bytes, sink.clone()), sink)
    }

    fn lines(sink: &Sink) -> Vec<GuestLine> {
        let line = |captured| match captured {
            Captured::Line(line) => line,
            Captured::Record(record) => panic!("{record}"),
        };
        sink.take().into_iter().map(line).collect()
    }

    fn messages(sink: &Sink) -> Vec<String> {
        lines(sink).into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn nothing_printed_is_nothing_emitted() {
        let (log, sink) = log(64 * 1024);
        assert_eq!(log.finish(), LogTotals::default());
        assert!(messages(&sink).is_empty());
    }

    #[test]
    fn lines_are_joined_from_chunks_of_either_stream() {
        let (log, sink) = log(64 * 1024);
        log.write(Stream::Stdout, b"one\ntw");
        log.write(Stream::Stderr, b"err\r\n\n");
        log.write(Stream::Stdout, b"o");
        log.write(Stream::Stdout, b"\nthree");
        assert_eq!(messages(&sink), ["one", "err", "two"]);
        assert_eq!(log.finish(), LogTotals { lines: 4, bytes: 4 + 5 + 4 + 5, dropped_bytes: 0 });
        assert_eq!(messages(&sink), ["three"]);
        log.write(Stream::Stdout, b"late\n");
        drop(log);
        assert!(messages(&sink).is_empty());
    }

    #[test]
    fn levels_come_from_the_prefix_or_the_stream() {
        let (log, sink) = log(64 * 1024);
        log.write(Stream::Stdout, b"<3>a\n<4>b\n<5>c\n<6>d\n<7>e\n<8>f\n <3>g\nh\n<3>\n");
        log.write(Stream::Stderr, b"panicked\n<6>i\n");
        log.log(Level::TRACE, "two\nlines");
        let seen: Vec<_> = lines(&sink).into_iter().map(|l| (l.level, l.message)).collect();
        let expected = [
            (Level::ERROR, "a"),
            (Level::WARN, "b"),
            (Level::INFO, "c"),
            (Level::INFO, "d"),
            (Level::DEBUG, "e"),
            (Level::INFO, "<8>f"),
            (Level::INFO, " <3>g"),
            (Level::INFO, "h"),
            (Level::WARN, "panicked"),
            (Level::INFO, "i"),
            (Level::TRACE, "two\nlines"),
        ];
        assert_eq!(seen, expected.map(|(level, message)| (level, message.to_owned())));
    }

    #[test]
    fn long_lines_are_split_between_characters_and_keep_their_level() {
        let (log, sink) = log(1024 * 1024);
        let line = format!("<3>{}", "é".repeat(MAX_LINE_BYTES));
        log.write(Stream::Stdout, line.as_bytes());
        log.write(Stream::Stdout, b"\n");
        log.write(Stream::Stdout, &[vec![b'x'; MAX_LINE_BYTES], b"\ny\n".to_vec()].concat());
        let lines = lines(&sink);
        assert_eq!(lines.len(), 5, "{lines:?}");
        assert!(lines[..3].iter().all(|line| line.level == Level::ERROR));
        let joined: String = lines[..3].iter().map(|line| line.message.as_str()).collect();
        assert_eq!(joined, line[3..]);
        assert_eq!((lines[3].message.len(), lines[3].level), (MAX_LINE_BYTES, Level::INFO));
        assert_eq!(lines[4].message, "y");
    }

    #[test]
    fn a_line_without_end_is_held_in_bounded_memory() {
        let (log, sink) = log(u64::MAX);
        for _ in 0..100 {
            log.write(Stream::Stderr, &[b'x'; 10_000]);
            assert!(log.state().stderr.bytes.capacity() <= 2 * MAX_LINE_BYTES);
        }
        log.finish();
        assert_eq!(messages(&sink).concat().len(), 1_000_000);
    }

    #[test]
    fn output_over_the_limit_is_dropped_counted_and_reported_once() {
        let (log, sink) = log(200);
        log.write(Stream::Stdout, b"a\nb\nc\nd\n");
        log.write(Stream::Stderr, &[b'x'; 1000]);
        let totals = log.finish();
        assert_eq!(totals, LogTotals { lines: 3, bytes: 6, dropped_bytes: 1002 });
        assert_eq!(log.finish(), totals);
        assert_eq!(
            messages(&sink),
            ["a", "b", "c", "log limit of 200 bytes reached, 1002 bytes dropped"]
        );
    }

    #[test]
    fn a_limit_of_zero_drops_everything() {
        let (log, sink) = log(0);
        log.write(Stream::Stdout, b"a");
        drop(log);
        assert_eq!(messages(&sink), ["log limit of 0 bytes reached, 1 bytes dropped"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let (log, sink) = log(64 * 1024);
        log.write(Stream::Stdout, b"a\xff\x80b\n");
        assert_eq!(messages(&sink), ["a\u{fffd}\u{fffd}b"]);
    }

    /// The same text in one chunk, split the plain way.
    fn naive(bytes: &[u8]) -> Vec<String> {
        let mut messages = Vec::new();
        for line in bytes.split(|&b| b == b'\n') {
            let mut rest = line;
            while rest.len() > MAX_LINE_BYTES {
                let (piece, tail) = rest.split_at(split_at(rest));
                messages.push(String::from_utf8_lossy(piece).into_owned());
                rest = tail;
            }
            let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
            if !rest.is_empty() {
                messages.push(String::from_utf8_lossy(rest).into_owned());
            }
        }
        messages
    }

    fn printed() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => proptest::collection::vec(any::<u8>(), 0..40),
            2 => Just(b"\n".to_vec()),
            1 => (1usize..9000).prop_map(|n| "aé€𝄞".repeat(n / 4).into_bytes()),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(bytes in printed(), cuts in proptest::collection::vec(any::<usize>(), 0..8)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let (log, sink) = log(u64::MAX);
            for pair in cuts.windows(2) {
                log.write(Stream::Logging, &bytes[pair[0]..pair[1]]);
            }
            log.finish();
            // Prefixes are told apart in a test of their own.
            let naive: Vec<String> = naive(&bytes).into_iter().filter(|m| !m.starts_with('<')).collect();
            let seen: Vec<String> = messages(&sink).into_iter().filter(|m| !m.starts_with('<')).collect();
            prop_assert_eq!(seen, naive);
        }

        #[test]
        fn every_byte_of_a_line_is_emitted_or_counted(lines in proptest::collection::vec("[a-z]{1,100}", 0..50), limit in 0u64..3000) {
            let (log, sink) = log(limit);
            for line in &lines {
                log.write(Stream::Stdout, format!("{line}\n").as_bytes());
            }
            let totals = log.finish();
            let printed: usize = lines.iter().map(|line| line.len() + 1).sum();
            prop_assert_eq!(totals.bytes + totals.dropped_bytes, printed as u64);
            prop_assert!(totals.bytes <= limit);
            let notice = usize::from(totals.dropped_bytes > 0);
            prop_assert_eq!(messages(&sink).len() as u64, totals.lines + notice as u64);
        }
    }
}
