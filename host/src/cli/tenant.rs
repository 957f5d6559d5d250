//! The tenant that a command names, as files describe it: a host file, or the app of one alone.

use std::path::{Path, PathBuf};

use lacewing_base::name::TenantName;
use lacewing_manifest::{
    App,
    config::{HostFile, STATE_DIR, Tenant, TenantQuota},
};

use super::{Error, console::Console, load_app};

/// The tenant of an app that is served alone.
pub(super) const LOCAL: &str = "local";

/// A tenant, with its apps.
pub(super) struct FoundTenant {
    pub(super) name: TenantName,
    pub(super) apps: Vec<App>,
    pub(super) quota: TenantQuota,
    /// The state directory.
    pub(super) dir: PathBuf,
}

impl FoundTenant {
    /// A tenant of a host file.
    pub(super) fn of_host(host: &Path, tenant: &str) -> Result<FoundTenant, Error> {
        let (file, _) = HostFile::load(host).map_err(Error::Manifest)?;
        let known = file.tenants.into_iter().find(|known| known.name.as_str() == tenant);
        let Tenant { name, apps, quota, .. } = known.ok_or_else(|| {
            Error::NotThere(format!("{} has no tenant {tenant:?}", host.display()))
        })?;
        let dir = file.settings.state_dir.unwrap_or_default();
        Ok(FoundTenant { name, apps, quota, dir })
    }

    /// The tenant of an app that is served alone.
    pub(super) fn of_app(app: &Path, console: &Console) -> Result<FoundTenant, Error> {
        let app = load_app(app, console)?;
        let (name, dir) = (tenant_name(LOCAL)?, app.root.join(STATE_DIR));
        Ok(FoundTenant { name, apps: vec![app], quota: TenantQuota::default(), dir })
    }

    /// With its state in another directory, if one is named.
    pub(super) fn with_state(self, dir: Option<&PathBuf>) -> FoundTenant {
        let dir = dir.cloned().unwrap_or(self.dir);
        FoundTenant { dir, ..self }
    }
}

/// The tenant of a name.
pub(super) fn tenant_name(name: &str) -> Result<TenantName, Error> {
    name.parse::<TenantName>().map_err(|error| Error::NotThere(error.to_string()))
}

/// The name of a bucket as clients of S3 say it. An app's own bucket may be named without the app,
/// and clients may make buckets that no app declares.
pub(super) fn full_name(app: Option<&App>, name: &str) -> String {
    let full = app.map(|app| format!("{}.{name}", app.name));
    let declared = app.into_iter().flat_map(|app| &app.buckets);
    let is_own = declared.map(|bucket| &*bucket.name).any(|known| Some(known) == full.as_deref());
    full.filter(|_| is_own).unwrap_or_else(|| name.to_owned())
}
