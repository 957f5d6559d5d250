//! The rates of rounds, and their medians.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Answers;

/// The answers of each round of one row.
#[derive(Default)]
pub struct Rates {
    per_second: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
}

impl Rates {
    /// Adds a round that lasted for `time`.
    pub fn add(&mut self, answers: &Answers, time: Duration) {
        let times = answers.of(&[200, 204]);
        #[expect(clippy::cast_precision_loss)]
        self.per_second.push(times.count as f64 / time.as_secs_f64());
        self.p50_ms.push(times.p50_ms);
        self.p99_ms.push(times.p99_ms);
    }

    /// Good answers per second, the median of the rounds.
    pub fn per_second(&self) -> f64 {
        median(&self.per_second)
    }

    /// The medians as JSON.
    pub fn figures(&self) -> Value {
        json!({
            "per_second": (self.per_second() * 10.0).round() / 10.0,
            "p50_ms": median(&self.p50_ms),
            "p99_ms": median(&self.p99_ms),
        })
    }
}

/// The number in the middle.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
