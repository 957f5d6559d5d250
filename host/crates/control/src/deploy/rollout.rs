//! The rollout of a host file over the current deploy, tenant by tenant.
//!
//! ```text
//!   before ----> table: of each tenant what it had        one tenant's functions, one after the other
//!                  |                                       |
//!                  +<---- its apps, as they are now <------+--- fine: their new revisions
//!                  |      swapped in when they are ready   +--- refused: what they had before, or nothing
//!                  v
//!   what the host file says, but for what was refused
//! ```
//!
//! The first swap comes before any manifest is read: tenants that are gone, host names that were
//! given to another tenant, and wider or narrower quotas and bounds on outbound HTTP are then as
//! the host file says. So a name that a tenant loses is answered by no tenant until its new owner
//! is ready, and never by a third tenant.
//!
//! No tenant waits for another tenant's compiler. A swap makes the table of all routes, so that
//! those that come in quick succession are one.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use lacewing_base::name::{AppName, TenantName};
use lacewing_manifest::{App, config::Tenant as TenantConfig};
use lacewing_runtime::function::{Revision, Tenant};
use lacewing_sandbox::engine::LoadError;

use super::{
    DeployError, Deployment, Incoming, Ready, Swap, Tenants, component_file, error, revise::Revise,
};
use crate::{
    Deployed, DeployedApp, Host,
    routes::{self, Clash, Hosts},
};

/// How much longer than a swap has taken the next one waits: swaps take a fifth of a deploy's time
/// at the most.
const SPACING: u32 = 4;

/// An app, and what of it is or will be served.
#[derive(Clone)]
struct DeployPart {
    app: DeployedApp,
    revisions: Vec<Arc<Revision>>,
    /// Whether it is another than before.
    is_new: bool,
}

/// The apps that were deployed before, by tenant.
struct Before<'a>(HashMap<&'a TenantName, Vec<DeployPart>>);

impl<'a> Before<'a> {
    fn of(deployed: &'a Deployed) -> Before<'a> {
        let mut revisions: HashMap<_, Vec<Arc<Revision>>> = HashMap::new();
        for revision in &deployed.revisions {
            let origin = &*revision.origin;
            revisions.entry((origin.tenant(), &origin.app)).or_default().push(revision.clone());
        }
        let mut tenants: HashMap<_, Vec<DeployPart>> = HashMap::new();
        for app in &deployed.apps {
            let revisions = revisions.remove(&(&app.tenant, &app.name)).unwrap_or_default();
            let part = DeployPart { app: app.clone(), revisions, is_new: false };
            tenants.entry(&app.tenant).or_default().push(part);
        }
        Before(tenants)
    }

    fn of_tenant(&self, tenant: &TenantName) -> &[DeployPart] {
        self.0.get(tenant).map_or(&[], Vec::as_slice)
    }
}

/// The result of a tenant.
#[derive(Default)]
struct TenantResult {
    parts: Vec<DeployPart>,
    errors: Vec<DeployError>,
}

/// One deploy on its way.
pub(super) struct DeployRollout<'a> {
    host: &'a Arc<Host>,
    before: Arc<Before<'a>>,
    hosts: Hosts,
    /// Of each tenant, in the order of the file.
    parts: Vec<Vec<DeployPart>>,
    /// The same, once it is done with.
    tenants: Vec<Option<TenantConfig>>,
    errors: Vec<DeployError>,
    /// How many of them were reported.
    reported: usize,
}

impl<'a> DeployRollout<'a> {
    pub(super) fn new(
        host: &'a Arc<Host>,
        incoming: &[Incoming<'_>],
        before: &'a Deployed,
    ) -> Self {
        let names =
            incoming.iter().map(|Incoming { config, .. }| (&config.name, &config.hosts[..]));
        let hosts = Hosts::new(names);
        let before = Arc::new(Before::of(before));
        let had = |tenant: &Incoming<'_>| {
            let before = before.of_tenant(&tenant.config.name);
            let mut done = TenantResult { parts: before.to_vec(), errors: Vec::new() };
            // The tenant's host names may be others by now.
            done.settle(&hosts, before);
            done.parts
        };
        let parts = incoming.iter().map(had).collect();
        let tenants = vec![None; incoming.len()];
        DeployRollout { host, before, hosts, parts, tenants, errors: Vec::new(), reported: 0 }
    }

    /// Swaps tenants in as they are ready.
    pub(super) async fn run(
        mut self,
        revise: &Revise<'_>,
        mut tenants: Tenants,
        incoming: Vec<Incoming<'_>>,
        report: &mut (dyn FnMut(Swap<'_>) + Send),
    ) -> Deployment {
        let (before, hosts) = (&*self.before.clone(), &self.hosts.clone());
        let names: Vec<_> = incoming.iter().map(|tenant| tenant.config.name.clone()).collect();
        let mut running: FuturesUnordered<_> = incoming
            .into_iter()
            .enumerate()
            .map(|(index, Incoming { config, ready })| {
                let tenant = tenants.get(&config.name, &config.quota, &config.egress);
                let before = before.of_tenant(&config.name);
                async move {
                    let ready = ready.await;
                    let mut done = deploy_tenant(revise, before, &ready, &tenant).await;
                    done.settle(hosts, before);
                    (index, ready.config, done)
                }
            })
            .collect();
        // Tenants that are gone, and names, quotas and bounds that are others, wait for no manifest
        // and no compiler.
        let (mut is_due, mut due) = (true, tokio::time::Instant::now());
        loop {
            tokio::select! {
                biased;
                done = running.next() => {
                    let Some((index, config, done)) = done else { break };
                    self.parts[index] = done.parts;
                    self.tenants[index] = Some(config);
                    self.errors.extend(done.errors);
                    is_due = true;
                }
                () = tokio::time::sleep_until(due), if is_due => {
                    due = tokio::time::Instant::now() + self.swap(&tenants, false, report) * SPACING;
                    is_due = false;
                }
            }
        }
        drop(running);
        self.swap(&tenants, true, report);
        let places: HashMap<_, _> = names.iter().zip(0..).collect();
        self.errors.sort_by_key(|error| places.get(&error.tenant).copied().unwrap_or(0));
        let tenants = self.tenants.into_iter().flatten().collect();
        Deployment { tenants, errors: self.errors }
    }

    /// Makes what is ready current, and says how long that took.
    fn swap(
        &mut self,
        tenants: &Tenants,
        is_last: bool,
        report: &mut (dyn FnMut(Swap<'_>) + Send),
    ) -> Duration {
        let began = Instant::now();
        let parts = || self.parts.iter().flatten();
        let revisions: Vec<_> = parts().flat_map(|part| part.revisions.iter().cloned()).collect();
        let apps = parts().map(|part| part.app.clone()).collect();
        let is_whole = |tenant: &TenantConfig| tenant.refused.is_empty();
        let complete =
            is_last && self.errors.is_empty() && self.tenants.iter().flatten().all(is_whole);
        let router = routes::known(&self.hosts, &revisions);
        let before = self.host.deployed();
        self.host.swap(Deployed { revisions, apps, complete }, router, tenants);
        let took = began.elapsed();
        let refused = &self.errors[self.reported..];
        report(Swap { before: &before, after: &self.host.deployed(), refused });
        self.reported = self.errors.len();
        took
    }
}

async fn deploy_tenant(
    revise: &Revise<'_>,
    before: &[DeployPart],
    ready: &Ready,
    tenant: &Arc<Tenant>,
) -> TenantResult {
    let Ready { config, components } = ready;
    let mut done = TenantResult::default();
    for app in &config.apps {
        let (mut revisions, had) = (Vec::new(), done.errors.len());
        let (mut functions, mut files) = (Vec::new(), Vec::new());
        for function in &app.functions {
            match component_file(&config.name, app, function, components) {
                Ok(file) => {
                    functions.push(function);
                    files.push(Arc::new(file));
                }
                Err((path, refusal)) => {
                    let refusal = LoadError::Read(refusal).into();
                    done.errors.push(error(&config.name, app, function, path, refusal));
                }
            }
        }
        let known = revise.known(&config.name, &files).await;
        for ((function, file), found) in functions.into_iter().zip(&files).zip(known) {
            match revise.function(tenant, &config.quota, app, function, file, found).await {
                Ok(revision) => revisions.push(revision),
                Err(refusal) => {
                    let path = file.path().to_owned();
                    done.errors.push(error(&config.name, app, function, path, refusal));
                }
            }
        }
        if done.errors.len() == had {
            done.parts.push(DeployPart::new(before, &config.name, app, revisions));
        } else {
            done.keep(before, app.home(), Some(&app.name));
        }
    }
    for refused in &config.refused {
        done.keep(before, Some(&refused.home), refused.name.as_ref());
    }
    done
}

impl DeployPart {
    fn new(
        before: &[DeployPart],
        tenant: &TenantName,
        app: &App,
        revisions: Vec<Arc<Revision>>,
    ) -> DeployPart {
        let home = app.home().map(Path::to_owned);
        let app = DeployedApp { tenant: tenant.clone(), name: app.name.clone(), home };
        let known = before.iter().find(|part| part.app.name == app.name);
        let known = known.map_or(&[][..], |part| &part.revisions);
        let is_new = !revisions.iter().map(Arc::as_ptr).eq(known.iter().map(Arc::as_ptr));
        DeployPart { app, revisions, is_new }
    }
}

impl TenantResult {
    /// Goes on with what there was of an app that is refused, if there was anything.
    fn keep(&mut self, before: &[DeployPart], home: Option<&Path>, name: Option<&AppName>) {
        let is_it = |part: &&DeployPart| match (&part.app.home, home) {
            (Some(known), Some(home)) => known == home,
            (None, None) => Some(&part.app.name) == name,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let Some(known) = before.iter().find(is_it) else { return };
        // Another one may have its name by now.
        if !self.parts.iter().any(|part| part.app.name == known.app.name) {
            self.parts.push(known.clone());
        }
    }

    /// Takes out what cannot stand side by side: of two apps whose routes clash the later one if it
    /// is new, or else the other if that is, which goes on with what it had. Only where neither
    /// is new, because the tenant's host names have changed, the later one is gone.
    fn settle(&mut self, hosts: &Hosts, before: &[DeployPart]) {
        loop {
            let losers = self.losers(hosts);
            if losers.is_empty() {
                return;
            }
            for index in losers.into_iter().rev() {
                let DeployPart { app, is_new, .. } = self.parts.remove(index);
                if is_new {
                    self.keep(before, app.home.as_deref(), Some(&app.name));
                }
            }
        }
    }

    /// The places of the apps that have to give way to another one, with an error for each clash of
    /// those that are new.
    fn losers(&mut self, hosts: &Hosts) -> BTreeSet<usize> {
        let parts = self.parts.iter().enumerate();
        let (of, revisions): (Vec<usize>, Vec<_>) = parts
            .flat_map(|(index, part)| part.revisions.iter().map(move |one| (index, one.clone())))
            .unzip();
        let mut losers = BTreeSet::new();
        for clash in routes::clashes(hosts, &revisions) {
            let (later, earlier) = (of[clash.later], of[clash.earlier]);
            let later_loses = self.parts[later].is_new || !self.parts[earlier].is_new;
            let (loser, winner) = if later_loses { (later, earlier) } else { (earlier, later) };
            // Whether they still clash is seen when the other is out.
            if losers.contains(&winner) && winner != loser {
                continue;
            }
            if self.parts[loser].is_new {
                self.errors.push(refused(&clash, &revisions, later_loses));
            }
            losers.insert(loser);
        }
        losers
    }
}

fn refused(clash: &Clash, revisions: &[Arc<Revision>], later_loses: bool) -> DeployError {
    if later_loses {
        clash.error(&revisions[clash.later], &revisions[clash.earlier])
    } else {
        clash.swapped().error(&revisions[clash.earlier], &revisions[clash.later])
    }
}
