//! The listener of the S3 API, with threads of its own.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use s3s::{Body, HttpError, service::S3Service};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

use super::{
    S3Keys,
    caller::Rights,
    cors::{PageRequest, preflight},
    service,
};

/// The bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct S3Bounds {
    /// Connections at once. Further ones wait until one ends.
    pub connections: usize,
    /// The time in which the head of a request has to come, and the longest pause between two.
    pub head: Duration,
    /// The time that requests under way have when the listener stops.
    pub grace: Duration,
    /// Threads.
    pub threads: usize,
}

impl Default for S3Bounds {
    fn default() -> S3Bounds {
        let (head, grace) = (Duration::from_secs(15), Duration::from_secs(10));
        S3Bounds { connections: 1024, head, grace, threads: 2 }
    }
}

/// Bytes of the head of a request.
const HEAD_BYTES: usize = 64 << 10;

/// The pause after a connection that the system did not give.
const PAUSE: Duration = Duration::from_millis(50);

/// A listener that serves. Dropping it ends the requests under way, within their grace period.
#[derive(Debug)]
pub struct S3Listener {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl S3Listener {
    /// Serves S3 at an address, with the keys of a host.
    ///
    /// # Errors
    /// The address cannot be had, or the system has no threads.
    pub fn start(
        address: SocketAddr,
        keys: Arc<dyn S3Keys>,
        bounds: S3Bounds,
    ) -> io::Result<S3Listener> {
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(bounds.threads.max(1))
            .thread_name("s3")
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let rights = Arc::new(Rights::new(keys));
        let service = Door { service: service(&rights), rights };
        let serve = move || {
            runtime.block_on(async {
                match TcpListener::from_std(listener) {
                    Ok(listener) => serve(listener, service, bounds, stopped).await,
                    Err(error) => tracing::error!(%error, "the S3 listener cannot be served"),
                }
            });
        };
        let thread = thread::Builder::new().name("s3".to_owned()).spawn(serve)?;
        Ok(S3Listener { address, stop: Some(stop), thread: Some(thread) })
    }

    /// The address that clients reach.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for S3Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was logged where it happened.
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: TcpListener,
    service: Door,
    bounds: S3Bounds,
    mut stopped: oneshot::Receiver<()>,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let connections = GracefulShutdown::new();
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            // The sender is dropped to stop.
            _ = &mut stopped => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, &service, bounds);
                let connection = connections.watch(connection);
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection of the S3 listener ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the S3 listener accepts no connection");
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(bounds.grace, connections.shutdown()).await.is_err() {
        tracing::warn!("requests of the S3 listener ended with the grace period");
    }
}

fn connection(
    stream: TcpStream,
    service: &Door,
    bounds: S3Bounds,
) -> http1::Connection<TokioIo<TcpStream>, Door> {
    // A response is written at once, so the system need not wait for more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection of the S3 listener");
    }
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service.clone())
}

/// The service of a connection: S3, and the answers to pages of other origins.
#[derive(Clone)]
struct Door {
    service: S3Service,
    rights: Arc<Rights>,
}

impl Service<Request<Incoming>> for Door {
    type Response = Response<Body>;
    type Error = HttpError;
    type Future = BoxFuture<'static, Result<Response<Body>, HttpError>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Some(page) = PageRequest::of(&request) else {
            return Service::call(&self.service, request);
        };
        let Door { service, rights } = self.clone();
        Box::pin(async move {
            let fields = page.allowed(&rights).await;
            if page.is_preflight() {
                return Ok(preflight(fields));
            }
            let mut response = Service::call(&service, request).await?;
            response.headers_mut().extend(fields.unwrap_or_default());
            Ok(response)
        })
    }
}
