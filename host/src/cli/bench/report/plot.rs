//! Plots as inline SVG. Colours are the page's; what a mark stands for is in its `data-tip`.

use lacewing_load::{generator::TIMELINE_STEP, series::SeriesSummary};

use std::fmt::Write as _;

use super::super::{results::Speed, table::duration};

/// Of every plot, in the units of its view box; the page scales it.
const WIDTH: f64 = 900.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 24.0;

/// Text for HTML and for SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// From values to places along an axis.
#[derive(Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let place =
            |value: f64| if self.log { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let (low, high) = (place(self.low), place(self.high));
        let share = if high > low { (place(value) - low) / (high - low) } else { 0.5 };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Logarithmic, over whole factors of ten around all values.
    fn decades(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        let low = 10_f64.powf(low.log10().floor());
        let high = 10_f64.powf(high.log10().ceil()).max(low * 10.0);
        Axis { low, high, from, to, log: true }
    }

    /// The factors of ten.
    fn ticks(&self) -> Vec<f64> {
        let mut ticks = vec![self.low];
        while let Some(last) = ticks.last().copied().filter(|last| *last < self.high * 0.99) {
            ticks.push(last * 10.0);
        }
        ticks
    }
}

fn begin(height: f64, label: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n",
        escape(label)
    )
}

/// A row of dots for each name, along one logarithmic axis of time. Values are microseconds.
// Writing into a `String` does not fail, here and below.
pub(super) fn strips(rows: &[(&str, SeriesSummary)]) -> String {
    const ROW: f64 = 44.0;
    const AXIS: f64 = 26.0;
    #[allow(clippy::cast_precision_loss)]
    let bottom = ROW * rows.len() as f64;
    let mut out = begin(bottom + AXIS, "times");
    let values = rows.iter().flat_map(|(_, series)| series.values.iter().copied());
    let x = Axis::decades(values, LEFT, WIDTH - RIGHT - 70.0);
    for tick in x.ticks() {
        let at = x.at(tick);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{bottom}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            whole(tick),
        );
    }
    let mut middle = ROW / 2.0;
    for (name, series) in rows {
        let name = escape(name);
        let _ = writeln!(
            out,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            LEFT - 16.0,
            middle + 4.0
        );
        for value in &series.values {
            let _ = writeln!(
                out,
                "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"4\" data-tip=\"{name}: {}\"/>",
                x.at(*value),
                duration(*value)
            );
        }
        let (at, median) = (x.at(series.median), duration(series.median));
        let _ = writeln!(
            out,
            "<line class=\"median\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" data-tip=\"{name}: median {median}\"/>\
             <text class=\"figure\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{median}</text>",
            middle - 12.0,
            middle + 12.0,
            WIDTH - 4.0,
            middle + 4.0,
        );
        middle += ROW;
    }
    out + "</svg>\n"
}

const HEIGHT: f64 = 320.0;
const BOTTOM: f64 = 276.0;
const TOP: f64 = 14.0;
const EDGE: f64 = 70.0;
/// The width of the longest label below the axis, `p99.9999`.
const LABEL: f64 = 64.0;

/// Latency by percentile; the axis gives each factor of ten of rarity the same room.
pub(super) fn curves(speeds: &[(String, &Speed)]) -> String {
    let rarity = |quantile: f64| -(1.0 - quantile).log10();
    let points = || speeds.iter().flat_map(|(_, speed)| speed.latency.curve.iter());
    let rarest = points().map(|(quantile, _)| rarity(*quantile)).fold(1.0, f64::max);
    let x = Axis { low: 0.0, high: rarest, from: EDGE, to: WIDTH - RIGHT, log: false };
    let y = Axis::decades(points().map(|(_, time)| *time), BOTTOM, TOP);
    let mut out = legend(speeds);
    out += &begin(HEIGHT, "latency by percentile");
    for tick in y.ticks() {
        horizontal(&mut out, y.at(tick), &whole(tick));
    }
    for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999_999] {
        if rarity(quantile) <= rarest {
            let name = format!("{:.6}", quantile * 100.0);
            let name = name.trim_end_matches('0').trim_end_matches('.').to_owned();
            let at = x.at(rarity(quantile));
            // A label around the right edge would be cut off there.
            let anchor = if at + LABEL / 2.0 > WIDTH { "end" } else { "middle" };
            vertical(&mut out, at, (anchor, &format!("p{name}")));
        }
    }
    for (index, (name, speed)) in speeds.iter().enumerate() {
        let mut path = String::new();
        for (quantile, time) in &speed.latency.curve {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", x.at(rarity(*quantile)), y.at(*time));
        }
        let _ = writeln!(out, "<path class=\"line s{index}\" d=\"{path}\"/>");
        for (quantile, time) in &speed.latency.curve {
            let percent = quantile * 100.0;
            let _ = writeln!(
                out,
                "<circle class=\"spot s{index}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"7\" data-tip=\"{name}: {percent:.3} % within {}\"/>",
                x.at(rarity(*quantile)),
                y.at(*time),
                duration(*time)
            );
        }
    }
    out + "</svg>\n"
}

/// Good answers per second along time, with a line between rounds.
#[allow(clippy::cast_precision_loss)]
pub(super) fn timeline(speeds: &[(String, &Speed)], rounds: u32) -> String {
    let per_second = |count: u32| f64::from(count) / TIMELINE_STEP.as_secs_f64();
    let most = speeds.iter().flat_map(|(_, speed)| &speed.timeline).copied().max().unwrap_or(0);
    let steps = speeds.iter().map(|(_, speed)| speed.timeline.len()).max().unwrap_or(0);
    let high = round_up(per_second(most).max(1.0));
    let x = Axis { low: 0.0, high: steps as f64, from: EDGE, to: WIDTH - RIGHT, log: false };
    let y = Axis { low: 0.0, high, from: BOTTOM, to: TOP, log: false };
    let mut out = legend(speeds);
    out += &begin(HEIGHT, "throughput over time");
    for quarter in 0..=4 {
        let value = high * f64::from(quarter) / 4.0;
        horizontal(&mut out, y.at(value), &super::thousands(value));
    }
    for round in 0..rounds {
        let from = steps as f64 * f64::from(round) / f64::from(rounds);
        vertical(&mut out, x.at(from), ("start", &format!("round {}", round + 1)));
    }
    for (index, (name, speed)) in speeds.iter().enumerate() {
        let mut path = String::new();
        for (step, count) in speed.timeline.iter().enumerate() {
            let command = if step == 0 { 'M' } else { 'L' };
            let _ = write!(
                path,
                "{command}{:.1} {:.1}",
                x.at(step as f64 + 0.5),
                y.at(per_second(*count))
            );
        }
        let _ = writeln!(out, "<path class=\"line s{index}\" d=\"{path}\"/>");
        for (step, count) in speed.timeline.iter().enumerate() {
            let _ = writeln!(
                out,
                "<circle class=\"spot s{index}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"7\" data-tip=\"{name}: {}/s after {:.1} s\"/>",
                x.at(step as f64 + 0.5),
                y.at(per_second(*count)),
                super::thousands(per_second(*count)),
                step as f64 * TIMELINE_STEP.as_secs_f64(),
            );
        }
    }
    out + "</svg>\n"
}

fn legend(speeds: &[(String, &Speed)]) -> String {
    let mut out = "<ul class=\"legend\">".to_owned();
    for (index, (name, _)) in speeds.iter().enumerate() {
        let _ = write!(out, "<li class=\"s{index}\">{}</li>", escape(name));
    }
    out + "</ul>\n"
}

fn horizontal(out: &mut String, at: f64, label: &str) {
    let _ = writeln!(
        out,
        "<line class=\"grid\" x1=\"{EDGE}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
         <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
        WIDTH - RIGHT,
        EDGE - 10.0,
        at + 4.0,
    );
}

fn vertical(out: &mut String, at: f64, (anchor, label): (&str, &str)) {
    let _ = writeln!(
        out,
        "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
         <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{label}</text>",
        BOTTOM + 20.0,
    );
}

/// `10 µs`, `1 ms`: a factor of ten has no decimals to show.
fn whole(microseconds: f64) -> String {
    match microseconds {
        time if time >= 1e6 => format!("{:.0} s", time / 1e6),
        time if time >= 1e3 => format!("{:.0} ms", time / 1e3),
        time if time >= 1.0 => format!("{time:.0} \u{b5}s"),
        time => format!("{:.0} ns", time * 1e3),
    }
}

/// To 1, 2, 4 or 8 times a factor of ten, whose quarters are readable.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 8.0, 10.0];
    steps.map(|step| step * decade).into_iter().find(|step| *step >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_covers_whole_decades() {
        let axis = Axis::decades([3.0, 4500.0].into_iter(), 0.0, 100.0);
        assert_eq!(axis.ticks().len(), 5);
        assert_eq!((axis.at(1.0), axis.at(10_000.0)), (0.0, 100.0));
        assert!((axis.at(100.0) - 50.0).abs() < 1e-9);
        let empty = Axis::decades([].into_iter(), 0.0, 100.0);
        assert_eq!((empty.low, empty.high), (1.0, 10.0));
    }

    #[test]
    fn tops_of_axes_are_readable() {
        assert_eq!([1.0, 1.1, 76_800.0, 81_000.0].map(round_up), [1.0, 2.0, 80_000.0, 100_000.0]);
        assert_eq!([0.1, 1.0, 1e4, 1e6].map(whole), ["100 ns", "1 \u{b5}s", "10 ms", "1 s"]);
    }

    #[test]
    fn names_are_text() {
        let text = strips(&[("<b>\"&", SeriesSummary::new(vec![1.0]))]);
        assert!(text.contains("&lt;b&gt;&quot;&amp;") && !text.contains("<b>"), "{text}");
    }
}
