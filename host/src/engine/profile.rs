//! What is compiled into a function's code.

use wasmtime::{Config, OptLevel};

/// Instrumentation is a compile-time choice: a revision's artifact belongs to one profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Interrupted by epochs.
    Standard,
    /// Interrupted by epochs, and counts fuel: deterministic, and slower on compute.
    Metered,
}

impl Profile {
    /// The profile that limits with or without fuel need.
    pub fn with_fuel(fuel: Option<u64>) -> Profile {
        match fuel {
            Some(_) => Profile::Metered,
            None => Profile::Standard,
        }
    }

    /// A short word for file names and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Standard => "standard",
            Profile::Metered => "metered",
        }
    }

    /// Everything but where instances are allocated.
    pub(super) fn config(self) -> Config {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .consume_fuel(self == Profile::Metered)
            .wasm_component_model(true)
            .wasm_component_model_async(true)
            .cranelift_opt_level(OptLevel::Speed)
            // 4 GiB of address space and a guard for each memory: no bounds checks in the compiled code.
            .memory_reservation(4 << 30)
            .memory_guard_size(32 << 20)
            // A slot's data comes copy-on-write out of the artifact's own pages.
            .memory_init_cow(true)
            // A guest's memory cannot be shared between threads here, and nobody could interrupt a thread that waits.
            .wasm_threads(false)
            // Offsets in a trap's backtrace cost a table as large as the code.
            .generate_address_map(false)
            .max_wasm_stack(512 << 10)
            .async_stack_size(1 << 20);
        config
    }
}
