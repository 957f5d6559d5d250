//! `lacewing kv`: entries of key-value stores, in a state directory or of a running host.

mod entries;
mod place;

use std::io::{self, Read};

use clap::{Args, Subcommand};
use lacewing_base::{KvStore, name::TenantName};
use lacewing_control::{StoreDocument, StorePage};
use lacewing_telemetry::displayed;

use self::entries::OpenStore;
use super::{
    Error, ExitCode,
    console::Console,
    place::{PlaceArgs, use_of},
    print_bytes, print_result,
};

const EXAMPLES: &str = "\
Examples:
  lacewing kv stores                            the stores of the app in this directory
  lacewing kv list users                        the keys of a store
  lacewing kv get users ada                     a value, as it is
  lacewing kv set users ada '{\"name\":\"Ada\"}'
  lacewing kv set users ada - < ada.json        the value from standard input
  lacewing kv list shop/users --host host.toml --tenant acme
  lacewing kv list shop/users --url http://127.0.0.1:9180 --tenant acme

A host that has the state open does the work, through its admin listener.";

/// Arguments of `kv`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct KvArgs {
    #[command(subcommand)]
    command: KvCommand,
}

#[derive(Debug, Subcommand)]
enum KvCommand {
    /// Print the stores, and what each uses of its quota.
    Stores {
        /// Where they are.
        #[command(flatten)]
        place: PlaceArgs,
    },
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
        /// The store: NAME, or APP/NAME with `--host` or `--url`.
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
    /// The store: NAME, or APP/NAME with `--host` or `--url`.
    store: String,
    /// The key.
    key: String,
    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn run(args: &KvArgs, console: &Console) -> Result<ExitCode, Error> {
    match &args.command {
        KvCommand::Stores { place } => print_stores(place::stores(place, console)?)?,
        KvCommand::Get { entry: EntryArgs { store, key, place } } => {
            match place::open(place, store, console)?.get(key)? {
                Some(value) => print_bytes(&value)?,
                None => return Err(no_entry(key, store)),
            }
        }
        KvCommand::Set { entry: EntryArgs { store, key, place }, value, expires_in_s } => {
            let value = match value.as_str() {
                "-" => from_stdin()?,
                value => value.as_bytes().to_vec(),
            };
            place::open(place, store, console)?.set(key, value, *expires_in_s)?;
        }
        KvCommand::List { store, prefix, place } => {
            list(place::open(place, store, console)?, prefix)?;
        }
        KvCommand::Delete { entry: EntryArgs { store, key, place } } => {
            if !place::open(place, store, console)?.delete(key)? {
                return Err(no_entry(key, store));
            }
        }
    }
    Ok(ExitCode::Success)
}

/// One line for each store, and one for all of them.
fn print_stores((tenant, pages): (TenantName, Vec<StorePage>)) -> Result<(), Error> {
    for page in pages {
        for StoreDocument { app, name, entries, used_bytes, max_bytes, .. } in page.stores {
            let (entries, used) = (counted_entries(entries), use_of(used_bytes, max_bytes));
            print_result(&format!("{app}/{name}: {entries}, {used}\n"))?;
        }
        if page.next.is_none() {
            print_result(&format!("{tenant}: {}\n", use_of(page.used_bytes, page.max_bytes)))?;
        }
    }
    Ok(())
}

/// A number of entries, in words.
pub(super) fn counted_entries(entries: u64) -> String {
    match entries {
        1 => "1 entry".to_owned(),
        entries => format!("{entries} entries"),
    }
}

fn list(open: OpenStore, prefix: &str) -> Result<(), Error> {
    let mut keys = open.keys(prefix);
    while let Some(page) = keys.next_page()? {
        let lines: String = page.iter().map(|key| format!("{}\n", displayed(key))).collect();
        print_result(&lines)?;
    }
    Ok(())
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
