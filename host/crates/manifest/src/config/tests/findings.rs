//! The text of each finding about a host file.

#![allow(clippy::too_many_lines, reason = "a test is as long as the text that it compares")]

use super::super::testing::Hosts;

#[test]
fn an_unknown_setting() {
    let findings = Hosts::new().report(
        r#"listen = ["127.0.0.1:8080"]
max_sandbox = 10

[connection]
max = 1

[tenants.acme]
domains = ["acme.example.com"]
quota = { memory_mb = 64 }
"#,
    );
    assert_eq!(
        findings,
        r#"error: unknown key `max_sandbox`
 --> ROOT/host.toml:2:1
  |
2 | max_sandbox = 10
  | ^^^^^^^^^^^
  = help: did you mean `max_sandboxes`? What is known here: `listen`, `admin`, `admin_hosts`, `s3`, `trusted_proxies`, `cache_dir`, `state`, `max_cache_mib`, `max_manifest_kib`, `residency`, `max_sandboxes`, `memory_mib`, `body_memory_mib`, `grace_period_s`, `connections`, `admission`, `compiler`, `log`, `metrics`, `caps`, `egress` and `tenants`

error: unknown key `connection`
 --> ROOT/host.toml:4:2
  |
4 | [connection]
  |  ^^^^^^^^^^
  = help: did you mean `connections`? What is known here: `listen`, `admin`, `admin_hosts`, `s3`, `trusted_proxies`, `cache_dir`, `state`, `max_cache_mib`, `max_manifest_kib`, `residency`, `max_sandboxes`, `memory_mib`, `body_memory_mib`, `grace_period_s`, `connections`, `admission`, `compiler`, `log`, `metrics`, `caps`, `egress` and `tenants`

error: unknown key `domains` in `[tenants.acme]`
 --> ROOT/host.toml:8:1
  |
8 | domains = ["acme.example.com"]
  | ^^^^^^^
  = help: did you mean `hosts`? What is known here: `hosts`, `apps`, `component_dirs`, `quota`, `caps`, `egress` and `env`

error: unknown key `memory_mb` in `[tenants.acme.quota]`
 --> ROOT/host.toml:9:11
  |
9 | quota = { memory_mb = 64 }
  |           ^^^^^^^^^
  = help: did you mean `memory_mib`? What is known here: `concurrency`, `rate_per_s`, `memory_mib`, `state_mib` and `weight`"#
    );
}

#[test]
fn wrong_addresses() {
    let findings = Hosts::new().report(
        r#"listen = ["8080", ":8080", "localhost:8080", "127.0.0.1", "http://x:80", "shop"]
admin = "0.0.0.0:9180"
tenants.acme.hosts = ["*"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: "8080" is not an address with a port: `listen` takes one such as `127.0.0.1:8080` or `[::1]:8080`
 --> ROOT/host.toml:1:11
  |
1 | listen = ["8080", ":8080", "localhost:8080", "127.0.0.1", "http://x:80", "shop"]
  |           ^^^^^^
  = help: write `127.0.0.1:8080`, or `0.0.0.0:8080` to be reached from other machines

error: ":8080" is not an address with a port: `listen` takes one such as `127.0.0.1:8080` or `[::1]:8080`
 --> ROOT/host.toml:1:19
  |
1 | listen = ["8080", ":8080", "localhost:8080", "127.0.0.1", "http://x:80", "shop"]
  |                   ^^^^^^^
  = help: write `127.0.0.1:8080`, or `0.0.0.0:8080` to be reached from other machines

error: "localhost:8080" is not an address with a port: `listen` takes one such as `127.0.0.1:8080` or `[::1]:8080`
 --> ROOT/host.toml:1:28
  |
1 | listen = ["8080", ":8080", "localhost:8080", "127.0.0.1", "http://x:80", "shop"]
  |                            ^^^^^^^^^^^^^^^^
  = help: write `127.0.0.1:8080`: names are not looked up here

error: "127.0.0.1" is not an address with a port: `listen` takes one such as `127.0.0.1:8080` or `[::1]:8080`
 --> ROOT/host.toml:1:46
  |
1 | listen = ["8080", ":8080", "localhost:8080", "127.0.0.1", "http://x:80", "shop"]
  |                                              ^^^^^^^^^^^
  = help: write `127.0.0.1:8080`

error: "http://x:80" is not an address with a port: `listen` takes one such as `127.0.0.1:8080` or `[::1]:8080`
 --> ROOT/host.toml:1:59
  |
1 | listen = ["8080", ":8080", "localhost:8080", "127.0.0.1", "http://x:80", "shop"]
  |                                                           ^^^^^^^^^^^^^
  = help: leave the scheme and the path out

error: "shop" is not an address with a port: `listen` takes one such as `127.0.0.1:8080` or `[::1]:8080`
 --> ROOT/host.toml:1:74
  |
1 | listen = ["8080", ":8080", "localhost:8080", "127.0.0.1", "http://x:80", "shop"]
  |                                                                          ^^^^^^

warning: `admin` is 0.0.0.0:9180, and every client that reaches it reads the metrics without a password
 --> ROOT/host.toml:2:9
  |
2 | admin = "0.0.0.0:9180"
  |         ^^^^^^^^^^^^^^
  = help: write `127.0.0.1:9180`, or keep the address in a network of your own"#
    );
}

#[test]
fn wrong_hosts_of_the_admin_address() {
    let findings = Hosts::new().report(
        r#"admin_hosts = ["metrics.internal:9180", "*.internal", "10.0.0.1"]
tenants.acme.hosts = ["*"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: "metrics.internal:9180" is not a host name: leave the port out
 --> ROOT/host.toml:1:16
  |
1 | admin_hosts = ["metrics.internal:9180", "*.internal", "10.0.0.1"]
  |                ^^^^^^^^^^^^^^^^^^^^^^^
  = help: `admin_hosts` takes host names such as `metrics.internal`

error: `admin_hosts` takes whole host names, and no star as in `*.internal`
 --> ROOT/host.toml:1:41
  |
1 | admin_hosts = ["metrics.internal:9180", "*.internal", "10.0.0.1"]
  |                                         ^^^^^^^^^^^^
  = help: write each name by which `admin` is reached, such as `metrics.internal`

warning: `admin` answers under every address, `10.0.0.1` included
 --> ROOT/host.toml:1:55
  |
1 | admin_hosts = ["metrics.internal:9180", "*.internal", "10.0.0.1"]
  |                                                       ^^^^^^^^^^
  = help: leave it out"#
    );
}

#[test]
fn one_address() {
    let findings = Hosts::new().report(
        r#"listen = "127.0.0.1:8080"
admin = false
tenants.acme.hosts = ["*"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: `listen` takes an array, not "127.0.0.1:8080"
 --> ROOT/host.toml:1:10
  |
1 | listen = "127.0.0.1:8080"
  |          ^^^^^^^^^^^^^^^^
  = help: write `listen = ["127.0.0.1:8080"]`

error: `admin` takes a string, not false
 --> ROOT/host.toml:2:9
  |
2 | admin = false
  |         ^^^^^"#
    );
}

#[test]
fn addresses_that_collide() {
    let findings = Hosts::new().report(
        r#"listen = ["0.0.0.0:9180", "[::1]:9180"]
tenants.acme.hosts = ["*"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: `admin` is 127.0.0.1:9180, which collides with `listen`, 0.0.0.0:9180
 --> ROOT/host.toml:1:10
  |
1 | listen = ["0.0.0.0:9180", "[::1]:9180"]
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: take another port, or `admin = "off"`"#
    );
}

#[test]
fn no_address() {
    let findings = Hosts::new().report(
        r#"listen = []
tenants.acme.hosts = ["*"]
"#,
    );
    assert_eq!(
        findings,
        "error: `listen` takes at least one address
 --> ROOT/host.toml:1:10
  |
1 | listen = []
  |          ^^"
    );
}

#[test]
fn wrong_numbers_and_words() {
    let findings = Hosts::new().report(
        r#"max_sandboxes = 0
grace_period_s = "1m"
cache_dir = "shop/lacewing.toml"

[connections]
max_header_kib = 4

[admission]
wait_ms = "100ms"

[log]
format = "jsno"
requests = 3

[caps]
memory_mib = 5000

[tenants.acme]
quota.rate_per_s = -1
"#,
    );
    assert_eq!(
        findings,
        r#"error: `max_sandboxes` takes 1 to 100000, not 0
 --> ROOT/host.toml:1:17
  |
1 | max_sandboxes = 0
  |                 ^

error: `grace_period_s` takes a whole number of seconds, not "1m"
 --> ROOT/host.toml:2:18
  |
2 | grace_period_s = "1m"
  |                  ^^^^
  = help: write `grace_period_s = 60`

error: `cache_dir` takes a directory, which is made if it is not there
 --> ROOT/host.toml:3:13
  |
3 | cache_dir = "shop/lacewing.toml"
  |             ^^^^^^^^^^^^^^^^^^^^

error: `max_header_kib` takes 8 to 1024, not 4
 --> ROOT/host.toml:6:18
  |
6 | max_header_kib = 4
  |                  ^

error: `wait_ms` takes a whole number of milliseconds, not "100ms"
 --> ROOT/host.toml:9:11
  |
9 | wait_ms = "100ms"
  |           ^^^^^^^
  = help: write `wait_ms = 100`

error: `format` takes `text` or `json`, not "jsno"
  --> ROOT/host.toml:12:10
   |
12 | format = "jsno"
   |          ^^^^^^
   = help: did you mean `json`?

error: `requests` takes `all`, `errors` or `none`, not 3
  --> ROOT/host.toml:13:12
   |
13 | requests = 3
   |            ^

error: `memory_mib` takes 1 to 4096, not 5000
  --> ROOT/host.toml:16:14
   |
16 | memory_mib = 5000
   |              ^^^^

error: `rate_per_s` takes 1 to 10000000, not -1
  --> ROOT/host.toml:19:20
   |
19 | quota.rate_per_s = -1
   |                    ^^"#
    );
}

#[test]
fn no_tenants() {
    let findings = Hosts::new().report(
        r#"listen = ["127.0.0.1:8080"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: the host file has no tenants
 --> ROOT/host.toml
  = help: add a table `[tenants.NAME]` with `hosts = ["*"]` and `apps = ["DIR"]`"#
    );
}

#[test]
fn empty() {
    let findings = Hosts::new().report("");
    assert_eq!(
        findings,
        r#"error: the host file is empty
 --> ROOT/host.toml
  = help: it needs at least a table `[tenants.NAME]` with `hosts = ["*"]` and `apps = ["DIR"]`"#
    );
}

#[test]
fn wrong_tenants() {
    let findings = Hosts::new().report(
        r#"[tenants.Acme]
hosts = ["acme.example.com", "ACME.example.com"]

[tenants.other]
hosts = ["other.example.com:80"]

[tenants.third]
hosts = ["*.x.org", "acme.example.com"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: "Acme" is not a name: 1 to 63 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen
 --> ROOT/host.toml:1:10
  |
1 | [tenants.Acme]
  |          ^^^^
  = help: write `acme`

warning: `acme.example.com` is in the list already
 --> ROOT/host.toml:2:30
  |
2 | hosts = ["acme.example.com", "ACME.example.com"]
  |                              ^^^^^^^^^^^^^^^^^^

error: "other.example.com:80" is not a host name: leave the port out
 --> ROOT/host.toml:5:10
  |
5 | hosts = ["other.example.com:80"]
  |          ^^^^^^^^^^^^^^^^^^^^^^

error: `acme.example.com` is a host name of tenant `Acme` already
 --> ROOT/host.toml:8:21
  |
8 | hosts = ["*.x.org", "acme.example.com"]
  |                     ^^^^^^^^^^^^^^^^^^
note: it is here
 --> ROOT/host.toml:2:10
  |
2 | hosts = ["acme.example.com", "ACME.example.com"]
  |          ^^^^^^^^^^^^^^^^^^"#
    );
}

#[test]
fn routes_without_a_host_name() {
    let findings = Hosts::new().report(
        r#"[tenants.acme]
apps = ["shop"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: tenant `acme` has routes and no host names, so no request reaches it
 --> ROOT/host.toml:1:10
  |
1 | [tenants.acme]
  |          ^^^^
  = help: add `hosts = ["example.com"]`, or `hosts = ["*"]` for all that no other tenant has"#
    );
}

#[test]
fn a_route_for_the_host_of_another() {
    let findings = Hosts::new().report(
        r#"[tenants.acme]
hosts = ["*.example.com"]
apps = ["api"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: host `other.org` is not among those of tenant `acme`
 --> ROOT/api/lacewing.toml:5:62
  |
5 | routes = [{ path = "/", host = "api.example.com" }, { path = "/", host = "other.org" }]
  |                                                              ^^^
note: the tenant is here
 --> ROOT/host.toml:1:10
  |
1 | [tenants.acme]
  |          ^^^^"#
    );
}

#[test]
fn a_route_for_a_host_that_a_narrower_pattern_of_another_has() {
    let findings = Hosts::new().report(
        r#"[tenants.wide]
hosts = ["*"]
apps = ["api"]

[tenants.narrow]
hosts = ["*.example.com"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: host `api.example.com` is tenant `narrow`'s
 --> ROOT/api/lacewing.toml:5:20
  |
5 | routes = [{ path = "/", host = "api.example.com" }, { path = "/", host = "other.org" }]
  |                    ^^^
note: the tenant is here
 --> ROOT/host.toml:1:10
  |
1 | [tenants.wide]
  |          ^^^^"#
    );
}

#[test]
fn an_error_of_an_app_is_no_error_of_the_host_file() {
    let hosts = Hosts::new();
    let (file, warnings) = hosts
        .load(
            r#"[tenants.acme]
hosts = ["acme.test"]
apps = ["wrong", "huge", "shop", "blog", "nowhere"]

[tenants.other]
hosts = ["other.test"]
apps = ["blog"]
"#,
        )
        .unwrap();
    assert!(warnings.is_empty());
    let names = |tenant: usize| {
        let apps = file.tenants[tenant].apps.iter();
        apps.map(|app| app.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((names(0), names(1)), (vec!["shop".to_owned()], vec!["blog".to_owned()]));
    let refused: Vec<_> = file.tenants[0].refused.iter().collect();
    let homes: Vec<_> =
        refused.iter().map(|app| app.home.strip_prefix(hosts.path()).unwrap()).collect();
    assert_eq!(homes, ["wrong", "nowhere", "huge", "blog"].map(std::path::Path::new));
    assert!(refused.iter().all(|app| app.findings.iter().any(crate::Diagnostic::is_error)));
    assert!(!file.tenants[0].refused.is_empty() && file.tenants[1].refused.is_empty());
}

#[test]
fn apps_that_are_not_there() {
    let findings = Hosts::new().report(
        r#"[tenants.acme]
hosts = ["*"]
apps = ["nowhere", "shop/lacewing.toml", "shop", "wrong"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: the tenant has the app of `shop` already
 --> ROOT/host.toml:3:42
  |
3 | apps = ["nowhere", "shop/lacewing.toml", "shop", "wrong"]
  |                                          ^^^^^^
note: the other app is here
 --> ROOT/host.toml:3:20
  |
3 | apps = ["nowhere", "shop/lacewing.toml", "shop", "wrong"]
  |                    ^^^^^^^^^^^^^^^^^^^^

error: there is no such file
 --> ROOT/nowhere
note: the app is named here
 --> ROOT/host.toml:3:9
  |
3 | apps = ["nowhere", "shop/lacewing.toml", "shop", "wrong"]
  |         ^^^^^^^^^

error: there is no file `ROOT/wrong/y.wasm`
 --> ROOT/wrong/lacewing.toml:2:29
  |
2 | functions.a = { component = "y.wasm", color = 1 }
  |                             ^^^^^^^^
  = help: `component` names a file that is there, relative to the manifest; for one that a command makes, write `build = { command = "...", output = "..." }`

error: unknown key `color` in `[functions.a]`
 --> ROOT/wrong/lacewing.toml:2:39
  |
2 | functions.a = { component = "y.wasm", color = 1 }
  |                                       ^^^^^
  = help: what is known here: `crate`, `component`, `build`, `routes`, `limits`, `env`, `grants` and `cors`"#
    );
}

#[test]
fn a_route_for_every_host_clashes_with_one_for_this_host() {
    let findings = Hosts::new().report(
        r#"[tenants.acme]
hosts = ["*.com", "other.org"]
apps = ["blog", "api"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: route `other.org/` is taken by function `index` of app `blog`
 --> ROOT/api/lacewing.toml:5:62
  |
5 | routes = [{ path = "/", host = "api.example.com" }, { path = "/", host = "other.org" }]
  |                                                              ^^^
  = help: a route without `methods` takes every method
note: the route is here
 --> ROOT/blog/lacewing.toml:2:53
  |
2 | functions.index = { component = "x.wasm", routes = ["/", "/items"] }
  |                                                     ^^^"#
    );
}

#[test]
fn routes_of_two_apps_clash() {
    let findings = Hosts::new().report(
        r#"[tenants.acme]
hosts = ["*"]
apps = ["shop", "blog"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: route `/items` is taken by function `list` of app `shop`
 --> ROOT/blog/lacewing.toml:2:58
  |
2 | functions.index = { component = "x.wasm", routes = ["/", "/items"] }
  |                                                          ^^^^^^^^
  = help: a route without `methods` takes every method
note: the route is here
 --> ROOT/shop/lacewing.toml:2:52
  |
2 | functions.list = { component = "x.wasm", routes = ["/items"] }
  |                                                    ^^^^^^^^"#
    );
}

#[test]
fn limits_over_a_cap() {
    let findings = Hosts::new().report(
        r#"[caps]
memory_mib = 128
cpu_ms = 100

[tenants.acme]
hosts = ["*"]
apps = ["big"]
caps = { deadline_ms = 1000, memory_mib = 256, cpu_ms = 50 }
"#,
    );
    assert_eq!(
        findings,
        r#"warning: a cap of 256 has no effect above the host's, which is 128
 --> ROOT/host.toml:8:43
  |
8 | caps = { deadline_ms = 1000, memory_mib = 256, cpu_ms = 50 }
  |                                           ^^^

error: `memory_mib` of function `a` is 192, over the host's cap of 128
 --> ROOT/big/lacewing.toml:2:63
  |
2 | functions.a = { component = "x.wasm", limits = { memory_mib = 192, cpu_ms = 60, fuel = 5 } }
  |                                                               ^^^
note: the cap is here
 --> ROOT/host.toml:2:14
  |
2 | memory_mib = 128
  |              ^^^

error: `cpu_ms` of function `a` is 60, over tenant `acme`'s cap of 50
 --> ROOT/big/lacewing.toml:2:77
  |
2 | ...ons.a = { component = "x.wasm", limits = { memory_mib = 192, cpu_ms = 60, fuel = 5 } }
  |                                                                          ^^
note: the cap is here
 --> ROOT/host.toml:8:57
  |
8 | caps = { deadline_ms = 1000, memory_mib = 256, cpu_ms = 50 }
  |                                                         ^^"#
    );
}

#[test]
fn a_limit_over_a_default_cap() {
    let findings = Hosts::new().report(
        r#"[tenants.acme]
hosts = ["*"]
apps = ["huge"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: `memory_mib` of function `a` is 512, over the host's cap of 256
 --> ROOT/huge/lacewing.toml:2:59
  |
2 | functions.a = { component = "x.wasm", limits.memory_mib = 512 }
  |                                                           ^^^
  = help: write at most 256, or raise the cap in a host file: `caps.memory_mib = 512`"#
    );
}

#[test]
fn folders_of_components_are_named() {
    let findings = Hosts::new()
        .report("tenants.acme = { hosts = [\"*\"], component_dirs = [\"shop\", \"\"] }\n");
    assert_eq!(
        findings,
        r#"error: `component_dirs` takes folders, not ""
 --> ROOT/host.toml:1:59
  |
1 | tenants.acme = { hosts = ["*"], component_dirs = ["shop", ""] }
  |                                                           ^^
  = help: write `component_dirs = ["../shared"]`; a path is relative to the host file"#
    );
}
