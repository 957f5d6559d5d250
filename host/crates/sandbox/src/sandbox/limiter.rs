//! The limiter of a sandbox's memory, and the note of each refusal.

use std::sync::Arc;

use lacewing_base::{
    Limits,
    budget::{Lease, Share},
    heap,
};
use wasmtime::{ResourceLimiter, Result};

use super::fault::is_out_of_memory;

/// The steps in which a sandbox is charged for the heap, in bytes.
const HEAP_STEP_BYTES: usize = 64 << 10;

/// Closed heap accounts that are looked at before a tenant is refused memory.
const SETTLED_BEFORE_REFUSAL: usize = 64;

/// Bytes of one element of a table.
const ELEMENT_BYTES: usize = size_of::<usize>();

/// Sums what one sandbox has of linear memory, of tables and of the host's heap, and refuses what
/// is over the limit. A refusal is not yet a fault: `memory.grow` says -1 to the guest, and what
/// the guest makes of it is its own affair. It is forgotten once the guest is seen to have lived
/// with it: what then ends the guest is something else.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_limit_bytes: usize,
    table_limit_elements: usize,
    instances: usize,
    memories: usize,
    memory_bytes: usize,
    table_bytes: usize,
    /// The most that the sandbox had of the host's heap so far.
    heap_bytes: usize,
    peak_bytes: usize,
    /// [`Self::memory_bytes`] and [`Self::peak_bytes`] before the growth that was let through
    /// last.
    before: (usize, usize),
    /// The bytes that it has without being charged.
    first_bytes: usize,
    /// The charge over that. None: the sandbox is not charged.
    charged: Option<Lease>,
    refused: Option<GrowthRefusal>,
    /// The last growth that the guest lived without.
    survived: Option<GrowthRefusal>,
}

/// A growth that was refused. Displays as a sentence for the author's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrowthRefusal {
    /// Linear memories would have been larger together than they may be.
    Memory {
        /// Their size, in bytes.
        desired_bytes: usize,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// The host's heap holds more for the guest than the guest may have of memory.
    Held {
        /// The bytes that the heap holds.
        bytes: usize,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// A table would have been larger than it may be.
    Table {
        /// Its elements.
        desired_elements: usize,
        /// The limit, in elements.
        limit_elements: usize,
    },
    /// The host has no memory left for the tenant.
    Host {
        /// The size of memories and tables, in bytes.
        desired_bytes: usize,
    },
}

impl std::fmt::Display for GrowthRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            GrowthRefusal::Memory { desired_bytes, limit_bytes } => {
                write!(
                    f,
                    "{} KiB of linear memory were asked for, and the limit is {} MiB (`memory_mib`)",
                    desired_bytes >> 10,
                    limit_bytes >> 20
                )
            }
            GrowthRefusal::Held { bytes, limit_bytes } => write!(
                f,
                "the host's heap holds {} KiB for the guest, and the limit is {} MiB (`memory_mib`)",
                bytes >> 10,
                limit_bytes >> 20
            ),
            GrowthRefusal::Table { desired_elements, limit_elements } => write!(
                f,
                "a table of {desired_elements} elements was asked for, and the limit is {limit_elements} (`table_elements`)"
            ),
            GrowthRefusal::Host { desired_bytes } => write!(
                f,
                "{} KiB of memory were asked for, and the host has none left for the tenant now",
                desired_bytes >> 10
            ),
        }
    }
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Limiter {
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Limiter {
            memory_limit_bytes: size(limits.memory_bytes),
            table_limit_elements: size(limits.table_elements),
            instances: limits.instances as usize,
            memories: limits.memories as usize,
            memory_bytes: 0,
            table_bytes: 0,
            heap_bytes: 0,
            peak_bytes: 0,
            before: (0, 0),
            first_bytes: 0,
            charged: None,
            refused: None,
            survived: None,
        }
    }

    /// Charges an account for what it has and will have over its first bytes.
    pub(super) fn charge_to(&mut self, account: &Arc<Share>, first_bytes: u64) {
        self.first_bytes = usize::try_from(first_bytes).unwrap_or(usize::MAX);
        let mut part = account.lease();
        part.add(self.total_bytes().saturating_sub(self.first_bytes) as u64);
        self.charged = Some(part);
    }

    fn total_bytes(&self) -> usize {
        self.memory_bytes.saturating_add(self.table_bytes).saturating_add(self.heap_bytes)
    }

    /// Charges for `total_bytes` altogether, unless the host has no room for them.
    fn charge(&mut self, total_bytes: usize) -> bool {
        let Some(part) = &mut self.charged else { return true };
        let over_bytes = total_bytes.saturating_sub(self.first_bytes) as u64;
        let fits = over_bytes == 0 || part.grow_to(over_bytes).is_ok() || {
            heap::settle(SETTLED_BEFORE_REFUSAL);
            part.grow_to(over_bytes).is_ok()
        };
        if !fits {
            self.refused = Some(GrowthRefusal::Host { desired_bytes: total_bytes });
        }
        fits
    }

    /// Takes note of what the sandbox has of the host's heap. False: that is more than the sandbox
    /// may have of memory, or than the host has left for its tenant. The bytes are in use
    /// already: the guest has to be stopped.
    pub(super) fn holds(&mut self, heap_bytes: usize) -> bool {
        if heap_bytes <= self.heap_bytes {
            return true;
        }
        // Rounded up, so that a heap that grows in small steps is charged seldom.
        self.heap_bytes = heap_bytes.next_multiple_of(HEAP_STEP_BYTES);
        self.peak_bytes = self.peak_bytes.max(self.memory_bytes.saturating_add(heap_bytes));
        if heap_bytes > self.memory_limit_bytes {
            let limit_bytes = self.memory_limit_bytes;
            self.refused = Some(GrowthRefusal::Held { bytes: heap_bytes, limit_bytes });
            return false;
        }
        self.charge(self.total_bytes())
    }

    /// Lets each memory grow by a little more: by what it takes to read it out.
    pub(super) fn raise(&mut self, bytes: usize) {
        self.memory_limit_bytes = self.memory_limit_bytes.saturating_add(bytes);
    }

    pub(super) fn peak_bytes(&self) -> u64 {
        self.peak_bytes as u64
    }

    /// The last growth that was refused, unless the guest has gone on since.
    pub(super) fn refused(&self) -> Option<GrowthRefusal> {
        self.refused
    }

    /// The last growth that was refused, whatever the guest has done since.
    pub(super) fn ever_refused(&self) -> Option<GrowthRefusal> {
        self.refused.or(self.survived)
    }

    /// Notes that the guest does something that no allocator does on its way to giving up.
    pub(super) fn goes_on(&mut self) {
        self.survived = self.refused.take().or(self.survived);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let total = self.memory_bytes.saturating_sub(current).saturating_add(desired);
        if total > self.memory_limit_bytes {
            self.refused = Some(GrowthRefusal::Memory {
                desired_bytes: total,
                limit_bytes: self.memory_limit_bytes,
            });
            return Ok(false);
        }
        // Wasmtime asks before it looks at the memory's own maximum. A growth that the maximum
        // forbids must not be counted.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if !self.charge(total.saturating_add(self.table_bytes).saturating_add(self.heap_bytes)) {
            return Ok(false);
        }
        self.goes_on();
        self.before = (self.memory_bytes, self.peak_bytes);
        self.memory_bytes = total;
        self.peak_bytes = self.peak_bytes.max(total);
        Ok(true)
    }

    /// A growth that was let through and then refused by the system counts as refused by the host,
    /// and not as had. A growth that the memory's own type forbids comes here as well, without
    /// having been let through.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        if is_out_of_memory(&error) {
            self.refused = Some(GrowthRefusal::Host { desired_bytes: self.memory_bytes });
            (self.memory_bytes, self.peak_bytes) = self.before;
        }
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        if desired > self.table_limit_elements {
            self.refused = Some(GrowthRefusal::Table {
                desired_elements: desired,
                limit_elements: self.table_limit_elements,
            });
            return Ok(false);
        }
        // As for memories.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more_bytes = desired.saturating_sub(current).saturating_mul(ELEMENT_BYTES);
        if !self.charge(self.total_bytes().saturating_add(more_bytes)) {
            return Ok(false);
        }
        self.goes_on();
        self.table_bytes = self.table_bytes.saturating_add(more_bytes);
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        // Component linking gives each of its shims a table.
        self.instances
    }

    fn memories(&self) -> usize {
        self.memories
    }
}

#[cfg(test)]
mod tests {
    use lacewing_base::{budget::Budget, fair::Weight};

    use super::*;

    #[test]
    fn memories_are_summed_and_a_refusal_is_noted() {
        let mut limiter = Limiter::new(&Limits { memory_bytes: 3 << 16, ..Limits::default() });
        assert!(limiter.memory_growing(0, 1 << 16, None).unwrap());
        assert!(limiter.memory_growing(0, 1 << 16, None).unwrap());
        assert!(limiter.memory_growing(1 << 16, 2 << 16, None).unwrap());
        assert_eq!(limiter.refused(), None);
        assert!(!limiter.memory_growing(1 << 16, 2 << 16, None).unwrap());
        assert_eq!(
            limiter.refused(),
            Some(GrowthRefusal::Memory { desired_bytes: 4 << 16, limit_bytes: 3 << 16 })
        );
        assert_eq!(limiter.peak_bytes(), 3 << 16);
        // Less would have been enough after all, or the guest did something else.
        limiter.memory_limit_bytes = 4 << 16;
        assert!(limiter.memory_growing(1 << 16, 2 << 16, None).unwrap());
        assert_eq!(limiter.refused(), None);
        assert!(!limiter.memory_growing(2 << 16, 3 << 16, None).unwrap());
        let refused = limiter.refused();
        limiter.goes_on();
        assert_eq!((limiter.refused(), limiter.ever_refused()), (None, refused));
    }

    #[test]
    fn growth_without_room_is_refused_and_charges_are_given_back() {
        let memory = Budget::new(2 << 20);
        let mut limiter = Limiter::new(&Limits::default());
        assert!(limiter.memory_growing(0, 2 << 20, None).unwrap());
        limiter.charge_to(&memory.share(&Weight::new(1)), 1 << 20);
        assert_eq!(memory.used(), 1 << 20, "the first MiB is free");
        assert!(limiter.memory_growing(2 << 20, 3 << 20, None).unwrap());
        assert!(!limiter.memory_growing(3 << 20, 4 << 20, None).unwrap());
        assert_eq!(
            limiter.refused().unwrap().to_string(),
            "4096 KiB of memory were asked for, and the host has none left for the tenant now"
        );
        assert_eq!((limiter.peak_bytes(), memory.used()), (3 << 20, 2 << 20));
        drop(limiter);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn tables_and_heap_are_charged_as_memory_is() {
        let memory = Budget::new(2 << 20);
        let mut limiter = Limiter::new(&Limits { memory_bytes: 4 << 20, ..Limits::default() });
        limiter.charge_to(&memory.share(&Weight::new(1)), 1 << 20);
        assert!(limiter.memory_growing(0, 1 << 20, None).unwrap());
        assert!(limiter.table_growing(0, 1024, None).unwrap());
        assert_eq!(memory.used(), 8 << 10);
        assert!(limiter.holds(1 << 20));
        assert_eq!(memory.used(), (1 << 20) + (8 << 10));
        assert!(
            limiter.holds(0) && limiter.holds(1 << 20),
            "a sandbox may have again what it gave back"
        );
        assert!(!limiter.holds(2 << 20), "the host has no more");
        assert_eq!(
            limiter.refused(),
            Some(GrowthRefusal::Host { desired_bytes: (3 << 20) + (8 << 10) })
        );
        assert!(!limiter.holds(5 << 20));
        assert_eq!(
            limiter.refused().unwrap().to_string(),
            "the host's heap holds 5120 KiB for the guest, and the limit is 4 MiB (`memory_mib`)"
        );
        assert!(!limiter.table_growing(0, 20_000, None).unwrap());
        drop(limiter);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn a_refusal_of_the_system_is_the_hosts_and_is_not_charged() {
        let mut limiter = Limiter::new(&Limits { memory_bytes: 3 << 16, ..Limits::default() });
        assert!(limiter.memory_growing(0, 1 << 16, None).unwrap());
        assert!(limiter.memory_growing(1 << 16, 3 << 16, None).unwrap());
        let refused = wasmtime::Error::from(rustix::io::Errno::NOMEM).context("mprotect");
        limiter.memory_grow_failed(refused).unwrap();
        assert_eq!(limiter.refused(), Some(GrowthRefusal::Host { desired_bytes: 3 << 16 }));
        assert_eq!((limiter.memory_bytes, limiter.peak_bytes()), (1 << 16, 1 << 16));
        // Less of it may be there.
        assert!(limiter.memory_growing(1 << 16, 2 << 16, None).unwrap());
        assert_eq!(limiter.refused(), None);
        limiter.memory_grow_failed(wasmtime::Error::msg("over its maximum")).unwrap();
        assert_eq!((limiter.refused(), limiter.memory_bytes), (None, 2 << 16));
    }

    #[test]
    fn a_growth_that_the_module_forbids_is_not_counted() {
        let mut limiter = Limiter::new(&Limits { memory_bytes: 3 << 16, ..Limits::default() });
        assert!(limiter.memory_growing(0, 1 << 16, Some(2 << 16)).unwrap());
        assert!(!limiter.memory_growing(1 << 16, 3 << 16, Some(2 << 16)).unwrap());
        assert!(!limiter.memory_growing(1 << 16, 3 << 16, Some(2 << 16)).unwrap());
        assert_eq!((limiter.refused(), limiter.peak_bytes()), (None, 1 << 16));
        assert!(limiter.memory_growing(1 << 16, 2 << 16, Some(2 << 16)).unwrap());
    }

    #[test]
    fn tables_are_limited_one_by_one() {
        let mut limiter = Limiter::new(&Limits { table_elements: 10, ..Limits::default() });
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert!(!limiter.table_growing(10, 11, None).unwrap());
        assert_eq!(
            limiter.refused().unwrap().to_string(),
            "a table of 11 elements was asked for, and the limit is 10 (`table_elements`)"
        );
    }
}
