//! Results as a page: plots first, every figure behind them, nothing to load from elsewhere.

mod plot;

use std::fmt::Write as _;

use lacewing_load::series::SeriesSummary;
use serde_json::Value;

use super::{
    results::{ColdStarts, Results, Speed},
    table::{counted, duration},
};
use plot::{curves, escape, strips, timeline};

const STYLE: &str = include_str!("report/style.css");
const SCRIPT: &str = include_str!("report/script.js");

/// The whole page. `json` is what it carries for programs.
// Writing into a `String` does not fail, here and below.
pub(super) fn page(results: &Results, json: &Value) -> String {
    let subject = &results.subject;
    let mut out = String::new();
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{name}: lacewing bench</title>\n<style>\n{STYLE}</style>\n<main>\n\
         <header>\n<p class=\"kind\">lacewing bench</p>\n<h1>{name}</h1>\n\
         <p><code>{} {}</code> answers {} with {} bytes</p>\n</header>\n",
        escape(&subject.method),
        escape(&subject.path),
        subject.status,
        subject.response_bytes,
        name = escape(&subject.name),
    );
    if results.debug_build {
        out += "<p class=\"alarm\">Measured with a debug build of lacewing: these figures say little.</p>\n";
    }
    tiles(&mut out, results);
    if let Some(cold) = &results.cold_starts {
        section(
            &mut out,
            "Cold starts",
            "Each dot is one measurement, the bar is the median. The scale is logarithmic.",
            &strips(&cold_starts(cold)),
        );
    }
    let speeds: Vec<&Speed> =
        [&results.full_speed, &results.fixed_rate].into_iter().flatten().collect();
    let named: Vec<(String, &Speed)> = speeds.iter().map(|speed| (name(speed), *speed)).collect();
    section(
        &mut out,
        "Latency",
        "At p99, one request in a hundred took longer than the line says; each step to the right is one in ten of those before. At a \
         fixed rate, time counts from when a request was due, so that a stall is charged with all that it held up.",
        &curves(&named),
    );
    section(
        &mut out,
        "Throughput over time",
        "Good answers per second, in steps of a tenth of a second; all rounds one after the other.",
        &timeline(&named, results.load.rounds),
    );
    figures(&mut out, results, &named);
    about(&mut out, results);
    // The content of a script element ends at `</`, whatever it means.
    let json = json.to_string().replace("</", "<\\/");
    let _ = write!(
        out,
        "</main>\n<div id=\"tip\" role=\"status\" hidden></div>\n\
         <script type=\"application/json\" id=\"results\">{json}</script>\n<script>\n{SCRIPT}</script>\n</html>\n"
    );
    out
}

fn name(speed: &Speed) -> String {
    match speed.asked_per_second {
        None => "full speed".to_owned(),
        Some(rate) => format!("{rate} requests/s"),
    }
}

fn section(out: &mut String, title: &str, text: &str, plot: &str) {
    let _ = write!(
        out,
        "<section>\n<h2>{title}</h2>\n<p class=\"note\">{text}</p>\n{plot}</section>\n"
    );
}

/// The figures that one looks for first.
fn tiles(out: &mut String, results: &Results) {
    let mut tiles: Vec<(String, &str, String)> = Vec::new();
    if let Some(cold) = &results.cold_starts {
        tiles.push((
            duration(cold.fresh_us.p50),
            "fresh sandbox, request to response",
            format!("guest runs after {}", duration(cold.fresh_to_guest_us.median)),
        ));
    }
    if let Some(full) = &results.full_speed {
        let SeriesSummary { min, median, max, .. } = full.per_second;
        tiles.push((
            format!("{}/s", thousands(median)),
            "requests at full speed",
            format!("{} to {}", thousands(min), thousands(max)),
        ));
    }
    if let Some(fixed) = &results.fixed_rate {
        tiles.push((
            duration(fixed.latency.p99),
            "p99 at a fixed rate",
            format!("at {}/s", thousands(fixed.asked_per_second.unwrap_or(0).into())),
        ));
    }
    if let Some(cpu) = results.full_speed.as_ref().and_then(|full| full.cpu_us.as_ref()) {
        tiles.push((
            duration(cpu.median),
            "server CPU per request",
            format!("{} to {}", duration(cpu.min), duration(cpu.max)),
        ));
    }
    *out += "<ul class=\"tiles\">\n";
    for (value, what, more) in tiles {
        let _ = writeln!(
            out,
            "<li><span class=\"value\">{value}</span><span class=\"what\">{what}</span><span class=\"more\">{more}</span></li>"
        );
    }
    *out += "</ul>\n";
}

/// Names and times in microseconds, from the shortest to the longest.
fn cold_starts(cold: &ColdStarts) -> Vec<(&'static str, SeriesSummary)> {
    let scaled = |series: &SeriesSummary, factor: f64| {
        SeriesSummary::new(series.values.iter().map(|value| value * factor).collect())
    };
    let quantiles = &cold.fresh_us;
    // A thousand dots would be a line: those of the curve stand for all.
    let fresh = quantiles.curve.iter().map(|(_, time)| *time).chain([quantiles.max]).collect();
    let fresh = SeriesSummary { median: quantiles.p50, ..SeriesSummary::new(fresh) };
    vec![
        ("fresh, to the guest", cold.fresh_to_guest_us.clone()),
        ("fresh, to the response", fresh),
        ("scaled to zero, in process", scaled(&cold.scaled_to_zero_ms, 1e3)),
        ("start of the host", scaled(&cold.host_start_ms, 1e3)),
        ("deploy", scaled(&cold.deploy_ms, 1e3)),
    ]
}

fn figures(out: &mut String, results: &Results, speeds: &[(String, &Speed)]) {
    *out += "<section>\n<h2>All figures</h2>\n<div class=\"scroll\">\n";
    if let Some(cold) = &results.cold_starts {
        *out += "<table><thead><tr><th>cold start</th><th>median</th><th>least</th><th>most</th><th>measured</th></tr></thead>\n";
        for (name, series) in cold_starts(cold) {
            let _ = writeln!(
                out,
                "<tr><th>{name}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                duration(series.median),
                duration(series.min),
                duration(series.max),
                if name == "fresh, to the response" {
                    format!("{} times", cold.fresh_us.count)
                } else {
                    format!("{} times", series.count)
                },
            );
        }
        *out += "</table>\n";
    }
    *out += "<table><thead><tr><th>load</th><th>requests/s</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th>\
             <th>longest</th><th>CPU each</th><th>failed</th><th>not sent</th></tr></thead>\n";
    for (name, speed) in speeds {
        let latency = &speed.latency;
        let _ = writeln!(
            out,
            "<tr><th>{name}</th><td>{} <small>{} to {}</small></td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td></tr>",
            thousands(speed.per_second.median),
            thousands(speed.per_second.min),
            thousands(speed.per_second.max),
            duration(latency.p50),
            duration(latency.p90),
            duration(latency.p99),
            duration(latency.p999),
            duration(latency.max),
            speed.cpu_us.as_ref().map_or("-".to_owned(), |cpu| duration(cpu.median)),
            speed.error_count(),
            speed.unsent,
        );
    }
    *out += "</table>\n</div>\n</section>\n";
}

fn about(out: &mut String, results: &Results) {
    let load = &results.load;
    let _ = write!(
        out,
        "<section>\n<h2>Where and how</h2>\n<dl>\n<dt>Machine</dt><dd>{}</dd>\n<dt>Steadiness</dt><dd{}>{}</dd>\n\
         <dt>Load</dt><dd>{} from {}, {} of {} s; the generator ran on the same machine as the \
         server, unless a URL elsewhere was measured</dd>\n<dt>Version</dt><dd>lacewing {}, <time data-seconds=\"{}\"></time></dd>\n\
         </dl>\n{}<p><button type=\"button\" id=\"save\">Save the results as JSON</button></p>\n</section>\n",
        escape(&results.machine.describe()),
        if results.steadiness.is_noisy() { " class=\"alarm\"" } else { "" },
        escape(&results.steadiness.describe()),
        counted(load.connections, "connection"),
        counted(load.threads, "thread"),
        counted(load.rounds, "round"),
        load.duration_s,
        escape(results.version),
        results.time,
        strips(&[(
            "the same loop, again and again",
            SeriesSummary::new(
                results.steadiness.loop_ms.values.iter().map(|ms| ms * 1e3).collect()
            ),
        )]),
    );
}

/// `76800.4` is `76,800`.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_readable() {
        assert_eq!(
            [7.0, 999.6, 12_345.0, 1_234_567.0].map(thousands),
            ["7", "1,000", "12,345", "1,234,567"]
        );
    }
}
