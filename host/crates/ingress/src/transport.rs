//! The bytes of one connection, between the socket and hyper.
//!
//! Here is done what hyper leaves open: a client that does not read, or that does not go on with
//! its next request, is given up, a client that is still sending is waited for before the
//! connection is closed, and hyper's bare answer to bytes that are no request is replaced by a
//! problem document.
//!
//! An HTTP/1 connection sends its output once the other connections of its thread that have
//! something to do have done it: then all of it leaves together. A client, or a proxy, with many
//! connections is woken once and finds many responses, where each would have woken it, and its next
//! requests come together too.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    connection::{Connection, PACE_BYTES},
    frames::{FrameBudget, Sent},
    options::Options,
    patience::{Awaited, AwaitedRequest},
    request_id::RequestId,
    respond,
};

/// The first bytes of an HTTP/2 client (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes that a client whose request was refused may still send before it is cut off.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// The version of HTTP that a client speaks, and the bytes that were read to find out.
#[derive(Debug)]
pub(super) enum Spoken {
    Http1(Prefix),
    Http2(Prefix),
}

/// Bytes that were read from the socket, but not by hyper.
#[derive(Debug)]
pub(super) struct Prefix {
    bytes: [u8; PREFACE.len()],
    given: usize,
    len: usize,
}

/// Reads as much as is needed to tell HTTP/2 from HTTP/1. No method of HTTP/1 begins as the preface
/// does, so that a client is never kept waiting.
pub(super) async fn listen_in(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Spoken> {
    let mut prefix = Prefix { bytes: [0; PREFACE.len()], given: 0, len: 0 };
    while prefix.len < PREFACE.len() {
        let read = socket.read(&mut prefix.bytes[prefix.len..]).await?;
        prefix.len += read;
        if read == 0 || prefix.bytes[..prefix.len] != PREFACE[..prefix.len] {
            return Ok(Spoken::Http1(prefix));
        }
    }
    Ok(Spoken::Http2(prefix))
}

/// Bytes that one connection may read before others on its thread have a turn. A client may send
/// what costs much for each byte.
const QUANTUM_BYTES: usize = 64 * 1024;

/// The HTTP that a connection speaks, and the state of its transport that goes with it.
pub(super) enum Speaks {
    /// One request after the other.
    Http1(AwaitedRequest),
    /// Requests at any time, among other frames.
    Http2(FrameBudget),
}

/// A socket, as hyper gets it.
pub(super) struct Transport<S> {
    socket: S,
    prefix: Prefix,
    speaks: Speaks,
    /// Bytes that were read since others last had a turn.
    quantum_used: usize,
    /// Bytes that the client has taken.
    written_bytes: u64,
    connection: Arc<Connection>,
    options: Arc<Options>,
    /// Runs while the client does not read.
    write_idle: Option<Stalled>,
    /// [`Connection::handed`] when hyper last had nothing left to send.
    flushed: u32,
    /// Whether what there is to send has let others go first, since hyper last had nothing left.
    gathered: bool,
    /// The rest of the answer that replaces hyper's.
    refusal: Option<Bytes>,
    closing: Closing,
}

/// A client that did not take all that was to be sent.
struct Stalled {
    until: Pin<Box<Sleep>>,
    /// The bytes that the transport has taken since.
    taken: usize,
}

/// How far the connection's end has come.
enum Closing {
    /// Our side is still open.
    No,
    /// Our side is closed, and what the client sends is thrown away until it closes its own.
    Lingering { until: Pin<Box<Sleep>>, bytes_left: usize },
    /// Over.
    Done,
}

impl<S> Transport<S> {
    pub(super) fn new(
        socket: S,
        prefix: Prefix,
        speaks: Speaks,
        connection: Arc<Connection>,
        options: Arc<Options>,
    ) -> Transport<S> {
        Transport {
            socket,
            prefix,
            speaks,
            quantum_used: 0,
            written_bytes: 0,
            connection,
            options,
            write_idle: None,
            flushed: 0,
            gathered: false,
            refusal: None,
            closing: Closing::No,
        }
    }

    /// Turns a write that does not end, or not in a reasonable time, into an error. `bytes` says
    /// how many of a write were taken; a flush takes none.
    ///
    /// A client that has once let us wait has to take [`PACE_BYTES`], or all there is, in each
    /// [`Options::write_idle`]: one that reads a byte now and then holds a response as long as
    /// one that reads nothing.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<T>>,
        bytes: impl Fn(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        let after = self.options.write_idle;
        match (&wrote, &mut self.write_idle) {
            (Poll::Ready(Ok(value)), Some(stalled)) => {
                stalled.taken = stalled.taken.saturating_add(bytes(value));
                if stalled.taken as u64 >= PACE_BYTES {
                    self.write_idle = None;
                }
                return wrote;
            }
            (Poll::Ready(_), _) => return wrote,
            (Poll::Pending, _) => {}
        }
        let stalled = self.write_idle.get_or_insert_with(|| Stalled {
            until: Box::pin(sleep_until(Instant::now() + after)),
            taken: 0,
        });
        ready!(stalled.until.as_mut().poll(cx));
        let text = format!("the client read less than it should for {} ms", after.as_millis());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }

    /// The answer instead of `bytes`, if those are hyper's own answer to something that is no
    /// request.
    ///
    /// They are its own if it was handed nothing since it last had nothing left to send; else they
    /// are, or might be, a function's.
    fn replace(&mut self, bytes: &[u8]) -> Option<Bytes> {
        if self.connection.handed() != self.flushed
            || !bytes.starts_with(b"HTTP/1.")
            || bytes.get(8..10) != Some(b" 4")
        {
            return None;
        }
        let bare = std::str::from_utf8(bytes).ok()?;
        let status = bare.get(9..12)?.parse().ok()?;
        let request_id = RequestId::generate();
        let (problem, refusal) = respond::refusal(bare, status, &request_id, &self.options);
        self.connection.refuse(problem, request_id);
        Some(refusal)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Transport<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let prefix = &mut this.prefix;
        if prefix.given < prefix.len {
            let from = prefix.given;
            prefix.given = prefix.len.min(from + into.remaining());
            into.put_slice(&prefix.bytes[from..prefix.given]);
            return Poll::Ready(Ok(()));
        }
        if this.quantum_used >= QUANTUM_BYTES {
            this.quantum_used = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = into.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(cx, into);
        let bytes = &into.filled()[before..];
        this.quantum_used = if read.is_ready() { this.quantum_used + bytes.len() } else { 0 };
        let awaited = match &mut this.speaks {
            Speaks::Http1(awaited) => awaited,
            Speaks::Http2(frames) => {
                let sent = Sent { pieces: this.connection.handed(), bytes: this.written_bytes };
                return match frames.read(bytes, sent, || Instant::now().into_std()) {
                    Ok(()) => read,
                    Err(flood) => Poll::Ready(Err(io::Error::other(flood))),
                };
            }
        };
        if !this.connection.awaits_request(this.flushed) {
            return read;
        }
        if read.is_ready() {
            awaited.read(this.connection.requests());
            return read;
        }
        match ready!(awaited.poll_over(cx, this.connection.requests())) {
            // As if the client had gone.
            Awaited::Idle => Poll::Ready(Ok(())),
            Awaited::Head => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no request within {} ms", this.options.header_timeout.as_millis()),
            ))),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let is_http1 = matches!(this.speaks, Speaks::Http1(_));
        if !this.gathered && is_http1 && !this.connection.breaks_off() {
            this.gathered = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.refusal.is_none()
            && let [only] = slices
        {
            this.refusal = this.replace(only);
        }
        while let Some(refusal) = &mut this.refusal {
            if refusal.is_empty() {
                this.refusal = None;
                return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
            }
            let wrote = Pin::new(&mut this.socket).poll_write(cx, refusal);
            if let Poll::Ready(Ok(bytes)) = wrote {
                refusal.advance(bytes);
            }
            match ready!(this.watch(cx, wrote, |bytes| *bytes)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let wrote = Pin::new(&mut this.socket).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(bytes)) = wrote {
            this.written_bytes += bytes as u64;
            this.connection.note_sent(this.written_bytes);
        }
        this.watch(cx, wrote, |bytes| *bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.flushed = this.connection.handed();
        this.gathered = false;
        let flushed = Pin::new(&mut this.socket).poll_flush(cx);
        // hyper does not always read once it has sent a response: the wait for the next request
        // begins here. A connection that is being closed has no next request, and reads
        // nothing: to be woken would have it flush again, without end.
        if flushed.is_ready()
            && matches!(this.closing, Closing::No)
            && this.connection.awaits_request(this.flushed)
            && let Speaks::Http1(awaited) = &mut this.speaks
            && awaited.poll_over(cx, this.connection.requests()).is_ready()
        {
            cx.waker().wake_by_ref();
        }
        // Nothing is left to send.
        this.watch(cx, flushed, |()| usize::MAX)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.closing {
                Closing::No => {
                    let shut = Pin::new(&mut this.socket).poll_shutdown(cx);
                    ready!(this.watch(cx, shut, |()| usize::MAX))?;
                    this.closing = if this.connection.client_may_be_sending() {
                        let until = Instant::now() + this.options.close_linger;
                        let until = Box::pin(sleep_until(until));
                        Closing::Lingering { until, bytes_left: LINGER_BYTES }
                    } else {
                        Closing::Done
                    };
                }
                Closing::Lingering { until, bytes_left } => {
                    if until.as_mut().poll(cx).is_pending() && *bytes_left > 0 {
                        let read = ready!(discard(Pin::new(&mut this.socket), cx)).unwrap_or(0);
                        *bytes_left = bytes_left.saturating_sub(read);
                        if read > 0 {
                            continue;
                        }
                    }
                    this.closing = Closing::Done;
                }
                Closing::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// Reads some bytes and forgets them. 0 at the end.
fn discard(socket: Pin<&mut impl AsyncRead>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut bytes = [0; 4096];
    let mut into = ReadBuf::new(&mut bytes);
    ready!(socket.poll_read(cx, &mut into))?;
    Poll::Ready(Ok(into.filled().len()))
}
