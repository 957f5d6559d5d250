//! The end of a listener, and of its connections.
//!
//! ```text
//! Serving ──drain──> Draining ──linger──> Closing ──grace period──> Cut
//!                    nothing is           idle connections          what is left
//!                    accepted, HTTP/1     are closed                is dropped
//!                    answers say close,
//!                    HTTP/2 says GOAWAY
//! ```
//!
//! A connection whose last answer has been sent ends at any of these, and with the last connection
//! the drain does.

use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU8, AtomicU32, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::{
    connection::Connection,
    crowd::{Crowd, Need},
    heap::HeapBudget,
};

/// How far a listener's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    Serving,
    Draining,
    Closing,
    Cut,
}

impl Phase {
    const ALL: [Phase; 4] = [Phase::Serving, Phase::Draining, Phase::Closing, Phase::Cut];

    fn next(self) -> Phase {
        match self {
            Phase::Serving => Phase::Draining,
            Phase::Draining => Phase::Closing,
            Phase::Closing | Phase::Cut => Phase::Cut,
        }
    }
}

/// The work that a drain did not finish within its grace period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut.
    pub connections_cut: u32,
    /// Requests that were cut with them.
    pub requests_cut: u32,
}

/// The gate that every connection goes through: it has so many places, and is closed at the end.
#[derive(Debug)]
pub(super) struct DrainGate {
    capacity: u32,
    places: Arc<Semaphore>,
    /// Whether somebody waits for a place.
    full: AtomicBool,
    open: AtomicU32,
    crowd: Crowd,
    pub(super) heap: Arc<HeapBudget>,
    /// The number of the next connection.
    next: AtomicU64,
    phase: AtomicU8,
    /// One for each phase, so that who waits for one is woken by it and by nothing else: see
    /// [`DrainGate::drive`].
    begun: [Notify; Phase::ALL.len()],
    connections_cut: AtomicU32,
    requests_cut: AtomicU32,
}

/// One connection's place, free again when it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    gate: Arc<DrainGate>,
    number: u64,
    _permit: OwnedSemaphorePermit,
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.gate.open.fetch_sub(1, Relaxed);
        self.gate.crowd.remove(self.number);
    }
}

/// How long a full listener waits for a place before it looks again for a connection to close.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl DrainGate {
    /// With places for `capacity` connections, which may have `heap_bytes` of the heap together.
    pub(super) fn new(capacity: u32, heap_bytes: u64) -> Arc<DrainGate> {
        Arc::new(DrainGate {
            capacity,
            places: Arc::new(Semaphore::new(usize::try_from(capacity).unwrap_or(usize::MAX))),
            full: AtomicBool::new(false),
            open: AtomicU32::new(0),
            crowd: Crowd::default(),
            heap: HeapBudget::new(heap_bytes),
            next: AtomicU64::new(0),
            phase: AtomicU8::new(Phase::Serving as u8),
            begun: Default::default(),
            connections_cut: AtomicU32::new(0),
            requests_cut: AtomicU32::new(0),
        })
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Relaxed)).min(Phase::ALL.len() - 1)]
    }

    /// Whether a connection should end after the answer that is being made: at the end, and when
    /// others wait for its place.
    pub(super) fn wants_places_back(&self) -> bool {
        self.full.load(Relaxed) || self.phase() != Phase::Serving
    }

    /// Waits for a place for a client. Where all are taken, connections that wait for their client
    /// make room at once. Connections that work make room once no place has come free by itself
    /// for [`LOOK_AGAIN`].
    pub(super) async fn reserve(&self, client: IpAddr) -> Option<OwnedSemaphorePermit> {
        if let Some(permit) = self.try_reserve() {
            return Some(permit);
        }
        self.full.store(true, Relaxed);
        let mut free = pin!(Arc::clone(&self.places).acquire_owned());
        let mut waited = false;
        let permit = loop {
            self.crowd.make_room(Need::Place { client, waited }, std::time::Instant::now());
            if let Ok(permit) = timeout(LOOK_AGAIN, free.as_mut()).await {
                break permit.ok();
            }
            waited = true;
        };
        self.full.store(false, Relaxed);
        permit
    }

    /// A place, if one is free.
    pub(super) fn try_reserve(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Takes a reserved place for a connection.
    pub(super) fn enter(
        self: &Arc<DrainGate>,
        permit: OwnedSemaphorePermit,
        connection: &Arc<Connection>,
    ) -> ConnectionPlace {
        self.open.fetch_add(1, Relaxed);
        let number = self.next.fetch_add(1, Relaxed);
        self.crowd.add(number, Arc::clone(connection));
        ConnectionPlace { gate: Arc::clone(self), number, _permit: permit }
    }

    /// Closes connections until they have no more of the heap than they may.
    pub(super) fn keep_heap_budget(&self) {
        let now = std::time::Instant::now();
        while self.heap.is_over() && self.crowd.make_room(Need::HeapBytes, now) > 0 {}
    }

    /// Connections that are open.
    pub(super) fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    /// Ready once the phase is at least this one.
    pub(super) async fn reached(&self, phase: Phase) {
        // Made before the phase is looked at: it is woken by what happens from here on.
        let begun = self.begun[phase as usize].notified();
        if self.phase.load(SeqCst) < phase as u8 {
            begun.await;
        }
    }

    pub(super) fn note_cut(&self, requests: u32) {
        self.connections_cut.fetch_add(1, Relaxed);
        self.requests_cut.fetch_add(requests, Relaxed);
    }

    fn advance(&self, phase: Phase) {
        self.phase.store(phase as u8, SeqCst);
        self.begun[phase as usize].notify_waiters();
    }

    /// Ends all connections: see the module's drawing. `accepting` ends once nothing is accepted
    /// any more; `linger` is part of `grace`.
    pub(super) async fn drain(
        &self,
        accepting: impl Future,
        linger: Duration,
        grace: Duration,
    ) -> Drained {
        let cut_at = Instant::now() + grace;
        let close_at = (Instant::now() + linger).min(cut_at);
        self.advance(Phase::Draining);
        accepting.await;
        for (until, next) in [(close_at, Phase::Closing), (cut_at, Phase::Cut)] {
            if timeout_at(until, self.all_gone()).await.is_ok() {
                return Drained::default();
            }
            self.advance(next);
        }
        self.all_gone().await;
        Drained {
            connections_cut: self.connections_cut.load(Relaxed),
            requests_cut: self.requests_cut.load(Relaxed),
        }
    }

    async fn all_gone(&self) {
        // Never closed, so that it cannot fail.
        let _ = self.places.acquire_many(self.capacity).await;
    }

    /// Drives a connection until it ends, or until the phase is another than `seen`.
    ///
    /// The connection is polled at every wake-up; the phase's beginning, which takes a lock that
    /// connections share, only when it has come. So it has to be what wakes: were it woken by
    /// anything else, and not polled then, nothing would wake it again.
    pub(super) async fn drive<C: Future>(
        &self,
        seen: Phase,
        mut connection: Pin<&mut C>,
    ) -> Option<C::Output> {
        let mut begun = pin!(self.reached(seen.next()));
        let mut registered = false;
        poll_fn(|cx| {
            if let Poll::Ready(output) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if !registered || self.phase() > seen {
                registered = true;
                return begun.as_mut().poll(cx).map(|()| None);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Phases that follow upon each other at once, as they do without a grace period.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_connection_misses_a_phase() {
        for turn in 0..5_000 {
            let gate = DrainGate::new(1, u64::MAX);
            let connection = {
                let gate = Arc::clone(&gate);
                tokio::spawn(async move {
                    let mut connection = pin!(std::future::pending::<()>());
                    let mut seen = Phase::Serving;
                    while seen != Phase::Cut {
                        assert_eq!(gate.drive(seen, connection.as_mut()).await, None);
                        seen = gate.phase();
                    }
                })
            };
            for _ in 0..turn % 3 {
                tokio::task::yield_now().await;
            }
            for phase in [Phase::Draining, Phase::Closing, Phase::Cut] {
                gate.advance(phase);
            }
            let cut = timeout_at(Instant::now() + Duration::from_secs(60), connection).await;
            assert!(matches!(cut, Ok(Ok(()))), "turn {turn}: {cut:?}");
        }
    }

    #[tokio::test]
    async fn a_phase_that_has_been_is_reached() {
        let gate = DrainGate::new(1, u64::MAX);
        gate.advance(Phase::Draining);
        gate.advance(Phase::Closing);
        gate.reached(Phase::Draining).await;
        gate.reached(Phase::Closing).await;
        let cut = timeout_at(Instant::now(), gate.reached(Phase::Cut)).await;
        assert!(cut.is_err());
    }
}
