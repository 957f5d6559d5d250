//! The functions that have series of their own.
//!
//! A series costs memory here, lines in each scrape, and a place in whatever keeps them. So no more
//! functions than `most` have series of their own; the others of a tenant are counted together, in
//! series whose app and function are [`MERGED`], as a metric stream of OpenTelemetry counts what is
//! over its cardinality limit under one overflow attribute (Metrics SDK, "Cardinality limits").
//!
//! ```text
//!              first invocation                  gone, or pushed out
//!   no series ----------------> series of its own ------------------> ended: shown once more, then dropped
//!      |  ^                                                             |
//!      |  +-- asks again: a deploy                                      +-- never shown, and too many: merged
//!      v  |
//!   merged with others of its tenant
//! ```
//!
//! - **Tenants share them by weight.** Where all are taken, the tenant with the largest [`Portion`]
//!   gives up those that it was given last to one whose portion is smaller with them, and to no
//!   other: a tenant that has no more functions than its part loses none.
//! - **A series never goes down, and what was counted is never counted in another one again**, so
//!   that `rate()` over them, and sums of that, are right. The merged series count what comes after
//!   a function is pushed out, and nothing from before. The sum of a tenant's series without
//!   `rate()` goes down where series end; the figures of the tenant as a whole do not
//!   ([`TenantFigures`]).
//! - **Series that end are shown once more**, with all that was counted, and are dropped after
//!   that. A function that comes back before goes on with them; after that it begins at zero, which
//!   a reader takes for a restart. Where more end between two scrapes than may have series at once,
//!   those of the tenant with the most end unseen: merged if no scrape has shown them, otherwise
//!   without what was counted since.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use lacewing_base::{
    fair::{Portion, Weight},
    name::{AppName, FunctionName, TenantName},
};
use parking_lot::{Mutex, MutexGuard};

use crate::metrics::{FunctionKey, FunctionMetrics, figures::Figures, tenant::TenantFigures};

/// The app and function of merged series. It is no valid name, and so never a function's.
pub(super) const MERGED: &str = "_merged";

/// App and function.
type Key = (AppName, FunctionName);

/// The series of one function, or of those of a tenant that are counted together.
#[derive(Debug)]
pub(super) struct FunctionSeries {
    pub(super) tenant: TenantName,
    /// The function; none where several are counted together.
    pub(super) key: Option<Key>,
    pub(super) figures: Figures,
    /// Whether a scrape has shown them.
    shown: AtomicBool,
    /// Tells them apart from other series with the same labels.
    #[cfg(test)]
    number: u64,
}

/// The series of one host.
#[derive(Debug)]
pub(super) struct SeriesSet {
    most: usize,
    state: Mutex<SeriesState>,
}

#[derive(Debug, Default)]
struct SeriesState {
    tenants: BTreeMap<TenantName, TenantSeries>,
    /// Functions that have series of their own.
    own: usize,
    /// Series that have ended.
    ended: usize,
}

#[derive(Debug)]
struct TenantSeries {
    share: Weight,
    figures: Arc<TenantFigures>,
    functions: HashMap<Key, Weak<FunctionMetrics>>,
    /// The series of single functions, the youngest last.
    own: Vec<Arc<FunctionSeries>>,
    merged: Option<Arc<FunctionSeries>>,
    /// The one that ended first at the front.
    ended: VecDeque<EndedSeries>,
}

#[derive(Debug)]
struct EndedSeries {
    series: Arc<FunctionSeries>,
    /// Whether no thread can be counting in them any more.
    is_still: bool,
}

/// The content of a scrape.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Functions that are deployed.
    pub(super) functions: usize,
    pub(super) tenants: Vec<ShownTenant>,
    pub(super) series: Vec<ShownSeries>,
}

#[derive(Debug)]
pub(super) struct ShownTenant {
    pub(super) name: TenantName,
    pub(super) figures: Arc<TenantFigures>,
    /// Functions that were invoked and have no series of their own.
    pub(super) merged: usize,
}

#[derive(Debug)]
pub(super) struct ShownSeries {
    pub(super) series: Arc<FunctionSeries>,
    /// Sandboxes that are ready, made ahead, where there may be some.
    pub(super) ready: Option<u64>,
    /// Instances that are used again, where there may be some.
    pub(super) instances: Option<u64>,
    pub(super) revisions: Box<[Arc<str>]>,
    /// Whether this is the last time.
    is_last: bool,
}

impl FunctionSeries {
    fn new(tenant: &TenantName, key: Option<Key>) -> Arc<FunctionSeries> {
        Arc::new(FunctionSeries {
            tenant: tenant.clone(),
            key,
            figures: Figures::default(),
            shown: AtomicBool::new(false),
            #[cfg(test)]
            number: tests::number(),
        })
    }
}

impl SeriesSet {
    /// For so many functions with series of their own.
    pub(super) fn new(most: usize) -> Arc<SeriesSet> {
        Arc::new(SeriesSet { most, state: Mutex::default() })
    }

    /// The figures of a function: the same ones as long as one handle is left.
    pub(super) fn get_or_create(
        self: &Arc<SeriesSet>,
        key: FunctionKey,
        share: &Weight,
    ) -> Arc<FunctionMetrics> {
        let mut state = self.state();
        let tenant =
            state.tenants.entry(key.tenant.clone()).or_insert_with(|| TenantSeries::new(share));
        // Another one, if the tenant was gone for a while.
        tenant.share = share.clone();
        let name = (key.app.clone(), key.function.clone());
        if let Some(function) = tenant.functions.get(&name).and_then(Weak::upgrade) {
            return function;
        }
        let figures = tenant.figures.clone();
        let function = Arc::new(FunctionMetrics::new(key, figures, self.clone()));
        if tenant.functions.insert(name.clone(), Arc::downgrade(&function)).is_some() {
            // The one before is just being dropped: its series are this one's now.
            let own = tenant.own.iter().find(|series| series.key.as_ref() == Some(&name));
            function.series.store(own.cloned());
        }
        function
    }

    /// Gives a function series to be counted in.
    pub(super) fn seat(&self, function: &FunctionMetrics) -> Arc<FunctionSeries> {
        let mut state = self.state();
        // Another thread may have been first.
        if let Some(series) = function.series.load_full() {
            return series;
        }
        let (series, pushed) = state.seat(&function.key, self.most);
        function.series.store(Some(series.clone()));
        state.bound_ended(self.most);
        drop(state);
        // With no lock held: dropping the last handle takes it.
        drop(pushed);
        series
    }

    /// Ends the series of a function that is gone.
    pub(super) fn forget(&self, function: &FunctionMetrics) {
        let FunctionKey { tenant, app, function: name } = &function.key;
        let mut state = self.state();
        let Some(of) = state.tenants.get_mut(tenant) else { return };
        let key = (app.clone(), name.clone());
        // It may be deployed again by now.
        if of.functions.get(&key).is_some_and(|known| known.strong_count() > 0) {
            return;
        }
        of.functions.remove(&key);
        let is_last = of.functions.is_empty();
        if let Some(at) = of.own.iter().position(|one| one.key.as_ref() == Some(&key)) {
            let series = of.own.remove(at);
            of.end(series);
            state.own -= 1;
            state.ended += 1;
        }
        if is_last {
            state.end_merged(tenant);
        }
        state.bound_ended(self.most);
        state.forget_tenants();
    }

    /// The content of a scrape now, in order.
    pub(super) fn shown(&self) -> Shown {
        let mut shown = Shown::default();
        // Dropped with no lock held.
        let mut held = Vec::new();
        let mut state = self.state();
        for (name, tenant) in &mut state.tenants {
            shown.functions += tenant.functions.len();
            tenant.show(name, &mut shown, &mut held);
        }
        drop(state);
        shown
    }

    /// Takes note of a scrape that has shown everything.
    pub(super) fn was_shown(&self, shown: &Shown) {
        let mut state = self.state();
        for ShownSeries { series, is_last, .. } in &shown.series {
            series.shown.store(true, Relaxed);
            if *is_last && let Some(tenant) = state.tenants.get_mut(&series.tenant) {
                let before = tenant.ended.len();
                // It may have gone on, and ended once more, since.
                let is_it = |one: &EndedSeries| one.is_still && Arc::ptr_eq(&one.series, series);
                tenant.ended.retain(|ended| !is_it(ended));
                let gone = before - tenant.ended.len();
                state.ended -= gone;
            }
        }
        state.forget_tenants();
    }

    fn state(&self) -> MutexGuard<'_, SeriesState> {
        self.state.lock()
    }

    /// Functions with series of their own, and series that have ended.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        let state = self.state();
        (state.own, state.ended)
    }
}

impl SeriesState {
    /// Series for a function, and the function that was pushed out for it.
    fn seat(
        &mut self,
        key: &FunctionKey,
        most: usize,
    ) -> (Arc<FunctionSeries>, Option<Arc<FunctionMetrics>>) {
        let name = (key.app.clone(), key.function.clone());
        let mut pushed = None;
        if self.own >= most {
            match self.largest(&key.tenant) {
                Some(victim) => pushed = self.push_out(&victim),
                None => return (self.merged(&key.tenant), None),
            }
        }
        let series = self.resume(&key.tenant, Some(&name));
        if let Some(tenant) = self.tenants.get_mut(&key.tenant) {
            tenant.own.push(series.clone());
            self.own += 1;
        }
        (series, pushed)
    }

    /// The tenant that has to give up series for one more of `newcomer`'s, if one has to.
    fn largest(&self, newcomer: &TenantName) -> Option<TenantName> {
        let portion = |(name, tenant): (&TenantName, &TenantSeries)| {
            let more = u64::from(name == newcomer);
            Portion { held: tenant.own.len() as u64 + more, weight: tenant.share.get() }
        };
        let mine = self.tenants.get_key_value(newcomer).map(portion)?;
        let most = self.tenants.iter().max_by_key(|one| portion(*one))?;
        (portion(most) > mine).then(|| most.0.clone())
    }

    /// Has a tenant's youngest function of those with series of their own be counted with its
    /// others.
    fn push_out(&mut self, name: &TenantName) -> Option<Arc<FunctionMetrics>> {
        let merged = self.merged(name);
        let tenant = self.tenants.get_mut(name)?;
        let series = tenant.own.pop()?;
        let function = series.key.as_ref().and_then(|key| tenant.functions.get(key)?.upgrade());
        if let Some(function) = &function {
            function.series.store(Some(merged));
        }
        tenant.end(series);
        self.own -= 1;
        self.ended += 1;
        function
    }

    /// The series in which a tenant's functions are counted together.
    fn merged(&mut self, name: &TenantName) -> Arc<FunctionSeries> {
        if let Some(merged) = self.tenants.get(name).and_then(|tenant| tenant.merged.clone()) {
            return merged;
        }
        let series = self.resume(name, None);
        if let Some(tenant) = self.tenants.get_mut(name) {
            tenant.merged = Some(series.clone());
        }
        series
    }

    /// Series that ended and are not dropped yet, or new ones: no two with the same labels are
    /// shown.
    fn resume(&mut self, name: &TenantName, key: Option<&Key>) -> Arc<FunctionSeries> {
        let resumed = self.tenants.get_mut(name).and_then(|tenant| {
            let at = tenant.ended.iter().position(|ended| ended.series.key.as_ref() == key)?;
            tenant.ended.remove(at)
        });
        match resumed {
            Some(ended) => {
                self.ended -= 1;
                ended.series
            }
            None => FunctionSeries::new(name, key.cloned()),
        }
    }

    fn end_merged(&mut self, name: &TenantName) {
        if let Some(tenant) = self.tenants.get_mut(name)
            && let Some(merged) = tenant.merged.take()
        {
            tenant.end(merged);
            self.ended += 1;
        }
    }

    /// Drops series that have ended and were not scraped: no more are kept than may be had at once.
    fn bound_ended(&mut self, most: usize) {
        while self.ended > most.max(1) {
            let portion = |tenant: &TenantSeries| Portion {
                held: tenant.ended.len() as u64,
                weight: tenant.share.get(),
            };
            let largest = self.tenants.iter().max_by_key(|(_, tenant)| portion(tenant));
            let Some(name) = largest.map(|(name, _)| name.clone()) else { return };
            let tenant = self.tenants.get_mut(&name);
            let Some(EndedSeries { series, .. }) =
                tenant.and_then(|tenant| tenant.ended.pop_front())
            else {
                return;
            };
            self.ended -= 1;
            let is_served = self.tenants.get(&name).is_some_and(|one| !one.functions.is_empty());
            if is_served && !series.shown.load(Relaxed) && series.key.is_some() {
                self.merged(&name).figures.add(&series.figures);
            }
        }
    }

    /// Drops tenants of which nothing is deployed and nothing is to be shown.
    fn forget_tenants(&mut self) {
        self.tenants.retain(|_, one| !one.functions.is_empty() || !one.ended.is_empty());
    }
}

impl TenantSeries {
    fn new(share: &Weight) -> TenantSeries {
        TenantSeries {
            share: share.clone(),
            figures: Arc::default(),
            functions: HashMap::new(),
            own: Vec::new(),
            merged: None,
            ended: VecDeque::new(),
        }
    }

    fn end(&mut self, series: Arc<FunctionSeries>) {
        self.ended.push_back(EndedSeries { series, is_still: false });
    }

    fn show(&mut self, name: &TenantName, shown: &mut Shown, held: &mut Vec<Arc<FunctionMetrics>>) {
        let first = shown.series.len();
        let mut merged = 0;
        let mut gauges = (None, None);
        let add = |sum: &mut Option<u64>, one: Option<u64>| {
            if let Some(one) = one {
                *sum = Some(sum.unwrap_or(0) + one);
            }
        };
        for series in &self.own {
            let function = series.key.as_ref().and_then(|key| self.functions.get(key)?.upgrade());
            let mut one = ShownSeries::bare(series, false);
            if let Some(function) = function {
                (one.ready, one.instances) = (function.ready(), function.instances());
                one.revisions = function.revisions();
                held.push(function);
            }
            shown.series.push(one);
        }
        for function in self.functions.values().filter_map(Weak::upgrade) {
            let series = function.series.load_full();
            if series.as_ref().is_none_or(|series| series.key.is_none()) {
                merged += usize::from(series.is_some());
                add(&mut gauges.0, function.ready());
                add(&mut gauges.1, function.instances());
            }
            held.push(function);
        }
        for ended in &mut self.ended {
            // No function leads to them any more. A thread that is about to count holds them, and
            // so is seen here.
            ended.is_still |= Arc::get_mut(&mut ended.series).is_some();
            shown.series.push(ShownSeries::bare(&ended.series, ended.is_still));
        }
        shown.series[first..].sort_unstable_by(|a, b| a.series.key.cmp(&b.series.key));
        if let Some(series) = &self.merged {
            let (ready, instances) = gauges;
            shown.series.push(ShownSeries { ready, instances, ..ShownSeries::bare(series, false) });
        }
        let (name, figures) = (name.clone(), self.figures.clone());
        shown.tenants.push(ShownTenant { name, figures, merged });
    }
}

impl ShownSeries {
    fn bare(series: &Arc<FunctionSeries>, is_last: bool) -> ShownSeries {
        let (series, revisions) = (series.clone(), Box::default());
        ShownSeries { series, ready: None, instances: None, revisions, is_last }
    }
}

#[cfg(test)]
mod tests;
