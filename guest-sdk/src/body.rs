//! The body of a request or a response: nothing, bytes in memory, or a stream of chunks.
//!
//! One type serves both kinds of handler. In a handler that is not `async` a request's body is
//! always in memory; in an `async` one it is a stream that is read as it arrives.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use http_body::Frame;

use crate::Error;

mod channel;

pub use channel::{Closed, Sender};

/// The frames of a body that is a stream: chunks, and perhaps trailers at its end.
type Next = Result<Frame<Bytes>, Error>;

/// The body of a [`Request`](crate::Request) or a [`Response`](crate::Response).
///
/// Made from anything that holds bytes, without a copy where that is possible:
///
/// ```
/// use lacewing_sdk::Body;
///
/// let body = Body::from("Hello, world!\n");
/// assert_eq!(body.as_bytes(), Some(&b"Hello, world!\n"[..]));
/// ```
///
/// It is a [`Stream`] of [`Bytes`] and an [`http_body::Body`], so the adapters of `futures` work on
/// it.
///
/// # Trailers
/// Header fields that follow a body that is a stream: see [`trailers`](Body::trailers) for those
/// that arrive, and [`Sender::finish`] for those that are sent.
#[derive(Default)]
pub struct Body {
    content: Inner,
    /// Those that arrived with the end of the stream. Rare, and a body is passed on often.
    trailers: Option<Box<HeaderMap>>,
}

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Static(&'static [u8]),
    Owned(Vec<u8>),
    Shared(Bytes),
    Stream(Pin<Box<dyn Stream<Item = Next>>>),
}

impl Body {
    /// A body of no bytes.
    #[must_use]
    pub const fn empty() -> Body {
        Body { content: Inner::Empty, trailers: None }
    }

    /// A body whose chunks come from a stream.
    ///
    /// Each item is sent as soon as it is yielded. An error ends the body, and the client sees a
    /// response that broke off. Only an `async` handler can send a body that waits: see
    /// [`http`](macro@crate::http).
    ///
    /// ```
    /// use futures_util::stream;
    /// use lacewing_sdk::{Body, Error};
    ///
    /// let body = Body::from_stream(stream::iter([Ok::<_, Error>("one, "), Ok("two")]));
    /// assert_eq!(body.into_bytes().unwrap(), "one, two");
    /// ```
    pub fn from_stream<S, B, E>(stream: S) -> Body
    where
        S: Stream<Item = Result<B, E>> + 'static,
        B: Into<Bytes>,
        E: Into<Error>,
    {
        Body::from_frames(Chunks(Box::pin(stream)))
    }

    pub(crate) fn from_frames(frames: impl Stream<Item = Next> + 'static) -> Body {
        Inner::Stream(Box::pin(frames)).into()
    }

    /// Whether the bytes are in memory already, so that [`as_bytes`](Body::as_bytes) has them.
    #[must_use]
    pub fn is_buffered(&self) -> bool {
        !matches!(self.content, Inner::Stream(_))
    }

    /// The bytes, if the body is in memory; `None` for a stream.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.content {
            Inner::Empty => Some(&[]),
            Inner::Static(bytes) => Some(bytes),
            Inner::Owned(bytes) => Some(bytes),
            Inner::Shared(bytes) => Some(bytes),
            Inner::Stream(_) => None,
        }
    }

    /// The whole body, without waiting: what a handler that is not `async` uses.
    ///
    /// # Errors
    /// For a stream that has not ended and has nothing ready, or that failed. The body of a request
    /// to a handler that is not `async` is never one.
    pub fn into_bytes(self) -> Result<Bytes, Error> {
        self.into_vec().map(Bytes::from)
    }

    /// [`into_bytes`](Body::into_bytes) as a vector.
    pub(crate) fn into_vec(self) -> Result<Vec<u8>, Error> {
        match self.content {
            Inner::Empty => Ok(Vec::new()),
            Inner::Static(bytes) => Ok(bytes.to_vec()),
            Inner::Owned(bytes) => Ok(bytes),
            Inner::Shared(bytes) => Ok(bytes.into()),
            Inner::Stream(stream) => drain(stream),
        }
    }

    /// The whole body, once all of it has arrived.
    ///
    /// ```
    /// # lacewing_sdk::test::block_on(async {
    /// let body = lacewing_sdk::Body::from("all of it");
    /// assert_eq!(body.collect().await.unwrap(), "all of it");
    /// # });
    /// ```
    ///
    /// # Errors
    /// If the other side broke off.
    pub async fn collect(mut self) -> Result<Bytes, Error> {
        if self.is_buffered() {
            return self.into_bytes();
        }
        let Some(first) = self.chunk().await.transpose()? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await.transpose()? else { return Ok(first) };
        let mut all = Vec::with_capacity(2 * (first.len() + second.len()));
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(chunk) = self.chunk().await.transpose()? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.into())
    }

    /// The next chunk, or `None` at the end.
    ///
    /// ```
    /// # lacewing_sdk::test::block_on(async {
    /// let mut body = lacewing_sdk::Body::from("one chunk");
    /// while let Some(chunk) = body.chunk().await {
    ///     assert_eq!(chunk.unwrap(), "one chunk");
    /// }
    /// # });
    /// ```
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The trailers: header fields that the other side sent after the last chunk. There are none
    /// before [`chunk`](Body::chunk) has returned `None`, and most bodies have none at all.
    ///
    /// ```
    /// use lacewing_sdk::{Body, test};
    ///
    /// #[lacewing_sdk::http]
    /// async fn checked(mut body: Body) -> String {
    ///     let mut bytes = 0;
    ///     while let Some(Ok(chunk)) = body.chunk().await {
    ///         bytes += chunk.len();
    ///     }
    ///     let sum = body.trailers().and_then(|trailers| trailers.get("x-sum"));
    ///     format!("{bytes} bytes, checksum {sum:?}")
    /// }
    ///
    /// assert_eq!(test::post("/").body("abc").call_async(checked).text(), "3 bytes, checksum None");
    /// ```
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_deref()
    }

    fn poll_next_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Next>> {
        if let Inner::Stream(stream) = &mut self.content {
            return stream.as_mut().poll_next(context);
        }
        let bytes = match std::mem::take(&mut self.content) {
            Inner::Empty | Inner::Stream(_) => Bytes::new(),
            Inner::Static(bytes) => Bytes::from_static(bytes),
            Inner::Owned(bytes) => bytes.into(),
            Inner::Shared(bytes) => bytes,
        };
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }
}

/// All of a stream that never waits.
fn drain(mut stream: Pin<Box<dyn Stream<Item = Next>>>) -> Result<Vec<u8>, Error> {
    let mut context = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    loop {
        match stream.as_mut().poll_next(&mut context) {
            Poll::Ready(Some(frame)) => {
                all.extend_from_slice(&frame?.into_data().unwrap_or_default());
            }
            Poll::Ready(None) => return Ok(all),
            Poll::Pending => {
                return Err(Error::msg(
                    "the body is a stream that waits, and this handler cannot wait: make it an `async fn`",
                ));
            }
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let Some(frame) = ready!(this.poll_next_frame(context)).transpose()? else {
                return Poll::Ready(None);
            };
            match frame.into_data() {
                Ok(chunk) => return Poll::Ready(Some(Ok(chunk))),
                Err(frame) => this.trailers = frame.into_trailers().ok().map(Box::new),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self.as_bytes() {
            None => (0, None),
            Some(bytes) => (usize::from(!bytes.is_empty()), Some(usize::from(!bytes.is_empty()))),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
        self.get_mut().poll_next_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.as_bytes().is_some_and(<[u8]>::is_empty)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self.as_bytes() {
            Some(bytes) => http_body::SizeHint::with_exact(bytes.len() as u64),
            None => http_body::SizeHint::default(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_bytes() {
            Some(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            None => f.write_str("Body(stream)"),
        }
    }
}

impl From<Inner> for Body {
    fn from(content: Inner) -> Body {
        Body { content, trailers: None }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Inner::Static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Body {
        Inner::Static(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Inner::Owned(text.into_bytes()).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Inner::Owned(bytes).into()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Inner::Shared(bytes).into()
    }
}

impl From<Cow<'static, str>> for Body {
    fn from(text: Cow<'static, str>) -> Body {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl From<()> for Body {
    fn from((): ()) -> Body {
        Body::empty()
    }
}

/// Turns the items of a user's stream into chunks.
struct Chunks<S>(Pin<Box<S>>);

impl<S, B, E> Stream for Chunks<S>
where
    S: Stream<Item = Result<B, E>>,
    B: Into<Bytes>,
    E: Into<Error>,
{
    type Item = Next;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Next>> {
        let chunk = |item: Result<B, E>| item.map(|b| Frame::data(b.into())).map_err(Into::into);
        self.0.as_mut().poll_next(context).map(|next| next.map(chunk))
    }
}
