//! A load generator for HTTP/1.1: so many connections, closed or open loop, every response looked
//! at.
//!
//! ```text
//!   connect all -> warm up -> measure -> let what is under way finish
//! ```
//!
//! Latencies are kept in an HDR histogram. In a closed loop a latency runs from the request's
//! sending, in an open one from when it was due, each to the last byte of the body.

use std::{
    collections::BTreeMap,
    io,
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

use bytes::Bytes;
pub use hdrhistogram::Histogram;
use http::{HeaderMap, Method, Request, header::HOST};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use lacewing_base::event_loop;
use tokio::task::LocalSet;

use crate::{
    pace::PacedSlots,
    target::{Connector, LoadTarget, Transport},
};

/// The request that is sent, how often, and the answer that is to come back.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Where to.
    pub target: LoadTarget,
    /// The request's method.
    pub method: Method,
    /// Its header fields besides `host`.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Connections, over all threads. Each has one request under way at most.
    pub connections: u32,
    /// Threads that send.
    pub threads: u32,
    /// Requests of each connection, at the most; `None` goes on to the end.
    pub requests_each: Option<u32>,
    /// Sending before anything is counted.
    pub warmup: Duration,
    /// How long is counted.
    pub duration: Duration,
    /// Requests per second, whatever comes back; `None` sends the next one when the last one was
    /// answered.
    pub rate: Option<u32>,
    /// The longest that one answer may take.
    pub timeout: Duration,
    /// The answer that is expected.
    pub expect: Expect,
}

/// The definition of a good answer.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// Its status; otherwise any below 400.
    pub status: Option<u16>,
    /// Its body; otherwise any.
    pub body: Option<Bytes>,
}

/// The answers that came back.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Good answers.
    pub responses: u64,
    /// The failures, by their kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// The first thing that went wrong, in full.
    pub first_error: Option<String>,
    /// Requests that were due and never got a connection. Their latency is counted as the time
    /// that they had waited.
    pub unsent: u64,
    /// How long was counted.
    pub elapsed: Duration,
    /// Of good answers, and of what was never sent, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Good answers in each tenth of a second.
    pub timeline: Vec<u32>,
}

/// The width of a step of [`Measured::timeline`].
pub const TIMELINE_STEP: Duration = Duration::from_millis(100);

/// An error of 0.1 %.
const SIGNIFICANT_DIGITS: u8 = 3;

/// The longest latency that is told apart: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// An empty histogram of nanoseconds. A longer time than it holds counts as the longest.
pub fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS).map_err(io::Error::other)
}

impl Measured {
    fn new(duration: Duration) -> io::Result<Measured> {
        let steps = duration.as_millis().div_ceil(TIMELINE_STEP.as_millis());
        Ok(Measured {
            responses: 0,
            errors: BTreeMap::new(),
            first_error: None,
            unsent: 0,
            elapsed: duration,
            latency: histogram()?,
            timeline: vec![0; usize::try_from(steps).unwrap_or(0)],
        })
    }

    /// Good answers per second.
    #[allow(clippy::cast_precision_loss)]
    pub fn per_second(&self) -> f64 {
        self.responses as f64 / self.elapsed.as_secs_f64()
    }

    /// Everything that went wrong.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// A latency, in microseconds: `quantile(0.99)`.
    #[allow(clippy::cast_precision_loss)]
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    fn fail(&mut self, what: &'static str, detail: impl FnOnce() -> String) {
        *self.errors.entry(what).or_default() += 1;
        self.first_error.get_or_insert_with(detail);
    }

    fn add(&mut self, other: Measured) -> io::Result<()> {
        self.responses += other.responses;
        self.unsent += other.unsent;
        self.first_error = self.first_error.take().or(other.first_error);
        for (what, count) in other.errors {
            *self.errors.entry(what).or_default() += count;
        }
        self.latency.add(&other.latency).map_err(io::Error::other)?;
        self.timeline.iter_mut().zip(other.timeline).for_each(|(sum, count)| *sum += count);
        Ok(())
    }
}

impl LoadPlan {
    /// Puts the target under this load. Blocks until it is over.
    ///
    /// # Errors
    /// The name has no address, no connection can be made at all, or the system refuses threads or
    /// timers. Later failures are counted in the returned value.
    pub fn run(&self) -> io::Result<Measured> {
        let threads = self.threads.clamp(1, self.connections.max(1));
        let barrier = Arc::new(Barrier::new(threads as usize));
        let results = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|thread| {
                    let barrier = barrier.clone();
                    let share = |total: u32| total / threads + u32::from(thread < total % threads);
                    let connections = share(self.connections).max(1);
                    scope.spawn(move || self.run_thread(connections, threads, &barrier))
                })
                .collect();
            running.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        let mut measured = Measured::new(self.duration)?;
        for result in results {
            let result = result.map_err(|_| io::Error::other("a thread that sends panicked"))?;
            measured.add(result?)?;
        }
        Ok(measured)
    }

    fn run_thread(&self, connections: u32, threads: u32, all: &Barrier) -> io::Result<Measured> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // A failure of one thread does not leave the others waiting.
        let opened = runtime.and_then(|runtime| {
            let opened = runtime.block_on(self.open(connections))?;
            Ok((runtime, opened))
        });
        all.wait();
        let (runtime, (connector, opened)) = opened?;
        let start = Instant::now();
        let (from, end) = (start + self.warmup, start + self.warmup + self.duration);
        let pace = match self.rate {
            None => PacedSlots::closed(start, end),
            Some(rate) => {
                let interval = Duration::from_secs(1) * threads / rate.max(1);
                PacedSlots::open(start, end, interval)
            }
        };
        let generator = Rc::new(Generator {
            load: self.clone(),
            connector,
            pace,
            from,
            end,
            measured: std::cell::RefCell::new(Measured::new(self.duration)?),
        });
        let tasks = LocalSet::new();
        for connection in opened {
            let generator = generator.clone();
            tasks.spawn_local(async move { generator.drive(connection).await });
        }
        let generator_of_pace = generator.clone();
        let pacing = tasks.spawn_local(async move { generator_of_pace.pace.run().await });
        runtime.block_on(async {
            tokio::select! {
                () = tasks => {}
                // The timeout of a request would otherwise cost a system call, as a deadline does
                // in the host.
                never = event_loop::beat() => match never {},
            }
        });
        runtime.block_on(pacing).map_err(io::Error::other)??;
        generator.finish()
    }

    async fn open(&self, connections: u32) -> io::Result<(Connector, Vec<OpenConnection>)> {
        let connector = self.target.resolve().await?;
        let mut open = Vec::new();
        for _ in 0..connections {
            let opened = tokio::time::timeout(self.timeout, open_one(&connector)).await;
            open.push(opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??);
        }
        Ok((connector, open))
    }
}

type Connection = http1::Connection<TokioIo<Box<dyn Transport>>, Full<Bytes>>;

/// An open connection: what requests go into, and what has to be polled for them to move.
struct OpenConnection {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection,
}

async fn open_one(connector: &Connector) -> io::Result<OpenConnection> {
    let stream = connector.connect().await?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    Ok(OpenConnection { sender, connection })
}

/// The state that the connections of one thread share.
struct Generator {
    load: LoadPlan,
    connector: Connector,
    pace: PacedSlots,
    from: Instant,
    end: Instant,
    measured: std::cell::RefCell<Measured>,
}

/// `host` is the target's, unless it is among the header fields.
pub(crate) fn request(
    target: &LoadTarget,
    method: &Method,
    headers: &HeaderMap,
    body: &Bytes,
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = method.clone();
    *request.uri_mut() = target.path().clone().into();
    request.headers_mut().clone_from(headers);
    request.headers_mut().entry(HOST).or_insert_with(|| target.authority().clone());
    request
}

/// How one request went.
enum RequestResult {
    Good,
    Bad(&'static str, String),
    /// The connection had closed before.
    Unsent,
}

async fn until_closed(connection: &mut Option<Pin<Box<Connection>>>) {
    match connection {
        // A task that waits for an answer is told why it failed.
        Some(open) => drop(open.await),
        None => std::future::pending().await,
    }
    *connection = None;
}

/// The requests that one connection, or the one that takes its place, has before it.
struct ConnectionTurn {
    /// Due, and not sent, because the connection had closed a moment before.
    pending: Option<Instant>,
    /// Requests.
    left: u32,
}

/// After a refused connection: a server that is gone is not asked a million times a second.
const PAUSE: Duration = Duration::from_millis(10);

impl Generator {
    /// Sends on one connection until the end, and on a new one whenever it closes.
    async fn drive(&self, first: OpenConnection) {
        let mut open = Some(first);
        let mut turn =
            ConnectionTurn { pending: None, left: self.load.requests_each.unwrap_or(u32::MAX) };
        while turn.pending.is_some() || (turn.left > 0 && !self.pace.is_over()) {
            let opened = match open.take() {
                Some(opened) => Ok(opened),
                None => tokio::time::timeout(self.load.timeout, open_one(&self.connector))
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            };
            match opened {
                Ok(opened) => self.drive_one(opened, &mut turn).await,
                Err(error) => {
                    let due = turn.pending.take().unwrap_or_else(Instant::now);
                    self.count(due, RequestResult::Bad("connect", error.to_string()));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Until the connection closes, or the end.
    async fn drive_one(&self, open: OpenConnection, turn: &mut ConnectionTurn) {
        let OpenConnection { mut sender, connection } = open;
        let mut connection = Some(Box::pin(connection));
        while let Some(due) = self.next(turn, &mut connection).await {
            let mut exchange =
                pin!(tokio::time::timeout(self.load.timeout, self.exchange(&mut sender)));
            let answer = tokio::select! {
                biased;
                answer = &mut exchange => answer,
                // The bytes that it had received are there all the same.
                () = until_closed(&mut connection) => exchange.await,
            };
            let answer = answer.unwrap_or_else(|_| RequestResult::Bad("timeout", self.too_slow()));
            if matches!(answer, RequestResult::Unsent) {
                turn.pending = Some(due);
                return;
            }
            let broken = matches!(answer, RequestResult::Bad("timeout" | "transport", _));
            self.count(due, answer);
            turn.left = turn.left.saturating_sub(1);
            if broken || connection.is_none() {
                return;
            }
        }
    }

    /// When the connection's next request is due. `None` where it has no more, or closes before.
    async fn next(
        &self,
        turn: &mut ConnectionTurn,
        connection: &mut Option<Pin<Box<Connection>>>,
    ) -> Option<Instant> {
        if let Some(due) = turn.pending.take() {
            return Some(due);
        }
        if turn.left == 0 {
            return None;
        }
        tokio::select! {
            biased;
            due = self.pace.next() => due,
            // Closed between two requests, which is a server's right.
            () = until_closed(connection) => None,
        }
    }

    fn too_slow(&self) -> String {
        format!("no answer within {} ms", self.load.timeout.as_millis())
    }

    async fn exchange(&self, sender: &mut SendRequest<Full<Bytes>>) -> RequestResult {
        let transport = |error: hyper::Error| match error.is_canceled() || error.is_closed() {
            true => RequestResult::Unsent,
            false => RequestResult::Bad("transport", error.to_string()),
        };
        if let Err(error) = sender.ready().await {
            return transport(error);
        }
        let response = match sender.send_request(self.request()).await {
            Ok(response) => response,
            Err(error) => return transport(error),
        };
        let (head, mut body) = response.into_parts();
        let status = head.status.as_u16();
        let expected = self.load.expect.body.as_deref();
        let (mut read, mut same) = (0, true);
        while let Some(frame) = body.frame().await {
            match frame {
                Err(error) => return transport(error),
                Ok(frame) => {
                    let Some(data) = frame.data_ref() else { continue };
                    same &=
                        expected.is_none_or(|body| body[read.min(body.len())..].starts_with(data));
                    read += data.len();
                }
            }
        }
        let good = self.load.expect.status.map_or(status < 400, |expected| status == expected);
        if !good {
            return RequestResult::Bad("status", format!("the status was {}", head.status));
        }
        if !same || expected.is_some_and(|body| body.len() != read) {
            return RequestResult::Bad("body", "the body was another than expected".to_owned());
        }
        RequestResult::Good
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let LoadPlan { target, method, headers, body, .. } = &self.load;
        request(target, method, headers, body)
    }

    fn count(&self, due: Instant, answer: RequestResult) {
        let now = Instant::now();
        // In a closed loop what ends inside counts, in an open one what was due inside.
        let at = if self.load.rate.is_some() { due } else { now };
        if at < self.from || at >= self.end {
            return;
        }
        let mut measured = self.measured.borrow_mut();
        match answer {
            RequestResult::Unsent => {}
            RequestResult::Bad(what, detail) => measured.fail(what, || detail),
            RequestResult::Good => {
                measured.responses += 1;
                measured.latency.saturating_record(nanos(now.saturating_duration_since(due)));
                let step = (at - self.from).as_millis() / TIMELINE_STEP.as_millis();
                if let Some(count) =
                    usize::try_from(step).ok().and_then(|step| measured.timeline.get_mut(step))
                {
                    *count += 1;
                }
            }
        }
    }

    fn finish(&self) -> io::Result<Measured> {
        let mut measured = self.measured.replace(Measured::new(self.load.duration)?);
        let now = Instant::now();
        for due in self.pace.left_over().filter(|due| *due >= self.from) {
            measured.unsent += 1;
            measured.latency.saturating_record(nanos(now.saturating_duration_since(due)));
        }
        Ok(measured)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests;
