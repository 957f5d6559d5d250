//! A bound on the requests of a connection that its client takes back.
//!
//! A request that is taken back costs the host an invocation, and the client nothing
//! (CVE-2023-44487, "HTTP/2 Rapid Reset"). An honest client takes requests back too, over a
//! connection that lives for days: the bound is therefore a rate, and no total.

use std::time::Instant;

use super::bucket::Bucket;

/// Requests that a client may take back at once beyond those that it has earned: a page that is
/// left takes back as many as the connection has streams.
const BURST: f64 = 200.0;
/// Requests a second that a client may take back in any case: a search that is asked again with
/// each letter takes back as many.
const PER_SECOND: f64 = 10.0;
/// Requests that an answer earns. A client may therefore take back every other request, however
/// fast.
const PER_ANSWER: f64 = 1.0;

/// The requests that a client may still take back.
#[derive(Debug)]
pub(super) struct TakenBack(Bucket);

impl TakenBack {
    /// Of a new connection.
    pub(super) fn new(now: Instant) -> TakenBack {
        TakenBack(Bucket::full(BURST, PER_SECOND, now))
    }

    /// Whether the client has taken back too many: its requests are to be refused for now.
    pub(super) fn is_flood(&mut self, now: impl FnOnce() -> Instant) -> bool {
        !self.0.has_one(now)
    }

    /// Counts a request that was answered. A refusal earns nothing, and only refusals are made
    /// during a flood.
    pub(super) fn answered(&mut self, now: impl FnOnce() -> Instant) {
        if !self.is_flood(now) {
            self.0.earn(PER_ANSWER);
        }
    }

    /// Counts a request that went away before its answer.
    pub(super) fn taken_back(&mut self, now: impl FnOnce() -> Instant) {
        self.0.spend(now);
    }
}

#[cfg(test)]
mod tests;
