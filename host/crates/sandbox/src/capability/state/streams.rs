//! The bodies of objects as streams of WASI 0.2.
//!
//! A stream is polled by a task that may stop to poll at any time, so the stream keeps the future
//! of a step that has begun.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use lacewing_store::{
    StoreError,
    kv::KvError,
    object::{ObjectReader, ObjectWriter},
};
use parking_lot::Mutex;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

/// Bytes that one step reads or takes.
const STEP: usize = 64 << 10;

/// A body that is read.
pub(super) struct ObjectInput {
    step: ReadStep,
}

enum ReadStep {
    Idle(ObjectReader),
    Reading(BoxFuture<'static, (ObjectReader, Result<Bytes, StoreError>)>),
    Read(ObjectReader, Bytes),
    Failed(String),
    Ended,
}

impl ObjectInput {
    pub(super) fn new(reader: ObjectReader) -> ObjectInput {
        ObjectInput { step: ReadStep::Idle(reader) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let ReadStep::Idle(_) = self.step
            && let ReadStep::Idle(mut reader) = mem::replace(&mut self.step, ReadStep::Ended)
        {
            self.step = ReadStep::Reading(Box::pin(async move {
                let read = reader.next(STEP).await;
                (reader, read)
            }));
        }
        let ReadStep::Reading(reading) = &mut self.step else { return Poll::Ready(()) };
        let Poll::Ready((reader, read)) = reading.as_mut().poll(cx) else { return Poll::Pending };
        self.step = match read {
            Ok(bytes) if bytes.is_empty() => ReadStep::Ended,
            Ok(bytes) => ReadStep::Read(reader, bytes),
            Err(error) => ReadStep::Failed(error.for_tenants()),
        };
        Poll::Ready(())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for ObjectInput {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for ObjectInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        match mem::replace(&mut self.step, ReadStep::Ended) {
            ReadStep::Read(reader, mut bytes) => {
                let now = bytes.split_to(size.min(bytes.len()));
                self.step = match bytes.is_empty() {
                    true => ReadStep::Idle(reader),
                    false => ReadStep::Read(reader, bytes),
                };
                Ok(now)
            }
            ReadStep::Ended => Err(StreamError::Closed),
            ReadStep::Failed(text) => {
                Err(StreamError::LastOperationFailed(wasmtime::Error::msg(text)))
            }
            step @ (ReadStep::Idle(_) | ReadStep::Reading(_)) => {
                self.step = step;
                Ok(Bytes::new())
            }
        }
    }
}

/// A body that is written, which its stream and its value share.
#[derive(Clone)]
pub(super) struct SharedBody(Arc<Mutex<WriteStep>>);

enum WriteStep {
    Idle(ObjectWriter),
    Writing(BoxFuture<'static, Result<ObjectWriter, KvError>>),
    Failed(KvError),
    Finished,
}

impl SharedBody {
    pub(super) fn new(writer: ObjectWriter) -> SharedBody {
        SharedBody(Arc::new(Mutex::new(WriteStep::Idle(writer))))
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut step = self.0.lock();
        let WriteStep::Writing(writing) = &mut *step else { return Poll::Ready(()) };
        let Poll::Ready(written) = writing.as_mut().poll(cx) else { return Poll::Pending };
        *step = match written {
            Ok(writer) => WriteStep::Idle(writer),
            Err(error) => WriteStep::Failed(error),
        };
        Poll::Ready(())
    }

    async fn ready(&self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }

    /// Takes the writer, once it has written all that it was given. `None` after the first call.
    pub(super) async fn finish(&self) -> Result<Option<ObjectWriter>, KvError> {
        self.ready().await;
        match mem::replace(&mut *self.0.lock(), WriteStep::Finished) {
            WriteStep::Idle(writer) => Ok(Some(writer)),
            WriteStep::Failed(error) => Err(error),
            WriteStep::Writing(_) | WriteStep::Finished => Ok(None),
        }
    }
}

/// The stream of a body that is written.
pub(super) struct ObjectOutput(pub(super) SharedBody);

#[wasmtime_wasi::async_trait]
impl Pollable for ObjectOutput {
    async fn ready(&mut self) {
        self.0.ready().await;
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for ObjectOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut step = self.0.0.lock();
        match mem::replace(&mut *step, WriteStep::Finished) {
            WriteStep::Idle(mut writer) if bytes.len() <= STEP => {
                *step = WriteStep::Writing(Box::pin(async move {
                    writer.write(bytes).await?;
                    Ok(writer)
                }));
                Ok(())
            }
            WriteStep::Idle(_) | WriteStep::Writing(_) => {
                Err(StreamError::trap("a write over the bytes that the stream permits"))
            }
            WriteStep::Failed(error) => Err(failed(step, error)),
            WriteStep::Finished => Err(StreamError::Closed),
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check_write().map(drop)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let step = self.0.0.lock();
        match &*step {
            WriteStep::Idle(_) => Ok(STEP),
            WriteStep::Writing(_) => Ok(0),
            WriteStep::Failed(error) => {
                let error = error.clone();
                Err(failed(step, error))
            }
            WriteStep::Finished => Err(StreamError::Closed),
        }
    }
}

/// The error of a stream. The value keeps it for its own end.
fn failed(mut step: parking_lot::MutexGuard<'_, WriteStep>, error: KvError) -> StreamError {
    let text = error.to_string();
    *step = WriteStep::Failed(error);
    StreamError::LastOperationFailed(wasmtime::Error::msg(text))
}
