//! The division of a host's memory: the parts of `memory_mib`.
//!
//! ```text
//!   memory_mib
//!     ├── slack         a sixteenth  what the allocator rounds up, and keeps for a moment
//!     ├── connections   an eighth    heap of client connections
//!     ├── bodies        a quarter, 256 MiB at most, or body_memory_mib
//!     ├── idle          an eighth    memories of unused slots that stay resident, 2 MiB each
//!     ├── first         an eighth    what each sandbox has without being charged, 1 MiB each at most
//!     └── sandboxes     the rest     memories, tables and heap of sandboxes over that
//! ```
//!
//! The parts are bounded one by one, so that the whole is: what the host holds for tenants and
//! clients is never more than `memory_mib`. Not in it are the host's own program and registry,
//! compilations, and the programs of functions (`residency.memory_mib`).

const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;

/// The most that a sandbox has without being charged: most never have more.
const MOST_FIRST_BYTES: u64 = MIB;
/// The steps in which that is given.
const FIRST_STEP_BYTES: u64 = 64 * KIB;
/// The memory of an unused slot that stays resident, in bytes.
const IDLE_SLOT_BYTES: u64 = 2 * MIB;
/// Unused slots that stay resident, at most.
const MOST_IDLE_SLOTS: u64 = 100;
/// Pools that are used side by side: for components with WASI 0.3 and without.
const POOLS_IN_USE: u64 = 2;
/// The bodies' part, at most, unless it is set.
const MOST_BODY_BYTES: u64 = 256 * MIB;

/// The parts of a host's memory, in bytes unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The heap of all client connections together.
    pub connection_bytes: u64,
    /// Bodies of requests and responses together.
    pub body_bytes: u64,
    /// The bytes that each sandbox has without being charged.
    pub first_bytes: u64,
    /// Slots, in each pool, that stay resident while unused.
    pub idle_slots: u32,
    /// The bytes of all sandboxes together over their first bytes.
    pub sandbox_bytes: u64,
}

impl MemoryPlan {
    /// Divides `total_bytes` between connections, bodies and as many `sandboxes` as may exist at
    /// once.
    pub(super) fn of(total_bytes: u64, body_bytes: Option<u64>, sandboxes: u64) -> MemoryPlan {
        let eighth = total_bytes / 8;
        let body_bytes = body_bytes.unwrap_or((total_bytes / 4).min(MOST_BODY_BYTES));
        let first_bytes = eighth / sandboxes.max(1);
        let first_bytes = (first_bytes - first_bytes % FIRST_STEP_BYTES).min(MOST_FIRST_BYTES);
        let idle_slots = (eighth / IDLE_SLOT_BYTES / POOLS_IN_USE).clamp(1, MOST_IDLE_SLOTS);
        let idle_bytes = idle_slots * IDLE_SLOT_BYTES * POOLS_IN_USE;
        let slack = total_bytes / 16;
        let first = first_bytes.saturating_mul(sandboxes);
        let others = [slack, eighth, body_bytes, idle_bytes, first];
        let others = others.into_iter().fold(0, u64::saturating_add);
        MemoryPlan {
            connection_bytes: eighth,
            body_bytes,
            first_bytes,
            idle_slots: u32::try_from(idle_slots).unwrap_or(u32::MAX),
            sandbox_bytes: total_bytes.saturating_sub(others),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_large_host_gives_each_sandbox_a_mib() {
        let plan = MemoryPlan::of(16 << 30, None, 1250);
        assert_eq!((plan.first_bytes, plan.body_bytes, plan.idle_slots), (MIB, 256 * MIB, 100));
        assert_eq!(plan.connection_bytes, 2 << 30);
        assert_eq!(plan.sandbox_bytes, (13 << 30) - (256 + 400 + 1250) * MIB);
    }

    #[test]
    fn a_small_host_has_small_parts() {
        let plan = MemoryPlan::of(512 * MIB, None, 80);
        let MemoryPlan { connection_bytes, body_bytes, first_bytes, idle_slots, sandbox_bytes } =
            plan;
        assert_eq!((connection_bytes, body_bytes), (64 * MIB, 128 * MIB));
        assert_eq!((first_bytes, idle_slots), (768 * KIB, 16));
        assert_eq!(sandbox_bytes, (512 - 32 - 64 - 128 - 64 - 60) * MIB);
    }

    proptest! {
        /// The parts are never more than the whole, where the whole is as large as a host can be
        /// asked for.
        #[test]
        fn the_parts_fit(total_mib in 32_u64..1 << 24, sandboxes in 1_u64..125_000) {
            let plan = MemoryPlan::of(total_mib * MIB, None, sandboxes);
            let idle = u64::from(plan.idle_slots) * IDLE_SLOT_BYTES * POOLS_IN_USE;
            let parts = plan.connection_bytes + plan.body_bytes + idle
                + plan.first_bytes * sandboxes + plan.sandbox_bytes;
            prop_assert!(parts <= total_mib * MIB, "{:?}", plan);
            prop_assert!(plan.sandbox_bytes >= total_mib * MIB / 6, "{:?}", plan);
        }
    }
}
