//! A terminal for the progress line whose output takes its turn in the log's queue: drawing waits
//! for no reader.

use std::io;

use console::Term;
use indicatif::TermLike;
use lacewing_telemetry::Messages;
use parking_lot::Mutex;

/// The terminal behind standard error, written to through the log.
#[derive(Debug)]
pub(super) struct LogTerminal {
    messages: Messages,
    term: Term,
    /// The drawing since the last flush: it is queued in one piece.
    drawn: Mutex<String>,
}

impl LogTerminal {
    pub(super) fn new(messages: Messages) -> LogTerminal {
        LogTerminal { messages, term: Term::stderr(), drawn: Mutex::default() }
    }

    fn draw(&self, text: &str) -> io::Result<()> {
        self.drawn.lock().push_str(text);
        Ok(())
    }

    /// Moves the cursor by `n` cells in the direction of the escape sequence's letter (ECMA-48,
    /// 8.3.19 to 8.3.22).
    fn move_cursor(&self, n: usize, direction: char) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.draw(&format!("\x1b[{n}{direction}")) }
    }
}

impl TermLike for LogTerminal {
    fn width(&self) -> u16 {
        self.term.size().1
    }

    fn height(&self) -> u16 {
        self.term.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.draw(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.draw(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let drawn = std::mem::take(&mut *self.drawn.lock());
        if !drawn.is_empty() {
            self.messages.text(&drawn);
        }
        Ok(())
    }
}
