//! A token bucket: a burst at once, and a rate after it.
//!
//! The clock is asked only while the bucket is empty, so that what costs no more than it earns
//! costs no look at the clock. Turner, "New directions in communications (or which way to the
//! information age?)", IEEE Communications Magazine 24(10), 1986.

use std::time::Instant;

/// Tokens that are spent one at a time, and come back with time and with what earns them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    refilled: Instant,
}

impl Bucket {
    /// A full bucket of `burst` tokens, `per_second` of which come back with time.
    pub(super) fn full(burst: f64, per_second: f64, now: Instant) -> Bucket {
        Bucket { burst, per_second, tokens: burst, refilled: now }
    }

    /// Adds tokens, as far as they fit.
    pub(super) fn earn(&mut self, tokens: f64) {
        self.tokens = (self.tokens + tokens).min(self.burst);
    }

    /// Whether there is a token to spend.
    pub(super) fn has_one(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.tokens < 1.0 {
            let now = now();
            let since = now.saturating_duration_since(std::mem::replace(&mut self.refilled, now));
            self.earn(since.as_secs_f64() * self.per_second);
        }
        self.tokens >= 1.0
    }

    /// Spends a token. Returns whether there was one.
    pub(super) fn spend(&mut self, now: impl FnOnce() -> Instant) -> bool {
        let has_one = self.has_one(now);
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }
}
