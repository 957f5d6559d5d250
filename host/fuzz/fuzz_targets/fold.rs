#![no_main]

#[path = "../targets/script.rs"]
#[allow(dead_code, reason = "other targets use more of it")]
mod script;
#[path = "../targets/fold.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
