//! `lacewing state`: checks and copies of a state directory, or of the state of a running host.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueHint};
use lacewing_base::name::TenantName;
use lacewing_control::{AdminClient, BackupOrder};
use lacewing_manifest::config::STATE_DIR;
use lacewing_store::embedded::{BackupError, EmbeddedStore, Stopper};

use super::{
    Error, ExitCode,
    console::Console,
    kv::counted_entries,
    opened::{OpenState, RemoteArgs},
    print_result,
};

const EXAMPLES: &str = "\
Examples:
  lacewing state check                          of the app in this directory
  lacewing state check --state /var/lib/lacewing
  lacewing state backup /backups/monday
  lacewing state backup /tmp/acme --tenant acme --state /var/lib/lacewing

A host that has the state open does the work, through its admin listener. A backup is of databases
that other programs may open.";

/// Arguments of `state`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StateArgs {
    #[command(subcommand)]
    command: StateCommand,
}

#[derive(Debug, Subcommand)]
enum StateCommand {
    /// Read all of the state, and print its size or its faults.
    Check {
        /// Which.
        #[command(flatten)]
        place: DirArgs,
    },
    /// Copy the state into a new directory, which a host can use as it is.
    Backup {
        /// The new directory. With `--url`, an empty one on the host's machine.
        #[arg(value_hint = ValueHint::DirPath)]
        to: PathBuf,
        /// The only tenant to copy [default: all]
        #[arg(long)]
        tenant: Option<TenantName>,
        /// Which.
        #[command(flatten)]
        place: DirArgs,
    },
}

#[derive(Debug, Args)]
struct DirArgs {
    /// The state directory.
    #[arg(
        long = "state",
        value_name = "DIR",
        env = "LACEWING_STATE",
        default_value = STATE_DIR,
        value_hint = ValueHint::DirPath
    )]
    path: PathBuf,
    #[command(flatten)]
    remote: RemoteArgs,
}

impl DirArgs {
    fn open(&self) -> Result<OpenState, Error> {
        let remote = self.remote.client()?.map(OpenState::Host);
        remote.map_or_else(|| OpenState::open(&self.path), Ok)
    }
}

pub(super) fn run(args: &StateArgs, console: &Console) -> Result<ExitCode, Error> {
    match &args.command {
        StateCommand::Check { place } => match place.open()? {
            OpenState::Directory(store) => check_directory(&store, console),
            OpenState::Host(client) => check_host(&client, console),
        },
        StateCommand::Backup { to, tenant, place } => {
            let tenants = match place.open()? {
                OpenState::Directory(store) => back_up_directory(&store, tenant.as_ref(), to)?,
                OpenState::Host(client) => {
                    let is_remote = place.remote.is_there();
                    back_up_host(&client, tenant.as_ref(), to, is_remote)?
                }
            };
            print_result(&format!("{}: {}\n", to.display(), tenants.join(", ")))?;
            Ok(ExitCode::Success)
        }
    }
}

fn check_directory(store: &EmbeddedStore, console: &Console) -> Result<ExitCode, Error> {
    let mut code = ExitCode::Success;
    for tenant in store.tenants().map_err(Error::Input)? {
        let (stores, faults) = match store.inspect(&tenant, &Stopper::default()) {
            Ok(found) => (found.stores, found.faults),
            Err(error) => (Vec::new(), vec![error.to_string()]),
        };
        let sizes = stores.into_iter().map(|used| (used.id, used.entries, used.bytes));
        code = report(code, tenant.as_str(), sizes, &faults, console)?;
    }
    Ok(code)
}

fn check_host(client: &AdminClient, console: &Console) -> Result<ExitCode, Error> {
    let (mut code, mut after) = (ExitCode::Success, None);
    loop {
        let page = client.tenants(after.as_deref())?;
        for tenant in &page.tenants {
            let found = client.check(tenant)?;
            let sizes = found.stores.into_iter().map(|used| (used.id, used.entries, used.bytes));
            code = report(code, tenant, sizes, &found.faults, console)?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(code);
        }
    }
}

/// Prints the sizes of a tenant's stores, and the faults of its state.
fn report(
    code: ExitCode,
    tenant: &str,
    sizes: impl Iterator<Item = (String, u64, u64)>,
    faults: &[String],
    console: &Console,
) -> Result<ExitCode, Error> {
    for (id, entries, bytes) in sizes {
        let entries = counted_entries(entries);
        print_result(&format!("{tenant}: {id}: {entries}, {bytes} bytes\n"))?;
    }
    for fault in faults {
        console.error(&Error::State(format!("tenant `{tenant}`: {fault}")));
    }
    Ok(if faults.is_empty() { code } else { ExitCode::Failure })
}

fn back_up_directory(
    store: &EmbeddedStore,
    tenant: Option<&TenantName>,
    to: &Path,
) -> Result<Vec<String>, Error> {
    let mut tenants = store.tenants().map_err(Error::Input)?;
    if let Some(only) = tenant {
        tenants.retain(|tenant| tenant == only);
        if tenants.is_empty() {
            return Err(Error::NotThere(format!("tenant `{only}` has no state")));
        }
    }
    store.back_up(&tenants, to, &Stopper::default()).map_err(failed)?;
    Ok(tenants.iter().map(ToString::to_string).collect())
}

fn failed(error: BackupError) -> Error {
    Error::State(error.to_string())
}

/// Has a host copy into a directory, which this command makes if the host is on this machine.
fn back_up_host(
    client: &AdminClient,
    tenant: Option<&TenantName>,
    to: &Path,
    is_remote: bool,
) -> Result<Vec<String>, Error> {
    let tenant = tenant.map(ToString::to_string);
    let order = |directory: &Path| {
        let directory = directory.to_string_lossy().into_owned();
        BackupOrder { directory, tenant: tenant.clone() }
    };
    if is_remote {
        return Ok(client.back_up(&order(to))?.tenants);
    }
    let system = |error| failed(BackupError::System { path: to.to_owned(), error });
    let is_made = !to.is_dir();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to).map_err(system)?;
    if fs::read_dir(to).map_err(system)?.next().is_some() {
        return Err(failed(BackupError::NotEmpty { path: to.to_owned() }));
    }
    let directory = fs::canonicalize(to).map_err(system)?;
    if directory.to_str().is_none() {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "its path is not UTF-8");
        return Err(system(error));
    }
    client.back_up(&order(&directory)).map(|backup| backup.tenants).map_err(|error| {
        if is_made {
            // Empty, unless the host is still at it.
            let _ = fs::remove_dir(to);
        }
        error.into()
    })
}
