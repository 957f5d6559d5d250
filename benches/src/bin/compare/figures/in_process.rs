//! The cost of one invocation of a hello without a socket: admission to return, each in a fresh
//! sandbox, on one thread; and the same with Wasmtime called directly. The two take turns.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use lacewing_benches::{
    Called, deployed, guest,
    raw::{Raw, hello_request},
};

use super::{Figures, ROUNDS, found, wasm};

/// Invocations in one round: a tenth of a second.
const INVOCATIONS: u32 = 20_000;

pub(super) fn measure() -> anyhow::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cache = tempfile::tempdir()?;
    let called = Called::only(runtime.block_on(deployed("hello", cache.path())));
    let raw = Raw::new(&guest::example("hello")).map_err(wasm)?;
    let (mut hosts, mut raws) = (Vec::new(), Vec::new());
    // The first round is warm-up.
    for round in 0..=ROUNDS {
        let host = runtime.block_on(host(&called))?;
        let raw = direct(&raw)?;
        if round > 0 {
            hosts.push(nanoseconds_each(host));
            raws.push(nanoseconds_each(raw));
        }
    }
    let ratios = hosts.iter().zip(&raws).map(|(host, raw)| host / raw).collect();
    let each = "20,000 invocations one after the other in each round";
    Ok(Figures::from([
        (
            "in_process_ns".to_owned(),
            found("in process, fresh: admission to return of a hello", "ns", hosts, each),
        ),
        (
            "in_process_raw_ns".to_owned(),
            found("the same with raw Wasmtime: instantiate, call, drop", "ns", raws, each),
        ),
        ("in_process_ratio".to_owned(), found("in process over raw Wasmtime", "x", ratios, "")),
    ]))
}

async fn host(called: &Called) -> anyhow::Result<Duration> {
    let started = Instant::now();
    for _ in 0..INVOCATIONS {
        let answer = called.get(Bytes::new()).await;
        let answer = answer.map_err(|failure| anyhow::anyhow!("{failure:?}"))?;
        anyhow::ensure!(black_box(answer).status() == 200);
    }
    Ok(started.elapsed())
}

fn direct(raw: &Raw) -> anyhow::Result<Duration> {
    let started = Instant::now();
    for _ in 0..INVOCATIONS {
        let answer = raw.call(hello_request(&[], &[])).map_err(wasm)?;
        anyhow::ensure!(black_box(answer).status == 200);
    }
    Ok(started.elapsed())
}

fn nanoseconds_each(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9 / f64::from(INVOCATIONS)
}
