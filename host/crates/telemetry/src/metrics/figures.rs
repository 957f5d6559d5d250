//! The figures of a function, or of several together, and the cell of each.
//!
//! ```text
//!   outcomes | cpu fuel in out log dropped | provisioned, reused | statuses | three histograms: a sum, and a count for each bucket
//! ```

use lacewing_base::outcome::Outcome;

use crate::{
    LogTotals, Usage,
    histogram::{Buckets, DURATION, INSTANTIATION, MEMORY, nanoseconds},
    metrics::{Counter, cells::Cells},
};

/// A figure that only goes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    CpuNs,
    Fuel,
    InputBytes,
    OutputBytes,
    LogBytes,
    LogDroppedBytes,
    Tally(Tally),
}

/// A count about functions whose sandboxes are made ahead, or used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// Invocations that took a sandbox that was made ahead.
    ProvisionedTaken,
    /// Invocations that found none, and made their own.
    ProvisionedMissed,
    /// Instances that were made to serve more than one invocation.
    ReusedMade,
    /// Invocations that were served by an instance that had served before.
    ReusedAgain,
}

/// The first of the cells that are no outcome's.
const FIGURES: usize = Outcome::COUNT;
const TALLIES: usize = FIGURES + 6;
const STATUSES: usize = TALLIES + 4;
const SPREADS: usize = STATUSES + STATUS_CLASSES.len();

/// The classes of the statuses of responses.
pub(super) const STATUS_CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

impl Figure {
    fn cell(self) -> usize {
        match self {
            Figure::CpuNs => FIGURES,
            Figure::Fuel => FIGURES + 1,
            Figure::InputBytes => FIGURES + 2,
            Figure::OutputBytes => FIGURES + 3,
            Figure::LogBytes => FIGURES + 4,
            Figure::LogDroppedBytes => FIGURES + 5,
            Figure::Tally(tally) => TALLIES + tally as usize,
        }
    }
}

/// A histogram of these figures: the cell of its sum, after which those of its buckets come, not
/// accumulated.
#[derive(Debug)]
pub(super) struct Spread {
    pub(super) buckets: &'static Buckets,
    sum: usize,
}

/// Wall time.
pub(super) static WALL: Spread = Spread { buckets: &DURATION, sum: SPREADS };
/// Time to make a sandbox.
pub(super) static MAKING: Spread =
    Spread { buckets: &INSTANTIATION, sum: WALL.sum + DURATION.cells() };
/// The most memory of a sandbox.
pub(super) static PEAK: Spread =
    Spread { buckets: &MEMORY, sum: MAKING.sum + INSTANTIATION.cells() };

const CELLS: usize = SPREADS + DURATION.cells() + INSTANTIATION.cells() + MEMORY.cells();

// The first cell tells what is hot.
const _: () = assert!(Outcome::Ok as usize == 0);

impl Buckets {
    /// Cells that a histogram takes.
    const fn cells(&self) -> usize {
        self.bounds.len() + 2
    }
}

impl Spread {
    fn observe(&self, cells: &[Counter; CELLS], value: u64) {
        cells[self.sum].add(value);
        cells[self.sum + 1 + self.buckets.index(value)].inc();
    }
}

/// The figures of one function, or of several together.
#[derive(Debug, Default)]
pub(super) struct Figures(Cells<CELLS>);

impl Figures {
    /// Counts one invocation. A dozen relaxed atomic additions: no lock, no look-up.
    pub(super) fn observe(&self, outcome: Outcome, usage: &Usage) {
        let cells = self.0.here();
        let add = |figure: Figure, n| cells[figure.cell()].add(n);
        cells[outcome as usize].inc();
        WALL.observe(cells, nanoseconds(usage.duration));
        add(Figure::CpuNs, nanoseconds(usage.cpu));
        if let Some(instantiation) = usage.instantiation {
            MAKING.observe(cells, nanoseconds(instantiation));
        }
        // None was made: it was refused at admission.
        if usage.memory_peak_bytes > 0 {
            PEAK.observe(cells, usage.memory_peak_bytes);
        }
        add(Figure::Fuel, usage.fuel.unwrap_or(0));
        add(Figure::InputBytes, usage.bytes_in);
        add(Figure::OutputBytes, usage.bytes_out);
    }

    /// Counts what one invocation printed.
    pub(super) fn observe_log(&self, totals: LogTotals) {
        let cells = self.0.here();
        cells[Figure::LogBytes.cell()].add(totals.bytes);
        cells[Figure::LogDroppedBytes.cell()].add(totals.dropped_bytes);
    }

    /// Counts one more.
    pub(super) fn tally(&self, tally: Tally) {
        self.0.here()[Figure::Tally(tally).cell()].inc();
    }

    /// Counts a response, by the class of its status.
    pub(super) fn observe_status(&self, status: u16) {
        let class = usize::from(status / 100).checked_sub(2);
        if let Some(class) = class.filter(|class| *class < STATUS_CLASSES.len()) {
            self.0.here()[STATUSES + class].inc();
        }
    }

    /// The responses of each class of statuses.
    pub(super) fn statuses(&self) -> [u64; STATUS_CLASSES.len()] {
        std::array::from_fn(|class| self.0.get(STATUSES + class))
    }

    /// Invocations that ended like this.
    pub(super) fn outcome(&self, outcome: Outcome) -> u64 {
        self.0.get(outcome as usize)
    }

    /// A figure.
    pub(super) fn get(&self, figure: Figure) -> u64 {
        self.0.get(figure.cell())
    }

    /// The observations of each bucket alone, and the sum of what was observed.
    pub(super) fn spread(&self, spread: &Spread) -> (impl Iterator<Item = u64>, u64) {
        let first = spread.sum + 1;
        let cells = first..first + spread.buckets.bounds.len() + 1;
        (cells.map(|cell| self.0.get(cell)), self.0.get(spread.sum))
    }

    /// Whether an invocation was counted.
    pub(super) fn is_invoked(&self) -> bool {
        Outcome::ALL.iter().any(|outcome| self.outcome(*outcome) > 0)
    }

    /// Counts what others have counted.
    pub(super) fn add(&self, others: &Figures) {
        self.0.add(&others.0);
    }

    /// Bytes that these take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_figure_has_a_cell_of_its_own() {
        let usage = Usage {
            duration: Duration::from_millis(3),
            cpu: Duration::from_nanos(5),
            instantiation: Some(Duration::from_micros(7)),
            memory_peak_bytes: 1 << 20,
            fuel: Some(11),
            bytes_in: 13,
            bytes_out: 17,
        };
        let figures = Figures::default();
        assert!(!figures.is_invoked());
        let tallies = [
            Tally::ProvisionedTaken,
            Tally::ProvisionedMissed,
            Tally::ReusedMade,
            Tally::ReusedAgain,
        ];
        tallies.iter().zip(1..).for_each(|(tally, n)| (0..n).for_each(|_| figures.tally(*tally)));
        assert!(!figures.is_invoked());
        for _ in 0..3 {
            figures.observe(Outcome::Trap, &usage);
            figures.observe_log(LogTotals { lines: 1, bytes: 19, dropped_bytes: 23 });
        }
        [200, 299, 301, 404, 404, 499, 500, 503, 599, 503, 100, 600, 0]
            .iter()
            .for_each(|status| figures.observe_status(*status));
        let sum = Figures::default();
        sum.add(&figures);
        assert!(sum.is_invoked());
        let counted = [
            Figure::CpuNs,
            Figure::Fuel,
            Figure::InputBytes,
            Figure::OutputBytes,
            Figure::LogBytes,
            Figure::LogDroppedBytes,
        ];
        assert_eq!(counted.map(|figure| sum.get(figure)), [5, 11, 13, 17, 19, 23].map(|n| 3 * n));
        assert_eq!(tallies.map(|tally| sum.get(Figure::Tally(tally))), [1, 2, 3, 4]);
        assert_eq!(sum.statuses(), [2, 1, 3, 4]);
        assert_eq!((sum.outcome(Outcome::Trap), sum.outcome(Outcome::Ok)), (3, 0));
        for (spread, one) in [(&WALL, 3_000_000), (&MAKING, 7_000), (&PEAK, 1 << 20)] {
            let (buckets, total) = sum.spread(spread);
            let buckets: Vec<u64> = buckets.collect();
            assert_eq!(buckets.len(), spread.buckets.bounds.len() + 1);
            assert_eq!(buckets.iter().sum::<u64>(), 3);
            assert_eq!(buckets[spread.buckets.index(one)], 3);
            assert_eq!(total, 3 * one);
        }
    }

    /// A function that was asked for a few times takes little more than its counters.
    #[test]
    fn a_function_takes_less_than_a_kilobyte() {
        let figures = Figures::default();
        figures.observe(Outcome::Ok, &Usage::default());
        assert_eq!(figures.bytes(), size_of::<Figures>());
        assert!(figures.bytes() < 720, "{}", figures.bytes());
    }
}
