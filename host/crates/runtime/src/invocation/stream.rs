//! The bodies of an invocation that streams: what the client sends, what the guest answers, and
//! what is seen of both.
//!
//! ```text
//!   client --RequestBody--> guest --Outlet--> GuestBody --> client
//!              |                      |           |
//!              +--> Progress <--------+-----------+     bytes, and why the guest is to be stopped
//! ```
//!
//! Wasmtime cannot tell a body that its guest has finished from one whose store went away: both
//! just end. So before a store goes, its body is settled: what the guest had written is taken out,
//! and it is noted whether that was all.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use futures_util::future::AbortHandle;
use http::header::{CONTENT_LENGTH, TRAILER};
use http_body::{Body as _, Frame, SizeHint};
use lacewing_base::{
    Limits,
    body::{BodyError, CutShort, FREE_BYTES, RequestStream, ResponseStream},
    budget::{Lease, Share},
    fields::{Direction, strip},
};
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::Notify, task::unconstrained};

use super::headers::Excess;

/// How much of a body that nobody gets is taken all the same, in bytes: most pages, which then need
/// not be written for the case, and no more than a moment's CPU time.
const DISCARDED_BYTES: usize = 1 << 20;

/// The pieces of a body for which a head is held back: one, and whether another one follows.
const PIECES_AHEAD: usize = 2;

/// The progress of an invocation's bodies; shared with the task that runs the guest.
#[derive(Debug, Default)]
pub(super) struct BodyProgress {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    stop: OnceLock<StreamStop>,
    stopped: Notify,
}

/// Why a guest is stopped because of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StreamStop {
    /// Its response has more bytes than its limit.
    ResponseTooLarge,
    /// Its trailers are more than a header of its function's may be.
    TrailersTooLarge(Excess),
    /// The body of its response ended before its end, and nothing but the guest is to blame for
    /// that.
    Broken(CutShort),
    /// The request's body did not come to its end.
    Request(BodyError),
    /// The reader of its response is gone.
    ReaderGone,
    /// The host has no room for what is left of its response.
    NoRoom,
}

impl BodyProgress {
    pub(super) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    pub(super) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// Asks whoever runs the guest to stop it. The first reason counts.
    fn stop(&self, reason: StreamStop) {
        if self.stop.set(reason).is_ok() {
            self.stopped.notify_one();
        }
    }

    /// The reason to stop the guest, if there is one.
    pub(super) fn reason(&self) -> Option<&StreamStop> {
        self.stop.get()
    }

    /// Whether nobody reads the response any more.
    pub(super) fn reader_is_gone(&self) -> bool {
        self.reason() == Some(&StreamStop::ReaderGone)
    }

    /// Comes with the reason to stop the guest. For one waiter.
    pub(super) async fn stopped(&self) -> &StreamStop {
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            self.stopped.notified().await;
        }
    }
}

/// The body of a request on its way to the guest. One that fails ends the invocation, and the guest
/// does not hear of it: what it made of half a body would be nobody's answer.
pub(super) struct GuestRequestBody {
    body: RequestStream,
    progress: Arc<BodyProgress>,
}

impl GuestRequestBody {
    pub(super) fn new(body: RequestStream, progress: Arc<BodyProgress>) -> GuestRequestBody {
        GuestRequestBody { body, progress }
    }
}

impl http_body::Body for GuestRequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.progress.reason().is_some() {
            return Poll::Pending;
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                // As from the header: what only the host may say is not a client's to say.
                if let Some(trailers) = frame.trailers_mut() {
                    strip(trailers, Direction::Request);
                }
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.progress.bytes_in.fetch_add(bytes, Ordering::Relaxed);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.progress.stop(StreamStop::Request(error));
                Poll::Pending
            }
            end_or_pending => end_or_pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response, where the guest's end and the connection's meet.
#[derive(Debug)]
pub(super) struct Outlet {
    state: Mutex<OutletState>,
    progress: Arc<BodyProgress>,
    /// The bytes that the body is to have, where the guest has said so.
    declared: Option<u64>,
    limit_bytes: u64,
    trailer_fields: u32,
    trailer_bytes: u32,
    /// Charged for what is left of the body when its guest is gone.
    bodies: Arc<Share>,
}

#[derive(Debug)]
enum OutletState {
    /// The guest may still write. The first pieces were taken out if the head was held back for
    /// that.
    Open { body: ResponseStream, ahead: VecDeque<Frame<Bytes>>, reader: Option<Waker> },
    /// The guest is gone; this is what it left.
    Settled { rest: VecDeque<Frame<Bytes>>, failed: Option<CutShort>, _charged: Option<Lease> },
    /// The reader is gone.
    Closed,
}

impl OutletState {
    /// The body has ended, or broke off. The reader is still to get `rest`, and to be told of
    /// `failed`.
    fn ended(rest: VecDeque<Frame<Bytes>>, failed: Option<CutShort>) -> OutletState {
        OutletState::Settled { rest, failed, _charged: None }
    }
}

impl Outlet {
    pub(super) fn new(
        body: ResponseStream,
        progress: Arc<BodyProgress>,
        declared: Option<u64>,
        limit_bytes: u64,
        limits: &Limits,
        bodies: Arc<Share>,
    ) -> Outlet {
        Outlet {
            state: Mutex::new(OutletState::Open { body, ahead: VecDeque::new(), reader: None }),
            progress,
            declared,
            limit_bytes,
            trailer_fields: limits.headers,
            trailer_bytes: limits.header_bytes,
            bodies,
        }
    }

    /// Takes out what the guest has written, while its store is still there, and says whether that
    /// is all of it. At most a few pieces: a guest waits for its reader.
    pub(super) async fn settle(&self) -> bool {
        // The pieces are there or not; the runtime's budget for this task must not hide them.
        let complete = unconstrained(poll_fn(|cx| Poll::Ready(self.settle_now(cx)))).await;
        complete && !matches!(self.progress.reason(), Some(StreamStop::Broken(_)))
    }

    /// Comes when the body goes on after its first piece, or has ended. Never, if the body breaks
    /// off before that: the task that runs the guest is told. To be asked before there is a
    /// reader.
    pub(super) async fn begun(&self) {
        poll_fn(|cx| {
            let mut state = self.lock();
            loop {
                let OutletState::Open { body, ahead, .. } = &mut *state else {
                    return Poll::Ready(());
                };
                let failed = match ready!(self.poll_next(body, cx)) {
                    Some(Ok(frame)) => {
                        ahead.push_back(frame);
                        if ahead.len() < PIECES_AHEAD {
                            continue;
                        }
                        return Poll::Ready(());
                    }
                    Some(Err(error)) => Some(error),
                    None => None,
                };
                let breaks_off = failed.is_some();
                *state = OutletState::ended(std::mem::take(ahead), failed);
                return if breaks_off { Poll::Pending } else { Poll::Ready(()) };
            }
        })
        .await;
    }

    /// Makes the pieces that are left all of the body, although its guest has not finished it. To
    /// be asked once it is settled.
    pub(super) fn end_here(&self) {
        if let OutletState::Settled { failed, .. } = &mut *self.lock() {
            *failed = None;
        }
    }

    /// The next piece that the guest has written, checked. A body that breaks off ends its guest.
    fn poll_next(
        &self,
        body: &mut ResponseStream,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let piece = match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => self.checked(frame).map(Some),
            Some(Err(error)) => Err(error),
            None => self.check_length().map(|()| None),
        };
        Poll::Ready(piece.transpose().inspect(|piece| {
            if let Err(error) = piece {
                self.progress.stop(StreamStop::Broken(error.clone()));
            }
        }))
    }

    /// Whether the body, which ends here, is as long as its head says. wasi:http may lose the error
    /// of a body that is too short.
    fn check_length(&self) -> Result<(), CutShort> {
        let bytes = self.progress.bytes_out();
        match self.declared.filter(|declared| *declared != bytes) {
            Some(declared) => Err(CutShort(format!(
                "its content-length is {declared}, and its body has {bytes} bytes"
            ))),
            None => Ok(()),
        }
    }

    fn settle_now(&self, cx: &mut Context<'_>) -> bool {
        let mut state = self.lock();
        let OutletState::Open { body, ahead, reader } = &mut *state else { return true };
        let (mut rest, reader) = (std::mem::take(ahead), reader.take());
        let failed = loop {
            match self.poll_next(body, cx) {
                Poll::Ready(Some(Ok(frame))) => rest.push_back(frame),
                Poll::Ready(Some(Err(error))) => break Some(error),
                Poll::Ready(None) => break None,
                Poll::Pending => break Some(CutShort("it was not finished".to_owned())),
            }
        };
        let (rest, failed, charged) = self.charged(rest, failed);
        let complete = failed.is_none();
        *state = OutletState::Settled { rest, failed, _charged: charged };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        complete
    }

    /// Charges for what is left of a body. Where there is no room for it, the body is cut short.
    fn charged(
        &self,
        rest: VecDeque<Frame<Bytes>>,
        failed: Option<CutShort>,
    ) -> (VecDeque<Frame<Bytes>>, Option<CutShort>, Option<Lease>) {
        let bytes: usize = rest.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        if bytes as u64 <= FREE_BYTES {
            return (rest, failed, None);
        }
        let mut part = self.bodies.lease();
        match part.grow(bytes as u64) {
            Ok(()) => (rest, failed, Some(part)),
            Err(no_room) => {
                self.progress.stop(StreamStop::NoRoom);
                (VecDeque::new(), Some(CutShort(no_room.to_string())), None)
            }
        }
    }

    /// Takes what the guest writes and throws it away: a body that nobody is to get, and that its
    /// guest need not know of. Comes when that was [`DISCARDED_BYTES`], and then nothing more
    /// is taken. It is not counted, because it is not sent.
    pub(super) async fn discard(&self) {
        let mut left = DISCARDED_BYTES;
        poll_fn(|cx| {
            let mut state = self.lock();
            loop {
                let OutletState::Open { body, .. } = &mut *state else { return Poll::Pending };
                match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                        if left == 0 {
                            *state = OutletState::Closed;
                            return Poll::Ready(());
                        }
                    }
                    Some(Err(error)) => {
                        *state = OutletState::ended(VecDeque::new(), Some(error));
                    }
                    None => *state = OutletState::Closed,
                }
            }
        })
        .await
    }

    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let mut state = self.lock();
        match &mut *state {
            OutletState::Open { ahead, .. } if !ahead.is_empty() => {
                Poll::Ready(ahead.pop_front().map(Ok))
            }
            OutletState::Open { body, reader, .. } => {
                let piece = self.poll_next(body, cx);
                if piece.is_pending()
                    && reader.as_ref().is_none_or(|reader| !reader.will_wake(cx.waker()))
                {
                    *reader = Some(cx.waker().clone());
                }
                if let Poll::Ready(Some(Err(_))) = piece {
                    *state = OutletState::ended(VecDeque::new(), None);
                }
                piece
            }
            OutletState::Settled { rest, failed, .. } => {
                Poll::Ready(rest.pop_front().map(Ok).or_else(|| failed.take().map(Err)))
            }
            OutletState::Closed => Poll::Ready(None),
        }
    }

    /// Counts data, and looks at trailers as at a header: they have its limits, and say nothing in
    /// the host's name.
    fn checked(&self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, CutShort> {
        if let Some(trailers) = frame.trailers_mut() {
            self.check_length()?;
            if let Some(excess) =
                Excess::of_fields(trailers, self.trailer_fields, self.trailer_bytes)
            {
                self.progress.stop(StreamStop::TrailersTooLarge(excess));
                return Err(CutShort("its trailers are over their limits".to_owned()));
            }
            strip(trailers, Direction::Response);
            for name in [CONTENT_LENGTH, TRAILER] {
                trailers.remove(name);
            }
        }
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        let total = self.progress.bytes_out.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if total <= self.limit_bytes {
            return Ok(frame);
        }
        self.progress.stop(StreamStop::ResponseTooLarge);
        Err(CutShort(format!("it has more than {} bytes", self.limit_bytes)))
    }

    fn lock(&self) -> MutexGuard<'_, OutletState> {
        self.state.lock()
    }
}

/// The connection's end of an [`Outlet`]. Stops the guest when its reader goes away before the end.
pub(super) struct GuestBody {
    outlet: Arc<Outlet>,
    // The bytes that are still to come, where the guest has said so.
    declared: Option<u64>,
    // None once the end was seen: the guest may run on after it.
    guest: Option<AbortHandle>,
}

impl GuestBody {
    pub(super) fn new(
        outlet: Arc<Outlet>,
        declared: Option<u64>,
        guest: Option<AbortHandle>,
    ) -> GuestBody {
        let mut body = GuestBody { outlet, declared, guest: None };
        body.guest = guest.filter(|_| !body.is_end_stream() && declared != Some(0));
        body
    }

    fn seen(&mut self, frame: &Frame<Bytes>) {
        let Some(data) = frame.data_ref() else {
            // Trailers are the end; nobody asks for what comes after them.
            self.guest = None;
            return;
        };
        if let Some(declared) = &mut self.declared {
            *declared = declared.saturating_sub(data.len() as u64);
            if *declared == 0 {
                self.guest = None;
            }
        }
    }
}

impl http_body::Body for GuestBody {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let frame = match self.outlet.poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(frame) => frame,
        };
        match &frame {
            Some(Ok(frame)) => self.seen(frame),
            // It has ended.
            None => self.guest = None,
            // The task that runs the guest knows why, and stops it.
            Some(Err(_)) => self.guest = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &*self.outlet.lock() {
            OutletState::Open { body, ahead, .. } => {
                ahead.is_empty() && body.is_end_stream() && self.outlet.check_length().is_ok()
            }
            OutletState::Settled { rest, failed, .. } => rest.is_empty() && failed.is_none(),
            OutletState::Closed => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.outlet.lock() {
            OutletState::Open { body, ahead, .. } if ahead.is_empty() => body.size_hint(),
            OutletState::Open { .. } | OutletState::Settled { .. } | OutletState::Closed => {
                SizeHint::default()
            }
        }
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        if let Some(guest) = &self.guest {
            // Noted first: a guest that finds its stream closed may end, well or not, before it is
            // stopped.
            self.outlet.progress.stop(StreamStop::ReaderGone);
            guest.abort();
        }
        *self.outlet.lock() = OutletState::Closed;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};
    use lacewing_base::{budget::Budget, fair::Weight};

    use super::*;

    fn outlet(frames: Vec<Result<&'static str, &str>>) -> Arc<Outlet> {
        let frames = frames.into_iter().map(|frame| match frame {
            Ok(text) => Ok(Frame::data(Bytes::from_static(text.as_bytes()))),
            Err(reason) => Err(CutShort(reason.to_owned())),
        });
        let frames: Vec<_> = frames.collect();
        let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
        let bodies = Budget::new(1 << 20).share(&Weight::new(1));
        Arc::new(Outlet::new(body, Arc::default(), None, 1 << 20, &Limits::default(), bodies))
    }

    #[tokio::test]
    async fn a_body_that_broke_off_before_its_reader_is_not_complete() {
        let outlet = outlet(vec![Ok("half"), Err("the guest wrote less than it declared")]);
        let mut reader = GuestBody::new(outlet.clone(), None, None);
        assert_eq!(reader.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
        let error = reader.frame().await.unwrap().unwrap_err();
        assert_eq!(error.0, "the guest wrote less than it declared");
        assert!(!outlet.settle().await);
        drop(reader);
        assert!(!outlet.settle().await);
    }

    #[tokio::test]
    async fn a_body_that_is_settled_is_complete_if_it_ended() {
        for (last, complete) in [(Ok("."), true), (Err("it broke"), false)] {
            let outlet = outlet(vec![Ok("whole"), last]);
            let mut reader = GuestBody::new(outlet.clone(), None, None);
            assert_eq!(outlet.settle().await, complete);
            assert_eq!(reader.frame().await.unwrap().unwrap().into_data().unwrap(), "whole");
            assert_eq!(reader.frame().await.unwrap().is_ok(), complete);
        }
    }
}
