//! The cost of one call of a hello in an instance that exists: lowering, the guest itself, lifting.
//!
//! Method: raw Wasmtime on one thread, one instance for all calls. The host never does this: it is
//! what is left of a fresh call once everything that makes it fresh is taken away. Baseline: 1.0
//! us, on the kind of machine that the project is built on.
//!
//! Command: `cargo bench -p lacewing-benches --bench warm_call`

use criterion::{Criterion, criterion_group, criterion_main};
use lacewing_benches::{raw::hello_request, raw_hello};

fn warm_call(criterion: &mut Criterion) {
    let hello = raw_hello();
    let mut warm = hello.warm().unwrap_or_else(|error| panic!("{error:#}"));
    criterion.bench_function("warm_call/hello", |bencher| {
        bencher.iter(|| {
            let response = warm.call(hello_request(&[], &[]));
            response.unwrap_or_else(|error| panic!("{error:#}"))
        });
    });
}

criterion_group!(benches, warm_call);
criterion_main!(benches);
