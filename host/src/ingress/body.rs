//! Bodies: what a function reads of a request, and what it answers with.

use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::{
    connection::Connection,
    options::Options,
    respond::{BadInput, Problem},
};
use crate::outcome::Outcome;

/// Bodies up to this many bytes do not count against the host's budget for buffered bodies.
const FREE_BYTES: usize = 16 * 1024;
/// In how many bytes the budget is counted.
const BUDGET_UNIT: usize = 1024;

/// Why a request's body could not be read to its end. Displays as the sentence for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the function's limit.
    #[error("the request's body is larger than {limit} bytes")]
    TooLarge {
        /// Bytes that it may have.
        limit: u64,
    },
    /// Nothing of it arrived for too long.
    #[error("nothing of the request's body arrived for {} ms", .after.as_millis())]
    Idle {
        /// How long nothing arrived.
        after: Duration,
    },
    /// It was to be buffered and did not end in time.
    #[error("the request's body was not complete after {} ms", .after.as_millis())]
    Slow {
        /// How long it was read.
        after: Duration,
    },
    /// It is not encoded as HTTP says.
    #[error("the chunked encoding of the request's body is malformed")]
    Malformed,
    /// The host holds as many bytes of bodies as it may.
    #[error("the host has no room for this request's body now; try again later")]
    NoRoom,
    /// The client went away, or took the request back.
    #[error("the client went away before the end of the request's body")]
    Gone,
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Problem {
        let problem = match error {
            BodyError::TooLarge { .. } => Problem::bad_input(BadInput::BodyTooLarge),
            BodyError::Idle { .. } | BodyError::Slow { .. } => {
                Problem::bad_input(BadInput::BodyTooSlow)
            }
            BodyError::Malformed => Problem::bad_input(BadInput::Malformed),
            BodyError::NoRoom => Problem::new(Outcome::LoadShed),
            BodyError::Gone => Problem::new(Outcome::Canceled),
        };
        problem.detail(error.to_string())
    }
}

/// What one listener's bodies may use.
#[derive(Clone, Debug)]
pub(super) struct BodyBudget {
    idle: Duration,
    read: Duration,
    /// [`BUDGET_UNIT`]s of buffered bodies that are free.
    room: Arc<Semaphore>,
}

impl BodyBudget {
    pub(super) fn new(options: &Options) -> BodyBudget {
        BodyBudget {
            idle: options.body_idle,
            read: options.body_read,
            room: Arc::new(Semaphore::new(options.buffered_bytes / BUDGET_UNIT)),
        }
    }
}

/// The body of a request: collected within a limit, or read piece by piece as an [`http_body::Body`].
///
/// Without [`RequestBody::limit`] it is as long as the client makes it.
pub struct RequestBody {
    incoming: Incoming,
    connection: Arc<Connection>,
    limit: u64,
    read: u64,
    /// Runs while a piece is waited for.
    idle: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, connection: Arc<Connection>) -> RequestBody {
        let ended = incoming.is_end_stream();
        RequestBody { incoming, connection, limit: u64::MAX, read: 0, idle: None, ended }
    }

    /// Sets how many bytes the body may have. A body that says beforehand that it is larger is refused now.
    pub fn limit(&mut self, bytes: u64) -> Result<(), BodyError> {
        self.limit = bytes;
        if self.incoming.size_hint().lower() > bytes {
            return Err(BodyError::TooLarge { limit: bytes });
        }
        Ok(())
    }

    /// Reads all of it, up to `limit` bytes. Trailers are dropped.
    pub async fn collect(mut self, limit: u64) -> Result<Buffered, BodyError> {
        if self.ended {
            return Ok(Buffered::default());
        }
        self.limit(limit)?;
        let after = self.connection.budget.read;
        timeout(after, self.collect_in_time()).await.map_err(|_| BodyError::Slow { after })?
    }

    async fn collect_in_time(&mut self) -> Result<Buffered, BodyError> {
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        let mut held = None;
        while let Some(frame) = self.frame().await.transpose()? {
            let Ok(data) = frame.into_data() else { break };
            self.hold(&mut held)?;
            if first.is_empty() {
                first = data;
                continue;
            }
            if rest.is_empty() {
                rest.reserve(self.expected_bytes(first.len() + data.len()));
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
        let bytes = if rest.is_empty() { first } else { rest.freeze() };
        Ok(Buffered { bytes, _held: held })
    }

    /// How many bytes to make room for: what the client announced, as far as it has shown that it means it.
    fn expected_bytes(&self, have: usize) -> usize {
        let announced = self.read.saturating_add(self.incoming.size_hint().lower());
        usize::try_from(announced).unwrap_or(usize::MAX).clamp(have, have.saturating_mul(8))
    }

    /// Takes from the host's budget what was read since the last time.
    fn hold(&self, held: &mut Option<OwnedSemaphorePermit>) -> Result<(), BodyError> {
        let read = usize::try_from(self.read).unwrap_or(usize::MAX);
        if read <= FREE_BYTES {
            return Ok(());
        }
        let have = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = u32::try_from(read.div_ceil(BUDGET_UNIT) - have);
        let room = Arc::clone(&self.connection.budget.room);
        let more = missing.ok().and_then(|units| room.try_acquire_many_owned(units).ok());
        let more = more.ok_or(BodyError::NoRoom)?;
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }

    /// What a piece that arrived, or did not, means.
    fn check(
        &mut self,
        piece: Option<Result<Frame<Bytes>, hyper::Error>>,
    ) -> Option<Result<Frame<Bytes>, BodyError>> {
        let Some(piece) = piece else {
            self.ended = true;
            return None;
        };
        let frame = match piece {
            Ok(frame) => frame,
            Err(error) => return Some(Err(classify(&error))),
        };
        if let Some(data) = frame.data_ref() {
            self.read += data.len() as u64;
            if self.read > self.limit {
                return Some(Err(BodyError::TooLarge { limit: self.limit }));
            }
        }
        self.ended = self.incoming.is_end_stream();
        Some(Ok(frame))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let after = self.connection.budget.idle;
        let idle = self.idle.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + after)));
        ready!(idle.as_mut().poll(cx));
        Poll::Ready(BodyError::Idle { after })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(piece) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.idle = None;
            return Poll::Ready(self.check(piece));
        }
        self.poll_idle(cx).map(|error| Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.leave_body_unread();
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes read of {:?}", self.read, self.incoming.size_hint())
    }
}

/// Whether the client sent nonsense, or nothing more.
fn classify(error: &hyper::Error) -> BodyError {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return match io.kind() {
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => BodyError::Malformed,
                _ => BodyError::Gone,
            };
        }
        source = cause.source();
    }
    BodyError::Gone
}

/// A request's body in one piece. Holds its part of the host's budget until it is dropped.
#[derive(Debug, Default)]
pub struct Buffered {
    /// The body.
    pub bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

/// Why a stream of a response ended early. The connection, or the HTTP/2 stream, is then cut, so that the client
/// does not take what it has for the whole.
pub type StreamError = Box<dyn Error + Send + Sync>;

/// A body that arrives in pieces, and may end with trailers.
pub type BodyStream = Pin<Box<dyn Body<Data = Bytes, Error = StreamError> + Send>>;

/// The body of a response.
pub struct ResponseBody(Kind);

enum Kind {
    /// Empty once it was taken.
    Full(Bytes),
    Stream(BodyStream),
}

impl ResponseBody {
    /// No body.
    pub fn empty() -> ResponseBody {
        ResponseBody(Kind::Full(Bytes::new()))
    }

    /// All of it. Takes no allocation of its own.
    pub fn full(bytes: impl Into<Bytes>) -> ResponseBody {
        ResponseBody(Kind::Full(bytes.into()))
    }

    /// A stream of data and trailers.
    pub fn stream(
        body: impl Body<Data = Bytes, Error = StreamError> + Send + 'static,
    ) -> ResponseBody {
        ResponseBody(Kind::Stream(Box::pin(body)))
    }

    /// Whether all of it is there already.
    pub fn is_full(&self) -> bool {
        self.full_len().is_some()
    }

    /// How many bytes it has, if all of it is there already.
    pub fn full_len(&self) -> Option<u64> {
        match &self.0 {
            Kind::Full(bytes) => Some(bytes.len() as u64),
            Kind::Stream(_) => None,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match &mut self.0 {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Full(bytes) => write!(f, "{} bytes", bytes.len()),
            Kind::Stream(_) => f.write_str("a stream"),
        }
    }
}
