//! The bounds of metrics.

use serde::{Deserialize, Serialize};

use super::raw::RawMetrics;
use super::settings::{number, small};
use crate::Findings;

/// The bounds of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counting {
    /// Functions that have series of their own, in the whole host. Key: `max_functions`. Default
    /// 2,000, which is also OpenTelemetry's default for the attribute sets of a metric: each
    /// function is some 7 KiB of a scrape, and a kilobyte in memory. Tenants share them by
    /// weight; a tenant's functions over its part are counted together, as function `_merged` of
    /// app `_merged`. Nothing is refused.
    pub max_functions: u32,
}

impl Default for Counting {
    fn default() -> Counting {
        Counting { max_functions: 2000 }
    }
}

impl Counting {
    pub(super) fn read(raw: &RawMetrics, findings: &mut Findings) -> Counting {
        let default = Counting::default().max_functions.into();
        let functions = number("max_functions", &raw.max_functions, 0..=100_000, default, findings);
        Counting { max_functions: small(functions) }
    }
}
