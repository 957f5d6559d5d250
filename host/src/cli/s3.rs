//! `lacewing s3`: the access keys of the S3 API, also while a host runs.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use lacewing_base::{Access, SecretName};
use lacewing_control::{S3AccessKey, S3KeyFolder};
use lacewing_manifest::App;

use super::{
    Error, ExitCode,
    console::Console,
    print_result,
    tenant::{FoundTenant, full_name},
};

const EXAMPLES: &str = "\
Examples:
  lacewing s3 create-key                              for all buckets of the app in this directory
  lacewing s3 create-key --bucket uploads --read-only
  lacewing s3 list-keys
  lacewing s3 remove-key LWQ2JDH5X6KDMZVY3A_LOCAL
  lacewing s3 create-key --host host.toml --tenant acme --bucket shop.uploads

`lacewing up --s3 127.0.0.1:9000` serves the buckets. A running host takes a new key at once.";

/// Arguments of `s3`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct S3Args {
    #[command(subcommand)]
    command: S3Command,
}

#[derive(Debug, Subcommand)]
enum S3Command {
    /// Make an access key, and print its id and its secret.
    CreateKey {
        /// A bucket that the key may use; may be given several times [default: all of the tenant]
        #[arg(long, value_name = "NAME")]
        bucket: Vec<String>,
        /// The key may only read.
        #[arg(long)]
        read_only: bool,
        /// Whose.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Print the ids of the access keys, and the rights of each.
    ListKeys {
        /// Whose.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Remove an access key.
    RemoveKey {
        /// The id of the key.
        id: SecretName,
        /// Whose.
        #[command(flatten)]
        place: PlaceArgs,
    },
}

/// The tenant whose keys they are, and the state directory.
#[derive(Debug, Args)]
struct PlaceArgs {
    /// The app: a directory with a lacewing.toml, or such a file.
    #[arg(long, value_name = "PATH", default_value = ".", value_hint = ValueHint::AnyPath)]
    app: PathBuf,
    /// A host file, for the keys of one of its tenants.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "tenant", conflicts_with = "app")]
    host: Option<PathBuf>,
    /// The tenant of the host file.
    #[arg(long, requires = "host")]
    tenant: Option<String>,
    /// The state directory [default: that of the app or the host file]
    #[arg(long, value_name = "DIR", env = "LACEWING_STATE", value_hint = ValueHint::DirPath)]
    state: Option<PathBuf>,
}

/// The keys of a tenant, and the app whose buckets may be named without it.
struct Place {
    keys: S3KeyFolder,
    app: Option<App>,
}

impl PlaceArgs {
    fn find(&self, console: &Console) -> Result<Place, Error> {
        let (found, is_host) = match (&self.host, &self.tenant) {
            (Some(host), Some(tenant)) => (FoundTenant::of_host(host, tenant)?, true),
            _ => (FoundTenant::of_app(&self.app, console)?, false),
        };
        let found = found.with_state(self.state.as_ref());
        let keys = S3KeyFolder::at(&found.dir, &found.name);
        Ok(Place { keys, app: found.apps.into_iter().next().filter(|_| !is_host) })
    }
}

pub(super) fn run(args: &S3Args, console: &Console) -> Result<ExitCode, Error> {
    match &args.command {
        S3Command::CreateKey { bucket, read_only, place } => {
            let place = place.find(console)?;
            let buckets: Vec<String> =
                bucket.iter().map(|name| full_name(place.app.as_ref(), name)).collect();
            let buckets = Some(buckets).filter(|buckets| !buckets.is_empty());
            let access = if *read_only { Access::Read } else { Access::ReadWrite };
            let (id, key) = place.keys.create(buckets, access)?;
            print_result(&format!("access key: {id}\nsecret key: {}\n", key.secret))?;
        }
        S3Command::ListKeys { place } => {
            let keys = place.find(console)?.keys.list()?;
            let line = |(id, key): &(SecretName, S3AccessKey)| {
                let buckets = match &key.buckets {
                    Some(buckets) => buckets.join(", "),
                    None => "all buckets".to_owned(),
                };
                format!("{id}  {}  {buckets}\n", key.access)
            };
            print_result(&keys.iter().map(line).collect::<String>())?;
        }
        S3Command::RemoveKey { id, place } => {
            if !place.find(console)?.keys.remove(id)? {
                return Err(Error::State(format!("there is no access key `{id}`")));
            }
        }
    }
    Ok(ExitCode::Success)
}
