//! The time between two deliveries of an event.

use std::time::Duration;

use lacewing_base::random::unique_u64;

/// How often an event is delivered, and how long after a failure.
///
/// The delay is random between nothing and a bound that doubles with each failure: exponential
/// backoff with full jitter (Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog,
/// 2015). So events that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Deliveries of an event, the first one included. After the last failure the event is a dead
    /// letter. Default 5.
    pub max_attempts: u32,
    /// The bound of the delay after the first failure. Default 1 s.
    pub first: Duration,
    /// The bound of all delays. Default 15 minutes.
    pub longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        let seconds = Duration::from_secs;
        RetryPolicy { max_attempts: 5, first: seconds(1), longest: seconds(900) }
    }
}

impl RetryPolicy {
    /// The bound of the delay after so many failures.
    pub fn bound(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let bound = self.first.saturating_mul(doubled);
        bound.min(self.longest)
    }

    /// A delay after so many failures.
    pub fn delay(&self, failures: u32) -> Duration {
        let bound = u64::try_from(self.bound(failures).as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(unique_u64() % bound.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_longest() {
        let policy = RetryPolicy::default();
        let bounds: Vec<u64> =
            [0, 1, 2, 3, 10, 11, 33, u32::MAX].map(|n| policy.bound(n).as_secs()).into();
        assert_eq!(bounds, [1, 1, 2, 4, 512, 900, 900, 900]);
    }

    #[test]
    fn delays_are_spread_over_all_of_the_bound() {
        let policy = RetryPolicy::default();
        let delays: Vec<_> = (0..1000).map(|_| policy.delay(3)).collect();
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(4)));
        for second in 0..4 {
            let within = |delay: &&Duration| delay.as_millis() / 1000 == second;
            // A quarter of them, and far from none.
            assert!(delays.iter().filter(within).count() > 150, "{second}");
        }
    }
}
