//! Latency where a server is not full: each row, and native beside it, at half of the row's highest
//! rate.
//!
//! Open loop, by this repository's own generator: wrk sends the next request when the last one was
//! answered, and so does not see what a stall holds up.

use std::time::Duration;

use lacewing_load::{machine::Noise, probe::Probe, series::SeriesSummary};

use crate::{
    options::Options,
    results::{Latency, Results},
    row::{Row, Server},
};

/// The owner of the half.
pub(crate) const RATED: &str = "lacewing-lean";

/// Those that are asked at that rate.
const ROWS: [&str; 3] = ["native", "raw", RATED];

pub(crate) fn measure(
    options: &Options,
    rows: &[Row],
    results: &mut Results,
    noise: &mut Noise,
) -> anyhow::Result<()> {
    let probe = Probe::new()?;
    let cache = tempfile::tempdir()?;
    let start = |row: &Row| -> anyhow::Result<Server> {
        let server = row.start(cache.path(), &probe)?;
        // As warm as it is in production.
        server.verify()?;
        Ok(server)
    };
    let Some(rated) = rows.iter().find(|row| row.id == RATED) else { return Ok(()) };
    let highest = match results.rounds(RATED, |round| round.per_second) {
        Some(measured) => measured.median,
        None => {
            let server = start(rated)?;
            let rounds = (0..3).map(|_| server.load(Duration::from_secs(2), None));
            let rates =
                rounds.map(|load| Ok(load?.per_second())).collect::<std::io::Result<_>>()?;
            SeriesSummary::new(rates).median
        }
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rate = (highest / 2.0).clamp(1.0, 1e9) as u32;
    let rows: Vec<&Row> = rows.iter().filter(|row| ROWS.contains(&row.id)).collect();
    for round in 0..options.rounds {
        let first = round as usize % rows.len();
        for row in rows[first..].iter().chain(&rows[..first]) {
            noise.look();
            let server = start(row)?;
            let seen = server.load(Duration::from_secs(options.seconds.into()), Some(rate))?;
            let one = Latency {
                asked_per_second: rate,
                per_second: seen.per_second(),
                p50_us: seen.quantile_us(0.5),
                p99_us: seen.quantile_us(0.99),
                p999_us: seen.quantile_us(0.999),
                max_us: seen.quantile_us(1.0),
                errors: seen.error_count(),
                unsent: seen.unsent,
            };
            eprintln!(
                "round {} {:<24} at {rate}/s: p50 {:.0} µs, p99 {:.0} µs, p99.9 {:.0} µs, {} errors, {} not sent",
                round + 1,
                row.id,
                one.p50_us,
                one.p99_us,
                one.p999_us,
                one.errors,
                one.unsent
            );
            results.latency.entry(row.id.to_owned()).or_default().push(one);
        }
    }
    Ok(())
}
