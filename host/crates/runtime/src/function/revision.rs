//! An immutable revision of a function.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use lacewing_base::{
    Cors, Limits, Route,
    file::{Located, Stamp},
};
use lacewing_sandbox::{
    Program, Provisioned, Reused, Spec,
    engine::{Exports, Profile},
};
use lacewing_telemetry::{FunctionMetrics, Origin};

use super::{Place, ProgramError, Quota, QuotaLimits, Tenant};

/// The component of a revision, as it was deployed.
#[derive(Clone, Debug)]
pub struct Component {
    /// blake3 of its file's bytes.
    pub digest: blake3::Hash,
    /// blake3 of the bytes that were compiled: the same, or the snapshot that its init left.
    pub compiled: blake3::Hash,
    /// The engine that it needs, but for whether fuel is counted: that is the revision's.
    pub profile: Profile,
    /// The component's exports.
    pub exports: Exports,
    /// The file that it was read from, and how far that may lead.
    pub file: Arc<Located>,
    /// The file's state then; `None` if it had only just been written, so that a later change
    /// might not show.
    pub stamp: Option<Stamp>,
}

/// An artifact with limits, grants and triggers. Nothing in it changes; a deploy makes another one.
///
/// A host may hold a hundred thousand idle ones: what is the same in many is shared, and what an
/// invocation needs is made for the first one. Its program is there while it is resident.
pub struct Revision {
    /// The revision's tenant, app and function.
    pub tenant: Arc<Tenant>,
    /// Names, and the revision's identifier.
    pub origin: Arc<Origin>,
    /// The component that runs.
    pub component: Arc<Component>,
    /// Limits, environment, grants.
    pub spec: Arc<Spec>,
    /// The function's metrics, over all its revisions.
    pub metrics: Arc<FunctionMetrics>,
    /// Where it answers.
    pub routes: Box<[Route]>,
    /// The other origins whose pages may call it.
    pub cors: Option<Arc<Cors>>,
    /// Where its program is while it is resident.
    pub place: Place,
    /// Its sandboxes that are made ahead, if there are to be any.
    pub provisioned: Option<Arc<Provisioned>>,
    /// Its instances that serve more than one invocation, if there are to be any.
    pub reused: Option<Arc<Reused>>,
    pub(super) quota: OnceLock<Arc<Quota>>,
    /// Invocations that are yet to begin where tasks compute.
    away: AtomicU32,
}

/// Invocations for which it is remembered that one of their revision was in a single step for long.
/// Few: it may also be that the machine stood still for that long, and what begins where tasks
/// compute is not in the line of the thread, which measures how many may begin.
const REMEMBERED: u32 = 64;
/// For how many at the most, where several were.
const MOST_REMEMBERED: u32 = 1000;

/// The parts of a revision: its fields, but for those that it makes itself.
pub struct RevisionParts {
    /// The revision's tenant, app and function.
    pub tenant: Arc<Tenant>,
    /// Names, and the revision's identifier.
    pub origin: Arc<Origin>,
    /// The component that runs.
    pub component: Arc<Component>,
    /// Limits, environment, grants.
    pub spec: Arc<Spec>,
    /// The function's metrics.
    pub metrics: Arc<FunctionMetrics>,
    /// Where it answers.
    pub routes: Box<[Route]>,
    /// The other origins whose pages may call it.
    pub cors: Option<Arc<Cors>>,
    /// Where its program will be.
    pub place: Place,
}

impl Revision {
    /// A revision without requests so far.
    pub fn new(parts: RevisionParts) -> Revision {
        let RevisionParts { tenant, origin, component, spec, metrics, routes, cors, place } = parts;
        let engines = place.residency().loader().engines();
        let provisioned = Provisioned::new(engines, tenant.lane(), &spec, &metrics);
        let reused = Reused::new(engines, &spec, &metrics);
        let quota = OnceLock::new();
        Revision {
            tenant,
            origin,
            component,
            spec,
            metrics,
            routes,
            cors,
            place,
            provisioned,
            reused,
            quota,
            away: AtomicU32::new(0),
        }
    }

    /// Goes on with the quota of the function's revision before, so that what its invocations hold
    /// stays counted. Its limits are the earlier revision's until [`Revision::enforce`].
    pub fn continues(&self, before: &Revision) {
        // No request has asked for this revision yet.
        let _ = self.quota.set(before.quota().clone());
    }

    /// Makes its limits those of the function's quota: it is the current revision from now on.
    pub fn enforce(&self) {
        if let Some(quota) = self.quota.get() {
            quota.set(self.quota_limits());
        }
    }

    fn quota_limits(&self) -> QuotaLimits {
        let Limits { concurrency, rate_per_s, .. } = self.spec.limits;
        QuotaLimits { concurrency, rate_per_s, ..QuotaLimits::NONE }
    }

    /// The function's own quota: the same object for all its revisions.
    pub fn quota(&self) -> &Arc<Quota> {
        self.quota.get_or_init(|| Quota::new(self.quota_limits()))
    }

    /// Takes note of an invocation that was in one step for long, which no tick could interrupt: in
    /// a call of the host, or in an instruction over much memory. The next ones are not to
    /// begin on a thread that others are served on. Two at once may be counted as one, here and
    /// where they begin: it is a rule of thumb.
    pub fn overran(&self) {
        let away = self.away.load(Relaxed).saturating_add(REMEMBERED);
        self.away.store(away.min(MOST_REMEMBERED), Relaxed);
    }

    /// Whether the invocation that begins now is to do so where tasks compute.
    pub fn begins_away(&self) -> bool {
        let away = self.away.load(Relaxed);
        if away > 0 {
            self.away.store(away - 1, Relaxed);
        }
        away > 0
    }

    /// How its component is compiled.
    pub fn profile(&self) -> Profile {
        Profile { metered: self.spec.limits.fuel.is_some(), ..self.component.profile }
    }

    /// The component's exports.
    pub fn exports(&self) -> Exports {
        self.component.exports
    }

    /// Its program, if it is resident. Takes no lock.
    pub fn resident(&self) -> Option<Arc<Program>> {
        self.place.get()
    }

    /// Its program; where it is not resident, it is loaded now, and is afterwards.
    pub async fn program(self: &Arc<Self>) -> Result<Arc<Program>, ProgramError> {
        match self.resident() {
            Some(program) => Ok(program),
            None => self.place.residency().load(self).await,
        }
    }
}
