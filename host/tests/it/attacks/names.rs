//! Tenants that would answer under the host names of others.

use std::{fs, path::Path, process::Command, time::Instant};

use http::Request;

use super::{Host, PATIENCE, Target};
use crate::{
    client,
    compiler::{compilers_of, slow_bomb},
    components::{Core, write_component},
    harness::{Reply, eventually, pause},
};

/// The body of the suspect, which has a wildcard over every name of the host.
const STOLEN: &str = "stolen";

/// The body of the tenant that the names are given to.
const OWN: &str = "the-owner";

/// The victim's names.
const NAMES: &str = r#""login.test", "*.deep.test", "[2001:db8::a]", "10.0.0.1""#;

/// Ways to write the victim's names that mean them all the same.
const SPELLINGS: [&str; 12] = [
    "login.test",
    "LOGIN.Test",
    "login.test.",
    "login.test:8080",
    "login.test:",
    "Login.test.:80",
    "a.deep.test",
    "a.b.DEEP.test.:1",
    "[2001:db8::a]",
    "[2001:DB8:0:0:0::A]:8080",
    "10.0.0.1",
    "10.0.0.1.:80",
];

/// A suspect whose wildcards cover the names of a victim, which is the tenant that these lines of
/// the host's file make.
fn target(victim: &str) -> Target {
    let suspect = Target::core(&Core { body: STOLEN, ..Core::default() });
    suspect.also_named(r#""*.test", "*", "*.login.test""#).settings(victim)
}

fn victim(apps: &str) -> String {
    format!("[tenants.victim]\nhosts = [{NAMES}]\napps = [{apps}]")
}

/// Time for a compiler that shall not be done before the test is.
const COMPILER: &str = "compiler = { cpu_s = 3600, wall_s = 3600 }\n";

/// An app whose component takes the compiler long.
fn slow(dir: &Path) -> String {
    let app = app(dir, "slow", &own(), "routes = [\"/{*path}\"]");
    fs::rename(slow_bomb(dir), dir.join("slow/it.wasm")).unwrap();
    app
}

/// An app in a folder, with this manifest after its name, and a component.
fn app(dir: &Path, name: &str, component: &str, manifest: &str) -> String {
    let dir = dir.join(name);
    fs::create_dir(&dir).unwrap();
    write_component(&dir, "it.wasm", component);
    let manifest =
        format!("app = \"{name}\"\n[functions.it]\ncomponent = \"it.wasm\"\n{manifest}\n");
    fs::write(dir.join("lacewing.toml"), manifest).unwrap();
    format!("{:?}", dir.to_str().unwrap())
}

fn own() -> String {
    Core { body: OWN, ..Core::default() }.lean()
}

impl Host {
    /// The answers under a name, to each form that a request for it may have.
    async fn answers(&self, name: &str) -> Vec<String> {
        let mut answers = Vec::new();
        for target in ["/", "/deep/down"] {
            let head = format!("GET {target} HTTP/1.1\r\nhost: {name}\r\n");
            answers.push(self.raw_reply(format!("{head}connection: close\r\n\r\n")).await);
        }
        let head = format!("GET http://{name}/ HTTP/1.1\r\nhost: {name}\r\n");
        answers.push(self.raw_reply(format!("{head}connection: close\r\n\r\n")).await);
        let mut client = client::http2(self.address()).await;
        let (sender, body) = client::upload();
        drop(sender);
        let request = Request::get(format!("http://{name}/")).body(body).unwrap();
        let reply = Reply::read(client.send_request(request).await.unwrap()).await;
        answers.push(format!("{} {:?} {}", reply.status, reply.headers, reply.text()));
        answers
    }

    /// That no tenant answers under any of the victim's names, and that the suspect does under its
    /// own.
    async fn no_tenant_answers(&self) {
        for name in SPELLINGS {
            for answer in self.answers(name).await {
                assert!(answer.contains("no_route"), "{name}: {answer}");
                assert!(!answer.contains(STOLEN), "{name}: {answer}");
            }
        }
        self.suspect_has_the_rest().await;
    }

    async fn suspect_has_the_rest(&self) {
        for name in ["other.test", "deep.test", "a.login.test", "[2001:db8::b]", "elsewhere"] {
            assert!(
                self.answers(name).await.iter().all(|answer| answer.contains(STOLEN)),
                "{name}"
            );
        }
    }

    /// Ends the compiler of the slow app, and waits until the host knows: what a compilation holds
    /// is no leak.
    async fn end_compiler(&self) {
        assert!(!self.said().contains("of app slow"), "{}", self.said());
        eventually("the slow app is refused", || {
            for pid in compilers_of(self.up.pid()) {
                // One that has ended by itself in this moment is as good.
                let _ = Command::new("kill").args(["-s", "KILL", &pid.to_string()]).output();
            }
            self.said().contains("of app slow")
        })
        .await;
    }

    /// Asks under a name until no tenant answers, and fails where the suspect does meanwhile.
    async fn until_no_tenant_answers(&self, name: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let reply = client::get(self.address(), name, "/").await;
            assert_ne!(reply.text(), STOLEN, "{name}");
            if reply.status == 404 {
                return;
            }
            assert!(Instant::now() < until, "{name}: {}", reply.text());
            pause().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_over_the_name_of_an_app_that_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    let broken = app(dir.path(), "broken", &own(), "routes = [\"/{*path}\"]\ncolor = 1");
    let unbuilt = app(dir.path(), "unbuilt", "(component)", "routes = [\"/x\"]");
    let target = target(&victim(&format!("{broken}, {unbuilt}")));
    target.attacked(async |host| host.no_tenant_answers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_over_the_name_of_an_app_that_is_being_compiled() {
    let dir = tempfile::tempdir().unwrap();
    let (slow, cache) = (slow(dir.path()), tempfile::tempdir().unwrap());
    target(&format!("{COMPILER}{}", victim(&slow)))
        .patient()
        .cached_in(cache.path())
        .attacked(async |host| {
            host.no_tenant_answers().await;
            host.end_compiler().await;
            host.no_tenant_answers().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_over_a_name_that_its_tenant_routes_nothing_at() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = "routes = [{ path = \"/{*path}\", host = \"www.victim.test\" }]";
    let elsewhere = app(dir.path(), "elsewhere", &own(), elsewhere);
    let victim = victim(&elsewhere).replace("hosts = [", "hosts = [\"www.victim.test\", ");
    target(&victim)
        .attacked(async |host| {
            host.no_tenant_answers().await;
            let www = client::get(host.address(), "www.victim.test", "/").await;
            assert_eq!(www.text(), OWN);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_over_the_name_of_a_tenant_without_apps() {
    target(&victim("")).attacked(async |host| host.no_tenant_answers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_over_the_name_of_an_app_that_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let own = app(dir.path(), "own", &own(), "routes = [\"/{*path}\"]");
    target(&victim(&own))
        .attacked(async |host| {
            for name in SPELLINGS {
                let answers = host.answers(name).await;
                assert!(answers.iter().all(|answer| answer.contains(OWN)), "{name}: {answers:?}");
            }
            host.suspect_has_the_rest().await;
            host.reload(&format!("apps = [{own}]"), "apps = []");
            host.until_no_tenant_answers("login.test").await;
            host.no_tenant_answers().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_over_a_name_on_its_way_to_another_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let old = app(dir.path(), "old", &own(), "routes = [\"/{*path}\"]");
    let (slow, cache) = (slow(dir.path()), tempfile::tempdir().unwrap());
    target(&format!("{COMPILER}{}", victim(&old)))
        .patient()
        .cached_in(cache.path())
        .attacked(async |host| {
            let heir = format!("[tenants.heir]\nhosts = [{NAMES}]\napps = [{slow}]\n");
            let gone = victim(&old).replace(NAMES, "\"old.victim.test\"");
            host.reload(&victim(&old), &format!("{heir}{gone}"));
            host.until_no_tenant_answers("login.test").await;
            host.no_tenant_answers().await;
            let moved = client::get(host.address(), "old.victim.test", "/").await;
            assert_eq!(moved.text(), OWN);
            host.end_compiler().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_from_a_tenant_which_still_serves_it() {
    let dir = tempfile::tempdir().unwrap();
    let (slow, cache) = (slow(dir.path()), tempfile::tempdir().unwrap());
    // All of the names are the suspect's, until they are another tenant's whose app takes the
    // compiler long.
    target(&format!("{COMPILER}[tenants.victim]\nhosts = [\"old.victim.test\"]"))
        .patient()
        .cached_in(cache.path())
        .attacked(async |host| {
            let reply = client::get(host.address(), "login.test", "/").await;
            assert_eq!(reply.text(), STOLEN);
            host.reload(
                "hosts = [\"old.victim.test\"]",
                &format!("hosts = [{NAMES}]\napps = [{slow}]"),
            );
            let until = Instant::now() + PATIENCE;
            while client::get(host.address(), "login.test", "/").await.status != 404 {
                assert!(Instant::now() < until, "{}", host.said());
                pause().await;
            }
            host.no_tenant_answers().await;
            host.end_compiler().await;
            host.no_tenant_answers().await;
        })
        .await;
}
