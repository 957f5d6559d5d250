//! What does a snapshot cost? One invocation of `dictionary`, whose init takes a tenth of a second and leaves eight megabytes, beside one of
//! `hello`, which has no init; each in a fresh sandbox, from admission to the recorded end.
//!
//! Method: as in `fresh_call`, one after the other on one thread. The reset of the slot is part of both.
//!
//! Command: `cargo bench -p lacewing-benches --bench snapshot`

use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use lacewing::{
    control::Host,
    invocation::HttpRequest,
    telemetry::{Context, InvocationId},
};

fn fresh_call(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("{error}"));
    for example in ["hello", "dictionary"] {
        let cache = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let host = runtime.block_on(lacewing_benches::deployed(example, cache.path()));
        criterion.bench_function(&format!("snapshot/{example}"), |bencher| {
            bencher.to_async(&runtime).iter(|| call(&host));
        });
    }
}

async fn call(host: &Arc<Host>) {
    let revision = host.deployed().revisions[0].clone();
    let context = Arc::new(Context {
        origin: revision.origin.clone(),
        invocation: InvocationId(1),
        request_id: None,
        trace_id: None,
    });
    let (parts, ()) = http::Request::new(()).into_parts();
    let request = HttpRequest {
        parts,
        scheme: "http",
        authority: "localhost",
        route: "/{name}",
        params: &[("name", "forty-two")],
    };
    let response = host.invoker().buffered(&revision, &context, request, Bytes::new()).await;
    assert!(response.is_ok_and(|response| response.status() == 200));
}

criterion_group!(benches, fresh_call);
criterion_main!(benches);
