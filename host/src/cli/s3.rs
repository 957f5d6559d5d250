//! `lacewing s3`: the access keys of the S3 API, also while a host runs.

use std::{collections::BTreeSet, path::PathBuf};

use clap::{Args, Subcommand, ValueHint};
use lacewing_base::{Access, SecretName};
use lacewing_control::{ListedS3Key, S3AccessKey, S3KeyFolder};
use lacewing_manifest::Diagnostic;

use super::{
    Error, ExitCode,
    bucket::objects::check,
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

/// The keys of a tenant.
struct Place {
    keys: S3KeyFolder,
    found: FoundTenant,
    is_host: bool,
}

impl PlaceArgs {
    fn find(&self, console: &Console) -> Result<Place, Error> {
        let (found, is_host) = match (&self.host, &self.tenant) {
            (Some(host), Some(tenant)) => (FoundTenant::of_host(host, tenant)?, true),
            _ => (FoundTenant::of_app(&self.app, console)?, false),
        };
        let found = found.with_state(self.state.as_ref());
        let keys = S3KeyFolder::at(&found.dir, &found.name);
        Ok(Place { keys, found, is_host })
    }
}

impl Place {
    /// The bucket of a name, as clients say it. A bucket that is not there gives a warning, because
    /// a client with the key may make the bucket.
    fn bucket(&self, name: &str, console: &Console) -> String {
        let app = self.found.apps.first().filter(|_| !self.is_host);
        let name = full_name(app, name);
        if let Err(error) = check(&self.found, &name) {
            let message = format!("the key is for a bucket that is not known: {error}");
            let help = "a client of S3 makes the bucket; or remove the key with `lacewing s3 remove-key`, and make another";
            console.finding(&Diagnostic::warning(message).help(help));
        }
        name
    }
}

pub(super) fn run(args: &S3Args, console: &Console) -> Result<ExitCode, Error> {
    match &args.command {
        S3Command::CreateKey { bucket, read_only, place } => {
            let place = place.find(console)?;
            let buckets: Vec<String> =
                bucket.iter().map(|name| place.bucket(name, console)).collect();
            let buckets = Some(buckets).filter(|buckets| !buckets.is_empty());
            let access = if *read_only { Access::Read } else { Access::ReadWrite };
            let (id, key) = place.keys.create(buckets, access)?;
            print_result(&format!("access key: {id}\nsecret key: {}\n", key.secret))?;
        }
        S3Command::ListKeys { place } => {
            let keys = place.find(console)?.keys.list()?;
            print_result(&keys.iter().map(line).collect::<String>())?;
            // One reason may hold for all keys.
            let reasons = keys.iter().filter_map(|listed| listed.key.as_ref().err());
            let reasons: BTreeSet<String> = reasons.map(ToString::to_string).collect();
            reasons.iter().for_each(|reason| console.warning(reason));
        }
        S3Command::RemoveKey { id, place } => {
            if !place.find(console)?.keys.remove(id)? {
                return Err(Error::State(format!("there is no access key `{id}`")));
            }
        }
    }
    Ok(ExitCode::Success)
}

/// The rights of a key, after its id.
fn line(ListedS3Key { id, key }: &ListedS3Key) -> String {
    match key {
        Ok(S3AccessKey { access, buckets: Some(buckets), .. }) => {
            format!("{id}  {access}  {}\n", buckets.join(", "))
        }
        Ok(S3AccessKey { access, buckets: None, .. }) => format!("{id}  {access}  all buckets\n"),
        Err(_) => format!("{id}  does not open\n"),
    }
}
