//! `lacewing completions SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Error, ExitCode, print_result};

const EXAMPLES: &str = "\
Examples:
  lacewing completions bash > ~/.local/share/bash-completion/completions/lacewing
  lacewing completions zsh > ~/.zfunc/_lacewing
  lacewing completions fish > ~/.config/fish/completions/lacewing.fish";

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell that will read them.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lacewing", &mut script);
    print_result(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Success)
}
