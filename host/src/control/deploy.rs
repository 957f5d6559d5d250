//! Deploying: every component of a host file is loaded, linked, checked against its limits and triggers, and started
//! once, before any of it is served. Either all of it becomes current, in one swap, or nothing changes.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::{Deployed, Host};
use crate::{
    capability::egress::{self, Propagation},
    config::{HostFile, Quota as TenantQuota, Tenant as TenantConfig},
    engine::{LoadError, Profile},
    function::{Quota, Revision, Tenant},
    ingress::{
        BadCors, Cors, Endpoint,
        route::{BadRoute, Conflict, Router},
    },
    manifest::{App, Function, LimitKey, Limits, Source},
    name::{AppName, FunctionName, TenantName},
    outcome::Outcome,
    sandbox::{LinkError, Program, Sandbox, Spec},
    telemetry::{Context, GuestLog, InvocationId, Origin, metrics::FunctionKey},
};

/// Where the component of each function that is built lies: what building has made.
pub type Components = HashMap<(TenantName, AppName, FunctionName), PathBuf>;

/// Why one function cannot be deployed.
#[derive(Debug, thiserror::Error)]
#[error("function {function} of app {app} ({}): {refusal}", path.display())]
pub struct DeployError {
    /// The app.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
    /// Its component's file.
    pub path: PathBuf,
    /// What is wrong.
    pub refusal: Refusal,
}

/// What is wrong with a component, or with what it is to do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The file.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The component itself.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The component against this host.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// More than the pool's slots hold, which were made when the host started: the caps have been raised since.
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
    /// It does not get as far as its first call.
    #[error("the component does not start ({outcome}): {detail}")]
    Start {
        /// The classification.
        outcome: Outcome,
        /// For the author.
        detail: String,
    },
    /// A route that is none.
    #[error(transparent)]
    Route(#[from] BadRoute),
    /// Sharing with other origins that browsers would not accept.
    #[error(transparent)]
    Cors(#[from] BadCors),
    /// Two routes that match the same requests.
    #[error(transparent)]
    Conflict(Conflict),
}

impl Host {
    /// Makes `file` what is deployed. Functions that did not change keep their revision.
    ///
    /// `components` has the file of each function whose component is built; those that name a component are read from there.
    pub async fn deploy(
        self: &Arc<Self>,
        file: &HostFile,
        components: &Components,
    ) -> Result<(), Vec<DeployError>> {
        let current = self.deployed();
        let (mut revisions, mut errors) = (Vec::new(), Vec::new());
        for config in &file.tenants {
            let tenant = self.tenant(config, &current);
            for (app, function) in
                config.apps.iter().flat_map(|app| app.functions.iter().map(move |f| (app, f)))
            {
                let path = component_path(config, app, function, components);
                match self.revise(&tenant, app, function, &path, &current).await {
                    Ok(revision) => revisions.push(revision),
                    Err(refusal) => errors.push(error(app, function, &path, refusal)),
                }
            }
        }
        let router = match self.route(file, &revisions) {
            Ok(router) if errors.is_empty() => router,
            Ok(_) => return Err(errors),
            Err(conflicts) => {
                errors.extend(conflicts);
                return Err(errors);
            }
        };
        for revision in &revisions {
            revision.metrics.set_revisions(vec![revision.origin.revision.clone()]);
        }
        self.swap(Deployed { revisions }, router);
        Ok(())
    }

    /// The tenant as it is, if its quota did not change: what its invocations hold stays counted.
    fn tenant(&self, config: &TenantConfig, current: &Deployed) -> Arc<Tenant> {
        let TenantQuota { concurrency, rate_per_s, .. } = config.quota;
        let concurrency = concurrency.unwrap_or(self.settings.max_sandboxes);
        let known = current.revisions.iter().map(|revision| &revision.tenant).find(|tenant| {
            *tenant.name() == config.name && tenant.quota().allows(concurrency, rate_per_s)
        });
        known.cloned().unwrap_or_else(|| {
            Arc::new(Tenant::new(config.name.clone(), Quota::new(concurrency, rate_per_s)))
        })
    }

    async fn revise(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        app: &App,
        function: &Function,
        path: &Path,
        current: &Deployed,
    ) -> Result<Arc<Revision>, Refusal> {
        let bytes = tokio::fs::read(path).await.map_err(Refusal::Read)?;
        let id = revision_id(&bytes, function);
        let known = current.revisions.iter().find(|revision| {
            revision.tenant.name() == tenant.name()
                && revision.origin.app == app.name
                && revision.origin.function == function.name
        });
        if let Some(known) = known
            && *known.origin.revision == *id
            && Arc::ptr_eq(&known.tenant, tenant)
        {
            return Ok(known.clone());
        }
        let limits = &function.limits;
        let host = self.clone();
        let profile = Profile::with_fuel(limits.fuel);
        let program = spawn_blocking(move || -> Result<Program, Refusal> {
            let loaded = host.loader.load(&bytes, profile)?;
            host.observe_load(&loaded);
            Ok(host.linkers.link(loaded, profile)?)
        })
        .await?;
        program.check_limits(limits)?;
        self.check_slot(limits)?;
        if !function.routes.is_empty() && !program.exports().serves_http() {
            return Err(Refusal::NoHttp);
        }
        let origin =
            Origin::new(tenant.name().clone(), app.name.clone(), function.name.clone(), id);
        let quota = known
            .filter(|known| known.quota.allows(limits.concurrency, limits.rate_per_s))
            .map_or_else(
                || Arc::new(Quota::new(limits.concurrency, limits.rate_per_s)),
                |known| known.quota.clone(),
            );
        let key = FunctionKey {
            tenant: tenant.name().clone(),
            app: app.name.clone(),
            function: function.name.clone(),
        };
        let revision = Arc::new(Revision {
            tenant: tenant.clone(),
            origin: Arc::new(origin),
            program: Arc::new(program),
            spec: Arc::new(Spec {
                limits: limits.clone(),
                env: function.env.clone(),
                egress: self.egress.clone(),
                policy: egress::Policy::new(&function.grants),
            }),
            quota,
            metrics: self.metrics.function(key),
            routes: function.routes.clone(),
            cors: function.cors.clone().map(Arc::new),
            source: path.to_owned(),
        });
        self.try_start(&revision).await?;
        Ok(revision)
    }

    fn check_slot(&self, limits: &Limits) -> Result<(), Refusal> {
        for key in [LimitKey::MemoryMib, LimitKey::TableElements] {
            let Some(slot) = self.settings.caps.get(key) else { continue };
            if let Some(limit) = limits.get(key).filter(|limit| *limit > slot) {
                return Err(Refusal::OverSlot { key, limit, slot });
            }
        }
        Ok(())
    }

    fn observe_load(&self, loaded: &crate::engine::Loaded) {
        let host = self.metrics.host();
        match loaded.compiled {
            Some(took) => {
                host.artifact_cache.misses.inc();
                host.compilation.observe_duration(took);
            }
            None => host.artifact_cache.hits.inc(),
        }
    }

    /// Instantiates once: a component that cannot start is found now and not by its first request.
    async fn try_start(&self, revision: &Arc<Revision>) -> Result<(), Refusal> {
        let context = Arc::new(Context {
            origin: revision.origin.clone(),
            invocation: InvocationId(0),
            request_id: None,
            trace_id: None,
        });
        let limits = &revision.spec.limits;
        let log = Arc::new(GuestLog::new(context, limits.log_bytes, self.invoker().sink().clone()));
        let deadline = Instant::now() + limits.deadline;
        let start = async {
            let engines = self.invoker().engines();
            Sandbox::new(
                engines,
                &revision.program,
                &revision.spec,
                log,
                Propagation::default(),
                deadline,
            )?
            .start()
            .await
        };
        start.await.map_err(|fault| Refusal::Start { outcome: fault.outcome, detail: fault.detail })
    }

    fn route(
        &self,
        file: &HostFile,
        revisions: &[Arc<Revision>],
    ) -> Result<Router<Endpoint<Arc<Revision>>>, Vec<DeployError>> {
        let mut builder = Router::builder();
        let mut owners = Vec::new();
        for revision in revisions {
            let hosts = file
                .tenants
                .iter()
                .find(|tenant| tenant.name == *revision.tenant.name())
                .map_or(&[][..], |tenant| &tenant.hosts);
            for route in &revision.routes {
                let key = super::routes::key(revision.tenant.name(), hosts, route);
                let refuse = |refusal| vec![route_error(revision, refusal)];
                let cors = revision.cors.as_deref().map(super::routes::cors);
                let cors = cors.map(|config| Cors::new(&config)).transpose();
                let endpoint = Endpoint {
                    target: revision.clone(),
                    cors: cors.map_err(|bad| refuse(bad.into()))?,
                };
                builder.route(key, endpoint).map_err(|bad| refuse(bad.into()))?;
                owners.push(revision);
            }
        }
        builder.build().map_err(|conflicts| {
            conflicts
                .into_iter()
                .map(|conflict| route_error(owners[conflict.route], Refusal::Conflict(conflict)))
                .collect()
        })
    }
}

async fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => {
            Err(Refusal::Load(LoadError::Invalid(format!("the compiler failed: {panic}"))))
        }
    }
}

fn component_path(
    tenant: &TenantConfig,
    app: &App,
    function: &Function,
    components: &Components,
) -> PathBuf {
    let key = (tenant.name.clone(), app.name.clone(), function.name.clone());
    match (components.get(&key), &function.source) {
        (Some(path), _) => path.clone(),
        (None, Source::Component(path) | Source::Build { output: path, .. }) => path.clone(),
        (None, Source::Crate { dir }) => dir.clone(),
    }
}

/// Twelve hexadecimal digits of what makes a revision: its component and everything that it is run with.
fn revision_id(bytes: &[u8], function: &Function) -> Arc<str> {
    let Function { limits, env, grants, cors, routes, .. } = function;
    let mut hasher = blake3::Hasher::new();
    hasher.update(blake3::hash(bytes).as_bytes());
    let limits: &Limits = limits;
    let routes: Vec<_> =
        routes.iter().map(|route| (&route.path, &route.methods, &route.host)).collect();
    hasher.update(format!("{limits:?}{env:?}{grants:?}{cors:?}{routes:?}").as_bytes());
    hasher.finalize().to_hex()[..12].into()
}

fn error(app: &App, function: &Function, path: &Path, refusal: Refusal) -> DeployError {
    DeployError {
        app: app.name.clone(),
        function: function.name.clone(),
        path: path.to_owned(),
        refusal,
    }
}

fn route_error(revision: &Revision, refusal: Refusal) -> DeployError {
    DeployError {
        app: revision.origin.app.clone(),
        function: revision.origin.function.clone(),
        path: revision.source.clone(),
        refusal,
    }
}
