//! The heap of SQLite, bounded for each connection of a guest and charged to the account in scope.
//!
//! SQLite knows one limit on its heap, for the whole process: one guest could use it up for all.
//! So SQLite allocates here. A block is allocated in one of two ways:
//!
//! - Inside of [`bounded`], by the program's own allocator, which charges the account in scope. A
//!   block over the bound is refused, and SQLite ends the statement with an error of its own.
//! - Everywhere else, as for key-value stores, by the system's allocator, at no account.
//!
//! A word before each block says which, so that a block may be freed anywhere.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System, alloc, dealloc, realloc},
    cell::Cell,
    ffi::{c_int, c_void},
    ptr,
    sync::OnceLock,
};

use rusqlite::ffi;

/// The bytes of bounded blocks that one connection has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeapUse(i64);

#[derive(Clone, Copy)]
struct Bound {
    used: i64,
    limit: i64,
}

thread_local! {
    /// The bound of the work on this thread. Without a destructor, so that it is always there.
    static BOUND: Cell<Option<Bound>> = const { Cell::new(None) };
}

/// Does work of a connection. SQLite gets no block that would take the connection over `limit`
/// bytes.
pub(super) fn bounded<T>(heap: &mut HeapUse, limit: u64, work: impl FnOnce() -> T) -> T {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let _scope = Scope::enter(heap, Bound { used: heap.0, limit });
    work()
}

/// The end of [`bounded`], also where the work panics.
struct Scope<'a> {
    heap: &'a mut HeapUse,
    outer: Option<Bound>,
}

impl Scope<'_> {
    fn enter(heap: &mut HeapUse, bound: Bound) -> Scope<'_> {
        Scope { heap, outer: BOUND.replace(Some(bound)) }
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        if let Some(bound) = BOUND.replace(self.outer) {
            self.heap.0 = bound.used;
        }
    }
}

/// Does work within [`bounded`] that may go over the bound: its blocks are counted as ever.
pub(super) fn over_the_bound<T>(work: impl FnOnce() -> T) -> T {
    let set_limit = |limit| {
        BOUND.set(BOUND.get().map(|bound| Bound { limit, ..bound }));
    };
    let limit = BOUND.get().map_or(0, |bound| bound.limit);
    set_limit(i64::MAX);
    let done = work();
    set_limit(limit);
    done
}

/// Does work outside of any bound.
pub(super) fn unbounded<T>(work: impl FnOnce() -> T) -> T {
    let outer = BOUND.take();
    let done = work();
    BOUND.set(outer);
    done
}

/// Has SQLite allocate here. To be called before the program's first connection.
///
/// Returns whether SQLite does. Once it was in use, it does not change its allocator.
pub(in super::super) fn install() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        let methods = ffi::sqlite3_mem_methods {
            xMalloc: Some(malloc),
            xFree: Some(free),
            xRealloc: Some(resize),
            xSize: Some(size),
            xRoundup: Some(round_up),
            xInit: Some(init),
            xShutdown: Some(shut_down),
            pAppData: ptr::null_mut(),
        };
        // SAFETY: the option takes a pointer to methods, which SQLite copies. SQLite refuses the
        // call once it was initialised.
        let code = unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const methods) };
        code == ffi::SQLITE_OK
    })
}

/// The words before each block. SQLite asks for an alignment of 8.
#[repr(C, align(16))]
struct Header {
    /// Bytes of the block, less the header.
    bytes: usize,
    is_bounded: bool,
}

const HEADER: usize = size_of::<Header>();

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.checked_add(HEADER)?, align_of::<Header>()).ok()
}

/// Counts a change of bounded bytes on this thread. Returns whether the bound allows it; one that
/// shrinks is always allowed.
fn count(more: i64) -> bool {
    let Some(bound) = BOUND.get() else { return true };
    let used = bound.used.saturating_add(more);
    if more > 0 && used > bound.limit {
        return false;
    }
    BOUND.set(Some(Bound { used, ..bound }));
    true
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A block; null if there is none.
fn allocate(bytes: usize) -> *mut c_void {
    let is_bounded = BOUND.get().is_some();
    let Some(layout) = layout(bytes) else { return ptr::null_mut() };
    if is_bounded && !count(signed(bytes)) {
        return ptr::null_mut();
    }
    // SAFETY: the layout has the size of a header at least.
    let header = unsafe {
        match is_bounded {
            true => alloc(layout),
            false => System.alloc(layout),
        }
    }
    .cast::<Header>();
    if header.is_null() {
        if is_bounded {
            count(-signed(bytes));
        }
        return ptr::null_mut();
    }
    // SAFETY: the block is aligned for a header, and has room for it. The address after the header
    // is inside of the block, or at its end.
    unsafe {
        header.write(Header { bytes, is_bounded });
        header.add(1).cast()
    }
}

/// The header of a block.
///
/// # Safety
/// [`allocate`] or [`resize`] gave the block, and it was not freed.
unsafe fn header_of(block: *mut c_void) -> *mut Header {
    // SAFETY: a header is before each such block.
    unsafe { block.cast::<Header>().sub(1) }
}

unsafe extern "C" fn malloc(bytes: c_int) -> *mut c_void {
    usize::try_from(bytes).map_or(ptr::null_mut(), allocate)
}

unsafe extern "C" fn free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // SAFETY: SQLite frees its own blocks, each once. The layout is that of the allocation, and
    // the header says which allocator made it.
    unsafe {
        let header = header_of(block);
        let Header { bytes, is_bounded } = header.read();
        let Some(layout) = layout(bytes) else { return };
        if is_bounded {
            count(-signed(bytes));
            dealloc(header.cast(), layout);
        } else {
            System.dealloc(header.cast(), layout);
        }
    }
}

unsafe extern "C" fn resize(block: *mut c_void, bytes: c_int) -> *mut c_void {
    let Ok(bytes) = usize::try_from(bytes) else { return ptr::null_mut() };
    if block.is_null() {
        return allocate(bytes);
    }
    // SAFETY: SQLite resizes its own blocks.
    let header = unsafe { header_of(block) };
    // SAFETY: as above.
    let Header { bytes: before, is_bounded } = unsafe { header.read() };
    let (Some(old), Some(new)) = (layout(before), layout(bytes)) else { return ptr::null_mut() };
    let more = signed(bytes) - signed(before);
    if is_bounded && !count(more) {
        return ptr::null_mut();
    }
    // SAFETY: the block has the layout `old` in the allocator that its header names, and the new
    // size fits a layout.
    let moved = unsafe {
        match is_bounded {
            true => realloc(header.cast(), old, new.size()),
            false => System.realloc(header.cast(), old, new.size()),
        }
    }
    .cast::<Header>();
    if moved.is_null() {
        if is_bounded {
            count(-more);
        }
        return ptr::null_mut();
    }
    // SAFETY: the block has room for the header, as in `allocate`.
    unsafe {
        (*moved).bytes = bytes;
        moved.add(1).cast()
    }
}

unsafe extern "C" fn size(block: *mut c_void) -> c_int {
    if block.is_null() {
        return 0;
    }
    // SAFETY: SQLite asks for its own blocks.
    let bytes = unsafe { (*header_of(block)).bytes };
    c_int::try_from(bytes).unwrap_or(c_int::MAX)
}

unsafe extern "C" fn round_up(bytes: c_int) -> c_int {
    bytes.checked_add(7).map_or(bytes, |bytes| bytes & !7)
}

unsafe extern "C" fn init(_: *mut c_void) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn shut_down(_: *mut c_void) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_gets_no_block_over_its_bound() {
        let mut heap = HeapUse::default();
        let block = bounded(&mut heap, 1000, || {
            let block = allocate(600);
            assert!(!block.is_null());
            assert!(allocate(600).is_null());
            // SAFETY: the block was allocated above.
            assert!(unsafe { resize(block, 1001) }.is_null());
            // SAFETY: a block that could not be resized is as it was.
            let block = unsafe { resize(block, 1000) };
            // SAFETY: the block was resized above.
            assert_eq!(unsafe { size(block) }, 1000);
            assert!(allocate(1).is_null());
            assert!(!over_the_bound(|| allocate(64)).is_null());
            block
        });
        assert_eq!(heap.0, 1064);
        // SAFETY: the block was allocated above, and is freed once.
        bounded(&mut heap, 1000, || unsafe { free(block) });
        assert_eq!(heap.0, 64);
    }

    #[test]
    fn a_block_outside_of_a_bound_is_freed_inside_without_credit() {
        let block = allocate(500);
        let mut heap = HeapUse::default();
        // SAFETY: the block was allocated above, and is freed once.
        bounded(&mut heap, 1000, || unsafe { free(block) });
        assert_eq!(heap.0, 0);
    }
}
