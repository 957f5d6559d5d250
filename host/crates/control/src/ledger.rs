//! The record of the last deploy, kept for the next start.
//!
//! A deploy reads, hashes, compiles and starts every component. None of that has to be done again
//! while the files that it came from, and this program, are what they were: a ledger says what was
//! deployed, and what to look at to know so.
//!
//! ```text
//!   deployed --after a deploy--> <cache>/<project>.ledger, under the cache's keyed hash
//!                                      |
//!   next start --- same program? ------+--no--> as if there were none
//!                  every file the same?
//!                  nothing refused?
//!                    |        | no
//!                    | yes    v
//!                    v      read the manifests, deploy: what is proven is not read, compiled or started
//!                  restore: registry and routes, and nothing else
//! ```
//!
//! The ledger is trusted because this host has written it: everything that a deploy checks was
//! checked when the ledger was written, and files are told apart by device, inode, size and both
//! times. A file that was written within a tick of the file system's clock before it was read
//! counts as changed.

mod form;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use lacewing_base::{
    Cors, HostPattern,
    file::{Located, Stamp},
    name::{AppName, TenantName},
};
use lacewing_manifest::{
    Source,
    config::{HostFile, Settings},
};
use lacewing_runtime::function::{Component, Revision};
use lacewing_sandbox::engine::{ArtifactCache, Exports, Profile};
use lacewing_telemetry::Origin;
use serde::{Deserialize, Serialize};

use self::form::{FunctionForm, SpecForm, TenantForm};
use super::{Deployed, DeployedApp, Host};

pub use form::Malformed;

/// Changes with the layout of what follows it.
const FORMAT: u32 = 9;

/// The largest ledger that is read, in bytes: a million functions.
const MAX_BYTES: u64 = 256 << 20;

/// The program that wrote a ledger: another one may check more, or mean other things by the same
/// manifest.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct LedgerProgram {
    format: u32,
    version: String,
    executable: Option<Stamp>,
}

impl Ledger {
    /// The tenants with their host names.
    pub fn tenants(&self) -> impl Iterator<Item = (&TenantName, &[HostPattern])> {
        self.head.tenants.iter().map(TenantForm::names)
    }
}

impl LedgerProgram {
    fn this() -> LedgerProgram {
        #[cfg(target_os = "linux")]
        let executable = Stamp::of_path(Path::new("/proc/self/exe")).ok();
        #[cfg(not(target_os = "linux"))]
        let executable = std::env::current_exe().and_then(|path| Stamp::of_path(&path)).ok();
        LedgerProgram { format: FORMAT, version: env!("CARGO_PKG_VERSION").to_owned(), executable }
    }
}

/// The state that all functions of a ledger share. The functions follow it, one by one.
#[derive(Serialize, Deserialize)]
struct LedgerHead {
    /// The host file and the manifests. Without one of their stamps they have to be read.
    inputs: Vec<(PathBuf, Option<Stamp>)>,
    /// Whether there is a function that has to be built.
    builds: bool,
    /// Whether all of the host file was deployed: what was refused is tried again.
    complete: bool,
    settings: Settings,
    /// The warnings of the manifests, as text.
    warnings: Vec<String>,
    components: Vec<ComponentForm>,
    tenants: Vec<TenantForm>,
    apps: Vec<AppName>,
    homes: Vec<DeployedApp>,
    specs: Vec<SpecForm>,
    cors: Vec<Arc<Cors>>,
    functions: u32,
}

#[derive(Serialize, Deserialize)]
struct ComponentForm {
    file: Located,
    stamp: Option<Stamp>,
    digest: [u8; 32],
    compiled: [u8; 32],
    profile: Profile,
    exports: Exports,
}

impl ComponentForm {
    fn component(&self) -> Arc<Component> {
        Arc::new(Component {
            digest: self.digest.into(),
            compiled: self.compiled.into(),
            profile: self.profile,
            exports: self.exports,
            file: Arc::new(self.file.clone()),
            stamp: self.stamp,
        })
    }
}

/// The deploy of a project by a process before this one.
pub struct Ledger {
    head: Box<LedgerHead>,
    bytes: Vec<u8>,
    // Where the functions begin.
    functions: usize,
}

/// The facts that a ledger proves, for a deploy that has to look at the manifests anyway.
#[derive(Default)]
pub(super) struct Proven {
    components: Vec<Arc<Component>>,
    revisions: HashMap<String, usize>,
}

impl Proven {
    pub(super) fn components(&self) -> impl Iterator<Item = &Arc<Component>> {
        self.components.iter()
    }

    /// The component of a revision that was checked and started with it.
    pub(super) fn component(
        &self,
        origin: &Origin,
        digest: &blake3::Hash,
    ) -> Option<&Arc<Component>> {
        if self.revisions.is_empty() {
            return None;
        }
        let component = &self.components[*self.revisions.get(&origin.to_string())?];
        (component.digest == *digest).then_some(component)
    }
}

impl Ledger {
    /// The ledger of a project, the host file, manifest or component that a host was started with,
    /// in a cache folder. `None` if there is none of this very program.
    pub fn find(cache_dir: &Path, project: &Path) -> Option<Ledger> {
        let cache = ArtifactCache::open(cache_dir).ok()?;
        Ledger::read(cache.unseal(&name(project), MAX_BYTES)?)
    }

    fn read(bytes: Vec<u8>) -> Option<Ledger> {
        let (program, rest) = postcard::take_from_bytes::<LedgerProgram>(&bytes).ok()?;
        if program != LedgerProgram::this() {
            return None;
        }
        let (head, rest) = postcard::take_from_bytes::<LedgerHead>(rest).ok()?;
        let functions = bytes.len() - rest.len();
        Some(Ledger { head: Box::new(head), bytes, functions })
    }

    /// Whether every file that it was made from is what it was, so that [`Host::restore`] can be
    /// done. Opens none of them. Blocks for as long as their file systems do.
    pub fn is_current(&self) -> bool {
        let components = self.head.components.iter().map(|one| (one.file.path(), &one.stamp));
        let inputs = self.head.inputs.iter().map(|(path, stamp)| (path.as_path(), stamp));
        let same = |(path, stamp): (&Path, &Option<Stamp>)| {
            stamp.is_some_and(|stamp| Stamp::of_path(path).is_ok_and(|now| now == stamp))
        };
        self.head.complete && !self.head.builds && inputs.chain(components).all(same)
    }

    /// The host's settings.
    pub fn settings(&self) -> &Settings {
        &self.head.settings
    }

    /// The warnings of the manifests.
    pub fn warnings(&self) -> &[String] {
        &self.head.warnings
    }

    /// The functions, in the order of the deploy.
    fn functions(&self) -> impl Iterator<Item = Result<FunctionForm, Malformed>> {
        let mut rest = &self.bytes[self.functions..];
        (0..self.head.functions).map(move |_| {
            let (function, after) = postcard::take_from_bytes(rest)?;
            rest = after;
            Ok(function)
        })
    }

    pub(super) fn proven(&self) -> Option<Proven> {
        let mut proven = Proven {
            components: self.head.components.iter().map(ComponentForm::component).collect(),
            revisions: HashMap::with_capacity(self.head.functions as usize),
        };
        for function in self.functions() {
            let function = function.ok()?;
            let origin = function.origin(&self.head.tenants, &self.head.apps).ok()?;
            let component = function.component as usize;
            proven.components.get(component)?;
            proven.revisions.insert(origin, component);
        }
        Some(proven)
    }
}

impl Host {
    /// Registers what a [current](Ledger::is_current) ledger has, without looking at any component.
    ///
    /// # Errors
    /// A ledger that cannot be understood, which changes nothing.
    pub fn restore(self: &Arc<Self>, ledger: &Ledger) -> Result<(), Malformed> {
        let restored = form::restore(self, &ledger.head, ledger.functions())?;
        // A pool takes some milliseconds to make: better now than at somebody's first request. One
        // that cannot be made is that request's error.
        for revision in &restored.deployed.revisions {
            let _ = self.invoker().engines().get(revision.profile());
        }
        self.swap(restored.deployed, restored.router, &restored.tenants);
        Ok(())
    }

    /// Writes down what is `deployed`, for the next start with `project`. `file` is what was
    /// deployed, and was read after `began`; `settings` are those that the next start shall
    /// begin with. Blocks.
    ///
    /// # Errors
    /// The cache cannot be written to, or there is none.
    pub fn remember(
        &self,
        project: &Path,
        deployed: &Deployed,
        file: &HostFile,
        settings: Settings,
        warnings: Vec<String>,
        began: SystemTime,
    ) -> io::Result<()> {
        let Some(cache) = self.residency().loader().cache() else {
            return Err(io::Error::other("there is no cache"));
        };
        let head = LedgerHead::of(file, settings, warnings, began);
        let bytes = write(head, deployed).map_err(io::Error::other)?;
        cache.seal(&name(project), &bytes)
    }
}

/// The name of a project's ledger.
fn name(project: &Path) -> String {
    let path = std::path::absolute(project).unwrap_or_else(|_| project.to_owned());
    format!("{}.ledger", blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex())
}

impl LedgerHead {
    /// Without what the functions bring.
    fn of(
        file: &HostFile,
        settings: Settings,
        warnings: Vec<String>,
        began: SystemTime,
    ) -> LedgerHead {
        LedgerHead {
            inputs: inputs(file, began),
            builds: builds(file),
            settings,
            warnings,
            components: Vec::new(),
            tenants: file.tenants.iter().map(TenantForm::of).collect(),
            apps: Vec::new(),
            homes: Vec::new(),
            complete: false,
            specs: Vec::new(),
            cors: Vec::new(),
            functions: 0,
        }
    }
}

fn write(mut head: LedgerHead, deployed: &Deployed) -> postcard::Result<Vec<u8>> {
    head.functions = u32::try_from(deployed.revisions.len()).unwrap_or(u32::MAX);
    head.complete = deployed.complete;
    head.homes = deployed.apps.clone();
    let mut tables = form::Tables::default();
    let mut functions = Vec::new();
    for revision in &deployed.revisions {
        let function = tables.function(&mut head, revision);
        functions = postcard::to_extend(&function, functions)?;
    }
    let bytes = postcard::to_extend(&LedgerProgram::this(), Vec::new())?;
    let mut bytes = postcard::to_extend(&head, bytes)?;
    bytes.append(&mut functions);
    Ok(bytes)
}

/// The files that say what is deployed, as they were when they were read.
fn inputs(file: &HostFile, began: SystemTime) -> Vec<(PathBuf, Option<Stamp>)> {
    let settled = |stamp: Option<Stamp>| stamp.filter(|stamp| stamp.is_settled(began));
    let mut inputs = Vec::new();
    if let Some(path) = &file.path {
        let place = file.tenants.first().and_then(|tenant| tenant.place.as_ref());
        inputs.push((path.clone(), settled(place.and_then(|place| place.text().stamp()))));
    }
    for app in file.tenants.iter().flat_map(|tenant| &tenant.apps) {
        if let Some(path) = &app.manifest {
            let stamp = app.functions.first().and_then(|function| function.place.text().stamp());
            inputs.push((path.clone(), settled(stamp)));
        }
    }
    inputs
}

fn builds(file: &HostFile) -> bool {
    let functions = file.tenants.iter().flat_map(|tenant| tenant.functions());
    functions.into_iter().any(|(_, function)| !matches!(function.source, Source::Component(_)))
}

impl ComponentForm {
    fn of(revision: &Revision) -> ComponentForm {
        let Component { digest, compiled, profile, exports, file, stamp } = &*revision.component;
        ComponentForm {
            file: Located::clone(file),
            stamp: *stamp,
            digest: *digest.as_bytes(),
            compiled: *compiled.as_bytes(),
            profile: *profile,
            exports: *exports,
        }
    }
}
