//! The allocator that charges blocks to accounts: a word before each block names the counter of its
//! account.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    ptr,
    sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
};

use futures_util::task::AtomicWaker;

/// A number of blocks and their size, in one integer: the blocks in its upper half, and 16-byte
/// units in its lower half.
///
/// Sums and differences of charges are charges. A difference may be negative, so the lower half is
/// read as a signed number.
type Charge = i64;

/// Bytes of one unit. The allocators underneath round each block up to as much.
const UNIT_BYTES: usize = 16;
const ONE_BLOCK: Charge = 1 << 32;

fn units(charge: Charge) -> i64 {
    // The lower half, with its sign.
    (charge << 32) >> 32
}

fn blocks(charge: Charge) -> i64 {
    (charge - units(charge)) >> 32
}

/// The charges of one account. On a cache line of its own: accounts are counted by different
/// threads.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Counter {
    charges: AtomicI64,
    /// Whether an account uses the counter.
    pub(super) is_open: AtomicBool,
    /// Whether the account has to be closed, to give memory back.
    pub(super) is_called_in: AtomicBool,
    /// The task that closes the account.
    pub(super) closer: AtomicWaker,
}

impl Counter {
    pub(super) const fn new() -> Counter {
        Counter {
            charges: AtomicI64::new(0),
            is_open: AtomicBool::new(false),
            is_called_in: AtomicBool::new(false),
            closer: AtomicWaker::new(),
        }
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(units(self.charges.load(Relaxed))).unwrap_or(0) * UNIT_BYTES
    }

    /// Blocks in use.
    pub(super) fn blocks(&self) -> u64 {
        u64::try_from(blocks(self.charges.load(Relaxed))).unwrap_or(0)
    }
}

/// The account of the host's own blocks: those that are allocated in no scope.
static HOST: Counter = Counter::new();

/// Bytes of the host's own blocks. Up to 64 KiB of each thread may be missing.
pub(super) fn host_bytes() -> usize {
    HOST.bytes()
}

/// The counter of a block's account: the word before each block. Counters live for ever.
pub(super) type Owner = &'static Counter;

/// Bytes of that word.
const WORD: usize = size_of::<Owner>();

/// Charges of one counter that a thread has not added to it yet. An atomic operation for each block
/// would cost more than the block itself.
struct PendingCharges {
    owner: Cell<Owner>,
    pending: Cell<Charge>,
}

impl PendingCharges {
    const fn new() -> PendingCharges {
        PendingCharges { owner: Cell::new(&HOST), pending: Cell::new(0) }
    }

    #[inline]
    fn is_of(&self, owner: Owner) -> bool {
        ptr::eq(self.owner.get(), owner)
    }

    #[inline]
    fn add(&self, charge: Charge) {
        let pending = self.pending.get().wrapping_add(charge);
        self.pending.set(pending);
        if units(pending).unsigned_abs() >= MOST_PENDING_UNITS {
            self.settle();
        }
    }

    /// Adds the pending charges to the counter.
    fn settle(&self) {
        let pending = self.pending.replace(0);
        if pending == 0 {
            return;
        }
        match self.is_of(&HOST) {
            true => charge_host(pending),
            false => _ = self.owner.get().charges.fetch_add(pending, Relaxed),
        }
    }

    /// Counts for another account from now on. Returns the one before.
    fn switch(&self, owner: Owner) -> Owner {
        self.settle();
        self.owner.replace(owner)
    }
}

/// The charges that a thread keeps pending, in units: 64 KiB.
const MOST_PENDING_UNITS: u64 = (64 << 10) / UNIT_BYTES as u64;

thread_local! {
    // None is initialised or dropped, so that the allocator may use them at any time.
    /// The account in scope.
    static SCOPE: PendingCharges = const { PendingCharges::new() };
    /// The account, out of scope, whose block was freed last: blocks are mostly freed with others
    /// of their account.
    static FREED: PendingCharges = const { PendingCharges::new() };
    /// Charges of the host that this thread has not added to the host's counter yet.
    static HOST_PENDING: Cell<Charge> = const { Cell::new(0) };
}

/// Makes an account this thread's scope. Returns the one before.
pub(super) fn enter(owner: Owner) -> Owner {
    FREED.with(PendingCharges::settle);
    SCOPE.with(|scope| scope.switch(owner))
}

/// Makes the host this thread's scope. Returns the one before.
pub(super) fn enter_host() -> Owner {
    enter(&HOST)
}

/// Adds the charges that this thread has pending to the counters.
pub(super) fn settle() {
    SCOPE.with(PendingCharges::settle);
    FREED.with(PendingCharges::settle);
}

/// Changes the charges of the host. They may stay pending: all threads share its counter.
fn charge_host(charge: Charge) {
    let pending = HOST_PENDING.get().wrapping_add(charge);
    let is_large = units(pending).unsigned_abs() >= MOST_PENDING_UNITS;
    HOST_PENDING.set(if is_large { 0 } else { pending });
    if is_large {
        HOST.charges.fetch_add(pending, Relaxed);
    }
}

/// Charges the account in scope, and names its counter.
#[inline]
fn charge(charge: Charge) -> Owner {
    SCOPE.with(|scope| {
        scope.add(charge);
        scope.owner.get()
    })
}

/// Changes the charges of `owner` by `charge`.
#[inline]
fn adjust(owner: Owner, charge: Charge) {
    SCOPE.with(|scope| match scope.is_of(owner) {
        true => scope.add(charge),
        // Not by way of the tally: the blocks of one account are freed between blocks of the host.
        false if ptr::eq(owner, &raw const HOST) => charge_host(charge),
        false => adjust_out_of_scope(owner, charge, !scope.is_of(&HOST)),
    });
}

/// A tally is settled when its thread's scope changes. A thread without a scope keeps none.
fn adjust_out_of_scope(owner: Owner, charge: Charge, has_scope: bool) {
    FREED.with(|freed| {
        if !freed.is_of(owner) {
            freed.switch(owner);
        }
        freed.add(charge);
        if !has_scope {
            freed.settle();
        }
    });
}

/// Charges what another allocator allocates.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChargingAllocator<A>(pub A);

/// The layout of a block with the word before it, and where in it the block begins. `None` if there
/// is no such layout.
#[inline]
fn with_word(layout: Layout) -> Option<(Layout, usize)> {
    // A multiple of the alignment, so that the block is aligned as the whole is.
    let offset = layout.align().max(WORD);
    let size = layout.size().checked_add(offset)?;
    if size > isize::MAX.cast_unsigned() - offset {
        return None;
    }
    // SAFETY: the larger of two powers of two is one; the size, rounded up to it, was just seen to
    // fit.
    Some((unsafe { Layout::from_size_align_unchecked(size, offset) }, offset))
}

/// The charge for a block of a size.
#[inline]
fn charge_of(bytes: usize) -> Charge {
    let units = bytes.wrapping_add(WORD).div_ceil(UNIT_BYTES);
    ONE_BLOCK.wrapping_add(units.cast_signed() as Charge)
}

/// Writes the word before a block, and gives the block.
///
/// # Safety
/// `base` is null, or begins an allocation of a layout and an offset that [`with_word`] gave for a
/// block of `bytes`.
#[inline]
unsafe fn begin(base: *mut u8, offset: usize, bytes: usize) -> *mut u8 {
    if base.is_null() {
        return base;
    }
    // SAFETY: the allocation has `offset` bytes before the block, at least a word; both are aligned
    // for a word.
    unsafe {
        let block = base.add(offset);
        block.sub(WORD).cast::<Owner>().write(charge(charge_of(bytes)));
        block
    }
}

/// The word before a block.
///
/// # Safety
/// The block was given by [`ChargingAllocator`], and not freed since.
#[inline]
unsafe fn owner_of(block: *mut u8) -> Owner {
    // SAFETY: the word was written when the block was allocated, and counters live for ever.
    unsafe { block.sub(WORD).cast::<Owner>().read() }
}

// SAFETY: each block lies in an allocation of the inner allocator that is larger by the word (and
// its padding), aligned as asked; it is given back with the same layout. The counting does not
// allocate, unwind or touch the block.
unsafe impl<A: GlobalAlloc> GlobalAlloc for ChargingAllocator<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((whole, offset)) = with_word(layout) else { return ptr::null_mut() };
        // SAFETY: the layout has a size that is not zero: it has a word.
        unsafe { begin(self.0.alloc(whole), offset, layout.size()) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some((whole, offset)) = with_word(layout) else { return ptr::null_mut() };
        // SAFETY: as for `alloc`.
        unsafe { begin(self.0.alloc_zeroed(whole), offset, layout.size()) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // A block of this layout was allocated, so that there is such a layout.
        let Some((whole, offset)) = with_word(layout) else { return };
        // SAFETY: the caller gives a block of this allocator with its layout.
        unsafe {
            adjust(owner_of(block), charge_of(layout.size()).wrapping_neg());
            self.0.dealloc(block.sub(offset), whole);
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some((whole, offset)) = with_word(layout) else { return ptr::null_mut() };
        let Some(new_whole) = new_size.checked_add(offset) else { return ptr::null_mut() };
        if new_whole > isize::MAX.cast_unsigned() - offset {
            return ptr::null_mut();
        }
        // SAFETY: the caller gives a block of this allocator with its layout; the new size with the
        // word is a size of a layout, as was just seen. The word is among the bytes that
        // are kept.
        unsafe {
            let base = self.0.realloc(block.sub(offset), whole, new_whole);
            if base.is_null() {
                return base;
            }
            let block = base.add(offset);
            adjust(owner_of(block), charge_of(new_size).wrapping_sub(charge_of(layout.size())));
            block
        }
    }
}
