//! The cost of instantiating a hello, with the reset of its slot, without a call.
//!
//! Method: raw Wasmtime with the pooling allocator on one thread: a store, an instance, drop.
//! Nothing of the host is in it. Baseline: 3.7 us for a guest without imports and 6.7 us for one of
//! Rust's std, which imports 13 interfaces of WASI; on the kind of machine that the project is
//! built on.
//!
//! Command: `cargo bench -p lacewing-benches --bench instantiate`

use criterion::{Criterion, criterion_group, criterion_main};
use lacewing_benches::raw_hello;

fn instantiate(criterion: &mut Criterion) {
    let hello = raw_hello();
    criterion.bench_function("instantiate/hello", |bencher| {
        bencher.iter(|| hello.instantiate().unwrap_or_else(|error| panic!("{error:#}")));
    });
}

criterion_group!(benches, instantiate);
criterion_main!(benches);
