//! The way of every log line to stderr: bounded queues and one thread, so that a slow reader of the
//! log never slows an invocation, and a tenant that logs all it may takes no line from others.
//!
//! ```text
//!   guests' lines        12 MiB, shared by tenants --+
//!   invocation records    4 MiB, shared by tenants --+--> one thread --> stderr
//!   unrouted requests     in that, as a tenant's ----+
//!   the host's own lines  in that, as a tenant's ----+
//! ```
//!
//! A line that does not fit is dropped and counted. Of each part no tenant has more than four times
//! what is free, times its weight ([`Budget`]), so that there is always room for another one's.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use lacewing_base::{
    account::LineShares,
    budget::{Budget, Lease, Share},
    fair::Weight,
};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of guests' lines that wait to be written, at most. 12 MiB: a third of a second of a busy
/// host's log.
const GUESTS_BYTES: u64 = 12 * 1024 * 1024;
/// The same of records, and of the host's own lines.
const RECORDS_BYTES: u64 = 4 * 1024 * 1024;
/// The charge for a line besides its bytes: its place in the queue. It makes the bound a bound on
/// lines too.
const LINE_BYTES: u64 = 256;
/// Lines are written to stderr in chunks of this many bytes, or as soon as none waits.
const CHUNK_BYTES: usize = 64 * 1024;
/// How long the end of the log is waited for: 2 s, in which any reader that is still there has
/// taken the last lines.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The owner of a line.
#[derive(Clone, Copy, Debug)]
pub(super) enum LineOwner<'a> {
    /// A tenant, for the output of a guest.
    Guest(&'a LineShares),
    /// A tenant, for the record of an invocation.
    Record(&'a LineShares),
    /// The client of a request that reached no function: clients can make any number.
    Unrouted,
    /// The host.
    Host,
}

/// The bytes of lines that may wait, which all tenants share.
#[derive(Clone, Debug)]
pub(super) struct LineBudgets {
    guests: Arc<Budget>,
    records: Arc<Budget>,
}

impl Default for LineBudgets {
    fn default() -> LineBudgets {
        LineBudgets { guests: Budget::new(GUESTS_BYTES), records: Budget::new(RECORDS_BYTES) }
    }
}

impl LineBudgets {
    pub(super) fn shares(&self, weight: &Weight) -> LineShares {
        LineShares { guests: self.guests.share(weight), records: self.records.share(weight) }
    }
}

/// A handle on the queue. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct LogWriter {
    sender: Sender<WriterMessage>,
    queue: Arc<LineQueue>,
}

#[derive(Debug)]
struct LineQueue {
    budgets: LineBudgets,
    unrouted: Arc<Share>,
    host: Arc<Share>,
    /// A share of the guests' part for a tenant that is not deployed yet, so that a first tenant
    /// leaves room.
    _newcomer: Arc<Share>,
    dropped_lines: AtomicU64,
}

#[derive(Debug)]
enum WriterMessage {
    Line { bytes: Box<[u8]>, waiting: Lease },
    End,
}

/// Dropping it waits, for [`LAST_WORDS`] at most, until what is queued is written.
#[derive(Debug)]
pub(super) struct Guard {
    sender: Sender<WriterMessage>,
    ended: Receiver<()>,
}

impl LineQueue {
    fn new() -> LineQueue {
        let (budgets, one) = (LineBudgets::default(), Weight::new(1));
        let (unrouted, host) = (budgets.records.share(&one), budgets.records.share(&one));
        let _newcomer = budgets.guests.share(&one);
        LineQueue { budgets, unrouted, host, _newcomer, dropped_lines: AtomicU64::new(0) }
    }

    fn share<'a>(&'a self, owner: LineOwner<'a>) -> &'a Arc<Share> {
        match owner {
            LineOwner::Guest(tenant) => &tenant.guests,
            LineOwner::Record(tenant) => &tenant.records,
            LineOwner::Unrouted => &self.unrouted,
            LineOwner::Host => &self.host,
        }
    }
}

impl LogWriter {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(super) fn start<W: Write + Send + 'static>(out: W) -> io::Result<(LogWriter, Guard)> {
        let (sender, receiver) = channel();
        let (ending, ended) = channel();
        std::thread::Builder::new().name("lacewing-log".to_owned()).spawn(move || {
            write(receiver, io::BufWriter::with_capacity(CHUNK_BYTES, out));
            // The caller may not be waiting.
            let _ = ending.send(());
        })?;
        let guard = Guard { sender: sender.clone(), ended };
        Ok((LogWriter { sender, queue: Arc::new(LineQueue::new()) }, guard))
    }

    /// Queues one line, its newline included, or drops it.
    pub(super) fn line(&self, owner: LineOwner<'_>, line: &[u8]) {
        let mut waiting = self.queue.share(owner).lease();
        let sent = waiting.grow(line.len() as u64 + LINE_BYTES).is_ok()
            && self.sender.send(WriterMessage::Line { bytes: line.into(), waiting }).is_ok();
        if !sent {
            self.queue.dropped_lines.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The budgets of the lines that wait.
    pub(super) fn budgets(&self) -> &LineBudgets {
        &self.queue.budgets
    }

    /// Lines that were dropped since the start.
    pub(super) fn dropped_lines(&self) -> u64 {
        self.queue.dropped_lines.load(Ordering::Relaxed)
    }
}

/// Writes until the end is said, or all senders are gone: then lines are no longer taken. A line
/// that cannot be written is lost, because no reader is left to tell.
fn write(lines: Receiver<WriterMessage>, mut out: impl Write) {
    let mut next = lines.recv().ok();
    while let Some(WriterMessage::Line { bytes, waiting }) = next.take() {
        let _ = out.write_all(&bytes);
        drop(waiting);
        next = lines.try_recv().ok().or_else(|| {
            let _ = out.flush();
            lines.recv().ok()
        });
    }
    // A thread that logged while the end was said.
    for message in lines.try_iter() {
        if let WriterMessage::Line { bytes, .. } = message {
            let _ = out.write_all(&bytes);
        }
    }
    let _ = out.flush();
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.sender.send(WriterMessage::End).is_ok() {
            let _ = self.ended.recv_timeout(LAST_WORDS);
        }
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(LineOwner::Host, line);
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

#[cfg(test)]
mod tests;
