//! The cost of a function that is not resident: loading its program, and invoking it, in process.
//!
//! Method: two functions with a component each, of which one may be resident, asked for in turn, so
//! that every time it is the other one. `load` is `Revision::program`: the artifact of the example
//! `hello` is read, hashed, mapped, decoded and linked, and the one before is evicted; `invoke` is
//! a whole invocation on top of that. Baseline: `resident`, the same invocation where
//! both may stay. The artifacts are in the system's page cache.
//!
//! Command: `cargo bench -p lacewing-benches --bench residency`

use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use lacewing::{
    control::Host,
    function::Revision,
    invocation::HttpRequest,
    telemetry::{Context, InvocationId},
};
use lacewing_benches::many::Many;
use tokio::runtime::Runtime;

fn host(runtime: &Runtime, resident: usize) -> (Arc<Host>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let many = Many { functions: 2, components: 2, resident };
    let path = many.write(dir.path(), &lacewing_benches::guest::example("hello"));
    let path = path.unwrap_or_else(|error| panic!("{error}"));
    (runtime.block_on(lacewing_benches::deployed_file(&path)), dir)
}

async fn invoke(host: &Host, revision: &Arc<Revision>) {
    let context = Arc::new(Context::new(revision.origin.clone(), InvocationId(1)));
    let (parts, ()) = http::Request::new(()).into_parts();
    let request =
        HttpRequest { parts, scheme: "http", authority: "localhost", route: "/", params: &[] };
    let response = host.invoker().begin(revision, &context).buffered(request, Bytes::new()).await;
    response.unwrap_or_else(|failure| panic!("{failure:?}"));
}

fn residency(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap_or_else(|error| panic!("{error}"));
    for (name, resident) in [("invoke", 1), ("resident", 2)] {
        let (host, _dir) = host(&runtime, resident);
        let revisions = host.deployed().revisions.clone();
        let mut turns = revisions.iter().cycle();
        criterion.bench_function(&format!("residency/{name}"), |bencher| {
            bencher.iter(|| {
                let revision = turns.next().unwrap_or(&revisions[0]);
                runtime.block_on(invoke(&host, revision));
            });
        });
    }
    let (host, _dir) = host(&runtime, 1);
    let revisions = host.deployed().revisions.clone();
    let mut turns = revisions.iter().cycle();
    criterion.bench_function("residency/load", |bencher| {
        bencher.iter(|| {
            let revision = turns.next().unwrap_or(&revisions[0]);
            runtime.block_on(revision.program()).unwrap_or_else(|error| panic!("{error}"))
        });
    });
}

criterion_group!(benches, residency);
criterion_main!(benches);
