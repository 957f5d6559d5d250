//! The places for admin connections, and which of them gives way to a new one.
//!
//! ```text
//!   taken ──nothing to read yet──> waits for its client ──whole request──> is served ──answered──> given back
//!                                             ^                               |
//!                                             +──its client takes no more─────+
//! ```
//!
//! Where every place is taken, the connection ends that has waited for its client longest, and the
//! new one has its place. So clients that are slow or idle never keep out one that is prompt,
//! however many they are. A connection that the host itself keeps waiting is not ended: no client
//! is at fault there.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http_body::{Body, Frame, SizeHint};
use parking_lot::{Mutex, MutexGuard};
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, oneshot},
};

use super::deadline::Deadline;

/// The places of one listener.
#[derive(Debug)]
pub(super) struct ClientPlaces {
    connections: usize,
    scrapes: usize,
    taken: Mutex<Taken>,
    /// A place was given back, or its connection began to wait.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// By number: the connection that came first is the first.
    connections: BTreeMap<u64, AdminConnection>,
}

#[derive(Debug)]
struct AdminConnection {
    /// Whether its request is whole and its response, or the next piece of it, is not there yet.
    served: bool,
    /// Since when its client is waited for. None: it is served, or was not looked at yet.
    waits_since: Option<Instant>,
    /// Whether it was asked for metrics, of which it holds a piece then.
    scrapes: bool,
    /// Tells it to end. None: it was told.
    end: Option<oneshot::Sender<()>>,
}

impl Taken {
    /// Ends the connection that has waited longest, of those that are meant. False: none of them
    /// waits.
    fn push_out(&mut self, meant: impl Fn(&AdminConnection) -> bool) -> bool {
        let waiting = self.connections.values_mut().filter(|one| one.end.is_some() && meant(one));
        let waiting = waiting.filter(|one| one.waits_since.is_some());
        let Some(longest) = waiting.min_by_key(|one| one.waits_since) else { return false };
        longest.end.take().is_some_and(|end| end.send(()).is_ok())
    }
}

/// The place of one connection. Given back when dropped.
#[derive(Debug)]
pub(super) struct ClientPlace {
    places: Arc<ClientPlaces>,
    number: u64,
}

impl ClientPlaces {
    /// For so many connections, of which so many may be asked for metrics at once.
    pub(super) fn new(connections: usize, scrapes: usize) -> Arc<ClientPlaces> {
        let (taken, changed) = (Mutex::default(), Notify::new());
        Arc::new(ClientPlaces { connections, scrapes, taken, changed })
    }

    /// A place, and what tells its connection to end. Comes at once, or as soon as another
    /// connection has made room.
    pub(super) async fn take(self: &Arc<Self>) -> (Arc<ClientPlace>, oneshot::Receiver<()>) {
        loop {
            let changed = self.changed.notified();
            if let Some(place) = self.try_take() {
                return place;
            }
            changed.await;
        }
    }

    fn try_take(self: &Arc<Self>) -> Option<(Arc<ClientPlace>, oneshot::Receiver<()>)> {
        let mut taken = self.lock();
        if taken.connections.len() >= self.connections {
            // One at a time: its place is free when it has ended.
            if taken.connections.values().all(|one| one.end.is_some()) {
                taken.push_out(|_| true);
            }
            return None;
        }
        let number = taken.next;
        taken.next += 1;
        let (end, ended) = oneshot::channel();
        let (waits_since, end) = (None, Some(end));
        let connection = AdminConnection { served: false, waits_since, scrapes: false, end };
        taken.connections.insert(number, connection);
        Some((Arc::new(ClientPlace { places: self.clone(), number }), ended))
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock()
    }
}

impl ClientPlace {
    /// Its client is waited for, from now on if it was not yet; unless it is served: then it is
    /// only looked at whether the client is still there.
    fn waits(&self) {
        let mut taken = self.places.lock();
        if let Some(one) = taken.connections.get_mut(&self.number)
            && !one.served
            && one.waits_since.is_none()
        {
            one.waits_since = Some(Instant::now());
            drop(taken);
            self.places.changed.notify_one();
        }
    }

    /// Its request is whole: the client waits for the host.
    pub(super) fn is_served(&self) {
        self.set_served(true);
    }

    /// Its response is there: the host waits for the client, where the client does not take it.
    pub(super) fn is_answered(&self) {
        self.set_served(false);
    }

    fn set_served(&self, served: bool) {
        if let Some(one) = self.places.lock().connections.get_mut(&self.number) {
            (one.served, one.waits_since) = (served, None);
        }
    }

    /// It is asked for metrics from now to its end. False: as many as may be are asked for them,
    /// and none of these waits for its client.
    pub(super) fn scrapes(&self) -> bool {
        let mut taken = self.places.lock();
        let scraping = |one: &AdminConnection| one.scrapes && one.end.is_some();
        let full =
            taken.connections.values().filter(|one| scraping(one)).count() >= self.places.scrapes;
        if full && !taken.push_out(|one| one.scrapes) {
            return false;
        }
        if let Some(one) = taken.connections.get_mut(&self.number) {
            one.scrapes = true;
        }
        true
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        self.places.lock().connections.remove(&self.number);
        self.places.changed.notify_one();
    }
}

pin_project! {
    /// The socket of a connection, which notes when its client is waited for.
    pub(super) struct Watched<T> {
        // Closed before the place is given back.
        #[pin]
        socket: T,
        place: Arc<ClientPlace>,
    }
}

impl<T> Watched<T> {
    pub(super) fn new(socket: T, place: Arc<ClientPlace>) -> Watched<T> {
        Watched { socket, place }
    }
}

fn watched<R>(place: &ClientPlace, polled: Poll<R>) -> Poll<R> {
    if polled.is_pending() {
        place.waits();
    }
    polled
}

impl<T: AsyncRead> AsyncRead for Watched<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        watched(this.place, this.socket.poll_read(context, buffer))
    }
}

impl<T: AsyncWrite> AsyncWrite for Watched<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        watched(this.place, this.socket.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        watched(this.place, this.socket.poll_write_vectored(context, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        watched(this.place, this.socket.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        watched(this.place, this.socket.poll_shutdown(context))
    }
}

pin_project! {
    /// The body of a response that is made as it is read, which notes when the host is waited for.
    pub(super) struct Made<B> {
        #[pin]
        body: B,
        place: Arc<ClientPlace>,
        // The time in which the client is to take each piece.
        each: Option<(Arc<Deadline>, Duration)>,
    }
}

impl<B> Made<B> {
    pub(super) fn new(body: B, place: Arc<ClientPlace>) -> Made<B> {
        Made { body, place, each: None }
    }

    /// Has the connection closed if its client does not take a piece in this time.
    pub(super) fn in_time(self, deadline: Arc<Deadline>, each: Duration) -> Made<B> {
        Made { each: Some((deadline, each)), ..self }
    }
}

impl<B: Body> Body for Made<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(context);
        this.place.set_served(polled.is_pending());
        if let (Some((deadline, each)), Poll::Ready(_)) = (this.each, &polled) {
            deadline.set(*each);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;

    use super::*;

    type Held = (Arc<ClientPlace>, oneshot::Receiver<()>);

    fn is_told((_, end): &mut Held) -> bool {
        end.try_recv().is_ok()
    }

    #[tokio::test]
    async fn the_connection_that_waited_longest_gives_way_and_a_served_one_never_does() {
        let places = ClientPlaces::new(3, 1);
        let [mut served, mut first, mut second]: [Held; 3] =
            [places.take().await, places.take().await, places.take().await];
        first.0.waits();
        second.0.waits();
        // Bytes that trickle in are no new beginning.
        first.0.waits();
        assert!(places.take().now_or_never().is_none(), "nobody has ended yet");
        assert_eq!([&mut served, &mut first, &mut second].map(is_told), [false, true, false]);
        assert!(places.take().now_or_never().is_none());
        assert!(!is_told(&mut second), "one is on its way out already");
        drop(first);
        let mut third = places.take().now_or_never().unwrap();
        assert!(places.take().now_or_never().is_none());
        assert_eq!([&mut served, &mut second, &mut third].map(is_told), [false, true, false]);
        drop(second);
        let _fourth = places.take().now_or_never().unwrap();
        // Of three that are served, none: the next one comes in when one begins to wait.
        let mut next = Box::pin(places.take());
        assert!(next.as_mut().now_or_never().is_none());
        assert!(!is_told(&mut served) && !is_told(&mut third));
        third.0.is_served();
        third.0.waits();
        assert!(next.as_mut().now_or_never().is_none());
        assert!(!is_told(&mut third));
        third.0.is_answered();
        third.0.waits();
        assert!(next.as_mut().now_or_never().is_none());
        assert!(is_told(&mut third));
        drop(third);
        assert!(next.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_body_that_is_being_made_keeps_its_place() {
        let places = ClientPlaces::new(8, 1);
        let [mut first, second]: [Held; 2] = [places.take().await, places.take().await];
        assert!(first.0.scrapes());
        let (pieces, made) = tokio::sync::mpsc::unbounded_channel::<()>();
        let made = futures_util::stream::unfold(made, async |mut made| {
            made.recv().await.map(|()| (Ok::<_, io::Error>(Frame::data(&b"piece"[..])), made))
        });
        let mut body = Made::new(Box::pin(http_body_util::StreamBody::new(made)), first.0.clone());
        for _ in 0..2 {
            assert!(body.frame().now_or_never().is_none());
            // The client is looked at meanwhile.
            first.0.waits();
            assert!(!second.0.scrapes());
            pieces.send(()).unwrap();
            assert!(body.frame().now_or_never().is_some());
        }
        first.0.waits();
        assert!(second.0.scrapes());
        assert!(is_told(&mut first));
    }

    #[tokio::test]
    async fn a_scrape_gives_way_to_another_once_its_client_is_waited_for() {
        let places = ClientPlaces::new(8, 2);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(places.take().await);
        }
        let scrapes = held.iter().map(|(place, _)| place.scrapes()).collect::<Vec<_>>();
        assert_eq!(scrapes, [true, true, false, false]);
        // Another connection that waits is no scrape.
        held[3].0.waits();
        assert!(!held[2].0.scrapes());
        held[1].0.waits();
        assert!(held[2].0.scrapes());
        assert_eq!(held.iter_mut().map(is_told).collect::<Vec<_>>(), [false, true, false, false]);
        assert!(!held[3].0.scrapes());
        held.remove(0);
        assert!(held[2].0.scrapes());
    }
}
