//! The bodies of requests into objects, and of objects into responses.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use lacewing_store::{
    StoreError,
    object::{ObjectReader, ObjectWriter, StagedBody},
};
use parking_lot::Mutex;
use s3s::{
    S3Error, S3ErrorCode, S3Result, StdError,
    dto::StreamingBlob,
    s3_error,
    stream::{ByteStream, RemainingLength},
};

use super::{caller::Caller, checksum::BodyChecksums, error::refused};

/// Bytes that one step reads.
const STEP: usize = 256 << 10;

/// A body of a request, with what its client says of it.
pub(super) struct Received {
    pub(super) body: Option<StreamingBlob>,
    pub(super) checksums: BodyChecksums,
    pub(super) length: Option<i64>,
}

impl Received {
    /// Reads the body into a writer. Returns the body, and its checksums if they are those that the
    /// client says.
    pub(super) async fn into_writer(
        self,
        mut writer: ObjectWriter,
    ) -> S3Result<(StagedBody, BTreeMap<String, String>)> {
        let Received { body, mut checksums, length } = self;
        if let Some(mut body) = body {
            while let Some(bytes) = body.next().await {
                let bytes = bytes.map_err(broken)?;
                checksums.update(&bytes);
                writer.write(bytes).await.map_err(|error| refused(&error))?;
            }
        }
        let staged = writer.finish().await.map_err(|error| refused(&error))?;
        let said = length.and_then(|length| u64::try_from(length).ok());
        if said.is_some_and(|said| said != staged.bytes()) {
            return Err(s3_error!(IncompleteBody));
        }
        let checksums = checksums.finish(staged.md5)?;
        Ok((staged, checksums))
    }
}

/// The error of a body that breaks off, or whose signature is wrong.
fn broken(error: StdError) -> S3Error {
    S3Error::with_source(S3ErrorCode::IncompleteBody, error)
}

/// The body of a response with so many bytes of an object.
pub(super) fn send(caller: Arc<Caller>, reader: ObjectReader, bytes: u64) -> StreamingBlob {
    let chunks = stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        match reader.next(STEP).await {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => Some((Ok(bytes), Some(reader))),
            // The connection ends, so that the client sees that the body is not whole.
            Err(error) => Some((Err(error), None)),
        }
    });
    StreamingBlob::new(ObjectStream {
        chunks: Mutex::new(Box::pin(chunks)),
        left: bytes,
        _caller: caller,
    })
}

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// The bytes of an object. Only its owner polls it; the lock makes it `Sync`, as s3s needs it.
struct ObjectStream {
    chunks: Mutex<Chunks>,
    left: u64,
    /// The request keeps its place until its response was sent.
    _caller: Arc<Caller>,
}

impl Stream for ObjectStream {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.chunks.get_mut().poll_next_unpin(cx));
        Poll::Ready(next.map(|chunk| match chunk {
            Ok(bytes) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                Ok(bytes)
            }
            Err(error) => {
                // The operator reads of a file that is damaged; a client does not.
                Err(StdError::from(error.for_tenants()))
            }
        }))
    }
}

impl ByteStream for ObjectStream {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(usize::try_from(self.left).unwrap_or(usize::MAX))
    }
}
