//! The export that is called once, before the snapshot of which every sandbox is a copy.

use super::heap::Spare;
use crate::init::InitOutcome;
use crate::log;

#[allow(unsafe_code)] // A function of the target's C library, which has no crate.
unsafe extern "C" {
    fn __wasilibc_deinitialize_environ();
}

/// Runs an init, and leaves nothing behind that would be wrong in another sandbox.
pub fn init<O: InitOutcome>(init: impl FnOnce() -> O) -> Result<(), String> {
    log::install();
    let spare = Spare::reserve();
    let outcome = init().outcome();
    // A handle is nothing outside of the sandbox that it was given to.
    #[cfg(feature = "stdio")]
    crate::stdio::close();
    // The C library keeps a copy of the environment, in which what only an invocation has is
    // missing. SAFETY: it takes nothing and frees that copy; a component has one thread, and
    // nobody holds a part of it now.
    #[allow(unsafe_code)]
    unsafe {
        __wasilibc_deinitialize_environ();
    }
    spare.leave();
    outcome
}
