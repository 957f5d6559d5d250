//! The figures of a tenant as a whole. They only go up, also where its functions and their series
//! end.

use lacewing_base::outcome::Outcome;

use crate::metrics::cells::Cells;

const LOADS: usize = Outcome::COUNT;
const EVICTIONS: usize = LOADS + 1;

/// The figures of a tenant.
#[derive(Debug, Default)]
pub(super) struct TenantFigures(Cells<{ Outcome::COUNT + 2 }>);

impl TenantFigures {
    pub(super) fn observe(&self, outcome: Outcome) {
        self.0.here()[outcome as usize].inc();
    }

    pub(super) fn loaded(&self) {
        self.0.here()[LOADS].inc();
    }

    pub(super) fn evicted(&self) {
        self.0.here()[EVICTIONS].inc();
    }

    /// Invocations that ended like this.
    pub(super) fn outcome(&self, outcome: Outcome) -> u64 {
        self.0.get(outcome as usize)
    }

    /// Programs that were loaded because they were asked for.
    pub(super) fn loads(&self) -> u64 {
        self.0.get(LOADS)
    }

    /// Programs that were evicted for others.
    pub(super) fn evictions(&self) -> u64 {
        self.0.get(EVICTIONS)
    }
}
