//! The place of a store: the app or the tenant that it belongs to, and the state that it is in.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueHint};
use lacewing_base::{KvStore, name::TenantName};
use lacewing_control::{StorePage, merged_stores};
use lacewing_manifest::{
    App,
    config::{HostFile, STATE_DIR, Tenant, TenantQuota},
};
use lacewing_store::StateStore;

use super::OpenStore;
use crate::cli::{
    Error,
    console::Console,
    load_app,
    opened::{OpenState, RemoteArgs},
};

/// The tenant of an app that is served alone.
const LOCAL: &str = "local";

/// The state, and the app or tenant in it.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// The app whose store it is: a directory with a lacewing.toml, or such a file.
    #[arg(long, value_name = "PATH", default_value = ".", value_hint = ValueHint::AnyPath)]
    app: PathBuf,
    /// A host file, for a store of one of its tenants.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "tenant", conflicts_with = "app")]
    host: Option<PathBuf>,
    /// The tenant of the host file, or of the host at the URL [default there: local]
    #[arg(long)]
    tenant: Option<String>,
    /// The state directory [default: that of the app or the host file]
    #[arg(long, value_name = "DIR", env = "LACEWING_STATE", value_hint = ValueHint::DirPath)]
    state: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// The stores that files declare, and where their state is.
struct Declared {
    dir: PathBuf,
    tenant: TenantName,
    apps: Vec<App>,
    quota: TenantQuota,
    /// Whether stores are named with their app.
    is_host: bool,
}

impl PlaceArgs {
    /// Opens the store of a name.
    pub(super) fn open(&self, store: &str, console: &Console) -> Result<OpenStore, Error> {
        if let Some(state) = self.remote.open()? {
            return Ok(OpenStore::new(state, self.remote_tenant()?, remote_store(store)?));
        }
        let declared = self.declared(console)?;
        let known = declared.store(store)?;
        Ok(OpenStore::new(OpenState::open(&declared.dir)?, declared.tenant, known))
    }

    /// All stores of the tenant, in pages, with its name.
    pub(super) fn stores(&self, console: &Console) -> Result<Vec<(String, StorePage)>, Error> {
        let (state, tenant, declared) = match self.remote.open()? {
            Some(state) => (state, self.remote_tenant()?, None),
            None => {
                let declared = self.declared(console)?;
                (OpenState::open(&declared.dir)?, declared.tenant.clone(), Some(declared))
            }
        };
        let embedded = match &state {
            OpenState::Directory(embedded) => embedded,
            OpenState::Host(client) => {
                let (mut pages, mut after) = (Vec::new(), None);
                loop {
                    let page = client.stores(tenant.as_str(), after.as_deref())?;
                    after = page.next.clone();
                    pages.push((tenant.to_string(), page));
                    if after.is_none() {
                        return Ok(pages);
                    }
                }
            }
        };
        let used = match embedded.has_state(&tenant) {
            true => embedded.tenant(&tenant, u64::MAX).snapshot().and_then(|mut one| one.stores()),
            false => Ok(Vec::new()),
        };
        let used = used.map_err(|error| Error::State(error.to_string()))?;
        let known: Vec<_> = declared
            .iter()
            .flat_map(|one| &one.apps)
            .flat_map(|app| app.kv_stores.clone())
            .collect();
        // Buckets are charged to the same quota.
        let used_bytes = used.iter().map(|store| store.bytes).sum();
        let used = used.into_iter().filter(|store| !store.id.starts_with(KvStore::BUCKET));
        let page = StorePage {
            used_bytes,
            stores: merged_stores(&known, used.collect()),
            max_bytes: declared.map(|declared| declared.quota.state_bytes),
            next: None,
        };
        Ok(vec![(tenant.to_string(), page)])
    }

    fn remote_tenant(&self) -> Result<TenantName, Error> {
        tenant_name(self.tenant.as_deref().unwrap_or(LOCAL))
    }

    fn declared(&self, console: &Console) -> Result<Declared, Error> {
        match (&self.host, &self.tenant) {
            (Some(host), Some(name)) => {
                let (file, _) = HostFile::load(host).map_err(Error::Manifest)?;
                let HostFile { settings, tenants, .. } = file;
                let known = tenants.into_iter().find(|known| known.name.as_str() == name);
                let Tenant { name: tenant, apps, quota, .. } = known.ok_or_else(|| {
                    Error::NotThere(format!("{} has no tenant {name:?}", host.display()))
                })?;
                let dir = self.state.clone().or(settings.state_dir).unwrap_or_default();
                Ok(Declared { dir, tenant, apps, quota, is_host: true })
            }
            (None, Some(_)) => {
                let message =
                    "`--tenant` names a tenant of a host: add `--host FILE` or `--url URL`";
                Err(Error::NotThere(message.to_owned()))
            }
            (_, None) => {
                let app = load_app(&self.app, console)?;
                let dir = self.state.clone().unwrap_or_else(|| app.root.join(STATE_DIR));
                let (tenant, apps) = (tenant_name(LOCAL)?, vec![app]);
                Ok(Declared { dir, tenant, apps, quota: TenantQuota::default(), is_host: false })
            }
        }
    }
}

impl Declared {
    /// The store of a name: NAME of an app, and APP/NAME of a tenant.
    fn store(&self, name: &str) -> Result<Arc<KvStore>, Error> {
        if !self.is_host {
            let apps = self.apps.first();
            return apps.map_or_else(|| Err(not_named(name)), |app| known_store(app, name));
        }
        let (app, name) = name.split_once('/').ok_or_else(|| not_named(name))?;
        let known = self.apps.iter().find(|known| known.name.as_str() == app);
        let known = known.ok_or_else(|| {
            Error::NotThere(format!("tenant `{}` has no app {app:?}", self.tenant))
        })?;
        known_store(known, name)
    }
}

fn not_named(store: &str) -> Error {
    Error::NotThere(format!("a store of a tenant is APP/NAME, not {store:?}"))
}

/// A store of a host that is not asked for its manifests.
fn remote_store(store: &str) -> Result<Arc<KvStore>, Error> {
    let (app, name) = store.split_once('/').ok_or_else(|| not_named(store))?;
    let app = app.parse().map_err(|_| not_named(store))?;
    Ok(Arc::new(KvStore::new(&app, name)))
}

fn tenant_name(name: &str) -> Result<TenantName, Error> {
    name.parse::<TenantName>().map_err(|error| Error::NotThere(error.to_string()))
}

fn known_store(app: &App, name: &str) -> Result<Arc<KvStore>, Error> {
    let id = format!("{}/{name}", app.name);
    let store = app.kv_stores.iter().find(|store| *store.id == *id);
    store.cloned().ok_or_else(|| {
        let known = app.kv_stores.iter().filter_map(|store| store.id.split('/').nth(1));
        let known: Vec<&str> = known.collect();
        let known = match known.is_empty() {
            true => "its manifest has no table `[kv.NAME]`".to_owned(),
            false => format!("it has {}", known.join(", ")),
        };
        Error::NotThere(format!("app `{}` has no kv store {name:?}: {known}", app.name))
    })
}
