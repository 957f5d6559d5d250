//! What does one invocation of a hello cost in process, from admission to the recorded end, each in a fresh sandbox?
//!
//! Method: the example `hello` on the lean path through `Invoker::buffered`, one after the other on one thread, every
//! default limit on, metrics on, nothing logged. Baseline: 4.9 us for instantiation, call and drop alone, without routing,
//! admission, limits and metrics, on the kind of machine that the project is built on.
//!
//! Command: `cargo bench -p lacewing-benches --bench fresh_call`

use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use lacewing::{
    invocation::HttpRequest,
    telemetry::{Context, InvocationId},
};

fn fresh_call(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("{error}"));
    let cache = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let host = runtime.block_on(lacewing_benches::deployed("hello", cache.path()));
    let revision = host.deployed().revisions[0].clone();
    let context = Arc::new(Context {
        origin: revision.origin.clone(),
        invocation: InvocationId(1),
        request_id: None,
        trace_id: None,
    });
    criterion.bench_function("fresh_call/hello", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let (parts, ()) = http::Request::new(()).into_parts();
            let request = HttpRequest {
                parts,
                scheme: "http",
                authority: "localhost",
                route: "/",
                params: &[],
            };
            let response =
                host.invoker().buffered(&revision, &context, request, Bytes::new()).await;
            response.unwrap_or_else(|failure| panic!("{failure:?}"))
        });
    });
}

criterion_group!(benches, fresh_call);
criterion_main!(benches);
