//! Tenants: their host names, apps, quotas and caps.

use std::path::Path;

use super::raw::{RawCaps, RawQuota, RawTenant};
use super::settings::small;
use super::{CapViolation, Caps, Settings};
use crate::{
    manifest::{
        App, Diagnostic, Findings, Function, HostPattern, Place, Routes,
        raw::{At, Whole},
    },
    name::TenantName,
};

const MIB: u64 = 1024 * 1024;

/// Who is isolated and charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub name: TenantName,
    /// The host names that are its own. No pattern is in two tenants; where two tenants' patterns mean the same host,
    /// the exact one wins, then the one with the longer suffix. May be empty if no function has routes.
    pub hosts: Vec<HostPattern>,
    /// Its apps, each with a name of its own, their limits within the tenant's and the host's caps. No two routes
    /// clash, and the hosts of routes are among the tenant's.
    pub apps: Vec<App>,
    /// What all its functions together may use.
    pub quota: Quota,
    /// Upper bounds on its functions' limits, on top of the host's.
    pub caps: Caps,
    /// Where its name is written.
    pub place: Option<Place>,
}

/// What all functions of a tenant together may use; `None` is no bound but the host's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Invocations at once. Key: `concurrency`. `throttled`.
    pub concurrency: Option<u32>,
    /// Invocations in a second, with a burst of the same size. Key: `rate_per_s`. `throttled`.
    pub rate_per_s: Option<u32>,
    /// The sum of the memory limits of the sandboxes that exist at once, in bytes. Key: `memory_mib`. `throttled`.
    pub memory_bytes: Option<u64>,
    /// Its part of slots and cores while tenants wait for them, in proportion to the others' weights. Key: `weight`. Default 1.
    /// Whoever gets less than it asks for waits, and is `load_shed` in the end.
    pub weight: u32,
}

impl Default for Quota {
    fn default() -> Quota {
        Quota { concurrency: None, rate_per_s: None, memory_bytes: None, weight: 1 }
    }
}

impl Quota {
    fn read(raw: &RawQuota, findings: &mut Findings) -> Quota {
        let mut get =
            |key: &str, raw: &Option<At<Whole>>, range| findings.number(key, raw.as_ref()?, range);
        Quota {
            concurrency: get("concurrency", &raw.concurrency, 1..=1_000_000).map(small),
            rate_per_s: get("rate_per_s", &raw.rate_per_s, 1..=10_000_000).map(small),
            memory_bytes: get("memory_mib", &raw.memory_mib, 1..=16_777_216).map(|mib| mib * MIB),
            weight: get("weight", &raw.weight, 1..=1000).map_or(1, small),
        }
    }
}

impl Tenant {
    /// The one tenant of a host that serves a single app: `local`, with every host name.
    pub(super) fn local(name: TenantName, app: App) -> Tenant {
        Tenant {
            name,
            hosts: vec![HostPattern::Any],
            apps: vec![app],
            quota: Quota::default(),
            caps: Caps::none(),
            place: None,
        }
    }

    /// Reads a tenant of a host file in the directory `root`, with its apps.
    pub(super) fn read(
        name: &At<String>,
        raw: &RawTenant,
        root: &Path,
        settings: &Settings,
        findings: &mut Findings,
    ) -> Option<Tenant> {
        let place = findings.place(&name.span);
        let hosts = read_hosts(&raw.hosts, findings);
        let quota = Quota::read(&raw.quota, findings);
        let caps = read_caps(&raw.caps, settings, findings);
        let apps = read_apps(&raw.apps, root, findings);
        let tenant =
            Tenant { name: findings.name(name)?, hosts, apps, quota, caps, place: Some(place) };
        tenant.check_routes(name, raw, findings);
        Some(tenant)
    }

    /// The functions of all its apps.
    pub fn functions(&self) -> impl Iterator<Item = (&App, &Function)> {
        self.apps.iter().flat_map(|app| app.functions.iter().map(move |function| (app, function)))
    }

    /// Routes of different apps may clash, and a route may be for a host that is not the tenant's.
    fn check_routes(&self, name: &At<String>, raw: &RawTenant, findings: &mut Findings) {
        let mut routes = Routes::under(&self.hosts);
        let mut has_routes = false;
        for (app, function) in self.functions() {
            let owner = format!("function `{}` of app `{}`", function.name, app.name);
            for route in &function.routes {
                has_routes = true;
                findings.extend(routes.add(&owner, route));
                let Some(host) = &route.host else { continue };
                if !raw.hosts.is_empty() && !self.hosts.iter().any(|own| own.covers(host)) {
                    let message =
                        format!("host `{host}` is not among those of tenant `{}`", self.name);
                    let hosts = findings.place(&name.span);
                    let finding = Diagnostic::error(message)
                        .at(&route.place)
                        .related(&hosts, "the tenant is here");
                    findings.extend([finding]);
                }
            }
        }
        // Host names that are wrong were found already.
        if has_routes && raw.hosts.is_empty() && !findings.refuse() {
            let message = format!(
                "tenant `{}` has routes and no host names, so that no request reaches it",
                self.name
            );
            let help = "add `hosts = [\"example.com\"]`, or `hosts = [\"*\"]` for all that no other tenant has";
            findings.at(&name.span, Diagnostic::error(message).help(help));
        }
    }

    /// Brings the limits of its functions within its own and the host's caps.
    pub(super) fn apply_caps(&mut self, host: &Caps) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        for function in self.apps.iter_mut().flat_map(|app| &mut app.functions) {
            let own = self.caps.apply(function);
            let owner = format!("tenant `{}`'s", self.name);
            findings.extend(own.iter().map(|violation| over_cap(function, violation, &owner)));
            // One that is over both is reported once.
            let host = host.apply(function).into_iter();
            let host: Vec<_> =
                host.filter(|violation| own.iter().all(|own| own.key != violation.key)).collect();
            findings
                .extend(host.iter().map(|violation| over_cap(function, violation, "the host's")));
        }
        findings
    }
}

fn over_cap(function: &Function, violation: &CapViolation, owner: &str) -> Diagnostic {
    let CapViolation { key, value, cap, place, cap_place } = violation;
    let message =
        format!("`{key}` of function `{}` is {value}, over {owner} cap of {cap}", function.name);
    let finding = Diagnostic::error(message).at(place.as_ref().unwrap_or(&function.place));
    match cap_place {
        Some(cap_place) => finding.related(cap_place, "the cap is here"),
        None => finding.help(format!(
            "write at most {cap}, or raise the cap in a host file: `caps.{key} = {value}`"
        )),
    }
}

fn read_hosts(raw: &[At<String>], findings: &mut Findings) -> Vec<HostPattern> {
    let mut hosts = Vec::new();
    for raw in findings.bounded("hosts", raw) {
        match raw.value.parse::<HostPattern>() {
            Ok(host) if hosts.contains(&host) => {
                findings.at(&raw.span, Diagnostic::warning(format!("`{host}` is there already")));
            }
            Ok(host) => hosts.push(host),
            Err(error) => findings.at(&raw.span, Diagnostic::error(error.to_string())),
        }
    }
    hosts
}

fn read_caps(raw: &RawCaps, settings: &Settings, findings: &mut Findings) -> Caps {
    let mut caps = Caps::none();
    caps.read(raw, findings);
    for (key, cap, place) in caps.written() {
        if let Some(host) = settings.caps.get(key).filter(|host| *host < cap) {
            let message = format!("a cap of {cap} has no effect above the host's, which is {host}");
            findings.extend([Diagnostic::warning(message).at(place)]);
        }
    }
    caps
}

/// The apps that can be read, with what is to be said about each.
fn read_apps(raw: &[At<String>], root: &Path, findings: &mut Findings) -> Vec<App> {
    let mut apps: Vec<(App, Place)> = Vec::new();
    for raw in findings.bounded("apps", raw) {
        let place = findings.place(&raw.span);
        let app = match App::load(&root.join(&raw.value)) {
            Ok((app, warnings)) => {
                findings.extend(warnings);
                app
            }
            Err(errors) => {
                // What is about the file as a whole has no place in it, and gets that of its mention here.
                findings.extend(errors.into_iter().map(|error| match error.place {
                    Some(_) => error,
                    None => error.related(&place, "the app is named here"),
                }));
                continue;
            }
        };
        match apps.iter().find(|(other, _)| other.name == app.name) {
            Some((_, other)) => {
                let finding =
                    Diagnostic::error(format!("the tenant has an app `{}` already", app.name));
                findings.extend([finding.at(&place).related(other, "the other app is here")]);
            }
            None => apps.push((app, place)),
        }
    }
    apps.into_iter().map(|(app, _)| app).collect()
}
