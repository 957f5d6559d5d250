//! The lines about a start: where the host listens, its tenants, and for each function what can
//! reach it.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use lacewing_base::{HostPattern, file, name::TenantName};
use lacewing_control::{Deployed, Ledger};
use lacewing_manifest::config::Outline;
use lacewing_runtime::function::Revision;
use lacewing_sandbox::capability::CapabilitySettings;

use crate::cli::project::Project;

/// Functions, and tenants, that are listed at the start.
const LISTED: usize = 50;

/// Tenants with their host names.
pub(super) type Tenants = Vec<(TenantName, Vec<HostPattern>)>;

/// The tenants of a host file.
pub(super) fn tenants_of(outline: &Outline) -> Tenants {
    let tenants = outline.tenants.iter().map(|unread| unread.tenant());
    tenants.map(|tenant| (tenant.name.clone(), tenant.hosts.clone())).collect()
}

/// The tenants of a host file, as a start before has written them down.
pub(super) fn tenants_before(ledger: &Ledger) -> Tenants {
    ledger.tenants().map(|(name, hosts)| (name.clone(), hosts.to_vec())).collect()
}

/// One line for each tenant of a host file.
pub(super) fn tenants(tenants: &Tenants) -> Vec<String> {
    let line = |(name, hosts): &(TenantName, Vec<HostPattern>)| {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let hosts = if hosts.is_empty() { "no host name".to_owned() } else { hosts.join(", ") };
        format!("  tenant {name}: {hosts}")
    };
    let mut lines: Vec<String> = tenants.iter().take(LISTED).map(line).collect();
    if let Some(more @ 1..) = tenants.len().checked_sub(LISTED) {
        lines.push(format!("  and {more} tenants more"));
    }
    lines
}

/// One line for each route, and one for each function's limits. A function without a route has a
/// line that says how to reach it.
pub(super) fn functions(deployed: &Deployed, project: &Project) -> Vec<String> {
    let mut lines = Vec::new();
    for revision in deployed.revisions.iter().take(LISTED) {
        for route in &revision.routes {
            lines.push(format!("  {route}  ->  {}", revision.origin));
        }
        lines.push(limits(revision));
        if revision.routes.is_empty() {
            lines.extend(ways(revision, &home(revision, deployed, project)));
        }
    }
    if let Some(more @ 1..) = deployed.revisions.len().checked_sub(LISTED) {
        lines.push(format!("  and {more} functions more"));
    }
    lines
}

fn limits(revision: &Revision) -> String {
    let limits = &revision.spec.limits;
    let mut line = format!(
        "  {}: memory {} MiB, cpu {} ms, deadline {} ms, concurrency {}",
        revision.origin.function,
        limits.memory_bytes >> 20,
        limits.cpu.as_millis(),
        limits.deadline.as_millis(),
        limits.concurrency,
    );
    if let Some(fuel) = limits.fuel {
        let _ = write!(line, ", fuel {fuel}");
    }
    grants(&revision.spec.settings, &mut line);
    line
}

/// The grants of state and secrets.
fn grants(settings: &CapabilitySettings, line: &mut String) {
    if let Some(state) = &settings.state {
        for grant in state.grants.iter() {
            let _ = write!(line, ", kv {} ({})", grant.name, grant.access);
        }
        for grant in state.buckets.iter() {
            let _ = write!(line, ", bucket {} ({})", grant.name, grant.access);
        }
    }
    for grant in settings.sql.iter().flat_map(|sql| sql.grants.iter()) {
        let _ = write!(line, ", sql {} ({})", grant.name, grant.access);
    }
    for name in settings.secrets.iter().flat_map(|secrets| secrets.names.iter()) {
        let _ = write!(line, ", secret {name}");
    }
}

/// How a function without a route can be tried.
fn ways(revision: &Revision, home: &str) -> Vec<String> {
    let (exports, name) = (revision.exports(), &revision.origin.function);
    let ways = [
        (exports.serves_http(), "it answers HTTP", ""),
        (exports.events, "it handles events", " --event '{\"data\":{}}'"),
        (exports.call, "it is called by name", " --call '{}'"),
    ];
    let there = ways.into_iter().filter(|(is_there, ..)| *is_there);
    there
        .map(|(_, what, input)| {
            format!("  {name} has no route; {what}: lacewing invoke {home} {name}{input}")
        })
        .collect()
}

/// The path of a function's app, as a user would type it here.
fn home(revision: &Revision, deployed: &Deployed, project: &Project) -> String {
    let origin = &revision.origin;
    let mut apps = deployed.apps.iter();
    let app = apps.find(|app| app.tenant == *origin.tenant() && app.name == origin.app);
    let home = app.and_then(|app| app.home.as_deref()).unwrap_or(project.path());
    let home = if home.ends_with(lacewing_manifest::FILE_NAME) {
        home.parent().unwrap_or(home)
    } else {
        home
    };
    match shown(home) {
        path if path.as_os_str().is_empty() => ".".to_owned(),
        path => path.display().to_string(),
    }
}

/// A path below the current directory without that, and without `..`.
pub(super) fn shown(path: &Path) -> PathBuf {
    let path = file::plain(path);
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).map(Path::to_owned).unwrap_or(path)
}
