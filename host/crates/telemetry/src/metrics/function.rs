//! The figures of one function.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use lacewing_base::{
    name::{AppName, FunctionName, TenantName},
    outcome::Outcome,
};
use parking_lot::Mutex;

use crate::{
    LogTotals, Origin, Usage,
    metrics::{
        figures::{Figure, Figures, Tally},
        series::{FunctionSeries, SeriesSet},
        tenant::TenantFigures,
    },
};

/// The function: the labels of its series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionKey {
    /// The tenant that is charged.
    pub tenant: TenantName,
    /// The revision of the function.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
}

impl FunctionKey {
    /// The function of an origin.
    pub fn of(origin: &Origin) -> FunctionKey {
        FunctionKey {
            tenant: origin.tenant().clone(),
            app: origin.app.clone(),
            function: origin.function.clone(),
        }
    }
}

/// The figures of one function over all its revisions.
///
/// A host may hold many functions that are never called: until the first invocation this is a few
/// words, and has no series. With the first one it is given series of its own, or shares those of
/// its tenant's others.
#[derive(Debug)]
pub struct FunctionMetrics {
    pub(super) key: FunctionKey,
    /// The series that count its invocations. Nothing before the first one, and where it is to ask
    /// again.
    pub(super) series: ArcSwapOption<FunctionSeries>,
    pub(super) tenant: Arc<TenantFigures>,
    /// Sandboxes that are ready, made ahead.
    ready: OnceLock<AtomicU64>,
    /// Instances that are used again.
    instances: OnceLock<AtomicU64>,
    revisions: Mutex<Box<[Arc<str>]>>,
    set: Arc<SeriesSet>,
}

impl FunctionMetrics {
    pub(super) fn new(
        key: FunctionKey,
        tenant: Arc<TenantFigures>,
        set: Arc<SeriesSet>,
    ) -> FunctionMetrics {
        FunctionMetrics {
            key,
            series: ArcSwapOption::empty(),
            tenant,
            ready: OnceLock::new(),
            instances: OnceLock::new(),
            revisions: Mutex::default(),
            set,
        }
    }

    /// Counts one invocation. Allocates nothing after the first ones.
    pub fn observe(&self, outcome: Outcome, usage: &Usage) {
        self.tenant.observe(outcome);
        self.counted(|figures| figures.observe(outcome, usage));
    }

    /// Counts the status that an invocation's client was answered with.
    pub fn observe_status(&self, status: u16) {
        self.counted(|figures| figures.observe_status(status));
    }

    /// Counts what one invocation printed.
    pub fn observe_log(&self, totals: LogTotals) {
        if totals != LogTotals::default() {
            self.counted(|figures| figures.observe_log(totals));
        }
    }

    /// Counts something about its sandboxes.
    pub fn tally(&self, tally: Tally) {
        self.counted(|figures| figures.tally(tally));
    }

    /// A count about its sandboxes, or about those of all functions that it shares series with.
    pub fn tallied(&self, tally: Tally) -> u64 {
        self.series.load().as_ref().map_or(0, |series| series.figures.get(Figure::Tally(tally)))
    }

    /// Its sandboxes that are ready, made ahead, of all revisions. They have series once this was
    /// asked for.
    pub fn provisioned_ready(&self) -> &AtomicU64 {
        self.ready.get_or_init(|| self.gauge())
    }

    /// Its instances that are used again, of all revisions. They have series once this was asked
    /// for.
    pub fn reused_instances(&self) -> &AtomicU64 {
        self.instances.get_or_init(|| self.gauge())
    }

    /// Counts a program of its that was loaded because it was asked for.
    pub fn loaded(&self) {
        self.tenant.loaded();
    }

    /// Counts a program of its that had to go for others.
    pub fn evicted(&self) {
        self.tenant.evicted();
    }

    /// Says which revisions the function serves now: the series of `lacewing_function_info`. Where
    /// it has no series of its own, there may be some by now: it asks again.
    pub fn set_revisions(&self, revisions: Vec<Arc<str>>) {
        *self.revisions.lock() = revisions.into();
        if self.series.load().as_ref().is_some_and(|series| series.key.is_none()) {
            self.series.store(None);
        }
    }

    /// Invocations that ended like this, of it and of those that it shares series with.
    pub fn invocations(&self, outcome: Outcome) -> u64 {
        self.series.load().as_ref().map_or(0, |series| series.figures.outcome(outcome))
    }

    pub(super) fn revisions(&self) -> Box<[Arc<str>]> {
        self.revisions.lock().clone()
    }

    pub(super) fn ready(&self) -> Option<u64> {
        Some(self.ready.get()?.load(Ordering::Relaxed))
    }

    pub(super) fn instances(&self) -> Option<u64> {
        Some(self.instances.get()?.load(Ordering::Relaxed))
    }

    /// A function with such a gauge has series, invoked or not.
    fn gauge(&self) -> AtomicU64 {
        self.counted(|_| ());
        AtomicU64::new(0)
    }

    /// Counts in the series that the function has at this moment. They are held until that is done,
    /// and not dropped before.
    fn counted(&self, count: impl FnOnce(&Figures)) {
        match &*self.series.load() {
            Some(series) => count(&series.figures),
            None => count(&self.set.seat(self).figures),
        }
    }
}

impl Drop for FunctionMetrics {
    fn drop(&mut self) {
        self.set.forget(self);
    }
}
