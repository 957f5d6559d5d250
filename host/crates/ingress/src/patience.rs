//! The time that an HTTP/1 client may take with its next request.
//!
//! ```text
//! opened ──────────────── Head ──┐
//!                                ├── a request was read ── (answered, flushed) ── Idle ── first byte ── Head ──┐
//!                                └──────────────────────────────<──────────────────────────────────────────────┘
//! ```
//!
//! hyper has one limit for both, which begins with the end of the last response.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::options::Options;

/// The event that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The end of a request's head.
    Head,
    /// A request's first byte.
    Idle,
}

/// The wait for an HTTP/1 client's next request.
pub(super) struct AwaitedRequest {
    header_timeout: Duration,
    keep_alive: Duration,
    /// Kept from request to request: to move it takes no allocation, and mostly no lock.
    timer: Pin<Box<Sleep>>,
    /// The event that the timer is set for. None while a request is answered.
    waits_for: Option<Awaited>,
    /// How many requests had been read when something was last waited for.
    requests: u32,
    /// Whether something of the next request was read.
    begun: bool,
}

impl AwaitedRequest {
    /// The wait for a connection's first request, whose head has to be there at `first_head`.
    pub(super) fn new(first_head: Instant, options: &Options) -> AwaitedRequest {
        AwaitedRequest {
            header_timeout: options.header_timeout,
            keep_alive: options.keep_alive,
            timer: Box::pin(sleep_until(first_head)),
            waits_for: Some(Awaited::Head),
            requests: 0,
            begun: true,
        }
    }

    /// Notes that bytes were read. `requests` counts the requests that were read so far.
    pub(super) fn read(&mut self, requests: u32) {
        self.note(requests);
        self.begun = true;
    }

    /// Waits on for the client, which has said nothing more: ready when it has taken too long.
    ///
    /// Should the beginning of a request have been read together with the end of the one before, it
    /// is waited for as if nothing of it had been.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>, requests: u32) -> Poll<Awaited> {
        self.note(requests);
        let awaited = if self.begun { Awaited::Head } else { Awaited::Idle };
        if self.waits_for != Some(awaited) {
            let after = match awaited {
                Awaited::Head => self.header_timeout,
                Awaited::Idle => self.keep_alive,
            };
            self.timer.as_mut().reset(Instant::now() + after);
            self.waits_for = Some(awaited);
        }
        self.timer.as_mut().poll(cx).map(|()| awaited)
    }

    fn note(&mut self, requests: u32) {
        if self.requests != requests {
            (self.requests, self.begun, self.waits_for) = (requests, false, None);
        }
    }
}
