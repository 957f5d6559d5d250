//! The state that the requests of one connection share.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use lacewing_base::{
    body::{Body, CutShort},
    heap::HeapAccount,
};
use parking_lot::{Mutex, MutexGuard};

use futures_util::future::AbortHandle;

use super::{
    body::BodyBudget,
    crowd::Party,
    forwarded::Peer,
    heap::{HeapBudget, HeapShare},
    request_id::RequestId,
    respond::Problem,
    taken_back::TakenBack,
};

/// Bytes that a client which lets the host wait has to take in each
/// [`Options::write_idle`](super::options::Options::write_idle), unless it takes all.
pub(super) const PACE_BYTES: u64 = 16 * 1024;

/// The state of one connection that its requests, its transport and its task share. All of it is
/// advisory, so that no ordering is needed.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    /// The same, as requests' headers name it.
    pub(super) from: Peer,
    /// The listener's, here because each request has its connection at hand.
    pub(super) budget: BodyBudget,
    /// The heap that the connection's tasks have.
    heap: HeapAccount,
    heap_share: HeapShare,
    /// Closes the connection.
    end: AbortHandle,
    /// The tenant of the last request that had a route: its number and one, or 0.
    tenant: AtomicU64,
    /// Requests that are being answered, their responses' bodies included.
    in_flight: AtomicU32,
    /// Requests so far, wrapping.
    requests: AtomicU32,
    /// The requests that went away before they were answered. None: there was no such request yet.
    taken_back: OnceLock<Mutex<TakenBack>>,
    /// Responses that have more to send than hyper has asked for.
    unasked: AtomicU32,
    /// Requests whose bodies are waited for.
    body_waits: AtomicU32,
    /// Pieces of requests' bodies, wrapping.
    body_pieces: AtomicU32,
    /// Responses, and pieces of them, that hyper was handed, wrapping.
    handed: AtomicU32,
    /// Bytes that the client has taken, in [`PACE_BYTES`].
    paces: AtomicU64,
    /// Whether the client may still be sending a body that nobody will read.
    unread: AtomicBool,
    /// Whether a response breaks off, and with it the connection, once what came before is sent.
    breaks_off: AtomicBool,
    /// The answer that was sent for bytes that are no request.
    refused: OnceLock<(Problem, RequestId)>,
}

impl Connection {
    pub(super) fn new(
        peer: SocketAddr,
        from: Peer,
        budget: BodyBudget,
        heap: &Arc<HeapBudget>,
        end: AbortHandle,
    ) -> Arc<Connection> {
        Arc::new(Connection {
            peer,
            from,
            budget,
            heap: HeapAccount::open(),
            heap_share: HeapShare::of(heap),
            end,
            tenant: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            taken_back: OnceLock::new(),
            unasked: AtomicU32::new(0),
            body_waits: AtomicU32::new(0),
            body_pieces: AtomicU32::new(0),
            handed: AtomicU32::new(0),
            paces: AtomicU64::new(0),
            unread: AtomicBool::new(false),
            breaks_off: AtomicBool::new(false),
            refused: OnceLock::new(),
        })
    }

    /// Whether nothing is asked and nothing is left to send: the client's next request is waited
    /// for. `flushed` is [`Connection::handed`] when hyper last had nothing left to send.
    pub(super) fn awaits_request(&self, flushed: u32) -> bool {
        self.in_flight() == 0 && self.handed() == flushed
    }

    /// Counts a request until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Connection>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        InFlight { connection: Arc::clone(self), answered: false }
    }

    /// Whether the client takes back more requests than it may.
    pub(super) fn is_flooding(&self) -> bool {
        self.taken_back().is_some_and(|mut taken_back| taken_back.is_flood(Instant::now))
    }

    fn taken_back(&self) -> Option<MutexGuard<'_, TakenBack>> {
        Some(self.taken_back.get()?.lock())
    }

    fn note_taken_back(&self) {
        let taken_back = self.taken_back.get_or_init(|| Mutex::new(TakenBack::new(Instant::now())));
        taken_back.lock().taken_back(Instant::now);
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    /// A counter that changes whenever hyper is handed something to send.
    pub(super) fn handed(&self) -> u32 {
        self.handed.load(Relaxed)
    }

    /// A value that changes whenever the client makes something happen.
    pub(super) fn progress(&self) -> ConnectionProgress {
        ConnectionProgress {
            requests: self.requests(),
            handed: self.handed(),
            body_pieces: self.body_pieces.load(Relaxed),
            paces: self.paces.load(Relaxed),
        }
    }

    /// Notes how many bytes the client has taken so far. A client that takes less than
    /// [`PACE_BYTES`] makes no progress by that.
    pub(super) fn note_sent(&self, bytes: u64) {
        self.paces.store(bytes / PACE_BYTES, Relaxed);
    }

    /// Whether nothing can happen on an HTTP/2 connection unless the client asks, or reads.
    pub(super) fn waits_for_reader(&self) -> bool {
        self.in_flight() == self.unasked.load(Relaxed)
    }

    /// Whether nothing can happen unless the client makes it happen: each request that is answered
    /// waits for the client to send, or to read.
    pub(super) fn waits_for_client(&self) -> bool {
        let waits = self.unasked.load(Relaxed) + self.body_waits.load(Relaxed);
        self.in_flight() <= waits
    }

    /// Notes the tenant of a request. Tenants have numbers of their own.
    pub(super) fn asks_for(&self, tenant: u64) {
        if self.tenant.load(Relaxed) != tenant + 1 {
            self.tenant.store(tenant + 1, Relaxed);
        }
    }

    /// The party that pays for the connection.
    pub(super) fn party(&self) -> Party {
        Party::new(self.peer.ip(), self.tenant.load(Relaxed).checked_sub(1))
    }

    /// The account of what the connection's tasks allocate.
    pub(super) fn heap(&self) -> &HeapAccount {
        &self.heap
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.heap.bytes()
    }

    /// Notes what the connection has of the heap. Returns whether that is news.
    pub(super) fn note_heap(&self) -> bool {
        self.heap_share.note(self.heap.bytes())
    }

    /// Whether the host needs the connection's memory back. A connection of more than a few KiB has
    /// the task woken once that changes.
    pub(super) fn is_called_in_or_wakes(&self, task: &Waker) -> bool {
        match self.heap_share.is_noted() {
            true => self.heap.is_called_in_or_wakes(task),
            false => self.heap.is_called_in(),
        }
    }

    /// Closes the connection, whatever it is doing.
    pub(super) fn close(&self) {
        self.end.abort();
        self.heap_share.give_back();
    }

    /// Notes that a piece of a request's body has come.
    pub(super) fn note_body_piece(&self) {
        self.body_pieces.fetch_add(1, Relaxed);
    }

    /// Notes whether one more request's body is waited for, or one less.
    pub(super) fn note_body_wait(&self, waits: bool) {
        match waits {
            true => self.body_waits.fetch_add(1, Relaxed),
            false => self.body_waits.fetch_sub(1, Relaxed),
        };
    }

    pub(super) fn leave_body_unread(&self) {
        self.unread.store(true, Relaxed);
    }

    /// Whether what there is to send has to be sent now or never.
    pub(super) fn breaks_off(&self) -> bool {
        self.breaks_off.load(Relaxed)
    }

    /// Notes what was sent for bytes that are no request. A connection ends with the first such
    /// answer.
    pub(super) fn refuse(&self, problem: Problem, request_id: RequestId) {
        self.refused.get_or_init(|| (problem, request_id));
    }

    pub(super) fn refused(&self) -> Option<&(Problem, RequestId)> {
        self.refused.get()
    }

    /// Whether to wait for the client before the connection is closed.
    pub(super) fn client_may_be_sending(&self) -> bool {
        self.unread.load(Relaxed) || self.refused().is_some()
    }
}

/// How far a connection has come: it changes whenever the client makes something happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectionProgress {
    requests: u32,
    handed: u32,
    body_pieces: u32,
    paces: u64,
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct InFlight {
    connection: Arc<Connection>,
    answered: bool,
}

impl InFlight {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Notes that the response's header is on its way.
    pub(super) fn answered(mut self) -> InFlight {
        self.answered = true;
        if let Some(mut taken_back) = self.connection.taken_back() {
            taken_back.answered(Instant::now);
        }
        self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.connection.in_flight.fetch_sub(1, Relaxed);
        if !self.answered {
            self.connection.note_taken_back();
        }
    }
}

/// A response's body, in flight until it was sent or given up.
pub(super) struct Sending {
    body: Body,
    /// Why the body ended early, while what came before is being sent.
    failed: Option<CutShort>,
    /// Whether it is counted in [`Connection::unasked`].
    unasked: bool,
    in_flight: InFlight,
}

impl Sending {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Sending {
        in_flight.connection.handed.fetch_add(1, Relaxed);
        let mut sending = Sending { body, failed: None, unasked: false, in_flight };
        sending.note_unasked(true);
        sending
    }

    fn note_unasked(&mut self, unasked: bool) {
        let counter = &self.in_flight.connection.unasked;
        match (std::mem::replace(&mut self.unasked, unasked), unasked) {
            (false, true) => drop(counter.fetch_add(1, Relaxed)),
            (true, false) => drop(counter.fetch_sub(1, Relaxed)),
            (false, false) | (true, true) => {}
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.note_unasked(false);
    }
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => {
                // An error cuts the connection, and with it what hyper holds back: the response's
                // header, if all happens at once. Asked again, it has been sent.
                self.failed = Some(error);
                self.in_flight.connection.breaks_off.store(true, Relaxed);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => frame,
        };
        if frame.is_ready() {
            self.in_flight.connection.handed.fetch_add(1, Relaxed);
        }
        self.note_unasked(frame.is_ready());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
