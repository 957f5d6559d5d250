//! The text of findings about apps that ask for more than the operator allows.

#![allow(clippy::too_many_lines, reason = "a test is as long as the text that it compares")]

use std::{fmt::Write as _, fs};

use super::super::testing::Hosts;

/// Writes an app of one function with these lines of its manifest's table.
fn write_app(hosts: &Hosts, lines: &str) {
    let dir = hosts.path().join("calls");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("x.wasm"), "").unwrap();
    let manifest = format!("app = \"calls\"\n\n[functions.a]\ncomponent = \"x.wasm\"\n{lines}");
    fs::write(dir.join("lacewing.toml"), manifest).unwrap();
}

/// The findings about an app with these grants in a host file with this end.
fn report(grants: &str, host: &str) -> String {
    let hosts = Hosts::new();
    write_app(&hosts, grants);
    hosts.report(&format!("[tenants.acme]\nhosts = [\"*\"]\napps = [\"calls\"]\n{host}"))
}

#[test]
fn grants_of_special_addresses_and_networks() {
    let grants = r#"[functions.a.grants]
http = ["http://127.0.0.1:9180", "https://api.example.com", "http://[64:ff9b::a00:1]"]
networks = ["10.0.0.0/8", "8.8.8.0/24"]
"#;
    let findings = report(grants, "egress.networks = [\"64:ff9b::/96\"]\n");
    assert_eq!(
        findings,
        r#"error: grant `http://127.0.0.1:9180` of function `a` leads to a loopback address, which tenant `acme` may not reach
 --> ROOT/calls/lacewing.toml:6:9
  |
6 | http = ["http://127.0.0.1:9180", "https://api.example.com", "http://[64:ff9b::a00:1]"]
  |         ^^^^^^^^^^^^^^^^^^^^^^^
  = help: the operator allows it with `networks = ["127.0.0.1/32"]` in `[tenants.acme.egress]` of the host file
note: the tenant is here
 --> ROOT/host.toml:1:10
  |
1 | [tenants.acme]
  |          ^^^^

error: grant `http://[64:ff9b::a00:1]` of function `a` leads to a private address, which tenant `acme` may not reach
 --> ROOT/calls/lacewing.toml:6:61
  |
6 | http = ["http://127.0.0.1:9180", "https://api.example.com", "http://[64:ff9b::a00:1]"]
  |                                                             ^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: the operator allows it with `networks = ["10.0.0.1/32"]` in `[tenants.acme.egress]` of the host file
note: the tenant is here
 --> ROOT/host.toml:1:10
  |
1 | [tenants.acme]
  |          ^^^^

error: network `10.0.0.0/8` of function `a` leads to a private address, which tenant `acme` may not reach
 --> ROOT/calls/lacewing.toml:7:13
  |
7 | networks = ["10.0.0.0/8", "8.8.8.0/24"]
  |             ^^^^^^^^^^^^
  = help: the operator allows it with `networks = ["10.0.0.0/8"]` in `[tenants.acme.egress]` of the host file
note: the tenant is here
 --> ROOT/host.toml:1:10
  |
1 | [tenants.acme]
  |          ^^^^"#
    );
}

#[test]
fn grants_of_hosts() {
    let grants = r#"[functions.a.grants]
http = ["https://api.example.com", "https://*.example.com", "https://*"]
"#;
    assert_eq!(report(grants, ""), "");
    let findings = report(grants, "egress.hosts = [\"*.example.com\"]\n");
    assert_eq!(
        findings,
        r#"error: grant `https://*` of function `a` is for hosts that tenant `acme` may not call
 --> ROOT/calls/lacewing.toml:6:61
  |
6 | http = ["https://api.example.com", "https://*.example.com", "https://*"]
  |                                                             ^^^^^^^^^^^
  = help: the operator allows them with `"*"` among the `hosts` of `[tenants.acme.egress]` in the host file
note: the tenant is here
 --> ROOT/host.toml:1:10
  |
1 | [tenants.acme]
  |          ^^^^"#
    );
}

#[test]
fn thousands_of_grants_out_of_bounds_make_few_findings() {
    let hosts = Hosts::new();
    let mut lines = String::new();
    for index in 0..100 {
        let grants: Vec<_> =
            (1..=100).map(|low| format!("\"http://10.0.{index}.{low}\"")).collect();
        let grants = grants.join(", ");
        writeln!(lines, "[functions.f{index}]\ncomponent = \"x.wasm\"\ngrants.http = [{grants}]")
            .unwrap();
    }
    write_app(&hosts, &lines);
    let (file, _) = hosts.load("[tenants.acme]\nhosts = [\"*\"]\napps = [\"calls\"]\n").unwrap();
    let [refused] = &file.tenants[0].refused[..] else { panic!() };
    let more = refused.findings.last().map(|finding| finding.message.as_str());
    assert_eq!((refused.findings.len(), more), (101, Some("and 9900 more errors")));
}

#[test]
fn grants_that_the_operator_allows_are_no_finding() {
    let grants = r#"[functions.a.grants]
http = ["http://127.0.0.1:9180", "http://localhost"]
networks = ["127.0.0.0/9", "127.128.0.0/9", "::1/128"]
"#;
    let allowed = "egress.networks = [\"127.0.0.0/9\", \"127.128.0.0/9\", \"::/8\"]\n";
    assert_eq!(report(grants, allowed), "");
    let everyones = "[egress]\nnetworks = [\"127.0.0.0/8\", \"::1/128\"]\n";
    assert_eq!(report(grants, everyones), "");
}

#[test]
fn bounds_that_are_none() {
    let findings = report(
        "",
        r#"[tenants.acme.egress]
networks = ["10.0.0.0", "10.1.2.3/8", "0.0.0.0/0"]
hosts = ["https://a.com", "a.com:80"]
ports = [80]
"#,
    );
    assert_eq!(
        findings,
        r#"error: "10.0.0.0" is not a network in CIDR notation, such as `10.1.0.0/16`
 --> ROOT/host.toml:5:13
  |
5 | networks = ["10.0.0.0", "10.1.2.3/8", "0.0.0.0/0"]
  |             ^^^^^^^^^^
  = help: write `10.0.0.0/32` for this one address

warning: `10.1.2.3/8` has bits set after its prefix, and is taken as `10.0.0.0/8`
 --> ROOT/host.toml:5:25
  |
5 | networks = ["10.0.0.0", "10.1.2.3/8", "0.0.0.0/0"]
  |                         ^^^^^^^^^^^^
  = help: write `10.0.0.0/8`

warning: `0.0.0.0/0` holds every address: the host's own, its neighbours' and the cloud's metadata service's as well
 --> ROOT/host.toml:5:39
  |
5 | networks = ["10.0.0.0", "10.1.2.3/8", "0.0.0.0/0"]
  |                                       ^^^^^^^^^^^
  = help: write the networks that are needed

error: "https://a.com" is not a host name: leave the scheme out
 --> ROOT/host.toml:6:10
  |
6 | hosts = ["https://a.com", "a.com:80"]
  |          ^^^^^^^^^^^^^^^

error: "a.com:80" is not a host name: leave the port out
 --> ROOT/host.toml:6:27
  |
6 | hosts = ["https://a.com", "a.com:80"]
  |                           ^^^^^^^^^^

error: unknown key `ports` in `[tenants.acme.egress]`
 --> ROOT/host.toml:7:1
  |
7 | ports = [80]
  | ^^^^^
  = help: what is known here: `networks` and `hosts`"#
    );
}

#[test]
fn an_app_with_too_many_functions_or_routes() {
    let hosts = Hosts::new();
    let mut lines = String::new();
    for index in 0..1001 {
        writeln!(lines, "[functions.f{index}]\ncomponent = \"x.wasm\"").unwrap();
        let routes: Vec<String> = (0..5).map(|route| format!("\"/{index}/{route}\"")).collect();
        writeln!(lines, "routes = [{}]", routes.join(", ")).unwrap();
    }
    write_app(&hosts, &lines);
    let host = "[tenants.acme]\nhosts = [\"*\"]\napps = [\"calls\"]\n";
    assert_eq!(
        hosts.report(host),
        r#"error: app `calls` has 1002 functions, over the host's cap of 1000
    --> ROOT/calls/lacewing.toml:3002:12
     |
3002 | [functions.f999]
     |            ^^^^
     = help: make several apps of it, or raise the cap in a host file: `caps.functions = 1002`

error: app `calls` has 5005 routes, over the host's cap of 5000
    --> ROOT/calls/lacewing.toml:3007:11
     |
3007 | routes = ["/1000/0", "/1000/1", "/1000/2", "/1000/3", "/1000/4"]
     |           ^^^^^^^^^
     = help: make several apps of it, or raise the cap in a host file: `caps.routes = 5005`"#
    );
    // A tenant's cap is below the host's, or has no effect.
    let capped = format!("{host}caps = {{ functions = 1, routes = 5001 }}\n");
    assert_eq!(
        hosts.report(&capped),
        r#"warning: a cap of 5001 has no effect above the host's, which is 5000
 --> ROOT/host.toml:4:34
  |
4 | caps = { functions = 1, routes = 5001 }
  |                                  ^^^^

error: app `calls` has 1002 functions, over tenant `acme`'s cap of 1
 --> ROOT/calls/lacewing.toml:5:12
  |
5 | [functions.f0]
  |            ^^
note: the cap is here
 --> ROOT/host.toml:4:22
  |
4 | caps = { functions = 1, routes = 5001 }
  |                      ^

error: app `calls` has 5005 routes, over tenant `acme`'s cap of 5001
    --> ROOT/calls/lacewing.toml:3007:22
     |
3007 | routes = ["/1000/0", "/1000/1", "/1000/2", "/1000/3", "/1000/4"]
     |                      ^^^^^^^^^
note: the cap is here
    --> ROOT/host.toml:4:34
     |
   4 | caps = { functions = 1, routes = 5001 }
     |                                  ^^^^"#
    );
    let (file, _) =
        hosts.load(&format!("[caps]\nfunctions = 1002\nroutes = 5005\n{host}")).unwrap();
    assert_eq!(file.tenants[0].functions().count(), 1002);
    assert!(file.tenants[0].refused.is_empty());
}

#[test]
fn limits_that_cost_the_host_have_caps_by_default() {
    let limits =
        "limits = { handles = 100001, random_kib = 1025, init_cpu_ms = 60001, log_kib = 16385 }\n";
    let findings = report(limits, "");
    for (limit, value, cap) in [
        ("handles", 100_001, 100_000),
        ("random_kib", 1025, 1024),
        ("init_cpu_ms", 60_001, 60_000),
        ("log_kib", 16_385, 16_384),
    ] {
        let error =
            format!("error: `{limit}` of function `a` is {value}, over the host's cap of {cap}\n");
        assert!(findings.contains(&error), "{findings}");
        let help = format!(
            "= help: write at most {cap}, or raise the cap in a host file: `caps.{limit} = {value}`"
        );
        assert!(findings.contains(&help), "{findings}");
    }
    let hosts = "caps = { handles = 1000000 }\n[caps]\nhandles = 1000000\nrandom_kib = 65536\ninit_cpu_ms = 900000\nlog_kib = 1048576\n";
    assert_eq!(report(limits, hosts), "");
}
