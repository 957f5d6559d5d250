//! The cost of interruption to a guest that computes: the same programs without instrumentation,
//! with epochs (the host's default), with fuel, and native. All four take turns.

use std::time::{Duration, Instant};

use lacewing_bench_guests::Program;
use lacewing_benches::{
    guest::{self, Layout},
    profiles::{Compute, Instrumented},
};

use super::{Figures, ROUNDS, found, wasm};

/// Rounds of work in one call: some tens of milliseconds.
const WORK: u32 = 10;

pub(super) fn measure() -> anyhow::Result<Figures> {
    let component = guest::guest("compute", Layout::Lean);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut figures = Figures::new();
    let mut slowdowns = [Vec::new(), Vec::new()];
    runtime.block_on(async {
        let mut guests = Vec::new();
        for how in Instrumented::ALL {
            guests.push(Compute::new(&component, how).await.map_err(wasm)?);
        }
        for program in Program::ALL {
            let mut times = [const { Vec::new() }; 4];
            // The first round is warm-up.
            for round in 0..=ROUNDS {
                let (native, expected) = timed(async || Ok(program.run(WORK))).await?;
                let mut all = vec![native];
                for guest in &mut guests {
                    let (time, found) = timed(async || guest.run(program, WORK).await).await?;
                    anyhow::ensure!(
                        found == expected,
                        "{} gave {found}, natively {expected}",
                        program.name()
                    );
                    all.push(time);
                }
                if round > 0 {
                    times.iter_mut().zip(all).for_each(|(times, time)| times.push(time));
                }
            }
            let [native, not, epochs, fuel] = times.map(|times| fastest(&times));
            slowdowns[0].push(epochs / not);
            slowdowns[1].push(fuel / not);
            let name = program.name();
            let mut add = |key: &str, title: &str, value: f64| {
                let figure = found(&format!("{name}: {title}"), "x", vec![value], "");
                figures.insert(format!("compute_{name}_{key}"), figure);
            };
            add("wasm", "uninstrumented Wasm over native", not / native);
            add("epoch", "epochs over uninstrumented", epochs / not);
            add("fuel", "fuel over uninstrumented", fuel / not);
        }
        Ok::<(), anyhow::Error>(())
    })?;
    let [epochs, fuel] = slowdowns;
    let note =
        "one value for each program, the fastest of its rounds over the fastest uninstrumented";
    figures
        .insert("compute_epoch".to_owned(), found("epoch: slowdown of compute", "x", epochs, note));
    figures.insert("compute_fuel".to_owned(), found("fuel: slowdown of compute", "x", fuel, note));
    Ok(figures)
}

async fn timed(
    work: impl AsyncFnOnce() -> wasmtime::Result<u64>,
) -> anyhow::Result<(Duration, u64)> {
    let started = Instant::now();
    let found = work().await.map_err(wasm)?;
    Ok((started.elapsed(), found))
}

/// Interference only ever adds.
fn fastest(times: &[Duration]) -> f64 {
    times.iter().min().copied().unwrap_or_default().as_secs_f64()
}
