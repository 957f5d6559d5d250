//! The speed of fresh invocations while other threads make some as well.
//!
//! Method: the example `hello` on the lean path in one host; as many threads as the name says, each
//! with a runtime of its own, share the iterations evenly. The time is the wall's: with perfect
//! scaling two threads take half of what one takes. Baseline: one thread; where two CPUs are one
//! core, nothing scales to two (see `compare`, part `threads`).
//!
//! Command: `cargo bench -p lacewing-benches --bench contention`

use std::{
    sync::Barrier,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lacewing_benches::{Called, deployed, runtime, temporary_dir};

fn contention(criterion: &mut Criterion) {
    let cache = temporary_dir();
    let hello = Called::only(runtime().block_on(deployed("hello", cache.path())));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut group = criterion.benchmark_group("contention");
    for threads in [1_u64, 2, 4, 8, 16].into_iter().filter(|threads| *threads <= cpus as u64) {
        group.bench_with_input(
            BenchmarkId::from_parameter(threads),
            &threads,
            |bencher, threads| {
                bencher.iter_custom(|iterations| run(&hello, *threads, iterations));
            },
        );
    }
    group.finish();
}

/// The wall time of so many invocations over all threads.
fn run(hello: &Called, threads: u64, iterations: u64) -> Duration {
    let barrier = Barrier::new(usize::try_from(threads).unwrap_or(1) + 1);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let share = iterations / threads + u64::from(thread < iterations % threads);
                let barrier = &barrier;
                scope.spawn(move || {
                    let runtime = runtime();
                    barrier.wait();
                    runtime.block_on(async {
                        for _ in 0..share {
                            let response = hello.get(Bytes::new()).await;
                            response.unwrap_or_else(|failure| panic!("{failure:?}"));
                        }
                    });
                })
            })
            .collect();
        barrier.wait();
        let started = Instant::now();
        for thread in running {
            thread.join().unwrap_or_else(|_| panic!("a thread panicked"));
        }
        started.elapsed()
    })
}

criterion_group!(benches, contention);
criterion_main!(benches);
