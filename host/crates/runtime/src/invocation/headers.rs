//! The size that the header of a function's request or response may have.

use http::HeaderMap;
use lacewing_base::Limits;

/// How a header is over the limits of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It has too many fields.
    Count {
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: u32,
    },
    /// Its names and values are too long together.
    Bytes {
        /// How many bytes they have.
        bytes: usize,
        /// How many they may have.
        limit_bytes: u32,
    },
}

impl Excess {
    /// How so many fields, with so many bytes of names and values, are over a function's limits, if
    /// they are.
    pub(super) fn of(count: usize, bytes: usize, limits: &Limits) -> Option<Excess> {
        Excess::over(count, bytes, limits.headers, limits.header_bytes)
    }

    fn over(count: usize, bytes: usize, limit: u32, limit_bytes: u32) -> Option<Excess> {
        let over = |measure: usize, limit: u32| u32::try_from(measure).map_or(true, |m| m > limit);
        if over(count, limit) {
            return Some(Excess::Count { count, limit });
        }
        over(bytes, limit_bytes).then_some(Excess::Bytes { bytes, limit_bytes })
    }

    /// How a header is over a function's limits, if it is.
    pub fn of_headers(headers: &HeaderMap, limits: &Limits) -> Option<Excess> {
        Excess::of_fields(headers, limits.headers, limits.header_bytes)
    }

    /// The same for a header that may have so many fields, and bytes of names and values.
    pub(super) fn of_fields(headers: &HeaderMap, limit: u32, limit_bytes: u32) -> Option<Excess> {
        let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        Excess::over(headers.len(), bytes, limit, limit_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lacewing_base::fields::testing::map;

    #[test]
    fn a_header_is_over_its_limits_in_fields_or_in_bytes() {
        let limits = Limits { headers: 3, header_bytes: 40, ..Limits::default() };
        let excess = |pairs: &[(&str, &str)]| Excess::of_headers(&map(pairs), &limits);
        let count = Excess::Count { count: 4, limit: 3 };
        assert_eq!(excess(&[("a", "1"), ("a", "2"), ("a", "3")]), None);
        assert_eq!(excess(&[("a", "1"), ("a", "2"), ("a", "3"), ("a", "4")]), Some(count));
        assert_eq!(excess(&[("a", &"x".repeat(39))]), None);
        let bytes = Excess::Bytes { bytes: 41, limit_bytes: 40 };
        assert_eq!(excess(&[("a", &"x".repeat(40))]), Some(bytes));
    }
}
