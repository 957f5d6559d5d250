//! The cost of a fresh sandbox of a snapshotted function, over a hello's.
//!
//! Method: as `fresh_call`, in one process: the example `hello`, and the example `dictionary`,
//! whose init makes a table of 100,000 names in a tenth of a second and leaves it in a memory of
//! some 14 MiB. Each is called one after the other on one thread, from admission to the recorded
//! end and the slot's reset. Baseline: hello; at most 1.5 times its time.
//!
//! Command: `cargo bench -p lacewing-benches --bench snapshot`

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use lacewing_benches::{Called, deployed, runtime, temporary_dir};

fn snapshot(criterion: &mut Criterion) {
    let (runtime, cache) = (runtime(), temporary_dir());
    let hello = Called::only(runtime.block_on(deployed("hello", cache.path())));
    let dictionary = Called::only(runtime.block_on(deployed("dictionary", cache.path()))).at(
        "/{name}",
        "/forty-two-thousand",
        &[("name", "forty-two-thousand")],
    );
    let mut group = criterion.benchmark_group("snapshot");
    for (name, called) in [("hello", hello), ("dictionary", dictionary)] {
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(async || {
                let response = called.get(Bytes::new()).await;
                response.unwrap_or_else(|failure| panic!("{failure:?}"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, snapshot);
criterion_main!(benches);
