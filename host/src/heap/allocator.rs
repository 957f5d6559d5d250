//! The allocator that charges blocks to accounts: a word before each block names the counter of its account.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    ptr,
    sync::atomic::{AtomicIsize, Ordering::Relaxed},
};

/// Bytes in use of one account. On a cache line of its own: accounts are counted by different threads.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Counter(AtomicIsize);

impl Counter {
    pub(super) fn bytes(&self) -> isize {
        self.0.load(Relaxed)
    }
}

/// The counter of a block's account, if it has one: the word before each block. Counters live for ever.
pub(super) type Owner = Option<&'static Counter>;

/// Bytes of that word.
const WORD: usize = size_of::<Owner>();

/// Bytes of one counter that a thread has not added to it yet. An atomic operation for each block would cost more than the
/// block itself.
struct Tally {
    owner: Cell<Owner>,
    pending: Cell<isize>,
}

impl Tally {
    const fn new() -> Tally {
        Tally { owner: Cell::new(None), pending: Cell::new(0) }
    }

    #[inline]
    fn is_of(&self, owner: Owner) -> bool {
        self.owner.get().map(ptr::from_ref) == owner.map(ptr::from_ref)
    }

    #[inline]
    fn add(&self, bytes: isize) {
        self.pending.set(self.pending.get().wrapping_add(bytes));
    }

    /// Adds what is pending to the counter.
    fn settle(&self) {
        let pending = self.pending.replace(0);
        if let Some(counter) = self.owner.get()
            && pending != 0
        {
            counter.0.fetch_add(pending, Relaxed);
        }
    }

    /// Counts for another one from now on. Returns the one before.
    fn switch(&self, owner: Owner) -> Owner {
        self.settle();
        self.owner.replace(owner)
    }
}

thread_local! {
    // Neither is initialised or dropped, so that the allocator may use them at any time.
    /// The account in scope.
    static SCOPE: Tally = const { Tally::new() };
    /// The account, out of scope, whose block was freed last: blocks are mostly freed with others of their account.
    static FREED: Tally = const { Tally::new() };
}

/// Makes an account this thread's scope. Returns the one before.
pub(super) fn enter(owner: Owner) -> Owner {
    FREED.with(Tally::settle);
    SCOPE.with(|scope| scope.switch(owner))
}

/// Adds what this thread has counted to the counters.
pub(super) fn settle() {
    SCOPE.with(Tally::settle);
    FREED.with(Tally::settle);
}

/// Charges `bytes` to the account in scope, and names its counter.
#[inline]
fn charge(bytes: isize) -> Owner {
    SCOPE.with(|scope| {
        scope.add(bytes);
        scope.owner.get()
    })
}

/// Changes what `owner` is charged by `bytes`.
#[inline]
fn adjust(owner: Owner, bytes: isize) {
    if owner.is_none() {
        return;
    }
    SCOPE.with(|scope| match scope.is_of(owner) {
        true => scope.add(bytes),
        false => adjust_out_of_scope(owner, bytes, scope.owner.get().is_some()),
    });
}

/// A tally is settled when its thread's scope changes. A thread without a scope keeps none.
fn adjust_out_of_scope(owner: Owner, bytes: isize, has_scope: bool) {
    FREED.with(|freed| {
        if !freed.is_of(owner) {
            freed.switch(owner);
        }
        freed.add(bytes);
        if !has_scope {
            freed.settle();
        }
    });
}

/// Charges what another allocator allocates.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChargingAllocator<A>(pub A);

/// The layout of a block with the word before it, and where in it the block begins. `None` if there is no such layout.
#[inline]
fn with_word(layout: Layout) -> Option<(Layout, usize)> {
    // A multiple of the alignment, so that the block is aligned as the whole is.
    let offset = layout.align().max(WORD);
    let size = layout.size().checked_add(offset)?;
    if size > isize::MAX.cast_unsigned() - offset {
        return None;
    }
    // SAFETY: the larger of two powers of two is one; the size, rounded up to it, was just seen to fit.
    Some((unsafe { Layout::from_size_align_unchecked(size, offset) }, offset))
}

/// The charge for a block of a size.
#[inline]
fn charged(bytes: usize) -> isize {
    bytes.wrapping_add(WORD).cast_signed()
}

/// Writes the word before a block, and gives the block.
///
/// # Safety
/// `base` is null, or begins an allocation of a layout and an offset that [`with_word`] gave for a block of `bytes`.
#[inline]
unsafe fn begin(base: *mut u8, offset: usize, bytes: usize) -> *mut u8 {
    if base.is_null() {
        return base;
    }
    // SAFETY: the allocation has `offset` bytes before the block, at least a word; both are aligned for a word.
    unsafe {
        let block = base.add(offset);
        block.sub(WORD).cast::<Owner>().write(charge(charged(bytes)));
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

// SAFETY: each block lies in an allocation of the inner allocator that is larger by the word (and its padding), aligned as
// asked; it is given back with the same layout. The counting does not allocate, unwind or touch the block.
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
            adjust(owner_of(block), -charged(layout.size()));
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
        // SAFETY: the caller gives a block of this allocator with its layout; the new size with the word is a size of a
        // layout, as was just seen. The word is among the bytes that are kept.
        unsafe {
            let base = self.0.realloc(block.sub(offset), whole, new_whole);
            if base.is_null() {
                return base;
            }
            let block = base.add(offset);
            adjust(owner_of(block), charged(new_size) - charged(layout.size()));
            block
        }
    }
}
