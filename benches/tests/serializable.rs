//! Transactions of a real host under concurrency, in short: the program `serializable` is the long
//! form.

use lacewing_benches::serializable::{Plan, run};

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_transactions_show_no_anomaly() {
    let plan = Plan { transactions: 4_000, clients: 16, checked: true };
    for judged in run(plan).await.unwrap().workloads {
        assert_eq!(judged.anomalies, [""; 0], "{}", judged.workload);
        assert!(judged.given_up < judged.transactions / 2, "{judged:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_check_at_commit_each_workload_shows_anomalies() {
    let plan = Plan { transactions: 4_000, clients: 16, checked: false };
    for judged in run(plan).await.unwrap().workloads {
        assert!(!judged.anomalies.is_empty(), "{}", judged.workload);
    }
}
