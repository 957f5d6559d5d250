//! The secrets that functions are granted: where their values come from.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use lacewing_base::{
    Grants, SecretName,
    name::{AppName, TenantName},
};
use lacewing_manifest::{
    Diagnostic, SECRET_ENV,
    config::{SecretSource, Settings},
};
use lacewing_sandbox::capability::SecretSettings;
use lacewing_store::secrets::{Secret, SecretStore};

use super::{Deployed, Host};

/// The secrets of a host.
pub(super) struct HostSecrets {
    store: Option<Arc<SecretStore>>,
    from_env: bool,
}

impl HostSecrets {
    /// Nothing is read or made.
    pub(super) fn new(settings: &Settings) -> HostSecrets {
        let SecretSource { dir, from_env } = &settings.secrets;
        let dir = dir.as_deref().or(settings.state_dir.as_deref());
        let store = |dir: &Path| Arc::new(SecretStore::at(dir));
        HostSecrets { store: dir.map(store), from_env: *from_env }
    }

    /// The secrets of the state directory, if there is one.
    pub(super) fn store(&self) -> Option<&Arc<SecretStore>> {
        self.store.as_ref()
    }

    /// The secrets that a function of an app may read; `None` if its grants name none.
    pub(super) fn settings(
        &self,
        tenant: &TenantName,
        app: &AppName,
        grants: &Grants,
    ) -> Option<SecretSettings> {
        if grants.secrets.is_empty() {
            return None;
        }
        let given = |name: &SecretName| given(name).map(|secret| (name.clone(), secret));
        let given = match self.from_env {
            true => grants.secrets.iter().filter_map(given).collect(),
            false => Arc::default(),
        };
        let stored = self.store.as_ref().map(|store| store.app(tenant, app));
        Some(SecretSettings { names: grants.secrets.as_slice().into(), stored, given })
    }
}

/// The value that the host's own environment gives a secret.
fn given(name: &SecretName) -> Option<Secret> {
    let variable = format!("{SECRET_ENV}{name}");
    let value = std::env::var_os(&variable)?;
    let Ok(value) = value.into_string() else {
        tracing::warn!("`{variable}` is not UTF-8, and gives no secret");
        return None;
    };
    Secret::new(value)
        .inspect_err(|error| tracing::warn!("`{variable}` gives no secret: {error}"))
        .ok()
}

/// The most secrets of a host that are named as not set: a person reads no more at once.
const NAMED: usize = 20;

/// Warnings about granted secrets that are not set. A deploy does not fail for them, because they
/// can be set afterwards. Blocks for a look at each file.
pub fn missing_secrets(deployed: &Deployed) -> Vec<Diagnostic> {
    let mut missing = BTreeSet::new();
    for revision in &deployed.revisions {
        let Some(secrets) = &revision.spec.settings.secrets else { continue };
        let origin = &revision.origin;
        let of_app =
            |name: &SecretName| (origin.tenant().clone(), origin.app.clone(), name.clone());
        missing.extend(secrets.missing().map(of_app));
    }
    let warning = |(tenant, app, name): &(TenantName, AppName, SecretName)| {
        let message = format!("the secret `{name}` of app `{tenant}/{app}` is not set");
        Diagnostic::warning(message)
            .help("`lacewing secret set` sets a secret; the app need not be deployed again")
    };
    let mut warnings: Vec<Diagnostic> = missing.iter().take(NAMED).map(warning).collect();
    if missing.len() > NAMED {
        let message = format!("and {} more secrets are not set", missing.len() - NAMED);
        warnings.push(Diagnostic::warning(message));
    }
    warnings
}

impl Host {
    /// A warning if secrets or access keys are sealed, and their key is missing or refused. Blocks
    /// for a look at the state directory.
    pub fn unusable_key(&self) -> Option<Diagnostic> {
        let error = self.secrets.store()?.check().err()?;
        Some(Diagnostic::warning(format!("sealed secrets do not open: {error}")))
    }
}
