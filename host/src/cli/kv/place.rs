//! The store that a command names, and the stores of a tenant.

use std::sync::Arc;

use lacewing_base::{KvStore, name::TenantName};
use lacewing_control::{AdminClient, StorePage, merged_stores};
use lacewing_manifest::App;

use super::OpenStore;
use crate::cli::{
    Error,
    console::Console,
    opened::OpenState,
    place::{Place, PlaceArgs, state_of},
    tenant::FoundTenant,
};

/// Opens the store of a name.
pub(super) fn open(place: &PlaceArgs, store: &str, console: &Console) -> Result<OpenStore, Error> {
    let (found, known) = match place.find(console)? {
        Place::Remote(client, tenant) => {
            let store = remote_store(store)?;
            return Ok(OpenStore::new(OpenState::Host(client), tenant, store));
        }
        Place::App(found) => {
            let app = found.apps.first();
            let known = app.map_or_else(|| Err(not_named(store)), |app| known_store(app, store))?;
            (found, known)
        }
        Place::Host(found) => {
            let known = store_of_host(&found, store)?;
            (found, known)
        }
    };
    Ok(OpenStore::new(OpenState::open(&found.dir)?, found.name, known))
}

/// All stores of a tenant, in pages, with the tenant's name.
pub(super) fn stores(
    place: &PlaceArgs,
    console: &Console,
) -> Result<(TenantName, Vec<StorePage>), Error> {
    place.pages(
        console,
        AdminClient::stores,
        |page| &page.next,
        |embedded, found| {
            let used = match state_of(embedded, &found.name) {
                Some(state) => state.snapshot()?.stores()?,
                None => Vec::new(),
            };
            let known: Vec<_> = found.apps.iter().flat_map(|app| &app.kv_stores).collect();
            Ok(StorePage {
                // Buckets are charged to the same quota.
                used_bytes: used.iter().map(|store| store.bytes).sum(),
                stores: merged_stores(&known, &used),
                max_bytes: Some(found.quota.state_bytes),
                next: None,
            })
        },
    )
}

/// The store of a name of the form APP/NAME.
fn store_of_host(found: &FoundTenant, name: &str) -> Result<Arc<KvStore>, Error> {
    let (app, name) = name.split_once('/').ok_or_else(|| not_named(name))?;
    let known = found.apps.iter().find(|known| known.name.as_str() == app);
    let known = known
        .ok_or_else(|| Error::NotThere(format!("tenant `{}` has no app {app:?}", found.name)))?;
    known_store(known, name)
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
