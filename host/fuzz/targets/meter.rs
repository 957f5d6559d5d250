//! The heap of this thread, counted apart from the host's own accounts.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use lacewing::heap::ChargingAllocator;

/// The host's allocator, over one that counts.
pub(crate) type Allocator = ChargingAllocator<Meter>;

pub(crate) const ALLOCATOR: Allocator = ChargingAllocator(Meter);

/// The system's allocator, which counts what this thread has, and the most that it had.
pub(crate) struct Meter;

thread_local! {
    static BYTES: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn add(bytes: isize) {
    BYTES.set(BYTES.get() + bytes);
    PEAK.set(PEAK.get().max(BYTES.get()));
}

// SAFETY: each call is passed on as it is. Counting neither allocates nor panics.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size().cast_signed());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        add(-layout.size().cast_signed());
        unsafe { System.dealloc(block, layout) }
    }
}

/// Runs something that may have so many bytes at once more than there were.
pub(crate) fn bounded<T>(bytes: isize, work: impl FnOnce() -> T) -> T {
    let before = BYTES.get();
    let outer = PEAK.replace(before);
    let result = work();
    let most = PEAK.get() - before;
    PEAK.set(outer.max(PEAK.get()));
    assert!(most <= bytes, "{most} bytes of the heap at once, and {bytes} were expected");
    result
}
