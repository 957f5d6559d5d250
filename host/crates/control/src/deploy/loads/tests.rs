//! Turns to read and to load: tenants of many components, and files that do not answer.

use std::sync::mpsc;

use futures_util::FutureExt;

use super::*;

fn loads() -> DeployLoads {
    let compilation = Compilation { concurrency: 1, queue: 0, ..Compilation::default() };
    DeployLoads { patience: Duration::from_millis(1), ..DeployLoads::new(&compilation) }
}

fn name(text: &str) -> TenantName {
    text.parse().unwrap()
}

/// As many tenants as are read for at once have files that do not answer, and more of each: the
/// next tenant is read for all the same, and each of them holds one thread.
#[tokio::test]
async fn files_that_do_not_answer_are_waited_for_by_their_tenants_only() {
    let loads = Arc::new(loads());
    let (begun, begins) = mpsc::channel();
    let names: Vec<_> = (0..READS).map(|n| name(&format!("t{n}"))).collect();
    let mut hanging = Vec::new();
    for tenant in names.iter().chain(&names) {
        let (tenant, loads, begun) = (tenant.clone(), loads.clone(), begun.clone());
        let (answer, answered) = mpsc::channel::<()>();
        let task = tokio::spawn(async move {
            let read = loads.read(&tenant, move || {
                begun.send(()).unwrap();
                answered.recv().is_ok()
            });
            read.await.unwrap()
        });
        hanging.push((answer, task));
    }
    let mut threads = 0;
    while threads < READS {
        threads += begins.try_iter().count();
        tokio::task::yield_now().await;
    }
    assert_eq!(loads.read(&name("neighbour"), || "read").await.unwrap(), "read");
    assert_eq!(threads + begins.try_iter().count(), READS, "one thread of each tenant");
    for (answer, task) in hanging {
        answer.send(()).unwrap();
        assert!(task.await.unwrap());
    }
    assert_eq!(loads.reads.available_permits(), READS);
}

/// Work that is given up still has its tenant's turn: a host that is told to read again and again
/// has no more threads for it.
#[tokio::test]
async fn a_reading_that_is_given_up_keeps_its_tenants_turn() {
    let loads = loads();
    let (answer, answered) = mpsc::channel::<()>();
    let (suspect, neighbour) = (name("suspect"), name("neighbour"));
    let mut given_up = Box::pin(loads.read(&suspect, move || answered.recv().is_ok()));
    assert!((&mut given_up).now_or_never().is_none());
    drop(given_up);
    let mut again = Box::pin(loads.read(&suspect, || "again"));
    assert!((&mut again).now_or_never().is_none());
    assert_eq!(loads.read(&neighbour, || "read").await.unwrap(), "read");
    assert!((&mut again).now_or_never().is_none());
    answer.send(()).unwrap();
    assert_eq!(again.await.unwrap(), "again");
}

#[tokio::test]
async fn a_component_that_is_read_for_long_leaves_its_place_to_others() {
    let loads = loads();
    let mut load = loads.enter(&name("suspect")).await;
    let (answer, answered) = tokio::sync::oneshot::channel::<()>();
    let mut reading = Box::pin(load.giving_way(answered));
    let neighbour = name("neighbour");
    let other = tokio::select! {
        _ = &mut reading => panic!("nothing was read"),
        other = loads.enter(&neighbour) => other,
    };
    answer.send(()).unwrap();
    assert!((&mut reading).now_or_never().is_none(), "it waits for a place again");
    drop(other);
    reading.await.unwrap();
}

#[tokio::test]
async fn a_tenant_of_many_stands_in_line_once() {
    let loads = loads();
    let (greedy, modest) = (name("greedy"), name("modest"));
    let first = loads.enter(&greedy).await;
    // Each stands in line from the first look on.
    let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(loads.enter(&greedy))).collect();
    assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
    let mut second = Box::pin(loads.enter(&modest));
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    // It was the first to stand in line for the place: the other tenant's next comes after it.
    let _second = second.await;
    assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
}
