//! What Prometheus scrapes: figures per function, of the host, and of the process.
//!
//! A function's figures are resolved to a handle when it is deployed; an invocation adds to atomics and looks
//! nothing up. The text is made when it is asked for:
//!
//! ```text
//!  FunctionMetrics (Arc, held by the function's revisions) ─┐
//!  FunctionSet (Weak: a function that goes takes its series along) ─> Collected ─┐
//!  gauges, counters, sources ────────────────────────────────────────────────────┼─> Registry ─> text
//!  /proc/self ───────────────────────────────────────────────────────────────────┘
//! ```

mod exposition;
mod figures;
mod function;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text::encode},
    metrics::{MetricType, gauge::ConstGauge},
    registry::{Registry, Unit},
};

pub use self::{
    exposition::Exposition,
    function::{FunctionKey, FunctionMetrics},
};
use self::{
    exposition::to_prometheus_text,
    function::{FunctionSet, encode_functions},
};
use crate::{
    outcome::Outcome,
    telemetry::{
        histogram::{COMPILATION, Histogram, PROGRAM_LOAD},
        process::Process,
    },
};

/// A figure that goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        if n > 0 {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// The figure.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter per outcome.
#[derive(Debug)]
pub struct OutcomeCounters([Counter; Outcome::COUNT]);

impl Default for OutcomeCounters {
    fn default() -> OutcomeCounters {
        OutcomeCounters(std::array::from_fn(|_| Counter::default()))
    }
}

impl OutcomeCounters {
    /// One more that ended like this.
    pub fn inc(&self, outcome: Outcome) {
        self.add(outcome, 1);
    }

    /// So many more that ended like this.
    pub fn add(&self, outcome: Outcome, n: u64) {
        self.0[outcome as usize].add(n);
    }

    /// How many ended like this.
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].get()
    }
}

/// How a look-up in the artifact cache ended.
#[derive(Debug, Default)]
pub struct ArtifactCacheMetrics {
    /// The artifact was there and could be used.
    pub hits: Counter,
    /// There was none that could be used: the component was compiled.
    pub misses: Counter,
    /// There was one that must not be used: the component was compiled anew.
    pub rejected: Counter,
}

/// Which programs are in memory.
#[derive(Debug)]
pub struct ResidencyMetrics {
    /// Programs that were loaded because they were asked for.
    pub loads: Counter,
    /// Programs that had to go for others.
    pub evictions: Counter,
    /// Loads whose artifact was gone or damaged, so that the component was compiled again.
    pub recompilations: Counter,
    /// Time to load a program.
    pub load: Histogram,
}

/// The figures of the host. The fields are added to where it happens.
#[derive(Debug)]
pub struct HostMetrics {
    /// Requests that never reached a function, by outcome.
    pub unrouted_requests: OutcomeCounters,
    /// The artifact cache.
    pub artifact_cache: ArtifactCacheMetrics,
    /// Time to compile a component.
    pub compilation: Histogram,
    /// Which programs are in memory.
    pub residency: ResidencyMetrics,
}

/// A figure that is read when it is scraped.
struct Source {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Every figure of this process.
#[derive(Debug)]
pub struct Metrics {
    collected: Arc<Collected>,
    registry: Registry,
}

#[derive(Debug)]
struct Collected {
    host: HostMetrics,
    functions: Arc<FunctionSet>,
    sources: Mutex<Vec<Source>>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Figures that are all zero.
    pub fn new() -> Metrics {
        let host = HostMetrics {
            unrouted_requests: OutcomeCounters::default(),
            artifact_cache: ArtifactCacheMetrics::default(),
            compilation: Histogram::new(&COMPILATION),
            residency: ResidencyMetrics {
                loads: Counter::default(),
                evictions: Counter::default(),
                recompilations: Counter::default(),
                load: Histogram::new(&PROGRAM_LOAD),
            },
        };
        let collected =
            Arc::new(Collected { host, functions: Arc::default(), sources: Mutex::default() });
        let mut registry = Registry::default();
        registry
            .sub_registry_with_prefix("lacewing")
            .register_collector(Box::new(collected.clone()));
        registry.register_collector(Box::new(Process));
        Metrics { collected, registry }
    }

    /// The figures of the host.
    pub fn host(&self) -> &HostMetrics {
        &self.collected.host
    }

    /// The handle of a function: the same one as long as someone holds it, so that a new revision goes on
    /// counting where the old one was. When the last is dropped, the function's series end.
    pub fn function(&self, key: FunctionKey) -> Arc<FunctionMetrics> {
        self.collected.functions.get_or_create(key)
    }

    /// Adds a gauge `lacewing_<name>` that is read at each scrape.
    pub fn add_gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.add_source(Source { name, help, kind: MetricType::Gauge, read: Box::new(read) });
    }

    /// Adds a counter `lacewing_<name>_total` that is read at each scrape.
    pub fn add_counter(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.add_source(Source { name, help, kind: MetricType::Counter, read: Box::new(read) });
    }

    fn add_source(&self, source: Source) {
        self.collected.sources.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// The text of a scrape.
    pub fn expose(&self, exposition: Exposition) -> String {
        let mut text = String::new();
        // Infallible: writing to a string does not fail, and every encoder is ours.
        let encoded = encode(&mut text, &self.registry);
        debug_assert!(encoded.is_ok(), "{encoded:?}");
        match exposition {
            Exposition::OpenMetrics => text,
            Exposition::Prometheus => to_prometheus_text(&text),
        }
    }
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .encode_descriptor("build", "The version of the host", None, MetricType::Info)?
            .encode_info(&build)?;
        encode_functions(&self.functions, &mut encoder)?;
        self.encode_counters(&mut encoder)?;
        let HostMetrics { compilation, residency, .. } = &self.host;
        for (name, help, histogram) in [
            ("compilation", "Time to compile a component", compilation),
            ("program_load", "Time to load a program that was asked for", &residency.load),
        ] {
            let (unit, kind) = (Some(&Unit::Seconds), MetricType::Histogram);
            histogram.encode(encoder.encode_descriptor(name, help, unit, kind)?)?;
        }
        self.encode_sources(&mut encoder)
    }
}

impl Collected {
    fn encode_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut requests = encoder.encode_descriptor(
            "unrouted_requests",
            "Requests that never reached a function, by outcome",
            None,
            MetricType::Counter,
        )?;
        for outcome in Outcome::ALL {
            let count = self.host.unrouted_requests.get(*outcome);
            requests
                .encode_family(&[("outcome", outcome.as_str())])?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let cache = &self.host.artifact_cache;
        let mut lookups = encoder.encode_descriptor(
            "artifact_cache_lookups",
            "Look-ups in the artifact cache, by result",
            None,
            MetricType::Counter,
        )?;
        for (result, counter) in
            [("hit", &cache.hits), ("miss", &cache.misses), ("rejected", &cache.rejected)]
        {
            lookups
                .encode_family(&[("result", result)])?
                .encode_counter::<NoLabelSet, _, u64>(&counter.get(), None)?;
        }
        let residency = &self.host.residency;
        for (name, help, counter) in [
            ("program_loads", "Programs loaded because they were asked for", &residency.loads),
            ("program_evictions", "Programs that had to go for others", &residency.evictions),
            (
                "program_recompilations",
                "Programs whose artifact was gone or damaged when they were asked for",
                &residency.recompilations,
            ),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&counter.get(), None)?;
        }
        Ok(())
    }

    fn encode_sources(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for source in self.sources.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let value = (source.read)();
            let mut metric =
                encoder.encode_descriptor(source.name, source.help, None, source.kind)?;
            match source.kind {
                MetricType::Counter => {
                    metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
                }
                MetricType::Gauge
                | MetricType::Histogram
                | MetricType::Info
                | MetricType::Unknown => ConstGauge::new(value).encode(metric)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{LogTotals, Usage};

    fn key(function: &str) -> FunctionKey {
        FunctionKey {
            tenant: "acme".parse().unwrap(),
            app: "shop".parse().unwrap(),
            function: function.parse().unwrap(),
        }
    }

    fn exposed(metrics: &Metrics) -> String {
        metrics.expose(Exposition::OpenMetrics)
    }

    #[track_caller]
    fn assert_has(text: &str, line: &str) {
        assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
    }

    #[test]
    fn an_invocation_is_counted_in_every_figure() {
        let metrics = Metrics::new();
        let cart = metrics.function(key("cart"));
        let usage = Usage {
            duration: Duration::from_millis(3),
            cpu: Duration::from_micros(1_500),
            instantiation: Some(Duration::from_nanos(3_700)),
            memory_peak_bytes: 512 * 1024,
            fuel: Some(42),
            bytes_in: 3,
            bytes_out: 13,
        };
        cart.observe(Outcome::Ok, &usage);
        cart.observe(Outcome::Trap, &usage);
        cart.observe_log(LogTotals { lines: 2, bytes: 100, dropped_bytes: 7 });
        cart.set_revisions(vec!["r7".into()]);
        let text = exposed(&metrics);
        let labels = r#"tenant="acme",app="shop",function="cart""#;
        for line in [
            r#"_invocations_total{outcome="ok",LABELS} 1"#,
            r#"_invocations_total{outcome="trap",LABELS} 1"#,
            r#"_invocations_total{outcome="canceled",LABELS} 0"#,
            r#"_invocation_duration_seconds_bucket{le="0.0025",LABELS} 0"#,
            r#"_invocation_duration_seconds_bucket{le="0.005",LABELS} 2"#,
            r#"_invocation_duration_seconds_bucket{le="+Inf",LABELS} 2"#,
            r#"_invocation_duration_seconds_sum{LABELS} 0.006"#,
            r#"_invocation_duration_seconds_count{LABELS} 2"#,
            r#"_invocation_cpu_seconds_total{LABELS} 0.003"#,
            r#"_sandbox_instantiation_seconds_bucket{le="0.000005",LABELS} 2"#,
            r#"_invocation_memory_peak_bytes_bucket{le="524288.0",LABELS} 2"#,
            r#"_invocation_fuel_total{LABELS} 84"#,
            r#"_invocation_input_bytes_total{LABELS} 6"#,
            r#"_invocation_output_bytes_total{LABELS} 26"#,
            r#"_guest_log_bytes_total{LABELS} 100"#,
            r#"_guest_log_dropped_bytes_total{LABELS} 7"#,
            r#"_function_info{revision="r7",LABELS} 1"#,
        ] {
            assert_has(&text, &format!("lacewing{}", line.replace("LABELS", labels)));
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_function_keeps_its_figures_over_revisions_and_takes_them_along() {
        let metrics = Metrics::new();
        let old = metrics.function(key("cart"));
        old.observe(Outcome::Ok, &Usage::default());
        let new = metrics.function(key("cart"));
        drop(old);
        new.observe(Outcome::Ok, &Usage::default());
        assert_eq!(new.invocations(Outcome::Ok), 2);
        assert_has(&exposed(&metrics), "lacewing_functions 1");
        drop(new);
        let text = exposed(&metrics);
        assert!(!text.contains("cart"), "{text}");
        assert_has(&text, "lacewing_functions 0");
    }

    #[test]
    fn a_function_that_was_never_invoked_has_no_series() {
        let metrics = Metrics::new();
        let idle = metrics.function(key("idle"));
        idle.set_revisions(vec!["r1".into()]);
        let text = exposed(&metrics);
        assert!(!text.contains("idle"), "{text}");
        assert_eq!(idle.invocations(Outcome::Ok), 0);
    }

    #[test]
    fn the_host_is_counted() {
        let metrics = Metrics::new();
        let host = metrics.host();
        host.unrouted_requests.inc(Outcome::NoRoute);
        host.artifact_cache.misses.inc();
        host.compilation.observe_duration(Duration::from_millis(20));
        metrics.add_counter("log_lines_dropped", "Lines of the log that were dropped", || 5);
        metrics.add_gauge("pool_bytes", "Bytes of the pool", || 6);
        let text = exposed(&metrics);
        for line in [
            r#"lacewing_unrouted_requests_total{outcome="no_route"} 1"#,
            r#"lacewing_artifact_cache_lookups_total{result="miss"} 1"#,
            r#"lacewing_compilation_seconds_bucket{le="0.025"} 1"#,
            "lacewing_log_lines_dropped_total 5",
            "lacewing_pool_bytes 6",
        ] {
            assert_has(&text, line);
        }
        assert!(text.contains("lacewing_build_info{version="), "{text}");
    }

    /// What Prometheus refuses: a family described twice, a sample outside its family, a name off convention.
    #[test]
    fn the_text_is_well_formed() {
        let metrics = Metrics::new();
        let held: Vec<_> = ["a", "b"].map(|name| metrics.function(key(name))).into();
        held.iter().for_each(|function| function.observe(Outcome::Ok, &Usage::default()));
        let text = exposed(&metrics);
        let mut families = std::collections::HashSet::new();
        let mut samples = std::collections::HashSet::new();
        let mut family = "";
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(typed) = line.strip_prefix("# TYPE ") {
                family = typed.split_once(' ').unwrap().0;
                assert!(families.insert(family), "{family} twice");
                assert!(family.starts_with("lacewing_") || family.starts_with("process_"));
            } else if !line.starts_with('#') {
                assert!(line.starts_with(family), "{line} is not of {family}");
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(samples.insert(series), "{series} twice");
                assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
            }
        }
        assert!(samples.len() > 100, "{text}");
    }
}
