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
//! There is one engine per [`Profile`], because what a profile says is compiled in. All engines
//! share one epoch thread.

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
mod stocks;
mod turns;

pub use cache::{ArtifactCache, ArtifactOwner, CacheError, Trimmed, Untrusted};
pub use compiler::{
    ARGUMENT as COMPILER_ARGUMENT, CompileError, Compiler, child as compiler_child,
};
pub use epoch::Running;
pub(crate) use epoch::{TICK, ticks};
pub use fold::folded;
pub use inspect::{ComponentError, Exports, Import, inspect_bytes};
pub use layout::HELP as LAYOUT_HELP;
pub use layout::{MemoryLayout, SlowLayout, memory_layouts};
pub use load::{ArtifactOrigin, LoadError, Loaded, Loader, Registered, SnapshotName, Source};
pub(crate) use names::Names;
pub use names::names_wasi_03;
pub use pool::{PoolOptions, PoolUsage};
pub use profile::Profile;
pub(crate) use snapshot::ReadState;
pub use snapshot::{Instrumented, SnapshotError, has_init};
pub(crate) use stocks::Claim;
pub use stocks::Holdings;
pub use turns::{Lane, Turn, Turns, Waiting};

use std::sync::{Arc, OnceLock};

use epoch::Ticker;
use lacewing_base::{budget::Budget, fair::Weight};
use parking_lot::Mutex;
use pool::Pools;
use stocks::Stocks;

/// The engines of one host: one per profile, made when first needed.
pub struct Engines {
    pools: Pools,
    engines: [OnceLock<wasmtime::Engine>; Profile::ALL.len()],
    // One at a time: each reserves much of the address space.
    making: Mutex<()>,
    stocks: Stocks,
    ticker: Arc<Ticker>,
    turns: Arc<Turns>,
    bodies: Arc<Budget>,
}

/// Why an engine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Wasmtime refuses.
    #[error("cannot set up the WebAssembly engine: {0:#}")]
    Engine(wasmtime::Error),
    /// The address space does not hold one sandbox.
    #[error(
        "the address space of this process does not hold a sandbox, which takes somewhat more than 4 GiB of it: {}",
        raise(.limit_mib)
    )]
    AddressSpace {
        /// The address space of the process, in MiB. None: it has no limit of its own.
        limit_mib: Option<u64>,
        /// The system's error.
        source: wasmtime::Error,
    },
    /// The thread that interrupts guests.
    #[error("cannot start the thread that interrupts guests: {0}")]
    Ticker(std::io::Error),
}

/// The advice on an address space that is too small.
fn raise(limit_mib: &Option<u64>) -> String {
    match limit_mib {
        Some(mib) => format!(
            "its limit is {mib} MiB (RLIMIT_AS); raise it with `ulimit -v unlimited`, or with `LimitAS=infinity` in a unit of systemd"
        ),
        None => "the system gives out no more; `vm.overcommit_memory=2` of Linux is one reason"
            .to_owned(),
    }
}

impl Engines {
    /// Finds out how large a pool can be, and starts the epoch thread. Engines are made when a
    /// revision first needs them.
    pub fn new(pool: PoolOptions) -> Result<Arc<Engines>, EngineError> {
        let pools = Pools::new(pool)?;
        let turns = Turns::new();
        let ticker = Ticker::start(turns.clone()).map_err(EngineError::Ticker)?;
        Ok(Arc::new(Engines {
            engines: Default::default(),
            making: Mutex::default(),
            // As many as the pools are made for, which may be smaller than asked.
            stocks: Stocks::new(pools.options(), pools.sandboxes()),
            ticker,
            turns,
            bodies: Budget::new(pools.options().body_bytes),
            pools,
        }))
    }

    /// Sandboxes that there is room for.
    pub fn capacity(&self) -> u32 {
        self.pools.sandboxes()
    }

    /// The engine of `profile`.
    pub fn get(&self, profile: Profile) -> Result<&wasmtime::Engine, EngineError> {
        let cell = &self.engines[profile.index()];
        if let Some(engine) = cell.get() {
            return Ok(engine);
        }
        let _making = self.making.lock();
        if let Some(engine) = cell.get() {
            return Ok(engine);
        }
        let engine = self.pools.engine(profile).map_err(EngineError::Engine)?;
        self.ticker.tick(engine.clone());
        Ok(cell.get_or_init(|| engine))
    }

    /// Whether memories that begin with so many bytes, together, are for a [large](Profile)
    /// profile.
    fn is_large(&self, initial_bytes: u64) -> bool {
        initial_bytes > self.pools.options().keep_resident_bytes
    }

    /// To be held while a guest may run: the epoch ticks only while somebody holds one.
    pub fn running(&self) -> Running {
        self.ticker.running()
    }

    /// A tenant's share of the cores, and of what its guests take from the host's stocks.
    pub fn lane(&self, weight: &Weight) -> Arc<Lane> {
        self.turns.lane(weight, self.stocks.holdings(weight))
    }

    /// The order in which guests run, when there are more guests than cores.
    pub fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    /// The memories, tables and heap of sandboxes, over what each has free.
    pub fn guests(&self) -> &Arc<Budget> {
        &self.stocks.guests
    }

    /// The account of bodies.
    pub fn bodies(&self) -> &Arc<Budget> {
        &self.bodies
    }

    /// The use of the pools of all engines now.
    pub fn usage(&self) -> PoolUsage {
        self.engines
            .iter()
            .filter_map(OnceLock::get)
            .map(PoolUsage::of)
            .fold(PoolUsage::default(), PoolUsage::plus)
    }
}
