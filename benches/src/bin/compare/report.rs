//! A run as text: for the terminal, and for the file that is kept.

use std::fmt::Write as _;

use anyhow::Context;
use lacewing_benches::guest::root;
use lacewing_load::series::SeriesSummary;

use crate::{
    goals::{Goal, Verdict},
    options::Options,
    results::{Results, Throughput},
};

/// Writes `DATE-MACHINE.md` and `.json`; another run of the same day on the same machine takes
/// their place.
pub(crate) fn write(options: &Options, results: &Results, text: &str) -> anyhow::Result<()> {
    let dir = options.output.clone().unwrap_or_else(|| root().join("benches/results"));
    std::fs::create_dir_all(&dir)?;
    let name = format!("{}-{}", date(results.time), results.machine_name);
    let path = dir.join(&name);
    for (extension, contents) in
        [("md", text.to_owned()), ("json", format!("{:#}\n", serde_json::to_value(results)?))]
    {
        let path = path.with_extension(extension);
        std::fs::write(&path, contents).with_context(|| path.display().to_string())?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// As Markdown.
pub(crate) fn markdown(results: &Results) -> String {
    let mut out = String::new();
    head(&mut out, results);
    goals(&mut out, results);
    throughput(&mut out, results);
    latency(&mut out, results);
    starts(&mut out, results);
    figures(&mut out, results);
    about(&mut out, results);
    out
}

// Writing into a `String` does not fail, here and below.
fn head(out: &mut String, results: &Results) {
    let _ = writeln!(out, "# Comparison of {}, {}\n", date(results.time), results.machine_name);
    let _ = writeln!(out, "- Machine: {}", results.machine.describe());
    if let Some(load) = results.machine.load_average {
        let _ = writeln!(out, "- Load average before: {load}");
    }
    if let Some(steadiness) = &results.steadiness {
        let _ = writeln!(out, "- Steadiness: {}", steadiness.describe());
    }
    let _ = writeln!(out, "- Revision: {}", results.revision);
    for (name, version) in &results.versions {
        let _ = writeln!(out, "- {name}: {version}");
    }
    if let Some(generator) = &results.generator {
        let _ = writeln!(out, "- Load for throughput: `{generator}`");
    }
    let _ = writeln!(out, "- Command: `{}`", results.command);
    let _ = writeln!(
        out,
        "- Wrong answers and failed connections, over everything: {}\n",
        results.error_count()
    );
}

fn goals(out: &mut String, results: &Results) {
    let _ = writeln!(
        out,
        "## Goals\n\nRatios of medians; behind them the range of the rounds' own ratios.\n"
    );
    let _ = writeln!(out, "| figure | must | aim | found | range | |\n|---|---|---|---|---|---|");
    for goal in &results.goals {
        let Goal { title, unit, must, aim, .. } = goal;
        let bound = if goal.more { ">=" } else { "<=" };
        let value = |value: f64| format!("{} {unit}", short(value));
        let found = goal.value.map_or("not measured".to_owned(), value);
        let range = goal
            .range
            .map_or(String::new(), |(low, high)| format!("{} to {}", short(low), short(high)));
        let verdict = match goal.verdict() {
            Verdict::Aim => "aim",
            Verdict::Must => "must",
            Verdict::Missed => "**missed**",
            Verdict::NotMeasured => "",
        };
        let _ = writeln!(
            out,
            "| {title} | {bound} {} | {bound} {} | {found} | {range} | {verdict} |",
            value(*must),
            value(*aim)
        );
    }
}

fn throughput(out: &mut String, results: &Results) {
    let Some(native) = results.rounds("native", |round| round.per_second) else {
        return rows(out, results, None);
    };
    rows(out, results, Some(native.median));
}

#[allow(clippy::cast_precision_loss)]
fn rows(out: &mut String, results: &Results, native: Option<f64>) {
    if results.throughput.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n## Full load\n\nMedians (least to most of the rounds). CPU is the server's, per request.\n\n\
         | server | requests/s | of native | CPU µs | p50 µs | p99 µs | idle MiB | peak MiB | errors |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    let mut ids: Vec<&String> = results.throughput.keys().collect();
    let place = |id: &str| results.rows.iter().position(|row| row.id == id);
    ids.sort_by_key(|id| place(id));
    for id in ids {
        let series = |value: fn(&Throughput) -> f64| results.rounds(id, value).unwrap_or_default();
        let rate = series(|round| round.per_second);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            title(results, id),
            range(&rate),
            native.map_or(String::new(), |native| format!("{:.2}", rate.median / native)),
            range(&series(|round| round.cpu_us)),
            range(&series(|round| round.p50_us)),
            range(&series(|round| round.p99_us)),
            short(results.rounds(id, |round| mib(round.idle_bytes)).unwrap_or_default().median),
            short(results.rounds(id, |round| mib(round.peak_bytes)).unwrap_or_default().max),
            results.throughput[id].iter().map(|round| round.errors).sum::<u64>(),
        );
    }
}

fn latency(out: &mut String, results: &Results) {
    let Some(asked) = results.latency.values().flatten().map(|one| one.asked_per_second).next()
    else {
        return;
    };
    let _ = writeln!(
        out,
        "\n## Half load\n\nOpen loop at {asked} requests/s, half of what the lean path takes; latency counts from when a request \
         was due.\n\n| server | p50 µs | p99 µs | p99.9 µs | longest µs | errors | not sent |\n|---|---|---|---|---|---|---|"
    );
    for (id, rounds) in &results.latency {
        let series = |value: fn(&crate::results::Latency) -> f64| {
            range(&SeriesSummary::new(rounds.iter().map(value).collect()))
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            title(results, id),
            series(|one| one.p50_us),
            series(|one| one.p99_us),
            series(|one| one.p999_us),
            series(|one| one.max_us),
            rounds.iter().map(|one| one.errors).sum::<u64>(),
            rounds.iter().map(|one| one.unsent).sum::<u64>(),
        );
    }
}

fn starts(out: &mut String, results: &Results) {
    if results.starts.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n## Process start to first response\n\n| server | empty cache, ms | cached, ms |\n|---|---|---|"
    );
    for row in &results.rows {
        let Some(starts) = results.starts.get(&row.id) else { continue };
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            row.title,
            range(&starts.empty_ms),
            range(&starts.cached_ms)
        );
    }
}

fn figures(out: &mut String, results: &Results) {
    if results.figures.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## Figures\n\n| figure | | |\n|---|---|---|");
    for figure in results.figures.values() {
        let series = SeriesSummary::new(figure.values.clone());
        let _ = writeln!(
            out,
            "| {} | {} {} | {} |",
            figure.title,
            range(&series),
            figure.unit,
            figure.note
        );
    }
}

fn about(out: &mut String, results: &Results) {
    let _ = writeln!(out, "\n## Rows\n");
    for row in &results.rows {
        let _ = writeln!(out, "- **{}** ({}): {}", row.id, row.title, row.note);
    }
    for (name, why) in &results.missing {
        let _ = writeln!(out, "- **{name}** was left out: {why}");
    }
    let _ = writeln!(
        out,
        "\nThe load generator shares the machine with the server, which holds back the fastest rows most: CPU per request \
         is the fairer column. Every row was started anew in each round, and the order of the rows turned. Lacewing and \
         wasmtime serve run the same bytes where a row names the same version of wasi:http."
    );
}

fn title(results: &Results, id: &str) -> String {
    let row = results.rows.iter().find(|row| row.id == id);
    row.map_or(id, |row| &row.title).to_owned()
}

/// `12.3 (11.9 to 12.8)`; a single value stands alone.
fn range(series: &SeriesSummary) -> String {
    if series.count <= 1 {
        return short(series.median);
    }
    format!("{} ({} to {})", short(series.median), short(series.min), short(series.max))
}

/// Three significant digits, and all of what is before the point.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The day of a number of seconds since 1970, in UTC: Howard Hinnant's `civil_from_days`.
fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(1_795_219_199), "2026-11-20");
        assert_eq!(date(1_795_219_200), "2026-11-21");
    }

    #[test]
    fn figures_are_short_and_have_their_range() {
        assert_eq!(
            ["0.123", "1.23", "12.3", "1235"],
            [0.1234, 1.234, 12.34, 1234.6].map(short).each_ref().map(String::as_str)
        );
        assert_eq!(range(&SeriesSummary::new(vec![1.0, 3.0, 2.0])), "2.00 (1.00 to 3.00)");
        assert_eq!(range(&SeriesSummary::new(vec![5.0])), "5.00");
    }
}
