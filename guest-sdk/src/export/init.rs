//! The export that is called once, before the snapshot of which every sandbox is a copy.

use std::hint::black_box;

use crate::init::InitOutcome;
use crate::log;

/// Bytes of heap that are set aside, below all that the init keeps, for what invocations allocate.
///
/// They lie in the initial memory of 512 KiB that `lacewing build` gives a function. What an invocation writes is then together,
/// near the start of the memory, where the host resets it without a system call; and no invocation has to ask for more memory
/// first, however full the init has left the heap.
const SPARE_HEAP_BYTES: usize = 224 * 1024;

#[allow(unsafe_code)] // A function of the target's C library, which has no crate.
unsafe extern "C" {
    fn __wasilibc_deinitialize_environ();
}

/// Runs an init, and leaves nothing behind that would be wrong in another sandbox.
pub fn init<O: InitOutcome>(init: impl FnOnce() -> O) -> Result<(), String> {
    log::install();
    let spare = black_box(Vec::<u8>::with_capacity(SPARE_HEAP_BYTES));
    let outcome = init().outcome();
    drop(spare);
    // A handle is nothing outside of the sandbox that it was given to.
    #[cfg(feature = "stdio")]
    crate::stdio::close();
    // The C library keeps a copy of the environment, in which what only an invocation has is missing.
    // SAFETY: it takes nothing and frees that copy; a component has one thread, and nobody holds a part of it now.
    #[allow(unsafe_code)]
    unsafe {
        __wasilibc_deinitialize_environ();
    }
    outcome
}
