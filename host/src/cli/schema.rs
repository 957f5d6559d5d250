//! `lacewing schema`.

use clap::Args;

use super::{Error, ExitCode, print_result};
use crate::manifest::json_schema;

const EXAMPLES: &str = "\
Example:
  lacewing schema > lacewing.schema.json

Editors with a TOML language server find it through the first line of a lacewing.toml:
  #:schema ./lacewing.schema.json";

/// Arguments of `schema`: none.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SchemaArgs {}

pub(super) fn run() -> Result<ExitCode, Error> {
    print_result(&format!("{:#}\n", json_schema()))?;
    Ok(ExitCode::Success)
}
