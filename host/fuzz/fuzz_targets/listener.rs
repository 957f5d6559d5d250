#![no_main]

#[path = "../targets/meter.rs"]
mod meter;
#[path = "../targets/pipe.rs"]
mod pipe;
#[path = "../targets/script.rs"]
mod script;
#[path = "../targets/listener.rs"]
mod target;
#[path = "../targets/wire.rs"]
mod wire;

#[global_allocator]
static ALLOCATOR: meter::Allocator = meter::ALLOCATOR;

/// Heap bytes of one input: the connection's, and the client's own.
const BYTES: isize = 16 << 20;

libfuzzer_sys::fuzz_target!(
    init: {
        // A panic ends the process, but for h2's own assertion: see the target.
        let end = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.location().is_some_and(|place| place.file().ends_with("streams/counts.rs")) {
                return target::EXCUSED.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            end(panic);
        }));
    },
    |data: &[u8]| {
        meter::bounded(BYTES, || target::run(data));
    }
);
