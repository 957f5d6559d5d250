//! A server's bytes, given to a guest's outbound request: interim responses, heads, bodies,
//! trailers, early ends, garbage.
//!
//! Input: a byte of flags, then steps of the server, each an operation with its arguments. Time is
//! virtual: only waiting takes any.
//!
//! - The request ends within its limits of time, whatever the server does and however the guest
//!   reads.
//! - Bytes that are read before the head of the response are bounded, and so are those of the body.
//! - The guest's heap is bounded at each step, and gone afterwards with the request's places and
//!   tasks.
//! - The host's work is bounded by the bytes and the steps.

use std::{
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use lacewing::{
    capability::egress::{
        Egress, EgressLimits, EgressOptions, Gate, Policy, Propagation, Timeouts,
    },
    fuzzing,
    heap::{self, HeapAccount},
    telemetry::{Context as Invocation, GuestLog, InvocationId, Origin, Sink},
};
use lacewing_base::{Grants, HttpGrant, TenantAccount};
use tokio::time::{sleep, timeout};

use super::{
    pipe::{self, HostEnd, PeerEnd},
    script::Script,
};

/// Bytes of the heap that one outbound request may hold.
const HEAP_BYTES: usize = 1 << 20;
/// Bytes of a connection that the host may read before the head of the response: the egress's
/// bound, and one read over it.
const BYTES_TO_HEAD: usize = (64 + 128 + 128) << 10;
/// Bytes that a server sends at the most.
const SERVER_BYTES: usize = 1 << 20;
/// Bytes of bodies that the guest may send and receive.
const EGRESS_BYTES: u64 = 256 << 10;
/// Outbound connections of the host at once. A tenant may hold half of them.
const CONNECTIONS: usize = 4;
/// Of each of the egress's waits.
const WAIT: Duration = Duration::from_secs(10);
/// How long a guest keeps a response that it does not read.
const GUEST_KEEPS: Duration = Duration::from_secs(30);
/// From the server's last byte to the end of everything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Polls, and reads and writes that the host tries, for each input and for each step. Each 2 bytes
/// allow one more: a chunk of a body takes 6.
const WORK: (u64, u64) = (1_000, 100);

/// hyper keeps the date for each thread, as bytes that are shared, and renews the date each second
/// in whichever account is in scope.
const DATE_BYTES: usize = 128;
/// Bytes that are sent one by one at the most.
const BYTE_BY_BYTE: usize = 512;

const STATUSES: [&str; 12] =
    ["200", "100", "103", "101", "102", "204", "206", "304", "500", "999", "2", "-1"];
const VERSIONS: [&str; 4] = ["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2"];
const FIELDS: [&str; 16] = [
    "content-length: 5",
    "content-length: 0",
    "content-length: 70000",
    "content-length: 6",
    "content-length: 18446744073709551616",
    "content-length: -1",
    "transfer-encoding: chunked",
    "transfer-encoding: gzip",
    "transfer-encoding: chunked, chunked",
    "connection: close",
    "connection: keep-alive",
    "connection: upgrade\r\nupgrade: websocket",
    "trailer: x-trailer",
    "x-folded: a\r\n b",
    "x-odd :\tb",
    "set-cookie: a=b\r\nset-cookie: c=d",
];

struct World {
    egress: Arc<Egress>,
    policy: Policy,
    log: Arc<GuestLog>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let timeouts = Timeouts { dns: WAIT, connect: WAIT, first_byte: WAIT, between_bytes: WAIT };
    let options = EgressOptions { timeouts, connections: CONNECTIONS, ..EgressOptions::default() };
    let text = "http://upstream.test";
    let grant = text.parse::<HttpGrant>().expect("a valid grant");
    let (app, function) = ("fuzz".parse().expect("a name"), "fuzz".parse().expect("a name"));
    let origin = Origin::new(TenantAccount::alone("fuzz"), app, function, "1".into());
    let context = Arc::new(Invocation::new(Arc::new(origin), InvocationId(1)));
    World {
        egress: Arc::new(Egress::new(options).expect("a way out")),
        policy: Policy::new(&Grants { http: vec![grant], ..Grants::default() }),
        log: Arc::new(GuestLog::new(context, 64 << 10, Sink::nothing())),
    }
});

/// How a guest reads a response.
#[derive(Clone, Copy, Debug)]
enum Appetite {
    Reads,
    ReadsSlowly,
    ReadsOnePiece,
    DropsAtOnce,
    KeepsUnread,
}

const APPETITES: [Appetite; 5] = [
    Appetite::Reads,
    Appetite::ReadsSlowly,
    Appetite::ReadsOnePiece,
    Appetite::DropsAtOnce,
    Appetite::KeepsUnread,
];

/// The outside view of a guest's request.
#[derive(Default)]
struct Seen {
    has_head: AtomicBool,
    body_bytes: AtomicUsize,
}

/// A task that works for the guest: what it allocates is the guest's.
struct OfGuest<F> {
    task: Pin<Box<F>>,
    account: Arc<HeapAccount>,
    peer: PeerEnd,
}

impl<F: Future> Future for OfGuest<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.peer.note_poll();
        let entered = this.account.enter();
        let poll = this.task.as_mut().poll(cx);
        drop(entered);
        check_heap(&this.account);
        poll
    }
}

fn check_heap(account: &HeapAccount) {
    let bytes = account.bytes();
    assert!(bytes <= HEAP_BYTES, "the request holds {bytes} bytes");
}

/// A guest that sends one request, and does with the response what its appetite is.
async fn guest(
    account: Arc<HeapAccount>,
    seen: Arc<Seen>,
    (peer, stream): (PeerEnd, HostEnd),
    request: Request<Bytes>,
    appetite: Appetite,
) {
    let world = &*WORLD;
    let limits = EgressLimits { concurrency: 1, requests: 1, bytes: EGRESS_BYTES };
    let (egress, policy, log) = (world.egress.clone(), world.policy.clone(), world.log.clone());
    let mut gate = Gate::new(egress, policy, limits, Propagation::default(), log);
    let (response, driver) = match fuzzing::fetch(&mut gate, stream, request).await {
        Ok(fetched) => fetched,
        Err(code) => return assert!(!code.is_empty()),
    };
    seen.has_head.store(true, Relaxed);
    assert!(response.status().as_u16() >= 100);
    let driver = OfGuest { task: Box::pin(driver), account, peer };
    let driver = tokio::spawn(driver);
    let mut body = response.into_body();
    match appetite {
        Appetite::DropsAtOnce => {}
        Appetite::KeepsUnread => sleep(GUEST_KEEPS).await,
        Appetite::Reads | Appetite::ReadsSlowly | Appetite::ReadsOnePiece => {
            while let Some(Ok(frame)) = body.frame().await {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                seen.body_bytes.fetch_add(bytes, Relaxed);
                match appetite {
                    Appetite::ReadsSlowly => sleep(Duration::from_millis(1)).await,
                    Appetite::ReadsOnePiece => break,
                    _ => {}
                }
            }
        }
    }
    drop(body);
    // It ends with the response, well or not.
    let _ = driver.await.expect("no panic");
}

/// The server of one input.
struct Server<'a> {
    peer: PeerEnd,
    account: &'a HeapAccount,
    seen: &'a Seen,
    sent_bytes: usize,
}

impl Server<'_> {
    /// Lets the host do all that it can do now.
    async fn settle(&self) {
        sleep(Duration::from_millis(1)).await;
        self.check();
    }

    fn check(&self) {
        check_heap(self.account);
        let read_bytes = self.peer.read_by_host();
        let has_head = self.seen.has_head.load(Relaxed);
        assert!(has_head || read_bytes <= BYTES_TO_HEAD, "{read_bytes} bytes without a head");
        let body_bytes = self.seen.body_bytes.load(Relaxed);
        assert!(body_bytes as u64 <= EGRESS_BYTES, "{body_bytes} bytes of a body");
        assert!(body_bytes <= self.sent_bytes);
    }

    async fn send(&mut self, mut bytes: &[u8]) {
        bytes = &bytes[..bytes.len().min(SERVER_BYTES - self.sent_bytes)];
        let mut is_stuck = false;
        while !bytes.is_empty() {
            let taken = self.peer.give(bytes);
            self.sent_bytes += taken;
            bytes = &bytes[taken..];
            if taken == 0 && std::mem::replace(&mut is_stuck, true) {
                return;
            }
            if !bytes.is_empty() {
                self.settle().await;
            }
        }
    }

    /// One step of the script. False: the server is gone.
    async fn step(&mut self, operation: u8, script: &mut Script<'_>, last: &mut Vec<u8>) -> bool {
        self.peer.allow(WORK.1);
        match operation % 11 {
            0 => *last = script.piece().to_vec(),
            1 => *last = head(script),
            2 => *last = script.chunk(),
            3 => *last = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_vec(),
            4 => *last = vec![script.or_zero(); script.size()],
            5 => {
                for _ in 0..script.or_zero() {
                    self.send(last).await;
                }
                return true;
            }
            6 => {
                for byte in last.iter().take(BYTE_BY_BYTE) {
                    self.send(&[*byte]).await;
                    self.settle().await;
                    self.peer.allow(WORK.1);
                }
                return true;
            }
            7 => {
                // The server reads the guest's request.
                let at_once = script.size().max(1);
                while !self.peer.take(at_once).is_empty() {
                    self.peer.allow(WORK.1);
                    self.settle().await;
                }
                return true;
            }
            8 => {
                sleep(Duration::from_millis(script.size().min(20_000) as u64)).await;
                return true;
            }
            9 => {
                self.settle().await;
                return true;
            }
            _ => {
                return match script.or_zero() {
                    200.. => {
                        self.peer.close();
                        false
                    }
                    150.. => {
                        self.peer.end();
                        true
                    }
                    _ => true,
                };
            }
        }
        self.send(last).await;
        true
    }
}

/// The head of a response.
fn head(script: &mut Script<'_>) -> Vec<u8> {
    let status = script.one_of(&STATUSES);
    let style = script.or_zero();
    let version = VERSIONS[usize::from(style >> 2) % VERSIONS.len()];
    let end = if style & 1 == 0 { "\r\n" } else { "\n" };
    let mut text = format!("{version} {status} Reason{end}");
    for field in script.some_of(&FIELDS) {
        text.push_str(field);
        text.push_str(end);
    }
    // Without its end where the bit is set.
    if style & 2 == 0 {
        text.push_str(end);
    }
    text.into_bytes()
}

pub(crate) fn run(data: &[u8]) {
    // Memory that is allocated once, and for good, is no request's: a second time tells.
    let left: Vec<usize> =
        (0..4).map(|_| attack(data).left_bytes).take_while(|left| *left > DATE_BYTES).collect();
    assert!(left.len() < 4, "{left:?} bytes of the heap are left after the request's end");
}

/// How an input went.
struct Played {
    /// Bytes of the heap that the guest still has at the end.
    left_bytes: usize,
    /// Bytes of the response's body that the guest has read. None: the response had no head.
    #[cfg_attr(not(test), allow(dead_code, reason = "for the test of the target"))]
    body_bytes: Option<usize>,
}

/// Plays an input.
fn attack(data: &[u8]) -> Played {
    assert!(heap::is_charged(), "the allocator charges nothing to accounts");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("the runtime starts");
    let mut script = Script(data);
    let flags = script.or_zero();
    let appetite = APPETITES[usize::from(flags >> 2) % APPETITES.len()];
    let method =
        [Method::GET, Method::HEAD, Method::POST, Method::POST][usize::from(flags & 3)].clone();
    // A body that is larger than what the connection takes, if it is a large one.
    let body = Bytes::from(vec![
        b'b';
        if flags & 3 == 3 { 200 << 10 } else { 5 }
            * usize::from(flags >> 1 & 1)
    ]);
    let request = Request::builder().method(method).uri("http://upstream.test/path").body(body);
    let request = request.expect("a valid request");
    let (peer, host_end) = pipe::pair();
    let (account, seen) = (Arc::new(HeapAccount::open()), Arc::new(Seen::default()));
    runtime.block_on(async {
        peer.allow(WORK.0);
        let ends = (peer.clone(), host_end);
        let task = guest(account.clone(), seen.clone(), ends, request, appetite);
        let task = OfGuest { task: Box::pin(task), account: account.clone(), peer: peer.clone() };
        let task = tokio::spawn(task);
        let mut server = Server { peer, account: &account, seen: &seen, sent_bytes: 0 };
        let mut last = Vec::new();
        // Bytes that a server sends before the request is there are no response. Only a few inputs
        // do that.
        if flags < 240 {
            server.settle().await;
        }
        while let Some(operation) = script.byte() {
            if !server.step(operation, &mut script, &mut last).await {
                break;
            }
        }
        server.settle().await;
        let ended = timeout(PATIENCE, task).await;
        assert!(ended.is_ok(), "the request is open {PATIENCE:?} after the server's last byte");
        ended.expect("in time").expect("no panic");
        server.check();
    });
    assert_eq!(WORLD.egress.free_connections(), CONNECTIONS, "connections of the host");
    assert_eq!(runtime.metrics().num_alive_tasks(), 0, "tasks");
    let body_bytes = seen.has_head.load(Relaxed).then(|| seen.body_bytes.load(Relaxed));
    Played { left_bytes: account.bytes(), body_bytes }
}

#[cfg(test)]
#[test]
fn responses_reach_the_guest() {
    let read = |script: &[u8]| attack(script).body_bytes;
    let chunks = b"\x00\x01\x00\x00\x00\x40\x02\x00\x04some\x02\x00\x00";
    assert_eq!(read(b"\x00\x01\x00\x00\x00\x01\x00\x05hello"), Some(5));
    assert_eq!(read(b"\x00\x01\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x05hello"), Some(5));
    assert_eq!(read(chunks), Some(4));
    assert_eq!(read(b"\x00\x03\x05\x09"), None);
    assert_eq!(read(b"\xff\x01\x00\x00\x00\x01\x00\x05hello"), None);
}
