//! From the manifest's routes, and the tenant's host names, to the router's keys.

use crate::{
    ingress::{
        CorsConfig,
        route::{self, RouteKey},
    },
    manifest::{Cors, Headers, HostPattern, Methods, Origins, Route},
    name::TenantName,
};

/// The key of a tenant's route. A route that names no host is served under all of its tenant's.
pub(super) fn key(tenant: &TenantName, hosts: &[HostPattern], route: &Route) -> RouteKey {
    let hosts = match &route.host {
        Some(host) => std::slice::from_ref(host),
        None => hosts,
    };
    RouteKey {
        owner: tenant.as_str().into(),
        hosts: hosts.iter().map(pattern).collect(),
        methods: match &route.methods {
            Methods::Any => route::Methods::Any,
            Methods::Only(methods) => route::Methods::These(methods.clone()),
        },
        path: route.path.as_str().to_owned(),
    }
}

fn pattern(host: &HostPattern) -> route::HostPattern {
    match host {
        HostPattern::Exact(name) => route::HostPattern::Exact(name.to_string()),
        HostPattern::Below(suffix) => {
            route::HostPattern::Below(suffix.trim_start_matches('.').to_owned())
        }
        HostPattern::Any => route::HostPattern::Any,
    }
}

pub(super) fn cors(cors: &Cors) -> CorsConfig {
    let headers = |headers: &Headers| match headers {
        Headers::Any => vec!["*".to_owned()],
        Headers::Only(names) => names.iter().map(ToString::to_string).collect(),
    };
    CorsConfig {
        origins: match &cors.origins {
            Origins::Any => vec!["*".to_owned()],
            Origins::Only(origins) => origins.iter().map(ToString::to_string).collect(),
        },
        methods: cors.methods.clone(),
        headers: headers(&cors.headers),
        expose: headers(&cors.expose),
        credentials: cors.credentials,
        max_age: cors.max_age.unwrap_or_default(),
    }
}
