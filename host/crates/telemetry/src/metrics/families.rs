//! The families whose series belong to functions and tenants, as OpenMetrics text, a piece at a
//! time.

use std::{fmt::Write as _, time::Duration};

use lacewing_base::outcome::Outcome;

use crate::{
    histogram::{self, Unit},
    metrics::{
        figures::{Figure, MAKING, PEAK, STATUS_CLASSES, Spread, Tally, WALL},
        series::{MERGED, Shown, ShownSeries, ShownTenant},
    },
};

/// A family, and where its values come from.
struct Family {
    /// Without `lacewing_`, with its unit, without `_total` and the like.
    name: &'static str,
    help: &'static str,
    unit: Option<&'static str>,
    value: Value,
}

#[derive(Clone, Copy)]
enum Value {
    /// Of the host: one sample.
    Functions,
    Info,
    Outcomes,
    Statuses,
    Count(Figure),
    /// Counted in nanoseconds.
    Seconds(Figure),
    Ready,
    Instances,
    /// Of functions whose sandboxes are made ahead, or used again.
    Tally(Tally),
    Histogram(&'static Spread),
    TenantOutcomes,
    TenantMerged,
    TenantLoads,
    TenantEvictions,
}

const SECONDS: Option<&str> = Some("seconds");
const BYTES: Option<&str> = Some("bytes");

const fn family(
    name: &'static str,
    help: &'static str,
    unit: Option<&'static str>,
    value: Value,
) -> Family {
    Family { name, help, unit, value }
}

const FAMILIES: &[Family] = &[
    family("functions", "Functions that are deployed, invoked or not", None, Value::Functions),
    family("function", "The revisions that a function serves", None, Value::Info),
    family(
        "tenant_invocations",
        "Invocations of all functions of a tenant, by outcome",
        None,
        Value::TenantOutcomes,
    ),
    family(
        "tenant_functions_merged",
        "Functions of a tenant that have no series of their own and are counted together",
        None,
        Value::TenantMerged,
    ),
    family(
        "tenant_program_loads",
        "Programs of a tenant that were loaded for a request",
        None,
        Value::TenantLoads,
    ),
    family(
        "tenant_program_evictions",
        "Programs of a tenant that were evicted for others",
        None,
        Value::TenantEvictions,
    ),
    family("invocations", "Invocations, by outcome", None, Value::Outcomes),
    family("responses", "Responses, by the class of their status", None, Value::Statuses),
    family(
        "invocation_cpu_seconds",
        "Time spent running the guest",
        SECONDS,
        Value::Seconds(Figure::CpuNs),
    ),
    family("invocation_fuel", "Fuel that metered revisions used", None, Value::Count(Figure::Fuel)),
    family(
        "invocation_input_bytes",
        "Bytes of requests' bodies and of events",
        BYTES,
        Value::Count(Figure::InputBytes),
    ),
    family(
        "invocation_output_bytes",
        "Bytes of responses' bodies and of results",
        BYTES,
        Value::Count(Figure::OutputBytes),
    ),
    family(
        "guest_log_bytes",
        "Bytes that guests printed, as far as they were logged",
        BYTES,
        Value::Count(Figure::LogBytes),
    ),
    family(
        "guest_log_dropped_bytes",
        "Bytes that guests printed over the limit",
        BYTES,
        Value::Count(Figure::LogDroppedBytes),
    ),
    family(
        "provisioned_ready",
        "Sandboxes that were made ahead and are not taken yet",
        None,
        Value::Ready,
    ),
    family(
        "provisioned_taken",
        "Invocations that took a sandbox that was made ahead",
        None,
        Value::Tally(Tally::ProvisionedTaken),
    ),
    family(
        "provisioned_missed",
        "Invocations that found no sandbox made ahead, and made their own",
        None,
        Value::Tally(Tally::ProvisionedMissed),
    ),
    family(
        "reused_instances",
        "Instances that serve more than one invocation",
        None,
        Value::Instances,
    ),
    family(
        "reused_made",
        "Instances that were made to serve more than one invocation",
        None,
        Value::Tally(Tally::ReusedMade),
    ),
    family(
        "reused_again",
        "Invocations that were served by an instance that had served before",
        None,
        Value::Tally(Tally::ReusedAgain),
    ),
    family(
        "invocation_duration_seconds",
        "Wall time from admission to the end of the response",
        SECONDS,
        Value::Histogram(&WALL),
    ),
    family(
        "sandbox_instantiation_seconds",
        "Time to make a fresh sandbox",
        SECONDS,
        Value::Histogram(&MAKING),
    ),
    family(
        "invocation_memory_peak_bytes",
        "The most linear memory that an invocation's sandbox had",
        BYTES,
        Value::Histogram(&PEAK),
    ),
];

/// How far a scrape is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    family: usize,
    /// The next of the tenants or series.
    item: usize,
}

impl Place {
    /// Appends whole lines until there are so many bytes. Gives whether there is more.
    pub(super) fn append(&mut self, shown: &Shown, out: &mut String, bytes: usize) -> bool {
        while let Some(family) = FAMILIES.get(self.family) {
            if self.item == 0 {
                family.push_head(out);
            }
            while self.item < family.value.items(shown) {
                // After the first one, so that the head is written once.
                if out.len() >= bytes && self.item > 0 {
                    return true;
                }
                family.push_item(shown, self.item, out);
                self.item += 1;
            }
            *self = Place { family: self.family + 1, item: 0 };
            if out.len() >= bytes {
                return true;
            }
        }
        false
    }
}

impl Value {
    fn kind(self) -> &'static str {
        match self {
            Value::Functions | Value::Ready | Value::Instances | Value::TenantMerged => "gauge",
            Value::Info => "info",
            Value::Histogram(_) => "histogram",
            Value::Outcomes
            | Value::Statuses
            | Value::Count(_)
            | Value::Seconds(_)
            | Value::Tally(_)
            | Value::TenantOutcomes
            | Value::TenantLoads
            | Value::TenantEvictions => "counter",
        }
    }

    /// How many have samples of this kind, or none.
    fn items(self, shown: &Shown) -> usize {
        match self {
            Value::Functions => 1,
            Value::TenantOutcomes
            | Value::TenantMerged
            | Value::TenantLoads
            | Value::TenantEvictions => shown.tenants.len(),
            Value::Info
            | Value::Outcomes
            | Value::Statuses
            | Value::Count(_)
            | Value::Seconds(_)
            | Value::Ready
            | Value::Instances
            | Value::Tally(_)
            | Value::Histogram(_) => shown.series.len(),
        }
    }
}

/// Infallible: writing to a string does not fail.
macro_rules! push {
    ($out:expr, $($format:tt)*) => {{ let _ = writeln!($out, $($format)*); }};
}

impl Family {
    fn push_head(&self, out: &mut String) {
        let Family { name, help, unit, value } = self;
        push!(out, "# HELP lacewing_{name} {help}.");
        push!(out, "# TYPE lacewing_{name} {}", value.kind());
        if let Some(unit) = unit {
            push!(out, "# UNIT lacewing_{name} {unit}");
        }
    }

    fn push_item(&self, shown: &Shown, item: usize, out: &mut String) {
        let name = self.name;
        match self.value {
            Value::Functions => push!(out, "lacewing_{name} {}", shown.functions),
            Value::TenantOutcomes
            | Value::TenantMerged
            | Value::TenantLoads
            | Value::TenantEvictions => self.push_tenant(&shown.tenants[item], out),
            Value::Info
            | Value::Outcomes
            | Value::Statuses
            | Value::Count(_)
            | Value::Seconds(_)
            | Value::Ready
            | Value::Instances
            | Value::Tally(_)
            | Value::Histogram(_) => self.push_series(&shown.series[item], out),
        }
    }

    fn push_tenant(&self, tenant: &ShownTenant, out: &mut String) {
        let (family, ShownTenant { name, figures, merged }) = (self.name, tenant);
        match self.value {
            Value::TenantOutcomes => {
                for outcome in Outcome::ALL {
                    let count = figures.outcome(*outcome);
                    push!(
                        out,
                        "lacewing_{family}_total{{outcome=\"{outcome}\",tenant=\"{name}\"}} {count}"
                    );
                }
            }
            Value::TenantMerged => {
                push!(out, "lacewing_{family}{{tenant=\"{name}\"}} {merged}");
            }
            Value::TenantLoads => {
                push!(out, "lacewing_{family}_total{{tenant=\"{name}\"}} {}", figures.loads());
            }
            _ => push!(out, "lacewing_{family}_total{{tenant=\"{name}\"}} {}", figures.evictions()),
        }
    }

    fn push_series(&self, shown: &ShownSeries, out: &mut String) {
        let (family, labels, figures) = (self.name, shown.labels(), &shown.series.figures);
        let is_invoked = figures.is_invoked();
        match self.value {
            Value::Info if is_invoked => {
                for revision in &shown.revisions {
                    push!(
                        out,
                        "lacewing_{family}_info{{revision=\"{}\",{labels}}} 1",
                        escaped(revision)
                    );
                }
            }
            Value::Outcomes if is_invoked => {
                for outcome in Outcome::ALL {
                    let count = figures.outcome(*outcome);
                    push!(out, "lacewing_{family}_total{{outcome=\"{outcome}\",{labels}}} {count}");
                }
            }
            Value::Statuses if is_invoked => {
                for (class, count) in STATUS_CLASSES.iter().zip(figures.statuses()) {
                    push!(out, "lacewing_{family}_total{{status=\"{class}\",{labels}}} {count}");
                }
            }
            Value::Count(figure) if is_invoked => {
                push!(out, "lacewing_{family}_total{{{labels}}} {}", figures.get(figure));
            }
            Value::Seconds(figure) if is_invoked => {
                let seconds = Duration::from_nanos(figures.get(figure)).as_secs_f64();
                push!(out, "lacewing_{family}_total{{{labels}}} {seconds:?}");
            }
            Value::Ready => push_gauge(out, family, &labels, shown.ready),
            Value::Instances => push_gauge(out, family, &labels, shown.instances),
            Value::Tally(tally) => {
                let count = figures.get(Figure::Tally(tally));
                if count > 0 || shown.has(tally) {
                    push!(out, "lacewing_{family}_total{{{labels}}} {count}");
                }
            }
            Value::Histogram(spread) if is_invoked => {
                push_histogram(out, family, &labels, shown, spread);
            }
            _ => {}
        }
    }
}

fn push_gauge(out: &mut String, family: &str, labels: &str, value: Option<u64>) {
    if let Some(value) = value {
        push!(out, "lacewing_{family}{{{labels}}} {value}");
    }
}

fn push_histogram(
    out: &mut String,
    family: &str,
    labels: &str,
    shown: &ShownSeries,
    spread: &Spread,
) {
    let histogram::Buckets { unit, .. } = spread.buckets;
    let (buckets, sum) = shown.series.figures.spread(spread);
    let mut up_to = 0;
    for (end, count) in spread.buckets.ends().zip(buckets) {
        up_to += count;
        if end.is_finite() {
            push!(out, "lacewing_{family}_bucket{{le=\"{}\",{labels}}} {up_to}", decimal(end));
        } else {
            push!(out, "lacewing_{family}_bucket{{le=\"+Inf\",{labels}}} {up_to}");
        }
    }
    let sum = Unit::shown(*unit, sum);
    push!(out, "lacewing_{family}_sum{{{labels}}} {sum:?}");
    // Added up rather than counted apart, so that it always is the last bucket's.
    push!(out, "lacewing_{family}_count{{{labels}}} {up_to}");
}

/// A number with a point and without an exponent: labels are compared as text.
fn decimal(number: f64) -> String {
    let mut text = number.to_string();
    if !text.contains('.') {
        text.push_str(".0");
    }
    text
}

/// A label's value. Names need none of it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl ShownSeries {
    fn labels(&self) -> String {
        let tenant = &self.series.tenant;
        match &self.series.key {
            Some((app, function)) => {
                format!("tenant=\"{tenant}\",app=\"{app}\",function=\"{function}\"")
            }
            None => format!("tenant=\"{tenant}\",app=\"{MERGED}\",function=\"{MERGED}\""),
        }
    }

    fn has(&self, tally: Tally) -> bool {
        match tally {
            Tally::ProvisionedTaken | Tally::ProvisionedMissed => self.ready.is_some(),
            Tally::ReusedMade | Tally::ReusedAgain => self.instances.is_some(),
        }
    }
}
