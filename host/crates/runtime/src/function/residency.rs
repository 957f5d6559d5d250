//! The programs in memory.
//!
//! A registered revision is small; its program, which is a mapped artifact and a pre-instance, is
//! made when it is first asked for, and goes when others need its place.
//!
//! ```text
//!            +------------- evicted: its tenant has the largest part of too many -------------------+
//!            v                                                                                      |
//!   registered --first request--> loading --artifact hashed, mapped, linked--> resident ------------+
//!                                  ^  |                                           ^
//!   further requests wait for it --+  +--artifact gone, damaged--> recompiling ---+
//!                                                                       |
//!                                                                       v
//!                           failed: waiting requests are told, and the next one tries again
//! ```
//!
//! - **One load.** Requests that come while a program is loaded wait for that load. It goes on when
//!   all of them have gone.
//! - **Off the serving threads.** Loads run on threads that may block, as many as [`loads`] lets
//!   in; compilations too, one at a time.
//! - **Tenants share what there is**, by weight: programs that are resident, by number and by bytes
//!   ([`order`]), and turns to be loaded. One that has no more than its part loses nothing to
//!   others; one that is alone has all.
//! - **Eviction takes nothing away.** Invocations hold their program; one that was evicted is
//!   unmapped when the last of them has ended. Until then it is not counted any more.
//! - **What is asked for is never refused.** A program larger than the budget is loaded all the
//!   same, and is alone then.
//!
//! On the path of a request to a resident revision there is no lock: one load of a pointer, and the
//! moment of use is noted where the clock, a coarse one, has gone on since.

mod loads;
mod order;

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwapOption;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use lacewing_sandbox::{
    Linkers, Program,
    engine::{self, ArtifactOrigin, EngineError, Loader},
};
use lacewing_telemetry::Metrics;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

pub use self::order::ResidencyShare;
use self::{
    loads::ProgramLoads,
    order::{Entry, Order},
};
use super::Revision;

/// How much may be resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResidencyOptions {
    /// Programs that are resident at once.
    pub functions: u32,
    /// The size of the programs together, in bytes: their artifacts, and
    /// [`Residency::OVERHEAD_BYTES`] for each.
    pub memory_bytes: u64,
}

/// Why a revision has no program.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is no engine for it.
    #[error(transparent)]
    Engine(#[from] Arc<EngineError>),
    /// Its artifact cannot be used, and it cannot be compiled anew.
    #[error(
        "its artifact is not in the cache any more, and its component {path} cannot be compiled again: {why}; deploy the function again"
    )]
    Lost {
        /// The component's file.
        path: String,
        /// The fault of the file.
        why: String,
    },
    /// A bug.
    #[error("loading it failed")]
    Failed,
}

/// The steps between a component's file and its compilation: the bytes of the file in, those that
/// are compiled out.
pub type Prepare = Box<dyn Fn(&Revision, Vec<u8>) -> Result<Vec<u8>, String> + Send + Sync>;

type Loading = Shared<BoxFuture<'static, Result<Arc<Program>, ProgramError>>>;

/// The programs of one host.
pub struct Residency {
    loader: Loader,
    linkers: Linkers,
    options: ResidencyOptions,
    metrics: Arc<Metrics>,
    prepare: OnceLock<Prepare>,
    /// How many programs were put into their places.
    installed: AtomicU64,
    resident: AtomicU64,
    resident_bytes: AtomicU64,
    /// By the revision's address, which stays its own as long as it is being loaded.
    loading: Mutex<HashMap<usize, Loading>>,
    order: Mutex<Order<RevisionLoad>>,
    loads: Arc<ProgramLoads>,
    /// One at a time: a second thread that waits for the compiler would only be one less for
    /// others' loads.
    recompilations: Arc<ProgramLoads>,
}

/// Where a revision's program is while it is resident.
pub struct Place {
    residency: Arc<Residency>,
    /// The tenant's count.
    share: Arc<ResidencyShare>,
    program: ArcSwapOption<Program>,
    used: AtomicU64,
    /// The number of its last load: the name of its entry in [`Order`].
    loaded: AtomicU64,
}

impl Residency {
    /// The size of a program besides its artifact, in bytes: Wasmtime's decoded form, and the
    /// pre-instance. Measured with the examples.
    pub const OVERHEAD_BYTES: u64 = 64 << 10;

    /// Nothing is resident yet.
    pub fn new(loader: Loader, options: ResidencyOptions, metrics: Arc<Metrics>) -> Arc<Residency> {
        Arc::new(Residency {
            loader,
            linkers: Linkers::default(),
            options,
            metrics,
            prepare: OnceLock::new(),
            installed: AtomicU64::new(0),
            resident: AtomicU64::new(0),
            resident_bytes: AtomicU64::new(0),
            loading: Mutex::default(),
            order: Mutex::default(),
            loads: ProgramLoads::per_core(),
            recompilations: ProgramLoads::new(1, 1),
        })
    }

    /// Says what a component that has to be compiled again is to go through first, as at its
    /// deploy.
    pub fn prepare_with(&self, prepare: Prepare) {
        // Set once, when the host is put together.
        let _ = self.prepare.set(prepare);
    }

    /// The loader of components.
    pub fn loader(&self) -> &Loader {
        &self.loader
    }

    /// The linker of the programs.
    pub fn linkers(&self) -> &Linkers {
        &self.linkers
    }

    /// Programs that are resident. Each load may be one more than the options allow, until it has
    /// evicted another.
    pub fn resident(&self) -> u64 {
        self.resident.load(Ordering::Relaxed)
    }

    /// The size of the programs, in bytes, as far as it is counted.
    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes.load(Ordering::Relaxed)
    }

    /// A place for a new revision of a tenant, empty.
    pub fn place(self: &Arc<Self>, share: &Arc<ResidencyShare>) -> Place {
        Place {
            residency: self.clone(),
            share: share.clone(),
            program: ArcSwapOption::empty(),
            used: AtomicU64::new(0),
            loaded: AtomicU64::new(0),
        }
    }

    /// The program of a revision that is not resident.
    pub(super) async fn load(
        self: &Arc<Self>,
        revision: &Arc<Revision>,
    ) -> Result<Arc<Program>, ProgramError> {
        let loading = {
            let mut loading = self.loading();
            if let Some(program) = revision.resident() {
                return Ok(program);
            }
            loading.entry(address(revision)).or_insert_with(|| self.start(revision)).clone()
        };
        loading.await
    }

    /// Makes a program resident that was made for its deploy.
    pub fn settle(self: &Arc<Self>, revision: &Arc<Revision>, program: Arc<Program>) {
        self.install(revision, program);
        self.make_room();
    }

    /// Counts a load of the loader.
    pub fn observe(&self, loaded: &engine::Loaded) {
        let host = self.metrics.host();
        match loaded.origin {
            ArtifactOrigin::Cached => host.artifact_cache.hits.inc(),
            ArtifactOrigin::Compiled(took) => {
                host.artifact_cache.misses.inc();
                host.compilation.observe_duration(took);
            }
            ArtifactOrigin::Replaced(took) => {
                host.artifact_cache.rejected.inc();
                host.compilation.observe_duration(took);
            }
        }
    }

    fn start(self: &Arc<Self>, revision: &Arc<Revision>) -> Loading {
        let (done, loaded) = oneshot::channel();
        let flight = Flight { residency: self.clone(), revision: revision.clone(), done };
        self.loads.start(&revision.place.share.loads, move || flight.load());
        loaded.map(|result| result.unwrap_or(Err(ProgramError::Failed))).boxed().shared()
    }

    /// Maps and links the artifact; `None` if there is none that may be mapped.
    fn map(&self, revision: &Revision) -> Result<Option<Arc<Program>>, ProgramError> {
        let (component, profile) = (&revision.component, revision.profile());
        let cached = self.loader.cached(&component.compiled, profile).map_err(Arc::new)?;
        let Some(loaded) = cached else { return Ok(None) };
        self.observe(&loaded);
        // A program that was linked once is linked again.
        let program = self.linkers.relink(&loaded, component.exports);
        program.map(|program| Some(Arc::new(program))).map_err(|error| lost(revision, &error))
    }

    fn recompile(&self, revision: &Revision) -> Result<Arc<Program>, ProgramError> {
        let component = &revision.component;
        let opened = component.file.open().map_err(|error| lost(revision, &error))?;
        let source = self.loader.read(opened).map_err(|error| lost(revision, &error))?;
        if blake3::hash(&source.bytes) != component.digest {
            return Err(lost(revision, &"it is another one than was deployed"));
        }
        let bytes = match self.prepare.get() {
            Some(prepare) => {
                prepare(revision, source.bytes).map_err(|error| lost(revision, &error))?
            }
            None => source.bytes,
        };
        let loaded = self.loader.load(&bytes, revision.profile().metered);
        let loaded = loaded.map_err(|error| lost(revision, &error))?;
        self.observe(&loaded);
        let program = self.linkers.link(&loaded);
        program.map(Arc::new).map_err(|error| lost(revision, &error))
    }

    /// Puts a program into its place.
    fn install(&self, revision: &Arc<Revision>, program: Arc<Program>) {
        let (place, bytes) = (&revision.place, bytes(&program));
        let mut order = self.order();
        let loaded = self.installed.fetch_add(1, Ordering::Relaxed) + 1;
        place.used.store(clock(), Ordering::Relaxed);
        place.loaded.store(loaded, Ordering::Relaxed);
        place.share.enter(bytes);
        self.resident.fetch_add(1, Ordering::Relaxed);
        self.resident_bytes.fetch_add(bytes, Ordering::Relaxed);
        let before = place.program.swap(Some(program));
        if let Some(before) = &before {
            self.leave(place, before);
        }
        order.add(&place.share, RevisionLoad { revision: Arc::downgrade(revision), loaded });
        // With no lock held: unmapping takes its time.
        drop(order);
        drop(before);
    }

    /// Evicts until the rest is within the budget. The program that was loaded last is its tenant's
    /// last to go.
    fn make_room(&self) {
        // Chosen and taken out of the count in one step, so that two loads never evict for the same
        // place. Both spare the same load: otherwise each could evict the load of the other.
        let evict = || {
            let mut order = self.order();
            let newest = self.installed.load(Ordering::Relaxed);
            let victim = order.victim(&self.options, newest)?.revision.upgrade();
            Some((victim.as_ref().and_then(|victim| self.take(victim)), victim))
        };
        // Dropped here, with no lock held: unmapping takes its time.
        while let Some(gone) = evict() {
            drop(gone);
        }
    }

    /// Takes a program out of memory, as if others had needed its place.
    pub fn evict(&self, revision: &Revision) {
        drop(self.take(revision));
    }

    fn take(&self, revision: &Revision) -> Option<Arc<Program>> {
        let program = revision.place.program.swap(None)?;
        self.leave(&revision.place, &program);
        self.metrics.host().residency.evictions.inc();
        revision.metrics.evicted();
        Some(program)
    }

    fn leave(&self, place: &Place, program: &Program) {
        let bytes = bytes(program);
        place.share.leave(bytes);
        self.resident.fetch_sub(1, Ordering::Relaxed);
        self.resident_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn loading(&self) -> MutexGuard<'_, HashMap<usize, Loading>> {
        self.loading.lock()
    }

    fn order(&self) -> MutexGuard<'_, Order<RevisionLoad>> {
        self.order.lock()
    }
}

impl Place {
    /// The program, if it is resident. Notes that it was used.
    pub(super) fn get(&self) -> Option<Arc<Program>> {
        let program = self.program.load_full()?;
        let now = clock();
        if self.used.load(Ordering::Relaxed) != now {
            self.used.store(now, Ordering::Relaxed);
        }
        Some(program)
    }

    pub(super) fn residency(&self) -> &Arc<Residency> {
        &self.residency
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(program) = self.program.swap(None) {
            self.residency.leave(self, &program);
        }
    }
}

/// A load of a revision, which is resident until it is evicted, replaced or gone.
#[derive(Clone)]
struct RevisionLoad {
    revision: Weak<Revision>,
    loaded: u64,
}

impl Entry for RevisionLoad {
    fn used(&self) -> Option<u64> {
        let revision = self.revision.upgrade()?;
        let place = &revision.place;
        let is_resident =
            place.loaded.load(Ordering::Relaxed) == self.loaded && place.program.load().is_some();
        is_resident.then(|| place.used.load(Ordering::Relaxed))
    }

    fn loaded(&self) -> u64 {
        self.loaded
    }
}

/// The time that uses are ordered by: some milliseconds exact, and read without a system call.
#[cfg(target_os = "linux")]
fn clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    // Never negative: it is the time since the system's start.
    now.tv_sec.cast_unsigned() * 1000 + now.tv_nsec.cast_unsigned() / 1_000_000
}

#[cfg(not(target_os = "linux"))]
fn clock() -> u64 {
    use std::sync::LazyLock;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A load that is under way, and the requests that wait for it.
struct Flight {
    residency: Arc<Residency>,
    revision: Arc<Revision>,
    done: oneshot::Sender<Result<Arc<Program>, ProgramError>>,
}

impl Flight {
    fn load(self) {
        let landing =
            Landing { residency: self.residency.clone(), address: address(&self.revision) };
        let started = Instant::now();
        match self.residency.map(&self.revision) {
            Ok(Some(program)) => self.land(landing, Ok(program), started),
            Err(error) => self.land(landing, Err(error), started),
            Ok(None) => self.recompile(landing, started),
        }
    }

    fn recompile(self, landing: Landing, started: Instant) {
        let (residency, share) =
            (self.residency.clone(), self.revision.place.share.recompilations.clone());
        // A panic ends the channel, which tells the requests that wait.
        residency.recompilations.start(&share, move || {
            tracing::warn!(
                function = %self.revision.origin,
                "the artifact of a function that was asked for is not in the cache, or is damaged; compiling it again"
            );
            let program = self.residency.recompile(&self.revision);
            if let Err(error) = &program {
                tracing::error!(function = %self.revision.origin, "{error}");
            }
            self.residency.metrics.host().residency.recompilations.inc();
            self.land(landing, program, started);
        });
    }

    /// Tells all waiting requests, and then makes room.
    fn land(self, landing: Landing, program: Result<Arc<Program>, ProgramError>, started: Instant) {
        let Ok(program) = program else {
            drop(landing);
            let _ = self.done.send(program);
            return;
        };
        self.residency.install(&self.revision, program.clone());
        let metrics = &self.residency.metrics.host().residency;
        metrics.loads.inc();
        self.revision.metrics.loaded();
        metrics.load.observe_duration(started.elapsed());
        drop(landing);
        // No request may wait any more.
        let _ = self.done.send(Ok(program));
        self.residency.make_room();
    }
}

/// Takes a load out of those under way, whatever comes of it.
struct Landing {
    residency: Arc<Residency>,
    address: usize,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.residency.loading().remove(&self.address);
    }
}

fn address(revision: &Arc<Revision>) -> usize {
    Arc::as_ptr(revision).addr()
}

fn bytes(program: &Program) -> u64 {
    program.artifact_bytes() + Residency::OVERHEAD_BYTES
}

fn lost(revision: &Revision, why: &dyn std::fmt::Display) -> ProgramError {
    let path = revision.component.file.path().display().to_string();
    ProgramError::Lost { path, why: why.to_string() }
}
