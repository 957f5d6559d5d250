//! From what is deployed to the table that requests are looked up in.

use std::sync::Arc;

use super::deploy::{DeployError, Refusal};
use crate::{
    config::HostFile,
    function::Revision,
    ingress::{
        Cors, Endpoint,
        route::{Conflict, RouteKey, Router},
    },
    manifest::{HostPattern, Route},
};

/// The routes of all revisions, or why some of them cannot stand side by side.
pub(super) fn router(
    file: &HostFile,
    revisions: &[Arc<Revision>],
) -> Result<Router<Endpoint<Arc<Revision>>>, Vec<DeployError>> {
    let mut builder = Router::builder();
    let mut added = Vec::new();
    for revision in revisions {
        let tenant = file.tenants.iter().find(|tenant| tenant.name == *revision.tenant.name());
        let hosts = tenant.map_or(&[][..], |tenant| &tenant.hosts);
        let cors = revision.cors.as_deref().map(|cors| Arc::new(Cors::new(cors)));
        for route in &revision.routes {
            let endpoint = Endpoint { target: revision.clone(), cors: cors.clone() };
            builder.route(key(revision, hosts, route), endpoint);
            added.push((revision, route));
        }
    }
    builder.build().map_err(|conflicts| {
        conflicts.into_iter().map(|conflict| refusal(&conflict, &added)).collect()
    })
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
        path: revision.source.clone(),
        refusal,
    }
}
