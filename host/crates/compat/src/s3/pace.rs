//! The pace of a client that sends a body or takes a response.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use s3s::StdError;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::places::Requests;

/// Bytes that a client which lets the host wait moves in [`Pace::pause`], unless fewer are left. A
/// client that moves one byte now and then holds its place as long as one that moves none.
const PACE_BYTES: usize = 16 << 10;

/// The time in which all of a body has to come that the host has in memory until its end.
pub(super) const WHOLE_TIME: Duration = Duration::from_secs(30);

/// The time for which a socket reads on that has sent its last byte. To close a socket with bytes
/// that were not read resets the connection, and a client that still sends loses its answer
/// (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(5);

/// Bytes that such a socket reads, and drops.
const LINGER_BYTES: usize = 4 << 20;

/// The wait for a client.
struct Pace {
    pause: Duration,
    waiting: Option<Waiting>,
}

struct Waiting {
    until: Pin<Box<Sleep>>,
    /// Bytes that the client has moved since.
    bytes: usize,
}

impl Pace {
    fn new(pause: Duration) -> Pace {
        Pace { pause, waiting: None }
    }

    /// Waits on for the client, and fails once it is too slow. `bytes` says how many it moved.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<T>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(moved) = polled {
            if let Some(waiting) = &mut self.waiting {
                waiting.bytes = waiting.bytes.saturating_add(bytes(&moved));
            }
            self.waiting.take_if(|waiting| waiting.bytes >= PACE_BYTES);
            return Poll::Ready(Ok(moved));
        }
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            until: Box::pin(sleep_until(Instant::now() + self.pause)),
            bytes: 0,
        });
        ready!(waiting.until.as_mut().poll(cx));
        let text = format!("the client moved less than it should for {} s", self.pause.as_secs());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

/// A socket whose client has to read.
pub(super) struct PacedSocket {
    socket: TcpStream,
    pace: Pace,
    requests: Requests,
    /// Set when the last byte was sent.
    lingering: Option<Lingering>,
}

/// The bounds of a socket that reads on.
struct Lingering {
    until: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl Lingering {
    fn begin() -> Lingering {
        let until = Box::pin(sleep_until(Instant::now() + LINGER));
        Lingering { until, bytes_left: LINGER_BYTES }
    }

    /// Reads and drops bytes until the client closes, or a bound is reached.
    fn poll_end(&mut self, socket: &mut TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        let mut dropped = [0; 8192];
        loop {
            let mut into = ReadBuf::new(&mut dropped);
            match Pin::new(&mut *socket).poll_read(cx, &mut into) {
                Poll::Pending => return self.until.as_mut().poll(cx),
                Poll::Ready(read) => {
                    let bytes = into.filled().len();
                    self.bytes_left = self.bytes_left.saturating_sub(bytes);
                    if read.is_err() || bytes == 0 || self.bytes_left == 0 {
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

impl PacedSocket {
    pub(super) fn new(socket: TcpStream, pause: Duration, requests: Requests) -> PacedSocket {
        PacedSocket { socket, pace: Pace::new(pause), requests, lingering: None }
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let bytes = |written: &io::Result<usize>| written.as_ref().map_or(0, |bytes| *bytes);
        self.pace.watch(cx, polled, bytes).map(|watched| watched?)
    }
}

impl AsyncRead for PacedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl AsyncWrite for PacedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.socket).poll_flush(cx));
        // The system has taken all that there was.
        self.pace.waiting = None;
        self.requests.note_sent();
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let PacedSocket { socket, lingering, .. } = &mut *self;
        if lingering.is_none() {
            ready!(Pin::new(&mut *socket).poll_shutdown(cx))?;
        }
        lingering.get_or_insert_with(Lingering::begin).poll_end(socket, cx).map(Ok)
    }
}

/// The bounds of a body in time, and whether its client was late.
#[derive(Default)]
pub(super) struct BodyWatch {
    is_whole: AtomicBool,
    is_late: AtomicBool,
}

impl BodyWatch {
    /// All of the body has to come within [`WHOLE_TIME`] from now on.
    pub(super) fn begin_whole(&self) {
        self.is_whole.store(true, Relaxed);
    }

    /// Whether the client was too slow.
    pub(super) fn is_late(&self) -> bool {
        self.is_late.load(Relaxed)
    }
}

/// The body of a request whose client has to send.
pub(super) struct PacedBody {
    body: Incoming,
    pace: Pace,
    /// The time by which all of it has to be there.
    whole_by: Option<Pin<Box<Sleep>>>,
    watch: Arc<BodyWatch>,
}

impl PacedBody {
    pub(super) fn new(body: Incoming, pause: Duration, watch: Arc<BodyWatch>) -> PacedBody {
        PacedBody { body, pace: Pace::new(pause), whole_by: None, watch }
    }

    /// Whether the time is over in which all of the body has to come.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.watch.is_whole.load(Relaxed) {
            return false;
        }
        let begin = || Box::pin(sleep_until(Instant::now() + WHOLE_TIME));
        self.whole_by.get_or_insert_with(begin).as_mut().poll(cx).is_ready()
    }

    fn late(&self, error: io::Error) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        self.watch.is_late.store(true, Relaxed);
        Poll::Ready(Some(Err(error.into())))
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() && self.is_over(cx) {
            let text = format!("the body did not come within {} s", WHOLE_TIME.as_secs());
            return self.late(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        let bytes = |frame: &Option<Result<Frame<Bytes>, hyper::Error>>| {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            data.map_or(0, Bytes::len)
        };
        match ready!(self.pace.watch(cx, polled, bytes)) {
            Ok(frame) => Poll::Ready(frame.map(|frame| frame.map_err(StdError::from))),
            Err(error) => self.late(error),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
