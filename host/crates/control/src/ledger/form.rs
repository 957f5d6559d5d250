//! The written form of a deploy, and the deploy that is made from it.

use std::{collections::HashMap, sync::Arc};

use lacewing_base::{
    Cors, EgressBounds, Grants, HostPattern, Limits, Route,
    name::{AppName, FunctionName, TenantName},
};
use lacewing_ingress::{Endpoint, route::Router};
use lacewing_manifest::config::{Tenant as TenantConfig, TenantQuota};
use lacewing_runtime::function::{Revision, RevisionParts, Tenant};
use lacewing_sandbox::{
    Spec,
    capability::{CapabilitySettings, egress},
};
use lacewing_telemetry::{Origin, metrics::FunctionKey};
use serde::{Deserialize, Serialize};

use super::{ComponentForm, LedgerHead};
use crate::{
    Deployed, Host,
    deploy::Tenants,
    routes::{self, Hosts},
    state::{GrantedState, StateError},
};

/// A ledger that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// It was written by this host, and does not say what it should: a bug.
    #[error("the ledger of the last deploy cannot be read: {0}")]
    Text(String),
    /// The state that it grants.
    #[error(transparent)]
    State(#[from] StateError),
}

impl Malformed {
    fn of(error: impl std::fmt::Display) -> Malformed {
        Malformed::Text(error.to_string())
    }
}

impl From<postcard::Error> for Malformed {
    fn from(error: postcard::Error) -> Malformed {
        Malformed::of(error)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct TenantForm {
    pub(super) name: TenantName,
    hosts: Vec<HostPattern>,
    quota: TenantQuota,
    egress: EgressBounds,
}

impl TenantForm {
    pub(super) fn names(&self) -> (&TenantName, &[HostPattern]) {
        (&self.name, &self.hosts)
    }

    pub(super) fn of(tenant: &TenantConfig) -> TenantForm {
        let TenantConfig { name, hosts, quota, egress, .. } = tenant.clone();
        TenantForm { name, hosts, quota, egress }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct SpecForm {
    limits: Limits,
    env: Vec<(String, String)>,
    grants: Grants,
    /// The tenant, where there is a grant for state or a secret.
    tenant: Option<TenantName>,
    /// The app, where there is a grant for a secret.
    app: Option<AppName>,
}

impl SpecForm {
    fn of(revision: &Revision) -> SpecForm {
        let Spec { limits, settings } = &*revision.spec;
        let has_state = settings.state.is_some() || settings.sql.is_some();
        let has_secrets = settings.secrets.is_some();
        let tenant = (has_state || has_secrets).then(|| revision.tenant.name().clone());
        let app = has_secrets.then(|| revision.origin.app.clone());
        let (limits, env) = (limits.clone(), settings.env.clone());
        SpecForm { limits, env, grants: settings.policy.grants().clone(), tenant, app }
    }

    fn spec(&self, host: &Host, tenants: &[TenantForm]) -> Result<Arc<Spec>, Malformed> {
        let owner = self.tenant.as_ref();
        let owner = owner.and_then(|name| tenants.iter().find(|tenant| tenant.name == *name));
        let granted = match owner {
            Some(TenantForm { name, quota, .. }) => {
                host.state.settings(name, quota.state_bytes, &self.grants)?
            }
            None => GrantedState::default(),
        };
        let secrets = match (owner, &self.app) {
            (Some(TenantForm { name, .. }), Some(app)) => {
                host.secrets.settings(name, app, &self.grants)
            }
            _ => None,
        };
        Ok(Arc::new(Spec {
            limits: self.limits.clone(),
            settings: CapabilitySettings {
                env: self.env.clone(),
                egress: host.egress.clone(),
                policy: egress::Policy::new(&self.grants),
                state: granted.state,
                sql: granted.sql,
                secrets,
            },
        }))
    }
}

/// One function. Numbers are places in the lists of the [`LedgerHead`].
#[derive(Serialize, Deserialize)]
pub(super) struct FunctionForm {
    tenant: u32,
    app: u32,
    name: FunctionName,
    revision: Arc<str>,
    pub(super) component: u32,
    spec: u32,
    cors: Option<u32>,
    routes: Box<[Route]>,
}

impl FunctionForm {
    /// As [`Origin`] displays.
    pub(super) fn origin(
        &self,
        tenants: &[TenantForm],
        apps: &[AppName],
    ) -> Result<String, Malformed> {
        let (tenant, app) = (get(tenants, self.tenant)?, get(apps, self.app)?);
        Ok(format!("{}/{app}/{}@{}", tenant.name, self.name, self.revision))
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
    pub(super) fn function(&mut self, head: &mut LedgerHead, revision: &Revision) -> FunctionForm {
        let Origin { app, function, revision: id, .. } = &*revision.origin;
        if self.tenants.is_empty() {
            let names = (0_u32..).zip(&head.tenants);
            self.tenants = names.map(|(index, tenant)| (tenant.name.clone(), index)).collect();
        }
        let component = Arc::as_ptr(&revision.component).addr();
        let spec = Arc::as_ptr(&revision.spec).addr();
        let cors = revision.cors.as_ref();
        FunctionForm {
            tenant: self.tenants.get(revision.origin.tenant()).copied().unwrap_or(u32::MAX),
            app: place(&mut self.apps, app.clone(), &mut head.apps, || app.clone()),
            name: function.clone(),
            revision: id.clone(),
            component: place(&mut self.components, component, &mut head.components, || {
                ComponentForm::of(revision)
            }),
            spec: place(&mut self.specs, spec, &mut head.specs, || SpecForm::of(revision)),
            cors: cors.map(|cors| {
                let address = Arc::as_ptr(cors).addr();
                place(&mut self.cors, address, &mut head.cors, || cors.clone())
            }),
            routes: revision.routes.clone(),
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

pub(super) fn restore(
    host: &Arc<Host>,
    head: &LedgerHead,
    functions: impl Iterator<Item = Result<FunctionForm, Malformed>>,
) -> Result<Restored, Malformed> {
    let current = host.deployed();
    let mut known = Tenants::of(host, &current);
    let (mut tenants, mut hosts) = (Vec::new(), Vec::new());
    for TenantForm { name, hosts: patterns, quota, egress } in &head.tenants {
        tenants.push(known.get(name, quota, egress));
        hosts.push((name, &patterns[..]));
    }
    let hosts = Hosts::new(hosts.iter().copied());
    let specs = head.specs.iter().map(|spec| spec.spec(host, &head.tenants));
    let make = Make {
        host,
        tenants,
        apps: &head.apps,
        components: head.components.iter().map(ComponentForm::component).collect(),
        specs: specs.collect::<Result<_, _>>()?,
        cors: &head.cors,
    };
    let mut revisions = Vec::with_capacity(head.functions as usize);
    for function in functions {
        revisions.push(Arc::new(make.revision(function?)?));
    }
    let router = routes::known(&hosts, &revisions);
    Ok(Restored {
        deployed: Deployed { revisions, apps: head.homes.clone(), complete: head.complete },
        tenants: known,
        router,
    })
}

struct Make<'a> {
    host: &'a Arc<Host>,
    tenants: Vec<Arc<Tenant>>,
    apps: &'a [AppName],
    components: Vec<Arc<lacewing_runtime::function::Component>>,
    specs: Vec<Arc<Spec>>,
    cors: &'a [Arc<Cors>],
}

impl Make<'_> {
    fn revision(&self, form: FunctionForm) -> Result<Revision, Malformed> {
        let tenant = get(&self.tenants, form.tenant)?.clone();
        let origin = Arc::new(Origin::new(
            tenant.account().clone(),
            get(self.apps, form.app)?.clone(),
            form.name,
            form.revision,
        ));
        let cors = form.cors.map(|cors| get(self.cors, cors).cloned());
        Ok(Revision::new(RevisionParts {
            metrics: self.host.metrics.function(FunctionKey::of(&origin), tenant.weight()),
            origin,
            component: get(&self.components, form.component)?.clone(),
            spec: get(&self.specs, form.spec)?.clone(),
            routes: form.routes,
            cors: cors.transpose()?,
            place: self.host.residency().place(tenant.resident()),
            tenant,
        }))
    }
}
