//! `lacewing kv`: entries of key-value stores, in a state directory that no host has open.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, Subcommand, ValueHint};
use lacewing_base::{KvStore, name::TenantName};
use lacewing_manifest::{
    App,
    config::{HostFile, STATE_DIR},
};
use lacewing_store::{
    CommitError, EffectLimits, StateStore, Transaction,
    embedded::{EmbeddedOptions, EmbeddedStore},
    kv::{Condition, KvError, MAX_KEYS},
};
use lacewing_telemetry::displayed;

use super::{Error, ExitCode, console::Console, load_app, print_bytes, print_result};

const EXAMPLES: &str = "\
Examples:
  lacewing kv list users                        the keys of a store of the app in this directory
  lacewing kv get users ada                     a value, as it is
  lacewing kv set users ada '{\"name\":\"Ada\"}'
  lacewing kv set users ada - < ada.json        the value from standard input
  lacewing kv list shop/users --host host.toml --tenant acme

A running host locks its state directory. Stop the host first.";

/// Arguments of `kv`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct KvArgs {
    #[command(subcommand)]
    command: KvCommand,
}

#[derive(Debug, Subcommand)]
enum KvCommand {
    /// Print the value of a key.
    Get {
        /// The store and the key.
        #[command(flatten)]
        entry: EntryArgs,
    },
    /// Set the value of a key.
    Set {
        /// The store and the key.
        #[command(flatten)]
        entry: EntryArgs,
        /// The value, or `-` for standard input.
        value: String,
        /// Seconds after which the entry is gone [default: it stays]
        #[arg(long, value_name = "SECONDS")]
        expires_in_s: Option<u64>,
    },
    /// Print the keys of a store, one on each line.
    List {
        /// The store: NAME, or APP/NAME with `--host`.
        store: String,
        /// Only keys that begin so.
        #[arg(default_value = "")]
        prefix: String,
        /// Where the store is.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Delete the entry of a key.
    Delete {
        /// The store and the key.
        #[command(flatten)]
        entry: EntryArgs,
    },
}

#[derive(Debug, Args)]
struct EntryArgs {
    /// The store: NAME, or APP/NAME with `--host`.
    store: String,
    /// The key.
    key: String,
    #[command(flatten)]
    place: PlaceArgs,
}

/// The state directory, and the app or tenant in it.
#[derive(Debug, Args)]
struct PlaceArgs {
    /// The app whose store it is: a directory with a lacewing.toml, or such a file.
    #[arg(long, value_name = "PATH", default_value = ".", value_hint = ValueHint::AnyPath)]
    app: PathBuf,
    /// A host file, for a store of one of its tenants.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "tenant", conflicts_with = "app")]
    host: Option<PathBuf>,
    /// The tenant of the host file.
    #[arg(long, requires = "host")]
    tenant: Option<String>,
    /// The state directory [default: that of the app or the host file]
    #[arg(long, value_name = "DIR", env = "LACEWING_STATE", value_hint = ValueHint::DirPath)]
    state: Option<PathBuf>,
}

/// A store that is open.
struct OpenStore {
    // Locks the directory.
    _embedded: EmbeddedStore,
    transaction: Transaction,
    store: Arc<KvStore>,
}

impl PlaceArgs {
    fn open(&self, store: &str, console: &Console) -> Result<OpenStore, Error> {
        let (dir, tenant, store) = match (&self.host, &self.tenant) {
            (Some(host), Some(tenant)) => self.of_host(host, tenant, store)?,
            _ => self.of_app(store, console)?,
        };
        if !dir.is_dir() {
            let message = format!("there is no state directory {}", dir.display());
            return Err(Error::NotThere(message));
        }
        let embedded = EmbeddedStore::open(&dir, EmbeddedOptions::default())?;
        // A person may fill a store as far as the store itself allows.
        let state = embedded.tenant(&tenant, u64::MAX);
        let limits = EffectLimits { count: 1, bytes: u64::MAX };
        Ok(OpenStore { _embedded: embedded, transaction: Transaction::new(state, limits), store })
    }

    fn of_app(
        &self,
        store: &str,
        console: &Console,
    ) -> Result<(PathBuf, TenantName, Arc<KvStore>), Error> {
        let app = load_app(&self.app, console)?;
        let dir = self.state.clone().unwrap_or_else(|| app.root.join(STATE_DIR));
        let tenant = "local".parse::<TenantName>();
        let tenant = tenant.map_err(|error| Error::NotThere(error.to_string()))?;
        Ok((dir, tenant, known_store(&app, store)?))
    }

    fn of_host(
        &self,
        host: &Path,
        tenant: &str,
        store: &str,
    ) -> Result<(PathBuf, TenantName, Arc<KvStore>), Error> {
        let (file, _) = HostFile::load(host).map_err(Error::Manifest)?;
        let known = file.tenants.iter().find(|known| known.name.as_str() == tenant);
        let known = known.ok_or_else(|| {
            Error::NotThere(format!("{} has no tenant {tenant:?}", host.display()))
        })?;
        let Some((app, name)) = store.split_once('/') else {
            let message = format!("a store of a tenant is APP/NAME, not {store:?}");
            return Err(Error::NotThere(message));
        };
        let app = known
            .apps
            .iter()
            .find(|known| known.name.as_str() == app)
            .ok_or_else(|| Error::NotThere(format!("tenant `{tenant}` has no app {app:?}")))?;
        let dir = self.state.clone().or(file.settings.state_dir).unwrap_or_default();
        Ok((dir, known.name.clone(), known_store(app, name)?))
    }
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

impl OpenStore {
    fn commit(self) -> Result<(), Error> {
        let Some((state, changes)) = self.transaction.into_changes() else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let committed = runtime.map_err(Error::System)?.block_on(state.commit(changes));
        committed.map(drop).map_err(Error::from)
    }
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

pub(super) fn run(args: &KvArgs, console: &Console) -> Result<ExitCode, Error> {
    match &args.command {
        KvCommand::Get { entry: EntryArgs { store, key, place } } => {
            let mut open = place.open(store, console)?;
            match open.transaction.get(&open.store, key)? {
                Some(entry) => print_bytes(&entry.value)?,
                None => return Err(no_entry(key, store)),
            }
        }
        KvCommand::Set { entry: EntryArgs { store, key, place }, value, expires_in_s } => {
            let value = match value.as_str() {
                "-" => from_stdin()?,
                value => value.as_bytes().to_vec(),
            };
            let mut open = place.open(store, console)?;
            let ttl = expires_in_s.map(Duration::from_secs);
            open.transaction.set(&open.store, key, value, ttl, Condition::Any)?;
            open.commit()?;
        }
        KvCommand::List { store, prefix, place } => {
            list(place.open(store, console)?, prefix)?;
        }
        KvCommand::Delete { entry: EntryArgs { store, key, place } } => {
            let mut open = place.open(store, console)?;
            if !open.transaction.delete(&open.store, key, Condition::Any)? {
                return Err(no_entry(key, store));
            }
            open.commit()?;
        }
    }
    Ok(ExitCode::Success)
}

fn list(mut open: OpenStore, prefix: &str) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = open.transaction.list(&open.store, prefix, after.as_deref(), MAX_KEYS)?;
        let lines: String = page.keys.iter().map(|key| format!("{}\n", displayed(key))).collect();
        print_result(&lines)?;
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

fn no_entry(key: &str, store: &str) -> Error {
    Error::State(format!("there is no entry {key:?} in the kv store `{store}`"))
}

/// All of standard input, as far as a value may be long.
fn from_stdin() -> Result<Vec<u8>, Error> {
    let mut value = Vec::new();
    let most = KvStore::MAX_VALUE_BYTES + 1;
    io::stdin().lock().take(most).read_to_end(&mut value).map_err(Error::Input)?;
    Ok(value)
}
