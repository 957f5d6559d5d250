//! The host file: settings, and the tenants with their apps.

use std::path::{Path, PathBuf};

use super::{Caps, Settings};
use crate::{
    manifest::{App, Diagnostic, HostPattern, Place},
    name::TenantName,
};

/// Everything that a host serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFile {
    /// The host's settings.
    pub settings: Settings,
    /// The tenants, at least one, each with a name of its own, in the order of the file.
    pub tenants: Vec<Tenant>,
    /// The absolute path of the file; `None` for one that was made in memory.
    pub path: Option<PathBuf>,
}

/// Who is isolated and charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub name: TenantName,
    /// The host names that are its own. No pattern is in two tenants; where two tenants' patterns mean the same host,
    /// the exact one wins, then the one with the longer suffix.
    pub hosts: Vec<HostPattern>,
    /// Its apps, each with a name of its own, their limits lowered to the tenant's and the host's caps.
    pub apps: Vec<App>,
    /// What all its functions together may use.
    pub quota: Quota,
    /// Upper bounds on its functions' limits.
    pub caps: Caps,
    /// Its share where tenants wait for the same slots: one of weight 2 gets twice as many as one of weight 1, and as one
    /// of the default, 1.
    pub weight: u32,
    /// Where its name is written.
    pub place: Option<Place>,
}

/// What all functions of a tenant together may use; `None` is no bound but the host's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Invocations at once. Key: `concurrency`. `throttled`.
    pub concurrency: Option<u32>,
    /// Invocations in a second, with a burst of the same size. Key: `rate_per_s`. `throttled`.
    pub rate_per_s: Option<u32>,
    /// The sum of the memory limits of the sandboxes that exist at once, in bytes. Key: `memory_mib`. `throttled`.
    pub memory_bytes: Option<u64>,
}

impl HostFile {
    /// Reads a host file and the manifests that it names.
    ///
    /// Gives it with the warnings.
    ///
    /// # Errors
    /// Everything that is wrong, in the host file and in the manifests.
    pub fn load(path: &Path) -> Result<(HostFile, Vec<Diagnostic>), Vec<Diagnostic>> {
        Err(vec![Diagnostic::error("host files are not read yet").in_file(path)])
    }

    /// The host of a single app: the tenant `local`, which has every host name.
    ///
    /// # Errors
    /// Limits of the app that are over the settings' caps.
    pub fn local(app: App, settings: Settings) -> Result<HostFile, Vec<Diagnostic>> {
        let _ = (app, settings);
        Err(Vec::new())
    }
}
