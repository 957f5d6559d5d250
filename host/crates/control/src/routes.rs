//! The table of routes, made from all deployed functions.

use std::{collections::HashMap, sync::Arc};

use lacewing_base::{Cors as CorsConfig, HostPattern, Route, name::TenantName};
use lacewing_ingress::{
    Cors, Endpoint,
    route::{RouteKey, Router, RouterBuilder},
};
use lacewing_manifest::config::HostOwners;
use lacewing_runtime::function::Revision;

use super::deploy::{DeployError, Refusal};

/// The host names of the tenants.
#[derive(Clone)]
pub(super) struct Hosts {
    of: Arc<HashMap<TenantName, Vec<HostPattern>>>,
    owners: Arc<HostOwners>,
}

impl Hosts {
    pub(super) fn new<'a>(
        tenants: impl Iterator<Item = (&'a TenantName, &'a [HostPattern])> + Clone,
    ) -> Hosts {
        let owners = Arc::new(HostOwners::new(tenants.clone()));
        let of = tenants.map(|(name, hosts)| (name.clone(), hosts.to_vec())).collect();
        Hosts { of: Arc::new(of), owners }
    }

    /// Under which of them a route is served: the one that it names, or all of its tenant's. One
    /// that is not the tenant's any more, since the route was deployed, is served no longer.
    fn of_route<'a>(
        &'a self,
        revision: &'a Revision,
        route: &'a Route,
    ) -> Option<&'a [HostPattern]> {
        let tenant = revision.tenant.name();
        let hosts = match &route.host {
            Some(host) if self.owners.owner(host) != Some(tenant) => return None,
            Some(host) => std::slice::from_ref(host),
            None => self.of.get(tenant)?.as_slice(),
        };
        // None would be every host's.
        Some(hosts).filter(|hosts| !hosts.is_empty())
    }
}

/// The routes of revisions that do not [clash](clashes), under host names of which each is answered
/// by its owner only.
pub(super) fn known(hosts: &Hosts, revisions: &[Arc<Revision>]) -> Router<Endpoint<Arc<Revision>>> {
    let mut builder = Router::builder();
    builder.owned_by(hosts.owners.clone());
    add(&mut builder, hosts, revisions, endpoint);
    builder.assemble()
}

/// Two routes that cannot both be there, each of one of some revisions.
pub(super) struct Clash {
    /// The place of the later revision.
    pub(super) later: usize,
    /// The place of the other.
    pub(super) earlier: usize,
    route: String,
    other_route: String,
    host: HostPattern,
    same: bool,
}

/// The routes of some revisions that cannot stand side by side.
pub(super) fn clashes(hosts: &Hosts, revisions: &[Arc<Revision>]) -> Vec<Clash> {
    let mut builder = Router::builder();
    let added = add(&mut builder, hosts, revisions, |_| ());
    let clash = |conflict: lacewing_ingress::route::Conflict| {
        let ((later, route), (earlier, other)) = (added[conflict.route], added[conflict.with]);
        Clash {
            later,
            earlier,
            route: route.to_string(),
            other_route: other.to_string(),
            host: conflict.host,
            same: conflict.same,
        }
    };
    builder.conflicts().into_iter().map(clash).collect()
}

impl Clash {
    /// The same, seen from the other side.
    pub(super) fn swapped(&self) -> Clash {
        Clash {
            later: self.earlier,
            earlier: self.later,
            route: self.other_route.clone(),
            other_route: self.route.clone(),
            host: self.host.clone(),
            same: self.same,
        }
    }

    /// Why the revision whose route is `route` is refused.
    pub(super) fn error(&self, revision: &Revision, other: &Revision) -> DeployError {
        let refusal = Refusal::Conflict {
            route: self.route.clone(),
            host: self.host.clone(),
            other: other.origin.clone(),
            other_route: self.other_route.clone(),
            same: self.same,
        };
        DeployError {
            tenant: revision.origin.tenant().clone(),
            app: revision.origin.app.clone(),
            function: revision.origin.function.clone(),
            path: revision.component.file.path().to_owned(),
            refusal,
        }
    }
}

/// Adds the routes of revisions. Gives those that were added, with the place of each one's
/// revision.
fn add<'a, T>(
    builder: &mut RouterBuilder<T>,
    hosts: &Hosts,
    revisions: &'a [Arc<Revision>],
    value: impl Fn(&Arc<Revision>) -> T,
) -> Vec<(usize, &'a Route)> {
    let mut added = Vec::new();
    for (index, revision) in revisions.iter().enumerate() {
        for route in &revision.routes {
            let Some(hosts) = hosts.of_route(revision, route) else { continue };
            let key = RouteKey {
                owner: revision.tenant.name().as_str().into(),
                hosts: hosts.to_vec(),
                methods: route.methods.clone(),
                path: route.path.clone(),
            };
            builder.route(key, value(revision));
            added.push((index, route));
        }
    }
    added
}

fn endpoint(revision: &Arc<Revision>) -> Endpoint<Arc<Revision>> {
    let cors = |cors: &Arc<CorsConfig>| Arc::new(Cors::new(cors));
    Endpoint { target: revision.clone(), cors: revision.cors.as_ref().map(cors) }
}
