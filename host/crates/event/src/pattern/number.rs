//! Numbers that compare by their exact values.

use std::cmp::Ordering;

/// A JSON number: `300`, `300.0` and `3e2` are one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    /// A whole number of fewer than 127 bits.
    Whole(i128),
    /// Another number: a fraction, or one of magnitude 2¹²⁶ and more.
    Other(f64),
}

/// The magnitude from which a float stays a float: 2¹²⁶. Every such float is whole.
const HUGE: f64 = (1_u128 << 126) as f64;

impl Number {
    /// `None` for a number that no `f64` holds.
    pub(super) fn new(number: &serde_json::Number) -> Option<Number> {
        match number.as_i128() {
            Some(whole) => Some(Number::Whole(whole)),
            None => number.as_f64().filter(|float| float.is_finite()).map(Number::of_float),
        }
    }

    // The cast is exact: the float is whole and below 2¹²⁶.
    #[allow(clippy::cast_possible_truncation)]
    fn of_float(float: f64) -> Number {
        match float.fract() == 0.0 && float.abs() < HUGE {
            true => Number::Whole(float as i128),
            false => Number::Other(float),
        }
    }

    /// A text of bits that is the same for equal numbers.
    fn bits(self) -> (bool, i128) {
        match self {
            Number::Whole(whole) => (true, whole),
            Number::Other(float) => (false, i128::from(float.to_bits())),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Number {}

impl std::hash::Hash for Number {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        // Rounding of a whole number to a float moves it past no fraction and to no huge number.
        match (*self, *other) {
            (Number::Whole(one), Number::Whole(other)) => one.cmp(&other),
            (Number::Whole(one), Number::Other(other)) => (one as f64).total_cmp(&other),
            (Number::Other(one), Number::Whole(other)) => one.total_cmp(&(other as f64)),
            (Number::Other(one), Number::Other(other)) => one.total_cmp(&other),
        }
    }
}

/// An interval of numbers: `None` is no bound, and the flag says whether the bound is within.
#[derive(Clone, Debug, Default)]
pub(super) struct Range {
    pub(super) low: Option<(Number, bool)>,
    pub(super) high: Option<(Number, bool)>,
}

impl Range {
    pub(super) fn contains(&self, number: Number) -> bool {
        let above = self.low.is_none_or(|(low, within)| number > low || within && number == low);
        let below =
            self.high.is_none_or(|(high, within)| number < high || within && number == high);
        above && below
    }

    pub(super) fn is_empty(&self) -> bool {
        match (self.low, self.high) {
            (Some((low, low_within)), Some((high, high_within))) => {
                low > high || low == high && !(low_within && high_within)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::new(&serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn one_value_has_one_form() {
        for (one, other) in [("300", "3.0e2"), ("0", "-0.0"), ("1e20", "100000000000000000000")] {
            assert_eq!(number(one), number(other), "{one} {other}");
        }
    }

    #[test]
    fn order_is_exact() {
        let ordered = [
            "-1e300",
            "-9223372036854775808",
            "-1.5",
            "-1e-320",
            "0",
            "1e-320",
            "0.1",
            "1",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551614",
            "18446744073709551615",
            "18446744073709551616",
            "1e300",
        ];
        for (at, one) in ordered.iter().enumerate() {
            for (other_at, other) in ordered.iter().enumerate() {
                assert_eq!(number(one).cmp(&number(other)), at.cmp(&other_at), "{one} {other}");
            }
        }
    }
}
