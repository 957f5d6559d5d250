//! `lacewing state`: checks and copies of a state directory that no host has open.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use lacewing_manifest::config::STATE_DIR;
use lacewing_store::embedded::{EmbeddedOptions, EmbeddedStore};

use super::{Error, ExitCode, console::Console, print_result};

const EXAMPLES: &str = "\
Examples:
  lacewing state check                          of the app in this directory
  lacewing state check --state /var/lib/lacewing
  lacewing state backup /backups/monday

A running host locks its state directory. Stop the host first.";

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
        dir: DirArgs,
    },
    /// Copy the state into a new directory, which a host can use as it is.
    Backup {
        /// The new directory.
        #[arg(value_hint = ValueHint::DirPath)]
        to: PathBuf,
        /// Which.
        #[command(flatten)]
        dir: DirArgs,
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
}

impl DirArgs {
    fn open(&self) -> Result<EmbeddedStore, Error> {
        if !self.path.is_dir() {
            let message = format!("there is no state directory {}", self.path.display());
            return Err(Error::NotThere(message));
        }
        Ok(EmbeddedStore::open(&self.path, EmbeddedOptions::default())?)
    }
}

pub(super) fn run(args: &StateArgs, console: &Console) -> Result<ExitCode, Error> {
    match &args.command {
        StateCommand::Check { dir } => check(&dir.open()?, console),
        StateCommand::Backup { to, dir } => {
            let copied =
                dir.open()?.back_up(to).map_err(|error| Error::State(error.to_string()))?;
            let tenants: Vec<&str> = copied.iter().map(|tenant| tenant.as_str()).collect();
            print_result(&format!("{}: {}\n", to.display(), tenants.join(", ")))?;
            Ok(ExitCode::Success)
        }
    }
}

fn check(store: &EmbeddedStore, console: &Console) -> Result<ExitCode, Error> {
    let mut code = ExitCode::Success;
    for tenant in store.tenants().map_err(Error::Input)? {
        match store.inspect(&tenant) {
            Ok(inspection) => {
                for used in &inspection.stores {
                    let entries = match used.entries {
                        1 => "1 entry".to_owned(),
                        entries => format!("{entries} entries"),
                    };
                    print_result(&format!(
                        "{tenant}: {}: {entries}, {} bytes\n",
                        used.id, used.bytes
                    ))?;
                }
                for fault in &inspection.faults {
                    console.error(&Error::State(format!("tenant `{tenant}`: {fault}")));
                    code = ExitCode::Failure;
                }
            }
            Err(error) => {
                console.error(&Error::State(format!("tenant `{tenant}`: {error}")));
                code = ExitCode::Failure;
            }
        }
    }
    Ok(code)
}
