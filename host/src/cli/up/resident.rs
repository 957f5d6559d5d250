//! The watch over this process's resident memory, with the allocator that the program has
//! installed.
#![allow(unsafe_code)]

use std::{
    convert::Infallible,
    sync::{atomic::Ordering::Relaxed, mpsc},
    time::Duration,
};

use lacewing_base::{event_loop::LoopsHandle, heap::ResidentWatch};
use lacewing_manifest::config::Settings;
use lacewing_telemetry::Metrics;

use crate::cli::Error;

/// Time for which the watch waits until all threads have given pages back.
const GIVING_BACK: Duration = Duration::from_millis(100);

/// mimalloc's option for the time, in milliseconds, for which free pages stay resident:
/// `mi_option_purge_delay` of `mimalloc.h`. The crate `libmimalloc-sys` has no name for the option.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// How long free pages stay resident, in milliseconds. With the default of a second, tenants that
/// take turns at using their shares of memory have several times these shares resident. Without a
/// delay, pages of one invocation are given back before the next one uses them: a `wasi:http` hello
/// then takes a tenth more CPU.
const PURGE_DELAY_MS: std::ffi::c_long = 10;

/// Starts the watch. The process has allocated nothing for tenants yet.
pub(super) fn watch(
    settings: &Settings,
    metrics: &Metrics,
    loops: LoopsHandle,
) -> Result<ResidentWatch, Error> {
    // SAFETY: the option is an integer that mimalloc reads when it frees a page.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) };
    // The promise allows a tenth and 64 MiB over that: for the program itself, and for growth until
    // the watch has acted.
    let limit_bytes = settings.total_memory_bytes();
    let watch = ResidentWatch::start(limit_bytes, Box::new(move || give_back(&loops)))
        .map_err(Error::System)?;
    let called_in = watch.counter();
    metrics.add_counter(
        "memory_called_in",
        "Sandboxes and connections that were closed because resident memory was over its limit",
        move || called_in.load(Relaxed),
    );
    Ok(watch)
}

/// Has each thread give its free pages back to the system. A page belongs to one thread, and other
/// threads cannot give it back.
fn give_back(loops: &LoopsHandle) {
    let (done, all_done) = mpsc::channel::<Infallible>();
    loops.on_each_thread(move || {
        collect();
        drop(done);
    });
    collect();
    // All senders are dropped, or a thread is busy for longer.
    let _ = all_done.recv_timeout(GIVING_BACK);
}

fn collect() {
    // SAFETY: mimalloc lets every thread call this at any time.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
