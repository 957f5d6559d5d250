//! A guest whose init takes 100 ms, and was run when it was deployed: what a fresh invocation of it
//! costs beside one of a hello, which has no init.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use lacewing_benches::{Called, deployed, guest::root};

use super::{Figures, ROUNDS, found};

/// The example with the init.
const EXAMPLE: &str = "dictionary";

/// Invocations in one round.
const INVOCATIONS: u32 = 5_000;

pub(super) fn measure() -> anyhow::Result<Figures> {
    anyhow::ensure!(
        root().join("examples").join(EXAMPLE).is_dir(),
        "there is no example with an init"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cache = tempfile::tempdir()?;
    let hello = Called::only(runtime.block_on(deployed("hello", cache.path())));
    let snapshot = Called::only(runtime.block_on(deployed(EXAMPLE, cache.path()))).at(
        "/{name}",
        "/seven",
        &[("name", "seven")],
    );
    let (mut times, mut ratios) = (Vec::new(), Vec::new());
    // The first round is warm-up.
    for round in 0..=ROUNDS {
        let hello = runtime.block_on(calls(&hello))?;
        let snapshot = runtime.block_on(calls(&snapshot))?;
        if round > 0 {
            times.push(snapshot.as_secs_f64() * 1e9 / f64::from(INVOCATIONS));
            ratios.push(snapshot.as_secs_f64() / hello.as_secs_f64());
        }
    }
    let title = "a guest with 100 ms of init, snapshotted: a fresh call in process";
    let note = "its answer included, which is a look into what the init has made";
    Ok(Figures::from([
        ("snapshot_ns".to_owned(), found(title, "ns", times, note)),
        ("snapshot_ratio".to_owned(), found("the same over hello's", "x", ratios, "")),
    ]))
}

async fn calls(called: &Called) -> anyhow::Result<Duration> {
    let started = Instant::now();
    for _ in 0..INVOCATIONS {
        let answer = called.get(Bytes::new()).await;
        let answer = answer.map_err(|failure| anyhow::anyhow!("{failure:?}"))?;
        anyhow::ensure!(black_box(answer).status() == 200, "it does not answer well");
    }
    Ok(started.elapsed())
}
