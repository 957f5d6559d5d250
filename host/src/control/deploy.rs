//! Deploying: every component of a host file is loaded, linked, checked against its limits and triggers, and started
//! once, before any of it is served. Either all of it becomes current, in one swap, or nothing changes.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::{Deployed, Host, routes};
use crate::{
    capability::egress::{self, Propagation},
    config::{HostFile, Quota as TenantQuota, Tenant as TenantConfig},
    engine::{CompileError, LoadError},
    function::{Quota, Revision, Tenant},
    manifest::{App, Function, HostPattern, LimitKey, Limits, Source},
    name::{AppName, FunctionName, TenantName},
    outcome::Outcome,
    sandbox::{InitError, LinkError, Program, Provisioned, Sandbox, Spec},
    telemetry::{Origin, metrics::FunctionKey},
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
    /// The component itself, or its file.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The component against this host.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What it is to do before it is invoked.
    #[error(transparent)]
    Init(#[from] InitError),
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
    /// Two routes that would answer the same requests.
    #[error(
        "its route `{route}` and the route `{other_route}` of function {} of app {} of tenant {} match the same requests on {}: {}",
        other.function, other.app, other.tenant, host_text(host), conflict_help(*same)
    )]
    Conflict {
        /// The function's own route.
        route: String,
        /// Under which host.
        host: HostPattern,
        /// Whose the other route is.
        other: Arc<Origin>,
        /// The other route.
        other_route: String,
        /// Whether both fit the same paths. Otherwise one has a parameter for a segment where the other has one for all
        /// the rest.
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
    /// `components` has the file of each function whose component is built; those that name a component are read from there.
    pub async fn deploy(
        self: &Arc<Self>,
        file: &HostFile,
        components: &Components,
    ) -> Result<(), Vec<DeployError>> {
        let _one = self.deploying.lock().await;
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
        let router = match routes::router(file, &revisions) {
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
        let TenantQuota { concurrency, rate_per_s, memory_bytes } = config.quota;
        let memory_mib = memory_bytes.map(|bytes| u32::try_from(bytes >> 20).unwrap_or(u32::MAX));
        // Without a quota nothing is the tenant's own: what it cannot have is what the host does not have.
        let quota = Quota::new(concurrency.unwrap_or(u32::MAX), rate_per_s).with_memory(memory_mib);
        let mut known = current.revisions.iter().map(|revision| &revision.tenant);
        let known =
            known.find(|tenant| *tenant.name() == config.name && tenant.quota().is_like(&quota));
        known.cloned().unwrap_or_else(|| Arc::new(Tenant::new(config.name.clone(), quota)))
    }

    async fn revise(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        app: &App,
        function: &Function,
        path: &Path,
        current: &Deployed,
    ) -> Result<Arc<Revision>, Refusal> {
        let (host, file) = (self.clone(), path.to_owned());
        let bytes = spawn_blocking(move || Ok(host.loader.read(&file)?)).await?;
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
        let metered = limits.fuel.is_some();
        let origin =
            Origin::new(tenant.name().clone(), app.name.clone(), function.name.clone(), id);
        let origin = Arc::new(origin);
        let (whose, what) = (origin.clone(), function.clone());
        let program = spawn_blocking(move || -> Result<Program, Refusal> {
            let digest = blake3::hash(&bytes);
            let bytes = host.snapshot(bytes, &whose, &what)?;
            let mut loaded = host.loader.load(&bytes, metered)?;
            loaded.digest = digest;
            host.observe_load(&loaded);
            Ok(host.linkers.link(loaded)?)
        })
        .await?;
        program.check_limits(limits)?;
        if let Some((quota_mib, _)) = tenant.quota().memory()
            && limits.memory_bytes > u64::from(quota_mib) << 20
        {
            return Err(Refusal::OverQuota { memory_mib: limits.memory_bytes >> 20, quota_mib });
        }
        self.check_slot(limits)?;
        if !function.routes.is_empty() && !program.exports().serves_http() {
            return Err(Refusal::NoHttp);
        }
        let quota = Quota::new(limits.concurrency, limits.rate_per_s);
        let quota = match known {
            Some(known) if known.quota.is_like(&quota) => known.quota.clone(),
            _ => Arc::new(quota),
        };
        let key = FunctionKey {
            tenant: tenant.name().clone(),
            app: app.name.clone(),
            function: function.name.clone(),
        };
        let program = Arc::new(program);
        let spec = Arc::new(Spec {
            limits: limits.clone(),
            env: function.env.clone(),
            egress: self.egress.clone(),
            policy: egress::Policy::new(&function.grants),
        });
        let metrics = self.metrics.function(key);
        let provisioned = Provisioned::new(self.invoker().engines(), &program, &spec, &metrics);
        let revision = Arc::new(Revision {
            tenant: tenant.clone(),
            origin,
            program,
            spec,
            quota,
            metrics,
            provisioned,
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
        let limits = &revision.spec.limits;
        let log = self.deploy_log(&revision.origin, limits);
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
}

async fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => {
            let (status, said) = ("in this process".to_owned(), panic.to_string());
            Err(Refusal::Load(CompileError::Crashed { status, said }.into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_that_clash_are_named_with_their_functions() {
        let text = |same: bool, host: &str| {
            let name = |text: &str| text.parse().unwrap();
            let other = Origin::new(
                "acme".parse().unwrap(),
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
            DeployError { app: name("blog"), function: "index".parse().unwrap(), path, refusal }
                .to_string()
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
