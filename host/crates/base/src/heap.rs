//! Heap accounts: every block of the heap is charged to the account in whose scope it was
//! allocated.
//!
//! ```text
//!   HeapAccount (a sandbox's, a connection's)
//!        | enter: a scope on this thread
//!        v
//!   alloc -> [ counter | block ]     the block remembers its account
//!   free  ->   counter - size        on any thread, in any scope, after the account was closed
//! ```
//!
//! A list of the types that a stranger can make the host hold is never complete. The allocator sees
//! all of them. A block is credited to the account that paid for it, wherever it is freed, so that
//! a body which one task makes and another one drops leaves no trace in either account.
//!
//! A closed account may still have blocks: a response that its client has not read, a line that the
//! log has not written. They stay charged to the account's tenant. [`HeapAccount::open`] looks at a
//! few closed accounts each time, and settles them.
//!
//! The program has to install [`ChargingAllocator`]; [`is_charged`] tells whether it has.

mod allocator;
mod resident;

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    task::Waker,
};

pub use allocator::ChargingAllocator;
use allocator::{Counter, Owner};
pub use resident::ResidentWatch;

use crate::budget::Lease;

/// The heap bytes of one sandbox, or of one connection.
#[derive(Debug)]
pub struct HeapAccount {
    counter: &'static Counter,
}

/// A scope on this thread. Dropping it restores the scope around it.
#[derive(Debug)]
#[must_use]
pub struct Entered {
    outer: Owner,
    // A scope belongs to the thread that entered it.
    _not_send: std::marker::PhantomData<*const ()>,
}

/// An account that was closed while some of its blocks were in use.
#[derive(Debug)]
struct Closed {
    counter: &'static Counter,
    charged: Option<Lease>,
}

/// An account that was called in.
#[derive(Debug)]
pub struct CalledIn {
    counter: &'static Counter,
    /// Its blocks at that time.
    pub blocks: u64,
    /// Its bytes at that time.
    pub bytes: usize,
}

impl CalledIn {
    /// Whether the account is closed.
    pub fn is_closed(&self) -> bool {
        // A later account may use the counter: opening it clears the mark.
        !self.counter.is_open.load(Relaxed) || !self.counter.is_called_in.load(Relaxed)
    }
}

/// All counters, and those that no account uses. They are never freed: a block may point at its
/// counter for as long as the block lives.
#[derive(Debug)]
struct Counters {
    all: Vec<&'static Counter>,
    free: Vec<&'static Counter>,
    closed: VecDeque<Closed>,
}

static COUNTERS: Mutex<Counters> =
    Mutex::new(Counters { all: Vec::new(), free: Vec::new(), closed: VecDeque::new() });

/// Closed accounts that each opening looks at. Two per opening are more than one account that
/// closes per opening.
const SETTLED_PER_OPENING: usize = 2;

fn counters() -> MutexGuard<'static, Counters> {
    COUNTERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HeapAccount {
    /// An account without blocks.
    pub fn open() -> HeapAccount {
        let mut counters = counters();
        if !counters.closed.is_empty() {
            counters.settle(SETTLED_PER_OPENING);
        }
        let counter = counters.free.pop().unwrap_or_else(|| counters.make());
        drop(counters);
        counter.is_called_in.store(false, Relaxed);
        counter.is_open.store(true, Relaxed);
        HeapAccount { counter }
    }

    /// Charges what this thread allocates to this account, until the returned scope ends.
    pub fn enter(&self) -> Entered {
        let outer = allocator::enter(self.counter);
        Entered { outer, _not_send: std::marker::PhantomData }
    }

    /// Bytes in use, with the allocator's own word for each block, each block rounded up to 16
    /// bytes. Bytes that other threads count at this moment may be missing.
    pub fn bytes(&self) -> usize {
        allocator::settle();
        self.counter.bytes()
    }

    /// Whether the account has to be closed, to give memory back: see [`call_in_largest`].
    pub fn is_called_in(&self) -> bool {
        self.counter.is_called_in.load(Relaxed)
    }

    /// The same, for an owner that waits: the task is woken once that changes. Only the last task
    /// that asks is woken.
    pub fn is_called_in_or_wakes(&self, task: &Waker) -> bool {
        self.counter.closer.register(task);
        self.is_called_in()
    }

    /// Closes the account. Blocks that are still in use are charged to `charged` until they are
    /// freed.
    pub fn close(self, charged: impl FnOnce(u64) -> Option<Lease>) {
        let counter = self.counter;
        // A waker that is dropped may free blocks, and run any code: not under the lock.
        drop(counter.closer.take());
        let left = self.bytes() as u64;
        std::mem::forget(self);
        let charged = if left > 0 { charged(left) } else { None };
        counters().close(counter, charged);
    }
}

/// Charges what this thread allocates to the host, until the returned scope ends. For work whose
/// results outlive the account in scope, such as the symbols that a first backtrace reads.
pub fn enter_host() -> Entered {
    Entered { outer: allocator::enter_host(), _not_send: std::marker::PhantomData }
}

impl Drop for HeapAccount {
    fn drop(&mut self) {
        drop(self.counter.closer.take());
        allocator::settle();
        counters().close(self.counter, None);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        allocator::enter(self.outer);
    }
}

impl Counters {
    fn make(&mut self) -> &'static Counter {
        let counter = Box::leak(Box::new(Counter::new()));
        self.all.push(counter);
        counter
    }

    fn close(&mut self, counter: &'static Counter, charged: Option<Lease>) {
        counter.is_open.store(false, Relaxed);
        if counter.bytes() == 0 {
            self.free.push(counter);
        } else {
            self.closed.push_back(Closed { counter, charged });
        }
    }

    /// Looks at some closed accounts: charges for what is still in use, and frees those without
    /// blocks.
    fn settle(&mut self, count: usize) {
        for _ in 0..count.min(self.closed.len()) {
            let Some(mut closed) = self.closed.pop_front() else { return };
            match closed.counter.bytes() as u64 {
                0 => self.free.push(closed.counter),
                bytes => {
                    if let Some(charged) = &mut closed.charged {
                        charged.shrink_to(bytes);
                    }
                    self.closed.push_back(closed);
                }
            }
        }
    }
}

/// Settles up to `count` closed accounts. For a tenant that is about to be refused: what they are
/// charged may be free by now.
pub fn settle(count: usize) {
    allocator::settle();
    counters().settle(count);
}

/// Bytes of the blocks that belong to no account: the host's own.
pub fn host_bytes() -> usize {
    allocator::settle();
    allocator::host_bytes()
}

/// Calls in the open account with the most blocks, of those that are not called in yet, and gives
/// it.
///
/// Each block that is left may keep a page of the allocator from being given back, however small
/// the block is. The owner of the account has to close it: [`HeapAccount::is_called_in`] tells, and
/// [`HeapAccount::is_called_in_or_wakes`] wakes the owner.
pub fn call_in_largest() -> Option<CalledIn> {
    let counters = counters();
    let open = counters
        .all
        .iter()
        .filter(|counter| counter.is_open.load(Relaxed) && !counter.is_called_in.load(Relaxed));
    let counter: &'static Counter = open.max_by_key(|counter| counter.blocks())?;
    let called_in = CalledIn { counter, blocks: counter.blocks(), bytes: counter.bytes() };
    counter.is_called_in.store(true, Relaxed);
    drop(counters);
    counter.closer.wake();
    Some(called_in)
}

/// Whether this program's global allocator charges blocks to accounts.
pub fn is_charged() -> bool {
    let account = HeapAccount::open();
    let entered = account.enter();
    let block = std::hint::black_box(Box::new(0_u64));
    drop(entered);
    let charged = account.bytes() > 0;
    drop(block);
    charged
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicBool},
        task::Wake,
        thread,
    };

    use crate::{budget::Budget, fair::Weight};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn a_block_is_charged_in_its_scope_and_credited_wherever_it_is_freed() {
        assert!(is_charged());
        let (one, other) = (HeapAccount::open(), HeapAccount::open());
        let entered = one.enter();
        let block = vec![0_u8; 10_000];
        let inside = one.bytes();
        let nested = other.enter();
        let nested_block = vec![0_u8; 500];
        drop(nested);
        let after = vec![0_u8; 7];
        drop(entered);
        let outside = vec![0_u8; 100_000];
        assert!((10_000..10_100).contains(&inside), "{inside}");
        assert!((10_007..10_100).contains(&one.bytes()), "{}", one.bytes());
        assert!((500..600).contains(&other.bytes()), "{}", other.bytes());
        thread::spawn(move || drop(block)).join().unwrap();
        assert!(one.bytes() < 100, "{}", one.bytes());
        let entered = other.enter();
        drop((after, outside));
        drop(entered);
        drop(nested_block);
        assert_eq!((one.bytes(), other.bytes()), (0, 0));
    }

    #[test]
    fn a_block_that_grows_stays_with_its_account() {
        let (one, other) = (HeapAccount::open(), HeapAccount::open());
        let mut block = {
            let _entered = one.enter();
            Vec::<u8>::with_capacity(100)
        };
        {
            let _entered = other.enter();
            block.resize(50_000, 1);
        }
        assert!(one.bytes() >= 50_000 && other.bytes() == 0);
        assert!(block.iter().all(|byte| *byte == 1));
        block.clear();
        block.shrink_to_fit();
        assert_eq!(one.bytes(), 0);
    }

    #[test]
    fn the_host_pays_within_its_own_scope() {
        let account = HeapAccount::open();
        let _scope = account.enter();
        let own = vec![1_u8; 1000];
        let before = account.bytes();
        let host = enter_host();
        let of_the_host = vec![1_u8; 100_000];
        assert_eq!(account.bytes(), before);
        drop(host);
        let more = vec![1_u8; 1000];
        assert!(account.bytes() >= before + 1000);
        drop((own, of_the_host, more));
    }

    #[test]
    fn blocks_of_every_alignment_are_aligned() {
        #[repr(align(64))]
        struct Line(#[expect(dead_code, reason = "space")] [u8; 64]);
        #[repr(align(4096))]
        struct Page(#[expect(dead_code, reason = "space")] [u8; 4096]);
        let account = HeapAccount::open();
        let entered = account.enter();
        let (line, page, wide) =
            (Box::new(Line([1; 64])), Box::new(Page([2; 4096])), Box::new(3_u128));
        let zeroed = vec![0_u64; 1000];
        drop(entered);
        assert_eq!((&raw const *line).addr() % 64, 0);
        assert_eq!((&raw const *page).addr() % 4096, 0);
        assert_eq!((&raw const *wide).addr() % 16, 0);
        assert!(zeroed.iter().all(|word| *word == 0));
        drop((line, page, wide, zeroed));
        assert_eq!(account.bytes(), 0);
    }

    #[test]
    fn blocks_of_a_closed_account_are_charged_until_they_are_freed() {
        let memory = Budget::new(1 << 30);
        let tenant = memory.share(&Weight::new(1));
        let account = HeapAccount::open();
        let block = {
            let _entered = account.enter();
            vec![0_u8; 200_000]
        };
        account.close(|bytes| {
            let mut part = tenant.lease();
            part.add(bytes);
            Some(part)
        });
        settle(usize::MAX);
        assert!(tenant.used() >= 200_000);
        drop(block);
        settle(usize::MAX);
        assert_eq!(tenant.used(), 0);
    }

    #[test]
    fn the_account_with_the_most_blocks_is_called_in_and_its_closer_is_woken() {
        let (few, many) = (HeapAccount::open(), HeapAccount::open());
        let large = {
            let _entered = few.enter();
            vec![0_u8; 10_000_000]
        };
        let small: Vec<Box<u64>> = {
            let _entered = many.enter();
            (0..100_000).map(Box::new).collect()
        };
        let woken = Arc::new(Woken::default());
        assert!(!many.is_called_in_or_wakes(&Waker::from(woken.clone())));
        let called_in = call_in_largest().unwrap();
        assert!(called_in.blocks >= 100_000, "{called_in:?}");
        assert!(many.is_called_in() && !few.is_called_in() && !called_in.is_closed());
        assert!(woken.0.load(Relaxed));
        drop(many);
        assert!(called_in.is_closed());
        drop((small, large));
        let again = HeapAccount::open();
        assert!(!again.is_called_in(), "a later account is not the one that was called in");
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }

    proptest! {
        /// Blocks that are made, grown and freed in any scope: each account has exactly what its
        /// own blocks take.
        #[test]
        fn accounts_are_exact(steps in vec((0_usize..3, 0_usize..3, 0_usize..8, 0_usize..3000), 1..200)) {
            let accounts = [HeapAccount::open(), HeapAccount::open(), HeapAccount::open()];
            let mut blocks: Vec<Option<(usize, Vec<u8>)>> = (0..8).map(|_| None).collect();
            let mut expected = [0_usize; 3];
            // With the allocator's own word.
            let rounded = |size: usize| (size + size_of::<usize>()).next_multiple_of(16);
            for (scope, what, at, size) in steps {
                let entered = accounts[scope].enter();
                match (what, &mut blocks[at]) {
                    (0, slot @ None) if size > 0 => {
                        *slot = Some((scope, Vec::with_capacity(size)));
                        expected[scope] += rounded(size);
                    }
                    (1, Some((owner, block))) => {
                        let before = block.capacity();
                        block.reserve_exact(before + size);
                        expected[*owner] += rounded(block.capacity()) - rounded(before);
                    }
                    (2, slot) => if let Some((owner, block)) = slot.take() {
                        expected[owner] -= rounded(block.capacity());
                    },
                    _ => {}
                }
                drop(entered);
                prop_assert_eq!(accounts.each_ref().map(HeapAccount::bytes), expected);
            }
        }
    }
}
