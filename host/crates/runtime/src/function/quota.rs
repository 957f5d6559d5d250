//! The quota of a function or tenant: invocations at once, their memory, and invocations in a
//! second.
//!
//! Taking and giving back is one atomic each. Only an invocation that waits takes a lock, and one
//! that ends while others wait.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use lacewing_base::{
    fair::{Flow, Weight},
    permits::{self, Permit, Resource, Wait, Waiters},
};

/// The most that one function or one tenant may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Invocations at once.
    pub concurrency: u32,
    /// The sum of the memory limits of the sandboxes that exist at once, in MiB.
    pub memory_mib: u32,
    /// Invocations in a second, with a burst of as many.
    pub rate_per_s: Option<u32>,
}

impl QuotaLimits {
    /// No limit at all.
    pub const NONE: QuotaLimits =
        QuotaLimits { concurrency: u32::MAX, memory_mib: u32::MAX, rate_per_s: None };
}

/// The concurrency, the memory and the rate of one function or one tenant. Its limits can be
/// changed; what it has stays counted.
#[derive(Debug)]
pub struct Quota {
    limits: Packed,
    held: Packed,
    rate: Rate,
    waiters: Waiters<Quota>,
    /// All requests that wait, in the order of their arrival.
    arrivals: Arc<Flow>,
}

/// Invocations and their memory in one word, so that both are taken at once.
#[derive(Debug)]
struct Packed(AtomicU64);

impl Packed {
    fn new(count: u32, mib: u32) -> Packed {
        Packed(AtomicU64::new(pack(count, mib)))
    }

    fn get(&self) -> (u32, u32) {
        unpack(self.0.load(SeqCst))
    }
}

fn pack(count: u32, mib: u32) -> u64 {
    u64::from(mib) << 32 | u64::from(count)
}

#[expect(clippy::cast_possible_truncation, reason = "each half is what was put there")]
fn unpack(packed: u64) -> (u32, u32) {
    (packed as u32, (packed >> 32) as u32)
}

/// An invocation's part of a quota. Dropping it gives it back.
pub type QuotaPermit = Permit<Quota>;

impl Resource for Quota {
    /// The memory limit of the sandbox, in MiB.
    type Demand = u32;

    fn waiters(&self) -> &Waiters<Quota> {
        &self.waiters
    }

    fn take(&self, memory_mib: &u32) -> bool {
        let (most, most_mib) = self.limits.get();
        let more = |held| {
            let (count, mib) = unpack(held);
            let (count, mib) = (count.checked_add(1)?, mib.checked_add(*memory_mib)?);
            (count <= most && mib <= most_mib).then_some(pack(count, mib))
        };
        self.held.0.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    fn give_back(&self, memory_mib: &u32) {
        self.held.0.fetch_sub(pack(1, *memory_mib), SeqCst);
    }
}

impl Quota {
    /// A quota of which nothing is taken.
    pub fn new(limits: QuotaLimits) -> Arc<Quota> {
        Arc::new(Quota {
            limits: Packed::new(limits.concurrency, limits.memory_mib),
            held: Packed::new(0, 0),
            rate: Rate::new(limits.rate_per_s),
            waiters: Waiters::default(),
            arrivals: Flow::new(&Weight::new(1)),
        })
    }

    /// Changes the limits. Invocations over the new ones go on, and none is added before the count
    /// is below them.
    pub fn set(&self, limits: QuotaLimits) {
        self.rate.set(limits.rate_per_s);
        let packed = pack(limits.concurrency, limits.memory_mib);
        if self.limits.0.swap(packed, SeqCst) != packed {
            permits::regrant(self);
        }
    }

    /// The limits.
    pub fn limits(&self) -> QuotaLimits {
        let (concurrency, memory_mib) = self.limits.get();
        QuotaLimits { concurrency, memory_mib, rate_per_s: self.rate.get() }
    }

    /// Invocations that have a part of it.
    pub fn in_use(&self) -> u32 {
        self.held.get().0
    }

    /// The sum of their memory limits, in MiB.
    pub fn memory_in_use_mib(&self) -> u32 {
        self.held.get().1
    }

    /// Takes a part for an invocation whose sandbox may have so much memory, unless others wait.
    pub fn try_enter(self: &Arc<Quota>, memory_mib: u32) -> Option<QuotaPermit> {
        permits::try_acquire(self, memory_mib)
    }

    /// Waits for a part, after those that came before.
    pub fn enter(self: &Arc<Quota>, memory_mib: u32) -> Wait<Quota> {
        permits::acquire(self, &self.arrivals, memory_mib)
    }

    /// Whether it is for want of memory that one more cannot enter now.
    pub fn lacks_memory(&self) -> bool {
        self.held.get().0 < self.limits.get().0
    }

    /// The expected time until one more can enter.
    pub fn until_free(&self) -> Duration {
        self.waiters.until_served()
    }

    /// Takes one invocation out of the rate; gives how long to wait for it. Where that is longer
    /// than `patience`, nothing is taken.
    pub fn take_rate(&self, patience: Duration) -> Result<Duration, Duration> {
        self.rate.take(patience)
    }

    /// Puts an invocation back that was taken out of the rate and came to nothing.
    pub fn return_rate(&self) {
        self.rate.put_back();
    }
}

/// A token bucket, kept as the one moment at which it will be full again (the generic cell rate
/// algorithm of ITU-T I.371), so that a single atomic holds it. An invocation can take a token
/// ahead of its time, and then waits for that time.
#[derive(Debug)]
pub struct Rate {
    // 0 is no limit.
    per_second: AtomicU32,
    origin: Instant,
    // Nanoseconds after `origin` at which the bucket is full.
    full_at_ns: AtomicU64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Rate {
    /// A number of invocations in a second, with a burst of as many.
    pub fn new(per_second: Option<u32>) -> Rate {
        let per_second = AtomicU32::new(per_second.map_or(0, |rate| rate.max(1)));
        Rate { per_second, origin: Instant::now(), full_at_ns: AtomicU64::new(0) }
    }

    fn set(&self, per_second: Option<u32>) {
        self.per_second.store(per_second.map_or(0, |rate| rate.max(1)), Relaxed);
    }

    fn get(&self) -> Option<u32> {
        Some(self.per_second.load(Relaxed)).filter(|rate| *rate > 0)
    }

    /// See [`Quota::take_rate`].
    pub fn take(&self, patience: Duration) -> Result<Duration, Duration> {
        match self.get() {
            Some(_) => self.take_at(Instant::now(), patience),
            None => Ok(Duration::ZERO),
        }
    }

    /// See [`Quota::return_rate`].
    pub fn put_back(&self) {
        if let Some(per_second) = self.get() {
            let token_ns = SECOND_NS / u64::from(per_second);
            let less = |full_at: u64| Some(full_at.saturating_sub(token_ns));
            let _ = self.full_at_ns.fetch_update(Relaxed, Relaxed, less);
        }
    }

    fn take_at(&self, now: Instant, patience: Duration) -> Result<Duration, Duration> {
        let Some(per_second) = self.get() else { return Ok(Duration::ZERO) };
        let now_ns = u64::try_from(now.saturating_duration_since(self.origin).as_nanos())
            .unwrap_or(u64::MAX);
        let patience_ns = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        let token_ns = SECOND_NS / u64::from(per_second);
        let wait = |full_at: u64| {
            let next = full_at.max(now_ns).saturating_add(token_ns);
            (next, next.saturating_sub(now_ns.saturating_add(SECOND_NS)))
        };
        let taken = self.full_at_ns.fetch_update(Relaxed, Relaxed, |full_at| {
            let (next, wait_ns) = wait(full_at);
            (wait_ns <= patience_ns).then_some(next)
        });
        match taken {
            Ok(full_at) => Ok(Duration::from_nanos(wait(full_at).1)),
            Err(full_at) => Err(Duration::from_nanos(wait(full_at).1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_and_the_next_is_told_when() {
        let (rate, ms) = (Rate::new(Some(4)), Duration::from_millis);
        let start = rate.origin;
        let take = |at_ms, patience_ms| rate.take_at(start + ms(at_ms), ms(patience_ms));
        for _ in 0..4 {
            assert_eq!(take(0, 0), Ok(ms(0)));
        }
        assert_eq!(take(0, 0), Err(ms(250)));
        assert_eq!(take(250, 0), Ok(ms(0)));
        assert_eq!(take(250, 249), Err(ms(250)));
        // A request with patience takes the token ahead of its time, and the next one has to wait
        // for the one after it.
        assert_eq!(take(250, 250), Ok(ms(250)));
        assert_eq!(take(250, 250), Err(ms(500)));
        rate.put_back();
        assert_eq!(take(250, 250), Ok(ms(250)));
        rate.set(None);
        assert_eq!(take(250, 0), Ok(ms(0)));
    }

    fn limits(concurrency: u32, memory_mib: u32) -> QuotaLimits {
        QuotaLimits { concurrency, memory_mib, rate_per_s: None }
    }

    #[test]
    fn a_changed_limit_counts_permits_taken_before() {
        let quota = Quota::new(limits(3, 100));
        let held: Vec<_> = (0..3).map(|_| quota.try_enter(30).unwrap()).collect();
        assert!(quota.try_enter(1).is_none());
        quota.set(limits(2, 100));
        drop(held.into_iter().next());
        assert_eq!((quota.in_use(), quota.memory_in_use_mib()), (0, 0), "the others went too");
        let _two = [quota.try_enter(30).unwrap(), quota.try_enter(30).unwrap()];
        assert!(quota.try_enter(30).is_none());
        let mut waits = quota.enter(30);
        assert!((&mut waits).now_or_never().is_none());
        quota.set(limits(3, 80));
        assert!((&mut waits).now_or_never().is_none(), "there are places, and no memory");
        assert!(quota.lacks_memory());
        quota.set(limits(3, 90));
        assert!((&mut waits).now_or_never().is_some());
    }

    proptest! {
        /// Over any window, no more than the burst and what the window's length earns passes, by
        /// the time that it waited for.
        #[test]
        fn never_more_than_burst_plus_rate(
            per_second in 1_u32..1000,
            patience_us in 0_u64..50_000,
            gaps_us in proptest::collection::vec(0_u64..20_000, 1..400),
        ) {
            let (rate, patience) = (Rate::new(Some(per_second)), Duration::from_micros(patience_us));
            let mut now = rate.origin;
            let (mut passed, mut last) = (0_u32, now);
            for gap in gaps_us {
                now += Duration::from_micros(gap);
                match rate.take_at(now, patience) {
                    Ok(wait) => {
                        prop_assert!(wait <= patience);
                        passed += 1;
                        last = last.max(now + wait);
                    }
                    Err(wait) => prop_assert!(wait > patience && wait <= patience + Duration::from_secs(1)),
                }
            }
            let window = last.saturating_duration_since(rate.origin).as_secs_f64();
            let most = f64::from(per_second) * (1.0 + window) * 1.001 + 1.0;
            prop_assert!(f64::from(passed) <= most, "{passed} passed, at most {most}");
        }

        /// Entries that enter, wait, leave or give back, in any order: nothing is over its limit,
        /// no entry waits that could be let in, and in the end all of it is back.
        #[test]
        fn permits_come_back(
            most in 1_u32..5,
            most_mib in 50_u32..200,
            steps in proptest::collection::vec((0_u8..4, 1_u32..50, any::<prop::sample::Index>()), 1..200),
        ) {
            let quota = Quota::new(limits(most, most_mib));
            let (mut held, mut entries) = (Vec::new(), Vec::new());
            for (what, mib, index) in steps {
                match what {
                    0 => held.extend(quota.try_enter(mib)),
                    1 => entries.push((mib, quota.enter(mib))),
                    2 if !held.is_empty() => drop(held.swap_remove(index.index(held.len()))),
                    3 if !entries.is_empty() => drop(entries.remove(index.index(entries.len()))),
                    _ => {}
                }
                entries.retain_mut(|(_, entry)| match entry.now_or_never() {
                    Some(one) => { held.push(one); false }
                    None => true,
                });
                let (count, in_use_mib) = (quota.in_use(), quota.memory_in_use_mib());
                prop_assert_eq!(count as usize, held.len());
                prop_assert!(count <= most && in_use_mib <= most_mib);
                if let Some((mib, _)) = entries.first() {
                    prop_assert!(count == most || in_use_mib + mib > most_mib);
                }
                prop_assert_eq!(quota.waiters.len(), entries.len());
            }
            drop((held, entries));
            prop_assert_eq!((quota.in_use(), quota.memory_in_use_mib()), (0, 0));
        }
    }
}
