//! From what is deployed to the table that requests are looked up in.

use std::{collections::HashMap, sync::Arc};

use super::deploy::{DeployError, Refusal};
use crate::{
    function::Revision,
    ingress::{
        Cors, Endpoint,
        route::{Conflict, RouteKey, Router},
    },
    manifest::{Cors as CorsConfig, HostPattern, Route},
    name::TenantName,
};

/// The routes of revisions that were deployed together before. `hosts` are the tenants' names.
pub(super) fn known(
    hosts: &HashMap<TenantName, Vec<HostPattern>>,
    revisions: &[Arc<Revision>],
) -> Router<Endpoint<Arc<Revision>>> {
    let mut builder = Router::builder();
    for (revision, route) in all(revisions) {
        let hosts = hosts.get(revision.tenant.name()).map(Vec::as_slice).unwrap_or_default();
        builder.route(key(revision, hosts, route), endpoint(revision));
    }
    builder.assemble()
}

/// The routes of all revisions, or why some of them cannot stand side by side. `hosts` are the tenants' names.
pub(super) fn router(
    hosts: &HashMap<TenantName, &[HostPattern]>,
    revisions: &[Arc<Revision>],
) -> Result<Router<Endpoint<Arc<Revision>>>, Vec<DeployError>> {
    let mut builder = Router::builder();
    let mut added = Vec::new();
    for (revision, route) in all(revisions) {
        let hosts = hosts.get(revision.tenant.name()).copied().unwrap_or_default();
        builder.route(key(revision, hosts, route), endpoint(revision));
        added.push((revision, route));
    }
    builder.build().map_err(|conflicts| {
        conflicts.into_iter().map(|conflict| refusal(&conflict, &added)).collect()
    })
}

fn all(revisions: &[Arc<Revision>]) -> impl Iterator<Item = (&Arc<Revision>, &Route)> {
    revisions.iter().flat_map(|revision| revision.routes.iter().map(move |route| (revision, route)))
}

fn endpoint(revision: &Arc<Revision>) -> Endpoint<Arc<Revision>> {
    let cors = |cors: &Arc<CorsConfig>| Arc::new(Cors::new(cors));
    Endpoint { target: revision.clone(), cors: revision.cors.as_ref().map(cors) }
}

/// A route that names no host is served under all of its tenant's.
fn key(revision: &Revision, hosts: &[HostPattern], route: &Route) -> RouteKey {
    RouteKey {
        owner: revision.tenant.name().as_str().into(),
        hosts: route.host.as_ref().map_or(hosts, std::slice::from_ref).to_vec(),
        methods: route.methods.clone(),
        path: route.path.clone(),
    }
}

fn refusal(conflict: &Conflict, added: &[(&Arc<Revision>, &Route)]) -> DeployError {
    let (revision, route) = added[conflict.route];
    let (other, other_route) = added[conflict.with];
    let refusal = Refusal::Conflict {
        route: route.to_string(),
        host: conflict.host.clone(),
        other: other.origin.clone(),
        other_route: other_route.to_string(),
        same: conflict.same,
    };
    DeployError {
        app: revision.origin.app.clone(),
        function: revision.origin.function.clone(),
        path: revision.component.path.to_path_buf(),
        refusal,
    }
}
