//! Results for the terminal.

use lacewing_load::series::SeriesSummary;

use std::fmt::Write as _;

use super::results::{ColdStarts, Results, Speed};

/// The whole text.
// Writing into a `String` does not fail, here and below.
pub(super) fn text(results: &Results) -> String {
    let subject = &results.subject;
    let mut out = format!(
        "{}: {} {} answers {} with {} bytes\n{}\nsteadiness: {}\n",
        subject.name,
        subject.method,
        subject.path,
        subject.status,
        subject.response_bytes,
        results.machine.describe(),
        results.steadiness.describe(),
    );
    if let Some(cold_starts) = &results.cold_starts {
        cold(&mut out, cold_starts);
    }
    let load = &results.load;
    let _ = writeln!(
        out,
        "\n{:<28}{:>12}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "load", "requests/s", "p50", "p90", "p99", "p99.9", "longest", "CPU each"
    );
    for speed in [&results.full_speed, &results.fixed_rate].into_iter().flatten() {
        line(&mut out, speed);
    }
    let _ = writeln!(
        out,
        "\n{} from {}, {} of {} s each; throughput is the rounds' median, latency is over all of them",
        counted(load.connections, "connection"),
        counted(load.threads, "thread"),
        counted(load.rounds, "round"),
        load.duration_s,
    );
    out
}

/// `1 round`, `3 rounds`.
pub(super) fn counted(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn cold(out: &mut String, cold: &ColdStarts) {
    let _ = writeln!(
        out,
        "\n{:<28}{:>12}{:>10}{:>10}{:>10}",
        "cold start", "median", "least", "most", "p99"
    );
    let mut row = |name: &str, series: &SeriesSummary, factor: f64, p99: Option<f64>| {
        let time = |value: f64| duration(value * factor);
        let _ = writeln!(
            out,
            "{name:<28}{:>12}{:>10}{:>10}{:>10}",
            time(series.median),
            time(series.min),
            time(series.max),
            p99.map_or(String::new(), duration)
        );
    };
    row("fresh, to the guest", &cold.fresh_to_guest_us, 1.0, None);
    let fresh = &cold.fresh_us;
    let least = fresh.curve.first().map_or(0.0, |(_, time)| *time);
    let series =
        SeriesSummary { median: fresh.p50, min: least, max: fresh.max, ..SeriesSummary::default() };
    row("fresh, to the response", &series, 1.0, Some(fresh.p99));
    row("scaled to zero, in process", &cold.scaled_to_zero_ms, 1e3, None);
    row("start of the host", &cold.host_start_ms, 1e3, None);
    row("deploy, compilation included", &cold.deploy_ms, 1e3, None);
}

fn line(out: &mut String, speed: &Speed) {
    let latency = &speed.latency;
    let name = match speed.asked_per_second {
        None => "full speed".to_owned(),
        Some(rate) => format!("{rate} requests/s"),
    };
    let _ = writeln!(
        out,
        "{name:<28}{:>12.0}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        speed.per_second.median,
        duration(latency.p50),
        duration(latency.p90),
        duration(latency.p99),
        duration(latency.p999),
        duration(latency.max),
        speed.cpu_us.as_ref().map_or("-".to_owned(), |cpu| duration(cpu.median)),
    );
    let _ = write!(out, "{:<28}{:>12}", "", format!("+-{:.0} %", speed.per_second.spread() * 50.0));
    let mut notes = String::new();
    if speed.error_count() > 0 {
        let _ = write!(notes, "  {} failed", speed.error_count());
    }
    if speed.unsent > 0 {
        let _ = write!(notes, "  {} were due and never sent", speed.unsent);
        if speed.unsent * 100 > speed.responses {
            notes += ": the server is slower than this rate";
        }
    }
    let _ = writeln!(out, "{notes}");
}

/// Microseconds, in the unit that suits them: `4.12 µs`, `123 µs`, `9.31 ms`, `1.20 s`.
pub(super) fn duration(microseconds: f64) -> String {
    let (value, unit) = match microseconds {
        time if time >= 1e6 => (time / 1e6, "s"),
        time if time >= 1e3 => (time / 1e3, "ms"),
        time => (time, "\u{b5}s"),
    };
    match value {
        value if value >= 100.0 => format!("{value:.0} {unit}"),
        value if value >= 10.0 => format!("{value:.1} {unit}"),
        value => format!("{value:.2} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        let times = [0.5, 4.123, 12.34, 123.4, 1_234.0, 45_600.0, 1_200_000.0].map(duration);
        assert_eq!(
            times.each_ref().map(String::as_str),
            [
                "0.50 \u{b5}s",
                "4.12 \u{b5}s",
                "12.3 \u{b5}s",
                "123 \u{b5}s",
                "1.23 ms",
                "45.6 ms",
                "1.20 s"
            ]
        );
    }
}
