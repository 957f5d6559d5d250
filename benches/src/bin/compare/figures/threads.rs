//! The gain of two threads over one: fresh in-process invocations of a hello, in one host.
//!
//! Beside it stand the same for raw Wasmtime, and two loops that share nothing, which is as much as
//! the machine has to give. One loop waits for itself, as two threads of one core can do at once.
//! One writes as much as the reset of a sandbox does, which they cannot.

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use lacewing_benches::{
    Called, deployed, guest,
    raw::{Raw, hello_request},
};

use super::{Figures, ROUNDS, found, wasm};

/// How long each count goes on.
const TIME: Duration = Duration::from_millis(500);

/// About what a small function's memory has.
const FILL_BYTES: usize = 256 << 10;

pub(super) fn measure() -> anyhow::Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cache = tempfile::tempdir()?;
    let called = Called::only(runtime.block_on(deployed("hello", cache.path())));
    let raw = Raw::new(&guest::example("hello")).map_err(wasm)?;
    let host = |threads| {
        rate(threads, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let called = called.clone();
            move || {
                let runtime = runtime.as_ref().map_err(|error| error.to_string())?;
                let answer = runtime.block_on(called.get(Bytes::new()));
                answer.map(drop).map_err(|failure| format!("{failure:?}"))
            }
        })
    };
    let direct = |threads| {
        rate(threads, || {
            || raw.call(hello_request(&[], &[])).map(drop).map_err(|error| error.to_string())
        })
    };
    let waits = |threads| {
        rate(threads, || {
            || {
                black_box((0..2000_u64).fold(1, |state: u64, step| black_box(state ^ step) << 1));
                Ok(())
            }
        })
    };
    let writes = |threads| {
        rate(threads, || {
            let (mut buffer, mut value) = (vec![0_u8; FILL_BYTES], 0_u8);
            move || {
                value = value.wrapping_add(1);
                black_box(&mut buffer[..]).fill(black_box(value));
                Ok(())
            }
        })
    };
    let mut ratios = [const { Vec::new() }; FIGURES.len()];
    // The first round is warm-up.
    for round in 0..=ROUNDS {
        let one = [host(1)?, direct(1)?, waits(1)?, writes(1)?];
        let two = [host(2)?, direct(2)?, waits(2)?, writes(2)?];
        if round > 0 {
            for ((ratios, one), two) in ratios.iter_mut().zip(one).zip(two) {
                ratios.push(two / one);
            }
        }
    }
    let figure = |((name, title, note), ratios): ((&str, &str, &str), Vec<f64>)| {
        (name.to_owned(), found(title, "x", ratios, note))
    };
    Ok(FIGURES.into_iter().zip(ratios).map(figure).collect())
}

/// Names, titles and notes.
const FIGURES: [(&str, &str, &str); 4] = [
    ("threads_ratio", "2 threads over 1, fresh in-process calls", ""),
    ("threads_raw_ratio", "the same with raw Wasmtime", ""),
    (
        "threads_machine_ratio",
        "the same with a loop that shares nothing, and waits for itself",
        "below 2 where others use the CPUs",
    ),
    (
        "threads_fill_ratio",
        "the same with a loop that shares nothing, and writes 256 KiB",
        "below 2 where two CPUs are one core, too",
    ),
];

/// Calls per second, over so many threads. Each thread makes a call of its own.
#[allow(clippy::cast_precision_loss)]
fn rate<C: FnMut() -> Result<(), String>>(
    threads: usize,
    make: impl Fn() -> C + Sync,
) -> anyhow::Result<f64> {
    let (barrier, stop) = (Barrier::new(threads + 1), AtomicBool::new(false));
    let counts = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut call = make();
                    barrier.wait();
                    let (started, mut count) = (Instant::now(), 0_u64);
                    while !stop.load(Ordering::Relaxed) {
                        call()?;
                        count += 1;
                    }
                    Ok::<f64, String>(count as f64 / started.elapsed().as_secs_f64())
                })
            })
            .collect();
        barrier.wait();
        std::thread::sleep(TIME);
        stop.store(true, Ordering::Relaxed);
        running.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut sum = 0.0;
    for count in counts {
        let count = count.map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        sum += count.map_err(anyhow::Error::msg)?;
    }
    Ok(sum)
}
