//! Deploying: every component of an app is loaded, linked, checked against its limits and triggers,
//! and started once, before any of it is served. Either all of the app becomes current, in one
//! swap, or nothing of it changes. No other app's deploy depends on that: the other apps of the
//! host file are swapped in when they are ready.
//!
//! A revision that was deployed before is not looked at again: a component whose file is the one
//! that it was is not read, and a revision that passed is not started, in this process or, as far
//! as its [`Ledger`] says so, in one before it.

mod identity;
mod loads;
mod revise;
mod rollout;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use lacewing_base::{
    EgressBounds, HostPattern, LimitKey,
    file::{self, Located, OpenError},
    name::{AppName, FunctionName, TenantName},
    outcome::Outcome,
};
use lacewing_manifest::{
    App, Function, Source,
    config::{HostFile, Tenant as TenantConfig, TenantQuota},
};
use lacewing_runtime::function::{Allotment, QuotaLimits, Revision, Tenant};
use lacewing_sandbox::{
    InitError, LinkError,
    engine::{ArtifactOwner, LoadError, Registered},
};
use lacewing_store::embedded::DirectoryError;
use lacewing_telemetry::Origin;

pub(super) use self::loads::DeployLoads;
use self::{revise::Revise, rollout::DeployRollout};
use super::{Deployed, Host, Ledger, StateError, snapshot::snapshot_of};

/// Where the component of each function that is built lies: what building has made.
pub type Components = HashMap<(TenantName, AppName, FunctionName), PathBuf>;

/// A tenant that is to be deployed.
pub struct Incoming<'a> {
    /// Its name, host names and quota. Its apps are known when it is ready.
    pub config: TenantConfig,
    /// Comes with its apps: others do not wait for it.
    pub ready: BoxFuture<'a, Ready>,
}

/// A tenant whose manifests were read, and whose functions were built.
pub struct Ready {
    /// With its apps.
    pub config: TenantConfig,
    /// The components that building has made.
    pub components: Arc<Components>,
}

/// The end of a deploy.
pub struct Deployment {
    /// The tenants, in the order in which they were given, with their apps.
    pub tenants: Vec<TenantConfig>,
    /// The errors of components and routes, in the same order.
    pub errors: Vec<DeployError>,
}

/// One step of a deploy: what is served has changed.
#[derive(Clone, Copy)]
pub struct Swap<'a> {
    /// The apps that were served.
    pub before: &'a Deployed,
    /// The apps that are served now.
    pub after: &'a Deployed,
    /// The apps that were refused since the step before.
    pub refused: &'a [DeployError],
}

/// Why one function cannot be deployed.
#[derive(Debug, thiserror::Error)]
#[error("function {function} of app {app} ({}): {refusal}", file::plain(path).display())]
pub struct DeployError {
    /// The tenant of the app.
    pub tenant: TenantName,
    /// The app.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
    /// Its component's file.
    pub path: PathBuf,
    /// The fault.
    pub refusal: Refusal,
}

impl DeployError {
    /// Whether the state directory is the fault, and not the function.
    pub fn is_of_directory(&self) -> bool {
        matches!(self.refusal, Refusal::State(StateError::Directory(_)))
    }

    /// The error of the state directory, if that is the fault.
    pub fn into_directory(self) -> Option<DirectoryError> {
        match self.refusal {
            Refusal::State(StateError::Directory(error)) => Some(error),
            _ => None,
        }
    }
}

/// The fault of a component, or of its configuration.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The component itself, or its file.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A function that cannot be serialised: a bug of the host.
    #[error("the host cannot name this revision: {0}")]
    Identity(#[from] postcard::Error),
    /// The component against this host.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The work that it is to do before it is invoked.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The state that it is granted.
    #[error(transparent)]
    State(#[from] StateError),
    /// A function that its tenant's quota never admits.
    #[error(
        "its memory limit is {memory_mib} MiB, and its tenant's sandboxes may have {quota_mib} MiB together: lower `memory_mib`, or raise the tenant's quota"
    )]
    OverQuota {
        /// The function's limit.
        memory_mib: u64,
        /// The tenant's quota.
        quota_mib: u32,
    },
    /// More than the pool's slots hold, which were made when the host started: the caps have been
    /// raised since.
    #[error(
        "its limit `{key}` is {limit}, and the sandboxes of this host were made for {slot}: start the host again"
    )]
    OverSlot {
        /// The limit.
        key: LimitKey,
        /// In its unit.
        limit: u64,
        /// In the same unit.
        slot: u64,
    },
    /// A trigger without an export.
    #[error(
        "it has routes, and its component exports nothing that answers HTTP: lacewing:function/http, wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3"
    )]
    NoHttp,
    /// It asks for what only wasi:http has.
    #[error(
        "`reuse` is for components of wasi:http, and its HTTP requests go to its lacewing:function/http. There each request has a fresh sandbox, which costs less than a reused instance. Leave `reuse` out"
    )]
    ReuseLean,
    /// The same, where there is no HTTP at all.
    #[error(
        "`reuse` is for components of wasi:http, and its component exports neither wasi:http/incoming-handler@0.2 nor wasi:http/handler@0.3. Leave `reuse` out"
    )]
    ReuseNoHttp,
    /// Two ways to save the same time.
    #[error(
        "`reuse` and `provisioned` exclude each other: an instance that is used again is ready already. Leave one of them out"
    )]
    ReuseProvisioned,
    /// It does not get as far as its first call.
    #[error("the component does not start ({outcome}): {detail}")]
    Start {
        /// The classification.
        outcome: Outcome,
        /// For the author.
        detail: String,
    },
    /// Two routes that would answer the same requests.
    #[error(
        "its route `{route}` and the route `{other_route}` of function {} of app {} of tenant {} match the same requests on {}: {}",
        other.function, other.app, other.tenant(), host_text(host), conflict_help(*same)
    )]
    Conflict {
        /// The function's own route.
        route: String,
        /// Under which host.
        host: HostPattern,
        /// The owner of the other route.
        other: Arc<Origin>,
        /// The other route.
        other_route: String,
        /// Whether both fit the same paths. Otherwise one has a parameter for a segment where the
        /// other has one for all the rest.
        same: bool,
    },
}

fn host_text(host: &HostPattern) -> String {
    match host {
        HostPattern::Any => "any host".to_owned(),
        HostPattern::Exact(_) | HostPattern::Below(_) => host.to_string(),
    }
}

fn conflict_help(same: bool) -> &'static str {
    if same {
        "give one of them another path, method or host"
    } else {
        "a parameter for one segment and one for all the rest cannot stand at the same place: put a literal segment before one of them"
    }
}

impl Host {
    /// Makes `file` what is deployed. Functions that did not change keep their revision.
    ///
    /// `components` has the file of each function whose component is built; those that name a
    /// component are read from there.
    ///
    /// # Errors
    /// What is wrong with components and routes. An app with any of that, like one that `file` has
    /// among its refused, goes on as it was before, or is not there if it was not; all others
    /// are deployed.
    pub async fn deploy(
        self: &Arc<Self>,
        file: &HostFile,
        components: &Components,
    ) -> Result<(), Vec<DeployError>> {
        self.deploy_after(file, components, None, &mut |_| {}).await
    }

    /// As [`Host::deploy`], after a process that has left a ledger of what it had deployed.
    /// `report` hears of each swap. Dropped before it is done, it leaves what was swapped in; a
    /// component that is being compiled is compiled to its end.
    ///
    /// # Errors
    /// As [`Host::deploy`].
    pub async fn deploy_after(
        self: &Arc<Self>,
        file: &HostFile,
        components: &Components,
        ledger: Option<&Ledger>,
        report: &mut (dyn FnMut(Swap<'_>) + Send),
    ) -> Result<(), Vec<DeployError>> {
        let components = Arc::new(components.clone());
        let incoming = |config: &TenantConfig| {
            let ready = Ready { config: config.clone(), components: components.clone() };
            Incoming { config: config.clone(), ready: std::future::ready(ready).boxed() }
        };
        let incoming = file.tenants.iter().map(incoming).collect();
        let errors = self.deploy_tenants(incoming, ledger, report).await.errors;
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// As [`Host::deploy_after`], where tenants are read and built meanwhile: each is deployed when
    /// it is ready.
    pub async fn deploy_tenants(
        self: &Arc<Self>,
        incoming: Vec<Incoming<'_>>,
        ledger: Option<&Ledger>,
        report: &mut (dyn FnMut(Swap<'_>) + Send),
    ) -> Deployment {
        let _one = self.deploying.lock().await;
        let before = self.deployed();
        let revise = Revise::new(self, &before, ledger);
        let tenants = Tenants::of(self, &before);
        let rollout = DeployRollout::new(self, &incoming, &before);
        let deployment = rollout.run(&revise, tenants, incoming, report).await;
        self.trim_cache();
        deployment
    }

    /// Brings the cache down to its size, beside whatever else goes on.
    fn trim_cache(self: &Arc<Self>) {
        let host = self.clone();
        tokio::task::spawn_blocking(move || {
            let deployed = host.deployed();
            let registered = deployed.revisions.iter().map(|one| registered(one));
            match host.residency().loader().trim(host.settings.max_cache_bytes, registered) {
                Ok(trimmed) if trimmed.artifacts > 0 => tracing::info!(
                    removed = trimmed.artifacts,
                    removed_bytes = trimmed.bytes,
                    left_bytes = trimmed.left_bytes,
                    "removed unused artifacts from the cache"
                ),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the cache could not be brought down to its size")
                }
            }
        });
    }
}

/// The tenants of what is deployed, and of what is being.
pub(super) struct Tenants {
    host: Arc<Host>,
    /// The tenants of what is deployed that were not asked for yet. Those that stay are gone.
    current: HashMap<TenantName, Arc<Tenant>>,
    next: Vec<NextTenant>,
}

/// A tenant with its bounds once it is deployed.
struct NextTenant {
    tenant: Arc<Tenant>,
    allotment: Allotment,
    egress: Arc<EgressBounds>,
    state_bytes: u64,
}

impl Tenants {
    pub(super) fn of(host: &Arc<Host>, current: &Deployed) -> Tenants {
        let tenants = current.revisions.iter().map(|revision| &revision.tenant);
        Tenants {
            host: host.clone(),
            current: tenants.map(|tenant| (tenant.name().clone(), tenant.clone())).collect(),
            next: Vec::new(),
        }
    }

    /// The tenant of a name, which is asked for once: the one that is there, so that what its
    /// invocations hold stays counted.
    pub(super) fn get(
        &mut self,
        name: &TenantName,
        quota: &TenantQuota,
        bounds: &EgressBounds,
    ) -> Arc<Tenant> {
        let allotment = allotment(quota);
        let tenant = self.current.remove(name);
        let tenant = tenant.unwrap_or_else(|| self.host.tenant(name.clone(), allotment));
        let (egress, state_bytes) = (Arc::new(bounds.clone()), quota.state_bytes);
        self.next.push(NextTenant { tenant: tenant.clone(), allotment, egress, state_bytes });
        tenant
    }

    /// Makes it so. What still runs for a tenant that is gone reaches the public internet only.
    pub(super) fn enforce(&self) {
        for NextTenant { tenant, allotment, egress, state_bytes } in &self.next {
            tenant.set(*allotment);
            tenant.account().outbound.set_bounds(egress.clone());
            self.host.state.set_max_bytes(tenant.name(), *state_bytes);
        }
        for gone in self.current.values() {
            gone.account().outbound.set_bounds(Arc::default());
        }
    }
}

/// The files of a revision in the cache.
fn registered(revision: &Revision) -> Registered {
    let Revision { tenant, component, .. } = revision;
    Registered {
        owner: ArtifactOwner { tenant: tenant.name().clone(), weight: tenant.weight().get() },
        compiled: component.compiled,
        profile: revision.profile(),
        snapshot: snapshot_of(revision),
    }
}

fn allotment(quota: &TenantQuota) -> Allotment {
    let TenantQuota { concurrency, rate_per_s, memory_bytes, weight, .. } = *quota;
    let memory_mib = memory_bytes.map(|bytes| u32::try_from(bytes >> 20).unwrap_or(u32::MAX));
    // Without a quota nothing is the tenant's own: what it cannot have is what the host does not
    // have.
    let most = QuotaLimits::NONE;
    let quota = QuotaLimits {
        concurrency: concurrency.unwrap_or(most.concurrency),
        memory_mib: memory_mib.unwrap_or(most.memory_mib),
        rate_per_s,
    };
    Allotment { quota, weight }
}

/// The file of a function's component. A build is the operator's own, and its output lies anywhere.
fn component_file(
    tenant: &TenantName,
    app: &App,
    function: &Function,
    components: &Components,
) -> Result<Located, (PathBuf, OpenError)> {
    match &function.source {
        Source::Component(path) => app.component(path).map_err(|error| (path.clone(), error)),
        Source::Build { output: path, .. } | Source::Crate { dir: path } => {
            let key = (tenant.clone(), app.name.clone(), function.name.clone());
            Ok(Located::anywhere(components.get(&key).unwrap_or(path)))
        }
    }
}

fn error(
    tenant: &TenantName,
    app: &App,
    function: &Function,
    path: PathBuf,
    refusal: Refusal,
) -> DeployError {
    let (tenant, app, function) = (tenant.clone(), app.name.clone(), function.name.clone());
    DeployError { tenant, app, function, path, refusal }
}

#[cfg(test)]
mod tests {
    use lacewing_base::TenantAccount;

    use super::*;

    #[test]
    fn routes_that_clash_are_named_with_their_functions() {
        let text = |same: bool, host: &str| {
            let name = |text: &str| text.parse().unwrap();
            let other = Origin::new(
                TenantAccount::alone("acme"),
                name("shop"),
                "list".parse().unwrap(),
                "1".into(),
            );
            let refusal = Refusal::Conflict {
                route: "GET /items/{id}".to_owned(),
                host: host.parse().unwrap(),
                other: Arc::new(other),
                other_route: "/items/{*rest}".to_owned(),
                same,
            };
            let path = PathBuf::from("blog.wasm");
            let (tenant, function) = ("acme".parse().unwrap(), "index".parse().unwrap());
            DeployError { tenant, app: name("blog"), function, path, refusal }.to_string()
        };
        assert_eq!(
            text(true, "*"),
            "function index of app blog (blog.wasm): its route `GET /items/{id}` and the route `/items/{*rest}` of function list of app shop of tenant acme match the same requests on any host: give one of them another path, method or host"
        );
        assert!(text(false, "a.com").ends_with(
            "match the same requests on a.com: a parameter for one segment and one for all the rest cannot stand at the same place: put a literal segment before one of them"
        ));
    }
}
