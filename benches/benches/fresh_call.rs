//! The cost of one invocation of a hello in process: from admission to the recorded end, each in a
//! fresh sandbox.
//!
//! Method: the example `hello` on the lean path through `Invoker::buffered`, one after the other on
//! one thread, every default limit on, metrics on, nothing logged. Baseline: 4.9 us for
//! instantiation, call and drop alone, without routing, admission, limits and metrics, on the kind
//! of machine that the project is built on.
//!
//! Command: `cargo bench -p lacewing-benches --bench fresh_call`

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use lacewing_benches::{Called, deployed, runtime, temporary_dir};

fn fresh_call(criterion: &mut Criterion) {
    let (runtime, cache) = (runtime(), temporary_dir());
    let hello = Called::only(runtime.block_on(deployed("hello", cache.path())));
    criterion.bench_function("fresh_call/hello", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let response = hello.get(Bytes::new()).await;
            response.unwrap_or_else(|failure| panic!("{failure:?}"))
        });
    });
}

criterion_group!(benches, fresh_call);
criterion_main!(benches);
