//! Requests for buckets and objects, whose bodies go through in pieces.

use std::{
    io::{self, Read},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Response, header};
use http_body_util::{Empty, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use tokio::sync::mpsc;

use super::{
    AdminClient, ClientError, escaped,
    exchange::{collected, next_piece},
    following,
};
use crate::{BucketPage, ObjectPage};

/// The bytes of one piece.
const PIECE_BYTES: usize = 256 << 10;

impl AdminClient {
    /// A page of a tenant's buckets.
    ///
    /// # Errors
    /// As [`AdminClient::tenants`].
    pub fn buckets(&self, tenant: &str, after: Option<&str>) -> Result<BucketPage, ClientError> {
        let tenant = escaped(tenant);
        self.read(&format!("/v1/tenants/{tenant}/buckets?limit=1000{}", following(after)))
    }

    /// A page of the objects of a bucket.
    ///
    /// # Errors
    /// As [`AdminClient::tenants`].
    pub fn objects(
        &self,
        (tenant, bucket): (&str, &str),
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ObjectPage, ClientError> {
        let path = objects_path(tenant, bucket);
        self.read(&format!("{path}?limit=1000&prefix={}{}", escaped(prefix), following(after)))
    }

    /// Gives the body of an object to `take`, piece by piece. False: there is no object.
    ///
    /// # Errors
    /// As [`AdminClient::tenants`], and those of `take`.
    pub fn get_object<E: From<ClientError>>(
        &self,
        (tenant, bucket): (&str, &str),
        key: &str,
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let objects = objects_path(tenant, bucket);
        let request = self.request(Method::GET, &format!("{objects}/{}", escaped(key)));
        let read = async |response: Response<Incoming>| {
            if !response.status().is_success() {
                return Ok(Ok(Some(collected(response).await?)));
            }
            let mut body = response.into_body();
            while let Some(bytes) = next_piece(&mut body).await? {
                if let Err(error) = take(&bytes) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(None))
        };
        let read = self.exchanged(request.body(Empty::<Bytes>::new()), None, read)?;
        match read? {
            None => Ok(true),
            Some(refused) => Ok(self.some_if_there(&objects, self.done(refused))?.is_some()),
        }
    }

    /// Sets an object with the bytes that a source gives.
    ///
    /// # Errors
    /// As [`AdminClient::tenants`], and a source that cannot be read.
    pub fn put_object(
        &self,
        (tenant, bucket): (&str, &str),
        key: &str,
        content_type: Option<&str>,
        source: impl Read + Send + 'static,
    ) -> Result<(), ClientError> {
        let path = format!("{}/{}", objects_path(tenant, bucket), escaped(key));
        let mut request = self.request(Method::PUT, &path);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let failed = Arc::default();
        let sent = self.exchanged(request.body(pieces(source, &failed)), None, collected);
        if let Some(error) = failed.get() {
            return Err(ClientError::Content { error: error.to_string() });
        }
        self.done(sent?).map(drop)
    }

    /// Deletes an object. False: there is none.
    ///
    /// # Errors
    /// As [`AdminClient::tenants`].
    pub fn delete_object(
        &self,
        (tenant, bucket): (&str, &str),
        key: &str,
    ) -> Result<bool, ClientError> {
        self.delete_from(&objects_path(tenant, bucket), key)
    }
}

fn objects_path(tenant: &str, bucket: &str) -> String {
    format!("/v1/tenants/{}/buckets/{}/objects", escaped(tenant), escaped(bucket))
}

/// The body with the bytes of a source, which a thread of its own reads: the connection takes an
/// early answer while the source has nothing.
fn pieces<S: Read + Send + 'static>(
    mut source: S,
    failed: &Arc<OnceLock<io::Error>>,
) -> impl Body<Data = Bytes, Error = io::Error> + Send + use<S> {
    let (sender, mut receiver) = mpsc::channel(1);
    let failed = failed.clone();
    std::thread::spawn(move || {
        loop {
            let piece = match next_of(&mut source) {
                Ok(None) => return,
                Ok(Some(piece)) => Ok(Frame::data(piece)),
                Err(error) => Err(io::Error::from(failed.get_or_init(|| error).kind())),
            };
            let is_last = piece.is_err();
            // The connection has gone with its exchange.
            let is_gone = sender.blocking_send(piece).is_err();
            if is_last || is_gone {
                return;
            }
        }
    });
    StreamBody::new(stream::poll_fn(move |context| receiver.poll_recv(context)))
}

/// The next bytes of a source, as many as it has; `None` at its end.
///
/// # Errors
/// Those of the source.
pub fn next_of(source: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match source.read(&mut piece) {
            Ok(0) => return Ok(None),
            Ok(bytes) => {
                piece.truncate(bytes);
                return Ok(Some(piece.into()));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
