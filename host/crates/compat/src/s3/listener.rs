//! The listener of the S3 API, with threads of its own.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_util::future::{AbortHandle, Abortable};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    S3Keys,
    caller::Rights,
    door::{ConnectionDoor, Door},
    figures::S3Figures,
    pace::PacedSocket,
    places::{Place, Places},
    service,
};

/// The bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct S3Bounds {
    /// Connections at once. A further one takes the place of one without a request, or waits.
    pub connections: usize,
    /// The time in which the head of a request has to come, and the longest pause between two. The
    /// connection ends.
    pub head: Duration,
    /// The longest time in which a client sends, or takes, less than 16 KiB of a body. The request
    /// ends with `RequestTimeout`; while a response is sent, the connection ends.
    pub pause: Duration,
    /// The time that requests under way have when the listener stops.
    pub grace: Duration,
    /// Threads.
    pub threads: usize,
}

impl Default for S3Bounds {
    fn default() -> S3Bounds {
        let seconds = Duration::from_secs;
        let (head, pause, grace) = (seconds(10), seconds(30), seconds(10));
        S3Bounds { connections: 1024, head, pause, grace, threads: 2 }
    }
}

/// Bytes of the head of a request, and of a response that wait to be sent.
const BUFFER_BYTES: usize = 64 << 10;

/// The pause after a connection that the system did not give.
const PAUSE: Duration = Duration::from_millis(50);

/// A listener that serves. Dropping it ends the requests under way, within their grace period.
#[derive(Debug)]
pub struct S3Listener {
    address: SocketAddr,
    figures: S3Figures,
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
        let places = Places::new(bounds.connections);
        let figures = S3Figures::new(places.clone());
        let door = Door {
            service: service(&rights),
            rights,
            figures: figures.clone(),
            forms: Arc::default(),
            pause: bounds.pause,
        };
        let accepting = Accepting { door: Arc::new(door), places, bounds };
        let serve = move || {
            runtime.block_on(async {
                match TcpListener::from_std(listener) {
                    Ok(listener) => accepting.serve(listener, stopped).await,
                    Err(error) => tracing::error!(%error, "the S3 listener cannot be served"),
                }
            });
        };
        let thread = thread::Builder::new().name("s3".to_owned()).spawn(serve)?;
        Ok(S3Listener { address, figures, stop: Some(stop), thread: Some(thread) })
    }

    /// The figures of the listener, which outlive it.
    pub fn figures(&self) -> &S3Figures {
        &self.figures
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

/// The connections that a listener accepts.
struct Accepting {
    door: Arc<Door>,
    places: Arc<Places>,
    bounds: S3Bounds,
}

impl Accepting {
    async fn serve(self, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
        let connections = GracefulShutdown::new();
        loop {
            let accepted = async {
                match listener.accept().await {
                    Ok((stream, client)) => {
                        let (end, ended) = AbortHandle::new_pair();
                        Some((stream, client.ip(), self.places.take(end).await, ended))
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the S3 listener accepts no connection");
                        sleep(PAUSE).await;
                        None
                    }
                }
            };
            let accepted = tokio::select! {
                accepted = accepted => accepted,
                // The sender is dropped to stop.
                _ = &mut stopped => break,
            };
            let Some((stream, client, place, ended)) = accepted else { continue };
            let connection = connections.watch(self.connection(stream, client, &place));
            tokio::spawn(async move {
                let _place = place;
                if let Ok(Err(error)) = Abortable::new(connection, ended).await {
                    tracing::debug!(%error, "a connection of the S3 listener ended");
                }
            });
        }
        drop(listener);
        if timeout(self.bounds.grace, connections.shutdown()).await.is_err() {
            tracing::warn!("requests of the S3 listener ended with the grace period");
        }
    }

    fn connection(&self, stream: TcpStream, client: IpAddr, place: &Place) -> Connection {
        // A response is written at once, so the system need not wait for more.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection of the S3 listener");
        }
        let socket = TokioIo::new(PacedSocket::new(stream, self.bounds.pause, place.requests()));
        let (door, requests) = (self.door.clone(), place.requests());
        let door = ConnectionDoor { door, requests, client };
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.bounds.head)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(socket, door)
    }
}

type Connection = http1::Connection<TokioIo<PacedSocket>, ConnectionDoor>;
