//! Wasmtime engines: how code is compiled, where sandboxes get their slots, what interrupts them.
//!
//! ```text
//!            component bytes
//!                  |  inspect: is this a component at all?
//!                  v
//!   cache --miss--> compiler ---> artifact (.cwasm, keyed hash)
//!     |  hit        (a process)       |
//!     +-------------> load <----------+
//!                      |
//!                  Component  (of one profile's engine)
//! ```
//!
//! There is one engine per [`Profile`], because what a profile says is compiled in. All engines share one epoch thread.

mod cache;
mod compiler;
mod epoch;
mod fold;
mod inspect;
mod layout;
mod load;
mod names;
mod pool;
mod profile;
mod snapshot;

pub use cache::{ArtifactCache, CacheError, Trimmed};
pub use compiler::{
    ARGUMENT as COMPILER_ARGUMENT, CompileError, Compiler, child as compiler_child,
};
pub use epoch::Running;
pub(crate) use epoch::TICK;
pub use inspect::{ComponentError, Exports, Import, inspect_bytes};
#[cfg(test)]
pub(crate) use layout::HELP as LAYOUT_HELP;
pub use layout::{MemoryLayout, SlowLayout, memory_layouts};
pub use load::{ArtifactOrigin, LoadError, Loaded, Loader, SnapshotName, Source};
pub use pool::{PoolOptions, PoolUsage};
pub use profile::Profile;
pub(crate) use snapshot::ReadState;
pub use snapshot::{Instrumented, SnapshotError, has_init};

use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use epoch::Ticker;

/// The engines of one host: one per profile, made when first needed.
pub struct Engines {
    pool: PoolOptions,
    slots: [OnceLock<Slots>; Profile::ALL.len()],
    provisioned: Arc<Semaphore>,
    ticker: Arc<Ticker>,
}

struct Slots {
    engine: wasmtime::Engine,
    sandboxes: u32,
}

/// Why an engine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Wasmtime refuses.
    #[error("cannot set up the WebAssembly engine: {0:#}")]
    Engine(wasmtime::Error),
    /// The thread that interrupts guests.
    #[error("cannot start the thread that interrupts guests: {0}")]
    Ticker(std::io::Error),
}

impl Engines {
    /// Makes the standard profile's engine and starts the epoch thread. The others are made when a revision first needs
    /// them.
    pub fn new(pool: PoolOptions) -> Result<Arc<Engines>, EngineError> {
        let engines = Engines {
            provisioned: Arc::new(Semaphore::new(pool.provisioned() as usize)),
            pool,
            slots: Default::default(),
            ticker: Ticker::start().map_err(EngineError::Ticker)?,
        };
        engines.get(Profile::default())?;
        Ok(Arc::new(engines))
    }

    /// The engine of `profile`.
    pub fn get(&self, profile: Profile) -> Result<&wasmtime::Engine, EngineError> {
        let cell = &self.slots[profile.index()];
        if let Some(slots) = cell.get() {
            return Ok(&slots.engine);
        }
        let (engine, sandboxes) = pool::build(profile, &self.pool).map_err(EngineError::Engine)?;
        let slots = cell.get_or_init(|| {
            self.ticker.tick(engine.clone());
            Slots { engine, sandboxes }
        });
        Ok(&slots.engine)
    }

    /// Whether memories that begin with so many bytes, together, are for a [large](Profile) profile.
    fn is_large(&self, initial_bytes: u64) -> bool {
        initial_bytes > self.pool.keep_resident_bytes
    }

    /// To be held while a guest may run: the epoch ticks only while somebody holds one.
    pub fn running(&self) -> Running {
        self.ticker.running()
    }

    /// A slot for a sandbox that is made ahead, if one is left.
    pub fn provision(&self) -> Option<OwnedSemaphorePermit> {
        self.provisioned.clone().try_acquire_owned().ok()
    }

    /// What the pools of all engines hold now.
    pub fn usage(&self) -> PoolUsage {
        self.slots
            .iter()
            .filter_map(OnceLock::get)
            .map(|slots| PoolUsage::of(&slots.engine, slots.sandboxes))
            .fold(PoolUsage::default(), PoolUsage::plus)
    }
}
