//! Host files that are taken, and the texts of errors in others.

mod bounds;
mod findings;
mod schema;

use std::{path::Path, time::Duration};

use lacewing_base::{HostPattern, LimitKey};

use super::testing::Hosts;
use lacewing_base::EgressBounds;

use super::*;
use crate::{App, testing::print};

/// A host file that uses every key, which is what the schema's tests take too.
const FULL: &str = r##"
listen = ["0.0.0.0:80", "[::]:0"]
admin = "off"
s3 = "127.0.0.1:9000"
admin_hosts = ["metrics.internal", "Host7.Example.com"]
trusted_proxies = ["10.1.0.0/16"]
cache_dir = "cache"
state = "kept"
max_cache_mib = 100
max_manifest_kib = 64
max_sandboxes = 200
memory_mib = 2048
body_memory_mib = 64
grace_period_s = 5

[connections]
max = 500
header_timeout_s = 1
body_idle_timeout_s = 2
keep_alive_s = 0
max_header_kib = 16
max_headers = 32
max_streams = 10

[admission]
wait_ms = 0
queue = 7
rate_per_s = 90

[residency]
max_functions = 20
memory_mib = 30

[compiler]
memory_mib = 1024
cpu_s = 7
wall_s = 9
artifact_mib = 64
concurrency = 3
queue = 0

[log]
format = "json"
requests = "errors"

[metrics]
max_functions = 300

[caps]
memory_mib = 512
log_kib = 8
functions = 20
routes = 30

[egress]
networks = ["10.1.0.0/17"]

[tenants.acme]
hosts = ["acme.example.com", "*.acme.example.com"]
apps = ["shop", "huge/lacewing.toml"]
component_dirs = ["shared"]
quota = { concurrency = 50, rate_per_s = 1000, memory_mib = 2048, state_mib = 7, weight = 3 }
caps = { cpu_ms = 100, fuel = 1000, functions = 10 }
egress = { networks = ["127.0.0.0/8", "10.1.128.0/17"], hosts = ["*.example.com", "[::ffff:127.0.0.1]"] }

[tenants.other]
hosts = ["*"]
apps = ["blog"]
"##;

fn load(hosts: &Hosts, text: &str) -> HostFile {
    match hosts.load(text) {
        Ok((file, findings)) if findings.is_empty() => file,
        Ok((_, findings)) | Err(findings) => panic!("{}", print(&findings, hosts.path())),
    }
}

#[test]
fn the_cache_is_found_without_reading_everything() {
    let hosts = Hosts::new();
    let cache_dir = |text: &str| {
        let path = hosts.path().join("host.toml");
        std::fs::write(&path, text).unwrap();
        let found = cache_dir_of(&path)?;
        Some(found.strip_prefix(hosts.path()).unwrap_or(&found).display().to_string())
    };
    assert_eq!(cache_dir(FULL).as_deref(), Some("cache"));
    assert_eq!(cache_dir("cache_dir = \"/var/c\"").as_deref(), Some("/var/c"));
    assert_eq!(cache_dir("[tenants.a]\ncache_dir = \"x\""), None);
    assert_eq!(cache_dir("listen = []\n[log]\n"), None);
    // Text that looks like a table within a value is cut off there, and then is no TOML.
    assert_eq!(cache_dir("x = \"\"\"\n[a]\n\"\"\"\ncache_dir = \"x\"\n"), None);
    assert_eq!(cache_dir_of(&hosts.path().join("missing.toml")), None);
}

#[test]
fn every_setting_is_taken() {
    let hosts = Hosts::new();
    let file = load(&hosts, FULL);
    let mut caps = Settings::new("".into()).caps;
    caps.set(LimitKey::MemoryMib, 512);
    caps.set(LimitKey::LogKib, 8);
    let expected = Settings {
        listen: vec!["0.0.0.0:80".parse().unwrap(), "[::]:0".parse().unwrap()],
        admin: None,
        admin_hosts: vec!["metrics.internal".to_owned(), "host7.example.com".to_owned()],
        s3: Some("127.0.0.1:9000".parse().unwrap()),
        trusted_proxies: vec!["10.1.0.0/16".parse().unwrap()],
        cache_dir: hosts.path().join("cache"),
        state_dir: Some(hosts.path().join("kept")),
        secrets: SecretSource::default(),
        max_cache_bytes: 100 << 20,
        max_manifest_bytes: 64 * 1024,
        residency: Residency { max_functions: 20, memory_bytes: 30 << 20 },
        max_sandboxes: 200,
        memory_bytes: Some(2 << 30),
        body_memory_bytes: Some(64 << 20),
        connections: Connections {
            max: 500,
            header_timeout: Duration::from_secs(1),
            body_idle_timeout: Duration::from_secs(2),
            keep_alive: Duration::ZERO,
            max_header_bytes: 16 * 1024,
            max_headers: 32,
            max_streams: 10,
        },
        admission: Admission { wait: Duration::ZERO, queue: 7, rate_per_s: Some(90) },
        compilation: Compilation {
            memory_bytes: 1 << 30,
            cpu: Duration::from_secs(7),
            wall: Duration::from_secs(9),
            artifact_bytes: 64 << 20,
            concurrency: 3,
            queue: 0,
            program: CompilerProgram::This,
        },
        grace_period: Duration::from_secs(5),
        log: LogSettings { format: LogFormat::Json, requests: RequestLog::Errors },
        metrics: Counting { max_functions: 300 },
        caps: file.settings.caps.clone(),
    };
    assert_eq!(file.settings, expected);
    for &key in LimitKey::ALL {
        assert_eq!(file.settings.caps.get(key), caps.get(key), "{key}");
    }
    let of_apps = AppKey::ALL.map(|key| file.settings.caps.of_app(key));
    assert_eq!(of_apps, [Some(20), Some(30)]);
    assert_eq!(file.settings.max_memory_bytes(), 512 << 20);
    assert_eq!(file.path, Some(hosts.path().join("host.toml")));
}

#[test]
fn missing_settings_have_their_defaults() {
    let hosts = Hosts::new();
    let file = load(&hosts, "tenants.acme.hosts = [\"*\"]\n");
    let state_dir = Some(hosts.path().join(STATE_DIR));
    assert_eq!(file.settings, Settings { state_dir, ..Settings::new(default_cache_dir()) });
    assert_eq!(file.tenants[0].quota.state_bytes, 10 << 30);
    assert_eq!(file.settings.conflict(), None);
    assert!(file.settings.memory_plan().sandbox_bytes > 64 << 20, "this machine has some memory");
    assert_eq!(file.settings.max_memory_bytes(), 256 << 20);
    let of_apps = AppKey::ALL.map(|key| file.settings.caps.of_app(key));
    assert_eq!(of_apps, [Some(1000), Some(5000)]);
    let tenant = &file.tenants[0];
    assert_eq!((&tenant.quota, &tenant.caps), (&TenantQuota::default(), &Caps::none()));
    assert_eq!(tenant.egress, EgressBounds::default());
    assert!(tenant.apps.is_empty());
}

#[test]
fn tenants_have_their_hosts_apps_and_quotas() {
    let file = load(&Hosts::new(), FULL);
    let [acme, other] = &file.tenants[..] else { panic!() };
    assert_eq!(acme.name.as_str(), "acme");
    let hosts: Vec<String> = acme.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["acme.example.com", "*.acme.example.com"]);
    let apps: Vec<&str> = acme.apps.iter().map(|app| app.name.as_str()).collect();
    assert_eq!(apps, ["shop", "huge"]);
    let quota = TenantQuota {
        concurrency: Some(50),
        rate_per_s: Some(1000),
        memory_bytes: Some(2048 << 20),
        state_bytes: 7 << 20,
        weight: 3,
    };
    assert_eq!(acme.quota, quota);
    assert_eq!(other.quota.weight, 1);
    assert_eq!(other.hosts, [HostPattern::Any]);
    let bounds = |networks: &[&str], hosts: Option<&[&str]>| EgressBounds {
        networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        hosts: hosts.map(|hosts| hosts.iter().map(|host| host.parse().unwrap()).collect()),
    };
    // The host's networks come to the tenant's.
    let own = bounds(&["10.1.0.0/16", "127.0.0.0/8"], Some(&["*.example.com", "127.0.0.1"]));
    assert_eq!(acme.egress, own);
    assert_eq!(other.egress, bounds(&["10.1.0.0/17"], None));
    assert_eq!(AppKey::ALL.map(|key| acme.caps.of_app(key)), [Some(10), None]);
    assert_eq!(other.functions().count(), 1);
}

#[test]
fn defaults_are_lowered_to_the_caps() {
    let file = load(&Hosts::new(), FULL);
    let limits = |tenant: usize| &file.tenants[tenant].apps[0].functions[0].limits;
    assert_eq!(limits(0).cpu, Duration::from_millis(100), "the tenant's");
    assert_eq!(limits(0).fuel, Some(1000), "the tenant's, where there is none by default");
    assert_eq!(limits(0).log_bytes, 8 * 1024, "the host's");
    assert_eq!(limits(1).cpu, Duration::from_secs(1), "another tenant's do not count");
    assert_eq!(limits(1).fuel, None);
    assert_eq!(limits(1).log_bytes, 8 * 1024);
    assert_eq!(limits(1).memory_bytes, 64 << 20, "a cap raises nothing");
}

#[test]
fn caps_are_checked() {
    let mut caps = Caps::none();
    let limits = lacewing_base::Limits::default();
    assert_eq!(caps.check(&limits), []);
    caps.set(LimitKey::CpuMs, 1000);
    caps.set(LimitKey::MemoryMib, 63);
    caps.set(LimitKey::Fuel, 1);
    let violation =
        CapViolation { key: LimitKey::MemoryMib, value: 64, cap: 63, place: None, cap_place: None };
    assert_eq!(caps.check(&limits), [violation]);
    caps.set(LimitKey::HeaderKib, u64::MAX);
    assert_eq!(caps.get(LimitKey::HeaderKib), Some(1024));
}

fn app(hosts: &Hosts, name: &str) -> App {
    App::load(&hosts.path().join(name)).unwrap().0
}

#[test]
fn a_single_app_is_a_host_with_one_tenant() {
    let hosts = Hosts::new();
    let settings = Settings::new("/cache".into());
    let file = HostFile::local(app(&hosts, "api"), settings.clone()).unwrap();
    let state_dir = Some(hosts.path().join("api").join(STATE_DIR));
    let secrets = SecretSource { dir: None, from_env: true };
    assert_eq!(file.settings, Settings { state_dir, secrets, ..settings.clone() });
    assert_eq!(file.path, None);
    let [tenant] = &file.tenants[..] else { panic!() };
    assert_eq!((tenant.name.as_str(), &tenant.hosts[..]), ("local", &[HostPattern::Any][..]));
    assert_eq!(tenant.quota, TenantQuota::default());
    assert_eq!(tenant.egress, EgressBounds::none());
    assert_eq!(tenant.apps, [app(&hosts, "api")]);

    let findings = HostFile::local(app(&hosts, "huge"), settings).unwrap_err();
    assert_eq!(
        print(&findings, hosts.path()),
        "error: `memory_mib` of function `a` is 512, over the host's cap of 256\n --> ROOT/huge/lacewing.toml:2:59\n  |\n2 | functions.a = { component = \"x.wasm\", limits.memory_mib = 512 }\n  |                                                           ^^^\n  = help: write at most 256, or raise the cap in a host file: `caps.memory_mib = 512`"
    );
}

#[test]
fn a_host_file_that_cannot_be_read() {
    let hosts = Hosts::new();
    let error = |path: &Path| print(&HostFile::load(path).unwrap_err(), hosts.path());
    assert_eq!(
        error(&hosts.path().join("none.toml")),
        "error: there is no such file\n --> ROOT/none.toml"
    );
    assert_eq!(
        error(hosts.path()),
        "error: this is a directory, and a text file was expected\n --> ROOT"
    );
}

#[test]
fn addresses_collide_when_they_cannot_both_be_bound() {
    let conflict = |listen: &[&str], admin: &str| {
        let mut settings = Settings::new("/cache".into());
        settings.listen = listen.iter().map(|address| address.parse().unwrap()).collect();
        settings.admin = Some(admin.parse().unwrap());
        settings.conflict()
    };
    assert_eq!(conflict(&["127.0.0.1:80", "127.0.0.2:80"], "127.0.0.1:81"), None);
    assert_eq!(conflict(&["127.0.0.1:0", "127.0.0.1:0"], "127.0.0.1:0"), None);
    assert_eq!(conflict(&["[::]:80"], "127.0.0.1:80"), None);
    assert_eq!(
        conflict(&["127.0.0.1:80", "127.0.0.1:80"], "127.0.0.1:81").unwrap(),
        "`listen` is 127.0.0.1:80, which collides with `listen`, 127.0.0.1:80"
    );
    assert_eq!(
        conflict(&["127.0.0.1:80"], "0.0.0.0:80").unwrap(),
        "`admin` is 0.0.0.0:80, which collides with `listen`, 127.0.0.1:80"
    );
}
