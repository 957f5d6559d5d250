//! A histogram with fixed buckets: two relaxed atomic additions per observation, no lock.
//!
//! prometheus-client's own takes a lock, which an invocation that is scheduled away would hold.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// The unit that observations are counted in, exactly; it is converted when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds, shown as seconds.
    Nanoseconds,
    /// Bytes, shown as bytes.
    Bytes,
}

impl Unit {
    /// Division, not multiplication by a fraction: 2,000 ns shall be shown as 2e-6.
    #[expect(clippy::cast_precision_loss, reason = "a float is what the format has")]
    pub(super) fn shown(self, value: u64) -> f64 {
        match self {
            Unit::Nanoseconds => value as f64 / 1e9,
            Unit::Bytes => value as f64,
        }
    }
}

/// Where a histogram's buckets end.
#[derive(Debug)]
pub struct Buckets {
    /// The unit of the bounds and of the observations.
    pub unit: Unit,
    /// Upper bounds, inclusive, ascending; a last bucket without a bound follows.
    pub bounds: &'static [u64],
}

impl Buckets {
    /// The bucket that a value belongs to.
    pub(super) fn index(&self, value: u64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }

    /// Where the buckets end, in the unit that is shown; the last one has no end.
    pub(super) fn ends(&self) -> impl Iterator<Item = f64> {
        let ends = self.bounds.iter().map(|bound| self.unit.shown(*bound));
        ends.chain([f64::INFINITY])
    }
}

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const S: u64 = 1_000 * MS;
const MIB: u64 = 1024 * 1024;

/// For a whole invocation: 100 us to 60 s.
pub static DURATION: Buckets = Buckets {
    unit: Unit::Nanoseconds,
    bounds: &[
        100 * US,
        250 * US,
        500 * US,
        MS,
        2_500 * US,
        5 * MS,
        10 * MS,
        25 * MS,
        50 * MS,
        100 * MS,
        250 * MS,
        500 * MS,
        S,
        2_500 * MS,
        5 * S,
        10 * S,
        30 * S,
        60 * S,
    ],
};

/// For a fresh sandbox: 1 us to 100 ms.
pub static INSTANTIATION: Buckets = Buckets {
    unit: Unit::Nanoseconds,
    bounds: &[
        US,
        2 * US,
        5 * US,
        10 * US,
        20 * US,
        50 * US,
        100 * US,
        200 * US,
        500 * US,
        MS,
        2 * MS,
        5 * MS,
        10 * MS,
        100 * MS,
    ],
};

/// For loading a program: 50 us to 10 s.
pub static PROGRAM_LOAD: Buckets = Buckets {
    unit: Unit::Nanoseconds,
    bounds: &[
        50 * US,
        100 * US,
        200 * US,
        300 * US,
        500 * US,
        MS,
        2 * MS,
        5 * MS,
        10 * MS,
        100 * MS,
        S,
        10 * S,
    ],
};

/// For a sandbox's memory: 128 KiB to 4 GiB.
pub static MEMORY: Buckets = Buckets {
    unit: Unit::Bytes,
    bounds: &[
        MIB / 8,
        MIB / 4,
        MIB / 2,
        MIB,
        2 * MIB,
        4 * MIB,
        8 * MIB,
        16 * MIB,
        32 * MIB,
        64 * MIB,
        128 * MIB,
        256 * MIB,
        512 * MIB,
        1024 * MIB,
        4096 * MIB,
    ],
};

/// For compiling a component: 10 ms to 100 s.
pub static COMPILATION: Buckets = Buckets {
    unit: Unit::Nanoseconds,
    bounds: &[
        10 * MS,
        25 * MS,
        50 * MS,
        100 * MS,
        250 * MS,
        500 * MS,
        S,
        2_500 * MS,
        5 * S,
        10 * S,
        30 * S,
        100 * S,
    ],
};

/// A histogram. Its sum wraps at 2^64 of its unit, which a reader takes for a restart: 584 years of
/// nanoseconds, 16 EiB.
pub struct Histogram {
    buckets: &'static Buckets,
    /// Observations per bucket, not accumulated.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// A histogram without observations.
    pub fn new(buckets: &'static Buckets) -> Histogram {
        let counts = (0..=buckets.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { buckets, counts, sum: AtomicU64::new(0) }
    }

    /// Counts a value, in the unit of the buckets.
    pub fn observe(&self, value: u64) {
        self.counts[self.buckets.index(value)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a duration, in a histogram of nanoseconds.
    pub fn observe_duration(&self, duration: Duration) {
        debug_assert_eq!(self.buckets.unit, Unit::Nanoseconds);
        self.observe(nanoseconds(duration));
    }

    /// Upper bounds with the observations of each bucket alone, their number, and the sum of the
    /// values.
    fn read(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let unit = self.buckets.unit;
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = self.buckets.ends().zip(counts).collect();
        // Added up rather than counted apart, so that the number always is the last bucket's.
        let number = buckets.iter().map(|(_, count)| count).sum();
        (buckets, number, unit.shown(self.sum.load(Ordering::Relaxed)))
    }
}

/// A duration as nanoseconds; 584 years at most.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (buckets, number, sum) = self.read();
        f.debug_struct("Histogram")
            .field("buckets", &buckets)
            .field("number", &number)
            .field("sum", &sum)
            .finish()
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let (buckets, number, sum) = self.read();
        encoder.encode_histogram::<NoLabelSet>(sum, number, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Histogram::TYPE
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_ascend() {
        for buckets in [&DURATION, &INSTANTIATION, &MEMORY, &COMPILATION, &PROGRAM_LOAD] {
            assert!(buckets.bounds.is_sorted_by(|a, b| a < b), "{buckets:?}");
        }
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::new(&INSTANTIATION);
        histogram.observe_duration(Duration::from_micros(1));
        histogram.observe_duration(Duration::from_nanos(1_001));
        let (buckets, number, sum) = histogram.read();
        assert_eq!(buckets[..2], [(1e-6, 1), (2e-6, 1)]);
        assert_eq!((number, sum), (2, 2_001.0 / 1e9));
    }

    proptest! {
        #[test]
        fn it_counts_as_the_definition_does(values in proptest::collection::vec(0u64..10_000 * MIB, 0..200)) {
            let histogram = Histogram::new(&MEMORY);
            values.iter().for_each(|value| histogram.observe(*value));
            let (buckets, number, sum) = histogram.read();
            let mut up_to = 0;
            for (bound, count) in buckets {
                up_to += count;
                let naive = values.iter().filter(|value| Unit::Bytes.shown(**value) <= bound).count();
                prop_assert_eq!(up_to, naive as u64, "up to {}", bound);
            }
            prop_assert_eq!(number, values.len() as u64);
            prop_assert_eq!(sum, Unit::Bytes.shown(values.iter().sum()));
        }
    }

    #[test]
    fn no_observation_is_lost_between_threads() {
        let histogram = Histogram::new(&MEMORY);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let histogram = &histogram;
                scope.spawn(move || (0..10_000).for_each(|n| histogram.observe(n * MIB * thread)));
            }
        });
        let (_, number, sum) = histogram.read();
        assert_eq!((number, sum), (40_000, Unit::Bytes.shown(6 * MIB * 49_995_000)));
    }
}
