//! The instrumentation that is compiled into a function's code.

use wasmtime::{Config, OptLevel};

/// The instrumentation, the permissions of code, and the kind of its memories: a revision's
/// artifact belongs to one profile, and each profile has an engine of its own.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Profile {
    /// Whether fuel is counted besides the epoch's interruptions: deterministic, and slower on
    /// compute.
    pub metered: bool,
    /// Whether there are the component model's tasks, streams and futures, which WASI 0.3 is made
    /// of. Each call of a function is then a task with its bookkeeping, which costs as much
    /// again as a small function's call.
    pub tasks: bool,
    /// Whether more memory is there from the start than is worth writing again after each
    /// invocation, as where an init left a table: the reset then gives the written pages back,
    /// and the next sandbox maps the pages of the artifact.
    pub large: bool,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 8] = [
        Profile { metered: false, tasks: false, large: false },
        Profile { metered: true, tasks: false, large: false },
        Profile { metered: false, tasks: true, large: false },
        Profile { metered: true, tasks: true, large: false },
        Profile { metered: false, tasks: false, large: true },
        Profile { metered: true, tasks: false, large: true },
        Profile { metered: false, tasks: true, large: true },
        Profile { metered: true, tasks: true, large: true },
    ];

    /// Its place in [`Profile::ALL`].
    pub fn index(self) -> usize {
        usize::from(self.metered) + 2 * usize::from(self.tasks) + 4 * usize::from(self.large)
    }

    /// A short word for file names and messages.
    pub fn as_str(self) -> &'static str {
        match (self.metered, self.tasks, self.large) {
            (false, false, false) => "standard",
            (true, false, false) => "metered",
            (false, true, false) => "standard with tasks",
            (true, true, false) => "metered with tasks",
            (false, false, true) => "standard, large",
            (true, false, true) => "metered, large",
            (false, true, true) => "standard with tasks, large",
            (true, true, true) => "metered with tasks, large",
        }
    }

    /// Everything but where instances are allocated: what an artifact depends on, in which
    /// [`Profile::large`] has no part.
    pub(super) fn config(self) -> Config {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .consume_fuel(self.metered)
            .wasm_component_model(true)
            .wasm_component_model_async(self.tasks)
            .concurrency_support(self.tasks)
            .cranelift_opt_level(OptLevel::Speed)
            // 4 GiB of address space and a guard for each memory: no bounds checks in the compiled
            // code.
            .memory_reservation(4 << 30)
            .memory_guard_size(32 << 20)
            // A slot's data comes copy-on-write out of the artifact's own pages.
            .memory_init_cow(true)
            // A guest's memory cannot be shared between threads here, and a waiting thread could
            // not be interrupted.
            .wasm_threads(false)
            // Offsets in a trap's backtrace cost a table as large as the code.
            .generate_address_map(false)
            .max_wasm_stack(512 << 10)
            .async_stack_size(1 << 20);
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_profile_is_at_its_index() {
        for (index, profile) in Profile::ALL.into_iter().enumerate() {
            assert_eq!(profile.index(), index, "{}", profile.as_str());
        }
    }
}
