//! Counters that many threads add to: each for itself once there is much to count, so that cores
//! that serve the same function do not write to the same memory. A scrape adds them up.
//!
//! Most functions are asked for now and then. Until [`HOT`] they have one part, which all threads
//! share.

use std::{
    num::NonZero,
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::metrics::Counter;

/// So much in the first cell, and each thread has a part of its own.
pub(super) const HOT: u64 = 1024;

/// Parts of what is hot: twice as many as cores, because not all threads count, and those that do
/// are not spread evenly. Eight at most.
static PARTS: LazyLock<usize> =
    LazyLock::new(|| 2 * thread::available_parallelism().map_or(1, NonZero::get).min(4));

thread_local! {
    static HERE: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % *PARTS
    };
}

/// A fixed number of counters. The first one counts the most frequent event.
#[derive(Debug)]
pub(super) struct Cells<const N: usize> {
    first: [Counter; N],
    more: OnceLock<Box<[Part<N>]>>,
}

/// One thread's part, made when it first adds to it.
type Part<const N: usize> = OnceLock<Box<[Counter; N]>>;

fn zero<const N: usize>() -> [Counter; N] {
    std::array::from_fn(|_| Counter::default())
}

impl<const N: usize> Default for Cells<N> {
    fn default() -> Cells<N> {
        Cells { first: zero(), more: OnceLock::new() }
    }
}

impl<const N: usize> Cells<N> {
    /// The part that this thread adds to.
    pub(super) fn here(&self) -> &[Counter; N] {
        let Some(mine) = HERE.with(|here| here.checked_sub(1)) else { return &self.first };
        if self.more.get().is_none() && self.first[0].get() < HOT {
            return &self.first;
        }
        let more = self.more.get_or_init(|| (1..*PARTS).map(|_| OnceLock::new()).collect());
        more[mine].get_or_init(|| Box::new(zero()))
    }

    fn parts(&self) -> impl Iterator<Item = &[Counter; N]> {
        let more = self.more.get().into_iter().flatten();
        std::iter::once(&self.first).chain(more.filter_map(|part| part.get().map(|part| &**part)))
    }

    /// The count of a cell.
    pub(super) fn get(&self, cell: usize) -> u64 {
        self.parts().map(|part| part[cell].get()).sum()
    }

    /// Counts what others have counted.
    pub(super) fn add(&self, others: &Cells<N>) {
        for cell in 0..N {
            self.first[cell].add(others.get(cell));
        }
    }

    /// Bytes that this takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let parts = self.parts().count();
        let places = self.more.get().map_or(0, |more| size_of_val(&**more));
        size_of::<Self>() + places + (parts - 1) * size_of::<[Counter; N]>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_all_threads() {
        let cells = Cells::<3>::default();
        let threads = 3 * *PARTS as u64;
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..HOT {
                        let here = cells.here();
                        here[0].inc();
                        here[2].add(5);
                    }
                });
            }
        });
        assert!(cells.parts().count() > 1, "each has its own");
        assert_eq!([0, 1, 2].map(|cell| cells.get(cell)), [1, 0, 5].map(|n| n * HOT * threads));
        let both = Cells::<3>::default();
        both.add(&cells);
        both.add(&cells);
        assert_eq!(both.get(2), 10 * HOT * threads);
    }

    #[test]
    fn a_counter_that_is_seldom_used_has_one_part() {
        let cells = Cells::<10>::default();
        thread::scope(|scope| {
            for _ in 0..*PARTS {
                scope.spawn(|| (0..HOT / 16).for_each(|_| cells.here()[0].inc()));
            }
        });
        assert_eq!(cells.get(0), HOT / 16 * *PARTS as u64);
        assert_eq!(cells.bytes(), size_of::<Cells<10>>());
    }
}
