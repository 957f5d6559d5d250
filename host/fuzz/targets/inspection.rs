//! The inspection of a component's bytes in the host's process, before they are compiled: no panic.
//! A folded component is as valid as it was, and hardly larger.

use lacewing::{
    engine::{Instrumented, has_init, inspect_bytes, memory_layouts},
    fuzzing,
};
use wasmparser::{Validator, WasmFeatures};

pub(crate) fn run(data: &[u8]) {
    if let Err(error) = inspect_bytes(data, 1 << 20) {
        assert!(!error.to_string().is_empty());
    }
    let is_valid = || Validator::new_with_features(WasmFeatures::all()).validate_all(data).is_ok();
    fuzzing::names_wasi_03(data);
    for layout in memory_layouts(data) {
        assert!(layout.initial_heap_bytes <= layout.initial_bytes || !is_valid());
    }
    if has_init(data)
        && let Err(error) = Instrumented::new(data)
    {
        assert!(error.to_string().len() < 4096, "{error}");
    }
    if let Some(folded) = fuzzing::folded(data) {
        // Each trampoline is a few bytes: folding is no way to make the compiler work on much more
        // than was uploaded.
        assert!(folded.len() <= data.len() * 2 + 4096, "{} of {}", folded.len(), data.len());
        if is_valid() {
            let validated = Validator::new_with_features(WasmFeatures::all()).validate_all(&folded);
            assert!(validated.is_ok(), "the folded component: {:?}", validated.err());
        }
    }
}
