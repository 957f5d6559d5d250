//! Every row under as much load as it takes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use lacewing_load::{machine::Noise, probe::Probe};

use crate::{
    options::Options,
    results::{Results, Throughput},
    row::{CONNECTIONS, Row, Server},
};

/// The figures of a load generator.
struct Seen {
    requests: u64,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    errors: u64,
}

/// Measures each row once in each round. The first row turns from round to round, so that no row
/// always follows the same one.
pub(crate) fn measure(
    options: &Options,
    rows: &[Row],
    results: &mut Results,
    noise: &mut Noise,
) -> anyhow::Result<()> {
    let probe = Probe::new()?;
    let wrk = find_wrk();
    let seconds = options.seconds;
    results.generator = Some(match &wrk {
        Some(_) => format!("wrk -t1 -c{CONNECTIONS} -d{seconds}s --latency"),
        None => format!("own generator, 1 thread, {CONNECTIONS} connections, {seconds} s"),
    });
    let cache = tempfile::tempdir()?;
    for round in 0..options.rounds {
        let first = round as usize % rows.len();
        for row in rows[first..].iter().chain(&rows[..first]) {
            if results.is_missing(row.id) {
                continue;
            }
            noise.look();
            let caches = cache.path().join(row.id);
            match measure_one(row, &caches, &probe, wrk.as_deref(), seconds) {
                Ok(one) => {
                    eprintln!(
                        "round {} {:<24} {:>9.0}/s {:>7.2} µs CPU, p99 {:>7.0} µs, {} errors",
                        round + 1,
                        row.id,
                        one.per_second,
                        one.cpu_us,
                        one.p99_us,
                        one.errors
                    );
                    results.throughput.entry(row.id.to_owned()).or_default().push(one);
                }
                // One that has been measured before and now fails is an error, not an absence.
                Err(error) if results.throughput.contains_key(row.id) => return Err(error),
                Err(error) => results.miss(row.id, &error),
            }
        }
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
fn measure_one(
    row: &Row,
    cache: &Path,
    probe: &Probe,
    wrk: Option<&Path>,
    seconds: u32,
) -> anyhow::Result<Throughput> {
    std::fs::create_dir_all(cache)?;
    let server = row.start(cache, probe)?;
    let idle_bytes = server.used().resident_bytes;
    let mut errors = server.verify()?;
    let before = server.used();
    let seen = match wrk {
        Some(wrk) => run_wrk(wrk, &server, seconds)?,
        None => run_own(&server, seconds)?,
    };
    let after = server.used();
    errors += seen.errors + server.verify()?;
    let cpu = after.cpu.saturating_sub(before.cpu);
    Ok(Throughput {
        per_second: seen.per_second,
        cpu_us: cpu.as_secs_f64() * 1e6 / seen.requests.max(1) as f64,
        p50_us: seen.p50_us,
        p99_us: seen.p99_us,
        idle_bytes,
        peak_bytes: after.peak_bytes,
        requests: seen.requests,
        errors,
    })
}

fn find_wrk() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("wrk")).find(|path| path.is_file())
}

fn run_wrk(wrk: &Path, server: &Server, seconds: u32) -> anyhow::Result<Seen> {
    let output = Command::new(wrk)
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s"), "--latency"])
        .arg(format!("http://{}/", server.address))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_wrk(&text).with_context(|| format!("wrk said: {text}"))
}

fn parse_wrk(text: &str) -> Option<Seen> {
    let mut quantiles = BTreeMap::new();
    let (mut requests, mut per_second, mut errors) = (None, None, 0);
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [quantile, time] if quantile.ends_with('%') => {
                quantiles.insert(quantile.to_owned(), microseconds(time)?);
            }
            [count, "requests", "in", ..] => requests = count.parse().ok(),
            ["Requests/sec:", rate] => per_second = rate.parse().ok(),
            // Socket errors: connect 0, read 5, write 0, timeout 0
            ["Socket", "errors:", ..] | ["Non-2xx", ..] => {
                let numbers = words.iter().map(|word| word.trim_end_matches(','));
                errors += numbers.filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
            }
            _ => {}
        }
    }
    Some(Seen {
        requests: requests?,
        per_second: per_second?,
        p50_us: *quantiles.get("50%")?,
        p99_us: *quantiles.get("99%")?,
        errors,
    })
}

/// `103.00us`, `1.26ms`, `0.99s`.
fn microseconds(text: &str) -> Option<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6)] {
        if let Some(number) = text.strip_suffix(unit) {
            return number.parse::<f64>().ok().map(|number| number * factor);
        }
    }
    None
}

fn run_own(server: &Server, seconds: u32) -> anyhow::Result<Seen> {
    let measured = server.load(Duration::from_secs(seconds.into()), None)?;
    Ok(Seen {
        requests: measured.responses,
        per_second: measured.per_second(),
        p50_us: measured.quantile_us(0.5),
        p99_us: measured.quantile_us(0.99),
        errors: measured.error_count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "Running 8s test @ http://127.0.0.1:1/\n  1 threads and 32 connections\n  Thread Stats   Avg      \
        Stdev     Max   +/- Stdev\n    Latency   396.00us    1.10ms  20.00ms   95.00%\n    Req/Sec    80.00k     2.00k   \
        90.00k    70.00%\n  Latency Distribution\n     50%  396.00us\n     75%  500.00us\n     90%    0.90ms\n     99%    \
        2.62ms\n  614400 requests in 8.00s, 100.00MB read\nRequests/sec:  76800.10\nTransfer/sec:     12.00MB\n";

    #[test]
    fn the_output_of_wrk_is_read() {
        let seen = parse_wrk(WRK).unwrap();
        assert_eq!((seen.requests, seen.per_second), (614_400, 76_800.1));
        assert_eq!((seen.p50_us, seen.p99_us, seen.errors), (396.0, 2620.0, 0));
    }

    #[test]
    fn errors_are_counted() {
        let bad = format!(
            "{WRK}  Socket errors: connect 0, read 5, write 0, timeout 2\n  Non-2xx or 3xx responses: 10\n"
        );
        assert_eq!(parse_wrk(&bad).unwrap().errors, 17);
        assert!(parse_wrk("unable to connect to 127.0.0.1:1 Connection refused").is_none());
    }
}
