//! Budgets: an amount of one resource that the tenants of a host share.
//!
//! ```text
//!   Budget (bytes, slots, tables, ...)
//!     +-- Share (a tenant's) -- Lease, Lease, ...     a lease gives its amount back when it is dropped
//!     +-- Share              -- Lease
//! ```
//!
//! Where a budget has more than one share, a share may take another unit while it holds less than
//! [`THRESHOLD`] times the amount that is free, times its weight. The first tenant gets four fifths
//! at most, the next one four fifths of the rest, and some is always left for another
//! (dynamic thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking, 1998).

use crate::{
    fair::Weight,
    sync::{
        Arc,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

/// The amount that a share of weight 1 may hold for each unit that is free.
pub const THRESHOLD: u64 = 4;

/// An amount that shares hold parts of.
#[derive(Debug)]
pub struct Budget {
    capacity: u64,
    used: AtomicU64,
    shares: AtomicUsize,
}

/// One tenant's share of a [`Budget`].
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    weight: Weight,
    used: AtomicU64,
}

/// An amount that is held. Dropping the lease gives it back.
#[derive(Debug)]
pub struct Lease {
    share: Arc<Share>,
    amount: u64,
}

/// The budget has no room, for this tenant or for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host has no room left for this tenant now")]
pub struct Exhausted;

impl Budget {
    /// A budget of which nothing is held.
    pub fn new(capacity: u64) -> Arc<Budget> {
        let (used, shares) = (AtomicU64::new(0), AtomicUsize::new(0));
        Arc::new(Budget { capacity, used, shares })
    }

    /// The whole amount.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The amount that is held.
    #[inline]
    pub fn used(&self) -> u64 {
        self.used.load(SeqCst)
    }

    /// A share for one more tenant. The budget has one share fewer when it is dropped.
    pub fn share(self: &Arc<Budget>, weight: &Weight) -> Arc<Share> {
        self.shares.fetch_add(1, Relaxed);
        let (budget, used) = (self.clone(), AtomicU64::new(0));
        Arc::new(Share { budget, weight: weight.clone(), used })
    }
}

impl Share {
    /// The amount that the share holds.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Whether the share could hold so much more now.
    #[inline]
    pub fn has_room(&self, amount: u64) -> bool {
        self.room().fits(self.budget.used(), amount)
    }

    /// A lease of nothing yet.
    #[inline]
    pub fn lease(self: &Arc<Share>) -> Lease {
        Lease { share: self.clone(), amount: 0 }
    }

    /// Holds so much more, until [`Share::give_back`].
    ///
    /// # Errors
    /// There is no room: nothing changes.
    #[inline]
    pub fn take(&self, amount: u64) -> Result<(), Exhausted> {
        // Read once: threads of one tenant that take at the same moment may bring its share over
        // the threshold by what they take.
        let room = self.room();
        let more = |used: u64| room.fits(used, amount).then(|| used + amount);
        self.budget.used.fetch_update(SeqCst, SeqCst, more).map_err(|_| Exhausted)?;
        self.used.fetch_add(amount, Relaxed);
        Ok(())
    }

    /// Gives back what was [taken](Share::take).
    #[inline]
    pub fn give_back(&self, amount: u64) {
        self.used.fetch_sub(amount, Relaxed);
        self.budget.used.fetch_sub(amount, SeqCst);
    }

    #[inline]
    fn room(&self) -> ShareFacts {
        let is_shared = self.budget.shares.load(Relaxed) > 1;
        let factor = is_shared.then(|| THRESHOLD.saturating_mul(self.weight.get().into()));
        ShareFacts { capacity: self.budget.capacity, held: self.used(), factor }
    }
}

/// The facts that decide whether a share may hold more.
struct ShareFacts {
    capacity: u64,
    held: u64,
    /// The threshold for each unit that is free; `None` where the share is the only one.
    factor: Option<u64>,
}

impl ShareFacts {
    /// Whether an amount may be taken unit by unit, each while the share holds less than its
    /// threshold, with so much of the budget in use.
    #[inline]
    fn fits(&self, used: u64, amount: u64) -> bool {
        let Some(free) = self.capacity.checked_sub(used) else { return false };
        let but_the_last = amount.saturating_sub(1);
        let is_below =
            |factor: u64| self.held + but_the_last < (free - but_the_last).saturating_mul(factor);
        amount <= free && self.factor.is_none_or(is_below)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.shares.fetch_sub(1, Relaxed);
    }
}

impl Lease {
    /// The amount.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// Holds so much more.
    ///
    /// # Errors
    /// There is no room: nothing changes.
    #[inline]
    pub fn grow(&mut self, amount: u64) -> Result<(), Exhausted> {
        self.share.take(amount)?;
        self.amount += amount;
        Ok(())
    }

    /// Holds so much altogether, if that is more than it is.
    ///
    /// # Errors
    /// As [`Lease::grow`].
    pub fn grow_to(&mut self, amount: u64) -> Result<(), Exhausted> {
        self.grow(amount.saturating_sub(self.amount))
    }

    /// Holds so much more, whether there is room or not, because the resource is in use already.
    pub fn add(&mut self, amount: u64) {
        self.share.budget.used.fetch_add(amount, SeqCst);
        self.share.used.fetch_add(amount, Relaxed);
        self.amount += amount;
    }

    /// Gives back all but so much.
    pub fn shrink_to(&mut self, amount: u64) {
        let given_back = self.amount.saturating_sub(amount);
        self.share.give_back(given_back);
        self.amount -= given_back;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.share.give_back(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn a_single_share_has_all_and_one_of_many_leaves_some() {
        let (budget, weight) = (Budget::new(1000), Weight::new(1));
        let one = budget.share(&weight);
        let mut lease = one.lease();
        assert_eq!(lease.grow(1000), Ok(()));
        assert_eq!(lease.grow(1), Err(Exhausted));
        drop(lease);
        let other = budget.share(&Weight::new(1));
        let mut lease = one.lease();
        assert_eq!(lease.grow(801), Err(Exhausted));
        assert_eq!(lease.grow(800), Ok(()));
        assert!(!one.has_room(1) && other.has_room(160) && !other.has_room(161));
        weight.set(100);
        assert!(one.has_room(190));
        let mut late = one.lease();
        late.add(500);
        assert_eq!(late.grow(1), Err(Exhausted), "an amount that is in use already is counted");
        drop((lease, late));
        assert_eq!((budget.used(), one.used()), (0, 0));
    }

    #[test]
    fn a_share_that_is_dropped_leaves_all_to_the_other() {
        let budget = Budget::new(10);
        let (one, other) = (budget.share(&Weight::new(1)), budget.share(&Weight::new(1)));
        assert!(!one.has_room(9));
        drop(other);
        assert!(one.has_room(10));
    }

    proptest! {
        /// Any order of taking and giving back: never more than there is, always something for a
        /// share that has nothing, and in the end nothing is held.
        #[test]
        fn there_is_always_something_left(steps in vec((0_usize..4, 0_u64..5000, any::<bool>()), 1..300)) {
            let budget = Budget::new(10_000);
            let shares: Vec<_> = (0..4).map(|_| budget.share(&Weight::new(1))).collect();
            let mut leases: Vec<Vec<Lease>> = (0..4).map(|_| Vec::new()).collect();
            for (tenant, amount, takes) in steps {
                if takes {
                    let mut lease = shares[tenant].lease();
                    if lease.grow(amount).is_ok() {
                        leases[tenant].push(lease);
                    }
                } else {
                    leases[tenant].pop();
                }
                let held: u64 = leases.iter().flatten().map(Lease::amount).sum();
                prop_assert_eq!(budget.used(), held);
                // Four that take all they can, one after the other, each leave a fifth.
                prop_assert!(held <= 10_000 - 10_000 / 5_u64.pow(4));
                let newcomer = budget.share(&Weight::new(1));
                prop_assert!(newcomer.has_room(10));
            }
            drop(leases);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
