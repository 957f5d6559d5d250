//! `lacewing schema`.

use clap::Args;
use lacewing_manifest::{self as manifest, config};

use super::{Error, ExitCode, print_result};

const EXAMPLES: &str = "\
Examples:
  lacewing schema > lacewing.schema.json
  lacewing schema --host > host.schema.json

Editors with a TOML language server find it through the first line of a lacewing.toml:
  #:schema ./lacewing.schema.json";

/// Arguments of `schema`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SchemaArgs {
    /// That of a host file, which `up --host` serves.
    #[arg(long)]
    host: bool,
}

pub(super) fn run(args: &SchemaArgs) -> Result<ExitCode, Error> {
    let schema = if args.host { config::json_schema() } else { manifest::json_schema() };
    print_result(&format!("{schema:#}\n"))?;
    Ok(ExitCode::Success)
}
