//! A bound on what a server sends before the head of its response is there.
//!
//! hyper reads over interim responses (RFC 9110, section 15.2) and limits the size of one head, not
//! their number. A server could keep its client at work without end. So all bytes that come before
//! the final head count against one bound.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The server sent more than the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {bytes} bytes came before the response's head was complete, interim responses included"
)]
pub(super) struct HeadTooLong {
    bytes: usize,
}

/// Tells a connection that the head of the response has come.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadArrived(Arc<AtomicBool>);

impl HeadArrived {
    pub(super) fn set(&self) {
        self.0.store(true, Relaxed);
    }
}

/// A connection that fails when too much came before a head.
pub(super) struct HeadBound<S> {
    stream: S,
    limit_bytes: usize,
    read_bytes: usize,
    arrived: HeadArrived,
}

impl<S> HeadBound<S> {
    /// `limit_bytes` include what is read ahead of the body.
    pub(super) fn new(stream: S, limit_bytes: usize, arrived: HeadArrived) -> HeadBound<S> {
        HeadBound { stream, limit_bytes, read_bytes: 0, arrived }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadBound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
        if this.arrived.0.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        this.read_bytes = this.read_bytes.saturating_add(into.filled().len() - before);
        if this.read_bytes <= this.limit_bytes {
            return Poll::Ready(Ok(()));
        }
        let error = HeadTooLong { bytes: this.limit_bytes };
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadBound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
