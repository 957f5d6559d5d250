//! `lacewing secret`: the secrets of an app, also while a host runs.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand, ValueHint};
use lacewing_base::{SecretName, name::AppName, secret::MAX_SECRET_BYTES};
use lacewing_store::secrets::{Secret, SecretError, SecretFolder, SecretStore};
use lacewing_telemetry::rfc3339;
use zeroize::Zeroizing;

use super::{Error, ExitCode, console::Console, print_result, tenant::FoundTenant};

const EXAMPLES: &str = "\
Examples:
  lacewing secret set STRIPE_KEY                   asks for the value, and does not show it
  lacewing secret set STRIPE_KEY < stripe.key      the value from standard input
  lacewing secret set STRIPE_KEY --file stripe.key
  lacewing secret list
  lacewing secret set STRIPE_KEY --host host.toml --tenant acme --app shop

A value is text of up to 64 KiB. One line feed at its end is no part of the value. A running host
gives the new value to the next invocation.";

/// Arguments of `secret`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SecretArgs {
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    /// Set a secret. The value comes from standard input or a file, and is no argument: other users
    /// see the arguments of a process.
    Set {
        /// The name, such as STRIPE_KEY.
        name: SecretName,
        /// A file with the value [default: standard input]
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// Whose.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Print the names of the secrets that are set, and of those that functions are granted.
    List {
        /// Whose.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Remove a secret.
    Remove {
        /// The name.
        name: SecretName,
        /// Whose.
        #[command(flatten)]
        place: PlaceArgs,
    },
}

/// The app whose secrets they are, and the state directory.
#[derive(Debug, Args)]
struct PlaceArgs {
    /// The app: a directory with a lacewing.toml, or such a file; with `--host` the app's name.
    #[arg(long, value_name = "PATH|NAME", default_value = ".", value_hint = ValueHint::AnyPath)]
    app: PathBuf,
    /// A host file, for an app of one of its tenants.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "tenant")]
    host: Option<PathBuf>,
    /// The tenant of the host file.
    #[arg(long, requires = "host")]
    tenant: Option<String>,
    /// The state directory [default: that of the app or the host file]
    #[arg(long, value_name = "DIR", env = "LACEWING_STATE", value_hint = ValueHint::DirPath)]
    state: Option<PathBuf>,
}

/// The secrets of an app, and the grants for them.
struct Place {
    app: AppName,
    secrets: SecretFolder,
    /// The functions that are granted each secret.
    granted: BTreeMap<SecretName, Vec<String>>,
}

impl PlaceArgs {
    fn find(&self, console: &Console) -> Result<Place, Error> {
        let (found, named) = match (&self.host, &self.tenant) {
            (Some(host), Some(tenant)) => {
                (FoundTenant::of_host(host, tenant)?, Some(self.app.to_str().unwrap_or_default()))
            }
            _ => (FoundTenant::of_app(&self.app, console)?, None),
        };
        let FoundTenant { name: tenant, apps, dir, .. } = found.with_state(self.state.as_ref());
        let names: Vec<_> = apps.iter().map(|app| app.name.to_string()).collect();
        let app = apps.into_iter().find(|app| named.is_none_or(|name| app.name.as_str() == name));
        let app = app.ok_or_else(|| {
            let help = names.join(", ");
            Error::NotThere(match named.unwrap_or_default() {
                "." => format!("name an app of tenant `{tenant}` with `--app`: {help}"),
                name => {
                    format!("tenant `{tenant}` has no app {name:?}; name one with `--app`: {help}")
                }
            })
        })?;
        let mut granted: BTreeMap<SecretName, Vec<String>> = BTreeMap::new();
        for function in &app.functions {
            for name in &function.grants.secrets {
                granted.entry(name.value.clone()).or_default().push(function.name.to_string());
            }
        }
        let secrets = Arc::new(SecretStore::at(&dir)).app(&tenant, &app.name);
        Ok(Place { app: app.name, secrets, granted })
    }
}

pub(super) fn run(args: &SecretArgs, console: &Console) -> Result<ExitCode, Error> {
    match &args.command {
        SecretCommand::Set { name, file, place } => {
            let place = place.find(console)?;
            let value = match file {
                Some(file) => read(&mut File::open(file).map_err(|error| unread(file, &error))?)?,
                None if io::stdin().is_terminal() => asked(name)?,
                None => read(&mut io::stdin().lock())?,
            };
            place.secrets.set(name, &Secret::new(value)?)?;
            if !place.granted.contains_key(name) {
                let app = &place.app;
                console.warning(format_args!(
                    "no function of app `{app}` is granted `{name}`: add it to `grants.secrets` of a function"
                ));
            }
        }
        SecretCommand::List { place } => list(&place.find(console)?)?,
        SecretCommand::Remove { name, place } => {
            let place = place.find(console)?;
            if !place.secrets.remove(name)? {
                let text = format!("app `{}` has no secret `{name}`", place.app);
                return Err(Error::State(text));
            }
        }
    }
    Ok(ExitCode::Success)
}

/// A line for each secret: the name, when it was set, and the functions that may read it.
fn list(place: &Place) -> Result<(), Error> {
    let mut rows: BTreeMap<SecretName, String> = BTreeMap::new();
    for name in place.granted.keys() {
        rows.insert(name.clone(), "not set".to_owned());
    }
    for secret in place.secrets.list()? {
        rows.insert(secret.name, format!("set {}", rfc3339(secret.set)));
    }
    let lines = rows.iter().map(|(name, set)| {
        let functions = match place.granted.get(name) {
            Some(functions) => format!("granted to {}", functions.join(", ")),
            None => "granted to no function".to_owned(),
        };
        format!("{name}  {set}  {functions}\n")
    });
    print_result(&lines.collect::<String>())
}

/// The value from a person at a terminal, which does not show it.
fn asked(name: &SecretName) -> Result<String, Error> {
    let terminal = ::console::Term::stderr();
    terminal.write_str(&format!("value of {name} (not shown): ")).map_err(Error::Input)?;
    terminal.read_secure_line().map_err(Error::Input)
}

/// A value from a file or a pipe, as far as a value may be long. One line feed at the end is no
/// part of it.
fn read(source: &mut dyn Read) -> Result<String, Error> {
    // Room for all of it: a buffer that grows would leave copies.
    let most = MAX_SECRET_BYTES + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    source.take(most as u64).read_to_end(&mut bytes).map_err(Error::Input)?;
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NotText)?;
    Ok(text.to_owned())
}

fn unread(file: &Path, error: &io::Error) -> Error {
    Error::Input(io::Error::new(error.kind(), format!("cannot read {}: {error}", file.display())))
}
