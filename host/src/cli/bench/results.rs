//! Everything that one run has found. Its JSON is what `--json` prints, and what the report's page
//! carries.

use std::collections::BTreeMap;

use lacewing_load::{
    generator::{Histogram, Measured},
    machine::{Machine, Steadiness},
    series::SeriesSummary,
};
use serde::Serialize;

/// A run of `lacewing bench`.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    /// Of this program.
    pub(super) version: &'static str,
    /// Seconds since 1970.
    pub(super) time: u64,
    /// Whether this program was compiled without optimisation, and its figures mean nothing.
    pub(super) debug_build: bool,
    pub(super) machine: Machine,
    pub(super) steadiness: Steadiness,
    pub(super) subject: MeasuredProgram,
    pub(super) cold_starts: Option<ColdStarts>,
    pub(super) load: LoadSettings,
    /// As fast as answers come.
    pub(super) full_speed: Option<Speed>,
    /// At a fixed rate.
    pub(super) fixed_rate: Option<Speed>,
}

/// The program that was measured.
#[derive(Debug, Serialize)]
pub(super) struct MeasuredProgram {
    /// The function's full name, or the URL.
    pub(super) name: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: u16,
    pub(super) response_bytes: usize,
}

/// The four figures, always apart.
#[derive(Debug, Serialize)]
pub(super) struct ColdStarts {
    /// The function is resident: from admission to the guest's first instruction, in microseconds.
    /// Each value is the mean of a batch.
    pub(super) fresh_to_guest_us: SeriesSummary,
    /// The same, to the whole response.
    pub(super) fresh_us: Quantiles,
    /// Registered and not resident: from admission, its artifact is checked, mapped from disk and
    /// linked, to the whole response. In process, without a socket.
    pub(super) scaled_to_zero_ms: SeriesSummary,
    /// Start of the process to the first response, artifacts cached.
    pub(super) host_start_ms: SeriesSummary,
    /// The component is new: compiled, written to the cache, and answers.
    pub(super) deploy_ms: SeriesSummary,
}

/// How load was made.
#[derive(Debug, Serialize)]
pub(super) struct LoadSettings {
    pub(super) connections: u32,
    pub(super) threads: u32,
    pub(super) duration_s: u32,
    pub(super) rounds: u32,
}

/// The answers of all rounds of one kind.
#[derive(Debug, Serialize)]
pub(super) struct Speed {
    /// Requests per second that were asked for, where the rate was fixed.
    pub(super) asked_per_second: Option<u32>,
    pub(super) per_second: SeriesSummary,
    /// Of each round.
    pub(super) p50_us: SeriesSummary,
    /// Of each round.
    pub(super) p99_us: SeriesSummary,
    /// Over all rounds together.
    pub(super) latency: Quantiles,
    /// CPU time of the server, of user and kernel, for each request. None where the server is not
    /// ours to look at.
    pub(super) cpu_us: Option<SeriesSummary>,
    /// Most resident memory of the server, in bytes.
    pub(super) peak_bytes: Option<u64>,
    pub(super) responses: u64,
    pub(super) errors: BTreeMap<&'static str, u64>,
    pub(super) first_error: Option<String>,
    /// Requests that were due and never got a connection.
    pub(super) unsent: u64,
    /// Good answers in each tenth of a second, of all rounds one after the other.
    pub(super) timeline: Vec<u32>,
}

/// Latencies, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Quantiles {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
    /// The whole curve: (quantile, latency), denser towards 1.
    pub(super) curve: Vec<(f64, f64)>,
}

/// Steps of the curve for each factor of ten in `1 / (1 - quantile)`.
const CURVE_STEPS: i32 = 12;

impl Quantiles {
    /// Of latencies in nanoseconds.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn of(histogram: &Histogram<u64>) -> Quantiles {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
        let count = histogram.len();
        let mut curve = Vec::new();
        for step in 0.. {
            let beyond = 10_f64.powf(-f64::from(step) / f64::from(CURVE_STEPS));
            // Fewer than one value lies beyond.
            if beyond * (count as f64) < 1.0 {
                break;
            }
            curve.push((1.0 - beyond, at(1.0 - beyond)));
        }
        Quantiles {
            count,
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e3,
            curve,
        }
    }
}

/// One round, with what the server used in it.
pub(super) struct Round {
    pub(super) measured: Measured,
    pub(super) cpu_us: Option<f64>,
    pub(super) peak_bytes: Option<u64>,
}

impl Speed {
    /// Of at least one round.
    pub(super) fn of(asked_per_second: Option<u32>, rounds: &[Round]) -> Speed {
        let series = |value: &dyn Fn(&Measured) -> f64| {
            SeriesSummary::new(rounds.iter().map(|round| value(&round.measured)).collect())
        };
        let mut latency: Option<Histogram<u64>> = None;
        let mut errors = BTreeMap::new();
        for round in rounds {
            match &mut latency {
                // They are made alike, so that adding cannot fail.
                Some(sum) => drop(sum.add(&round.measured.latency)),
                None => latency = Some(round.measured.latency.clone()),
            }
            for (what, count) in &round.measured.errors {
                *errors.entry(*what).or_default() += count;
            }
        }
        let cpu: Option<Vec<f64>> = rounds.iter().map(|round| round.cpu_us).collect();
        Speed {
            asked_per_second,
            per_second: series(&Measured::per_second),
            p50_us: series(&|measured| measured.quantile_us(0.5)),
            p99_us: series(&|measured| measured.quantile_us(0.99)),
            latency: latency.map_or_else(Quantiles::none, |latency| Quantiles::of(&latency)),
            cpu_us: cpu.map(SeriesSummary::new),
            peak_bytes: rounds.iter().filter_map(|round| round.peak_bytes).max(),
            responses: rounds.iter().map(|round| round.measured.responses).sum(),
            errors,
            first_error: rounds.iter().find_map(|round| round.measured.first_error.clone()),
            unsent: rounds.iter().map(|round| round.measured.unsent).sum(),
            timeline: rounds.iter().flat_map(|round| round.measured.timeline.clone()).collect(),
        }
    }

    /// Everything that went wrong.
    pub(super) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Quantiles {
    fn none() -> Quantiles {
        let (count, zero) = (0, 0.0);
        let curve = Vec::new();
        Quantiles {
            count,
            mean: zero,
            p50: zero,
            p90: zero,
            p99: zero,
            p999: zero,
            max: zero,
            curve,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_values_end() {
        let mut histogram = Histogram::new(3).unwrap();
        for microseconds in 1..=1000_u64 {
            histogram.record(microseconds * 1000).unwrap();
        }
        let quantiles = Quantiles::of(&histogram);
        assert_eq!((quantiles.count, quantiles.curve.len()), (1000, 37));
        assert_eq!(quantiles.curve[0].0, 0.0);
        assert!((quantiles.curve[36].0 - 0.999).abs() < 1e-9);
        assert!((quantiles.p50 - 500.0).abs() < 1.0, "{}", quantiles.p50);
        assert!((quantiles.max - 1000.0).abs() < 1.0, "{}", quantiles.max);
    }
}
