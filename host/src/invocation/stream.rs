//! The body of a response that the guest is still writing.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::{sync::Notify, task::AbortHandle};

use crate::body::{BodyError, StreamBody};

/// What the reader of a body has seen of it; shared with the task that runs the guest.
#[derive(Debug, Default)]
pub(super) struct Progress {
    bytes: AtomicU64,
    over_limit: Notify,
}

impl Progress {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Comes when the body has more bytes than its limit.
    pub(super) async fn limit_hit(&self) {
        self.over_limit.notified().await;
    }
}

/// Stops the guest when its reader goes away before the end, or when it writes more than its limit.
pub(super) struct GuestBody {
    body: StreamBody,
    progress: Arc<Progress>,
    limit_bytes: u64,
    // What is still to come, where the guest has said so.
    declared: Option<u64>,
    // None once the end was seen: the guest may run on after it.
    guest: Option<AbortHandle>,
}

impl GuestBody {
    pub(super) fn new(
        body: StreamBody,
        progress: Arc<Progress>,
        limit_bytes: u64,
        declared: Option<u64>,
        guest: AbortHandle,
    ) -> GuestBody {
        let guest = (!body.is_end_stream() && declared != Some(0)).then_some(guest);
        GuestBody { body, progress, limit_bytes, declared, guest }
    }

    fn seen(&mut self, bytes: u64) -> Result<(), BodyError> {
        let total = self.progress.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if total > self.limit_bytes {
            // Whoever runs the guest stops it, and knows why.
            self.guest = None;
            self.progress.over_limit.notify_one();
            return Err(BodyError::TooLarge { limit_bytes: self.limit_bytes });
        }
        if let Some(declared) = &mut self.declared {
            *declared = declared.saturating_sub(bytes);
            if *declared == 0 {
                self.guest = None;
            }
        }
        Ok(())
    }
}

impl http_body::Body for GuestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(frame) => frame,
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if frame.is_trailers() {
                    // Nothing comes after them, and nobody asks whether it does.
                    self.guest = None;
                }
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                Some(self.seen(bytes).map(|()| frame))
            }
            Some(Err(error)) => Some(Err(error)),
            None => {
                self.guest = None;
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        if let Some(guest) = &self.guest {
            guest.abort();
        }
    }
}
