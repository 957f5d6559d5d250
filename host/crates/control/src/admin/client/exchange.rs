//! One request of a client, on a connection of its own.

use std::{error::Error, io, pin::pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// The longest wait for a connection, for a piece of a body, and for the answer of all requests but
/// those that go through in pieces or read all of a tenant's state.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The largest answer that is read whole: a page of a thousand keys, each of whose bytes is written
/// as six.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Sends a request, and gives what `read` makes of the response.
pub(super) async fn exchange<B, T>(
    address: &str,
    request: Request<B>,
    read: impl AsyncFnOnce(Response<Incoming>) -> io::Result<T>,
) -> io::Result<T>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let socket = in_time("no connection in 30 s", TcpStream::connect(address)).await??;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        read(response).await
    };
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    tokio::select! {
        exchanged = &mut exchange => exchanged,
        // The connection has an end before its answer was read to the end.
        _ = &mut connection => exchange.await,
    }
}

/// A response that is read whole.
pub(super) async fn collected(response: Response<Incoming>) -> io::Result<Response<Bytes>> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    Ok(Response::from_parts(head, body.map_err(io::Error::other)?.to_bytes()))
}

/// The next bytes of a body; `None` at its end.
pub(super) async fn next_piece(body: &mut Incoming) -> io::Result<Option<Bytes>> {
    while let Some(frame) = in_time("no more of the answer in 30 s", body.frame()).await? {
        if let Ok(bytes) = frame.map_err(io::Error::other)?.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// What comes in time.
async fn in_time<T>(late: &'static str, coming: impl Future<Output = T>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, late);
    timeout(PATIENCE, coming).await.map_err(late)
}
