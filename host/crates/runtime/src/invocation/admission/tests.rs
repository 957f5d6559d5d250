use lacewing_base::TenantAccount;
use lacewing_sandbox::engine::{Engines, PoolOptions};

use super::*;
use crate::function::{Allotment, QuotaLimits};

fn queue(wait_ms: u64, length: u32) -> QueueOptions {
    QueueOptions { wait: Duration::from_millis(wait_ms), length, rate_per_s: None }
}

fn engines() -> &'static Arc<Engines> {
    static ENGINES: std::sync::OnceLock<Arc<Engines>> = std::sync::OnceLock::new();
    let pool = PoolOptions { sandboxes: 1, ..PoolOptions::default() };
    ENGINES.get_or_init(|| Engines::new(pool).unwrap())
}

/// A host that admits to a number of slots, and its tenants.
struct SmallHost(Admission);

impl std::ops::Deref for SmallHost {
    type Target = Admission;

    fn deref(&self) -> &Admission {
        &self.0
    }
}

fn host(capacity: u32, queue: QueueOptions) -> Arc<SmallHost> {
    Arc::new(SmallHost(Admission::new(capacity, queue)))
}

impl SmallHost {
    fn tenant_with(&self, quota: QuotaLimits, weight: u32) -> Arc<Tenant> {
        let tenant = Tenant::new(TenantAccount::alone("acme"), quota, engines(), self.slots());
        tenant.set(Allotment { quota, weight });
        tenant
    }

    fn tenant(&self, concurrency: u32) -> Arc<Tenant> {
        self.tenant_with(at_once(concurrency), 1)
    }
}

fn at_once(concurrency: u32) -> QuotaLimits {
    QuotaLimits { concurrency, ..QuotaLimits::NONE }
}

fn function(concurrency: u32) -> Arc<Quota> {
    Quota::new(at_once(concurrency))
}

fn why(refused: &AdmissionRefusal) -> (Outcome, &'static str) {
    (refused.outcome, refused.reason)
}

/// Waits until so many wait.
async fn waiting(admission: &Admission, many: u32) {
    while admission.waiting() != many {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_full_function_throttles_and_a_full_host_sheds() {
    let admission = host(2, queue(1, 10));
    let (tenant, small, large) = (admission.tenant(10), function(1), function(10));
    let first = admission.admit(&tenant, &small, 64).await.unwrap();
    let refused = admission.admit(&tenant, &small, 64).await.unwrap_err();
    assert_eq!(why(&refused), (Outcome::Throttled, FUNCTION_FULL));
    let second = admission.admit(&tenant, &large, 64).await.unwrap();
    let refused = admission.admit(&tenant, &large, 64).await.unwrap_err();
    assert_eq!(why(&refused), (Outcome::LoadShed, HOST_FULL));
    assert_eq!(admission.in_flight(), 2);
    drop((first, second));
    assert_eq!((admission.in_flight(), admission.waiting()), (0, 0));
    assert_eq!((tenant.quota().in_use(), small.in_use(), large.in_use()), (0, 0, 0));
    assert_eq!((tenant.slots().used(), tenant.waiting()), (0, 0));
}

#[tokio::test]
async fn a_full_tenant_throttles_only_itself() {
    let admission = host(10, queue(1, 10));
    let (full, other, function) = (admission.tenant(1), admission.tenant(1), function(10));
    let _permit = admission.admit(&full, &function, 64).await.unwrap();
    let refused = admission.admit(&full, &function, 64).await.unwrap_err();
    assert_eq!(why(&refused), (Outcome::Throttled, TENANT_FULL));
    assert!(admission.admit(&other, &function, 64).await.is_ok());
}

#[tokio::test]
async fn a_tenants_memory_is_the_sum_of_its_sandboxes_limits() {
    let admission = host(10, queue(1, 10));
    let tenant = admission.tenant_with(QuotaLimits { memory_mib: 100, ..at_once(10) }, 1);
    let function = function(10);
    let first = admission.admit(&tenant, &function, 64).await.unwrap();
    let refused = admission.admit(&tenant, &function, 64).await.unwrap_err();
    assert_eq!(why(&refused), (Outcome::Throttled, TENANT_MEMORY));
    assert!(admission.admit(&tenant, &function, 36).await.is_ok());
    drop(first);
    assert!(admission.admit(&tenant, &function, 64).await.is_ok());
}

#[tokio::test]
async fn a_waiting_request_gets_the_slot_that_comes_free() {
    let admission = host(1, queue(60_000, 10));
    for (tenant, function) in [
        (admission.tenant(1), function(9)),
        (admission.tenant(9), function(1)),
        (admission.tenant(9), function(9)),
    ] {
        let permit = admission.admit(&tenant, &function, 64).await.unwrap();
        let waiter = tokio::spawn({
            let (admission, tenant, function) =
                (admission.clone(), tenant.clone(), function.clone());
            async move { admission.admit(&tenant, &function, 64).await.map(drop) }
        });
        waiting(&admission, 1).await;
        drop(permit);
        assert_eq!(waiter.await.unwrap(), Ok(()));
        assert_eq!(admission.waiting(), 0);
    }
}

#[tokio::test]
async fn a_full_backlog_refuses_its_tenant_only() {
    let admission = host(1, queue(60_000, 2));
    let (busy, other, function) = (admission.tenant(10), admission.tenant(10), function(10));
    let permit = admission.admit(&busy, &function, 64).await.unwrap();
    let ask = |tenant: &Arc<Tenant>| {
        let (admission, tenant, function) = (admission.clone(), tenant.clone(), function.clone());
        tokio::spawn(async move { admission.admit(&tenant, &function, 64).await.map(drop) })
    };
    let waiters = [ask(&busy), ask(&busy)];
    waiting(&admission, 2).await;
    let refused = admission.admit(&busy, &function, 64).await.unwrap_err();
    assert_eq!(why(&refused), (Outcome::LoadShed, QUEUE_FULL));
    let others = ask(&other);
    waiting(&admission, 3).await;
    drop(permit);
    for waiter in waiters.into_iter().chain([others]) {
        assert_eq!(waiter.await.unwrap(), Ok(()));
    }
}

/// Of a host that is full, each tenant gets the slots that come free in proportion to its weight,
/// however many of its requests wait.
#[tokio::test]
async fn requests_that_wait_for_the_host_are_served_fairly() {
    let admission = host(1, queue(60_000, 1000));
    let (first, second) =
        (admission.tenant_with(QuotaLimits::NONE, 1), admission.tenant_with(QuotaLimits::NONE, 3));
    let function = function(1000);
    let permit = admission.admit(&first, &function, 64).await.unwrap();
    let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
    // Many of one come first.
    for (tenant, name, many) in [(&first, 1, 300), (&second, 2, 90)] {
        for _ in 0..many {
            let (admission, tenant, function) =
                (admission.clone(), tenant.clone(), function.clone());
            let served = served.clone();
            tokio::spawn(async move {
                let permit = admission.admit(&tenant, &function, 64).await.unwrap();
                served.send(name).unwrap();
                drop(permit);
            });
        }
    }
    waiting(&admission, 390).await;
    drop((permit, served));
    let mut all = Vec::new();
    while let Some(name) = order.recv().await {
        all.push(name);
    }
    assert_eq!(all.len(), 390);
    let of_first = all[..100].iter().filter(|name| **name == 1).count();
    assert!((24..=26).contains(&of_first), "{of_first} of 100");
}

#[tokio::test]
async fn one_of_many_tenants_does_not_get_all_slots() {
    let admission = host(100, queue(0, 0));
    let (greedy, heavy, other) = (
        admission.tenant(1000),
        admission.tenant_with(QuotaLimits::NONE, 10),
        admission.tenant(1000),
    );
    let function = function(1000);
    let fill = async |tenant: Arc<Tenant>| {
        let mut permits = Vec::new();
        loop {
            match admission.admit(&tenant, &function, 64).await {
                Ok(permit) => permits.push(permit),
                Err(refused) => {
                    assert_eq!(refused.outcome, Outcome::LoadShed);
                    return permits;
                }
            }
        }
    };
    let permits = fill(greedy.clone()).await;
    assert_eq!(permits.len(), 80);
    assert_eq!(fill(other.clone()).await.len(), 16);
    drop(permits);
    assert_eq!(fill(heavy.clone()).await.len(), 98);
    drop((greedy, heavy));
    assert_eq!(fill(other.clone()).await.len(), 100);
}

#[tokio::test]
async fn a_rate_says_when_and_waits_for_a_token_that_comes_soon() {
    let admission = host(10, queue(100, 10));
    let limited = |rate| Quota::new(QuotaLimits { rate_per_s: Some(rate), ..QuotaLimits::NONE });
    let (tenant, function) = (admission.tenant(10), limited(1));
    admission.admit(&tenant, &function, 64).await.unwrap();
    let refused = admission.admit(&tenant, &function, 64).await.unwrap_err();
    assert_eq!(why(&refused), (Outcome::Throttled, FUNCTION_RATE));
    assert!(refused.retry_after > Duration::from_millis(900), "{:?}", refused.retry_after);
    // The 21st has to wait for a twentieth of a second.
    let (function, start) = (limited(20), Instant::now());
    for _ in 0..21 {
        admission.admit(&tenant, &function, 64).await.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(49), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_hosts_rate_sheds_and_costs_the_others_no_token() {
    let options = QueueOptions { rate_per_s: Some(1), ..queue(1, 10) };
    let admission = host(10, options);
    let tenant = admission.tenant_with(QuotaLimits { rate_per_s: Some(2), ..QuotaLimits::NONE }, 1);
    let function = function(10);
    admission.admit(&tenant, &function, 64).await.unwrap();
    for _ in 0..3 {
        let refused = admission.admit(&tenant, &function, 64).await.unwrap_err();
        assert_eq!(why(&refused), (Outcome::LoadShed, HOST_RATE));
    }
    assert_eq!(tenant.quota().take_rate(Duration::ZERO), Ok(Duration::ZERO));
}

/// With cores of their own: other tests take turns as well.
fn two_tenants(admission: &Admission) -> (Arc<Engines>, Arc<Tenant>, Arc<Tenant>) {
    let pool = PoolOptions { sandboxes: 1, ..PoolOptions::default() };
    let engines = Engines::new(pool).unwrap();
    let quota = QuotaLimits::NONE;
    let [busy, other] = ["busy", "other"]
        .map(|name| Tenant::new(TenantAccount::alone(name), quota, &engines, admission.slots()));
    (engines, busy, other)
}

#[tokio::test]
async fn a_tenant_that_has_taken_its_share_begins_with_a_turn() {
    let (admission, function) = (host(1000, queue(20, 1000)), function(1000));
    let (_engines, busy, other) = two_tenants(&admission);
    busy.lane().charge(Duration::from_secs(1));
    other.lane().charge(Duration::from_millis(1));
    let mut turns = Vec::new();
    let refused = loop {
        match admission.admit(&busy, &function, 64).await {
            Ok(mut permit) => turns.push(permit.take_turn().unwrap()),
            Err(refused) => break refused,
        }
    };
    assert_eq!(why(&refused), (Outcome::LoadShed, CORES_FULL));
    assert_eq!(turns.len(), std::thread::available_parallelism().unwrap().get());
    let mut permit = admission.admit(&other, &function, 64).await.unwrap();
    assert!(permit.take_turn().is_none(), "it has credit");
    turns.pop();
    assert!(admission.admit(&busy, &function, 64).await.is_ok());
}

#[tokio::test]
async fn a_stopping_host_admits_no_request_and_waits_for_the_last() {
    let admission = host(10, queue(1, 10));
    let (tenant, function) = (admission.tenant(10), function(10));
    let permit = admission.admit(&tenant, &function, 64).await.unwrap();
    let idle = tokio::spawn({
        let admission = admission.clone();
        async move { admission.idle().await }
    });
    let refused = loop {
        match admission.admit(&tenant, &function, 64).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(refused) => break refused,
        }
    };
    assert_eq!(why(&refused), (Outcome::LoadShed, DRAINING));
    assert!(!idle.is_finished());
    drop(permit);
    idle.await.unwrap();
}
