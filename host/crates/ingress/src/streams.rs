//! The tasks of an HTTP/2 connection's streams, of which few begin at once.
//!
//! A client may send any number of requests in one write. Each is a task of its own, because one
//! may compute for long. Were all of them in the runtime's queue, they would stand in front of
//! other clients' requests. So a connection has at most [`BEGINNING`] streams that were not polled
//! yet; the rest wait here, in the order of their arrival.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use hyper::rt::Executor;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;

use super::{connection::Connection, drain::DrainGate, heap::OfConnection};

/// Streams of one connection that are in the runtime's queue before their first poll. Enough to
/// keep the threads of a small host busy.
const BEGINNING: usize = 4;

/// Runs the streams of one connection.
#[derive(Clone)]
pub(super) struct Streams(Arc<StreamGate>);

struct StreamGate {
    runtime: Handle,
    connection: Arc<Connection>,
    gate: Arc<DrainGate>,
    queue: Mutex<StreamQueue>,
}

#[derive(Default)]
struct StreamQueue {
    beginning: usize,
    waiting: VecDeque<BoxedStream>,
}

type BoxedStream = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Streams {
    /// The streams of a connection, on a runtime.
    pub(super) fn new(
        runtime: Handle,
        connection: Arc<Connection>,
        gate: Arc<DrainGate>,
    ) -> Streams {
        Streams(Arc::new(StreamGate { runtime, connection, gate, queue: Mutex::default() }))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let stream = async move {
            stream.await;
        };
        let mut queue = self.0.queue();
        if queue.beginning < BEGINNING {
            queue.beginning += 1;
            drop(queue);
            self.0.spawn(stream);
        } else {
            queue.waiting.push_back(Box::pin(stream));
        }
    }
}

impl StreamGate {
    fn spawn(self: &Arc<StreamGate>, stream: impl Future<Output = ()> + Send + 'static) {
        let beginning = Beginning(Some(Arc::downgrade(self)));
        let (connection, gate) = (Arc::clone(&self.connection), Arc::clone(&self.gate));
        let task = StreamTask { stream, beginning };
        self.runtime.spawn(OfConnection::new(task, connection, gate));
    }

    /// One stream that had not been polled was polled, or is gone.
    fn has_begun(self: &Arc<StreamGate>) {
        let next = {
            let mut queue = self.queue();
            let next = queue.waiting.pop_front();
            if next.is_none() {
                queue.beginning -= 1;
            }
            next
        };
        if let Some(stream) = next {
            self.spawn(stream);
        }
    }

    fn queue(&self) -> MutexGuard<'_, StreamQueue> {
        self.queue.lock()
    }
}

pin_project_lite::pin_project! {
    /// The task of one stream.
    struct StreamTask<F> {
        #[pin]
        stream: F,
        beginning: Beginning,
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let poll = this.stream.poll(cx);
        this.beginning.end();
        poll
    }
}

/// A place among the streams that begin, until the first poll. `None` afterwards.
struct Beginning(Option<Weak<StreamGate>>);

impl Beginning {
    fn end(&mut self) {
        // A connection that has ended lets none begin any more.
        if let Some(shared) = self.0.take().and_then(|shared| shared.upgrade()) {
            shared.has_begun();
        }
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::AbortHandle;

    use super::*;
    use crate::{Options, body::BodyBudget, forwarded::Peer};

    /// Tasks of one thread run in the order in which they are spawned. Another client's stream
    /// comes after those that begin.
    #[tokio::test(flavor = "current_thread")]
    async fn another_clients_stream_waits_for_few_of_a_hundred() {
        let gate = DrainGate::new(1, 1 << 20);
        let (end, _) = AbortHandle::new_pair();
        let budget = BodyBudget::new(&Options::default());
        let peer = ([127, 0, 0, 1], 1).into();
        let from = Peer::of(peer, &[]);
        let connection = Connection::new(peer, from, budget, &gate.heap, end);
        let streams = Streams::new(Handle::current(), connection, gate);
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |number: usize| {
            let order = Arc::clone(&order);
            async move { order.lock().push(number) }
        };
        for number in 0..100 {
            streams.execute(note(number));
        }
        tokio::spawn(note(usize::MAX)).await.unwrap();
        let others = order.lock().iter().position(|number| *number == usize::MAX);
        assert_eq!(others, Some(BEGINNING));
        while order.lock().len() < 101 {
            tokio::task::yield_now().await;
        }
        let mut own = order.lock().clone();
        own.retain(|number| *number != usize::MAX);
        assert!(own.is_sorted(), "{own:?}");
    }
}
