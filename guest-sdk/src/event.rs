//! Events: what queues, schedules, buckets, streams and topics deliver.
//!
//! An event is a [CloudEvent](https://cloudevents.io). Delivery is at least once: a handler may see
//! the same `id` from the same `source` again.

use std::any::Any;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result, Retry};
use crate::{Context, codec};

/// A CloudEvents 1.0 event whose data is a `T`.
///
/// The data is read as JSON. An `Event<Bytes>` or `Event<Vec<u8>>` has it as it came, and an
/// `Event<String>` has it as text if its content type says that it is not JSON. An event without
/// data fits `Event<()>` and `Event<Option<T>>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event<T = Bytes> {
    /// The event's identifier: unique within its source.
    pub id: String,
    /// The source of the event, as a URI reference.
    pub source: String,
    /// The kind of the event: the attribute `type`.
    pub ty: String,
    /// The subject of the event within its source.
    pub subject: Option<String>,
    /// When it happened, in the form of RFC 3339.
    pub time: Option<String>,
    /// The content type of the data; JSON if absent.
    pub datacontenttype: Option<String>,
    /// The schema of the data, as a URI.
    pub dataschema: Option<String>,
    /// Names and values of the extension attributes.
    pub extensions: Vec<(String, String)>,
    /// 1 for the first delivery, 2 for the first retry, and so on.
    pub attempt: u32,
    /// The data of the event.
    pub data: T,
}

impl<T> Event<T> {
    /// The value of an extension attribute.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The same event with its data turned into something else.
    #[must_use]
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Event<U> {
        Event {
            id: self.id,
            source: self.source,
            ty: self.ty,
            subject: self.subject,
            time: self.time,
            datacontenttype: self.datacontenttype,
            dataschema: self.dataschema,
            extensions: self.extensions,
            attempt: self.attempt,
            data: convert(self.data),
        }
    }
}

/// An event as it comes over the boundary.
pub(crate) type RawEvent = Event<Option<Vec<u8>>>;

impl RawEvent {
    fn read<T: DeserializeOwned + 'static>(mut self) -> Result<Event<T>, Failure> {
        let payload = self.data.take();
        let data = match &self.datacontenttype {
            Some(content_type) if !is_json(content_type) => as_is(payload, content_type),
            _ => from_json(payload),
        };
        data.map(|data| self.map(|_| data))
    }
}

/// Why an event was not handled, as the host is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For people.
    pub message: String,
    /// Whether it is delivered again.
    pub retry: Retry,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { message: error.to_string(), retry: error.retry() }
    }
}

/// The data does not fit, and will not the next time either.
fn misfit(message: String) -> Failure {
    Failure { message, retry: Retry::Never }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence.eq_ignore_ascii_case("text/json")
        || essence.len() > 5 && essence.to_ascii_lowercase().ends_with("+json")
}

fn from_json<T: DeserializeOwned + 'static>(payload: Option<Vec<u8>>) -> Result<T, Failure> {
    let payload = match payload {
        Some(payload) => payload,
        None if codec::is_raw::<T>() => Vec::new(),
        None => b"null".to_vec(),
    };
    codec::decode(payload).map_err(|wrong| misfit(wrong.sentence("the event's data")))
}

/// Data that is not JSON: bytes, or text for a `String`.
fn as_is<T: DeserializeOwned + 'static>(
    payload: Option<Vec<u8>>,
    content_type: &str,
) -> Result<T, Failure> {
    let payload = payload.unwrap_or_default();
    if codec::is_raw::<T>() {
        return from_json(Some(payload));
    }
    let mut text: Option<T> = None;
    if let Some(slot) = (&mut text as &mut dyn Any).downcast_mut::<Option<String>>() {
        let payload = String::from_utf8(payload)
            .map_err(|_| misfit("the event's data is not UTF-8: take `Event<Bytes>`".into()))?;
        *slot = Some(payload);
    }
    text.ok_or_else(|| {
        misfit(format!("the event's data is `{content_type}`, not JSON: take `Event<Bytes>`"))
    })
}

/// The return value of a handler of one event: nothing, or a [`Result`] of nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the outcome of an event",
    label = "a handler of one event cannot return this",
    note = "return `lacewing_sdk::Result<()>`, or nothing"
)]
pub trait EventOutcome {
    /// Whether the event was handled.
    #[doc(hidden)]
    fn outcome(self) -> Result<(), Failure>;
}

impl EventOutcome for () {
    fn outcome(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<E: Into<Error>> EventOutcome for Result<(), E> {
    fn outcome(self) -> Result<(), Failure> {
        self.map_err(|error| error.into().into())
    }
}

/// The return value of a handler of a batch: a result for each event in order, or one for all of
/// them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the outcome of a batch of events",
    label = "a handler of a batch cannot return this",
    note = "return `Vec<lacewing_sdk::Result<()>>` with a result for each event, or one `lacewing_sdk::Result<()>` for all"
)]
pub trait BatchOutcome {
    /// A result for each of `len` events.
    #[doc(hidden)]
    fn outcomes(self, len: usize) -> Vec<Result<(), Failure>>;
}

impl BatchOutcome for () {
    fn outcomes(self, len: usize) -> Vec<Result<(), Failure>> {
        vec![Ok(()); len]
    }
}

impl<E: Into<Error>> BatchOutcome for Result<(), E> {
    fn outcomes(self, len: usize) -> Vec<Result<(), Failure>> {
        vec![self.outcome(); len]
    }
}

impl<E: Into<Error>> BatchOutcome for Vec<Result<(), E>> {
    fn outcomes(self, len: usize) -> Vec<Result<(), Failure>> {
        if self.len() != len {
            let message = format!("the handler returned {} results for {len} events", self.len());
            return vec![Err(Failure { message, retry: Retry::Backoff }); len];
        }
        self.into_iter().map(EventOutcome::outcome).collect()
    }
}

/// A function that handles events.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this is not a handler of events",
    note = "a handler takes an `Event<T>` or a `Vec<Event<T>>`, with a `Context` before it if it wants one"
)]
pub trait EventHandler<Args> {
    /// Handles a batch.
    fn handle(&self, batch: Vec<RawEvent>) -> Vec<Result<(), Failure>>;
}

fn one_by_one<T: DeserializeOwned + 'static, R: EventOutcome>(
    batch: Vec<RawEvent>,
    handle: impl Fn(Event<T>) -> R,
) -> Vec<Result<(), Failure>> {
    batch.into_iter().map(|event| event.read().and_then(|event| handle(event).outcome())).collect()
}

/// Events that cannot be read fail on their own, and the handler gets the others.
fn all_at_once<T: DeserializeOwned + 'static, R: BatchOutcome>(
    batch: Vec<RawEvent>,
    handle: impl Fn(Vec<Event<T>>) -> R,
) -> Vec<Result<(), Failure>> {
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut events = Vec::with_capacity(batch.len());
    for event in batch {
        outcomes.push(event.read().map(|event| events.push(event)));
    }
    let len = events.len();
    if len == 0 {
        return outcomes;
    }
    let mut handled = handle(events).outcomes(len).into_iter();
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
        if let Some(handled) = handled.next() {
            *outcome = handled;
        }
    }
    outcomes
}

impl<F, T, R> EventHandler<(Event<T>,)> for F
where
    F: Fn(Event<T>) -> R,
    T: DeserializeOwned + 'static,
    R: EventOutcome,
{
    fn handle(&self, batch: Vec<RawEvent>) -> Vec<Result<(), Failure>> {
        one_by_one(batch, self)
    }
}

impl<F, T, R> EventHandler<(Context, Event<T>)> for F
where
    F: Fn(Context, Event<T>) -> R,
    T: DeserializeOwned + 'static,
    R: EventOutcome,
{
    fn handle(&self, batch: Vec<RawEvent>) -> Vec<Result<(), Failure>> {
        one_by_one(batch, |event| self(Context::current(), event))
    }
}

impl<F, T, R> EventHandler<(Vec<Event<T>>,)> for F
where
    F: Fn(Vec<Event<T>>) -> R,
    T: DeserializeOwned + 'static,
    R: BatchOutcome,
{
    fn handle(&self, batch: Vec<RawEvent>) -> Vec<Result<(), Failure>> {
        all_at_once(batch, self)
    }
}

impl<F, T, R> EventHandler<(Context, Vec<Event<T>>)> for F
where
    F: Fn(Context, Vec<Event<T>>) -> R,
    T: DeserializeOwned + 'static,
    R: BatchOutcome,
{
    fn handle(&self, batch: Vec<RawEvent>) -> Vec<Result<(), Failure>> {
        all_at_once(batch, |events| self(Context::current(), events))
    }
}
