//! The heap that an init leaves to invocations.
//!
//! Every sandbox starts from the memory that the init left, and pays a page fault for each page of
//! it that it writes to, unless that lies near the start of the memory, where the host writes it
//! anew without a system call. An init leaves chunks that it freed all over its heap, and an
//! allocator looks through those first. So they are taken out of use, and what invocations allocate
//! comes from a part of the heap that was held free for them, beside the statics.

use std::{arch::wasm32::memory_size, hint::black_box, mem::forget};

/// Bytes that are held free. They lie in the initial heap of 64 KiB that `lacewing build` gives a
/// function.
const SPARE_BYTES: usize = 48 * 1024;

const PAGE_BYTES: usize = 64 << 10;

/// The sizes of what is taken out of use. Most allocators have no chunk that is smaller than the
/// least.
const SIZES: [usize; 14] = [
    64 << 10,
    32 << 10,
    16 << 10,
    8 << 10,
    4 << 10,
    2 << 10,
    1 << 10,
    512,
    256,
    128,
    64,
    32,
    16,
    8,
];

/// The most blocks of one size. A caller that frees more than that in small chunks keeps some of
/// them.
const MOST: usize = 1 << 16;

/// The bytes that are held free while an init runs.
pub(super) struct Spare(Vec<u8>);

impl Spare {
    /// To be made before anything of the init.
    pub(super) fn reserve() -> Spare {
        Spare(block(SPARE_BYTES).unwrap_or_default())
    }

    /// Leaves what was held free to invocations, and of the rest of the heap what lies after all
    /// that is in use. Where most of the memory is free, or it may not grow, invocations may
    /// need that, and have everything that is free.
    pub(super) fn leave(self) {
        let before = memory_size::<0>();
        let most = before * PAGE_BYTES / 2 / SIZES[0];
        let mut taken = Vec::new();
        let last = loop {
            let Some(block) = block(SIZES[0]) else { return };
            if memory_size::<0>() > before {
                break block;
            }
            if taken.len() >= most || taken.try_reserve(1).is_err() {
                return;
            }
            taken.push(block);
        };
        taken.drain(..).for_each(forget);
        drop(taken);
        for size in SIZES {
            for _ in 0..MOST {
                match block(size) {
                    Some(block) if block.as_ptr() < last.as_ptr() => forget(block),
                    _ => break,
                }
            }
        }
        drop(self.0);
    }
}

/// Memory of nobody's yet. Without the black box, what is not used would not be allocated.
fn block(bytes: usize) -> Option<Vec<u8>> {
    let mut block = Vec::new();
    block.try_reserve_exact(bytes).ok()?;
    Some(black_box(block))
}
