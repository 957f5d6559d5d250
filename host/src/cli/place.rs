//! The place of a store or bucket: the tenant that it belongs to, and the state that it is in.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueHint};
use lacewing_base::name::TenantName;
use lacewing_control::{AdminClient, ClientError};
use lacewing_store::{
    CommitError, EffectLimits, StateStore, StoreError, TenantState, Transaction,
    embedded::EmbeddedStore, kv::KvError,
};

use super::{
    Error,
    console::Console,
    opened::{OpenState, RemoteArgs},
    tenant::{FoundTenant, LOCAL, tenant_name},
};

/// The state, and the app or tenant in it.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// The app whose state it is: a directory with a lacewing.toml, or such a file.
    #[arg(long, value_name = "PATH", default_value = ".", value_hint = ValueHint::AnyPath)]
    app: PathBuf,
    /// A host file, for the state of one of its tenants.
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

/// A place, before its state is opened.
pub(super) enum Place {
    /// The app that is served alone.
    App(FoundTenant),
    /// A tenant of a host file.
    Host(FoundTenant),
    /// A tenant of a running host, which is not asked for its manifests.
    Remote(AdminClient, TenantName),
}

impl PlaceArgs {
    pub(super) fn find(&self, console: &Console) -> Result<Place, Error> {
        if let Some(client) = self.remote.client()? {
            let tenant = tenant_name(self.tenant.as_deref().unwrap_or(LOCAL))?;
            return Ok(Place::Remote(client, tenant));
        }
        let state = self.state.as_ref();
        match (&self.host, &self.tenant) {
            (Some(host), Some(tenant)) => {
                Ok(Place::Host(FoundTenant::of_host(host, tenant)?.with_state(state)))
            }
            (None, Some(_)) => {
                let message =
                    "`--tenant` names a tenant of a host: add `--host FILE` or `--url URL`";
                Err(Error::NotThere(message.to_owned()))
            }
            (_, None) => Ok(Place::App(FoundTenant::of_app(&self.app, console)?.with_state(state))),
        }
    }

    /// All pages of a list of the tenant, with the tenant's name: those that a host gives, or the
    /// one that is made of a directory. `next` is where the page after one begins.
    pub(super) fn pages<P>(
        &self,
        console: &Console,
        of_host: fn(&AdminClient, &str, Option<&str>) -> Result<P, ClientError>,
        next: fn(&P) -> &Option<String>,
        of_directory: impl FnOnce(&EmbeddedStore, &FoundTenant) -> Result<P, Error>,
    ) -> Result<(TenantName, Vec<P>), Error> {
        let (client, tenant) = match self.find(console)? {
            Place::Remote(client, tenant) => (client, tenant),
            Place::App(found) | Place::Host(found) => match OpenState::open(&found.dir)? {
                OpenState::Host(client) => (client, found.name),
                OpenState::Directory(embedded) => {
                    let page = of_directory(&embedded, &found)?;
                    return Ok((found.name, vec![page]));
                }
            },
        };
        let mut pages = vec![of_host(&client, tenant.as_str(), None)?];
        while let Some(after) = pages.last().and_then(|page| next(page).as_deref()) {
            let page = of_host(&client, tenant.as_str(), Some(after))?;
            pages.push(page);
        }
        Ok((tenant, pages))
    }
}

/// A number of bytes, and the most that there may be, in words.
pub(super) fn use_of(used_bytes: u64, max_bytes: Option<u64>) -> String {
    match max_bytes {
        Some(max_bytes) => format!("{used_bytes} of {max_bytes} bytes"),
        None => format!("{used_bytes} bytes"),
    }
}

/// The state of a tenant in a directory; `None` where nothing was written. A look makes nothing.
pub(super) fn state_of(
    embedded: &EmbeddedStore,
    tenant: &TenantName,
) -> Option<Arc<dyn TenantState>> {
    embedded.has_state(tenant).then(|| embedded.tenant(tenant, u64::MAX))
}

/// A transaction of a person, who may fill a store as far as the store itself allows.
pub(super) fn transaction(embedded: &EmbeddedStore, tenant: &TenantName) -> Transaction {
    let state = embedded.tenant(tenant, u64::MAX);
    Transaction::new(state, EffectLimits { count: 1, bytes: u64::MAX })
}

pub(super) fn commit(transaction: Transaction) -> Result<(), Error> {
    let Some((state, changes)) = transaction.into_changes() else { return Ok(()) };
    finished(state.commit(changes))?.map(drop).map_err(Error::from)
}

/// What a future gives. This thread waits for it.
pub(super) fn finished<T>(future: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    Ok(runtime.map_err(Error::System)?.block_on(future))
}

impl From<KvError> for Error {
    fn from(error: KvError) -> Error {
        Error::State(error.to_string())
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Error {
        Error::State(error.to_string())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::State(error.to_string())
    }
}
