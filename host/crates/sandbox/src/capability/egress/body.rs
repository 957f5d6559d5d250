//! Bodies of outbound requests and responses: counted, and not waited for without end.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, Sleep, sleep},
};
use wasmtime_wasi_http::{Error as Code, WasiBody};

use super::error::{BodyDirection, EgressError, http_code};

/// The bytes that one invocation may send and receive in bodies, over all its requests.
#[derive(Debug)]
pub(super) struct ByteBudget {
    limit_bytes: u64,
    used_bytes: AtomicU64,
}

impl ByteBudget {
    pub(super) fn new(limit_bytes: u64) -> ByteBudget {
        ByteBudget { limit_bytes, used_bytes: AtomicU64::new(0) }
    }

    fn charge(&self, frame: &Frame<Bytes>, direction: BodyDirection) -> Result<(), EgressError> {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limit_bytes {
            return Err(EgressError::TooManyBytes { limit_bytes: self.limit_bytes, direction });
        }
        Ok(())
    }
}

/// Called with an error that ends a body and that the function's author should see.
pub(super) type Report = Arc<dyn Fn(&EgressError) + Send + Sync>;

/// A guest's request body on its way out.
pub(super) struct OutboundRequestBody {
    inner: WasiBody,
    /// The beginning, which was taken out before the request's head is sent.
    ahead: VecDeque<Frame<Bytes>>,
    /// How the body ended, where that was seen ahead.
    ended: Option<Result<(), Code>>,
    budget: Arc<ByteBudget>,
    report: Report,
}

/// The pieces that are looked at before a request's head is sent: one, and whether another one
/// follows.
const PIECES_AHEAD: usize = 2;

impl OutboundRequestBody {
    pub(super) fn new(
        inner: WasiBody,
        budget: Arc<ByteBudget>,
        report: Report,
    ) -> OutboundRequestBody {
        OutboundRequestBody { inner, ahead: VecDeque::new(), ended: None, budget, report }
    }

    /// Takes out what is there of the beginning, so that a body that has ended by now has a length.
    /// Waits for nothing: a guest may want to see the response before it writes.
    pub(super) fn look_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ahead.len() < PIECES_AHEAD && self.ended.is_none() {
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => self.ahead.push_back(frame),
                Poll::Ready(Some(Err(error))) => self.ended = Some(Err(error)),
                Poll::Ready(None) => self.ended = Some(Ok(())),
                Poll::Pending => break,
            }
        }
        Poll::Ready(())
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Code>>> {
        if let Some(frame) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.ended {
            None => Pin::new(&mut self.inner).poll_frame(cx),
            Some(ended) => Poll::Ready(std::mem::replace(ended, Ok(())).err().map(Err)),
        }
    }
}

impl Body for OutboundRequestBody {
    type Data = Bytes;
    type Error = Code;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Code>>> {
        let frame = match ready!(self.poll_piece(cx)) {
            Some(Ok(frame)) => frame,
            end_or_error => return Poll::Ready(end_or_error),
        };
        Poll::Ready(Some(match self.budget.charge(&frame, BodyDirection::Sent) {
            Ok(()) => Ok(frame),
            Err(error) => {
                (self.report)(&error);
                Err(error.code())
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        let ended = match &self.ended {
            None => self.inner.is_end_stream(),
            Some(ended) => ended.is_ok(),
        };
        ended && self.ahead.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.iter().map(|frame| frame.data_ref().map(|data| data.len() as u64));
        // Trailers go with chunks only.
        let ahead: Option<u64> = ahead.sum();
        let rest = match &self.ended {
            None => self.inner.size_hint().exact(),
            Some(Ok(())) => Some(0),
            Some(Err(_)) => None,
        };
        match ahead.zip(rest) {
            Some((ahead, rest)) => SizeHint::with_exact(ahead + rest),
            None => SizeHint::default(),
        }
    }
}

/// A request's places among those of its invocation, its tenant and the host. Free when the last of
/// its holders is gone.
pub(super) type ConnectionPlaces = Arc<[OwnedSemaphorePermit; 3]>;

/// Says to a connection that its response is still read.
pub(super) struct Reading {
    pub(super) _connection: oneshot::Sender<Infallible>,
    /// The unread rest of a closed connection is in memory.
    pub(super) _places: ConnectionPlaces,
}

/// A response body on its way in. Its end, or its being dropped, is its connection's.
pub(super) struct ResponseBody {
    inner: Incoming,
    budget: Arc<ByteBudget>,
    report: Report,
    between_bytes: Duration,
    /// Runs while the guest waits, not while it is the guest that does not read.
    timer: Pin<Box<Sleep>>,
    waiting: bool,
    reading: Option<Reading>,
}

impl ResponseBody {
    pub(super) fn new(
        inner: Incoming,
        budget: Arc<ByteBudget>,
        report: Report,
        between_bytes: Duration,
        reading: Reading,
    ) -> ResponseBody {
        let timer = Box::pin(sleep(between_bytes));
        let reading = Some(reading);
        ResponseBody { inner, budget, report, between_bytes, timer, waiting: false, reading }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Code> {
        if !self.waiting {
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.between_bytes);
        }
        self.timer.as_mut().poll(cx).map(|()| Code::ConnectionReadTimeout)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Code;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Code>>> {
        let Poll::Ready(next) = Pin::new(&mut self.inner).poll_frame(cx) else {
            return self.poll_timer(cx).map(|code| Some(Err(code)));
        };
        self.waiting = false;
        let result = match next {
            Some(Ok(frame)) => match self.budget.charge(&frame, BodyDirection::Received) {
                Ok(()) => Some(Ok(frame)),
                Err(error) => {
                    (self.report)(&error);
                    Some(Err(error.code()))
                }
            },
            Some(Err(error)) => Some(Err(http_code(&error))),
            None => None,
        };
        if !matches!(result, Some(Ok(_))) {
            self.reading = None;
        }
        Poll::Ready(result)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
