//! An in-memory connection between the host and a peer that a fuzzer plays.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that either direction holds. They are allocated with the pipe, so that no account of the
/// host's is charged for them.
const CAPACITY: usize = 64 * 1024;

/// The host's end, as a socket.
pub(crate) struct HostEnd(Arc<Mutex<Wires>>);

/// The peer's end. None of its calls waits.
#[derive(Clone)]
pub(crate) struct PeerEnd(Arc<Mutex<Wires>>);

struct Wires {
    to_host: Wire,
    to_peer: Wire,
    /// Reads, writes and flushes that the host tried, polls of its task, and how many of all of
    /// these there may be.
    work: u64,
    most_work: u64,
}

struct Wire {
    bytes: VecDeque<u8>,
    /// Whether nothing follows these bytes.
    ended: bool,
    /// Whether its reader is gone.
    deaf: bool,
    /// The host's task that waits for this wire.
    waiting: Option<Waker>,
    /// Bytes that went in so far.
    total: usize,
}

impl Wire {
    fn new() -> Wire {
        let bytes = VecDeque::with_capacity(CAPACITY);
        Wire { bytes, ended: false, deaf: false, waiting: None, total: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(CAPACITY - self.bytes.len());
        self.bytes.extend(&bytes[..taken]);
        self.total += taken;
        taken
    }

    fn wake(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }
}

pub(crate) fn pair() -> (PeerEnd, HostEnd) {
    let wires = Wires { to_host: Wire::new(), to_peer: Wire::new(), work: 0, most_work: 0 };
    let wires = Arc::new(Mutex::new(wires));
    (PeerEnd(wires.clone()), HostEnd(wires))
}

fn lock(wires: &Mutex<Wires>) -> MutexGuard<'_, Wires> {
    wires.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PeerEnd {
    /// Sends as much as there is room for. Returns how much that is.
    pub(crate) fn give(&self, bytes: &[u8]) -> usize {
        let wire = &mut lock(&self.0).to_host;
        if wire.ended || wire.deaf {
            return 0;
        }
        let taken = wire.put(bytes);
        wire.wake();
        taken
    }

    /// Reads what there is, up to `count` bytes.
    pub(crate) fn take(&self, count: usize) -> Vec<u8> {
        let wire = &mut lock(&self.0).to_peer;
        let count = count.min(wire.bytes.len());
        let taken = wire.bytes.drain(..count).collect();
        wire.wake();
        taken
    }

    /// Sends nothing more.
    pub(crate) fn end(&self) {
        let wire = &mut lock(&self.0).to_host;
        wire.ended = true;
        wire.wake();
    }

    /// Neither sends nor reads any more.
    pub(crate) fn close(&self) {
        self.end();
        let wire = &mut lock(&self.0).to_peer;
        wire.deaf = true;
        wire.wake();
    }

    /// Bytes that the host has read.
    pub(crate) fn read_by_host(&self) -> usize {
        let wire = &lock(&self.0).to_host;
        wire.total - wire.bytes.len()
    }

    /// Bytes that the host has read and written.
    pub(crate) fn moved(&self) -> usize {
        self.read_by_host() + lock(&self.0).to_peer.total
    }

    /// Lets the host work so much more.
    pub(crate) fn allow(&self, work: u64) {
        lock(&self.0).most_work += work;
    }

    /// Counts a poll of the host's task, and looks whether the host works too much.
    pub(crate) fn note_poll(&self) {
        let moved = self.moved() as u64;
        let mut wires = lock(&self.0);
        wires.work += 1;
        let (work, most) = (wires.work, wires.most_work + moved / 2);
        drop(wires);
        assert!(work <= most, "{work} polls, reads and writes for {moved} bytes");
    }
}

impl AsyncRead for HostEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wires = lock(&self.0);
        wires.work += 1;
        let wire = &mut wires.to_host;
        if wire.bytes.is_empty() && !wire.ended {
            wire.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = into.remaining().min(wire.bytes.len());
        for part in [wire.bytes.as_slices().0, wire.bytes.as_slices().1] {
            into.put_slice(&part[..part.len().min(into.remaining())]);
        }
        wire.bytes.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HostEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wires = lock(&self.0);
        wires.work += 1;
        let wire = &mut wires.to_peer;
        if wire.deaf || wire.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if wire.bytes.len() == CAPACITY && !bytes.is_empty() {
            wire.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(wire.put(bytes)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).work += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).to_peer.ended = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for HostEnd {
    fn drop(&mut self) {
        let mut wires = lock(&self.0);
        wires.to_peer.ended = true;
        wires.to_host.deaf = true;
        // A waker keeps its task's memory.
        let wakers = (wires.to_peer.waiting.take(), wires.to_host.waiting.take());
        drop(wires);
        drop(wakers);
    }
}
