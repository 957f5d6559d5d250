#![no_main]

#[path = "../targets/script.rs"]
mod script;
#[path = "../targets/fold.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
