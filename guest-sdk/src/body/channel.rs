//! A body that is written while it is sent.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_core::Stream;

use super::{Body, Chunk};
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
    chunks: VecDeque<Chunk>,
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
        let body = Body::from_chunks(Receiver(Rc::clone(&shared)));
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
            if shared.chunks.len() >= CAPACITY {
                shared.writer = Some(context.waker().clone());
                return Poll::Pending;
            }
            if let Some(chunk) = chunk.take().filter(|chunk: &Bytes| !chunk.is_empty()) {
                shared.chunks.push_back(Ok(chunk));
                shared.wake_reader();
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Breaks the body off: the client sees that it is incomplete.
    pub fn abort(self, error: impl Into<Error>) {
        self.0.borrow_mut().chunks.push_back(Err(error.into()));
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
    type Item = Chunk;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let mut shared = self.0.borrow_mut();
        if let Some(chunk) = shared.chunks.pop_front() {
            shared.wake_writer();
            return Poll::Ready(Some(chunk));
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
        shared.chunks.clear();
        shared.wake_writer();
    }
}
