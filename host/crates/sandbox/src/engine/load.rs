//! From a component's bytes to a [`Component`], through the artifact cache.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use lacewing_base::file::{OpenError, OpenedFile, Stamp};
use lacewing_telemetry::shortened;
use wasmtime::component::Component;

use super::{
    ArtifactCache, ArtifactOwner, CompileError, Compiler, ComponentError, EngineError, Engines,
    Exports, Import, Profile, Trimmed,
    cache::{ArtifactName, CacheLookup, Compatibility, Verified},
    inspect::{inspect_bytes, inspect_size},
    layout::initial_bytes,
    names_wasi_03,
};

/// Compiles components and keeps their artifacts.
pub struct Loader {
    engines: Arc<Engines>,
    cache: Option<ArtifactCache>,
    limit_bytes: u64,
    compiler: Compiler,
    compatibility: [OnceLock<Compatibility>; Profile::ALL.len()],
}

/// A component that can be linked.
pub struct Loaded {
    /// The mapped artifact.
    pub component: Component,
    /// The engine that the artifact was compiled for.
    pub profile: Profile,
    /// blake3 of the bytes that were compiled.
    pub digest: blake3::Hash,
    /// The artifact's size, in bytes.
    pub artifact_bytes: u64,
    /// Where it came from.
    pub origin: ArtifactOrigin,
}

/// Where an artifact came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtifactOrigin {
    /// The cache had it.
    Cached,
    /// There was none: it was compiled, in this time.
    Compiled(Duration),
    /// There was one that must not be mapped: it was compiled anew, in this time.
    Replaced(Duration),
}

impl Loaded {
    /// The component's exports.
    pub fn exports(&self) -> Exports {
        Exports::of(&self.component)
    }

    /// The component's imports.
    pub fn imports(&self) -> Vec<Import> {
        Import::of(&self.component)
    }
}

/// A component's file as it was read.
#[derive(Debug)]
pub struct Source {
    /// The component.
    pub bytes: Vec<u8>,
    /// The file's state when it was opened.
    pub stamp: Stamp,
}

/// The files in the cache of something that is served.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The tenant.
    pub owner: ArtifactOwner,
    /// blake3 of the bytes that were compiled.
    pub compiled: blake3::Hash,
    /// The engine that they were compiled for.
    pub profile: Profile,
    /// The snapshot that these are, if they are one.
    pub snapshot: Option<SnapshotName>,
}

/// Why a component could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file.
    #[error("cannot be read: {0}")]
    Read(#[from] OpenError),
    /// Not a component.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The engine could not be made.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no artifact.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// More memory, tables or instances, before it starts, than the pool has for one sandbox.
    #[error(
        "the component needs more at its start than this host allows to any function (`caps` of the host): {0}"
    )]
    OverPool(String),
}

/// The most that is shown of what Wasmtime says of a component, in bytes: it quotes names, which
/// may be of any length.
const SHOWN_BYTES: usize = 1024;

/// Wasmtime's error has no type for these.
fn invalid(error: &wasmtime::Error) -> LoadError {
    let text = format!("{error:#}");
    if text.contains("pooling allocator") {
        return LoadError::OverPool(shortened(error.root_cause().to_string(), SHOWN_BYTES));
    }
    CompileError::Invalid(shortened(text, SHOWN_BYTES)).into()
}

impl Loader {
    /// A loader without a cache compiles each time.
    pub fn new(
        engines: Arc<Engines>,
        cache: Option<ArtifactCache>,
        limit_bytes: u64,
        compiler: Compiler,
    ) -> Loader {
        Loader { engines, cache, limit_bytes, compiler, compatibility: Default::default() }
    }

    /// The engines for which components are loaded.
    pub fn engines(&self) -> &Arc<Engines> {
        &self.engines
    }

    /// Where artifacts are kept.
    pub fn cache(&self) -> Option<&ArtifactCache> {
        self.cache.as_ref()
    }

    /// Reads a component's file, unless its size says that it cannot be one. Blocks, like
    /// [`Loader::load`].
    pub fn read(&self, opened: OpenedFile) -> Result<Source, LoadError> {
        let stamp = opened.stamp();
        inspect_size(stamp.bytes(), self.limit_bytes)?;
        Ok(Source { bytes: opened.read(self.limit_bytes)?, stamp })
    }

    /// Loads a component, compiling it if its artifact is not in the cache; `metered` if its fuel
    /// is to be counted. Blocks: for a thread that does not serve.
    pub fn load(&self, bytes: &[u8], metered: bool) -> Result<Loaded, LoadError> {
        inspect_bytes(bytes, self.limit_bytes)?;
        let profile = self.profile(bytes, metered);
        match self.load_for(profile, bytes) {
            // It may have async types without WASI 0.3. If not, it is refused again, in the same
            // words.
            Err(LoadError::Compile(CompileError::Invalid(_))) if !profile.tasks => {
                self.load_for(Profile { tasks: true, ..profile }, bytes)
            }
            result => result,
        }
    }

    fn profile(&self, bytes: &[u8], metered: bool) -> Profile {
        let large = self.engines.is_large(initial_bytes(bytes));
        Profile { metered, tasks: names_wasi_03(bytes), large }
    }

    fn load_for(&self, profile: Profile, bytes: &[u8]) -> Result<Loaded, LoadError> {
        let digest = blake3::hash(bytes);
        let engine = self.engines.get(profile)?;
        let name = self.name(&digest, profile)?;
        let found = self.find(engine, &name);
        if let Look::Mapped(component, verified) = &found {
            ArtifactCache::touch(&verified.file);
            return Ok(loaded(component.clone(), profile, digest, verified.bytes()));
        }
        let place = self.compiler.enter()?;
        // Another thread may have compiled this while this thread waited.
        if let Look::Mapped(component, verified) = self.find(engine, &name) {
            return Ok(loaded(component, profile, digest, verified.bytes()));
        }
        let start = Instant::now();
        let artifact = self.compiler.compile(&place, engine, profile, bytes)?;
        let took = start.elapsed();
        let component = self.keep(engine, &name, &artifact)?;
        let origin = match found {
            Look::Unmapped(path, error) => {
                warn_unmapped(&path, &error);
                ArtifactOrigin::Replaced(took)
            }
            Look::Rejected => ArtifactOrigin::Replaced(took),
            Look::Absent | Look::Mapped(..) => ArtifactOrigin::Compiled(took),
        };
        Ok(Loaded { component, profile, digest, artifact_bytes: artifact.len() as u64, origin })
    }

    /// Compiles a component that will be used once, and keeps no artifact of it. Blocks.
    pub fn compile(&self, bytes: &[u8]) -> Result<Loaded, LoadError> {
        let profile = self.profile(bytes, false);
        let engine = self.engines.get(profile)?;
        let place = self.compiler.enter()?;
        let start = Instant::now();
        let artifact = self.compiler.compile(&place, engine, profile, bytes)?;
        let origin = ArtifactOrigin::Compiled(start.elapsed());
        let component = deserialize(engine, &artifact)?;
        let (digest, artifact_bytes) = (blake3::hash(bytes), artifact.len() as u64);
        Ok(Loaded { component, profile, digest, artifact_bytes, origin })
    }

    /// A snapshot that was taken before. Blocks.
    pub fn snapshot(&self, name: &SnapshotName) -> Option<Vec<u8>> {
        self.cache.as_ref()?.read(&name.0)
    }

    /// Keeps a snapshot for the next start. Blocks.
    pub fn keep_snapshot(&self, name: &SnapshotName, bytes: &[u8]) {
        let Some(cache) = &self.cache else { return };
        if let Err(error) = cache.put(&name.0, bytes) {
            tracing::warn!(%error, "a snapshot cannot be written to the cache; the init will run again at the next start");
        }
    }

    /// Maps the artifact of a component that was loaded before; `None` if it is not there any more,
    /// or must not be mapped. Blocks for as long as it takes to read and hash the artifact.
    pub fn cached(
        &self,
        digest: &blake3::Hash,
        profile: Profile,
    ) -> Result<Option<Loaded>, EngineError> {
        let engine = self.engines.get(profile)?;
        let name = self.name(digest, profile)?;
        Ok(match self.find(engine, &name) {
            Look::Mapped(component, verified) => {
                Some(loaded(component, profile, *digest, verified.bytes()))
            }
            Look::Unmapped(path, error) => {
                warn_unmapped(&path, &error);
                None
            }
            Look::Absent | Look::Rejected => None,
        })
    }

    /// Brings the cache down to `limit_bytes`, where it is larger: artifacts of components that are
    /// not `registered` go, those of the tenant with the most for its weight first, and of
    /// these the one that was used longest ago. Blocks.
    pub fn trim(
        &self,
        limit_bytes: u64,
        registered: impl IntoIterator<Item = Registered>,
    ) -> io::Result<Trimmed> {
        let Some(cache) = &self.cache else { return Ok(Trimmed::default()) };
        let mut owners = HashMap::new();
        for Registered { owner, compiled, profile, snapshot } in registered {
            let name = self.name(&compiled, profile).map_err(io::Error::other)?;
            owners.extend(snapshot.map(|SnapshotName(name)| (name, owner.clone())));
            owners.insert(name, owner);
        }
        cache.trim(limit_bytes, owners)
    }

    fn name(&self, digest: &blake3::Hash, profile: Profile) -> Result<ArtifactName, EngineError> {
        let cell = &self.compatibility[profile.index()];
        let engine = self.engines.get(profile)?;
        let compatibility = cell.get_or_init(|| Compatibility::of(engine, profile));
        Ok(ArtifactName::new(digest, compatibility))
    }

    fn find(&self, engine: &wasmtime::Engine, name: &ArtifactName) -> Look {
        let Some(cache) = &self.cache else { return Look::Absent };
        let verified = match cache.find(name) {
            CacheLookup::Artifact(verified) => verified,
            CacheLookup::Absent => return Look::Absent,
            CacheLookup::Rejected => return Look::Rejected,
        };
        match map(engine, &verified) {
            Ok(component) if verified.is_unchanged() => Look::Mapped(component, verified),
            Ok(_) => {
                tracing::warn!(path = %verified.path.display(), "an artifact changed while it was mapped; compiling it again");
                Look::Rejected
            }
            Err(error) => Look::Unmapped(verified.path, error),
        }
    }

    /// Puts the artifact into the cache and maps it from there; where that fails, it lives in
    /// memory only.
    fn keep(
        &self,
        engine: &wasmtime::Engine,
        name: &ArtifactName,
        artifact: &[u8],
    ) -> Result<Component, LoadError> {
        if let Some(cache) = &self.cache {
            match cache.put(name, artifact) {
                Ok(_) => {
                    if let Look::Mapped(component, _) = self.find(engine, name) {
                        return Ok(component);
                    }
                }
                Err(error) => tracing::warn!(
                    %error,
                    "an artifact cannot be written to the cache; it is kept in memory and will be compiled again when it is needed again"
                ),
            }
        }
        deserialize(engine, artifact)
    }
}

fn deserialize(engine: &wasmtime::Engine, artifact: &[u8]) -> Result<Component, LoadError> {
    // SAFETY: both callers have had these bytes made by this host's own compiler a moment ago, for
    // this very engine, and no other owner has held them.
    #[allow(unsafe_code)]
    let component = unsafe { Component::deserialize(engine, artifact) };
    component.map_err(|error| invalid(&error))
}

/// Under which name a snapshot is kept.
#[derive(Clone, Debug)]
pub struct SnapshotName(ArtifactName);

impl SnapshotName {
    /// `seen` is all that the init of the component with this digest could see.
    pub fn new(digest: &blake3::Hash, seen: &[u8]) -> SnapshotName {
        SnapshotName(ArtifactName::snapshot(digest, seen))
    }
}

/// How looking for an artifact, and mapping it, ended.
enum Look {
    Mapped(Component, Verified),
    Absent,
    Rejected,
    /// The engine refuses the artifact in this file. One that is compiled anew may show that the
    /// fault is the component's.
    Unmapped(PathBuf, wasmtime::Error),
}

fn warn_unmapped(path: &Path, error: &wasmtime::Error) {
    tracing::warn!(
        path = %path.display(),
        error = format!("{error:#}"),
        "an artifact could not be mapped, and is compiled again"
    );
}

fn map(engine: &wasmtime::Engine, verified: &Verified) -> wasmtime::Result<Component> {
    // The name may lead to another file by now; this one was hashed.
    #[cfg(target_os = "linux")]
    let path = {
        use std::os::fd::AsRawFd;
        std::path::PathBuf::from(format!("/proc/self/fd/{}", verified.file.as_raw_fd()))
    };
    #[cfg(not(target_os = "linux"))]
    let path = &verified.path;
    // SAFETY: the file's keyed hash has just been checked, it is in a folder that only this host's
    // user can write to, and the caller drops what is mapped, without running it, if it was
    // written into since.
    #[allow(unsafe_code)]
    unsafe {
        Component::deserialize_file(engine, path)
    }
}

fn loaded(
    component: Component,
    profile: Profile,
    digest: blake3::Hash,
    artifact_bytes: u64,
) -> Loaded {
    Loaded { component, profile, digest, artifact_bytes, origin: ArtifactOrigin::Cached }
}
