//! A guest's stdout and stderr: lines of its log.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use lacewing_telemetry::{GuestLog, Stream};
use parking_lot::{Mutex, MutexGuard};
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

/// Bytes that a guest may hand over in one write; what the log keeps is bounded there.
const WRITE_BYTES: usize = 64 << 10;

/// One of the two streams. Writing never waits: what is over the log's limit is dropped there.
#[derive(Clone)]
pub(crate) struct Output {
    log: Log,
    stream: Stream,
}

/// Where lines go.
#[derive(Clone)]
pub(crate) enum Log {
    /// To one invocation.
    Own(Arc<GuestLog>),
    /// To whichever is to have them now.
    Shared(SharedLog),
}

impl Log {
    /// The log of the invocation that is to have lines now.
    pub(crate) fn now(&self) -> Arc<GuestLog> {
        match self {
            Log::Own(log) => log.clone(),
            Log::Shared(log) => log.now().clone(),
        }
    }
}

impl From<Arc<GuestLog>> for Log {
    fn from(log: Arc<GuestLog>) -> Log {
        Log::Own(log)
    }
}

impl From<SharedLog> for Log {
    fn from(log: SharedLog) -> Log {
        Log::Shared(log)
    }
}

/// The log of an instance that serves one invocation after the other.
#[derive(Clone)]
pub(crate) struct SharedLog(Arc<Mutex<Arc<GuestLog>>>);

impl SharedLog {
    pub(crate) fn new(log: Arc<GuestLog>) -> SharedLog {
        SharedLog(Arc::new(Mutex::new(log)))
    }

    /// Output from now on goes to `log`.
    pub(crate) fn switch(&self, log: &Arc<GuestLog>) {
        *self.now() = log.clone();
    }

    fn now(&self) -> MutexGuard<'_, Arc<GuestLog>> {
        self.0.lock()
    }
}

impl Output {
    pub(crate) fn stdout(log: impl Into<Log>) -> Output {
        Output { log: log.into(), stream: Stream::Stdout }
    }

    pub(crate) fn stderr(log: impl Into<Log>) -> Output {
        Output { log: log.into(), stream: Stream::Stderr }
    }

    fn append(&self, bytes: &[u8]) {
        match &self.log {
            Log::Own(log) => log.write(self.stream, bytes),
            Log::Shared(log) => {
                let now = log.now().clone();
                now.write(self.stream, bytes);
            }
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(WRITE_BYTES)];
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
