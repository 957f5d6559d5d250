//! wasi:http 0.3 bodies and headers, to and from ours.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use http_body::Frame;
use wasip3::http::types::{ErrorCode, Fields, Trailers};
use wasip3::{wit_future, wit_stream};
use wit_bindgen::rt::async_support::{
    FutureReader, FutureWriter, StreamReader, StreamResult, StreamWriter,
};

use crate::export::flush;
use crate::extract::header_map;
use crate::{Body, Error, Result};

/// The most that is read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// The end of a body: its trailers, or why it broke off.
pub(crate) type End = std::result::Result<Option<Trailers>, ErrorCode>;

/// How the other side is told whether a body was read well.
type Verdict = std::result::Result<(), ErrorCode>;

/// A body that arrives, taken from its message when it is first read.
pub(crate) fn incoming(
    consume: impl FnOnce(FutureReader<Verdict>) -> (StreamReader<u8>, FutureReader<End>) + 'static,
) -> Body {
    Body::from_frames(Incoming::New(Some(Box::new(consume))))
}

type Consume = Box<dyn FnOnce(FutureReader<Verdict>) -> (StreamReader<u8>, FutureReader<End>)>;
type Reading = Pin<Box<dyn Future<Output = (Option<Source>, Option<Result<Frame<Bytes>>>)>>>;

enum Incoming {
    New(Option<Consume>),
    Idle(Source),
    Reading(Reading),
    Done,
}

struct Source {
    stream: StreamReader<u8>,
    end: FutureReader<End>,
    /// Says, when it is dropped, that all is well.
    _verdict: FutureWriter<Verdict>,
}

impl Source {
    async fn read(mut self) -> (Option<Source>, Option<Result<Frame<Bytes>>>) {
        loop {
            let (result, chunk) = self.stream.read(Vec::with_capacity(READ_BYTES)).await;
            if !chunk.is_empty() {
                return (Some(self), Some(Ok(Frame::data(chunk.into()))));
            }
            if let StreamResult::Dropped | StreamResult::Cancelled = result {
                return (None, ended(self.end.await));
            }
        }
    }
}

/// The last that a body yields, if its end is more than an end.
fn ended(end: End) -> Option<Result<Frame<Bytes>>> {
    match end {
        Ok(None) => None,
        Ok(Some(trailers)) => Some(header_map(trailers.copy_all()).map(Frame::trailers)),
        Err(code) => Some(Err(failure(&code, "the body broke off"))),
    }
}

impl Stream for Incoming {
    type Item = Result<Frame<Bytes>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match std::mem::replace(this, Incoming::Done) {
                Incoming::New(consume) => {
                    let Some(consume) = consume else { return Poll::Ready(None) };
                    let (verdict, reader) = wit_future::new(|| Ok(()));
                    let (stream, end) = consume(reader);
                    *this = Incoming::Idle(Source { stream, end, _verdict: verdict });
                }
                Incoming::Idle(source) => *this = Incoming::Reading(Box::pin(source.read())),
                Incoming::Reading(mut reading) => {
                    let Poll::Ready((source, chunk)) = reading.as_mut().poll(context) else {
                        *this = Incoming::Reading(reading);
                        return Poll::Pending;
                    };
                    if let Some(source) = source {
                        *this = Incoming::Idle(source);
                    }
                    return Poll::Ready(chunk);
                }
                Incoming::Done => return Poll::Ready(None),
            }
        }
    }
}

/// The reading ends of a body that is sent; a task writes it.
pub(crate) fn outgoing(body: Body) -> (Option<StreamReader<u8>>, FutureReader<End>) {
    let (end, end_reader) = wit_future::new(|| Ok(None));
    if body.as_bytes().is_some_and(<[u8]>::is_empty) {
        wit_bindgen::spawn_local(async move { drop(end.write(Ok(None)).await) });
        return (None, end_reader);
    }
    let (stream, stream_reader) = wit_stream::new();
    wit_bindgen::spawn_local(crate::task::scope::within(write(body, stream, end)));
    (Some(stream_reader), end_reader)
}

async fn write(mut body: Body, mut stream: StreamWriter<u8>, end: FutureWriter<End>) {
    let written = write_chunks(&mut body, &mut stream).await;
    let result = written.and_then(|()| body.trailers().map(fields).transpose());
    drop(body);
    drop(stream);
    flush();
    // A reader that does not read the end does not want to know it.
    drop(
        end.write(result.map_err(|error| {
            error.log();
            ErrorCode::InternalError(None)
        }))
        .await,
    );
}

async fn write_chunks(body: &mut Body, stream: &mut StreamWriter<u8>) -> Result<()> {
    while let Some(chunk) = body.chunk().await {
        if !stream.write_all(chunk?.into()).await.is_empty() {
            break; // Nobody reads it any more.
        }
    }
    Ok(())
}

/// Our headers as theirs.
pub(crate) fn fields(headers: &HeaderMap) -> Result<Fields> {
    let fields: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    Fields::from_list(&fields)
        .map_err(|error| Error::msg(format_args!("the host refuses the headers: {error:?}")))
}

/// Why another server did not answer.
pub(crate) fn failure(code: &ErrorCode, what: &str) -> Error {
    crate::client::failure(&format!("{code:?}"), what)
}
