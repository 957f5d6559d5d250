//! The admin listener: metrics for scrapers, health for supervisors, readiness for load balancers.
//!
//! It is for the machine that the host runs on: loopback unless told otherwise, no authentication, no request
//! with an effect.

use std::{convert::Infallible, error::Error, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::telemetry::{Health, Metrics, metrics::Exposition};

/// Where the admin listener is when nothing is said.
pub const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

/// Connections at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// For a request's head to arrive, and for a kept connection to send its next.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an error of `accept`, which is mostly a lack of file descriptors and would come back at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no admin listener.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Another process listens there.
    #[error(
        "the admin listener cannot have {address}: the port is in use; choose another with --admin, or `--admin off`"
    )]
    InUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The address is not one of this machine's, the port needs a privilege, and so on.
    #[error("the admin listener cannot have {address}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// The admin listener, bound.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    connections: Arc<Semaphore>,
}

impl Admin {
    /// Binds the listener.
    pub async fn bind(
        address: SocketAddr,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> Result<Admin, AdminError> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => AdminError::InUse { address },
            _ => AdminError::Bind { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let state = Arc::new(State { metrics, health, connections });
        Ok(Admin { listener, address, state })
    }

    /// Where it listens: with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the future is dropped. During a drain it goes on: that is when readiness is asked for.
    pub async fn serve(self) -> Infallible {
        loop {
            // Never closed, so never an error.
            let permit = self.state.connections.clone().acquire_owned().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let state = self.state.clone();
                    tokio::spawn(async move {
                        serve_connection(stream, state).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin listener could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = state.answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

const INDEX: &str = "\
Lacewing admin
/metrics  what Prometheus scrapes
/healthz  200 while the process lives
/readyz   200 while requests are welcome, else 503
";

const TEXT: &str = "text/plain; charset=utf-8";

/// The body of an answer: a sentence, or a scrape that is made as it is read.
type Answer = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

impl State {
    fn answer<B>(&self, request: &Request<B>) -> Response<Answer> {
        let page: fn(&State, &Request<B>) -> Response<Answer> = match request.uri().path() {
            "/" => |_, _| respond(StatusCode::OK, TEXT, INDEX),
            "/metrics" => State::metrics,
            "/healthz" => |_, _| respond(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => |state, _| state.readiness(),
            _ => return respond(StatusCode::NOT_FOUND, TEXT, format!("not found\n\n{INDEX}")),
        };
        // hyper sends no body in answer to HEAD.
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return page(self, request);
        }
        let mut response =
            respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are allowed here\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        response
    }

    fn metrics<B>(&self, request: &Request<B>) -> Response<Answer> {
        let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let exposition = Exposition::negotiate(accept);
        let text = self.metrics.scrape(exposition).boxed_unsync();
        let mut response = answer(StatusCode::OK, exposition.content_type(), text);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
        response
    }

    fn readiness(&self) -> Response<Answer> {
        match self.health.readiness() {
            Ok(()) => respond(StatusCode::OK, TEXT, "ready\n"),
            Err(reason) => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n")),
        }
    }
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Answer> {
    let body = Full::new(body.into()).map_err(|never| match never {});
    answer(status, content_type, body.boxed_unsync())
}

fn answer(status: StatusCode, content_type: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    async fn start() -> (SocketAddr, Arc<Health>, tokio::task::JoinHandle<Infallible>) {
        let health = Arc::new(Health::new());
        let admin = Admin::bind(ANY, Arc::new(Metrics::new()), health.clone()).await.unwrap();
        let address = admin.address();
        (address, health, tokio::spawn(admin.serve()))
    }

    async fn ask(address: SocketAddr, line: &str, more: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn readiness_follows_health_and_liveness_does_not() {
        let (address, health, server) = start().await;
        let answer = ask(address, "GET /readyz", "").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nstarting: the apps are not loaded yet\n"), "{answer}");
        health.set_ready();
        assert!(ask(address, "GET /readyz", "").await.ends_with("\r\n\r\nready\n"));
        health.set_draining();
        let answer = ask(address, "GET /readyz", "").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("draining"), "{answer}");
        assert!(ask(address, "GET /healthz", "").await.starts_with("HTTP/1.1 200 "));
        server.abort();
    }

    #[tokio::test]
    async fn metrics_come_in_the_format_that_is_asked_for() {
        let (address, _health, server) = start().await;
        let plain = ask(address, "GET /metrics", "").await;
        assert!(plain.contains("content-type: text/plain; version=0.0.4"), "{plain}");
        assert!(plain.contains("\n# TYPE lacewing_build_info gauge\n"), "{plain}");
        let accept = "accept: application/openmetrics-text; version=1.0.0\r\n";
        let open = ask(address, "GET /metrics?x=1", accept).await;
        assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0"));
        assert!(open.ends_with("# EOF\n\r\n0\r\n\r\n"), "{open}");
        server.abort();
    }

    #[tokio::test]
    async fn what_is_not_there_says_what_is() {
        let (address, _health, server) = start().await;
        let answer = ask(address, "GET /nothing", "").await;
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("/metrics"), "{answer}");
        assert!(ask(address, "GET /", "").await.ends_with(INDEX));
        let answer = ask(address, "POST /readyz", "content-length: 0\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
        let answer = ask(address, "HEAD /healthz", "").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        server.abort();
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_had_is_named() {
        let (address, _health, server) = start().await;
        let bind = |address| Admin::bind(address, Arc::default(), Arc::default());
        assert_eq!(
            bind(address).await.unwrap_err().to_string(),
            format!(
                "the admin listener cannot have {address}: the port is in use; choose another with --admin, or `--admin off`"
            )
        );
        // An address for documentation is no machine's.
        let foreign: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let error = bind(foreign).await.unwrap_err();
        assert_eq!(error.to_string(), "the admin listener cannot have 192.0.2.1:9");
        server.abort();
    }
}
