#![no_main]

#[path = "../targets/meter.rs"]
mod meter;
#[path = "../targets/pipe.rs"]
mod pipe;
#[path = "../targets/script.rs"]
mod script;
#[path = "../targets/upstream.rs"]
mod target;

#[global_allocator]
static ALLOCATOR: meter::Allocator = meter::ALLOCATOR;

/// Heap bytes of one input: the request's, and the server's own.
const BYTES: isize = 16 << 20;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meter::bounded(BYTES, || target::run(data));
});
