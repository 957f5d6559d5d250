//! What is counted of one function: by each thread for itself, so that cores that serve the same function do not write to the same
//! memory. Whoever scrapes adds it up.

use std::{
    num::NonZero,
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    outcome::Outcome,
    telemetry::{
        LogTotals, Usage,
        histogram::{self, Histogram, nanoseconds},
        metrics::{Counter, OutcomeCounters},
    },
};

/// The figures of one function, or one thread's part of them.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) outcomes: OutcomeCounters,
    pub(super) cpu_ns: Counter,
    pub(super) fuel: Counter,
    pub(super) input_bytes: Counter,
    pub(super) output_bytes: Counter,
    pub(super) log_bytes: Counter,
    pub(super) log_dropped_bytes: Counter,
    pub(super) duration: Histogram,
    pub(super) instantiation: Histogram,
    pub(super) memory_peak: Histogram,
}

impl Figures {
    fn new() -> Box<Figures> {
        Box::new(Figures {
            outcomes: OutcomeCounters::default(),
            cpu_ns: Counter::default(),
            fuel: Counter::default(),
            input_bytes: Counter::default(),
            output_bytes: Counter::default(),
            log_bytes: Counter::default(),
            log_dropped_bytes: Counter::default(),
            duration: Histogram::new(&histogram::DURATION),
            instantiation: Histogram::new(&histogram::INSTANTIATION),
            memory_peak: Histogram::new(&histogram::MEMORY),
        })
    }

    /// Counts one invocation. A dozen relaxed atomic additions: no lock, no look-up.
    pub(super) fn observe(&self, outcome: Outcome, usage: &Usage) {
        self.outcomes.add(outcome, 1);
        self.duration.observe_duration(usage.duration);
        self.cpu_ns.add(nanoseconds(usage.cpu));
        if let Some(instantiation) = usage.instantiation {
            self.instantiation.observe_duration(instantiation);
        }
        // None was made: it was refused at admission.
        if usage.memory_peak_bytes > 0 {
            self.memory_peak.observe(usage.memory_peak_bytes);
        }
        if let Some(fuel) = usage.fuel {
            self.fuel.add(fuel);
        }
        self.input_bytes.add(usage.bytes_in);
        self.output_bytes.add(usage.bytes_out);
    }

    /// Counts what one invocation printed.
    pub(super) fn observe_log(&self, totals: LogTotals) {
        self.log_bytes.add(totals.bytes);
        self.log_dropped_bytes.add(totals.dropped_bytes);
    }

    fn add(&self, other: &Figures) {
        for outcome in Outcome::ALL {
            self.outcomes.add(*outcome, other.outcomes.get(*outcome));
        }
        self.cpu_ns.add(other.cpu_ns.get());
        self.fuel.add(other.fuel.get());
        self.input_bytes.add(other.input_bytes.get());
        self.output_bytes.add(other.output_bytes.get());
        self.log_bytes.add(other.log_bytes.get());
        self.log_dropped_bytes.add(other.log_dropped_bytes.get());
        self.duration.add(&other.duration);
        self.instantiation.add(&other.instantiation);
        self.memory_peak.add(&other.memory_peak);
    }
}

/// The figures of one function, in parts.
#[derive(Debug)]
pub(super) struct Parts(Box<[OnceLock<Box<Figures>>]>);

/// Twice as many as cores, because not all threads count, and those that do are not spread evenly. Eight at most: a function that
/// they all serve has some six kilobytes of figures then.
static PARTS: LazyLock<usize> =
    LazyLock::new(|| 2 * thread::available_parallelism().map_or(1, NonZero::get).min(4));

thread_local! {
    static HERE: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % *PARTS
    };
}

impl Parts {
    pub(super) fn new() -> Parts {
        Parts((0..*PARTS).map(|_| OnceLock::new()).collect())
    }

    /// The part that this thread adds to.
    pub(super) fn here(&self) -> &Figures {
        self.0[HERE.with(|here| *here)].get_or_init(Figures::new)
    }

    /// All of them together.
    pub(super) fn sum(&self) -> Box<Figures> {
        let sum = Figures::new();
        self.0.iter().filter_map(OnceLock::get).for_each(|part| sum.add(part));
        sum
    }

    /// How many invocations ended like this.
    pub(super) fn invocations(&self, outcome: Outcome) -> u64 {
        self.0.iter().filter_map(OnceLock::get).map(|part| part.outcomes.get(outcome)).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_sum_is_that_of_all_threads() {
        let parts = Parts::new();
        let usage = Usage {
            duration: Duration::from_millis(3),
            cpu: Duration::from_nanos(5),
            instantiation: Some(Duration::from_micros(7)),
            memory_peak_bytes: 1 << 20,
            fuel: Some(11),
            bytes_in: 13,
            bytes_out: 17,
        };
        let threads = 3 * *PARTS;
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    parts.here().observe(Outcome::Trap, &usage);
                    parts.here().observe_log(LogTotals { lines: 1, bytes: 19, dropped_bytes: 23 });
                });
            }
        });
        let used = parts.0.iter().filter(|part| part.get().is_some()).count();
        assert!(used > 1, "{used} parts for {threads} threads");
        let threads = threads as u64;
        let sum = parts.sum();
        let counters = [
            &sum.cpu_ns,
            &sum.fuel,
            &sum.input_bytes,
            &sum.output_bytes,
            &sum.log_bytes,
            &sum.log_dropped_bytes,
        ];
        assert_eq!(counters.map(Counter::get), [5, 11, 13, 17, 19, 23].map(|one| one * threads));
        assert_eq!(
            (parts.invocations(Outcome::Trap), parts.invocations(Outcome::Ok)),
            (threads, 0)
        );
        for (histogram, one) in
            [(&sum.duration, 3_000_000), (&sum.instantiation, 7_000), (&sum.memory_peak, 1 << 20)]
        {
            assert_eq!(histogram.observed(), (threads, one * threads));
        }
    }
}
