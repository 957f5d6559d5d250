//! A body that is written while it is sent.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use http_body::Frame;

use super::{Body, Next};
use crate::Error;

/// As many chunks may wait to be sent before [`Sender::send`] waits too.
const CAPACITY: usize = 1;

/// The end of a body that is written: see [`Body::channel`].
///
/// Dropping it ends the body.
pub struct Sender(Rc<RefCell<Shared>>);

/// The client went away, or the response was never sent: nobody reads what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the body any more")
    }
}

impl std::error::Error for Closed {}

#[derive(Default)]
struct Shared {
    frames: VecDeque<Next>,
    writer_gone: bool,
    reader_gone: bool,
    writer: Option<Waker>,
    reader: Option<Waker>,
}

impl Shared {
    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

impl Body {
    /// A body, and the end to write it by.
    ///
    /// ```
    /// use lacewing_sdk::{Body, test};
    ///
    /// #[lacewing_sdk::http]
    /// async fn count() -> Body {
    ///     let (mut sender, body) = Body::channel();
    ///     lacewing_sdk::spawn(async move {
    ///         for number in 1..=3 {
    ///             if sender.send(format!("{number}\n")).await.is_err() {
    ///                 break; // the client went away
    ///             }
    ///         }
    ///     });
    ///     body
    /// }
    ///
    /// assert_eq!(test::get("/").call_async(count).text(), "1\n2\n3\n");
    /// ```
    #[must_use]
    pub fn channel() -> (Sender, Body) {
        let shared = Rc::new(RefCell::new(Shared::default()));
        let body = Body::from_frames(Receiver(Rc::clone(&shared)));
        (Sender(shared), body)
    }
}

impl Sender {
    /// Writes a chunk, and waits while the client is slower than the handler.
    ///
    /// # Errors
    /// If nobody reads it: time to stop.
    pub async fn send(&mut self, chunk: impl Into<Bytes>) -> Result<(), Closed> {
        let mut chunk = Some(chunk.into());
        std::future::poll_fn(move |context| {
            let mut shared = self.0.borrow_mut();
            if shared.reader_gone {
                return Poll::Ready(Err(Closed));
            }
            if shared.frames.len() >= CAPACITY {
                shared.writer = Some(context.waker().clone());
                return Poll::Pending;
            }
            if let Some(chunk) = chunk.take().filter(|chunk: &Bytes| !chunk.is_empty()) {
                shared.frames.push_back(Ok(Frame::data(chunk)));
                shared.wake_reader();
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Ends the body with trailers: header fields that follow the last chunk, such as a checksum of
    /// all of them.
    ///
    /// Over HTTP/1.1 a client gets only those that the response's `trailer` header names, and only
    /// if its request said `te: trailers`; over HTTP/2 all of them.
    ///
    /// ```
    /// use lacewing_sdk::{Body, HeaderMap, http::HeaderValue, test};
    ///
    /// #[lacewing_sdk::http]
    /// async fn counted() -> ([(&'static str, &'static str); 1], Body) {
    ///     let (mut sender, body) = Body::channel();
    ///     lacewing_sdk::spawn(async move {
    ///         let _ = sender.send("three").await;
    ///         sender.finish(HeaderMap::from_iter([("x-bytes".parse().unwrap(), HeaderValue::from(5))]));
    ///     });
    ///     ([("trailer", "x-bytes")], body)
    /// }
    ///
    /// let response = test::get("/").call_async(counted);
    /// assert_eq!((response.text(), response.trailer("x-bytes")), ("three", Some("5")));
    /// ```
    pub fn finish(self, trailers: HeaderMap) {
        self.0.borrow_mut().frames.push_back(Ok(Frame::trailers(trailers)));
    }

    /// Breaks the body off: the client sees that it is incomplete.
    pub fn abort(self, error: impl Into<Error>) {
        self.0.borrow_mut().frames.push_back(Err(error.into()));
    }

    /// Whether nobody reads the body any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.borrow().reader_gone
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.writer_gone = true;
        shared.wake_reader();
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

struct Receiver(Rc<RefCell<Shared>>);

impl Stream for Receiver {
    type Item = Next;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Next>> {
        let mut shared = self.0.borrow_mut();
        if let Some(frame) = shared.frames.pop_front() {
            shared.wake_writer();
            return Poll::Ready(Some(frame));
        }
        if shared.writer_gone {
            return Poll::Ready(None);
        }
        shared.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.reader_gone = true;
        shared.frames.clear();
        shared.wake_writer();
    }
}
