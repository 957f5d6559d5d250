//! The subject of a command: an app's directory, a manifest, a bare component, or a host file.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use lacewing_base::name::AppName;
use lacewing_control::{Components, DeployError};
use lacewing_manifest::{
    App, Diagnostic, Source,
    config::{self, HostFile, Outline, Settings, Tenant},
};
use lacewing_telemetry::{Captured, Sink, displayed};

use super::{
    Error,
    build::{self, BuildError, Toolchain},
    console::Console,
    invoke::EnvVar,
    watch::Sources,
};

/// The path that a command was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Project {
    /// A manifest, or a directory with one.
    App(PathBuf),
    /// A component without a manifest.
    Component(PathBuf),
    /// A host file.
    Host(PathBuf),
}

/// A project as its files say it is.
pub(super) struct LoadedProject {
    pub(super) file: HostFile,
    pub(super) warnings: Vec<Diagnostic>,
}

impl Project {
    /// A path that ends in `.wasm` is a component, whatever it holds; anything else is an app.
    pub(super) fn at(path: &Path) -> Project {
        match path.extension() {
            Some(extension) if extension == "wasm" => Project::Component(path.to_owned()),
            _ => Project::App(path.to_owned()),
        }
    }

    /// The same, but for a host file, which is taken for one by its tenants.
    pub(super) fn or_host_at(path: &Path) -> Project {
        if config::is_host_file(path) { Project::Host(path.to_owned()) } else { Project::at(path) }
    }

    /// Reads and validates. `settings` are those of a host without a host file.
    pub(super) fn load(&self, settings: Settings) -> Result<LoadedProject, Error> {
        let (app, mut warnings) = match self {
            Project::Host(path) => {
                let (file, warnings) = HostFile::load(path).map_err(Error::Manifest)?;
                return Ok(LoadedProject { file, warnings });
            }
            Project::App(path) => App::load(path).map_err(Error::Manifest)?,
            Project::Component(path) => App::for_component(path).map_err(Error::Manifest)?,
        };
        match HostFile::local(app, settings) {
            Ok(file) => Ok(LoadedProject { file, warnings }),
            Err(errors) => {
                warnings.extend(errors);
                Err(Error::Manifest(warnings))
            }
        }
    }

    /// Reads and validates, but for the manifests that a host file names.
    /// `env` comes on top of the environment of an app's functions.
    pub(super) fn outline(
        &self,
        settings: Settings,
        env: &[EnvVar],
    ) -> Result<(Outline, Vec<Diagnostic>), Error> {
        match self {
            Project::Host(path) => HostFile::outline(path).map_err(Error::Manifest),
            Project::App(_) | Project::Component(_) => {
                let LoadedProject { mut file, warnings } = self.load(settings)?;
                let apps = file.tenants.iter_mut().flat_map(|tenant| &mut tenant.apps);
                for function in apps.flat_map(|app| &mut app.functions) {
                    env.iter().for_each(|one| function.set_env(&one.name, &one.value));
                }
                Ok((Outline::of(file), warnings))
            }
        }
    }

    /// The file or directory itself.
    pub(super) fn path(&self) -> &Path {
        match self {
            Project::App(path) | Project::Component(path) | Project::Host(path) => path,
        }
    }
}

/// Has a host keep its state below `dir`, in a directory that no other host has: a command that
/// only tries functions leaves the state of the app alone. The secrets are those of the app.
pub(super) fn keep_state_apart(settings: &mut Settings, dir: &Path) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let apart = dir.join(format!("state-{}", NEXT.fetch_add(1, Relaxed)));
    let kept = settings.state_dir.replace(apart);
    settings.secrets.dir = settings.secrets.dir.take().or(kept);
}

/// The result of building some tenants' apps.
#[derive(Default)]
pub(super) struct BuiltProject {
    pub(super) components: Components,
    /// The files that all of it is made of, the manifests included.
    pub(super) sources: Sources,
    /// The apps that were not built, with the error of their first function that was not.
    pub(super) failed: Vec<(AppName, BuildError)>,
}

/// Builds every function that has something to build.
///
/// # Errors
/// That of the first app that is not built.
pub(super) fn build(file: &HostFile, console: &Console) -> Result<BuiltProject, BuildError> {
    let mut built = BuiltProject::default();
    file.tenants.iter().for_each(|tenant| built.add(tenant, console));
    if built.failed.is_empty() { Ok(built) } else { Err(built.failed.swap_remove(0).1) }
}

/// Whether there is something of a tenant's to build.
pub(super) fn builds(tenant: &Tenant) -> bool {
    tenant.functions().any(|(_, function)| !matches!(function.source, Source::Component(_)))
}

impl BuiltProject {
    /// Builds a tenant's apps. One that is not built is no reason not to build the others.
    pub(super) fn add(&mut self, tenant: &Tenant, console: &Console) {
        let toolchain = Toolchain::from_env();
        for app in &tenant.apps {
            let built = match build::build_app(app, &toolchain, console) {
                Ok(built) => built,
                Err(error) => {
                    self.sources.extend(build::app_sources(app, &[], &toolchain));
                    self.failed.push((app.name.clone(), error));
                    continue;
                }
            };
            self.sources.extend(build::app_sources(app, &built, &toolchain));
            for (function, built) in app.functions.iter().zip(built) {
                let key = (tenant.name.clone(), app.name.clone(), function.name.clone());
                self.components.insert(key, built.component);
            }
        }
    }
}

/// Deploys to a host whose sink is that one. Where a function is refused, the lines that functions
/// printed meanwhile are shown: a panic in an init is there.
pub(super) async fn deploying_and_told(
    console: &Console,
    sink: &Sink,
    deploy: impl Future<Output = Result<(), Vec<DeployError>>>,
) -> Result<(), Error> {
    let deployed = deploying(console, deploy).await;
    if deployed.is_err() {
        printed(console, &sink.take());
    }
    deployed
}

/// Shows what functions have printed.
pub(super) fn printed(console: &Console, captured: &[Captured]) {
    for one in captured {
        if let Captured::Line(line) = one {
            let (stream, level) = (line.stream.as_str(), line.level);
            console.line(format_args!("[{stream} {level}] {}", displayed(&line.message)));
        }
    }
}

/// Waits for a deploy. Somebody at a terminal sees that: a large component takes many seconds to
/// compile.
pub(super) async fn deploying(
    console: &Console,
    deploy: impl Future<Output = Result<(), Vec<DeployError>>>,
) -> Result<(), Error> {
    let _shown = console.progress(DEPLOYING);
    deploy.await.map_err(Error::Deploy)
}

/// The progress line of a deploy.
pub(super) const DEPLOYING: &str = "compiling what is deployed";
