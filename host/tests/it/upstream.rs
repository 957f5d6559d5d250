//! Another server, which functions call.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A server on loopback that answers every request with the same text. Ends with the test's
/// runtime.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    pub(crate) async fn start(answer: &'static str) -> Upstream {
        let length = answer.len();
        Upstream::saying(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}"))
            .await
    }

    /// Answers every request with these bytes, and closes.
    pub(crate) async fn saying(answer: String) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        tokio::spawn({
            let heads = heads.clone();
            async move {
                loop {
                    let (mut socket, _) = listener.accept().await.unwrap();
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(socket.read_u8().await.unwrap());
                    }
                    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
                    socket.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Upstream { address, heads }
    }

    /// The heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}
