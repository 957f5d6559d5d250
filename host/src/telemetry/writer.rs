//! The way of every log line to stderr: a bounded queue and one thread, so that a slow reader of the log
//! never slows an invocation.
//!
//! tracing-appender bounds its queue by lines; a guest's lines have kilobytes, so this bounds by bytes too.
//! What does not fit is dropped and counted.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that wait to be written, at most. 16 MiB: half a second of a busy host's log.
pub(super) const QUEUE_BYTES: usize = 16 * 1024 * 1024;
/// What a line counts at least, which makes the bound a bound on lines too: 16,384.
const MIN_LINE_BYTES: usize = 1024;
/// Lines are written to stderr in chunks of this many bytes, or as soon as none waits.
const CHUNK_BYTES: usize = 64 * 1024;

fn cost(line: &[u8]) -> usize {
    line.len().max(MIN_LINE_BYTES)
}

#[derive(Debug, Default)]
struct Queue {
    waiting_bytes: AtomicUsize,
    dropped_lines: AtomicU64,
}

/// A handle on the queue. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct LogWriter {
    sender: NonBlocking,
    queue: Arc<Queue>,
}

/// The thread's side: gives back what a line counted once it is written.
struct Drain<W: Write> {
    out: io::BufWriter<W>,
    queue: Arc<Queue>,
}

impl LogWriter {
    /// Starts the thread that writes to `out`. Dropping the guard waits, for a second at most, until what is
    /// queued is written.
    pub(super) fn start<W: Write + Send + 'static>(out: W) -> (LogWriter, WorkerGuard) {
        let queue = Arc::new(Queue::default());
        let drain =
            Drain { out: io::BufWriter::with_capacity(CHUNK_BYTES, out), queue: queue.clone() };
        let (sender, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(QUEUE_BYTES / MIN_LINE_BYTES)
            .thread_name("lacewing-log")
            .finish(drain);
        (LogWriter { sender, queue }, guard)
    }

    /// Queues one line, its newline included, or drops it.
    pub(super) fn line(&self, line: &[u8]) {
        let cost = cost(line);
        let before = self.queue.waiting_bytes.fetch_add(cost, Ordering::Relaxed);
        if before + cost > QUEUE_BYTES {
            self.queue.waiting_bytes.fetch_sub(cost, Ordering::Relaxed);
            self.queue.dropped_lines.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Infallible: a lossy sender counts what it cannot send.
        let _ = self.sender.clone().write_all(line);
    }

    /// Lines that were dropped since the start.
    pub(super) fn dropped_lines(&self) -> u64 {
        let full = self.sender.error_counter().dropped_lines();
        self.queue.dropped_lines.load(Ordering::Relaxed) + full as u64
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        self.clone()
    }
}

impl<W: Write> Write for Drain<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line)?;
        Ok(line.len())
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let written = self.out.write_all(line);
        self.queue.waiting_bytes.fetch_sub(cost(line), Ordering::Relaxed);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// Lets one write through per permit; fails, as a closed pipe does, when there will be no more.
    struct Gated {
        permits: mpsc::Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.permits.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_over_the_queue_are_dropped_and_counted() {
        let (open, permits) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (writer, guard) = LogWriter::start(Gated { permits, written: written.clone() });
        let line = [&[b'x'; 256 * 1024 - 1][..], b"\n"].concat();
        for _ in 0..100 {
            writer.line(&line);
        }
        assert_eq!(writer.dropped_lines(), 100 - 64);
        drop(open);
        drop(guard);
        assert_eq!(written.lock().unwrap().len(), 64 * line.len());
        assert_eq!(writer.queue.waiting_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn short_lines_are_bounded_by_number() {
        let (open, permits) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (writer, guard) = LogWriter::start(Gated { permits, written: written.clone() });
        // The thread may take up to a chunk before its first write blocks: what it took no longer waits.
        let taken_at_most = CHUNK_BYTES / 2 + 1;
        let sent = 16_384 + taken_at_most + 1;
        for _ in 0..sent {
            writer.line(b"x\n");
        }
        assert!(writer.dropped_lines() >= 1);
        drop(open);
        drop(guard);
        let lines = written.lock().unwrap().len() as u64 / 2;
        assert_eq!(lines + writer.dropped_lines(), sent as u64);
    }
}
