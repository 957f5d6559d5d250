//! The first answer of a server that is just starting.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, header::HOST, uri::PathAndQuery};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::runtime::Runtime;

use crate::{RequestTemplate, generator, target::LoadTarget};

/// Asks servers on this machine, one request at a time.
pub struct Probe {
    runtime: Runtime,
}

/// The longest that one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Probe {
    /// Between two attempts to connect: a fortieth of the shortest start that there is.
    pub const BETWEEN: Duration = Duration::from_micros(100);

    /// Needs no more than this thread.
    ///
    /// # Errors
    /// The system refuses what sockets need.
    pub fn new() -> io::Result<Probe> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Probe { runtime })
    }

    /// One GET on a connection of its own.
    ///
    /// # Errors
    /// There is no answer.
    pub fn get(&self, address: SocketAddr, path: &str) -> io::Result<Response<Bytes>> {
        let request = Request::get(path).header(HOST, address.to_string());
        let request = request.body(Full::default()).map_err(io::Error::other)?;
        self.send(&LoadTarget::local(address, PathAndQuery::from_static("/")), request)
    }

    /// One request on a connection of its own, to a server on this machine.
    pub fn ask(
        &self,
        address: SocketAddr,
        template: &RequestTemplate,
    ) -> io::Result<Response<Bytes>> {
        self.ask_target(&LoadTarget::local(address, template.path.clone()), template)
    }

    /// One request on a connection of its own.
    pub fn ask_target(
        &self,
        target: &LoadTarget,
        template: &RequestTemplate,
    ) -> io::Result<Response<Bytes>> {
        let request =
            generator::request(target, &template.method, &template.headers, &template.body);
        self.send(target, request)
    }

    fn send(
        &self,
        target: &LoadTarget,
        request: Request<Full<Bytes>>,
    ) -> io::Result<Response<Bytes>> {
        self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, send(target, request))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    }

    /// Asks again and again until there is a good answer, or `until` has come.
    ///
    /// # Errors
    /// There was none; the last reason why.
    pub fn first(
        &self,
        address: SocketAddr,
        path: &str,
        until: Instant,
    ) -> io::Result<Response<Bytes>> {
        loop {
            let failure = match self.get(address, path) {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => io::Error::other(format!("the status was {}", response.status())),
                Err(error) => error,
            };
            if Instant::now() >= until {
                return Err(failure);
            }
            std::thread::sleep(Probe::BETWEEN);
        }
    }
}

async fn send(target: &LoadTarget, request: Request<Full<Bytes>>) -> io::Result<Response<Bytes>> {
    let stream = target.resolve().await?.connect().await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok::<_, hyper::Error>(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    let mut exchange = std::pin::pin!(exchange);
    let answer = tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The bytes that it had received are there all the same.
        _ = connection => exchange.await,
    };
    answer.map_err(io::Error::other)
}

/// A port of this machine that nobody listens on just now.
///
/// # Errors
/// There is none.
pub fn free_address() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()
}
