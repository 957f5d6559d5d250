//! Deploys beside traffic: nobody notices one that succeeds, and nothing changes by one that fails.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use lacewing::{
    config::HostFile,
    control::{Components, Incoming, Ready, Swap},
    telemetry::metrics::Exposition,
};
use tokio::{net::TcpStream, sync::watch};

use crate::{
    components::{Core, write_component},
    harness::{Served, component, eventually},
    tenants::{NEIGHBOUR, SUSPECT, Tenants, shared_cache},
};

const BODIES: [&str; 2] = ["revision A", "revision B"];

fn revisions(dir: &Path) -> [PathBuf; 2] {
    BODIES.map(|body| {
        let core = Core { body, ..Core::default() };
        write_component(dir, &format!("{}.wasm", &body[9..]), &core.lean())
    })
}

/// How often each body was answered; sent whenever it changes.
type Answers = watch::Sender<BTreeMap<String, u64>>;

/// Asks the suspect until it is told to stop, on connections that each carry a few requests.
async fn ask(tenants: Arc<Tenants>, stop: Arc<AtomicBool>, answers: Answers) {
    while !stop.load(Ordering::Relaxed) {
        let socket = TcpStream::connect(tenants.served.address).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
        let connection = tokio::spawn(connection);
        for _ in 0..20 {
            client.ready().await.unwrap();
            let request = http::Request::get("/x").header("host", SUSPECT);
            let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
            let response = client.send_request(request).await.unwrap();
            let status = response.status();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert_eq!(status, 200, "{body}");
            assert!(BODIES.contains(&body.as_str()), "{body}");
            answers.send_modify(|answers| *answers.entry(body).or_default() += 1);
        }
        drop(client);
        connection.await.unwrap().unwrap();
    }
}

async fn alternate(tenants: Tenants, revisions: &[PathBuf; 2], deploys: usize) {
    let tenants = Arc::new(tenants);
    let stop = Arc::new(AtomicBool::new(false));
    let answers = Answers::default();
    let clients: Vec<_> =
        (0..8).map(|_| tokio::spawn(ask(tenants.clone(), stop.clone(), answers.clone()))).collect();
    let mut seen = answers.subscribe();
    for turn in 1..=deploys {
        let (revision, body) = (&revisions[turn % 2], BODIES[turn % 2]);
        tenants.deploy("suspect", revision, "").await.unwrap();
        // From here on only the new one is asked; and some of the clients have been by before the
        // next.
        assert_eq!(tenants.get("/").await.text(), body);
        let enough = |answers: &BTreeMap<String, u64>| {
            answers.get(body).is_some_and(|count| *count >= 8 * turn as u64 / 2)
        };
        seen.wait_for(enough).await.unwrap();
        let deployed = tenants.served.host.deployed();
        assert_eq!(deployed.revisions.len(), 2);
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no request fails because of a deploy");
    }
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_deploys_under_load_fail_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let revisions = revisions(dir.path());
    alternate(Tenants::with(&revisions[0], "", |_| {}).await, &revisions, 20).await;
}

/// As many requests as there are sandboxes: a deploy's own must not be one of theirs.
#[tokio::test(flavor = "multi_thread")]
async fn deploys_beside_a_host_that_is_full_fail_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let revisions = revisions(dir.path());
    let tenants = Tenants::with(&revisions[0], "", |file| {
        file.settings.max_sandboxes = 1;
        file.settings.admission.wait = Duration::from_secs(60);
    })
    .await;
    alternate(tenants, &revisions, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_starts_its_component_while_every_sandbox_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let revisions = revisions(dir.path());
    let spin = Core { handle: "(loop $for-ever (br $for-ever))", ..Core::default() };
    let spin = write_component(dir.path(), "spin.wasm", &spin.lean());
    let tenants = Tenants::with(&spin, "cpu_ms = 600000\ndeadline_ms = 600000", |file| {
        file.settings.max_sandboxes = 1;
    })
    .await;
    let running = tenants.begin("/").await;
    tenants.deploy("suspect", &revisions[1], "").await.unwrap();
    assert_eq!(tenants.in_flight(), 1, "the old revision's invocation goes on");
    drop(running);
    let ended = tenants.ended().await;
    assert_eq!(ended.outcome(), "canceled");
    assert_eq!(tenants.get("/").await.text(), BODIES[1]);
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deploys_at_once_come_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = revisions(dir.path());
    let tenants = Tenants::with(&a, "", |file| file.settings.max_sandboxes = 1).await;
    let deploys = [&b, &a, &b, &a, &b].map(|revision| tenants.deploy("suspect", revision, ""));
    for deployed in futures_util::future::join_all(deploys).await {
        deployed.unwrap();
    }
    let body = tenants.get("/").await;
    assert!(BODIES.contains(&body.text()), "{}", body.text());
    assert_eq!(tenants.served.host.deployed().revisions.len(), 2);
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_changes_whole_or_not_at_all_and_no_other_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = revisions(dir.path());
    let tenants = Tenants::with(&a, "", |_| {}).await;
    let ids = || {
        let deployed = tenants.served.host.deployed();
        let ids = deployed.revisions.iter().map(|revision| revision.origin.revision.to_string());
        ids.collect::<Vec<_>>()
    };
    let before = ids();
    // The suspect is fine, and the neighbour is not: only the suspect changes.
    std::fs::write(dir.path().join("bad.wasm"), "not a component").unwrap();
    tenants.deploy("suspect", &b, "").await.unwrap();
    tenants.deploy("suspect", &a, "").await.unwrap();
    assert_eq!(ids(), before, "a revision is what it is made of");
    tenants.write("suspect", &b, "");
    let error = tenants.deploy("neighbour", &dir.path().join("bad.wasm"), "").await.unwrap_err();
    assert!(error.starts_with("function neighbour of app neighbour ("), "{error}");
    assert!(!error.contains('\n'), "only what is wrong is named: {error}");
    let after = ids();
    assert!(after[0] != before[0] && after[1] == before[1], "{after:?}");
    assert!(!tenants.served.host.deployed().complete);
    assert_eq!(tenants.get("/").await.text(), BODIES[1]);
    tenants.neighbour_is_served().await;
    tenants.write("neighbour", &component("hello"), "");
    tenants.deploy("suspect", &a, "").await.unwrap();
    assert_eq!(ids(), before);
    assert!(tenants.served.host.deployed().complete);
    // A new function beside one that is wrong: nothing of it stays, in the metrics either.
    let manifest = format!(
        "app = \"suspect\"\n[functions.new]\nroutes = [\"/new\"]\ncomponent = {b:?}\n[functions.bad]\ncomponent = {:?}\n",
        dir.path().join("bad.wasm")
    );
    let error = tenants.deploy_manifest(&manifest).await.unwrap_err();
    assert!(error.starts_with("function bad of app suspect ("), "{error}");
    let metrics = tenants.served.host.metrics().expose(Exposition::OpenMetrics);
    for series in ["\nlacewing_functions 2\n", &format!("revision=\"{}\"", before[0])] {
        assert!(metrics.contains(series), "{series} is not in\n{metrics}");
    }
    assert_eq!(metrics.matches("\nlacewing_function_info{").count(), 2, "{metrics}");
    assert!(!metrics.contains("function=\"new\""), "{metrics}");
    // Both are wrong: both are named.
    let bad = dir.path().join("bad.wasm");
    tenants.write("suspect", &bad, "");
    let error = tenants.deploy("neighbour", &bad, "").await.unwrap_err();
    let lines: Vec<&str> = error.lines().collect();
    assert!(
        lines.len() == 2
            && lines[0].starts_with("function suspect of app suspect (")
            && lines[1].starts_with("function neighbour of app neighbour ("),
        "{error}"
    );
    assert_eq!(ids(), before);
    tenants.write("suspect", &a, "");
    tenants.deploy("neighbour", &component("hello"), "").await.unwrap();
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
}

/// A tenant with two apps, each a function with these routes.
fn two_apps(root: &Path, [one, two]: &[PathBuf; 2], routes: [&str; 2]) -> HostFile {
    for (app, component, routes) in [("one", one, routes[0]), ("two", two, routes[1])] {
        std::fs::create_dir_all(root.join(app)).unwrap();
        let manifest = format!(
            "app = \"{app}\"\n[functions.it]\ncomponent = {component:?}\nroutes = [{routes}]\n"
        );
        std::fs::write(root.join(app).join("lacewing.toml"), manifest).unwrap();
    }
    let text = "admin = \"off\"\nmax_sandboxes = 16\n[tenants.t]\nhosts = [\"*\"]\napps = [\"one\", \"two\"]\ncomponent_dirs = [\".\"]\n";
    std::fs::write(root.join("host.toml"), text).unwrap();
    let (mut file, _) = HostFile::load(&root.join("host.toml")).unwrap();
    file.settings.cache_dir = shared_cache();
    file
}

/// Of two apps that want the same route, the one that has it goes on having it.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_taken_from_no_app_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_owned();
    let revisions = revisions(dir.path());
    let file = two_apps(&root, &revisions, ["\"/one\"", "\"/two\""]);
    let served = Served::file(file, dir).await;
    let bodies = async || {
        let (one, two) = (served.get("/one").await, served.get("/two").await);
        (one.text().to_owned(), two.text().to_owned())
    };
    let before = bodies().await;
    assert_eq!(before, ("revision A".to_owned(), "revision B".to_owned()));
    let file = two_apps(&root, &revisions, ["\"/one\", \"/two\"", "\"/two\""]);
    // In the order of the file the second is in the wrong; it goes on, and so the first cannot have
    // its route.
    let [refused] = &file.tenants[0].refused[..] else { panic!("{file:?}") };
    assert!(
        refused.findings[0]
            .to_string()
            .contains("route `/two` is taken by function `it` of app `one`")
    );
    let errors = served.host.deploy(&file, &Components::new()).await.unwrap_err();
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(
        errors.len() == 1
            && errors[0].starts_with("function it of app one (")
            && errors[0].ends_with("its route `/two` and the route `/two` of function it of app two of tenant t match the same requests on any host: give one of them another path, method or host"),
        "{errors:?}"
    );
    assert_eq!(bodies().await, before);
    // A part that the other one gives up is free.
    let file = two_apps(&root, &revisions, ["\"/one\", \"/two\"", "\"/else\""]);
    served.host.deploy(&file, &Components::new()).await.unwrap();
    assert_eq!(bodies().await, (before.0.clone(), before.0));
}

/// Decisions at a request's beginning stay: a limit's change does not reach invocations that run.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_limits_is_a_revision_that_counts_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let spin = Core { handle: "(loop $for-ever (br $for-ever))", ..Core::default() };
    let spin = write_component(dir.path(), "spin.wasm", &spin.lean());
    let tenants = Tenants::with(&spin, "cpu_ms = 600000\ndeadline_ms = 600000", |_| {}).await;
    let running = tenants.begin("/").await;
    tenants.deploy("suspect", &spin, "cpu_ms = 20").await.unwrap();
    let reply = tenants.get("/").await;
    assert_eq!((reply.status, reply.outcome()), (504, "cpu_exceeded"));
    assert_eq!(tenants.in_flight(), 1);
    drop(running);
    eventually("the old invocation has ended", || tenants.in_flight() == 0).await;
    let reply = tenants.send(NEIGHBOUR, Method::GET, "/", HeaderMap::new(), "").await;
    assert_eq!(reply.status, 200);
    tenants.served.assert_idle().await;
}

/// The suspect's manifest is read only after the neighbour was swapped in: if anything waited for
/// it, nothing would ever come.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_manifest_is_never_read_delays_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let revisions = revisions(dir.path());
    let tenants = Tenants::with(&revisions[0], "", |_| {}).await;
    tenants.write("suspect", &revisions[1], "");
    tenants.write("neighbour", &component("hello"), "cpu_ms = 999");
    let file = tenants.file();
    let (swapped, swap) = tokio::sync::oneshot::channel();
    let mut swap = Some(swap);
    let incoming = file.tenants.iter().map(|config| {
        let swap = if config.name.as_str() == "suspect" { swap.take() } else { None };
        let ready = async {
            if let Some(swap) = swap {
                swap.await.unwrap();
            }
            Ready { config: config.clone(), components: Arc::default() }
        };
        Incoming { config: config.clone(), ready: ready.boxed() }
    });
    let (mut swapped, mut order) = (Some(swapped), Vec::new());
    let mut report = |swap: Swap<'_>| {
        for (before, after) in swap.before.revisions.iter().zip(&swap.after.revisions) {
            if before.origin.revision != after.origin.revision {
                order.push(after.origin.tenant().to_string());
                if let Some(swapped) = swapped.take() {
                    swapped.send(()).unwrap();
                }
            }
        }
    };
    let host = &tenants.served.host;
    let deployment = host.deploy_tenants(incoming.collect(), None, &mut report).await;
    assert!(deployment.errors.is_empty(), "{:?}", deployment.errors);
    assert_eq!(order, ["neighbour", "suspect"]);
    let names: Vec<_> = deployment.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    assert_eq!(names, ["suspect", "neighbour"]);
    assert_eq!(tenants.get("/").await.text(), BODIES[1]);
    assert!(host.deployed().complete);
}
