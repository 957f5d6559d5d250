//! The goals of this host, and the results of a run beside them.

use lacewing_load::series::SeriesSummary;
use serde::Serialize;

use crate::{
    latency::RATED,
    results::{Results, Throughput},
};

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) must: f64,
    pub(crate) aim: f64,
    /// Whether more is better.
    pub(crate) more: bool,
    /// The ratio of medians, or the median.
    pub(crate) value: Option<f64>,
    /// The lowest and the highest of the rounds.
    pub(crate) range: Option<(f64, f64)>,
}

/// The result of a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Aim,
    Must,
    Missed,
    NotMeasured,
}

impl Goal {
    fn less(title: &'static str, unit: &'static str, must: f64, aim: f64) -> Goal {
        Goal { title, unit, must, aim, more: false, value: None, range: None }
    }

    fn more(title: &'static str, unit: &'static str, must: f64, aim: f64) -> Goal {
        Goal { more: true, ..Goal::less(title, unit, must, aim) }
    }

    /// With a value and a range, if there are some.
    fn of(self, found: Option<(f64, f64, f64)>) -> Goal {
        let value = found.map(|(value, _, _)| value);
        Goal { value, range: found.map(|(_, low, high)| (low, high)), ..self }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let reaches = |value: f64, goal: f64| if self.more { value >= goal } else { value <= goal };
        match self.value {
            None => Verdict::NotMeasured,
            Some(value) if reaches(value, self.aim) => Verdict::Aim,
            Some(value) if reaches(value, self.must) => Verdict::Must,
            Some(_) => Verdict::Missed,
        }
    }
}

/// The ratio of the medians, and the range of the ratios of rounds.
fn ratio(ours: Option<SeriesSummary>, theirs: Option<SeriesSummary>) -> Option<(f64, f64, f64)> {
    let (ours, theirs) = (ours?, theirs?);
    if theirs.median == 0.0 {
        return None;
    }
    let rounds = ours.values.iter().zip(&theirs.values).map(|(ours, theirs)| ours / theirs);
    let rounds = SeriesSummary::new(rounds.collect());
    Some((ours.median / theirs.median, rounds.min, rounds.max))
}

fn difference(
    ours: Option<SeriesSummary>,
    theirs: Option<SeriesSummary>,
) -> Option<(f64, f64, f64)> {
    let (ours, theirs) = (ours?, theirs?);
    let rounds = ours.values.iter().zip(&theirs.values).map(|(ours, theirs)| ours - theirs);
    let rounds = SeriesSummary::new(rounds.collect());
    Some((ours.median - theirs.median, rounds.min, rounds.max))
}

/// The table, in its order.
pub(crate) fn of(results: &Results) -> Vec<Goal> {
    let mut goals = of_throughput(results);
    goals.extend(of_latency_and_starts(results));
    goals.extend(of_figures(results));
    goals
}

fn of_throughput(results: &Results) -> Vec<Goal> {
    let rate = |row: &str| results.rounds(row, |round: &Throughput| round.per_second);
    let cpu = |row: &str| results.rounds(row, |round: &Throughput| round.cpu_us);
    let over = |ours: &str, theirs: &str| ratio(rate(ours), rate(theirs));
    vec![
        Goal::more(
            "lean path, fresh sandbox per request, of native hyper's throughput",
            "x",
            0.55,
            0.70,
        )
        .of(over(RATED, "native")),
        Goal::more("the same of native hyper's on event loops like ours", "x", 0.55, 0.70)
            .of(over(RATED, "native-loops")),
        Goal::more("the same over wasmtime serve, wasi:http 0.2, its defaults", "x", 6.0, 9.0)
            .of(over(RATED, "wasmtime-02")),
        Goal::more(
            "the same over wasmtime serve, wasi:http 0.3, its defaults (which reuse)",
            "x",
            1.3,
            1.7,
        )
        .of(over(RATED, "wasmtime-03")),
        Goal::more(
            "the same over wasmtime serve, wasi:http 0.2, told to reuse 128 times",
            "x",
            1.0,
            1.3,
        )
        .of(over(RATED, "wasmtime-02-reuse")),
        Goal::more("the same over Spin, wasi:http 0.2, its defaults", "x", 3.5, 5.0)
            .of(over(RATED, "spin-02")),
        Goal::more("the same over workerd", "x", 3.0, 5.0).of(over(RATED, "workerd")),
        Goal::less("server's CPU per request, over native hyper's", "us", 7.0, 4.5)
            .of(difference(cpu(RATED), cpu("native"))),
        Goal::more("portable 0.2, same bytes, fresh, over wasmtime serve", "x", 2.0, 4.0)
            .of(over("lacewing-02", "wasmtime-02")),
        Goal::more("portable 0.3, same bytes, reuse on, over wasmtime serve", "x", 1.0, 1.5)
            .of(over("lacewing-03-reuse", "wasmtime-03")),
    ]
}

fn of_latency_and_starts(results: &Results) -> Vec<Goal> {
    let p99 = |row: &str| {
        let rounds = results.latency.get(row)?;
        Some(SeriesSummary::new(rounds.iter().map(|round| round.p99_us).collect()))
    };
    let cached = |row: &str| Some(results.starts.get(row)?.cached_ms.clone());
    vec![
        Goal::less(
            "in process, admission to return of a hello, fresh, over raw Wasmtime",
            "x",
            1.3,
            1.1,
        )
        .of(ratio(figure(results, "in_process_ns"), figure(results, "in_process_raw_ns"))),
        Goal::less(
            "p99 at half of the maximum rate, over native's at the same rate",
            "x",
            2.5,
            1.5,
        )
        .of(ratio(p99(RATED), p99("native"))),
        Goal::less(
            "host start to first response, cached, one function, over wasmtime serve",
            "x",
            1.2,
            0.7,
        )
        .of(ratio(cached("lacewing-02"), cached("wasmtime-02"))),
    ]
}

fn of_figures(results: &Results) -> Vec<Goal> {
    let of = |name: &str| {
        let series = figure(results, name)?;
        (series.count > 0).then_some((series.median, series.min, series.max))
    };
    vec![
        Goal::less(
            "first request to a function scaled to zero, 10,000 registered, 256 resident: p99",
            "ms",
            1.0,
            0.5,
        )
        .of(of("residency_p99_ms")),
        Goal::less("resident memory per registered idle function, at 100,000", "KiB", 2.0, 1.0)
            .of(of("residency_idle_kib")),
        Goal::less(
            "host start to first response with 10,000 functions registered",
            "ms",
            50.0,
            15.0,
        )
        .of(of("residency_start_ms")),
        Goal::less(
            "10,000 invocations suspended in a hostcall at once: memory each",
            "KiB",
            400.0,
            150.0,
        )
        .of(of("suspended_kib")),
        Goal::less(
            "a guest with 100 ms of init, snapshotted: fresh start over hello's",
            "x",
            1.5,
            1.1,
        )
        .of(of("snapshot_ratio")),
        Goal::less("epoch: slowdown of compute, median of the programs", "x", 1.10, 1.05)
            .of(of("compute_epoch")),
        Goal::less("fuel: slowdown of compute, median of the programs", "x", 1.35, 1.20)
            .of(of("compute_fuel")),
        Goal::more("2 threads over 1, throughput of fresh in-process calls", "x", 1.7, 1.95)
            .of(of("threads_ratio")),
    ]
}

fn figure(results: &Results, name: &str) -> Option<SeriesSummary> {
    Some(SeriesSummary::new(results.figures.get(name)?.values.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_from_its_own_side() {
        let verdict = |goal: Goal, value: f64| goal.of(Some((value, value, value))).verdict();
        let less = || Goal::less("", "", 2.0, 1.0);
        let more = || Goal::more("", "", 1.0, 2.0);
        assert_eq!(less().verdict(), Verdict::NotMeasured);
        assert_eq!(
            [1.0, 2.0, 2.1].map(|value| verdict(less(), value)),
            [Verdict::Aim, Verdict::Must, Verdict::Missed]
        );
        assert_eq!(
            [2.0, 1.0, 0.9].map(|value| verdict(more(), value)),
            [Verdict::Aim, Verdict::Must, Verdict::Missed]
        );
    }

    #[test]
    fn a_ratio_is_of_medians_and_its_range_of_rounds() {
        let series = |values: &[f64]| Some(SeriesSummary::new(values.to_vec()));
        assert_eq!(
            ratio(series(&[10.0, 20.0, 30.0]), series(&[10.0, 10.0, 5.0])),
            Some((2.0, 1.0, 6.0))
        );
        assert_eq!(ratio(series(&[1.0]), None), None);
    }
}
