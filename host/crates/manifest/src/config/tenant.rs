//! Tenants: their host names, apps, quotas and caps.

use std::path::PathBuf;

use ipnet::IpNet;
use lacewing_base::{
    EgressBounds, HostPattern, Route,
    name::{AppName, TenantName},
};

use super::egress::{beyond, read_bounds};
use super::raw::{RawQuota, RawTenant};
use super::settings::small;
use super::{CapViolation, Caps, HostOwners, Settings};
use crate::{
    App, Diagnostic, Findings, FirstFindings, Function, Place, Routes, Written,
    raw::{At, RawCaps, Whole},
};

const MIB: u64 = 1024 * 1024;

/// The state of a tenant whose quota does not say, in MiB.
const STATE_MIB: u64 = 10_240;

/// The tenants, which are isolated and charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub name: TenantName,
    /// The host names that are its own. No pattern is in two tenants; where two tenants' patterns
    /// mean the same host, the exact one wins, then the one with the longer suffix. May be
    /// empty if no function has routes.
    pub hosts: Vec<HostPattern>,
    /// Its apps, each with a name of its own, their limits and what they have within the tenant's
    /// and the host's caps, their grants within the bounds on outbound HTTP. No two routes
    /// clash, and the hosts of routes are the tenant's.
    pub apps: Vec<App>,
    /// Its apps that are none of these, because something is wrong with them.
    pub refused: Vec<RefusedApp>,
    /// The quota of all its functions together.
    pub quota: TenantQuota,
    /// Upper bounds on its functions' limits, on top of the host's.
    pub caps: Caps,
    /// How far its grants may lead, those of the host included. Table: `egress`.
    pub egress: EgressBounds,
    /// Where its name is written.
    pub place: Option<Place>,
}

/// An app that is not taken: something is wrong in what its developer wrote, and that concerns no
/// other tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedApp {
    /// The path that tells the app from others: see [`App::home_of`]. Absolute.
    pub home: PathBuf,
    /// Its name, where its manifest can be read.
    pub name: Option<AppName>,
    /// The findings in its files, warnings among them.
    pub findings: Vec<Diagnostic>,
}

impl RefusedApp {
    fn of(app: &App, findings: Vec<Diagnostic>) -> RefusedApp {
        let home = app.home().unwrap_or(&app.root).to_owned();
        RefusedApp { home, name: Some(app.name.clone()), findings }
    }
}

/// The quota of all functions of a tenant together; `None` is no bound but the host's own.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TenantQuota {
    /// Invocations at once. Key: `concurrency`. `throttled`.
    pub concurrency: Option<u32>,
    /// Invocations in a second, with a burst of the same size. Key: `rate_per_s`. `throttled`.
    pub rate_per_s: Option<u32>,
    /// The sum of the memory limits of the sandboxes that exist at once, in bytes. Key:
    /// `memory_mib`. `throttled`.
    pub memory_bytes: Option<u64>,
    /// Bytes of all its kv stores and buckets, and as much for all its SQL databases. Key:
    /// `state_mib`. Default 10 GiB. `store_unavailable`, or the SQL statement fails.
    pub state_bytes: u64,
    /// Its part of what there is not enough of, in proportion to the others' weights. Key:
    /// `weight`. Default 1. Of slots, cores and memory: a tenant that gets less than it asks
    /// for waits, and is `load_shed` in the end. Of resident programs: a tenant with more than
    /// its part loses some. Of series: a tenant with more functions has them counted together.
    pub weight: u32,
}

impl Default for TenantQuota {
    fn default() -> TenantQuota {
        TenantQuota {
            concurrency: None,
            rate_per_s: None,
            memory_bytes: None,
            state_bytes: STATE_MIB * MIB,
            weight: 1,
        }
    }
}

impl TenantQuota {
    fn read(raw: &RawQuota, findings: &mut Findings) -> TenantQuota {
        let mut get =
            |key: &str, raw: &Option<At<Whole>>, range| findings.number(key, raw.as_ref()?, range);
        TenantQuota {
            concurrency: get("concurrency", &raw.concurrency, 1..=1_000_000).map(small),
            rate_per_s: get("rate_per_s", &raw.rate_per_s, 1..=10_000_000).map(small),
            memory_bytes: get("memory_mib", &raw.memory_mib, 1..=16_777_216).map(|mib| mib * MIB),
            state_bytes: get("state_mib", &raw.state_mib, 1..=1_073_741_824).unwrap_or(STATE_MIB)
                * MIB,
            weight: get("weight", &raw.weight, 1..=1000).map_or(1, small),
        }
    }
}

impl Tenant {
    /// The one tenant of a host that serves a single app: `local`, with every host name. Its
    /// developer is its operator, so that its manifest's grants are enough.
    pub(super) fn local(name: TenantName, app: App) -> Tenant {
        Tenant {
            name,
            hosts: vec![HostPattern::Any],
            apps: vec![app],
            refused: Vec::new(),
            quota: TenantQuota::default(),
            caps: Caps::none(),
            egress: EgressBounds::none(),
            place: None,
        }
    }

    /// Reads a tenant of a host file, which has no apps yet. `networks` are those that every tenant
    /// may reach.
    pub(super) fn read(
        name: &At<String>,
        raw: &RawTenant,
        settings: &Settings,
        networks: &[IpNet],
        findings: &mut Findings,
    ) -> Option<Tenant> {
        let place = findings.place(&name.span);
        let hosts = read_hosts(&raw.hosts, findings);
        let quota = TenantQuota::read(&raw.quota, findings);
        let caps = read_caps(&raw.caps, settings, findings);
        let egress = read_bounds(&raw.egress, networks, findings);
        let (name, place) = (findings.name(name)?, Some(place));
        let (apps, refused) = (Vec::new(), Vec::new());
        Some(Tenant { name, hosts, apps, refused, quota, caps, egress, place })
    }

    /// The functions of all its apps.
    pub fn functions(&self) -> impl Iterator<Item = (&App, &Function)> {
        self.apps.iter().flat_map(|app| app.functions.iter().map(move |function| (app, function)))
    }

    /// Refuses those of its apps that are over a cap, whose grants lead out of bounds, or whose
    /// routes cannot stand beside those of the apps before them or are for hosts that are not
    /// the tenant's. The limits of the others are within the caps afterwards.
    pub(super) fn refuse_wrong(&mut self, host: &Caps, owners: &HostOwners) {
        let apps = std::mem::take(&mut self.apps);
        // A manifest with too many functions or routes is not looked at any further: that would
        // take as long.
        let mut apps = self.refuse_large(apps, host);
        let mut findings: Vec<FirstFindings> = Vec::new();
        for app in &mut apps {
            let mut first = FirstFindings::default();
            first.extend(self.apply_caps(app, host));
            self.check_egress(app, &mut first);
            findings.push(first);
        }
        self.check_routes(&apps, &mut findings, owners);
        for (app, findings) in apps.into_iter().zip(findings) {
            if findings.is_empty() {
                self.apps.push(app);
            } else {
                let file = app.manifest.as_deref().unwrap_or(&app.root);
                self.refused.push(RefusedApp::of(&app, findings.into_list(file)));
            }
        }
    }

    /// Refuses those of some apps that have more of something than they may. Gives the others.
    fn refuse_large(&mut self, apps: Vec<App>, host: &Caps) -> Vec<App> {
        let mut rest = Vec::new();
        for app in apps {
            let own = self.caps.check_app(&app, &format!("tenant `{}`'s", self.name));
            let findings = if own.is_empty() { host.check_app(&app, "the host's") } else { own };
            if findings.is_empty() {
                rest.push(app);
            } else {
                self.refused.push(RefusedApp::of(&app, findings));
            }
        }
        rest
    }

    /// Adds what an app's grants ask for beyond the bounds on outbound HTTP.
    fn check_egress(&self, app: &App, findings: &mut FirstFindings) {
        for function in &app.functions {
            for beyond in beyond(&self.egress, function) {
                findings.push_error(|| self.related(beyond.finding(&self.name, function)));
            }
        }
    }

    /// Takes out an app that something is wrong with beside its files: what was made of it is said
    /// elsewhere.
    pub fn refuse(&mut self, name: &AppName) {
        let (refused, apps) =
            std::mem::take(&mut self.apps).into_iter().partition(|app| app.name == *name);
        self.apps = apps;
        let refused: Vec<App> = refused;
        self.refused.extend(refused.iter().map(|app| RefusedApp::of(app, Vec::new())));
    }

    /// Adds to the findings about each app. One that has any takes no route from those after it.
    fn check_routes(&self, apps: &[App], findings: &mut [FirstFindings], owners: &HostOwners) {
        let mut routes = Routes::under(&self.hosts);
        for (app, findings) in apps.iter().zip(findings) {
            add(&mut routes, app, findings);
            findings.extend(self.check_hosts(app, owners));
            routes.settle(findings.is_empty());
        }
    }

    /// Whether each route of an app is for a host that is the tenant's.
    fn check_hosts(&self, app: &App, owners: &HostOwners) -> Vec<Diagnostic> {
        let mut routes = app.functions.iter().flat_map(|function| &function.routes);
        if self.hosts.is_empty() {
            return routes.next().map(|route| self.no_hosts(route)).into_iter().collect();
        }
        let check = |route: &Written<Route>| {
            let host = route.host.as_ref()?;
            let owner = owners.owner(host);
            if owner == Some(&self.name) {
                return None;
            }
            let message = match owner {
                Some(owner) if self.hosts.iter().any(|own| own.covers(host)) => {
                    format!("host `{host}` is tenant `{owner}`'s")
                }
                _ => format!("host `{host}` is not among those of tenant `{}`", self.name),
            };
            Some(self.related(Diagnostic::error(message).at(&route.place)))
        };
        routes.filter_map(check).collect()
    }

    fn no_hosts(&self, route: &Written<Route>) -> Diagnostic {
        let message = format!(
            "tenant `{}` has routes and no host names, so no request reaches it",
            self.name
        );
        let help = "add `hosts = [\"example.com\"]`, or `hosts = [\"*\"]` for all that no other tenant has";
        let place = self.place.as_ref().unwrap_or(&route.place);
        Diagnostic::error(message).at(place).help(help)
    }

    fn related(&self, finding: Diagnostic) -> Diagnostic {
        match &self.place {
            Some(place) => finding.related(place, "the tenant is here"),
            None => finding,
        }
    }

    /// Brings the limits of an app's functions within its own and the host's caps.
    fn apply_caps(&self, app: &mut App, host: &Caps) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        for function in &mut app.functions {
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

/// Adds an app's routes to those of others, and to the findings which of them cannot be there.
fn add<'a>(routes: &mut Routes<'a>, app: &'a App, findings: &mut FirstFindings) {
    for function in &app.functions {
        let owner = format!("function `{}` of app `{}`", function.name, app.name);
        for route in &function.routes {
            if let Some(clashing) = routes.add(&owner, route) {
                findings.push_error(|| clashing.finding());
            }
        }
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
                findings
                    .at(&raw.span, Diagnostic::warning(format!("`{host}` is in the list already")));
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
    for (cap, host, place) in caps.above(&settings.caps) {
        let message = format!("a cap of {cap} has no effect above the host's, which is {host}");
        findings.extend([Diagnostic::warning(message).at(place)]);
    }
    caps
}
