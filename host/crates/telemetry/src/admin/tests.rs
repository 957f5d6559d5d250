//! The listener on a real socket: pages, and clients that are slow, idle or strangers.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    sync::mpsc,
    task::JoinHandle,
};

use super::*;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Far longer than anything takes: only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A listener that serves. Ends when dropped.
struct Served {
    address: SocketAddr,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    server: JoinHandle<Infallible>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Served {
    async fn start() -> Served {
        Served::with(BOUNDS).await
    }

    async fn with(bounds: Bounds) -> Served {
        let (health, metrics) = (Arc::new(Health::new()), Arc::new(Metrics::new()));
        let names = vec!["metrics.internal".to_owned()];
        let mut admin = Admin::bind(ANY, names, metrics.clone(), health.clone()).await.unwrap();
        admin.bounds = bounds;
        Served { address: admin.address(), health, metrics, server: tokio::spawn(admin.serve()) }
    }

    /// A connection to which bytes were sent.
    async fn raw(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        stream
    }

    /// A connection whose client reads as little as a socket lets it.
    async fn narrow(&self, bytes: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, line: &str, more: &str) -> String {
        rest(self.raw(format!("{line} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n")).await).await
    }

    /// Has `/metrics` be larger than what sockets hold on their own.
    fn grow_metrics(&self) {
        let help: &'static str = Box::leak("x".repeat(16 << 20).into_boxed_str());
        self.metrics.add_gauge("large", help, || 0);
    }
}

/// Everything that comes until the connection's end, whichever way that comes.
async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
    let _ = read.await.expect("the connection ends");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Whether the other side has ended a connection without a word.
fn is_ended(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[tokio::test]
async fn readiness_follows_health_and_liveness_does_not() {
    let served = Served::start().await;
    let answer = served.ask("GET /readyz", "").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nstarting: the apps are not loaded yet\n"), "{answer}");
    served.health.set_ready();
    assert!(served.ask("GET /readyz", "").await.ends_with("\r\n\r\nready\n"));
    served.health.set_draining();
    let answer = served.ask("GET /readyz", "").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("draining"), "{answer}");
    for page in ["/healthz", "/livez"] {
        assert!(served.ask(&format!("GET {page}"), "").await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let served = Served::start().await;
    let plain = served.ask("GET /metrics", "").await;
    assert!(plain.contains("content-type: text/plain; version=0.0.4"), "{plain}");
    assert!(plain.contains("\n# TYPE lacewing_build_info gauge\n"), "{plain}");
    let accept = "accept: application/openmetrics-text; version=1.0.0\r\n";
    let open = served.ask("GET /metrics?x=1", accept).await;
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(open.ends_with("# EOF\n\r\n0\r\n\r\n"), "{open}");
}

#[tokio::test]
async fn an_unknown_path_lists_the_known_ones() {
    let served = Served::start().await;
    let answer = served.ask("GET /nothing", "").await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("/metrics"), "{answer}");
    assert!(served.ask("GET /", "").await.ends_with(INDEX));
    let answer = served.ask("POST /readyz", "content-length: 0\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    let answer = served.ask("HEAD /healthz", "").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_named() {
    let served = Served::start().await;
    let bind = |address| Admin::bind(address, Vec::new(), Arc::default(), Arc::default());
    let address = served.address;
    assert_eq!(
        bind(address).await.unwrap_err().to_string(),
        format!(
            "the admin listener cannot use {address}: the port is in use; choose another with --admin, or `--admin off`"
        )
    );
    // An address for documentation is no machine's.
    let foreign: SocketAddr = "192.0.2.1:9".parse().unwrap();
    let error = bind(foreign).await.unwrap_err();
    assert_eq!(error.to_string(), "the admin listener cannot use 192.0.2.1:9");
}

#[tokio::test]
async fn a_name_that_is_not_the_listeners_is_misdirected() {
    let served = Served::start().await;
    let answer = rest(served.raw("GET /metrics HTTP/1.1\r\nhost: evil.test\r\n\r\n").await).await;
    assert!(answer.starts_with("HTTP/1.1 421 Misdirected Request\r\n"), "{answer}");
    assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
    let (_, document) = answer.split_once("\r\n\r\n").unwrap();
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    assert_eq!(document["status"], 421);
    assert!(document["detail"].as_str().unwrap().ends_with("`admin_hosts` of the host file only"));
    // The page that asks learns nothing: not what the names are.
    assert!(!answer.contains("internal"), "{answer}");
    let named = "GET /readyz HTTP/1.1\r\nhost: metrics.internal:9180\r\n\r\n";
    assert!(rest(served.raw(named).await).await.ends_with("not loaded yet\n"));
    let old = rest(served.raw("GET /healthz HTTP/1.0\r\n\r\n").await).await;
    assert!(old.ends_with("\r\n\r\nok\n"), "{old}");
}

#[tokio::test]
async fn one_small_request_is_answered_and_the_connection_closed() {
    let served = Served::start().await;
    let answer = served.ask("GET /metrics", "origin: http://evil.test\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    for body in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n"] {
        let answer = served.ask("GET /healthz", body).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    let answer = served.ask("GET /healthz", &format!("x: {}\r\n", "x".repeat(HEAD_BYTES))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = served.ask("GET /healthz", &"x: y\r\n".repeat(FIELDS + 1)).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let two = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(2);
    let answer = rest(served.raw(two).await).await;
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1, "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn slow_and_idle_clients_give_way_to_one_that_is_prompt() {
    let served = Served::start().await;
    let mut clients = Vec::new();
    for (number, sent) in ["", "GET", "GET /readyz HTTP/1.1\r\nhost: "].iter().cycle().enumerate() {
        if number == 200 {
            break;
        }
        clients.push(served.raw(sent).await);
    }
    assert!(served.ask("GET /readyz", "").await.ends_with("not loaded yet\n"));
    // The first ones have gone, and as many of the last ones are there as there are places for, but
    // the prompt one's.
    let held = clients.split_off(200 - (BOUNDS.connections - 1));
    for client in clients {
        assert_eq!(rest(client).await, "");
    }
    assert!(held.iter().all(|client| !is_ended(client)));
}

#[tokio::test]
async fn a_head_that_does_not_come_and_an_answer_that_is_not_read_have_an_end() {
    let soon = Duration::from_millis(20);
    let served = Served::with(Bounds { head: soon, response: soon, ..BOUNDS }).await;
    served.grow_metrics();
    assert_eq!(rest(served.raw("GET /rea").await).await, "");
    let mut unread = served.narrow(SCRAPE).await;
    // The connection is reset, or ends; the whole answer has not come in either case.
    served.raw("").await.readable().await.unwrap();
    let mut answer = Vec::new();
    let _ = unread.read_to_end(&mut answer).await;
    assert!(answer.len() < 16 << 20, "{}", answer.len());
}

#[tokio::test]
async fn scrapers_that_do_not_read_give_way_to_one_that_does() {
    let served = Served::with(Bounds { response: PATIENCE, ..BOUNDS }).await;
    served.grow_metrics();
    let mut unread = Vec::new();
    for _ in 0..BOUNDS.scrapes {
        let stream = served.narrow(SCRAPE).await;
        // Its head is there.
        stream.readable().await.unwrap();
        unread.push(stream);
    }
    // While the host makes their first piece, the clients are not waited for.
    let answer = loop {
        let answer = served.ask("GET /metrics", "").await;
        if !answer.starts_with("HTTP/1.1 503 ") {
            break answer;
        }
    };
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.len() > 16 << 20, "{}", answer.len());
    let first = unread.remove(0);
    assert!(rest(first).await.len() < 16 << 20);
}

#[tokio::test]
async fn only_scrapes_wait_for_a_scrape() {
    let served = Served::start().await;
    let (began, mut has_begun) = mpsc::unbounded_channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    served.metrics.add_gauge("slow", "Takes as long as the test", move || {
        began.send(()).unwrap();
        let _ = wait.lock().unwrap().recv();
        7
    });
    let mut scrapes = Vec::new();
    for _ in 0..BOUNDS.scrapes {
        scrapes.push(served.raw(SCRAPE).await);
    }
    has_begun.recv().await.unwrap();
    // On one thread: it would be the scrape's.
    for page in ["/readyz", "/livez", "/"] {
        assert!(served.ask(&format!("GET {page}"), "").await.starts_with("HTTP/1.1 "), "{page}");
    }
    let answer = served.ask("GET /metrics", "").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    assert!(has_begun.try_recv().is_err(), "one is put together at a time");
    drop(go_on);
    for scrape in scrapes {
        assert!(rest(scrape).await.contains("\nlacewing_slow 7\n"));
    }
    assert!(served.ask("GET /metrics", "").await.starts_with("HTTP/1.1 200 "));
}

mod api;
