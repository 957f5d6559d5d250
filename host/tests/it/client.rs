//! Clients that stream: bodies sent piece by piece, HTTP/2 from its first byte, and sockets that
//! are written to by hand.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::mpsc,
};

use crate::harness::{Reply, Served};

/// A request's body that is sent piece by piece.
pub(crate) type Upload = UnsyncBoxBody<Bytes, Infallible>;

/// The test's end of an [`Upload`]. Dropping it ends the body.
pub(crate) struct Sender(mpsc::Sender<Frame<Bytes>>);

/// A body, and what is put into it.
pub(crate) fn upload() -> (Sender, Upload) {
    let (sender, mut receiver) = mpsc::channel(1);
    let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (Sender(sender), StreamBody::new(frames.map(Ok)).boxed_unsync())
}

impl Sender {
    /// Waits until the connection has taken it.
    pub(crate) async fn send(&self, data: impl Into<Bytes>) {
        self.0.send(Frame::data(data.into())).await.unwrap();
    }

    /// Sends so many MiB, then ends the body.
    pub(crate) async fn mebibytes(self, count: u64) {
        let piece = Bytes::from(vec![b'x'; 1 << 20]);
        for _ in 0..count {
            self.send(piece.clone()).await;
        }
    }

    /// Ends the body with trailers.
    pub(crate) async fn end_with(self, trailers: HeaderMap) {
        self.0.send(Frame::trailers(trailers)).await.unwrap();
    }
}

/// Sends a request on a connection of its own, and returns as soon as the head of its response is
/// there.
pub(crate) async fn exchange<B>(address: SocketAddr, request: Request<B>) -> Response<Incoming>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static,
{
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (mut client, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    client.send_request(request).await.unwrap()
}

/// One GET on a connection of its own.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> Reply {
    let request = Request::get(path).header("host", host).body(Empty::<Bytes>::new()).unwrap();
    Reply::read(exchange(address, request).await).await
}

/// The next piece of a response's body.
pub(crate) async fn piece(body: &mut Incoming) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

/// The next `bytes` of a response's body, in however many pieces they come.
pub(crate) async fn exactly(body: &mut Incoming, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < bytes {
        all.extend_from_slice(&piece(body).await);
    }
    assert_eq!(all.len(), bytes);
    all
}

/// Reads a body to its end, keeps nothing of it, and says how many bytes it had. None if it was
/// cut.
pub(crate) async fn drain(body: &mut Incoming) -> Option<u64> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.ok()?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Some(bytes)
}

/// A connection that speaks HTTP/2 without having asked.
pub(crate) async fn http2(address: SocketAddr) -> http2::SendRequest<Upload> {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await;
    let (client, connection) = handshake.unwrap();
    tokio::spawn(connection);
    client
}

/// A socket that holds little, so that what the other side takes is seen.
pub(crate) struct Raw {
    socket: TcpStream,
    pub(crate) sent: u64,
}

static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// The next piece of `left` bytes.
fn chunk(left: u64) -> &'static [u8] {
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    &CHUNK[..left.min(CHUNK.len())]
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Raw {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(64 * 1024).unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        Raw { socket: socket.connect(address).await.unwrap(), sent: 0 }
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
    }

    /// Sends up to `bytes`, until the host takes nothing more while it answers 50 other requests.
    pub(crate) async fn push(&mut self, bytes: u64, served: &Served) {
        while self.sent < bytes {
            tokio::select! {
                biased;
                written = self.socket.write(chunk(bytes - self.sent)) => self.sent += written.unwrap() as u64,
                () = answers(served, 50) => return,
            }
        }
    }

    /// Sends the rest of `bytes` while it reads everything until the connection's end; gives the
    /// length of what it read.
    pub(crate) async fn finish(mut self, bytes: u64) -> u64 {
        let (mut read, mut write) = self.socket.split();
        let sending = async {
            while self.sent < bytes {
                let chunk = chunk(bytes - self.sent);
                write.write_all(chunk).await.unwrap();
                self.sent += chunk.len() as u64;
            }
        };
        let reading = async {
            let (mut buffer, mut total) = (vec![0; 64 * 1024], 0);
            loop {
                match read.read(&mut buffer).await.unwrap() {
                    0 => return total,
                    bytes => total += bytes as u64,
                }
            }
        };
        tokio::join!(sending, reading).1
    }
}

async fn answers(served: &Served, count: u32) {
    for _ in 0..count {
        assert_eq!(served.get("/").await.status, 200);
    }
}
