//! Bodies: what a function reads of a request, and what it answers with.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

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
        matches!(self.0, Kind::Full(_))
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
