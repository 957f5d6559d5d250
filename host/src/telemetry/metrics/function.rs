//! The figures of one function, and the set of them.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    encoding::{
        DescriptorEncoder, EncodeLabel, EncodeLabelSet, EncodeMetric, LabelSetEncoder,
        MetricEncoder, NoLabelSet,
    },
    metrics::{MetricType, gauge::ConstGauge},
    registry::Unit,
};

use crate::{
    name::{AppName, FunctionName, TenantName},
    outcome::Outcome,
    telemetry::{
        LogTotals, Origin, Usage,
        histogram::Histogram,
        metrics::{
            Counter,
            figures::{Figures, Parts},
        },
    },
};

/// Which function: the labels of its series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionKey {
    /// Who is charged.
    pub tenant: TenantName,
    /// What the function was deployed with.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
}

impl FunctionKey {
    /// The function of an origin.
    pub fn of(origin: &Origin) -> FunctionKey {
        FunctionKey {
            tenant: origin.tenant.clone(),
            app: origin.app.clone(),
            function: origin.function.clone(),
        }
    }
}

/// The figures of one function over all its revisions.
///
/// A host may hold many functions that nobody calls: until the first invocation this is a few words, and has no
/// series.
#[derive(Debug)]
pub struct FunctionMetrics {
    key: FunctionKey,
    figures: OnceLock<Parts>,
    provisioned: OnceLock<Box<ProvisionedFigures>>,
    reused: OnceLock<Box<ReusedFigures>>,
    revisions: Mutex<Box<[Arc<str>]>>,
    set: Weak<FunctionSet>,
}

/// The figures of a function's provisioned sandboxes.
#[derive(Debug, Default)]
pub struct ProvisionedFigures {
    /// Sandboxes that are ready now, of all revisions that are there.
    pub ready: AtomicU64,
    /// Invocations that took one.
    pub taken: Counter,
    /// Invocations that found none and made their own.
    pub missed: Counter,
}

/// The figures of a function's instances that serve more than one invocation.
#[derive(Debug, Default)]
pub struct ReusedFigures {
    /// Instances that there are now, of all revisions.
    pub instances: AtomicU64,
    /// Instances that were made.
    pub made: Counter,
    /// Invocations that were served by an instance that had served before.
    pub again: Counter,
}

impl FunctionMetrics {
    /// Counts one invocation. Allocates nothing after the first ones.
    pub fn observe(&self, outcome: Outcome, usage: &Usage) {
        self.figures.get_or_init(Parts::new).here().observe(outcome, usage);
    }

    /// Counts what one invocation printed.
    pub fn observe_log(&self, totals: LogTotals) {
        if totals != LogTotals::default() {
            self.figures.get_or_init(Parts::new).here().observe_log(totals);
        }
    }

    /// The figures of its instances that are used again, which have series once somebody asked for them.
    pub fn reused(&self) -> &ReusedFigures {
        self.reused.get_or_init(Box::default)
    }

    /// The figures of its provisioned sandboxes, which have series once somebody asked for them.
    pub fn provisioned(&self) -> &ProvisionedFigures {
        self.provisioned.get_or_init(Box::default)
    }

    /// Says which revisions the function serves now: the series of `lacewing_function_info`.
    pub fn set_revisions(&self, revisions: Vec<Arc<str>>) {
        *self.revisions.lock().unwrap_or_else(PoisonError::into_inner) = revisions.into();
    }

    /// Invocations that ended like this.
    pub fn invocations(&self, outcome: Outcome) -> u64 {
        self.figures.get().map_or(0, |figures| figures.invocations(outcome))
    }
}

impl Drop for FunctionMetrics {
    fn drop(&mut self) {
        if let Some(set) = self.set.upgrade() {
            set.forget(&self.key);
        }
    }
}

/// The functions that someone holds.
#[derive(Debug, Default)]
pub(super) struct FunctionSet(Mutex<HashMap<FunctionKey, Weak<FunctionMetrics>>>);

impl FunctionSet {
    pub(super) fn get_or_create(self: &Arc<FunctionSet>, key: FunctionKey) -> Arc<FunctionMetrics> {
        let mut functions = self.functions();
        if let Some(function) = functions.get(&key).and_then(Weak::upgrade) {
            return function;
        }
        let function = Arc::new(FunctionMetrics {
            key: key.clone(),
            figures: OnceLock::new(),
            provisioned: OnceLock::new(),
            reused: OnceLock::new(),
            revisions: Mutex::default(),
            set: Arc::downgrade(self),
        });
        functions.insert(key, Arc::downgrade(&function));
        function
    }

    fn functions(&self) -> MutexGuard<'_, HashMap<FunctionKey, Weak<FunctionMetrics>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a function that is gone, unless it was deployed again meanwhile.
    fn forget(&self, key: &FunctionKey) {
        let mut functions = self.functions();
        if functions.get(key).is_some_and(|function| function.strong_count() == 0) {
            functions.remove(key);
        }
    }

    /// Every function, in order. The lock is released before a handle can be dropped, which takes it.
    fn all(&self) -> Vec<Arc<FunctionMetrics>> {
        let mut all: Vec<_> = self.functions().values().filter_map(Weak::upgrade).collect();
        all.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        all
    }
}

/// A function that was ever invoked, and its figures at one moment.
struct Invoked<'a> {
    function: &'a FunctionMetrics,
    figures: Box<Figures>,
}

impl Invoked<'_> {
    fn of(function: &FunctionMetrics) -> Option<Invoked<'_>> {
        Some(Invoked { function, figures: function.figures.get()?.sum() })
    }
}

/// The labels of a series: one more if need be, then the function's.
struct Labels<'a> {
    key: &'a FunctionKey,
    more: Option<(&'static str, &'a str)>,
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        if let Some((name, value)) = self.more {
            (name, value).encode(encoder.encode_label())?;
        }
        let key = self.key;
        for (name, value) in [
            ("tenant", key.tenant.as_str()),
            ("app", key.app.as_str()),
            ("function", key.function.as_str()),
        ] {
            (name, value).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// Encodes the families whose series belong to functions.
pub(super) fn encode_functions(
    set: &FunctionSet,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let functions = set.all();
    let help = "Functions that are deployed, invoked or not";
    let metric = encoder.encode_descriptor("functions", help, None, MetricType::Gauge)?;
    ConstGauge::new(functions.len() as u64).encode(metric)?;
    let invoked: Vec<Invoked<'_>> = functions.iter().filter_map(|one| Invoked::of(one)).collect();
    encode_info(&invoked, encoder)?;
    encode_outcomes(&invoked, encoder)?;
    for counter in COUNTERS {
        let unit = counter.unit.as_ref();
        let mut metric =
            encoder.encode_descriptor(counter.name, counter.help, unit, MetricType::Counter)?;
        each(&invoked, &mut metric, |figures, mut metric| match counter.value {
            Value::Count(read) => {
                metric.encode_counter::<NoLabelSet, _, u64>(&read(figures).get(), None)
            }
            Value::Seconds(read) => {
                let seconds = std::time::Duration::from_nanos(read(figures).get()).as_secs_f64();
                metric.encode_counter::<NoLabelSet, _, u64>(&seconds, None)
            }
        })?;
    }
    encode_provisioned(&functions, encoder)?;
    encode_reused(&functions, encoder)?;
    for (name, help, unit, read) in HISTOGRAMS {
        let kind = MetricType::Histogram;
        let mut metric = encoder.encode_descriptor(name, help, Some(unit), kind)?;
        each(&invoked, &mut metric, |figures, metric| read(figures).encode(metric))?;
    }
    Ok(())
}

struct CounterFamily {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    value: Value,
}

enum Value {
    Count(fn(&Figures) -> &Counter),
    /// Counted in nanoseconds.
    Seconds(fn(&Figures) -> &Counter),
}

const COUNTERS: &[CounterFamily] = &[
    CounterFamily {
        name: "invocation_cpu",
        help: "Time spent running the guest",
        unit: Some(Unit::Seconds),
        value: Value::Seconds(|figures| &figures.cpu_ns),
    },
    CounterFamily {
        name: "invocation_fuel",
        help: "Fuel that metered revisions used",
        unit: None,
        value: Value::Count(|figures| &figures.fuel),
    },
    CounterFamily {
        name: "invocation_input",
        help: "Bytes of requests' bodies and of events",
        unit: Some(Unit::Bytes),
        value: Value::Count(|figures| &figures.input_bytes),
    },
    CounterFamily {
        name: "invocation_output",
        help: "Bytes of responses' bodies and of results",
        unit: Some(Unit::Bytes),
        value: Value::Count(|figures| &figures.output_bytes),
    },
    CounterFamily {
        name: "guest_log",
        help: "Bytes that guests printed, as far as they were logged",
        unit: Some(Unit::Bytes),
        value: Value::Count(|figures| &figures.log_bytes),
    },
    CounterFamily {
        name: "guest_log_dropped",
        help: "Bytes that guests printed over the limit",
        unit: Some(Unit::Bytes),
        value: Value::Count(|figures| &figures.log_dropped_bytes),
    },
];

type HistogramFamily = (&'static str, &'static str, &'static Unit, fn(&Figures) -> &Histogram);

const HISTOGRAMS: &[HistogramFamily] = &[
    (
        "invocation_duration",
        "Wall time from admission to the end of the response",
        &Unit::Seconds,
        |figures| &figures.duration,
    ),
    ("sandbox_instantiation", "Time to make a fresh sandbox", &Unit::Seconds, |figures| {
        &figures.instantiation
    }),
    (
        "invocation_memory_peak",
        "The most linear memory that an invocation's sandbox had",
        &Unit::Bytes,
        |figures| &figures.memory_peak,
    ),
];

fn encode_info(invoked: &[Invoked<'_>], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "The revisions that a function serves";
    let mut metric = encoder.encode_descriptor("function", help, None, MetricType::Info)?;
    for Invoked { function, .. } in invoked {
        for revision in function.revisions.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = Labels { key: &function.key, more: Some(("revision", revision)) };
            metric.encode_info(&labels)?;
        }
    }
    Ok(())
}

fn encode_provisioned(
    functions: &[Arc<FunctionMetrics>],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    type Read = fn(&ProvisionedFigures) -> u64;
    let families: [(&str, &str, MetricType, Read); 3] = [
        (
            "provisioned_ready",
            "Sandboxes that were made ahead and are not taken yet",
            MetricType::Gauge,
            |figures| figures.ready.load(Ordering::Relaxed),
        ),
        (
            "provisioned_taken",
            "Invocations that took a sandbox that was made ahead",
            MetricType::Counter,
            |figures| figures.taken.get(),
        ),
        (
            "provisioned_missed",
            "Invocations that found no sandbox made ahead, and made their own",
            MetricType::Counter,
            |figures| figures.missed.get(),
        ),
    ];
    encode_read(functions, encoder, families, |function| function.provisioned.get())
}

fn encode_reused(
    functions: &[Arc<FunctionMetrics>],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    type Read = fn(&ReusedFigures) -> u64;
    let families: [(&str, &str, MetricType, Read); 3] = [
        (
            "reused_instances",
            "Instances that there are and that serve more than one invocation",
            MetricType::Gauge,
            |figures| figures.instances.load(Ordering::Relaxed),
        ),
        (
            "reused_made",
            "Instances that were made to serve more than one invocation",
            MetricType::Counter,
            |figures| figures.made.get(),
        ),
        (
            "reused_again",
            "Invocations that were served by an instance that had served before",
            MetricType::Counter,
            |figures| figures.again.get(),
        ),
    ];
    encode_read(functions, encoder, families, |function| function.reused.get())
}

/// Families whose series are read from figures that only some functions have.
fn encode_read<T: ?Sized, R: Fn(&T) -> u64>(
    functions: &[Arc<FunctionMetrics>],
    encoder: &mut DescriptorEncoder<'_>,
    families: [(&str, &str, MetricType, R); 3],
    figures: fn(&FunctionMetrics) -> Option<&Box<T>>,
) -> fmt::Result {
    for (name, help, kind, read) in families {
        let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
        for function in functions {
            let Some(figures) = figures(function) else { continue };
            let labels = Labels { key: &function.key, more: None };
            let mut metric = metric.encode_family(&labels)?;
            match kind {
                MetricType::Counter => {
                    metric.encode_counter::<NoLabelSet, _, u64>(&read(figures), None)?;
                }
                _ => metric.encode_gauge(&read(figures))?,
            }
        }
    }
    Ok(())
}

fn encode_outcomes(invoked: &[Invoked<'_>], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Invocations, by outcome";
    let mut metric = encoder.encode_descriptor("invocations", help, None, MetricType::Counter)?;
    for Invoked { function, figures } in invoked {
        for outcome in Outcome::ALL {
            let labels = Labels { key: &function.key, more: Some(("outcome", outcome.as_str())) };
            let count = figures.outcomes.get(*outcome);
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
    }
    Ok(())
}

/// Encodes one series of each function that was ever invoked.
fn each(
    invoked: &[Invoked<'_>],
    metric: &mut MetricEncoder<'_>,
    encode: impl Fn(&Figures, MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    for Invoked { function, figures } in invoked {
        let labels = Labels { key: &function.key, more: None };
        encode(figures, metric.encode_family(&labels)?)?;
    }
    Ok(())
}
