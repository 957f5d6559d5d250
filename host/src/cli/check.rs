//! `lacewing check`: an app's manifest and components against each other, without a server.

use std::path::PathBuf;

use clap::{Args, ValueHint};

const EXAMPLES: &str = "\
Examples:
  lacewing check                  the app in this directory
  lacewing check hello.wasm       a component alone: what it exports and imports
  lacewing check --json           the findings, with file, line and column, for an editor or a script";

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// A directory with a lacewing.toml, such a file, or a component.
    #[arg(default_value = ".", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,

    /// Fail on warnings too.
    #[arg(long)]
    pub deny_warnings: bool,

    /// Print the findings as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}
