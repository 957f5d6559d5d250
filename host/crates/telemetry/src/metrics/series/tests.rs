//! The shares of tenants in series, and the exactness of counts.

use std::{
    collections::HashMap,
    sync::{atomic::AtomicU64, mpsc},
    thread,
};

use lacewing_base::outcome::Outcome;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::Usage;

fn key(tenant: usize, function: usize) -> FunctionKey {
    FunctionKey {
        tenant: format!("t{tenant}").parse().unwrap(),
        app: "app".parse().unwrap(),
        function: format!("f{function}").parse().unwrap(),
    }
}

fn invoked(series: &FunctionSeries) -> u64 {
    Outcome::ALL.iter().map(|outcome| series.figures.outcome(*outcome)).sum()
}

/// A number that no other series has.
pub(super) fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Relaxed)
}

/// A host, and what is deployed on it.
struct Model {
    set: Arc<SeriesSet>,
    shares: Vec<Weight>,
    functions: HashMap<(usize, usize), Arc<FunctionMetrics>>,
    /// The counts of the scrape before, with the number of the series.
    before: HashMap<(TenantName, Option<Key>), (u64, u64)>,
    /// The sums of `rate()`, by tenant.
    increases: HashMap<TenantName, u64>,
}

impl Model {
    fn new(most: usize, weights: &[u32]) -> Model {
        Model {
            set: SeriesSet::new(most),
            shares: weights.iter().map(|weight| Weight::new(*weight)).collect(),
            functions: HashMap::new(),
            before: HashMap::new(),
            increases: HashMap::new(),
        }
    }

    fn deploy(&mut self, tenant: usize, function: usize) -> Arc<FunctionMetrics> {
        let (set, share) = (&self.set, &self.shares[tenant]);
        let new = || set.get_or_create(key(tenant, function), share);
        self.functions.entry((tenant, function)).or_insert_with(new).clone()
    }

    fn invoke(&mut self, tenant: usize, function: usize, outcome: Outcome) {
        self.deploy(tenant, function).observe(outcome, &Usage::default());
    }

    /// A deploy: merged functions ask for series again.
    fn swap(&self) {
        self.functions.values().for_each(|function| function.set_revisions(vec!["r".into()]));
    }

    fn scrape(&mut self) -> Shown {
        let shown = self.set.shown();
        let mut now = HashMap::new();
        for ShownSeries { series, .. } in &shown.series {
            let (labels, count) = ((series.tenant.clone(), series.key.clone()), invoked(series));
            let before = match self.before.get(&labels) {
                Some((number, before)) if *number == series.number => {
                    assert!(*before <= count, "{labels:?} went from {before} to {count}");
                    *before
                }
                // They began at zero again.
                Some(_) | None => 0,
            };
            *self.increases.entry(series.tenant.clone()).or_default() += count - before;
            assert!(now.insert(labels, (series.number, count)).is_none(), "twice: {series:?}");
        }
        self.before = now;
        self.set.was_shown(&shown);
        shown
    }

    fn own(&self, tenant: usize) -> usize {
        let functions = self.functions.iter().filter(|((of, _), _)| *of == tenant);
        let series = functions.filter_map(|(_, function)| function.series.load_full());
        series.filter(|series| series.key.is_some()).count()
    }
}

#[test]
fn a_tenant_with_thousands_of_functions_leaves_a_neighbour_its_five() {
    let mut model = Model::new(2_000, &[1, 1]);
    (0..15_000).for_each(|function| model.invoke(0, function, Outcome::Ok));
    assert_eq!((model.own(0), model.set.held()), (2_000, (2_000, 0)));
    (0..5).for_each(|function| model.invoke(1, function, Outcome::Trap));
    assert_eq!((model.own(0), model.own(1)), (1_995, 5));
    let shown = model.scrape();
    assert_eq!(shown.functions, 15_005);
    assert_eq!(shown.series.len(), 2_000 + 1 + 5, "own, merged, and five that ended");
    assert_eq!((shown.tenants[0].merged, shown.tenants[1].merged), (13_005, 0));
    assert_eq!(model.scrape().series.len(), 2_001);
    let all: u64 = shown.series.iter().map(|one| invoked(&one.series)).sum();
    assert_eq!(all, 15_005);
}

#[test]
fn weights_are_the_parts_and_nothing_moves_once_they_are_reached() {
    let mut model = Model::new(40, &[1, 3]);
    (0..100).for_each(|function| model.invoke(0, function, Outcome::Ok));
    (0..100).for_each(|function| model.invoke(1, function, Outcome::Ok));
    assert_eq!((model.own(0), model.own(1)), (10, 30));
    model.scrape();
    for _ in 0..3 {
        model.swap();
        for tenant in [0, 1] {
            (0..100).for_each(|function| model.invoke(tenant, function, Outcome::Ok));
        }
        assert_eq!((model.own(0), model.own(1)), (10, 30));
        assert_eq!(model.set.held(), (40, 0), "no series ends");
    }
}

#[test]
fn series_that_a_neighbour_gave_back_are_had_after_the_next_deploy() {
    let mut model = Model::new(10, &[1, 1]);
    for function in 0..10 {
        model.invoke(0, function, Outcome::Ok);
        model.invoke(1, function, Outcome::Ok);
    }
    assert_eq!((model.own(0), model.own(1)), (5, 5));
    model.functions.retain(|(tenant, _), _| *tenant == 0);
    model.swap();
    (0..10).for_each(|function| model.invoke(0, function, Outcome::Ok));
    assert_eq!(model.own(0), 10);
    let shown = model.scrape();
    let merged = shown.series.iter().find(|one| one.series.key.is_none()).unwrap();
    assert_eq!(invoked(&merged.series), 5, "it keeps what it has counted");
    assert_eq!(model.increases[&"t0".parse().unwrap()], 20);
}

#[test]
fn a_function_that_is_gone_is_shown_once_more_and_goes_on_if_it_comes_back_before() {
    let mut model = Model::new(10, &[1]);
    model.invoke(0, 0, Outcome::Ok);
    model.scrape();
    model.invoke(0, 0, Outcome::Ok);
    model.functions.clear();
    assert_eq!(model.set.held(), (0, 1));
    // The function comes back before the next scrape.
    model.invoke(0, 0, Outcome::Ok);
    assert_eq!(model.set.held(), (1, 0));
    model.functions.clear();
    let shown = model.scrape();
    assert_eq!(invoked(&shown.series[0].series), 3);
    assert_eq!(shown.tenants[0].figures.outcome(Outcome::Ok), 3);
    let shown = model.scrape();
    assert!(shown.series.is_empty() && shown.tenants.is_empty(), "{shown:?}");
    model.invoke(0, 0, Outcome::Ok);
    assert_eq!(invoked(&model.scrape().series[0].series), 1);
}

#[test]
fn a_host_without_scrapes_keeps_no_more_than_it_may() {
    let mut model = Model::new(8, &[1, 1]);
    model.invoke(1, 0, Outcome::Ok);
    // A tenant whose every deploy names its functions anew.
    for deploy in 0..500 {
        for function in 0..4 {
            model.invoke(0, 4 * deploy + function, Outcome::Ok);
        }
        let last = 4 * deploy + 3;
        model.functions.retain(|(tenant, function), _| *tenant == 1 || *function == last);
        let (own, ended) = model.set.held();
        assert!(own <= 8 && ended <= 8, "{own} {ended}");
    }
    let shown = model.scrape();
    let of = |tenant: &str| {
        let series = shown.series.iter().filter(|one| one.series.tenant.as_str() == tenant);
        series.map(|one| invoked(&one.series)).sum::<u64>()
    };
    assert_eq!((of("t0"), of("t1")), (2_000, 1), "what no scrape has shown is merged");
}

/// A series is not dropped while a thread counts in it.
#[test]
fn an_invocation_that_is_being_counted_is_not_lost() {
    let model = Model::new(10, &[1]);
    let function = model.set.get_or_create(key(0, 0), &model.shares[0]);
    function.observe(Outcome::Ok, &Usage::default());
    let counting = function.series.load_full().unwrap();
    drop(function);
    let shown = model.set.shown();
    model.set.was_shown(&shown);
    assert_eq!(model.set.held(), (0, 1), "a thread holds it");
    counting.figures.observe(Outcome::Ok, &Usage::default());
    drop((counting, shown));
    let shown = model.set.shown();
    assert_eq!(invoked(&shown.series[0].series), 2);
    model.set.was_shown(&shown);
    assert_eq!(model.set.held(), (0, 0));
}

/// Threads count while functions come and go, and a scraper reads.
#[test]
fn nothing_is_lost_between_threads() {
    let mut model = Model::new(100, &[1, 1]);
    let (set, shares) = (model.set.clone(), model.shares.clone());
    // So that the tenants stay.
    let held = [0, 1].map(|tenant| set.get_or_create(key(tenant, 9), &shares[tenant]));
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        for tenant in [0, 0, 1, 1] {
            let (set, share, done) = (&set, &shares[tenant], done.clone());
            scope.spawn(move || {
                for n in 0..2_000 {
                    let function = set.get_or_create(key(tenant, (n / 3) % 5), share);
                    function.observe(Outcome::Ok, &Usage::default());
                }
                drop(done);
            });
        }
        drop(done);
        while is_done.try_recv() == Err(mpsc::TryRecvError::Empty) {
            model.scrape();
        }
    });
    while set.held() != (0, 0) {
        model.scrape();
    }
    for function in held {
        assert_eq!(function.tenant.outcome(Outcome::Ok), 4_000);
        assert_eq!(model.increases[&function.key.tenant], 4_000);
    }
}

/// An event of a host.
#[derive(Clone, Debug)]
enum Step {
    Invoke(usize, usize, bool),
    Remove(usize, usize),
    Swap,
    Scrape,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3_usize, 0..9_usize, any::<bool>()).prop_map(|(t, f, ok)| Step::Invoke(t, f, ok)),
        3 => (0..3_usize, 0..9_usize).prop_map(|(t, f)| Step::Remove(t, f)),
        1 => Just(Step::Swap),
        2 => Just(Step::Scrape),
    ]
}

proptest! {
    /// For any order of deploys, invocations, removals and scrapes: no series goes down, the sums
    /// of `rate()` are the invocations, and a tenant with no more functions than its part has
    /// series for each.
    #[test]
    fn nothing_is_lost_or_counted_twice(
        most in 0_usize..12,
        tenants in vec((1_u32..5, 1_usize..10), 3),
        steps in vec(step(), 1..200),
    ) {
        let weights: Vec<u32> = tenants.iter().map(|(weight, _)| *weight).collect();
        let mut model = Model::new(most, &weights);
        let mut invoked = [0_u64; 3];
        let all: usize = weights.iter().map(|weight| *weight as usize).sum();
        for step in steps {
            // As often as it takes that nothing ends unseen.
            if model.set.held().1 + 2 > most.max(1) {
                model.scrape();
            }
            match step {
                Step::Invoke(tenant, function, is_ok) => {
                    let outcome = if is_ok { Outcome::Ok } else { Outcome::Trap };
                    model.invoke(tenant, function % tenants[tenant].1, outcome);
                    invoked[tenant] += 1;
                }
                Step::Remove(tenant, function) => {
                    model.functions.remove(&(tenant, function % tenants[tenant].1));
                }
                Step::Swap => model.swap(),
                Step::Scrape => drop(model.scrape()),
            }
            prop_assert!(model.set.held().0 <= most);
            for ((tenant, _), function) in &model.functions {
                let (weight, functions) = tenants[*tenant];
                let is_modest = functions * all <= most * weight as usize;
                let series = function.series.load_full();
                prop_assert!(!is_modest || series.is_none_or(|series| series.key.is_some()));
            }
        }
        model.scrape();
        for (tenant, invoked) in invoked.into_iter().enumerate() {
            let name: TenantName = format!("t{tenant}").parse().unwrap();
            prop_assert_eq!(model.increases.get(&name).copied().unwrap_or(0), invoked, "{}", name);
        }
    }
}
