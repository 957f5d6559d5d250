//! Manifests that would have what only the operator gives.

use std::{fmt::Write as _, fs, net::UdpSocket, path::Path, time::Instant};

use super::{Host, PATIENCE, Target};
use crate::{
    client,
    harness::{guest, pause},
    upstream::Upstream,
};

/// Every address, as far as a manifest can grant it.
const EVERYTHING: &str = "http = [\"*://*:*\"]\nnetworks = [\"0.0.0.0/0\", \"::/0\"]";

/// The operator's leave for all of it.
const ALLOWED: &str = "egress.networks = [\"0.0.0.0/0\", \"::/0\"]";

/// An app that grants itself this.
fn greedy(dir: &Path, name: &str, grants: &str) -> String {
    let dir = dir.join(name);
    fs::create_dir(&dir).unwrap();
    let component = guest("portable-02");
    let manifest = format!(
        "app = \"{name}\"\n[functions.it]\ncomponent = {component:?}\nroutes = [\"/{{*path}}\"]\n[functions.it.grants]\n{grants}\n"
    );
    fs::write(dir.join("lacewing.toml"), manifest).unwrap();
    let folder = component.parent().unwrap();
    format!(
        "[tenants.{name}]\nhosts = [\"{name}.test\"]\napps = [{dir:?}]\ncomponent_dirs = [{folder:?}]\n"
    )
}

/// Each app is refused, with its grant and what the operator would have to write, and its tenant's
/// name leads nowhere.
async fn refused(grants: &[(&str, &str)], settings: &str) {
    refused_within("", grants, settings).await;
}

/// The same with these lines of the host's file for each of the tenants.
async fn refused_within(bounds: &str, grants: &[(&str, &str)], settings: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut tenants = settings.to_owned();
    for (index, (grant, _)) in grants.iter().enumerate() {
        let tenant = greedy(dir.path(), &format!("greedy-{index}"), grant);
        write!(tenants, "\n{tenant}{bounds}").unwrap();
    }
    Target::guest("portable-02")
        .settings(&tenants)
        .attacked(async |host| {
            let said = host.said();
            for (index, (_, finding)) in grants.iter().enumerate() {
                let finding = finding.replace("TENANT", &format!("greedy-{index}"));
                assert!(said.contains(&finding), "no {finding} in:\n{said}");
                let name = format!("greedy-{index}.test");
                let reply = client::get(host.address(), &name, "/").await;
                assert_eq!((reply.status, reply.outcome()), (404, "no_route"), "{name}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_the_admin_address() {
    let loopback = "leads to a loopback address, which tenant `TENANT` may not reach";
    let network = "network `127.0.0.0/8` of function `it` leads to a loopback address, which tenant `TENANT` may not reach";
    refused(
        &[
            ("http = [\"http://127.0.0.1:9180\"]", loopback),
            ("http = [\"http://127.0.0.2:*\"]", loopback),
            ("http = [\"*://[::1]:*\"]", loopback),
            ("http = [\"http://[::ffff:127.0.0.1]:*\"]", loopback),
            ("http = [\"http://0.0.0.0:*\"]", "leads to an unspecified address, which tenant"),
            ("http = [\"http://localhost:*\"]\nnetworks = [\"127.0.0.0/8\"]", network),
        ],
        "",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_metadata_and_of_networks_inside() {
    refused(
        &[
            (
                "http = [\"http://169.254.169.254\"]",
                "= help: the operator allows it with `networks = [\"169.254.169.254/32\"]` in `[tenants.TENANT.egress]` of the host file",
            ),
            (
                "http = [\"http://a.test\"]\nnetworks = [\"169.254.0.0/16\"]",
                "network `169.254.0.0/16` of function `it` leads to a cloud's metadata service",
            ),
            ("http = [\"http://[fd00:ec2::254]\"]", "leads to a cloud's metadata service"),
            ("http = [\"http://10.0.0.1\"]", "leads to a private address"),
            ("http = [\"http://100.64.0.1\"]", "leads to an address of a provider's shared range"),
            ("http = [\"http://224.0.0.1\"]", "leads to a multicast address"),
            // The translator itself is allowed, and what lies behind it is not.
            ("http = [\"http://[64:ff9b::a9fe:a9fe]\"]", "networks = [\"169.254.169.254/32\"]"),
            (
                "http = [\"http://*:*\"]\nnetworks = [\"0.0.0.0/0\"]",
                "network `0.0.0.0/0` of function `it` leads to a cloud's metadata service",
            ),
            // A network that holds more than the one that is allowed.
            (
                "http = [\"http://*:*\"]\nnetworks = [\"10.1.0.0/15\"]",
                "network `10.0.0.0/15` of function `it` leads to a private address",
            ),
        ],
        "egress.networks = [\"64:ff9b::/96\", \"10.1.0.0/16\"]",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_allowed_to_another_tenant_only() {
    refused(
        &[("http = [\"http://127.0.0.1:*\"]", "leads to a loopback address")],
        "[tenants.local]\negress.networks = [\"127.0.0.0/8\"]\nhosts = [\"local.test\"]",
    )
    .await;
}

/// The answer to a guest for an URL, in both versions of wasi:http, with all that a manifest and an
/// operator can grant.
async fn everything_is_granted(attack: impl AsyncFn(&Host)) {
    for name in ["portable-02", "portable-03"] {
        let target = Target::guest(name).grants(EVERYTHING).settings(ALLOWED);
        target.limits("outbound_requests = 100").attacked(async |host| attack(host).await).await;
    }
}

async fn fetched(host: &Host, url: &str) -> String {
    let ended = host.get(&format!("/fetch/{url}")).await.is(200, "ok");
    ended.reply.text().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_address_where_everything_is_granted() {
    // The machine's own address in a network, if it has one: nothing is sent for that.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    let own = own.map(|address| address.ip().to_string()).ok();
    everything_is_granted(async |host| {
        let port = host.up.admin.port();
        let names =
            ["127.0.0.1", "127.3.2.1", "0.0.0.0", "[::ffff:127.0.0.1]", "localhost", "LocalHost."];
        for name in names.into_iter().chain(own.as_deref()) {
            for path in ["metrics", "readyz"] {
                let text = fetched(host, &format!("http://{name}:{port}/{path}")).await;
                assert!(text.contains("DestinationIpProhibited"), "{name}: {text}");
            }
        }
        let said = host.lines();
        assert!(
            said.iter().all(|line| line.contains(" is the admin listener of this host")),
            "{said:?}"
        );
        // The grants do lead to the machine.
        let upstream = Upstream::start("reached").await;
        assert_eq!(fetched(host, &format!("http://{}/", upstream.address)).await, "200 reached");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_allowed_any_more() {
    let upstream = Upstream::start("reached").await;
    let url = format!("http://{}/", upstream.address);
    for name in ["portable-02", "portable-03"] {
        let target = Target::guest(name).grants(EVERYTHING).settings(ALLOWED);
        target
            .attacked(async |host| {
                assert_eq!(fetched(host, &url).await, "200 reached");
                // The app is refused and its revision stays, and what it had reached is out of
                // reach.
                host.reload(ALLOWED, "");
                let until = Instant::now() + PATIENCE;
                let text = loop {
                    let text = fetched(host, &url).await;
                    if text != "200 reached" {
                        break text;
                    }
                    assert!(Instant::now() < until, "{}", host.said());
                    pause().await;
                };
                assert!(text.contains("DestinationIpProhibited"), "{text}");
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_hosts_that_the_operator_does_not_name() {
    let not_named = "is for hosts that tenant `TENANT` may not call";
    refused_within(
        "egress.hosts = [\"api.test\", \"*.b.test\"]",
        &[
            ("http = [\"https://a.test\"]", not_named),
            ("http = [\"https://*.test\"]", "grant `https://*.test` of function `it`"),
            ("http = [\"https://b.test\"]", not_named),
            ("http = [\"http://8.8.8.8\"]", not_named),
            (
                "http = [\"*://*:*\"]",
                "= help: the operator allows them with `\"*\"` among the `hosts` of `[tenants.TENANT.egress]` in the host file",
            ),
        ],
        "",
    )
    .await;
}
