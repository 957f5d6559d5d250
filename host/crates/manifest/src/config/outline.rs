//! A host file by itself, and its tenants' manifests, which are read later.
//!
//! ```text
//!   host.toml --read--> Outline: settings, and of each tenant an Unread
//!                                                     |  its manifests, each read where a thread may wait: ReadApp
//!                                                     v
//!                                              Unread::with(all of them) --> Tenant, warnings
//! ```
//!
//! A host file is the operator's, and is read at once. A manifest is a tenant's, and the time to
//! read it is that tenant's too.

use std::{
    collections::HashMap,
    path::{Path, PathBuf, absolute},
    sync::Arc,
};

use lacewing_base::name::AppName;

use super::raw::RawTenant;
use super::{Caps, HostFile, HostOwners, RefusedApp, Settings, Tenant};
use crate::{App, Diagnostic, EnvNames, Findings, Place, Terms, raw::At};

/// A host file of which no manifest was read.
#[derive(Clone, Debug)]
pub struct Outline {
    /// The host's settings.
    pub settings: Settings,
    /// The tenants, at least one, each with a name of its own, in the order of the file.
    pub tenants: Vec<Unread>,
    /// The absolute path of the file; `None` for one that was made in memory.
    pub path: Option<PathBuf>,
}

/// A tenant whose manifests are yet to be read.
#[derive(Clone, Debug)]
pub struct Unread {
    tenant: Tenant,
    manifests: Vec<Manifest>,
    caps: Arc<Caps>,
    owners: Arc<HostOwners>,
}

/// A manifest that a host file names.
#[derive(Clone, Debug)]
pub struct Manifest {
    path: PathBuf,
    home: PathBuf,
    place: Place,
    terms: Arc<Terms>,
}

/// The result of reading a manifest.
pub type ReadApp = Result<(App, Vec<Diagnostic>), Vec<Diagnostic>>;

impl Outline {
    /// Of a host file that was read whole.
    pub fn of(file: HostFile) -> Outline {
        let HostFile { settings, tenants, path } = file;
        Outline::new(settings, tenants.into_iter().map(|tenant| (tenant, Vec::new())), path)
    }

    pub(super) fn new(
        settings: Settings,
        tenants: impl IntoIterator<Item = (Tenant, Vec<Manifest>)>,
        path: Option<PathBuf>,
    ) -> Outline {
        let tenants: Vec<_> = tenants.into_iter().collect();
        let names = tenants.iter().map(|(tenant, _)| (&tenant.name, &tenant.hosts[..]));
        let owners = Arc::new(HostOwners::new(names));
        let caps = Arc::new(settings.caps.clone());
        let unread = |(tenant, manifests)| Unread {
            tenant,
            manifests,
            caps: caps.clone(),
            owners: owners.clone(),
        };
        Outline { tenants: tenants.into_iter().map(unread).collect(), settings, path }
    }

    /// Reads all manifests, one after the other. Blocks. Gives the warnings of those that are
    /// taken.
    pub fn read(self) -> (HostFile, Vec<Diagnostic>) {
        let mut warnings = Vec::new();
        let read = |unread: Unread| {
            let apps = unread.manifests.iter().map(Manifest::read).collect();
            let (tenant, more) = unread.with(apps);
            warnings.extend(more);
            tenant
        };
        let tenants = self.tenants.into_iter().map(read).collect();
        (HostFile { settings: self.settings, tenants, path: self.path }, warnings)
    }
}

impl Manifest {
    /// Reads it. Blocks for as long as the file system does.
    pub fn read(&self) -> ReadApp {
        App::load_on(&self.path, &self.terms)
    }

    /// It, where reading it did not come to an end.
    pub fn failed(&self, why: &str) -> ReadApp {
        Err(vec![Diagnostic::error(format!("reading this failed: {why}")).in_file(&self.path)])
    }
}

impl Unread {
    /// The tenant without its apps.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The manifests to read, in the order of the file.
    pub fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    /// The tenant without any of its apps, where reading them did not come to an end.
    pub fn failed(self, why: &str) -> Tenant {
        let failed = self.manifests.iter().map(|manifest| manifest.failed(why)).collect();
        self.with(failed).0
    }

    /// The tenant with what reading its manifests gave, in their order; and the warnings about
    /// those that are taken.
    pub fn with(self, read: Vec<ReadApp>) -> (Tenant, Vec<Diagnostic>) {
        let Unread { mut tenant, manifests, caps, owners } = self;
        let mut names: HashMap<AppName, Place> = HashMap::new();
        let mut warnings = Vec::new();
        for (Manifest { home, place, .. }, read) in manifests.into_iter().zip(read) {
            let refused = match read {
                Ok((app, more)) => {
                    warnings.extend(more);
                    match names.get(&app.name) {
                        None => {
                            names.insert(app.name.clone(), place);
                            tenant.apps.push(app);
                            continue;
                        }
                        Some(other) => {
                            let message = format!("the tenant has an app `{}` already", app.name);
                            vec![twice(message, &place, other)]
                        }
                    }
                }
                // A finding about the whole file has no place in it, and gets the place of its
                // mention here.
                Err(errors) => {
                    let named = |error: Diagnostic| match error.place {
                        Some(_) => error,
                        None => error.related(&place, "the app is named here"),
                    };
                    errors.into_iter().map(named).collect()
                }
            };
            tenant.refused.push(RefusedApp { home, name: None, findings: refused });
        }
        tenant.refuse_wrong(&caps, &owners);
        (tenant, warnings)
    }
}

/// The manifests that a tenant's table names, in a host file in the directory `root`.
pub(super) fn manifests(
    raw: &RawTenant,
    root: &Path,
    settings: &Settings,
    findings: &mut Findings,
) -> Vec<Manifest> {
    let terms = Arc::new(Terms {
        most_bytes: settings.max_manifest_bytes,
        component_dirs: Some(dirs("component_dirs", &raw.component_dirs, root, findings)),
        env_names: Some(env_names(&raw.env.names, findings)),
        env_dirs: Some(dirs("dirs", &raw.env.dirs, root, findings)),
    });
    let mut homes: HashMap<PathBuf, Place> = HashMap::new();
    let mut manifests = Vec::new();
    for raw in findings.bounded("apps", &raw.apps) {
        let (place, path) = (findings.place(&raw.span), root.join(&raw.value));
        let home = absolute(&path).map_or_else(|_| path.clone(), |path| App::home_of(&path).into());
        // That is the host file's own mistake.
        if let Some(other) = homes.get(&home) {
            let message = format!("the tenant has the app of `{}` already", raw.value);
            findings.extend([twice(message, &place, other)]);
            continue;
        }
        homes.insert(home.clone(), place.clone());
        manifests.push(Manifest { path, home, place, terms: terms.clone() });
    }
    manifests
}

/// Absolute paths, as those of components are.
fn dirs(
    key: &'static str,
    raw: &[At<String>],
    root: &Path,
    findings: &mut Findings,
) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for raw in findings.bounded(key, raw) {
        match absolute(root.join(&raw.value)) {
            Ok(dir) if !raw.value.is_empty() && !raw.value.contains('\0') => dirs.push(dir),
            _ => {
                let message = format!("`{key}` takes folders, not {:?}", raw.value);
                let help =
                    format!("write `{key} = [\"../shared\"]`; a path is relative to the host file");
                findings.at(&raw.span, Diagnostic::error(message).help(help));
            }
        }
    }
    dirs
}

fn env_names(raw: &[At<String>], findings: &mut Findings) -> EnvNames {
    let mut names = Vec::new();
    for raw in findings.bounded("names", raw) {
        let name = raw.value.strip_suffix('*').unwrap_or(&raw.value);
        if name.is_empty() || name.contains(['*', '=', '\0']) {
            let message = format!("`names` takes names of variables, not {:?}", raw.value);
            let help = "write `names = [\"ACME_TOKEN\"]`, or `[\"ACME_*\"]` for all that begin so";
            findings.at(&raw.span, Diagnostic::error(message).help(help));
        } else {
            names.push(raw.value.clone());
        }
    }
    EnvNames::new(names)
}

fn twice(message: String, place: &Place, other: &Place) -> Diagnostic {
    Diagnostic::error(message).at(place).related(other, "the other app is here")
}
