#![no_main]

#[path = "../targets/meter.rs"]
mod meter;
#[path = "../targets/storm.rs"]
mod target;

#[global_allocator]
static ALLOCATOR: meter::Allocator = meter::ALLOCATOR;

libfuzzer_sys::fuzz_target!(
    init: {
        // State that all inputs share.
        target::run(&[0]);
    },
    |data: &[u8]| meter::bounded(target::heap_bytes(data) as isize, || target::run(data))
);
