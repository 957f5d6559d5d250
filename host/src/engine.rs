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
mod turns;

pub use cache::{ArtifactCache, CacheError, Trimmed};
pub use compiler::{
    ARGUMENT as COMPILER_ARGUMENT, CompileError, Compiler, child as compiler_child,
};
pub use epoch::Running;
pub(crate) use epoch::TICK;
pub(crate) use fold::folded;
pub use inspect::{ComponentError, Exports, Import, inspect_bytes};
#[cfg(test)]
pub(crate) use layout::HELP as LAYOUT_HELP;
pub use layout::{MemoryLayout, SlowLayout, memory_layouts};
pub use load::{ArtifactOrigin, LoadError, Loaded, Loader, SnapshotName, Source};
pub(crate) use names::names_wasi_03;
pub use pool::{PoolOptions, PoolUsage};
pub use profile::Profile;
pub(crate) use snapshot::ReadState;
pub use snapshot::{Instrumented, SnapshotError, has_init};
pub use turns::{Lane, Turn, Turns, Waiting};

use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory::Memory;
use epoch::Ticker;

/// The engines of one host: one per profile, made when first needed.
pub struct Engines {
    pool: PoolOptions,
    slots: [OnceLock<Slots>; Profile::ALL.len()],
    provisioned: Arc<Semaphore>,
    more_memories: Arc<Semaphore>,
    more_tables: Arc<Semaphore>,
    ticker: Arc<Ticker>,
    turns: Arc<Turns>,
    guests: Arc<Memory>,
    bodies: Arc<Memory>,
}

struct Slots {
    engine: wasmtime::Engine,
    sandboxes: u32,
}

/// Memories and tables that a sandbox has over what every one has. Given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    _memories: Option<OwnedSemaphorePermit>,
    _tables: Option<OwnedSemaphorePermit>,
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
        let turns = Turns::new();
        let engines = Engines {
            provisioned: Arc::new(Semaphore::new(pool.provisioned() as usize)),
            more_memories: Arc::new(Semaphore::new(0)),
            more_tables: Arc::new(Semaphore::new(0)),
            slots: Default::default(),
            ticker: Ticker::start(turns.clone()).map_err(EngineError::Ticker)?,
            turns,
            guests: Memory::new(pool.guest_bytes),
            bodies: Memory::new(pool.body_bytes),
            pool,
        };
        engines.get(Profile::default())?;
        // As many as the pool was made for, which may be smaller than asked.
        let sandboxes = engines.slots[Profile::default().index()].get();
        let sandboxes = sandboxes.map_or(engines.pool.sandboxes, |slots| slots.sandboxes);
        engines.more_memories.add_permits(engines.pool.more_memories(sandboxes) as usize);
        engines.more_tables.add_permits(engines.pool.more_tables(sandboxes) as usize);
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

    /// Whose guests run, when there are more than cores.
    pub fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    /// Says how many tenants there are: where there are more than one, none may have all of the memory.
    pub fn set_tenants(&self, tenants: usize) {
        self.guests.set_tenants(tenants);
        self.bodies.set_tenants(tenants);
    }

    /// What the linear memories of sandboxes take.
    pub fn guests(&self) -> &Arc<Memory> {
        &self.guests
    }

    /// What is held of bodies.
    pub fn bodies(&self) -> &Arc<Memory> {
        &self.bodies
    }

    /// A slot for a sandbox that is made ahead, if one is left.
    pub fn provision(&self) -> Option<OwnedSemaphorePermit> {
        self.provisioned.clone().try_acquire_owned().ok()
    }

    /// Leave to have as many memories and tables as a component needs, if there are so many left: none has to be given for
    /// what every sandbox has.
    pub(crate) fn claim(&self, memories: u32, tables: u32) -> Option<Claim> {
        let claim = |stock: &Arc<Semaphore>, more: u32| match more {
            0 => Some(None),
            more => stock.clone().try_acquire_many_owned(more).ok().map(Some),
        };
        Some(Claim {
            _memories: claim(&self.more_memories, memories.saturating_sub(1))?,
            _tables: claim(&self.more_tables, tables.saturating_sub(pool::TABLES))?,
        })
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
