//! The metrics that Prometheus scrapes: figures per function and tenant, of the host, and of the
//! process.
//!
//! A function's figures are resolved to a handle when it is deployed; an invocation adds to atomics
//! and looks nothing up. The text is made when it is asked for, in pieces:
//!
//! ```text
//!  FunctionMetrics (Arc, held by the function's revisions) --> Series, its own or its tenant's merged ones
//!                                                                |
//!  gauges, counters, sources --> Registry --+     SeriesSet (shares them out)  
//!  /proc/self ------------------------------+--------------------+--> Scrape --> text
//! ```

mod cells;
mod exposition;
mod families;
mod figures;
mod function;
mod scrape;
mod series;
mod tenant;

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http_body::Body;
use lacewing_base::{fair::Weight, outcome::Outcome};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{MetricType, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use tokio::sync::Semaphore;

pub use self::{
    exposition::Exposition,
    figures::Tally,
    function::{FunctionKey, FunctionMetrics},
};
use self::{scrape::Scrape, series::SeriesSet};
use crate::{
    histogram::{COMPILATION, Histogram, PROGRAM_LOAD},
    process::Process,
};

/// Functions that have series of their own, where nothing else is said.
pub const MAX_FUNCTIONS: u32 = 2000;

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

    /// The number of others that ended like this.
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

/// The programs in memory.
#[derive(Debug)]
pub struct ResidencyMetrics {
    /// Programs that were loaded because they were asked for.
    pub loads: Counter,
    /// Programs that were evicted for others.
    pub evictions: Counter,
    /// Loads whose artifact was gone or damaged, so that the component was compiled again.
    pub recompilations: Counter,
    /// Time to load a program.
    pub load: Histogram,
}

/// How the last reading of the configuration ended: the host file, its manifests, and what was
/// deployed of them.
#[derive(Debug, Default)]
pub struct ConfigMetrics {
    /// In seconds of Unix time; 0 where none did.
    succeeded_s: AtomicU64,
    /// Whether the last one failed, or refused an app.
    failed: AtomicBool,
}

impl ConfigMetrics {
    /// Notes the end of a reading. It succeeded if all of it is served now.
    pub fn note(&self, succeeded: bool) {
        self.failed.store(!succeeded, Ordering::Relaxed);
        if succeeded {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.succeeded_s.store(now.as_secs(), Ordering::Relaxed);
        }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let succeeded_s = self.succeeded_s.load(Ordering::Relaxed);
        let failed = self.failed.load(Ordering::Relaxed);
        let was_read = failed || succeeded_s > 0;
        for (name, help, value) in [
            (
                "config_last_reload_successful",
                "Whether all of the configuration that was read last is served",
                was_read.then_some(u64::from(!failed)),
            ),
            (
                "config_last_reload_success_timestamp_seconds",
                "When configuration was last read of which all is served, in seconds of Unix time",
                (succeeded_s > 0).then_some(succeeded_s),
            ),
        ] {
            if let Some(value) = value {
                let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(metric)?;
            }
        }
        Ok(())
    }
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
    /// The programs in memory.
    pub residency: ResidencyMetrics,
    /// The configuration.
    pub config: ConfigMetrics,
}

/// A figure that is read when it is scraped.
struct FigureSource {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for FigureSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FigureSource").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Every figure of this process.
#[derive(Debug)]
pub struct Metrics {
    collected: Arc<Collected>,
    series: Arc<SeriesSet>,
    registry: Registry,
    /// Pieces of scrapes are made one at a time.
    scraping: Arc<Semaphore>,
}

#[derive(Debug)]
struct Collected {
    host: HostMetrics,
    sources: Mutex<Vec<FigureSource>>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Figures that are all zero, with series for [`MAX_FUNCTIONS`].
    pub fn new() -> Metrics {
        Metrics::with_series(MAX_FUNCTIONS)
    }

    /// The same, with series for so many functions; the others of a tenant are counted together.
    pub fn with_series(functions: u32) -> Metrics {
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
            config: ConfigMetrics::default(),
        };
        let collected = Arc::new(Collected { host, sources: Mutex::default() });
        let mut registry = Registry::default();
        registry
            .sub_registry_with_prefix("lacewing")
            .register_collector(Box::new(collected.clone()));
        registry.register_collector(Box::new(Process));
        let series = SeriesSet::new(functions as usize);
        Metrics { collected, series, registry, scraping: Arc::new(Semaphore::new(1)) }
    }

    /// The figures of the host.
    pub fn host(&self) -> &HostMetrics {
        &self.collected.host
    }

    /// The handle of a function of the tenant with this share: the same one as long as someone
    /// holds it, so that a new revision goes on counting where the old one was. When the last
    /// is dropped, the function's series are shown once more and end.
    pub fn function(&self, key: FunctionKey, share: &Weight) -> Arc<FunctionMetrics> {
        self.series.get_or_create(key, share)
    }

    fn series(&self) -> &SeriesSet {
        &self.series
    }

    /// Adds a gauge `lacewing_<name>` that is read at each scrape.
    pub fn add_gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.add_source(FigureSource { name, help, kind: MetricType::Gauge, read: Box::new(read) });
    }

    /// Adds a counter `lacewing_<name>_total` that is read at each scrape.
    pub fn add_counter(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.add_source(FigureSource {
            name,
            help,
            kind: MetricType::Counter,
            read: Box::new(read),
        });
    }

    fn add_source(&self, source: FigureSource) {
        self.collected.sources.lock().push(source);
    }

    /// The text of a scrape, all at once.
    pub fn expose(self: &Arc<Self>, exposition: Exposition) -> String {
        let mut scrape = Scrape::new(self.clone(), exposition);
        std::iter::from_fn(|| scrape.piece()).collect()
    }

    /// The text of a scrape, in pieces that are made as they are read.
    pub fn scrape(
        self: &Arc<Self>,
        exposition: Exposition,
    ) -> impl Body<Data = Bytes, Error = Box<dyn Error + Send + Sync>> + Send + 'static {
        scrape::body(self, exposition)
    }
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .encode_descriptor("build", "The version of the host", None, MetricType::Info)?
            .encode_info(&build)?;
        self.encode_counters(&mut encoder)?;
        let HostMetrics { compilation, residency, config, .. } = &self.host;
        config.encode(&mut encoder)?;
        for (name, help, histogram) in [
            ("compilation", "Time to compile a component", compilation),
            ("program_load", "Time to load a program for a request", &residency.load),
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
            ("program_loads", "Programs that were loaded for a request", &residency.loads),
            ("program_evictions", "Programs that were evicted for others", &residency.evictions),
            (
                "program_recompilations",
                "Programs whose artifact was gone or damaged when a request came",
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
        for source in self.sources.lock().iter() {
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
mod tests;
