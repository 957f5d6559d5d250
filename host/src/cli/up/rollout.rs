//! One reading of the project on its way to being served: manifests, build, deploy, ledger.
//!
//! ```text
//!   host file --wrong--> said; what is served stays, and what is on its way goes on
//!     |
//!     |      (a task of its own)
//!     +--> tenant: manifests ---> build ---> deploy ---swap---+
//!     +--> tenant: manifests ---> build ---> deploy ---swap---+--> ended: a ledger, and which apps were refused
//!     +--> ...         |            |           |
//!                      +------------+-----------+--- refused, and said
//! ```
//!
//! No tenant waits for another one's files. Reading and checking run on threads that may wait, few
//! at once ([`Host::read_for`]). Builds are the operator's own, and run one after the other.
//!
//! In a host of many an app that is wrong is refused alone. Where a single app was asked for it is
//! the whole: its error is the command's.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use futures_util::FutureExt;
use lacewing_base::name::{AppName, TenantName};
use lacewing_control::{DeployError, Deployed, Deployment, Host, Incoming, Ledger, Ready, Swap};
use lacewing_manifest::{
    Diagnostic,
    config::{self, HostFile, Outline, Settings, Tenant, Unread},
};
use lacewing_telemetry::Origin;
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinHandle};

use crate::cli::{
    Error,
    build::BuildError,
    console::Console,
    project::{self, BuiltProject, Project},
    up::UpArgs,
    watch::Sources,
};

/// How long a start waits for those that take longest, after the last one that was ready. Then they
/// come later, and the others are served.
const PATIENCE: Duration = Duration::from_secs(5);

/// Errors, and swapped functions, that are shown of one app: it may have thousands.
const SAID: usize = 20;

/// A project that was read, but for the manifests that a host file names.
pub(super) struct Read {
    pub(super) outline: Outline,
    /// Without what was given as an argument.
    settings: Settings,
    warnings: Vec<Diagnostic>,
    /// Before anything of it was read.
    began: SystemTime,
}

/// Reads the project; what was given as an argument is stronger than the host file.
pub(super) fn read(args: &UpArgs, project: &Project) -> Result<Read, Error> {
    let began = SystemTime::now();
    let (mut outline, warnings) =
        project.outline(Settings::new(config::default_cache_dir()), &args.env)?;
    let settings = outline.settings.clone();
    args.apply(&mut outline.settings);
    Ok(Read { outline, settings, warnings, began })
}

impl Read {
    pub(super) fn show_warnings(&self, console: &Console) {
        self.warnings.iter().for_each(|warning| console.finding(warning));
    }
}

/// Shows warnings, and gives them as they were shown.
fn shown(warnings: &[Diagnostic], console: &Console) -> Vec<String> {
    warnings.iter().for_each(|warning| console.finding(warning));
    warnings.iter().map(ToString::to_string).collect()
}

/// A tenant whose manifests were read, and whose functions were built.
struct Prepared {
    tenant: Tenant,
    built: BuiltProject,
    warnings: Vec<String>,
}

/// The state that all readings of a project share.
#[derive(Clone)]
pub(super) struct ReadingTarget {
    pub(super) host: Arc<Host>,
    pub(super) project: Arc<Project>,
    pub(super) console: Console,
    /// Whether somebody is served: each swap is said from then on.
    pub(super) serves: Arc<AtomicBool>,
    // A build whose reading was given up goes on, and another one waits for its end. It guards
    // nothing but the builds' files.
    building: Arc<tokio::sync::Mutex<()>>,
}

/// The parts of a ledger besides the registry.
struct Remembered {
    file: HostFile,
    settings: Settings,
    warnings: Vec<String>,
    began: SystemTime,
}

/// The by-products of reading and building tenants.
#[derive(Default)]
struct Gathered {
    sources: Sources,
    /// Something was not built.
    has_failed: bool,
    /// By the place of the tenant.
    warnings: BTreeMap<usize, Vec<String>>,
}

impl Gathered {
    /// Takes that out of a prepared tenant. Gives the rest, with what was not built.
    fn ready(&mut self, index: usize, prepared: Prepared) -> (Ready, Vec<(AppName, BuildError)>) {
        let Prepared { tenant, built: BuiltProject { components, sources, failed }, warnings } =
            prepared;
        self.sources.extend(sources);
        self.has_failed |= !failed.is_empty();
        self.warnings.insert(index, warnings);
        (Ready { config: tenant, components: Arc::new(components) }, failed)
    }
}

fn taken(gathered: &Mutex<Gathered>) -> Gathered {
    std::mem::take(&mut *gathered.lock())
}

/// The result of a reading.
pub(super) struct ReadingResult {
    /// The files that building it was made of.
    pub(super) sources: Sources,
    /// Whether everything was built, so that these are all of them.
    pub(super) is_whole: bool,
    /// Whether something else is served than before.
    pub(super) changed: bool,
    /// The apps that were refused, as a sentence, if any was; or why nothing is deployed.
    pub(super) outcome: Result<Option<String>, Error>,
}

/// A reading on its way. The apps that were swapped in stay when this is dropped, and no more
/// follow.
pub(super) struct ProjectRollout {
    task: JoinHandle<Result<ReadingResult, Error>>,
    /// Functions that are served.
    served: watch::Receiver<usize>,
}

impl Drop for ProjectRollout {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ReadingTarget {
    pub(super) fn new(host: Arc<Host>, project: Project, console: Console) -> ReadingTarget {
        let (project, serves, building) = (Arc::new(project), Arc::default(), Arc::default());
        ReadingTarget { host, project, console, serves, building }
    }

    /// Builds and deploys what was read.
    pub(super) fn roll_out(&self, read: Read, ledger: Option<Arc<Ledger>>) -> ProjectRollout {
        let (served, watched) = watch::channel(0);
        let target = self.clone();
        let task = tokio::spawn(async move { target.run(read, ledger, &served).await });
        ProjectRollout { task, served: watched }
    }

    async fn run(
        self,
        read: Read,
        ledger: Option<Arc<Ledger>>,
        served: &watch::Sender<usize>,
    ) -> Result<ReadingResult, Error> {
        let started = Instant::now();
        let Read { outline: Outline { settings, tenants, path }, .. } = read;
        let sources = Sources { roots: path.iter().cloned().collect(), ..Sources::default() };
        let gathered = Arc::new(Mutex::new(Gathered { sources, ..Gathered::default() }));
        let mut incoming = Vec::new();
        for (index, unread) in tenants.into_iter().enumerate() {
            let config = unread.tenant().clone();
            let (target, shared) = (self.clone(), gathered.clone());
            let preparing = async move {
                let prepared = target.prepare(unread).await;
                shared.lock().ready(index, prepared)
            };
            let ready = match self.is_of_many() {
                true => preparing.map(|(ready, _)| ready).boxed(),
                // The single app's error is the command's.
                false => {
                    let (ready, mut failed) = preparing.await;
                    if !failed.is_empty() {
                        let outcome = Err(failed.swap_remove(0).1.into());
                        let Gathered { sources, .. } = taken(&gathered);
                        return Ok(ReadingResult {
                            sources,
                            is_whole: false,
                            changed: false,
                            outcome,
                        });
                    }
                    std::future::ready(ready).boxed()
                }
            };
            incoming.push(Incoming { config, ready });
        }
        let mut changed = false;
        let mut report = |swap: Swap<'_>| {
            changed |= self.report(swap, started);
            served.send_replace(swap.after.revisions.len());
        };
        let deployment = {
            let _shown = self.console.progress(project::DEPLOYING);
            self.host.deploy_tenants(incoming, ledger.as_deref(), &mut report).await
        };
        let Deployment { tenants, errors } = deployment;
        let gathered = taken(&gathered);
        let mut warnings: Vec<String> = read.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(gathered.warnings.into_values().flatten());
        let remembered = Remembered {
            file: HostFile { settings, tenants, path },
            settings: read.settings,
            warnings,
            began: read.began,
        };
        let outcome = self.conclude(errors, remembered);
        let Gathered { sources, has_failed, .. } = gathered;
        Ok(ReadingResult { sources, is_whole: !has_failed, changed, outcome })
    }

    /// Reads and builds what a tenant has. Says what is wrong with apps that are refused.
    async fn prepare(&self, unread: Unread) -> Prepared {
        let name = unread.tenant().name.clone();
        let mut read = Vec::new();
        for manifest in unread.manifests() {
            let work = manifest.clone();
            let app = self.host.read_for(&name, move || work.read()).await;
            read.push(app.unwrap_or_else(|panic| manifest.failed(&panic.to_string())));
        }
        let spare = unread.clone();
        let whole = self.host.read_for(&name, move || unread.with(read)).await;
        let (mut tenant, warnings) =
            whole.unwrap_or_else(|panic| (spare.failed(&panic.to_string()), Vec::new()));
        let warnings = shown(&warnings, &self.console);
        let refused = tenant.refused.iter().flat_map(|app| &app.findings);
        refused.for_each(|finding| self.console.finding(finding));
        let built = self.build(&tenant).await;
        if self.is_of_many() {
            for (app, error) in &built.failed {
                self.console.error(error);
                tenant.refuse(app);
            }
        }
        Prepared { tenant, built, warnings }
    }

    async fn build(&self, tenant: &Tenant) -> BuiltProject {
        let (tenant, console) = (tenant.clone(), self.console.clone());
        let one = match project::builds(&tenant) {
            true => Some(self.building.clone().lock_owned().await),
            false => None,
        };
        let build = move || {
            let mut built = BuiltProject::default();
            built.add(&tenant, &console);
            drop(one);
            built
        };
        tokio::task::spawn_blocking(build).await.unwrap_or_default()
    }

    fn conclude(
        &self,
        errors: Vec<DeployError>,
        remembered: Remembered,
    ) -> Result<Option<String>, Error> {
        let deployed = self.host.deployed();
        let refused = refused(&remembered.file, &errors, &deployed);
        // One error for the host, and not for each function.
        let (of_directory, errors): (Vec<_>, Vec<_>) =
            errors.into_iter().partition(DeployError::is_of_directory);
        let mut of_directory = of_directory.into_iter().filter_map(DeployError::into_directory);
        let is_empty = refused.is_some() && deployed.revisions.is_empty();
        match of_directory.next().map(Error::from) {
            Some(error) if is_empty || !self.is_of_many() => return Err(error),
            Some(error) => error.report(&self.console),
            None if !errors.is_empty() && !self.is_of_many() => return Err(Error::Deploy(errors)),
            None if is_empty => return Err(Error::EveryAppRefused),
            None => {}
        }
        self.remember(deployed, remembered);
        Ok(refused)
    }

    fn is_of_many(&self) -> bool {
        matches!(*self.project, Project::Host(_))
    }

    /// Says what has changed. Gives whether anything has.
    fn report(&self, swap: Swap<'_>, started: Instant) -> bool {
        if self.is_of_many() {
            let own = swap.refused.iter().filter(|error| !error.is_of_directory());
            let errors = own.map(|error| ((&error.tenant, &error.app), error));
            let (first, more) = first_of_each(errors);
            first.into_iter().for_each(|error| self.console.error(error));
            for ((tenant, app), count) in more {
                self.console.line(format_args!("and {count} errors more of {tenant}/{app}"));
            }
        }
        let changed = changed_revisions(swap.before, swap.after);
        if !changed.is_empty() && self.serves.load(Relaxed) {
            let ms = started.elapsed().as_millis();
            for (verb, is_gone) in [("Swapped", false), ("Removed", true)] {
                let named = changed.iter().filter(|one| one.is_gone == is_gone);
                let named = named.map(|Change { origin, .. }| {
                    ((origin.tenant(), &origin.app), origin.to_string())
                });
                let (mut said, more) = first_of_each(named);
                said.extend(more.into_iter().map(|((tenant, app), count)| {
                    format!("and {count} functions more of {tenant}/{app}")
                }));
                if !said.is_empty() {
                    self.console.status(verb, format_args!("{} in {ms} ms", said.join(", ")));
                }
            }
        }
        !changed.is_empty()
    }

    /// Leaves a ledger for the next start, beside whatever else goes on. Values from outside of the
    /// manifests are written to no disk, and may be others then.
    fn remember(&self, deployed: Arc<Deployed>, remembered: Remembered) {
        if remembered.file.takes_outside_values() {
            return;
        }
        let (host, project) = (self.host.clone(), self.project.clone());
        tokio::task::spawn_blocking(move || {
            let Remembered { file, settings, warnings, began } = remembered;
            let remembered =
                host.remember(project.path(), &deployed, &file, settings, warnings, began);
            if let Err(error) = remembered {
                tracing::warn!(%error, "the ledger of this deploy could not be written: the next start deploys everything again");
            }
        });
    }
}

impl ProjectRollout {
    /// Waits for its end. May be dropped and called again before that.
    pub(super) async fn ended(&mut self) -> Result<ReadingResult, Error> {
        match (&mut self.task).await {
            Ok(ended) => ended,
            Err(error) => Err(Error::System(std::io::Error::other(error))),
        }
    }

    /// Waits until there is enough to begin with: all of it, or else what was ready when nothing
    /// more came for a while.
    pub(super) async fn enough(&mut self) -> Result<Option<ReadingResult>, Error> {
        let mut served = self.served.clone();
        loop {
            let ready = *served.borrow_and_update();
            let more = async {
                // A reading that has ended is seen elsewhere.
                if served.changed().await.is_err() {
                    std::future::pending().await
                }
            };
            tokio::select! {
                ended = self.ended() => return ended.map(Some),
                waited = tokio::time::timeout(PATIENCE, more) => match waited {
                    Err(_) if ready > 0 => return Ok(None),
                    Ok(()) | Err(_) => {}
                },
            }
        }
    }
}

/// The apps that were refused, and the result of each.
fn refused(file: &HostFile, errors: &[DeployError], deployed: &Deployed) -> Option<String> {
    let is_served = |tenant: &TenantName, name: &AppName| {
        deployed.apps.iter().any(|app| app.tenant == *tenant && app.name == *name)
    };
    let mut apps = BTreeMap::new();
    for tenant in &file.tenants {
        for app in &tenant.refused {
            let home = Some(app.home.as_path());
            let known = deployed
                .apps
                .iter()
                .find(|known| known.tenant == tenant.name && known.home.as_deref() == home);
            let text = match known.map(|known| &known.name).or(app.name.as_ref()) {
                Some(name) => format!("{}/{name}", tenant.name),
                None => format!("{} of tenant {}", app.home.display(), tenant.name),
            };
            apps.insert(text, known.is_some());
        }
    }
    for DeployError { tenant, app, .. } in errors {
        apps.insert(format!("{tenant}/{app}"), is_served(tenant, app));
    }
    let said = |(app, is_served): (&String, &bool)| match is_served {
        true => format!("{app} (its previous revisions stay in place)"),
        false => format!("{app} (not served)"),
    };
    let list = apps.iter().map(said).collect::<Vec<_>>().join(", ");
    match apps.len() {
        0 => None,
        1 => Some(format!("1 app refused: {list}")),
        many => Some(format!("{many} apps refused: {list}")),
    }
}

/// The first [`SAID`] items of each app, in order, and the number of further ones.
fn first_of_each<K: Ord + Copy, T>(
    all: impl IntoIterator<Item = (K, T)>,
) -> (Vec<T>, BTreeMap<K, usize>) {
    let (mut first, mut counts) = (Vec::new(), BTreeMap::new());
    for (app, one) in all {
        let count = counts.entry(app).or_insert(0_usize);
        *count += 1;
        if *count <= SAID {
            first.push(one);
        }
    }
    let more = counts.into_iter().filter_map(|(app, count)| {
        let more = count.checked_sub(SAID).filter(|more| *more > 0)?;
        Some((app, more))
    });
    (first, more.collect())
}

/// A revision that is new, or the last one of a function that is gone.
struct Change {
    origin: Arc<Origin>,
    is_gone: bool,
}

fn changed_revisions(before: &Deployed, after: &Deployed) -> Vec<Change> {
    let names = |deployed: &Deployed| {
        let origins = deployed.revisions.iter().map(|revision| revision.origin.clone());
        let named = origins.map(|origin| {
            let name = (origin.tenant().clone(), origin.app.clone(), origin.function.clone());
            (name, origin)
        });
        named.collect::<BTreeMap<_, _>>()
    };
    let (before, after) = (names(before), names(after));
    let new = after.iter().filter(|(name, origin)| {
        before.get(*name).is_none_or(|known| known.revision != origin.revision)
    });
    let new = new.map(|(_, origin)| Change { origin: origin.clone(), is_gone: false });
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    let gone = gone.map(|(_, origin)| Change { origin: origin.clone(), is_gone: true });
    new.chain(gone).collect()
}

#[cfg(test)]
mod tests;
