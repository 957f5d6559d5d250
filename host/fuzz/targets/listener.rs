//! A client's bytes, before hyper, through the listener: sniffing, transport, hyper, dispatch and a
//! small handler.
//!
//! Input: a byte of flags, then steps, each an operation with its arguments. Time is virtual: only
//! waiting takes any.
//!
//! - The connection ends, whatever bytes the client sends: soon after the client has closed it, or
//!   within the listener's own limits of time where the client falls silent.
//! - The connection's heap is bounded at each step, and gone afterwards.
//! - The host's work is bounded by the bytes and the steps.
//! - Each response belongs to a request, and one parser of responses finds the responses that the
//!   handler gave.

use std::{
    collections::HashSet,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use lacewing::{
    body::{Body, CutShort},
    fuzzing::{Held, Listener, Work},
    heap,
    ingress::{
        Answered, Endpoint, Exchange, Handler, Options, Problem, Routes,
        route::{RouteKey, Router},
    },
};
use lacewing_base::{
    HostPattern, Methods,
    budget::{Budget, Share},
    fair::Weight,
    outcome::Outcome,
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    pipe::{self, PeerEnd},
    script::Script,
    wire,
};

/// Bytes of the heap that one connection may hold, with streams and bodies as in [`options`].
const HEAP_BYTES: usize = 4 << 20;
/// Bytes that a client sends and reads at the most.
const CLIENT_BYTES: usize = 1 << 20;
/// From the client's end to the connection's, besides what the handler waits for each request.
const AFTER_CLOSE: Duration = Duration::from_secs(5);
/// From the client's last byte to the connection's end where the client stays, besides the same.
const AFTER_SILENCE: Duration = Duration::from_secs(120);
/// The signal that the handler waits for where the path says so.
const HANDLER_WAITS: Duration = Duration::from_secs(1);
/// Polls of the connection, and reads and writes that the host tries, for each input and for each
/// step. Each 2 bytes allow one more: a chunk of a body takes 6.
const WORK: (u64, u64) = (2_000, 100);
/// Of the sentence that says why a client's bytes are no request.
const REFUSAL_BYTES: usize = 1024;
/// Of a body that the handler collects, in bytes.
const BODY_BYTES: u64 = 64 * 1024;

/// hyper keeps the date for each thread, as bytes that are shared, and renews the date each second
/// in whichever account is in scope.
const DATE_BYTES: usize = 144;
/// Times that an input is played at the most, to tell a leak from other memory.
const TIMES: usize = 4;
/// Bytes that are sent one by one at the most.
const BYTE_BY_BYTE: usize = 512;

/// The behaviour of a route.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Hello,
    Echo,
    Relay,
    Stream,
    Broken,
    Endless,
    Large,
    Wait,
    Fail,
}

const DEEDS: [(&str, Deed); 9] = [
    ("/", Deed::Hello),
    ("/echo", Deed::Echo),
    ("/relay", Deed::Relay),
    ("/stream", Deed::Stream),
    ("/broken", Deed::Broken),
    ("/endless", Deed::Endless),
    ("/large", Deed::Large),
    ("/wait", Deed::Wait),
    ("/fail/{why}", Deed::Fail),
];

static PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];
static LARGE: [u8; 512 * 1024] = [b'l'; 512 * 1024];

/// The answers of the handler, in order.
#[derive(Default)]
struct Doer {
    answered: Mutex<Vec<wire::Answer>>,
    requests: AtomicUsize,
}

static BODIES: LazyLock<Arc<Share>> = LazyLock::new(|| Budget::new(1 << 30).share(&Weight::new(1)));

static ROUTES: LazyLock<Arc<Routes<Deed>>> = LazyLock::new(|| {
    let mut builder = Router::builder();
    for (path, target) in DEEDS {
        let key = RouteKey {
            owner: "fuzz".into(),
            hosts: vec![HostPattern::Any],
            methods: Methods::Any,
            path: path.parse().expect("a valid path"),
        };
        builder.route(key, Endpoint { target, cors: None });
    }
    Arc::new(Routes::from_pointee(builder.build().expect("no two of them clash")))
});

impl Handler for Doer {
    type Target = Deed;

    fn tenant(&self, _: &Deed) -> u64 {
        0
    }

    async fn handle(&self, mut exchange: Exchange<Deed>) -> Result<Response<Body>, Problem> {
        self.requests.fetch_add(1, Relaxed);
        exchange.introduce();
        let piece = || Ok(Frame::data(Bytes::from_static(&PIECE)));
        let some = || Ok(Frame::data(Bytes::from_static(b"some,")));
        let body = match *exchange.target() {
            Deed::Hello => Body::full("hello"),
            Deed::Echo => {
                let body = exchange.body.collect(BODY_BYTES, &exchange.parts.headers, &BODIES);
                Body::full(body.await?.bytes)
            }
            Deed::Relay => Body::stream(exchange.body.map_err(|error| CutShort(error.to_string()))),
            Deed::Stream => {
                let sum = (HeaderName::from_static("x-sum"), HeaderValue::from(7));
                let trailers = Frame::trailers(HeaderMap::from_iter([sum]));
                let pieces = futures_util::stream::iter([some(), some(), Ok(trailers)]);
                let mut response = Response::new(Body::stream(StreamBody::new(pieces)));
                response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
                return Ok(response);
            }
            Deed::Broken => {
                let pieces = [some(), Err(CutShort("the guest trapped".to_owned()))];
                Body::stream(StreamBody::new(futures_util::stream::iter(pieces)))
            }
            Deed::Endless => {
                Body::stream(StreamBody::new(futures_util::stream::repeat_with(piece)))
            }
            Deed::Large => Body::full(Bytes::from_static(&LARGE)),
            Deed::Wait => {
                sleep(HANDLER_WAITS).await;
                Body::full("done")
            }
            Deed::Fail => return Err(Problem::new(Outcome::CpuExceeded)),
        };
        Ok(Response::new(body))
    }

    fn answered(&self, answered: &Answered<'_>) {
        let is_head = answered.request.is_some_and(|(method, _)| *method == Method::HEAD);
        let answer = wire::Answer {
            has_request: answered.request.is_some(),
            is_head,
            status: answered.status.as_u16(),
        };
        self.answered.lock().expect("no panic").push(answer);
    }
}

/// Short waits, few streams: what the bounds above are reckoned from.
fn options(flags: u8) -> Options {
    let seconds = Duration::from_secs;
    Options {
        header_timeout: seconds(5),
        keep_alive: if flags & 4 == 0 { seconds(10) } else { Duration::ZERO },
        body_idle: seconds(5),
        body_read: seconds(20),
        write_idle: seconds(5),
        headers: if flags & 8 == 0 { 100 } else { 8 },
        header_bytes: if flags & 8 == 0 { 32 * 1024 } else { 8 * 1024 },
        streams: 16,
        ..Options::default()
    }
}

/// The client of one input.
struct Client<'a> {
    peer: PeerEnd,
    held: &'a Held,
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Client<'_> {
    /// Lets the host do all that it can do now.
    async fn settle(&self) {
        sleep(Duration::from_millis(1)).await;
        check_heap(self.held);
    }

    /// Sends bytes as far as the host takes them.
    async fn send(&mut self, mut bytes: &[u8]) {
        bytes = &bytes[..bytes.len().min(CLIENT_BYTES - self.sent.len())];
        let mut is_stuck = false;
        while !bytes.is_empty() {
            let taken = self.peer.give(bytes);
            self.sent.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if taken == 0 && std::mem::replace(&mut is_stuck, true) {
                return;
            }
            if !bytes.is_empty() {
                self.settle().await;
            }
        }
    }

    async fn read(&mut self, mut count: usize) {
        count = count.min(CLIENT_BYTES - self.received.len());
        while count > 0 {
            self.settle().await;
            let taken = self.peer.take(count);
            count -= taken.len();
            self.received.extend_from_slice(&taken);
            if taken.is_empty() {
                return;
            }
        }
    }

    /// One step of the script.
    async fn step(&mut self, operation: u8, script: &mut Script<'_>, last: &mut Vec<u8>) {
        self.peer.allow(WORK.1);
        match operation % 12 {
            0 => *last = script.piece().to_vec(),
            1 => *last = wire::request(script),
            2 => *last = wire::frame(script),
            3 => *last = wire::headers(script),
            4 => *last = script.chunk(),
            5 => *last = vec![script.or_zero(); script.size()],
            6 => {
                let times = script.or_zero();
                for _ in 0..times {
                    self.send(last).await;
                }
                return;
            }
            7 => {
                // A client that sends byte by byte.
                for byte in last.iter().take(BYTE_BY_BYTE) {
                    self.send(&[*byte]).await;
                    self.settle().await;
                    self.peer.allow(WORK.1);
                }
                return;
            }
            8 => return self.read(script.size()).await,
            9 => {
                let time = Duration::from_millis(script.size().min(60_000) as u64);
                sleep(time).await;
                return;
            }
            10 => return self.settle().await,
            _ => {
                if script.or_zero() >= 200 {
                    self.peer.end();
                }
                return;
            }
        }
        self.send(last).await;
    }
}

fn check_heap(held: &Held) {
    let bytes = held.heap_bytes();
    assert!(bytes <= HEAP_BYTES, "the connection holds {bytes} bytes");
}

/// Looks at a connection's work and heap after each poll.
async fn watched(mut work: Work<()>, held: Arc<Held>, peer: PeerEnd) {
    std::future::poll_fn(|cx| {
        peer.note_poll();
        let poll = work.as_mut().poll(cx);
        check_heap(&held);
        poll
    })
    .await;
}

/// Set when h2 has panicked: h2 asserts, in builds with debug assertions, that a connection which
/// is dropped has no streams. The host drops connections whose clients fall silent. The memory that
/// h2 does not free then is a matter of the assertion.
pub(crate) static EXCUSED: AtomicBool = AtomicBool::new(false);

pub(crate) fn run(data: &[u8]) {
    // Memory that is allocated once, or renewed by the clock, is no connection's. A leak is left
    // each time.
    let left: Vec<usize> = (0..TIMES)
        .map(|_| attack(data).left_bytes)
        .take_while(|left| *left > DATE_BYTES && !EXCUSED.swap(false, Relaxed))
        .collect();
    assert!(left.len() < TIMES, "{left:?} bytes of the heap are left after the connection's end");
}

/// How an input went.
struct Played {
    /// Bytes of the heap that the connection still has at the end.
    left_bytes: usize,
    #[cfg_attr(not(test), allow(dead_code, reason = "for the test of the target"))]
    answered: Vec<wire::Answer>,
}

/// Plays an input.
fn attack(data: &[u8]) -> Played {
    assert!(heap::is_charged(), "the allocator charges nothing to accounts");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("the runtime starts");
    // With room for all, so that no connection is charged for what is written down here.
    let doer = Arc::new(Doer {
        answered: Mutex::new(Vec::with_capacity(CLIENT_BYTES)),
        ..Doer::default()
    });
    let mut script = Script(data);
    let flags = script.or_zero();
    let (peer, host_end) = pipe::pair();
    let left_bytes = runtime.block_on(async {
        let listener = Listener::new(options(flags), ROUTES.clone(), doer.clone());
        let (held, work) = listener.accept(host_end).expect("a place is free");
        let held = Arc::new(held);
        peer.allow(WORK.0);
        let task = tokio::spawn(watched(work, held.clone(), peer.clone()));
        let (sent, received) = (Vec::new(), Vec::new());
        let mut client = Client { peer, held: &held, sent, received };
        let mut last = Vec::new();
        if flags & 1 == 1 {
            client.send(wire::PREFACE).await;
            client.send(wire::SETTINGS).await;
        }
        while let Some(operation) = script.byte() {
            client.step(operation, &mut script, &mut last).await;
        }
        client.settle().await;
        let own =
            HANDLER_WAITS * u32::try_from(wire::count_heads(&client.sent)).unwrap_or(u32::MAX);
        let bound = if flags & 2 == 0 {
            client.read(CLIENT_BYTES).await;
            client.peer.close();
            AFTER_CLOSE
        } else {
            AFTER_SILENCE
        };
        let began = Instant::now();
        let ended = timeout(bound + own, task).await;
        assert!(ended.is_ok(), "the connection is open after {:?}", began.elapsed());
        let ended = ended.expect("in time");
        assert!(ended.is_ok() || EXCUSED.load(Relaxed), "no panic");
        client.received.extend(client.peer.take(CLIENT_BYTES));
        check_responses(&client, &doer);
        // The tasks of its streams end with the connection.
        sleep(HANDLER_WAITS).await;
        assert_eq!(held.in_flight(), 0, "requests");
        let heap_bytes = held.heap_bytes().saturating_sub(remembered(&doer));
        drop(client);
        drop(held);
        assert_eq!(listener.holds(), (0, 0), "connections and noted bytes");
        heap_bytes
    });
    assert_eq!(runtime.metrics().num_alive_tasks(), 0, "tasks");
    let answered = doer.answered.lock().expect("no panic").clone();
    Played { left_bytes, answered }
}

#[cfg(test)]
#[test]
fn requests_reach_the_handler() {
    let statuses = |script: &[u8]| -> Vec<u16> {
        attack(script).answered.iter().map(|answer| answer.status).collect()
    };
    // GET / twice, the second one's path in another place; the same over HTTP/2; and no request.
    let (get, echo) = (b"\x01\x00\x00\x00\x00\x00", b"\x01\x01\x01\x00\x00\x02\x00\x05hello");
    assert_eq!(statuses(&[&b"\x00"[..], get, echo].concat()), [200, 200]);
    assert_eq!(statuses(b"\x01\x03\x01\x01\x00\x00\x03\x03\x01\x00\x00"), [200, 200]);
    assert_eq!(statuses(b"\x00\x00\x04nay\n"), [400]);
    assert_eq!(statuses(b"\x00"), [] as [u16; 0]);
}

/// Bytes that a connection may keep as long as there is an `Arc` of it: why the client's bytes were
/// refused.
fn remembered(doer: &Doer) -> usize {
    let answered = doer.answered.lock().expect("no panic");
    if answered.iter().any(|answer| !answer.has_request) { REFUSAL_BYTES } else { 0 }
}

fn check_responses(client: &Client<'_>, doer: &Doer) {
    let answered = doer.answered.lock().expect("no panic");
    if !client.sent.starts_with(wire::PREFACE) {
        wire::check_http1(&client.received, &answered);
        let requests = answered.iter().filter(|answer| answer.has_request).count();
        let heads = wire::count_heads(&client.sent);
        assert!(requests <= heads, "{requests} requests of {heads} heads");
        return;
    }
    let asked: HashSet<u32> = wire::frames(&client.sent[wire::PREFACE.len()..])
        .filter(wire::Frame::is_headers)
        .map(|frame| frame.stream)
        .collect();
    for frame in wire::frames(&client.received).filter(|frame| frame.kind <= 1) {
        assert!(asked.contains(&frame.stream), "{frame:?} answers nothing");
    }
    assert!(doer.requests.load(Relaxed) <= asked.len());
}
