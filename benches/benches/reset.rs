//! The cost of taking a used sandbox away, so that its slot is as good as new.
//!
//! Method: raw Wasmtime with the pooling allocator on one thread; a hello is instantiated and
//! called, and only the drop of its store is timed. Its whole memory fits into what stays resident,
//! so that the reset writes zeros and makes no system call. Baseline: what fresh calls cost beyond
//! instantiating and a warm call, 0.2 to 1 us, on the kind of machine that the project is built on.
//!
//! Command: `cargo bench -p lacewing-benches --bench reset`

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use lacewing_benches::{raw::hello_request, raw_hello};

fn reset(criterion: &mut Criterion) {
    let hello = raw_hello();
    criterion.bench_function("reset/hello", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut sum = Duration::ZERO;
            for _ in 0..iterations {
                let used = hello.warm().and_then(|mut used| {
                    used.call(hello_request(&[], &[]))?;
                    Ok(used)
                });
                let used = used.unwrap_or_else(|error| panic!("{error:#}"));
                let started = Instant::now();
                drop(used);
                sum += started.elapsed();
            }
            sum
        });
    });
}

criterion_group!(benches, reset);
criterion_main!(benches);
