//! How many invocations at once, and how many in a second: for a function, and for a tenant.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// The concurrency and the rate of one function or one tenant.
#[derive(Debug)]
pub struct Quota {
    concurrency: u32,
    slots: Arc<Semaphore>,
    memory_mib: Option<u32>,
    memory: Option<Arc<Semaphore>>,
    rate: Option<Rate>,
}

impl Quota {
    /// `concurrency` invocations at once and, where given, `rate_per_s` in a second with a burst of as many.
    pub fn new(concurrency: u32, rate_per_s: Option<u32>) -> Quota {
        Quota {
            concurrency,
            slots: Arc::new(Semaphore::new(concurrency as usize)),
            memory_mib: None,
            memory: None,
            rate: rate_per_s.map(Rate::per_second),
        }
    }

    /// With a bound on the sum of the memory limits of the sandboxes that exist at once, in MiB.
    pub fn with_memory(mut self, memory_mib: Option<u32>) -> Quota {
        self.memory_mib = memory_mib;
        self.memory = memory_mib.map(|mib| Arc::new(Semaphore::new(mib as usize)));
        self
    }

    /// Whether `other`, which nobody has used yet, is the same quota.
    pub fn is_like(&self, other: &Quota) -> bool {
        self.concurrency == other.concurrency
            && self.memory_mib == other.memory_mib
            && self.rate.as_ref().map(|rate| rate.per_second)
                == other.rate.as_ref().map(|rate| rate.per_second)
    }

    /// The memory that sandboxes may be made for at once, in MiB, where that is bounded, with what is free of it.
    pub fn memory(&self) -> Option<(u32, &Arc<Semaphore>)> {
        self.memory_mib.zip(self.memory.as_ref())
    }

    /// The slots for invocations at once.
    pub fn slots(&self) -> &Arc<Semaphore> {
        &self.slots
    }

    /// Invocations that hold a slot.
    pub fn in_use(&self) -> usize {
        self.concurrency as usize - self.slots.available_permits()
    }

    /// Takes one invocation out of the rate; otherwise how long until there is one.
    pub fn take_rate(&self) -> Result<(), Duration> {
        match &self.rate {
            Some(rate) => rate.take(Instant::now()),
            None => Ok(()),
        }
    }
}

/// A token bucket, kept as the one moment at which it will be full again (the generic cell rate algorithm of ITU-T I.371), so
/// that a single atomic holds it.
#[derive(Debug)]
struct Rate {
    per_second: u32,
    origin: Instant,
    // Nanoseconds after `origin` at which the bucket is full.
    full_at_ns: AtomicU64,
}

impl Rate {
    fn per_second(per_second: u32) -> Rate {
        Rate { per_second, origin: Instant::now(), full_at_ns: AtomicU64::new(0) }
    }

    fn take(&self, now: Instant) -> Result<(), Duration> {
        const SECOND_NS: u64 = 1_000_000_000;
        let now_ns = u64::try_from(now.saturating_duration_since(self.origin).as_nanos())
            .unwrap_or(u64::MAX);
        let token_ns = SECOND_NS / u64::from(self.per_second.max(1));
        let taken = self.full_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let next = full_at.max(now_ns).saturating_add(token_ns);
            (next - now_ns <= SECOND_NS).then_some(next)
        });
        match taken {
            Ok(_) => Ok(()),
            Err(full_at) => {
                Err(Duration::from_nanos((full_at + token_ns).saturating_sub(now_ns + SECOND_NS)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_and_the_next_is_told_when() {
        let rate = Rate::per_second(4);
        let start = rate.origin;
        for _ in 0..4 {
            assert_eq!(rate.take(start), Ok(()));
        }
        assert_eq!(rate.take(start), Err(Duration::from_millis(250)));
        assert_eq!(rate.take(start + Duration::from_millis(250)), Ok(()));
        assert_eq!(rate.take(start + Duration::from_millis(250)), Err(Duration::from_millis(250)));
    }

    proptest! {
        /// Over any window, no more than the burst and what the window's length earns passes.
        #[test]
        fn never_more_than_burst_plus_rate(per_second in 1_u32..1000, gaps_us in proptest::collection::vec(0_u64..20_000, 1..400)) {
            let rate = Rate::per_second(per_second);
            let mut now = rate.origin;
            let mut passed = 0_u64;
            for gap in gaps_us {
                now += Duration::from_micros(gap);
                match rate.take(now) {
                    Ok(()) => passed += 1,
                    Err(wait) => prop_assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1)),
                }
            }
            let window = now.saturating_duration_since(rate.origin).as_secs_f64();
            #[allow(clippy::cast_precision_loss)]
            let most = f64::from(per_second) * (1.0 + window) * 1.001 + 1.0;
            #[allow(clippy::cast_precision_loss)]
            let passed = passed as f64;
            prop_assert!(passed <= most, "{passed} passed, at most {most}");
        }
    }
}
