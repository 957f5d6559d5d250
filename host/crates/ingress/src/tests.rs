//! The ingress over real sockets: bytes in, bytes out, with a handler that does what its route's
//! name says.

mod bodies;
mod clients;
mod connections;
mod crowd;
mod drain;
mod http2;
mod methods;
mod smuggling;

use std::{
    num::NonZero,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use lacewing_base::{
    HostPattern, Methods,
    body::{Body, BodyError, CutShort},
    budget::{Budget, Share},
    cors::{Headers, Origins},
    event_loop::EventLoops,
    fair::Weight,
    outcome::Outcome,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Notify,
};

use super::{
    route::{RouteKey, Router},
    *,
};

/// Longer than anything here may take. Passing it is a failure, never a condition.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of a body that is collected, in bytes.
const BODY_LIMIT: u64 = 64 * 1024;
/// Of the body of [`Deed::Large`].
const LARGE_BYTES: usize = 16 * 1024 * 1024;
/// Tenants that have routes of their own.
const TENANTS: u32 = 8;
/// The bound on all buffered bodies of one host together, in bytes.
const BODY_BUDGET: u64 = 1024 * 1024;

/// The behaviour of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// `hello` and the route's parameters.
    Hello,
    /// `hello` of a tenant with this number.
    HelloOf(u64),
    /// Nothing until [`World::release`], of a tenant with this number.
    WaitOf(u64),
    /// The request as the function sees it, a line for each header field.
    Show,
    /// The body, collected.
    Echo,
    /// The body, streamed.
    Relay,
    /// Nothing until [`World::release`].
    Wait,
    /// A stream of two pieces and a trailer.
    Stream,
    /// A stream that fails after its first piece.
    Broken,
    /// A stream without end.
    Endless,
    /// Many bytes at once.
    Large,
    /// Ends as `cpu_exceeded`.
    Spin,
    /// Has a bug.
    Panic,
}

/// The requests that the handler has seen.
struct World {
    /// Requests that have begun to wait.
    waiting: AtomicUsize,
    /// Requests that stopped to wait because they were dropped.
    dropped: AtomicUsize,
    /// How collecting a body ended, where it did not end well.
    body_errors: Mutex<Vec<BodyError>>,
    /// The condition under which bodies go on.
    bodies: Arc<Share>,
    answered: Mutex<Vec<String>>,
    changed: Notify,
    release: Notify,
}

impl Default for World {
    fn default() -> World {
        World {
            waiting: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            body_errors: Mutex::default(),
            bodies: Budget::new(BODY_BUDGET).share(&Weight::new(1)),
            answered: Mutex::default(),
            changed: Notify::new(),
            release: Notify::new(),
        }
    }
}

impl World {
    /// Waits until something that the handler does makes the condition true.
    async fn until(&self, condition: impl Fn(&World) -> bool) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if condition(self) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the condition came true");
    }

    fn answered(&self) -> Vec<String> {
        self.answered.lock().unwrap().clone()
    }
}

struct Doer(Arc<World>);

/// Counts a wait that was given up.
struct Waiting<'a>(&'a World, bool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
            self.0.changed.notify_waiters();
        }
    }
}

impl Doer {
    async fn collect(&self, body: RequestBody) -> Result<Buffered, Problem> {
        body.collect(BODY_LIMIT, &HeaderMap::new(), &self.0.bodies).await.map_err(|error| {
            self.0.body_errors.lock().unwrap().push(error.clone());
            self.0.changed.notify_waiters();
            error.into()
        })
    }

    async fn wait(&self) {
        let mut waiting = Waiting(&self.0, false);
        let released = self.0.release.notified();
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
        released.await;
        waiting.1 = true;
    }
}

impl Handler for Doer {
    type Target = Deed;

    fn tenant(&self, deed: &Deed) -> u64 {
        match deed {
            Deed::HelloOf(tenant) | Deed::WaitOf(tenant) => *tenant,
            _ => 0,
        }
    }

    async fn handle(&self, mut exchange: Exchange<Deed>) -> Result<Response<Body>, Problem> {
        exchange.introduce();
        let body = match *exchange.target() {
            Deed::Hello => {
                let params = exchange.route.params(&exchange.params);
                let params: String =
                    params.map(|(name, value)| format!(" {name}={value}")).collect();
                Body::full(format!("hello{params}"))
            }
            Deed::Show => Body::full(show(&exchange)),
            Deed::Echo => Body::full(self.collect(exchange.body).await?.bytes),
            Deed::Relay => Body::stream(exchange.body.map_err(|error| CutShort(error.to_string()))),
            Deed::HelloOf(_) => Body::full("hello"),
            Deed::Wait | Deed::WaitOf(_) => {
                self.wait().await;
                Body::full("done")
            }
            Deed::Stream => {
                let trailers =
                    HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from(7))]);
                let pieces = [Ok(Frame::data(Bytes::from("one,"))), Ok(Frame::trailers(trailers))];
                let body = StreamBody::new(futures_util::stream::iter(pieces));
                let mut response = Response::new(Body::stream(body));
                response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
                return Ok(response);
            }
            Deed::Broken => {
                let pieces = [
                    Ok(Frame::data(Bytes::from("piece"))),
                    Err(CutShort("the guest trapped".to_owned())),
                ];
                Body::stream(StreamBody::new(futures_util::stream::iter(pieces)))
            }
            Deed::Endless => {
                let piece = || Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])));
                Body::stream(StreamBody::new(futures_util::stream::repeat_with(piece)))
            }
            Deed::Large => Body::full(vec![b'x'; LARGE_BYTES]),
            Deed::Panic => panic!("a bug of the host, for the test"),
            Deed::Spin => return Err(Problem::new(Outcome::CpuExceeded)),
        };
        Ok(Response::new(body))
    }

    fn answered(&self, answered: &Answered<'_>) {
        let request = answered.request.map(|(method, uri)| format!("{method} {uri}"));
        let line = format!(
            "{} {} {} {}",
            request.as_deref().unwrap_or("?"),
            answered.route.unwrap_or("-"),
            answered.outcome,
            answered.status.as_u16()
        );
        self.0.answered.lock().unwrap().push(line);
        self.0.changed.notify_waiters();
    }
}

fn show(exchange: &Exchange<Deed>) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for (name, value) in &exchange.parts.headers {
        lines.push([name.as_str().as_bytes(), b": ", value.as_bytes()].concat());
    }
    lines.sort();
    let first = format!(
        "{} {}://{} {} {}",
        exchange.parts.method,
        exchange.scheme,
        exchange.authority(),
        exchange.path_and_query(),
        exchange.route.pattern()
    );
    lines.insert(0, first.into_bytes());
    lines.join(&b'\n')
}

/// A server with a route for each deed.
struct Host {
    server: Server,
    world: Arc<World>,
    _loops: EventLoops,
}

impl Host {
    async fn start() -> Host {
        Host::with(Options::default()).await
    }

    async fn with(options: Options) -> Host {
        let world = Arc::new(World::default());
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), "--listen").await.unwrap();
        let routes = Arc::new(ArcSwap::from_pointee(routes()));
        let loops = EventLoops::start(NonZero::<usize>::MIN).unwrap();
        let doer = Arc::new(Doer(Arc::clone(&world)));
        let server = Server::start(listener, options, loops.handle(), routes, doer);
        Host { server, world, _loops: loops }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.server.address()).await
    }

    /// A client at another address of this machine.
    async fn connect_from(&self, client: [u8; 4]) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((client, 0).into()).unwrap();
        let socket = socket.connect(self.server.address()).await.unwrap();
        Client { socket, unread: Vec::new() }
    }

    /// The bytes that the server sends until it closes the connection.
    async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.rest().await
    }

    /// The answer to `GET path`, to see that the server is well.
    async fn get(&self, path: &str) -> Reply {
        let mut client = self.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        client.reply().await
    }
}

fn routes() -> Router<Endpoint<Deed>> {
    let mut builder = Router::builder();
    let mut add = |methods: Methods, path: &str, target: Deed, cors: Option<Cors>| {
        let hosts = vec![HostPattern::Any];
        let key = RouteKey { owner: "o".into(), hosts, methods, path: path.parse().unwrap() };
        builder.route(key, Endpoint { target, cors: cors.map(Arc::new) });
    };
    let cors = Cors::new(&lacewing_base::Cors {
        origins: Origins::Only(vec!["https://a.com".parse().unwrap()]),
        methods: vec![Method::GET, Method::PUT],
        headers: Headers::Only(Vec::new()),
        expose: Headers::Only(Vec::new()),
        credentials: false,
        max_age: None,
    });
    add(Methods::Any, "/", Deed::Hello, None);
    add(Methods::Any, "/u/{id}", Deed::Hello, None);
    add(Methods::Only(vec![Method::GET]), "/show", Deed::Show, None);
    add(Methods::Any, "/echo", Deed::Echo, None);
    add(Methods::Any, "/relay", Deed::Relay, None);
    add(Methods::Any, "/wait", Deed::Wait, None);
    for tenant in 1..=u64::from(TENANTS) {
        add(Methods::Any, &format!("/hello/{tenant}"), Deed::HelloOf(tenant), None);
        add(Methods::Any, &format!("/wait/{tenant}"), Deed::WaitOf(tenant), None);
    }
    add(Methods::Any, "/stream", Deed::Stream, None);
    add(Methods::Any, "/broken", Deed::Broken, None);
    add(Methods::Any, "/endless", Deed::Endless, None);
    add(Methods::Any, "/panic", Deed::Panic, None);
    add(Methods::Any, "/large", Deed::Large, None);
    add(Methods::Any, "/spin", Deed::Spin, Some(cors.clone()));
    add(Methods::Any, "/shared/{id}", Deed::Hello, Some(cors.clone()));
    add(Methods::Only(vec![Method::GET, Method::PUT]), "/shared", Deed::Hello, Some(cors));
    add(Methods::Only(vec![Method::OPTIONS]), "/own-options", Deed::Hello, None);
    add(Methods::Every, "/every", Deed::Hello, None);
    builder.build().unwrap()
}

/// A client that says exactly what a test says.
struct Client {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    async fn connect(address: std::net::SocketAddr) -> Client {
        Client { socket: TcpStream::connect(address).await.unwrap(), unread: Vec::new() }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads more. `false` at the end of the connection, however it ended.
    async fn read_more(&mut self) -> bool {
        let read = self.socket.read_buf(&mut self.unread);
        let read = tokio::time::timeout(PATIENCE, read).await.expect("the server said something");
        read.is_ok_and(|bytes| bytes > 0)
    }

    async fn read_until(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                let text: Vec<u8> = self.unread.drain(..at + end.len()).collect();
                return String::from_utf8_lossy(&text).into_owned();
            }
            let so_far = String::from_utf8_lossy(&self.unread).into_owned();
            assert!(self.read_more().await, "the connection ended after {so_far:?}");
        }
    }

    async fn read_bytes(&mut self, count: usize) -> String {
        while self.unread.len() < count {
            assert!(self.read_more().await, "the connection ended");
        }
        let bytes: Vec<u8> = self.unread.drain(..count).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// All until the server closes the connection.
    async fn rest(&mut self) -> String {
        while self.read_more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }

    /// One response whose body has a length, or none.
    async fn reply(&mut self) -> Reply {
        let head = self.head().await;
        let length = head.header("content-length").map_or(0, |length| length.parse().unwrap());
        let body = self.read_bytes(length).await;
        Reply { body, ..head }
    }

    /// A response's header only.
    async fn head(&mut self) -> Reply {
        let head = self.read_until(b"\r\n\r\n").await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head, body: String::new() }
    }
}

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// A member of the problem document.
    fn problem(&self, member: &str) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        problem(&self.body, member)
    }
}

fn problem(text: &str, member: &str) -> String {
    let body = &text[text.find('{').unwrap()..];
    let document: serde_json::Value = serde_json::from_str(body).unwrap();
    let value = &document[member];
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
