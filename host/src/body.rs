//! The bodies that pass between a connection and a sandbox.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};

/// A body that streams, trailers included.
pub type StreamBody = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than the limit allows.
    #[error("the body has more than {limit_bytes} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// Nothing came for too long.
    #[error("no byte of the body came for {} s", .0.as_secs())]
    Idle(std::time::Duration),
    /// It is not encoded as HTTP says.
    #[error("the body is malformed")]
    Malformed,
    /// The client went away.
    #[error("the body ended early: {0}")]
    Incomplete(String),
    /// The guest stopped before it had written all of it.
    #[error("the function ended before its response did: {0}")]
    Guest(String),
}

/// A response's body: whole, or streaming.
#[derive(Debug)]
pub enum Body {
    /// All of it, at once.
    Full(Bytes),
    /// Piece by piece.
    Stream(StreamBody),
}

impl Body {
    /// No bytes.
    pub const EMPTY: Body = Body::Full(Bytes::new());
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Body::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Stream(stream) => Pin::new(stream).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Full(bytes) => bytes.is_empty(),
            Body::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Stream(stream) => stream.size_hint(),
        }
    }
}

/// A stream of no bytes.
pub fn empty_stream() -> StreamBody {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()
}
