//! Server-sent events: a response that goes on, one event after the other.
//!
//! ```
//! use lacewing_sdk::{Sse, sse, test};
//!
//! #[lacewing_sdk::http]
//! async fn ticks() -> Sse {
//!     let (mut events, response) = sse::channel();
//!     lacewing_sdk::spawn(async move {
//!         for tick in 1..=2 {
//!             let event = sse::Event::data(tick.to_string()).event("tick").id(tick.to_string());
//!             if events.send(event).await.is_err() {
//!                 return; // the client went away
//!             }
//!         }
//!     });
//!     response
//! }
//!
//! let response = test::get("/ticks").call_async(ticks);
//! assert_eq!(response.header("content-type"), Some("text/event-stream"));
//! assert_eq!(response.text(), "event: tick\nid: 1\ndata: 1\n\nevent: tick\nid: 2\ndata: 2\n\n");
//! ```

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderValue, header};
use serde::Serialize;

use crate::body::{self, Closed};
use crate::respond::{IntoResponse, Response};
use crate::{Body, Error, Result, sleep};

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Every field but the data, each ended by a line feed.
    fields: String,
    data: Option<String>,
}

impl Event {
    /// An event with a text; line ends in it are kept.
    pub fn data(text: impl Into<String>) -> Event {
        Event { data: Some(text.into()), fields: String::new() }
    }

    /// An event whose text is a value as JSON.
    ///
    /// # Errors
    /// If the value cannot be written as JSON.
    pub fn json(value: &impl Serialize) -> Result<Event> {
        Ok(Event::data(serde_json::to_string(value)?))
    }

    /// A comment: clients ignore it, but it keeps the connection busy.
    pub fn comment(text: &str) -> Event {
        Event::default().field("", text)
    }

    /// Sets the event's name, which a browser dispatches on.
    #[must_use]
    pub fn event(self, name: &str) -> Event {
        self.field("event", name)
    }

    /// Sets the id that the client sends as `last-event-id` when it reconnects.
    #[must_use]
    pub fn id(self, id: impl AsRef<str>) -> Event {
        self.field("id", id.as_ref())
    }

    /// Sets how long the client waits before it reconnects.
    #[must_use]
    pub fn retry(self, wait: Duration) -> Event {
        self.field("retry", &wait.as_millis().to_string())
    }

    /// Fields are one line: what would end it becomes a space.
    fn field(mut self, name: &str, value: &str) -> Event {
        let value = value.replace(['\n', '\r', '\0'], " ");
        // Writing to a string cannot fail.
        let _ = writeln!(self.fields, "{name}: {value}");
        self
    }

    /// The event as it is sent.
    fn into_bytes(self) -> Bytes {
        let mut text = self.fields;
        if let Some(data) = self.data {
            for line in data.replace("\r\n", "\n").split(['\n', '\r']) {
                let _ = writeln!(text, "data: {line}");
            }
        }
        text.push('\n');
        text.into()
    }
}

/// A response of server-sent events: see the [module](self).
#[derive(Debug)]
pub struct Sse {
    body: Body,
    keep_alive: Option<Duration>,
}

/// Events, and the response that carries them.
///
/// Dropping the sender ends the response.
#[must_use]
pub fn channel() -> (Sender, Sse) {
    let (sender, body) = Body::channel();
    (Sender(sender), Sse { body, keep_alive: None })
}

/// Where events are put in.
#[derive(Debug)]
pub struct Sender(body::Sender);

impl Sender {
    /// Sends an event, and waits while the client is slower than the handler.
    ///
    /// # Errors
    /// If the client went away: time to stop.
    pub async fn send(&mut self, event: Event) -> Result<(), Closed> {
        self.0.send(event.into_bytes()).await
    }

    /// Whether the client went away.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl Sse {
    /// Events from a stream.
    ///
    /// ```
    /// use futures_util::stream;
    /// use lacewing_sdk::{Error, Sse, sse};
    ///
    /// #[lacewing_sdk::http]
    /// async fn letters() -> Sse {
    ///     Sse::new(stream::iter(["a", "b"].map(|letter| Ok::<_, Error>(sse::Event::data(letter)))))
    /// }
    ///
    /// let response = lacewing_sdk::test::get("/").call_async(letters);
    /// assert_eq!(response.text(), "data: a\n\ndata: b\n\n");
    /// ```
    pub fn new<S, E>(events: S) -> Sse
    where
        S: Stream<Item = std::result::Result<Event, E>> + 'static,
        E: Into<Error>,
    {
        Sse { body: Body::from_stream(Events(Box::pin(events))), keep_alive: None }
    }

    /// Sends a comment whenever nothing was sent for this long, so that nothing on the way gives
    /// up.
    #[must_use]
    pub fn keep_alive(mut self, every: Duration) -> Sse {
        self.keep_alive = Some(every);
        self
    }
}

impl IntoResponse for Sse {
    fn into_response(self) -> Response {
        let body = match self.keep_alive {
            None => self.body,
            Some(every) => {
                Body::from_stream(KeepAlive { body: self.body, every, timer: timer(every) })
            }
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

struct Events<S>(Pin<Box<S>>);

impl<S, E> Stream for Events<S>
where
    S: Stream<Item = std::result::Result<Event, E>>,
    E: Into<Error>,
{
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .as_mut()
            .poll_next(context)
            .map(|next| next.map(|event| event.map(Event::into_bytes).map_err(Into::into)))
    }
}

type Timer = Pin<Box<dyn Future<Output = ()>>>;

fn timer(after: Duration) -> Timer {
    Box::pin(sleep(after))
}

struct KeepAlive {
    body: Body,
    every: Duration,
    timer: Timer,
}

impl Stream for KeepAlive {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Poll::Ready(next) = Pin::new(&mut this.body).poll_next(context) {
            this.timer = timer(this.every);
            return Poll::Ready(next);
        }
        if this.timer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        this.timer = timer(this.every);
        Poll::Ready(Some(Ok(Bytes::from_static(b": keep-alive\n\n"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::native::block_on;

    fn text(event: Event) -> String {
        String::from_utf8(event.into_bytes().to_vec()).unwrap()
    }

    #[test]
    fn every_line_of_the_data_has_its_field() {
        assert_eq!(text(Event::data("a\nb\r\nc\rd")), "data: a\ndata: b\ndata: c\ndata: d\n\n");
        assert_eq!(text(Event::data("")), "data: \n\n");
    }

    #[test]
    fn other_fields_cannot_break_the_line() {
        let event = Event::data("x").event("a\nb").id("7\r").retry(Duration::from_secs(2));
        assert_eq!(text(event), "event: a b\nid: 7 \nretry: 2000\ndata: x\n\n");
        assert_eq!(text(Event::comment("hi")), ": hi\n\n");
    }

    #[test]
    fn silence_is_filled_with_comments() {
        let (sender, response) = channel();
        let mut body = response.keep_alive(Duration::from_millis(1)).into_response().into_body();
        let first = block_on(body.chunk());
        assert_eq!(first.unwrap().unwrap(), ": keep-alive\n\n");
        drop(sender);
        assert!(block_on(body.chunk()).is_none());
    }
}
