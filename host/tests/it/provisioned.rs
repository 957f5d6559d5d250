//! Sandboxes that are made ahead: each is one invocation's, as if it had been made for it.

use std::{sync::atomic::Ordering, time::Instant};

use lacewing::{
    control::Host,
    telemetry::metrics::{Exposition, Tally},
};

use crate::{
    components::{Core, component_file},
    harness::{Served, eventually, guest},
    snapshot::manifest,
    tenants::Tenants,
};

/// Ready, taken and missed, over all functions.
fn figures(host: &Host) -> [u64; 3] {
    let deployed = host.deployed();
    let of = |revision: &std::sync::Arc<lacewing::function::Revision>| {
        let figures = &revision.metrics;
        let ready = figures.provisioned_ready().load(Ordering::Relaxed);
        let tallied = |tally| figures.tallied(tally);
        [ready, tallied(Tally::ProvisionedTaken), tallied(Tally::ProvisionedMissed)]
    };
    deployed
        .revisions
        .iter()
        .map(of)
        .fold([0; 3], |sum, one| [sum[0] + one[0], sum[1] + one[1], sum[2] + one[2]])
}

async fn ready(host: &Host, count: u64) {
    eventually("the sandboxes are ready", || figures(host)[0] == count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_invocation_takes_one_that_knows_only_itself() {
    let served =
        Served::manifest(&manifest("keep", "provisioned = 3\ndeadline_ms = 300\ncpu_ms = 300"))
            .await;
    let made = Instant::now();
    // Older than the deadline of any of its invocations.
    eventually("they are old", || made.elapsed().as_millis() > 400).await;
    for taken in 1..=6 {
        ready(&served.host, 3).await;
        assert_eq!(served.get("/inits").await.text(), "1", "what another one counted");
        assert_eq!(figures(&served.host)[1..], [taken, 0]);
    }
    ready(&served.host, 3).await;
    while served.host.invoker().admission().in_flight() > 0 {
        tokio::task::yield_now().await;
    }
    // The facts about its invocation are its own, and so is where its lines go.
    let _ = served.sink.take();
    let told = served.get("/invocation").await.text().to_owned();
    let (record, _) = served.record().await;
    assert_eq!(record["invocation"], told.as_str());
    served.get("/print").await;
    let (_, lines) = served.record().await;
    assert_eq!(lines, ["this is printed by an invocation", "and so is this"]);
    // Its time is counted from when it was taken, and then it is over.
    let spun = served.get("/spin").await;
    assert!(["cpu_exceeded", "deadline_exceeded"].contains(&spun.outcome()), "{}", spun.outcome());
    let (record, _) = served.record().await;
    assert!(record["cpu_us"].as_u64().unwrap() > 10_000, "{record}");

    let metrics = served.host.metrics().expose(Exposition::OpenMetrics);
    for series in ["provisioned_ready", "provisioned_taken_total", "provisioned_missed_total"] {
        let series = format!(
            "\nlacewing_{series}{{tenant=\"local\",app=\"suspect\",function=\"suspect\"}} "
        );
        assert!(metrics.contains(&series), "{series} is not in\n{metrics}");
    }
    served.host.stop_provisioning();
    served.assert_idle().await;
    assert_eq!(served.get("/inits").await.text(), "1", "it is served still");
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_takes_its_provisioned_sandboxes_with_it() {
    let tenants = Tenants::hostile("provisioned = 4").await;
    let host = tenants.served.host.clone();
    ready(&host, 4).await;
    assert_eq!(tenants.get("/ok").await.outcome(), "ok");
    tenants.deploy("suspect", &guest("hostile"), "provisioned = 2").await.unwrap();
    ready(&host, 2).await;
    let instances = || host.invoker().engines().usage().component_instances;
    eventually("those of the old revision are gone", || instances() == 2).await;
    // A part that does not change keeps its state.
    tenants.deploy("neighbour", &guest("hostile"), "provisioned = 1").await.unwrap();
    ready(&host, 3).await;
    tenants.deploy("suspect", &guest("hostile"), "").await.unwrap();
    tenants.deploy("neighbour", &guest("hostile"), "").await.unwrap();
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_more_than_the_host_has_slots_for() {
    // A quarter of eight, besides the eight.
    let text = manifest("keep", "provisioned = 100");
    let served = Served::manifest_with(&text, |settings| settings.max_sandboxes = 8).await;
    ready(&served.host, 2).await;
    let all = (0..20).map(|_| served.get("/inits"));
    for reply in futures_util::future::join_all(all).await {
        assert_eq!((reply.outcome(), reply.text()), ("ok", "1"));
    }
    ready(&served.host, 2).await;
    let [_, taken, missed] = figures(&served.host);
    assert_eq!(taken + missed, 20);
    served.host.stop_provisioning();
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_calls_the_host_at_instantiation_is_not_provisioned() {
    let outer = r#"
        (import "wasi:clocks/monotonic-clock@0.2.0"
            (instance $clock (export "now" (func (result u64)))))
        (core func $now (canon lower (func $clock "now")))
        (core module $first (import "" "now" (func $now (result i64)))
            (func $start (drop (call $now)))
            (start $start))
        (core instance (instantiate $first (with "" (instance (export "now" (func $now))))))"#;
    let core = Core { body: "called", outer: outer.to_owned(), ..Core::default() };
    let (_dir, path) = component_file(&core.lean());
    let text = format!(
        "app = \"a\"\n[functions.f]\ncomponent = {path:?}\nroutes = [\"/\"]\nlimits = {{ provisioned = 2 }}",
    );
    let served = Served::manifest(&text).await;
    // Its first attempt is dropped, and there is no other.
    served.assert_idle().await;
    for _ in 0..3 {
        assert_eq!(served.get("/").await.text(), "called");
    }
    assert_eq!(figures(&served.host), [0, 0, 3]);
    served.assert_idle().await;
}
