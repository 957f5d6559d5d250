//! From a component's bytes to a [`Component`], through the artifact cache.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use wasmtime::component::Component;

use super::{
    ArtifactCache, CompileError, Compiler, ComponentError, EngineError, Engines, Exports, Import,
    Profile,
    cache::ArtifactName,
    inspect::{inspect_bytes, inspect_size},
    names::names_wasi_03,
};
use crate::telemetry::shortened;

/// Compiles components and keeps their artifacts.
pub struct Loader {
    engines: Arc<Engines>,
    cache: Option<ArtifactCache>,
    limit_bytes: u64,
    compiler: Compiler,
}

/// A component that can be linked.
pub struct Loaded {
    /// The mapped artifact.
    pub component: Component,
    /// What it was compiled for.
    pub profile: Profile,
    /// What it exports.
    pub exports: Exports,
    /// What it imports.
    pub imports: Vec<Import>,
    /// blake3 of the component's bytes.
    pub digest: blake3::Hash,
    /// How long compiling took, or `None` if the artifact was cached.
    pub compiled: Option<Duration>,
}

/// Why a component could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
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
        "the component needs more before it starts than this host has for any function (`caps` in its settings): {0}"
    )]
    OverPool(String),
}

/// The most that is shown of what Wasmtime says of a component, in bytes: it quotes names, which may be of any length.
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
        Loader { engines, cache, limit_bytes, compiler }
    }

    /// The engines for which components are loaded.
    pub fn engines(&self) -> &Arc<Engines> {
        &self.engines
    }

    /// Reads a component's file, unless its size says that it cannot be one. Blocks, like [`Loader::load`].
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        // Before it is opened: opening a pipe waits for whoever writes into it.
        let is_file = path.metadata().map_err(LoadError::Read)?.is_file();
        if !is_file {
            return Err(LoadError::Read(io::Error::other("it is no regular file")));
        }
        let file = File::open(path).map_err(LoadError::Read)?;
        let size = file.metadata().map_err(LoadError::Read)?.len();
        inspect_size(size, self.limit_bytes)?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        // One byte more tells a file that grows from one that is just as large as it may be.
        file.take(self.limit_bytes + 1).read_to_end(&mut bytes).map_err(LoadError::Read)?;
        Ok(bytes)
    }

    /// Loads a component, compiling it if its artifact is not in the cache; `metered` if its fuel is to be counted. Blocks:
    /// for a thread that does not serve.
    pub fn load(&self, bytes: &[u8], metered: bool) -> Result<Loaded, LoadError> {
        inspect_bytes(bytes, self.limit_bytes)?;
        let profile = Profile { metered, tasks: names_wasi_03(bytes) };
        match self.load_for(profile, bytes) {
            // It may have async types without WASI 0.3. If not, it is refused again, in the same words.
            Err(LoadError::Compile(CompileError::Invalid(_))) if !profile.tasks => {
                self.load_for(Profile { tasks: true, ..profile }, bytes)
            }
            result => result,
        }
    }

    fn load_for(&self, profile: Profile, bytes: &[u8]) -> Result<Loaded, LoadError> {
        let digest = blake3::hash(bytes);
        let engine = self.engines.get(profile)?;
        let name = ArtifactName::new(&digest, profile, engine);
        if let Some(component) = self.cached(engine, &name) {
            return Ok(loaded(component, profile, digest, None));
        }
        let place = self.compiler.enter()?;
        // Whoever compiled while this thread waited may have compiled this.
        if let Some(component) = self.cached(engine, &name) {
            return Ok(loaded(component, profile, digest, None));
        }
        let start = Instant::now();
        let artifact = self.compiler.compile(&place, engine, profile, bytes)?;
        let took = start.elapsed();
        let component = self.keep(engine, &name, &artifact)?;
        Ok(loaded(component, profile, digest, Some(took)))
    }

    /// Compiles a component that will be used once, and keeps no artifact of it. Blocks.
    pub fn compile(&self, bytes: &[u8]) -> Result<Loaded, LoadError> {
        let profile = Profile { metered: false, tasks: names_wasi_03(bytes) };
        let engine = self.engines.get(profile)?;
        let place = self.compiler.enter()?;
        let start = Instant::now();
        let artifact = self.compiler.compile(&place, engine, profile, bytes)?;
        let took = start.elapsed();
        let component = deserialize(engine, &artifact)?;
        Ok(loaded(component, profile, blake3::hash(bytes), Some(took)))
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

    fn cached(&self, engine: &wasmtime::Engine, name: &ArtifactName) -> Option<Component> {
        let path = self.cache.as_ref()?.find(name)?;
        match map(engine, &path) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(
                    path = %path.display(),
                    error = format!("{error:#}"),
                    "an artifact cannot be mapped; compiling it again"
                );
                None
            }
        }
    }

    /// Puts the artifact into the cache and maps it from there; where that fails, it lives in memory only.
    fn keep(
        &self,
        engine: &wasmtime::Engine,
        name: &ArtifactName,
        artifact: &[u8],
    ) -> Result<Component, LoadError> {
        if let Some(cache) = &self.cache {
            match cache.put(name, artifact) {
                Ok(path) => {
                    if let Ok(component) = map(engine, &path) {
                        return Ok(component);
                    }
                }
                Err(error) => tracing::warn!(
                    %error,
                    "an artifact cannot be written to the cache; it is kept in memory and will be compiled again at the next start"
                ),
            }
        }
        deserialize(engine, artifact)
    }
}

fn deserialize(engine: &wasmtime::Engine, artifact: &[u8]) -> Result<Component, LoadError> {
    // SAFETY: both callers have had these bytes made by this host's own compiler a moment ago, for this very engine, and
    // nobody else has held them.
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

fn map(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the path comes from the cache, which hands out only files whose keyed hash it has just checked or
    // written, in a folder that only this host's user can write to.
    #[allow(unsafe_code)]
    unsafe {
        Component::deserialize_file(engine, path)
    }
}

fn loaded(
    component: Component,
    profile: Profile,
    digest: blake3::Hash,
    compiled: Option<Duration>,
) -> Loaded {
    let (exports, imports) = (Exports::of(&component), Import::of(&component));
    Loaded { component, profile, exports, imports, digest, compiled }
}
