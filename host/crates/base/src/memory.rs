//! The memory that the host holds for its tenants: bounded altogether, and charged to its tenant.
//!
//! ```text
//!   Memory (so many bytes)
//!     +-- Account (a tenant's) -- Part, Part, ...     each gives back what it took when it is dropped
//!     +-- Account              -- Part
//! ```
//!
//! Where there is more than one tenant, one may hold no more than [`HELD`] times the bytes that it leaves free, times its weight: the
//! first has four fifths of all, the next four fifths of the rest, and there is always something for another one (dynamic
//! thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking, 1998).

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// How much a tenant of weight 1 may hold for each byte that is free.
pub const HELD: u64 = 4;

/// A budget of bytes.
#[derive(Debug)]
pub struct Memory {
    budget_bytes: u64,
    used_bytes: AtomicU64,
    is_shared: AtomicBool,
}

/// One tenant's part of the memory.
#[derive(Debug)]
pub struct Account {
    memory: Arc<Memory>,
    weight: AtomicU32,
    used_bytes: AtomicU64,
}

/// Bytes that are held. Dropping it gives them back.
#[derive(Debug)]
pub struct Part {
    account: Arc<Account>,
    bytes: u64,
}

/// There is no room: for this tenant, or for any tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host has no memory left for this tenant now")]
pub struct NoRoom;

impl Memory {
    /// A number of bytes, for one tenant.
    pub fn new(budget_bytes: u64) -> Arc<Memory> {
        let (used_bytes, is_shared) = (AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Memory { budget_bytes, used_bytes, is_shared })
    }

    /// Says how many tenants there are: where there are more than one, none may have all of it.
    pub fn set_tenants(&self, tenants: usize) {
        self.is_shared.store(tenants > 1, Relaxed);
    }

    /// All of it.
    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// The bytes that are held.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }

    /// A tenant's account.
    pub fn account(self: &Arc<Memory>, weight: u32) -> Arc<Account> {
        let (weight, used_bytes) = (AtomicU32::new(weight.max(1)), AtomicU64::new(0));
        Arc::new(Account { memory: self.clone(), weight, used_bytes })
    }
}

impl Account {
    /// Changes what it may have from now on.
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight.max(1), Relaxed);
    }

    /// The bytes that are held for it.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }

    /// Whether so many bytes more could be had now.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.fits(self.memory.used_bytes(), bytes)
    }

    /// Something of which nothing is held yet.
    pub fn part(self: &Arc<Account>) -> Part {
        Part { account: self.clone(), bytes: 0 }
    }

    fn fits(&self, used: u64, bytes: u64) -> bool {
        let Some(free) = self.memory.budget_bytes.checked_sub(used) else { return false };
        let Some(left) = free.checked_sub(bytes) else { return false };
        let weight = u64::from(self.weight.load(Relaxed));
        !self.memory.is_shared.load(Relaxed)
            || self.used_bytes() + bytes <= left.saturating_mul(HELD).saturating_mul(weight)
    }

    fn take(&self, bytes: u64) -> Result<(), NoRoom> {
        let more = |used: u64| self.fits(used, bytes).then(|| used + bytes);
        self.memory.used_bytes.fetch_update(Relaxed, Relaxed, more).map_err(|_| NoRoom)?;
        self.used_bytes.fetch_add(bytes, Relaxed);
        Ok(())
    }
}

impl Part {
    /// How much is held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Holds so much more.
    ///
    /// # Errors
    /// There is no room: nothing changes.
    pub fn grow(&mut self, bytes: u64) -> Result<(), NoRoom> {
        self.account.take(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Holds so much altogether, if that is more than it is.
    ///
    /// # Errors
    /// As [`Part::grow`].
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), NoRoom> {
        self.grow(bytes.saturating_sub(self.bytes))
    }

    /// Holds so much more, whether there is room or not: it is there already.
    pub fn add(&mut self, bytes: u64) {
        self.account.memory.used_bytes.fetch_add(bytes, Relaxed);
        self.account.used_bytes.fetch_add(bytes, Relaxed);
        self.bytes += bytes;
    }

    /// Gives back all but so many bytes.
    pub fn shrink_to(&mut self, bytes: u64) {
        let given_back = self.bytes.saturating_sub(bytes);
        self.account.memory.used_bytes.fetch_sub(given_back, Relaxed);
        self.account.used_bytes.fetch_sub(given_back, Relaxed);
        self.bytes -= given_back;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.account.memory.used_bytes.fetch_sub(self.bytes, Relaxed);
        self.account.used_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn one_alone_has_all_and_one_of_many_leaves_some() {
        let memory = Memory::new(1000);
        let (one, other) = (memory.account(1), memory.account(1));
        let mut part = one.part();
        assert_eq!(part.grow(1000), Ok(()));
        assert_eq!(part.grow(1), Err(NoRoom));
        drop(part);
        memory.set_tenants(2);
        let mut part = one.part();
        assert_eq!(part.grow(801), Err(NoRoom));
        assert_eq!(part.grow(800), Ok(()));
        assert!(!one.has_room(1) && other.has_room(160) && !other.has_room(161));
        one.set_weight(100);
        assert!(one.has_room(190));
        let mut late = one.part();
        late.add(500);
        assert_eq!(late.grow(1), Err(NoRoom), "what is there is counted");
        drop((part, late));
        assert_eq!((memory.used_bytes(), one.used_bytes()), (0, 0));
    }

    proptest! {
        /// Any order of taking and giving back: never more than there is, always something for one that has nothing, and in the end
        /// nothing is held.
        #[test]
        fn there_is_always_something_left(steps in vec((0_usize..4, 0_u64..5000, any::<bool>()), 1..300)) {
            let memory = Memory::new(10_000);
            memory.set_tenants(4);
            let accounts: Vec<_> = (0..4).map(|_| memory.account(1)).collect();
            let mut parts: Vec<Vec<Part>> = (0..4).map(|_| Vec::new()).collect();
            for (who, bytes, takes) in steps {
                if takes {
                    let mut part = accounts[who].part();
                    if part.grow(bytes).is_ok() {
                        parts[who].push(part);
                    }
                } else {
                    parts[who].pop();
                }
                let held: u64 = parts.iter().flatten().map(Part::bytes).sum();
                prop_assert_eq!(memory.used_bytes(), held);
                // Four that take all they can, one after the other, each leave a fifth.
                prop_assert!(held <= 10_000 - 10_000 / 5_u64.pow(4));
                let newcomer = memory.account(1);
                prop_assert!(newcomer.has_room(10));
            }
            drop(parts);
            prop_assert_eq!(memory.used_bytes(), 0);
        }
    }
}
