//! The cost of a body by its size: lowered into the guest, echoed there, and lifted out.
//!
//! Method: the guest `echo` on the lean path through `Invoker::buffered`, one after the other on
//! one thread, each in a fresh sandbox, every default limit on. The size 0 is everything but the
//! body: what the others cost beyond it is the body's. Baseline: two copies in memory, some 10 GB/s
//! each. Above some 100 KiB the guest's heap grows, which is system calls and page faults.
//!
//! Command: `cargo bench -p lacewing-benches --bench lift_lower`

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lacewing_benches::{
    Called, deployed_component,
    guest::{self, Layout},
    runtime, temporary_dir,
};

const SIZES: [usize; 5] = [0, 1 << 10, 16 << 10, 64 << 10, 1 << 20];

fn lift_lower(criterion: &mut Criterion) {
    let (runtime, cache) = (runtime(), temporary_dir());
    let component = guest::guest("echo", Layout::Lean);
    let echo = Called::only(runtime.block_on(deployed_component(&component, cache.path())));
    let mut group = criterion.benchmark_group("lift_lower");
    for bytes in SIZES {
        let body = Bytes::from(vec![b'x'; bytes]);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(BenchmarkId::from_parameter(bytes), &body, |bencher, body| {
            bencher.to_async(&runtime).iter(async || {
                let response = echo.get(body.clone()).await;
                response.unwrap_or_else(|failure| panic!("{failure:?}"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, lift_lower);
criterion_main!(benches);
