//! The bodies that pass between a connection and a sandbox.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::budget::Lease;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};

/// Bodies up to this many bytes are charged to no account: their senders and readers are bounded in
/// number.
pub const FREE_BYTES: u64 = 16 * 1024;

/// A request's body that streams, trailers included.
pub type RequestStream = UnsyncBoxBody<Bytes, BodyError>;

/// A response's body that streams, trailers included.
pub type ResponseStream = UnsyncBoxBody<Bytes, CutShort>;

/// Why a request's body could not be read to its end. Displays as the sentence for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the function's limit.
    #[error("the request's body is larger than {limit_bytes} bytes (`request_body_kib`)")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
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

/// Why a response's body ended before its end. The connection, or the HTTP/2 stream, is then cut,
/// so that the client does not take what it has for the whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the function's response was cut short: {0}")]
pub struct CutShort(pub String);

/// Bytes that are on an account.
struct HeldBytes {
    bytes: Bytes,
    _part: Lease,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A response's body: whole, or streaming.
#[derive(Debug)]
pub enum Body {
    /// All of it, at once. Empty once it was taken.
    Full(Bytes),
    /// Piece by piece.
    Stream(ResponseStream),
}

impl Body {
    /// No bytes.
    pub const EMPTY: Body = Body::Full(Bytes::new());

    /// All of it. Takes no allocation of its own.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        Body::Full(bytes.into())
    }

    /// All of it, and what goes when the last of it was written or given up: its part of an
    /// account.
    pub fn held(bytes: Bytes, part: Lease) -> Body {
        Body::Full(Bytes::from_owner(HeldBytes { bytes, _part: part }))
    }

    /// A stream of data and trailers.
    pub fn stream(
        body: impl http_body::Body<Data = Bytes, Error = CutShort> + Send + 'static,
    ) -> Body {
        Body::Stream(body.boxed_unsync())
    }

    /// How many bytes it has, if all of it is there already.
    pub fn full_len(&self) -> Option<u64> {
        match self {
            Body::Full(bytes) => Some(bytes.len() as u64),
            Body::Stream(_) => None,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
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

/// The body of a request that has none.
pub fn empty_stream() -> RequestStream {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()
}
