//! The places of connections.
//!
//! ```text
//!   accepted ── a place is free ─────────────────────────> served
//!      │                                                     ^
//!      └── none is: the oldest connection without a request ─┘
//!          ends; without such a one the newcomer waits
//! ```
//!
//! A client needs an access key to have a request under way for long. So clients without a key
//! cannot keep others out.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    time::Duration,
};

use futures_util::future::AbortHandle;
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// The time between two looks for a connection that may end.
const LOOK: Duration = Duration::from_millis(20);

/// The places of a listener.
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    /// The connections, from the oldest on.
    connections: BTreeMap<u64, Arc<Connection>>,
    next: u64,
}

/// A connection that has a place. HTTP/1.1 has one request at a time.
struct Connection {
    /// From a request's head until the system has the last byte of its response.
    is_busy: AtomicBool,
    /// Whether the body of the response is over. Some of its bytes may wait to be sent.
    is_answered: AtomicBool,
    end: AbortHandle,
}

impl Places {
    pub(super) fn new(count: usize) -> Arc<Places> {
        Arc::new(Places { free: Arc::new(Semaphore::new(count)), taken: Mutex::default() })
    }

    /// The connections that have a place.
    pub(super) fn taken(&self) -> usize {
        self.taken.lock().connections.len()
    }

    /// A place for a connection that `end` ends. Waits as long as all have requests under way.
    pub(super) async fn take(self: &Arc<Places>, end: AbortHandle) -> Place {
        let permit = loop {
            if let Ok(permit) = self.free.clone().try_acquire_owned() {
                break permit;
            }
            self.make_room();
            if let Ok(Ok(permit)) = timeout(LOOK, self.free.clone().acquire_owned()).await {
                break permit;
            }
        };
        let connection = Arc::new(Connection {
            is_busy: AtomicBool::new(false),
            is_answered: AtomicBool::new(false),
            end,
        });
        let mut taken = self.taken.lock();
        let number = taken.next;
        taken.next += 1;
        taken.connections.insert(number, connection.clone());
        Place { number, connection, places: self.clone(), _permit: permit }
    }

    fn make_room(&self) {
        let taken = self.taken.lock();
        let mut connections = taken.connections.values();
        let idle = |connection: &&Arc<Connection>| {
            !connection.is_busy.load(Acquire) && !connection.end.is_aborted()
        };
        if let Some(connection) = connections.find(idle) {
            connection.end.abort();
        }
    }
}

/// The place of a connection, until it is dropped.
pub(super) struct Place {
    number: u64,
    connection: Arc<Connection>,
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// The connection's requests.
    pub(super) fn requests(&self) -> Requests {
        Requests(self.connection.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.lock().connections.remove(&self.number);
    }
}

/// The requests of a connection.
#[derive(Clone)]
pub(super) struct Requests(Arc<Connection>);

impl Requests {
    /// A request is under way until this is dropped, and its response was sent.
    pub(super) fn begin(&self) -> UnderWay {
        self.0.is_answered.store(false, Release);
        self.0.is_busy.store(true, Release);
        UnderWay(self.0.clone())
    }

    /// The system has all bytes that there were to send.
    pub(super) fn note_sent(&self) {
        if self.0.is_answered.swap(false, AcqRel) {
            self.0.is_busy.store(false, Release);
        }
    }
}

pub(super) struct UnderWay(Arc<Connection>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.is_answered.store(true, Release);
    }
}
