//! From the start of a process to its first right answer, with an empty cache and with what an
//! earlier start of the same project has left.
//!
//! Files are in the system's page cache in both cases.

use lacewing_load::{machine::Noise, probe::Probe, series::SeriesSummary};

use crate::{
    options::Options,
    results::{Results, Starts},
    row::{Row, Server},
};

pub(crate) fn measure(
    options: &Options,
    rows: &[Row],
    results: &mut Results,
    noise: &mut Noise,
) -> anyhow::Result<()> {
    let probe = Probe::new()?;
    let mut empty: Vec<Vec<f64>> = vec![Vec::new(); rows.len()];
    let mut cached = empty.clone();
    let kept = tempfile::tempdir()?;
    for _ in 0..options.starts {
        noise.look();
        for (index, row) in rows.iter().enumerate() {
            if results.is_missing(row.id) {
                continue;
            }
            let start = |cache: &std::path::Path| row.start(cache, &probe);
            let ms = |server: Server| server.started_in.as_secs_f64() * 1e3;
            let one = || -> anyhow::Result<(f64, f64)> {
                let fresh = tempfile::tempdir()?;
                let first = ms(start(fresh.path())?);
                if !row.caches {
                    return Ok((first, first));
                }
                let cache = kept.path().join(row.id);
                if !cache.is_dir() {
                    std::fs::create_dir(&cache)?;
                    // It has time to write down what the next start finds.
                    start(&cache)?.verify()?;
                }
                Ok((first, ms(start(&cache)?)))
            };
            match one() {
                Ok((first, again)) => {
                    empty[index].push(first);
                    cached[index].push(again);
                }
                Err(error) => results.miss(row.id, &error),
            }
        }
    }
    for ((row, empty_ms), cached_ms) in rows.iter().zip(empty).zip(cached) {
        if !cached_ms.is_empty() {
            let starts = Starts {
                empty_ms: SeriesSummary::new(empty_ms),
                cached_ms: SeriesSummary::new(cached_ms),
            };
            eprintln!(
                "start {:<24} {:>7.1} ms with an empty cache, {:>7.1} ms cached",
                row.id, starts.empty_ms.median, starts.cached_ms.median
            );
            results.starts.insert(row.id.to_owned(), starts);
        }
    }
    Ok(())
}
