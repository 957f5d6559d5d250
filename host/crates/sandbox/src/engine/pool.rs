//! The pooling allocator: where sandboxes get their memories, tables and stacks.
//!
//! Wasmtime owns the pool. It resets a slot when the store of a sandbox is dropped, as this module
//! configures it.
//!
//! A pool reserves address space for as many sandboxes as the host may hold at once; a slot costs
//! real memory only once it was used. Where the address space does not fit (small boards,
//! containers with a limit on virtual memory), the pool is made smaller until it does, and the log
//! says so. Where no pool fits, sandboxes are allocated on demand, as many at once as the address
//! space holds; and where it does not hold one, there is no host.

use rustix::process::{Resource, getrlimit};
use wasmtime::{
    Engine, InstanceAllocationStrategy, Memory, MemoryType, PoolingAllocationConfig, Result, Store,
};

use super::{EngineError, Profile};

/// How large the pools are.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Sandboxes that may exist at once, in each profile, besides the one that a deploy starts.
    /// Default 1,000: 4 TiB of address space.
    pub sandboxes: u32,
    /// The most core instances that any function's limits may allow. Default 64.
    pub instances: u32,
    /// The most linear memories that any function's limits may allow. Default 8.
    pub memories: u32,
    /// The largest linear memory that any function's limits may allow, in bytes. Default 256 MiB.
    pub memory_bytes: u64,
    /// The largest table that any function's limits may allow, in elements. Default 100,000.
    pub table_elements: u64,
    /// Bytes of a used memory slot that are reset by being written again instead of being given
    /// back to the system. Default 2 MiB: a component with its linker's defaults has a stack
    /// of 1 MiB, its statics and its first heap, and to write all that is cheaper than a
    /// system call and a page fault for each page that is used. At most this times the number of
    /// warm slots stays resident while idle, in each profile that is in use.
    pub keep_resident_bytes: u64,
    /// The same where more memory than that is there from the start ([`Profile::large`]), which
    /// has to be given back anyway. Default 256 KiB: a function's stack, its statics and the
    /// beginning of its heap, which every invocation writes to.
    pub keep_resident_of_large_bytes: u64,
    /// Unused slots that stay warm. Default 100.
    pub warm_slots: u32,
    /// Memories, tables and heap that each sandbox has without being charged, in bytes. Default 1
    /// MiB: most never have more, and the number of slots bounds them.
    pub first_bytes: u64,
    /// Memories, tables and heap of all sandboxes together over that, in bytes. No bound by
    /// default.
    pub guest_bytes: u64,
    /// The bound on requests' and responses' bodies together, in bytes. Default 256 MiB.
    pub body_bytes: u64,
}

impl Default for PoolOptions {
    fn default() -> PoolOptions {
        PoolOptions {
            sandboxes: 1000,
            instances: 64,
            memories: 8,
            memory_bytes: 256 << 20,
            table_elements: 100_000,
            keep_resident_bytes: 2 << 20,
            keep_resident_of_large_bytes: 256 << 10,
            warm_slots: 100,
            first_bytes: 1 << 20,
            guest_bytes: u64::MAX,
            body_bytes: 256 << 20,
        }
    }
}

impl PoolOptions {
    /// Sandboxes that may be made ahead, over all functions and profiles, besides those: a quarter
    /// of them.
    pub(super) fn provisioned(&self) -> u32 {
        self.sandboxes.div_ceil(4)
    }

    /// Memories for those of so many sandboxes that have more than one, besides the one that each
    /// has: for three that have as many as any may, at the least, so that one tenant has two of
    /// them and leaves enough for another's.
    pub(super) fn more_memories(&self, sandboxes: u32) -> u32 {
        sandboxes.div_ceil(4).max(self.memories.saturating_mul(3))
    }

    /// The same for tables over [`TABLES`].
    pub(super) fn more_tables(&self, sandboxes: u32) -> u32 {
        sandboxes.saturating_mul(TABLES).max(self.instances.saturating_mul(3))
    }
}

/// The fewest sandboxes with which a pool is worth its reservation.
const SMALLEST_POOL: u32 = 8;

/// Tables for each sandbox: one component is several core modules, of which the shims have a table
/// too. Memories are one for each, because shims have none. A sandbox with more takes it from a
/// stock of its own, and nothing from its neighbours.
pub(super) const TABLES: u32 = 2;

/// A deploy starts each component once, in a host that may be full: what it needs comes on top of
/// what is admitted.
const SPARE: u32 = 1;

/// Stacks of a pool that only shows what fits: they take little of the address space, and each a
/// call of the system.
const NO_STACKS: u32 = 1;

/// Pools of one size for the engines of one host: as large as asked, or as large as the address
/// space allows.
#[derive(Debug)]
pub(super) struct Pools {
    options: PoolOptions,
    sandboxes: u32,
    /// False: no pool fits.
    pooled: bool,
}

impl Pools {
    /// Finds out how many sandboxes fit.
    ///
    /// # Errors
    /// Not one fits, or Wasmtime refuses altogether.
    pub(super) fn new(options: PoolOptions) -> Result<Pools, EngineError> {
        // Of an address space with a limit, something has to be left for everything else: as much
        // as one sandbox takes.
        let rest = getrlimit(Resource::As).current.map(|_| Reserved::one()).transpose()?;
        let mut config = Profile::default().config();
        let mut fits = |sandboxes: &u32| {
            let mut pool = pooling(Profile::default(), &options, *sandboxes);
            pool.total_stacks(NO_STACKS);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
            Engine::new(&config).is_ok()
        };
        let asked = options.sandboxes;
        if let Some(sandboxes) = sizes(asked).find(&mut fits) {
            if sandboxes < asked {
                tracing::warn!(
                    asked,
                    sandboxes,
                    "the address space does not hold the pool that was asked for; made a smaller one"
                );
            }
            return Ok(Pools { options, sandboxes, pooled: true });
        }
        let mut reserved = rest.map_or_else(Reserved::one, Ok)?;
        while reserved.sandboxes <= asked && reserved.another().is_ok() {}
        let sandboxes = reserved.sandboxes.saturating_sub(SPARE).clamp(1, asked.max(1));
        tracing::warn!(
            asked,
            sandboxes,
            "no pool fits into the address space; sandboxes are allocated on demand, which is slower and may allow fewer at once"
        );
        Ok(Pools { options, sandboxes, pooled: false })
    }

    pub(super) fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// Sandboxes that each of them holds, besides those that are made ahead.
    pub(super) fn sandboxes(&self) -> u32 {
        self.sandboxes
    }

    /// Makes an engine with a pool of its own.
    pub(super) fn engine(&self, profile: Profile) -> Result<Engine> {
        let mut config = profile.config();
        for sandboxes in sizes(self.sandboxes).take_while(|_| self.pooled) {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(
                profile,
                &self.options,
                sandboxes,
            )));
            match Engine::new(&config) {
                Ok(engine) => return Ok(engine),
                Err(error) => tracing::warn!(
                    error = format!("{error:#}"),
                    profile = profile.as_str(),
                    sandboxes,
                    "no pool of this size fits beside the others; trying a smaller one"
                ),
            }
        }
        Engine::new(&profile.config())
    }
}

/// The reservation of sandboxes that are allocated on demand. Given back when dropped.
struct Reserved {
    store: Store<()>,
    sandboxes: u32,
}

impl Reserved {
    fn one() -> Result<Reserved, EngineError> {
        let engine = Engine::new(&Profile::default().config()).map_err(EngineError::Engine)?;
        let mut reserved = Reserved { store: Store::new(&engine, ()), sandboxes: 0 };
        reserved.another().map_err(|source| {
            let limit = getrlimit(Resource::As).current;
            EngineError::AddressSpace { limit_mib: limit.map(|bytes| bytes >> 20), source }
        })?;
        Ok(reserved)
    }

    /// One linear memory takes nearly all of what a sandbox does.
    fn another(&mut self) -> Result<()> {
        Memory::new(&mut self.store, MemoryType::new(1, None))?;
        self.sandboxes += 1;
        Ok(())
    }
}

/// Sizes to try: what was asked for, and each time half of it.
fn sizes(asked: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(asked.max(1)), |size| (*size > SMALLEST_POOL).then_some(size / 2))
}

fn pooling(profile: Profile, options: &PoolOptions, sandboxes: u32) -> PoolingAllocationConfig {
    let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let (memories, tables) = (options.more_memories(sandboxes), options.more_tables(sandboxes));
    let keep_resident_bytes = match profile.large {
        false => options.keep_resident_bytes,
        true => options.keep_resident_of_large_bytes,
    };
    let sandboxes = sandboxes.saturating_add(options.provisioned().min(sandboxes));
    let slots = sandboxes.saturating_add(SPARE);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        // A counter and no more: a function with many must not use up those of others.
        .total_core_instances(slots.saturating_mul(options.instances))
        .total_memories(sandboxes.saturating_add(memories).saturating_add(SPARE * options.memories))
        .total_tables(
            sandboxes
                .saturating_mul(TABLES)
                .saturating_add(tables)
                .saturating_add(SPARE * options.instances),
        )
        .total_stacks(slots)
        .max_core_instances_per_component(1000)
        .max_memories_per_component(100)
        .max_memories_per_module(100)
        .max_tables_per_component(1000)
        .max_tables_per_module(1000)
        .max_component_instance_size(10 << 20)
        .max_core_instance_size(10 << 20)
        .max_memory_size(bytes(options.memory_bytes))
        .table_elements(bytes(options.table_elements))
        .linear_memory_keep_resident(bytes(keep_resident_bytes))
        .table_keep_resident(64 << 10)
        .max_unused_warm_slots(options.warm_slots)
        .decommit_batch_size(1);
    pool
}

/// The use of the pools at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// Component instances that exist.
    pub component_instances: u64,
    /// Core instances that exist.
    pub core_instances: u64,
    /// Linear memories in use.
    pub memories: u64,
    /// Tables in use.
    pub tables: u64,
    /// Fiber stacks in use.
    pub stacks: u64,
    /// Bytes of unused memory slots that stay resident.
    pub idle_resident_bytes: u64,
}

impl PoolUsage {
    pub(super) fn of(engine: &Engine) -> PoolUsage {
        let Some(metrics) = engine.pooling_allocator_metrics() else {
            return PoolUsage::default();
        };
        PoolUsage {
            component_instances: metrics.component_instances(),
            core_instances: metrics.core_instances(),
            memories: metrics.memories() as u64,
            tables: metrics.tables() as u64,
            stacks: metrics.stacks() as u64,
            idle_resident_bytes: metrics.unused_memory_bytes_resident() as u64,
        }
    }

    pub(super) fn plus(self, other: PoolUsage) -> PoolUsage {
        PoolUsage {
            component_instances: self.component_instances + other.component_instances,
            core_instances: self.core_instances + other.core_instances,
            memories: self.memories + other.memories,
            tables: self.tables + other.tables,
            stacks: self.stacks + other.stacks,
            idle_resident_bytes: self.idle_resident_bytes + other.idle_resident_bytes,
        }
    }

    /// Whether no sandbox holds anything.
    pub fn is_idle(&self) -> bool {
        self.component_instances == 0
            && self.core_instances == 0
            && self.memories == 0
            && self.tables == 0
            && self.stacks == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_does_not_fit_is_made_smaller() {
        // 200,000 slots of 4 GiB are 800 TiB, more than a process's 128 TiB.
        let options = PoolOptions { sandboxes: 200_000, ..PoolOptions::default() };
        let pools = Pools::new(options).unwrap();
        assert!((SMALLEST_POOL..200_000).contains(&pools.sandboxes()), "{pools:?}");
        let engine = pools.engine(Profile::default()).unwrap();
        assert!(engine.pooling_allocator_metrics().is_some());
        assert!(PoolUsage::of(&engine).is_idle());
    }
}
