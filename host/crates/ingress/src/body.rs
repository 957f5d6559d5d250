//! The body of a request, as a function reads it.

use std::{
    error::Error,
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use lacewing_base::{
    body::{BodyError, FREE_BYTES},
    budget::{Lease, Share},
    outcome::Outcome,
};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::{
    connection::Connection,
    options::Options,
    respond::{BadInput, Problem},
};

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

/// How long one listener's bodies may take.
#[derive(Clone, Debug)]
pub(super) struct BodyBudget {
    idle: Duration,
    read: Duration,
}

impl BodyBudget {
    pub(super) fn new(options: &Options) -> BodyBudget {
        BodyBudget { idle: options.body_idle, read: options.body_read }
    }
}

/// The body of a request: collected within a limit, or read piece by piece as an
/// [`http_body::Body`].
///
/// Without [`RequestBody::limit`] it is as long as the client makes it.
pub struct RequestBody {
    incoming: Incoming,
    connection: Arc<Connection>,
    limit: u64,
    read: u64,
    /// Runs while a piece is waited for.
    idle: Option<Pin<Box<Sleep>>>,
    /// Whether the connection counts the wait.
    waits: bool,
    /// Whether the body came to its end.
    ended: bool,
    is_http2: bool,
}

/// The size of a request whose body is waited for, in bytes: its task, its timers, its stream.
const WAITING_BYTES: u64 = 8 * 1024;

/// The charge for a request while its body is collected. A request whose body is there takes no
/// room, nor does the beginning of one. From the first wait on all of it is charged: the clients
/// decide how long the wait is, and how many do it at once.
struct BodyRoom<'a> {
    account: &'a Arc<Share>,
    headers: &'a HeaderMap,
    /// Bytes of the header, once the body was waited for.
    waiting: Option<u64>,
    held: Option<Lease>,
}

impl BodyRoom<'_> {
    fn wait(&mut self, read: u64) -> Result<(), BodyError> {
        if self.waiting.is_some() {
            return Ok(());
        }
        let fields = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        let bytes = fields.sum::<usize>() + self.headers.capacity() * FIELD_BYTES;
        self.waiting = Some(WAITING_BYTES + bytes as u64);
        self.hold(read)
    }

    /// Takes room for what was read since the last time.
    fn hold(&mut self, read: u64) -> Result<(), BodyError> {
        if self.waiting.is_none() && read <= FREE_BYTES {
            return Ok(());
        }
        let held = self.held.get_or_insert_with(|| self.account.lease());
        held.grow_to(self.waiting.unwrap_or(0) + read).map_err(|_| BodyError::NoRoom)
    }
}

/// The size of a header field besides its name and value, in bytes.
const FIELD_BYTES: usize = 128;

impl RequestBody {
    pub(super) fn new(
        incoming: Incoming,
        connection: Arc<Connection>,
        version: Version,
    ) -> RequestBody {
        let ended = incoming.is_end_stream();
        RequestBody {
            incoming,
            connection,
            limit: u64::MAX,
            read: 0,
            idle: None,
            waits: false,
            ended,
            is_http2: version >= Version::HTTP_2,
        }
    }

    /// Sets how many bytes the body may have. A body that says beforehand that it is larger is
    /// refused now.
    pub fn limit(&mut self, bytes: u64) -> Result<(), BodyError> {
        self.limit = bytes;
        if self.incoming.size_hint().lower() > bytes {
            return Err(BodyError::TooLarge { limit_bytes: bytes });
        }
        Ok(())
    }

    /// Reads all of it, up to `limit` bytes. They go on `account` if they are many, and with the
    /// request's `headers` if they have to be waited for. Trailers are dropped.
    pub async fn collect(
        mut self,
        limit: u64,
        headers: &HeaderMap,
        account: &Arc<Share>,
    ) -> Result<Buffered, BodyError> {
        if self.ended {
            return Ok(Buffered::default());
        }
        self.limit(limit)?;
        let after = self.connection.budget.read;
        let room = BodyRoom { account, headers, waiting: None, held: None };
        timeout(after, self.collect_in_time(room)).await.map_err(|_| BodyError::Slow { after })?
    }

    async fn collect_in_time(&mut self, mut room: BodyRoom<'_>) -> Result<Buffered, BodyError> {
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(frame) = self.next(&mut room).await.transpose()? {
            let Ok(data) = frame.into_data() else { break };
            room.hold(self.read)?;
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
        Ok(Buffered { bytes, _held: room.held })
    }

    async fn next(&mut self, room: &mut BodyRoom<'_>) -> Option<Result<Frame<Bytes>, BodyError>> {
        poll_fn(|cx| match Pin::new(&mut *self).poll_frame(cx) {
            Poll::Pending => match room.wait(self.read) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Some(Err(error))),
            },
            frame => frame,
        })
        .await
    }

    /// How many bytes to make room for: what the client announced, as far as it has shown that it
    /// means it.
    fn expected_bytes(&self, have: usize) -> usize {
        let announced = self.read.saturating_add(self.incoming.size_hint().lower());
        usize::try_from(announced).unwrap_or(usize::MAX).clamp(have, have.saturating_mul(8))
    }

    /// The meaning of a piece that arrived, or did not.
    fn check(
        &mut self,
        piece: Option<Result<Frame<Bytes>, hyper::Error>>,
    ) -> Option<Result<Frame<Bytes>, BodyError>> {
        let Some(piece) = piece else {
            // hyper shows a stream that the client resets with NO_ERROR as one that ends. Of bodies
            // in HTTP/1, it shows no other end than theirs, and does not tell the end
            // of a chunked one in advance.
            if self.is_http2 && !self.incoming.is_end_stream() {
                return Some(Err(BodyError::Gone));
            }
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
                return Some(Err(BodyError::TooLarge { limit_bytes: self.limit }));
            }
        }
        self.ended = self.incoming.is_end_stream();
        Some(Ok(frame))
    }

    fn note_wait(&mut self, waits: bool) {
        if std::mem::replace(&mut self.waits, waits) != waits {
            self.connection.note_body_wait(waits);
        }
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
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(piece) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.idle = None;
            self.connection.note_body_piece();
            self.note_wait(false);
            return Poll::Ready(self.check(piece));
        }
        self.note_wait(true);
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
        self.note_wait(false);
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

/// A request's body in one piece. Its bytes are on its tenant's account until it is dropped.
#[derive(Debug, Default)]
pub struct Buffered {
    /// The body.
    pub bytes: Bytes,
    _held: Option<Lease>,
}
