//! Turns to load a component.

use futures_util::FutureExt;

use super::*;

#[tokio::test]
async fn a_tenant_of_many_stands_in_line_once() {
    let settings = Compilation { concurrency: 1, queue: 0, ..Compilation::default() };
    let loads = Loads::new(&settings);
    let (greedy, modest): (TenantName, TenantName) =
        ("greedy".parse().unwrap(), "modest".parse().unwrap());
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
