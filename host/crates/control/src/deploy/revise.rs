//! The making of a revision from one function of a host file.
//!
//! ```text
//!   file --stamp known--> digest ---> identifier --current----> the revision as it is
//!     |                     ^             |
//!     +--otherwise: read ---+             +-------in ledger--> a revision that is not resident
//!                                         |
//!                                         +-------new--------> load, link, limits, triggers, one start
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime},
};

use lacewing_base::{
    LimitKey, Limits,
    file::{Located, Stamp},
    name::{AppName, FunctionName, TenantName},
};
use lacewing_manifest::{App, Function, config::TenantQuota};
use lacewing_runtime::function::{Component, Revision, RevisionParts, Tenant};
use lacewing_sandbox::{
    Program, Sandbox, Spec,
    capability::{
        CapabilitySettings,
        egress::{self, Propagation},
    },
    engine::{CompileError, Exports, LoadError, Profile},
};
use lacewing_telemetry::{Origin, metrics::FunctionKey};
use parking_lot::{Mutex, MutexGuard};
use tokio::task::JoinError;

use super::{
    Refusal,
    identity::{revision_id, settings},
};
use crate::{Deployed, Host, Ledger, ledger::Proven};

/// The longest wall time that the one start at deploy may take, whatever the function's deadline
/// is: one component starts at a time, and the others' deploys wait.
const START: Duration = Duration::from_secs(30);

/// One deploy's knowledge.
pub(super) struct Revise<'a> {
    host: &'a Arc<Host>,
    current: HashMap<(&'a TenantName, &'a AppName, &'a FunctionName), &'a Arc<Revision>>,
    proven: Proven,
    shared: Mutex<SharedByFunctions>,
}

/// The state that the functions of a deploy share.
struct SharedByFunctions {
    /// The components whose files were looked at, in this deploy or before.
    components: HashMap<Arc<Located>, Arc<Component>>,
    /// The loaded program, as long as it is resident: others with the same component are checked
    /// and started with it.
    programs: HashMap<(blake3::Hash, bool), (Weak<Program>, Compiled)>,
    /// By their [settings], by the tenant where they have state, and by the app where they have
    /// secrets.
    specs: HashMap<(SpecOwner, Vec<u8>), Arc<Spec>>,
}

/// The owner of what a spec leads to. Specs without an owner are the same for all tenants.
#[derive(PartialEq, Eq, Hash)]
struct SpecOwner {
    tenant: Option<TenantName>,
    app: Option<AppName>,
}

/// The result of a component.
#[derive(Clone, Copy)]
struct Compiled {
    digest: blake3::Hash,
    // But for whether fuel is counted.
    profile: Profile,
    exports: Exports,
}

/// A component's file, as far as it had to be looked at.
#[derive(Clone, Copy)]
pub(super) struct ComponentFile {
    digest: blake3::Hash,
    stamp: Option<Stamp>,
}

impl<'a> Revise<'a> {
    pub(super) fn new(
        host: &'a Arc<Host>,
        current: &'a Deployed,
        ledger: Option<&Ledger>,
    ) -> Revise<'a> {
        let key = |one: &'a Arc<Revision>| {
            ((one.origin.tenant(), &one.origin.app, &one.origin.function), one)
        };
        let proven = ledger.and_then(Ledger::proven).unwrap_or_default();
        let components = current.revisions.iter().map(|revision| &revision.component);
        let components = proven.components().chain(components);
        Revise {
            host,
            current: current.revisions.iter().map(key).collect(),
            shared: Mutex::new(SharedByFunctions {
                components: components.map(|one| (one.file.clone(), one.clone())).collect(),
                programs: HashMap::new(),
                specs: HashMap::new(),
            }),
            proven,
        }
    }

    /// No lock is held over an `await`.
    fn shared(&self) -> MutexGuard<'_, SharedByFunctions> {
        self.shared.lock()
    }

    pub(super) async fn function(
        &self,
        tenant: &Arc<Tenant>,
        quota: &TenantQuota,
        app: &App,
        function: &Function,
        file: &Arc<Located>,
        found: Option<ComponentFile>,
    ) -> Result<Arc<Revision>, Refusal> {
        let mut found = match found {
            Some(found) => found,
            None => self.read(tenant.name(), file).await?.0,
        };
        let mut id = revision_id(&found.digest, function)?;
        check_quota(quota, &function.limits)?;
        let known = self.current.get(&(tenant.name(), &app.name, &function.name)).copied();
        if let Some(known) = known
            && *known.origin.revision == *id
            && Arc::ptr_eq(&known.tenant, tenant)
        {
            return Ok(known.clone());
        }
        let limits = &function.limits;
        let origin = |id: &str| {
            let (account, app, function) = (tenant.account(), &app.name, &function.name);
            Arc::new(Origin::new(account.clone(), app.clone(), function.clone(), id.into()))
        };
        let proven = self.proven.component(&origin(&id), &found.digest);
        let (compiled, program) = match proven.map(|component| Compiled::of(component)) {
            Some(compiled) => (compiled, None),
            None => {
                let (program, compiled) =
                    self.program(file, &mut found, &origin(&id), function).await?;
                // Another one, if the file has changed in this moment.
                id = revision_id(&found.digest, function)?;
                program.check_limits(limits)?;
                (compiled, Some(program))
            }
        };
        self.check(limits, compiled.exports, function)?;
        let origin = origin(&id);
        let revision = Arc::new(Revision::new(RevisionParts {
            tenant: tenant.clone(),
            component: self.component(file, &found, compiled),
            spec: self.spec(tenant.name(), quota, &app.name, function)?,
            metrics: self.host.metrics.function(FunctionKey::of(&origin), tenant.weight()),
            origin,
            routes: function.routes.iter().map(|route| route.value.clone()).collect(),
            cors: function.cors.clone().map(Arc::new),
            place: self.host.residency().place(tenant.resident()),
        }));
        if let Some(known) = known {
            revision.continues(known);
        }
        if let Some(program) = program {
            self.start(&revision, &program).await?;
            self.settle(&revision, program);
        }
        Ok(revision)
    }

    /// Those of some files that are what they were when their digest was learned, as far as that
    /// can be told without reading them. They are opened for it, so that nothing else is known
    /// by their names.
    pub(super) async fn known(
        &self,
        tenant: &TenantName,
        files: &[Arc<Located>],
    ) -> Vec<Option<ComponentFile>> {
        let known: Vec<_> = {
            let shared = self.shared();
            files.iter().map(|file| shared.components.get(file).cloned()).collect()
        };
        if known.iter().all(Option::is_none) {
            return vec![None; files.len()];
        }
        let look = move || {
            let found = |known: Arc<Component>| {
                let stamp = Some(known.file.open().ok()?.stamp());
                (stamp == known.stamp).then_some(ComponentFile { digest: known.digest, stamp })
            };
            known.into_iter().map(|known| known.and_then(found)).collect()
        };
        // Files that are not known are read.
        self.host.loads.read(tenant, look).await.unwrap_or_else(|_| vec![None; files.len()])
    }

    /// The bytes of a file, with their digest.
    async fn read(
        &self,
        tenant: &TenantName,
        file: &Arc<Located>,
    ) -> Result<(ComponentFile, Vec<u8>), Refusal> {
        let (host, file) = (self.host.clone(), file.clone());
        let read = self.host.loads.read(tenant, move || read(&host, &file)).await;
        read.unwrap_or_else(|panic| Err(crashed(&panic)))
    }

    /// The program of a component: the same one for all functions of this deploy that have the same
    /// component.
    async fn program(
        &self,
        file: &Arc<Located>,
        found: &mut ComponentFile,
        origin: &Arc<Origin>,
        function: &Function,
    ) -> Result<(Arc<Program>, Compiled), Refusal> {
        let metered = function.limits.fuel.is_some();
        let mut load = self.host.loads.enter(origin.tenant()).await;
        if let Some((program, compiled)) = self.shared().programs.get(&(found.digest, metered))
            && let Some(program) = program.upgrade()
        {
            return Ok((program, *compiled));
        }
        // Nothing large is held by those that wait for their turn: it is read now, a second time.
        let (now, bytes) = load.giving_way(self.read(origin.tenant(), file)).await?;
        let host = self.host.clone();
        let (origin, limits, env) = (origin.clone(), function.limits.clone(), function.env.clone());
        let work = move || -> Result<_, Refusal> {
            let residency = host.residency();
            residency.linkers().look(&bytes)?;
            let bytes = host.snapshot(bytes, &origin, &limits, &env)?;
            let loaded = residency.loader().load(&bytes, metered)?;
            residency.observe(&loaded);
            let program = residency.linkers().link(&loaded)?;
            let profile = Profile { metered: false, ..loaded.profile };
            let (digest, exports) = (loaded.digest, program.exports());
            // It is over when this is, also where its waiter has gone.
            drop(load);
            Ok((program, Compiled { digest, profile, exports }))
        };
        let (program, compiled) = spawn_blocking(work).await?;
        *found = now;
        let program = Arc::new(program);
        // The memory that an init left is the function's own.
        if compiled.digest == found.digest {
            let known = (Arc::downgrade(&program), compiled);
            self.shared().programs.insert((found.digest, metered), known);
        }
        Ok((program, compiled))
    }

    /// The facts that can be told without running anything.
    fn check(&self, limits: &Limits, exports: Exports, function: &Function) -> Result<(), Refusal> {
        for key in [LimitKey::MemoryMib, LimitKey::TableElements] {
            let Some(slot) = self.host.settings.caps.get(key) else { continue };
            if let Some(limit) = limits.get(key).filter(|limit| *limit > slot) {
                return Err(Refusal::OverSlot { key, limit, slot });
            }
        }
        if !function.routes.is_empty() && !exports.serves_http() {
            return Err(Refusal::NoHttp);
        }
        check_reuse(limits, exports)
    }

    /// The component of a revision: the same object for all that have it.
    fn component(
        &self,
        file: &Arc<Located>,
        found: &ComponentFile,
        compiled: Compiled,
    ) -> Arc<Component> {
        let ComponentFile { digest, stamp } = *found;
        let mut shared = self.shared();
        let Compiled { digest: compiled, profile, exports } = compiled;
        if let Some(known) = shared.components.get(file)
            && (known.digest, known.stamp) == (digest, stamp)
            && (known.compiled, known.profile) == (compiled, profile)
        {
            return known.clone();
        }
        let file = file.clone();
        let component =
            Arc::new(Component { digest, compiled, profile, exports, file: file.clone(), stamp });
        shared.components.insert(file, component.clone());
        component
    }

    /// Limits, environment and grants: the same object for all functions of this deploy that have
    /// the same.
    fn spec(
        &self,
        tenant: &TenantName,
        quota: &TenantQuota,
        app: &AppName,
        function: &Function,
    ) -> Result<Arc<Spec>, Refusal> {
        let grants = function.grants.grants();
        let granted = self.host.state.settings(tenant, quota.state_bytes, &grants)?;
        let secrets = self.host.secrets.settings(tenant, app, &grants);
        // State is of one tenant, and secrets are of one app.
        let owner = SpecOwner {
            tenant: (granted.is_some() || secrets.is_some()).then(|| tenant.clone()),
            app: secrets.is_some().then(|| app.clone()),
        };
        let mut shared = self.shared();
        let spec = shared.specs.entry((owner, settings(function)?)).or_insert_with(|| {
            Arc::new(Spec {
                limits: function.limits.clone(),
                settings: CapabilitySettings {
                    env: function.env.clone(),
                    egress: self.host.egress.clone(),
                    policy: egress::Policy::new(&grants),
                    state: granted.state,
                    sql: granted.sql,
                    secrets,
                },
            })
        });
        Ok(spec.clone())
    }

    /// Instantiates once: a component that cannot start is found now and not by its first request.
    async fn start(&self, revision: &Arc<Revision>, program: &Arc<Program>) -> Result<(), Refusal> {
        let (limits, invoker) = (&revision.spec.limits, self.host.invoker());
        let log = self.host.deploy_log(&revision.origin, limits);
        let _one = self.host.starting.lock().await;
        let deadline = Instant::now() + limits.deadline.min(START);
        let start = async {
            let (engines, spec) = (invoker.engines(), &revision.spec);
            Sandbox::new(engines, program, spec, log, Propagation::default(), deadline)?
                .start()
                .await
        };
        start.await.map_err(|fault| Refusal::Start { outcome: fault.outcome, detail: fault.detail })
    }

    /// Makes the first of those that share a program resident: it is loaded anyway.
    fn settle(&self, revision: &Arc<Revision>, program: Arc<Program>) {
        if Arc::strong_count(&program) == 1 {
            self.host.residency().settle(revision, program);
        }
    }
}

/// A component's bytes, with their digest. Blocks.
fn read(host: &Host, file: &Located) -> Result<(ComponentFile, Vec<u8>), Refusal> {
    let moment = SystemTime::now();
    let opened = file.open().map_err(LoadError::Read)?;
    let source = host.residency().loader().read(opened)?;
    let found = ComponentFile {
        digest: blake3::hash(&source.bytes),
        stamp: Some(source.stamp).filter(|stamp| stamp.is_settled(moment)),
    };
    Ok((found, source.bytes))
}

/// A function that its tenant's quota would never admit.
fn check_quota(quota: &TenantQuota, limits: &Limits) -> Result<(), Refusal> {
    match quota.memory_bytes {
        Some(quota_bytes) if limits.memory_bytes > quota_bytes => Err(Refusal::OverQuota {
            memory_mib: limits.memory_bytes >> 20,
            quota_mib: u32::try_from(quota_bytes >> 20).unwrap_or(u32::MAX),
        }),
        _ => Ok(()),
    }
}

impl Compiled {
    fn of(component: &Component) -> Compiled {
        let Component { compiled, profile, exports, .. } = *component;
        Compiled { digest: compiled, profile, exports }
    }
}

/// Whether what is to be used again can be, and would be.
fn check_reuse(limits: &Limits, exports: Exports) -> Result<(), Refusal> {
    if limits.reuse <= 1 {
        Ok(())
    } else if exports.http {
        Err(Refusal::ReuseLean)
    } else if !exports.serves_http() {
        Err(Refusal::ReuseNoHttp)
    } else if limits.provisioned > 0 {
        Err(Refusal::ReuseProvisioned)
    } else {
        Ok(())
    }
}

async fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(crashed(&panic)))
}

fn crashed(panic: &JoinError) -> Refusal {
    let (status, said) = ("in this process".to_owned(), panic.to_string());
    Refusal::Load(CompileError::Crashed { status, said }.into())
}
