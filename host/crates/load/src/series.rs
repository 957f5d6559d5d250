//! Figures of the same thing, measured several times.

use serde::Serialize;

/// The summary of a row of measurements. All in the unit of the measurements.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SeriesSummary {
    /// How many there are.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The largest.
    pub max: f64,
    /// All of them, in the order in which they were measured.
    pub values: Vec<f64>,
}

impl SeriesSummary {
    /// Of at least one value: an empty series is all zeros.
    pub fn new(values: Vec<f64>) -> SeriesSummary {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else {
            return SeriesSummary::default();
        };
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        SeriesSummary { count: sorted.len(), min: *min, median, max: *max, values }
    }

    /// The whole range, as a fraction of the median.
    pub fn spread(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.max - self.min) / self.median }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        let odd = SeriesSummary::new(vec![3.0, 1.0, 2.0]);
        assert_eq!((odd.count, odd.min, odd.median, odd.max), (3, 1.0, 2.0, 3.0));
        assert_eq!(odd.values, [3.0, 1.0, 2.0]);
        assert_eq!(SeriesSummary::new(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(SeriesSummary::new(Vec::new()), SeriesSummary::default());
    }

    #[test]
    fn the_spread_is_relative() {
        assert_eq!(SeriesSummary::new(vec![8.0, 10.0, 12.0]).spread(), 0.4);
        assert_eq!(SeriesSummary::default().spread(), 0.0);
    }
}
