//! The written form of a deploy, and the deploy that is made from it.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderName, Method};
use serde::{Deserialize, Serialize};

use super::{ComponentForm, Head};
use crate::{
    capability::egress,
    config::{EgressBounds, Quota, Tenant as TenantConfig},
    control::{
        Deployed, DeployedApp, Host,
        deploy::Tenants,
        routes::{self, Hosts},
    },
    function::{Revision, RevisionParts, Tenant},
    ingress::{Endpoint, route::Router},
    manifest::{
        Cors, GrantHost, Grants, Headers, HostPattern, HttpGrant, Limits, Methods, NetworkGrant,
        Origins, Place, Route, RoutePath,
    },
    name::{AppName, TenantName},
    sandbox::Spec,
    telemetry::{Origin, metrics::FunctionKey},
};

/// A ledger that was written by this host, and does not say what it should: a bug.
#[derive(Debug, thiserror::Error)]
#[error("the ledger of what was deployed cannot be understood: {0}")]
pub struct Malformed(String);

impl Malformed {
    fn of(error: impl std::fmt::Display) -> Malformed {
        Malformed(error.to_string())
    }
}

impl From<postcard::Error> for Malformed {
    fn from(error: postcard::Error) -> Malformed {
        Malformed::of(error)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct TenantForm {
    name: String,
    hosts: Vec<String>,
    concurrency: Option<u32>,
    rate_per_s: Option<u32>,
    memory_bytes: Option<u64>,
    weight: u32,
    /// How far outbound HTTP leads.
    reach: ReachForm,
}

#[derive(Serialize, Deserialize)]
struct ReachForm {
    networks: Vec<String>,
    hosts: Option<Vec<String>>,
}

impl ReachForm {
    fn of(bounds: &EgressBounds) -> ReachForm {
        let EgressBounds { networks, hosts } = bounds;
        let text = |hosts: &Vec<GrantHost>| hosts.iter().map(GrantHost::to_string).collect();
        ReachForm {
            networks: networks.iter().map(ToString::to_string).collect(),
            hosts: hosts.as_ref().map(text),
        }
    }

    fn bounds(&self) -> Result<EgressBounds, Malformed> {
        let networks = self.networks.iter().map(|text| text.parse());
        let parse = |hosts: &Vec<String>| hosts.iter().map(|text| text.parse()).collect();
        Ok(EgressBounds {
            networks: networks.collect::<Result<_, _>>().map_err(Malformed::of)?,
            hosts: self.hosts.as_ref().map(parse).transpose().map_err(Malformed::of)?,
        })
    }
}

impl TenantForm {
    pub(super) fn names(&self) -> (&str, &[String]) {
        (&self.name, &self.hosts)
    }

    pub(super) fn of(tenant: &TenantConfig) -> TenantForm {
        let Quota { concurrency, rate_per_s, memory_bytes, weight } = tenant.quota;
        TenantForm {
            name: tenant.name.to_string(),
            hosts: tenant.hosts.iter().map(HostPattern::to_string).collect(),
            concurrency,
            rate_per_s,
            memory_bytes,
            weight,
            reach: ReachForm::of(&tenant.egress),
        }
    }

    fn quota(&self) -> Quota {
        let TenantForm { concurrency, rate_per_s, memory_bytes, weight, .. } = *self;
        Quota { concurrency, rate_per_s, memory_bytes, weight }
    }
}

/// Where an app is from.
#[derive(Serialize, Deserialize)]
pub(super) struct HomeForm {
    tenant: String,
    app: String,
    home: Option<PathBuf>,
}

impl HomeForm {
    pub(super) fn of(app: &DeployedApp) -> HomeForm {
        let DeployedApp { tenant, name, home } = app;
        HomeForm { tenant: tenant.to_string(), app: name.to_string(), home: home.clone() }
    }

    fn app(&self) -> Result<DeployedApp, Malformed> {
        let tenant = self.tenant.parse().map_err(Malformed::of)?;
        let name = self.app.parse().map_err(Malformed::of)?;
        Ok(DeployedApp { tenant, name, home: self.home.clone() })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct SpecForm {
    limits: Limits,
    env: Vec<(String, String)>,
    http: Vec<String>,
    networks: Vec<String>,
}

impl SpecForm {
    fn of(spec: &Spec) -> SpecForm {
        let grants = spec.policy.grants();
        SpecForm {
            limits: spec.limits.clone(),
            env: spec.env.clone(),
            http: grants.http.iter().map(HttpGrant::to_string).collect(),
            networks: grants.networks.iter().map(|grant| grant.network.to_string()).collect(),
        }
    }

    fn spec(&self, host: &Host) -> Result<Arc<Spec>, Malformed> {
        let http = self.http.iter().map(|text| HttpGrant::parse(text, Place::none()));
        let networks = self.networks.iter().map(|text| {
            let network = text.parse()?;
            Ok::<_, ipnet::AddrParseError>(NetworkGrant { network, place: Place::none() })
        });
        let grants = Grants {
            http: http.collect::<Result<_, _>>().map_err(Malformed::of)?,
            networks: networks.collect::<Result<_, _>>().map_err(Malformed::of)?,
        };
        Ok(Arc::new(Spec {
            limits: self.limits.clone(),
            env: self.env.clone(),
            egress: host.egress.clone(),
            policy: egress::Policy::new(&grants),
        }))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct CorsForm {
    /// `None` is any.
    origins: Option<Vec<String>>,
    methods: Vec<String>,
    headers: Option<Vec<String>>,
    expose: Option<Vec<String>>,
    credentials: bool,
    max_age: Option<Duration>,
}

impl CorsForm {
    fn of(cors: &Cors) -> CorsForm {
        let names = |headers: &Headers| match headers {
            Headers::Any => None,
            Headers::Only(names) => Some(names.iter().map(HeaderName::to_string).collect()),
        };
        CorsForm {
            origins: match &cors.origins {
                Origins::Any => None,
                Origins::Only(origins) => Some(origins.iter().map(ToString::to_string).collect()),
            },
            methods: cors.methods.iter().map(Method::to_string).collect(),
            headers: names(&cors.headers),
            expose: names(&cors.expose),
            credentials: cors.credentials,
            max_age: cors.max_age,
        }
    }

    fn cors(&self) -> Result<Arc<Cors>, Malformed> {
        let names = |names: &Option<Vec<String>>| match names {
            None => Ok(Headers::Any),
            Some(names) => {
                let names = names.iter().map(|name| name.parse::<HeaderName>());
                names.collect::<Result<_, _>>().map(Headers::Only).map_err(Malformed::of)
            }
        };
        let methods = self.methods.iter().map(|method| method.parse::<Method>());
        Ok(Arc::new(Cors {
            origins: match &self.origins {
                None => Origins::Any,
                Some(origins) => {
                    let origins = origins.iter().map(|origin| origin.parse());
                    Origins::Only(origins.collect::<Result<_, _>>().map_err(Malformed::of)?)
                }
            },
            methods: methods.collect::<Result<_, _>>().map_err(Malformed::of)?,
            headers: names(&self.headers)?,
            expose: names(&self.expose)?,
            credentials: self.credentials,
            max_age: self.max_age,
        }))
    }
}

/// One function. Numbers are places in the lists of the [`Head`].
#[derive(Serialize, Deserialize)]
pub(super) struct FunctionForm<'a> {
    tenant: u32,
    app: u32,
    name: &'a str,
    revision: &'a str,
    pub(super) component: u32,
    spec: u32,
    cors: Option<u32>,
    #[serde(borrow)]
    routes: Vec<RouteForm<'a>>,
}

#[derive(Serialize, Deserialize)]
struct RouteForm<'a> {
    path: &'a str,
    host: Option<String>,
    #[serde(borrow)]
    methods: MethodsForm<'a>,
}

#[derive(Serialize, Deserialize)]
enum MethodsForm<'a> {
    Every,
    Any,
    #[serde(borrow)]
    Only(Vec<&'a str>),
}

impl FunctionForm<'_> {
    /// As [`Origin`] displays.
    pub(super) fn origin(
        &self,
        tenants: &[TenantForm],
        apps: &[String],
    ) -> Result<String, Malformed> {
        let (tenant, app) = (get(tenants, self.tenant)?, get(apps, self.app)?);
        Ok(format!("{}/{app}/{}@{}", tenant.name, self.name, self.revision))
    }
}

impl<'a> RouteForm<'a> {
    fn of(route: &'a Route) -> RouteForm<'a> {
        RouteForm {
            path: route.path.as_str(),
            host: route.host.as_ref().map(HostPattern::to_string),
            methods: match &route.methods {
                Methods::Every => MethodsForm::Every,
                Methods::Any => MethodsForm::Any,
                Methods::Only(methods) => {
                    MethodsForm::Only(methods.iter().map(Method::as_str).collect())
                }
            },
        }
    }

    fn route(&self) -> Result<Route, Malformed> {
        let methods = |methods: &[&str]| {
            let methods = methods.iter().map(|method| method.parse::<Method>());
            methods.collect::<Result<Vec<_>, _>>().map_err(Malformed::of)
        };
        Ok(Route {
            path: self.path.parse::<RoutePath>().map_err(Malformed::of)?,
            methods: match &self.methods {
                MethodsForm::Every => Methods::Every,
                MethodsForm::Any => Methods::Any,
                MethodsForm::Only(only) => Methods::Only(methods(only)?),
            },
            host: self.host.as_ref().map(|host| host.parse()).transpose().map_err(Malformed::of)?,
            place: Place::none(),
        })
    }
}

/// The parts that were written down already, by the address that revisions share them under.
#[derive(Default)]
pub(super) struct Tables {
    components: HashMap<usize, u32>,
    tenants: HashMap<TenantName, u32>,
    apps: HashMap<AppName, u32>,
    specs: HashMap<usize, u32>,
    cors: HashMap<usize, u32>,
}

impl Tables {
    pub(super) fn function<'a>(
        &mut self,
        head: &mut Head,
        revision: &'a Revision,
    ) -> FunctionForm<'a> {
        let Origin { tenant, app, function, revision: id, .. } = &*revision.origin;
        if self.tenants.is_empty() {
            let names = (0_u32..).zip(&head.tenants);
            self.tenants = names
                .filter_map(|(index, tenant)| Some((tenant.name.parse().ok()?, index)))
                .collect();
        }
        let component = Arc::as_ptr(&revision.component).addr();
        let spec = Arc::as_ptr(&revision.spec).addr();
        let cors = revision.cors.as_ref();
        FunctionForm {
            tenant: self.tenants.get(tenant).copied().unwrap_or(u32::MAX),
            app: place(&mut self.apps, app.clone(), &mut head.apps, || app.to_string()),
            name: function.as_str(),
            revision: id,
            component: place(&mut self.components, component, &mut head.components, || {
                ComponentForm::of(revision)
            }),
            spec: place(&mut self.specs, spec, &mut head.specs, || SpecForm::of(&revision.spec)),
            cors: cors.map(|cors| {
                let address = Arc::as_ptr(cors).addr();
                place(&mut self.cors, address, &mut head.cors, || CorsForm::of(cors))
            }),
            routes: revision.routes.iter().map(RouteForm::of).collect(),
        }
    }
}

/// The place of something in a list, where it is put if it is not there yet.
fn place<K: std::hash::Hash + Eq, T>(
    places: &mut HashMap<K, u32>,
    key: K,
    list: &mut Vec<T>,
    make: impl FnOnce() -> T,
) -> u32 {
    *places.entry(key).or_insert_with(|| {
        list.push(make());
        u32::try_from(list.len() - 1).unwrap_or(u32::MAX)
    })
}

fn get<T>(list: &[T], place: u32) -> Result<&T, Malformed> {
    list.get(place as usize).ok_or_else(|| Malformed::of("a number leads nowhere"))
}

/// The apps that [`Host::restore`] makes current.
pub(super) struct Restored {
    pub(super) deployed: Deployed,
    pub(super) tenants: Tenants,
    pub(super) router: Router<Endpoint<Arc<Revision>>>,
}

pub(super) fn restore<'a>(
    host: &Arc<Host>,
    head: &Head,
    functions: impl Iterator<Item = Result<FunctionForm<'a>, Malformed>>,
) -> Result<Restored, Malformed> {
    let current = host.deployed();
    let mut known = Tenants::of(host, &current);
    let (mut tenants, mut hosts) = (Vec::new(), Vec::new());
    for form in &head.tenants {
        let name = form.name.parse::<TenantName>().map_err(Malformed::of)?;
        let patterns = form.hosts.iter().map(|host| host.parse::<HostPattern>());
        let patterns = patterns.collect::<Result<Vec<_>, _>>().map_err(Malformed::of)?;
        tenants.push(known.get(&name, &form.quota(), &form.reach.bounds()?));
        hosts.push((name, patterns));
    }
    let hosts = Hosts::new(hosts.iter().map(|(name, hosts)| (name, &hosts[..])));
    let apps = head.homes.iter().map(HomeForm::app).collect::<Result<_, _>>()?;
    let make = Make {
        host,
        tenants,
        apps: head
            .apps
            .iter()
            .map(|app| app.parse().map_err(Malformed::of))
            .collect::<Result<_, _>>()?,
        components: head.components.iter().map(ComponentForm::component).collect(),
        specs: head.specs.iter().map(|spec| spec.spec(host)).collect::<Result<_, _>>()?,
        cors: head.cors.iter().map(CorsForm::cors).collect::<Result<_, _>>()?,
    };
    let mut revisions = Vec::with_capacity(head.functions as usize);
    for function in functions {
        revisions.push(Arc::new(make.revision(&function?)?));
    }
    let router = routes::known(&hosts, &revisions);
    Ok(Restored {
        deployed: Deployed { revisions, apps, complete: head.complete },
        tenants: known,
        router,
    })
}

struct Make<'a> {
    host: &'a Arc<Host>,
    tenants: Vec<Arc<Tenant>>,
    apps: Vec<AppName>,
    components: Vec<Arc<crate::function::Component>>,
    specs: Vec<Arc<Spec>>,
    cors: Vec<Arc<Cors>>,
}

impl Make<'_> {
    fn revision(&self, form: &FunctionForm<'_>) -> Result<Revision, Malformed> {
        let tenant = get(&self.tenants, form.tenant)?.clone();
        let origin = Arc::new(Origin::new(
            tenant.name().clone(),
            get(&self.apps, form.app)?.clone(),
            form.name.parse().map_err(Malformed::of)?,
            form.revision.into(),
        ));
        let routes = form.routes.iter().map(RouteForm::route);
        let cors = form.cors.map(|cors| get(&self.cors, cors).cloned());
        Ok(Revision::new(RevisionParts {
            metrics: self.host.metrics.function(FunctionKey::of(&origin), tenant.share()),
            origin,
            component: get(&self.components, form.component)?.clone(),
            spec: get(&self.specs, form.spec)?.clone(),
            routes: routes.collect::<Result<_, _>>()?,
            cors: cors.transpose()?,
            place: self.host.residency().place(tenant.stake()),
            tenant,
        }))
    }
}
