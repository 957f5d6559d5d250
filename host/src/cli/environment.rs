//! The environment variables of the command line: an empty one is unset, and an error about the
//! value of one names it.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Args, Command, ValueHint,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
};
use lacewing_manifest::config::{Settings, default_cache_dir};

/// The folder of artifacts, for commands that serve nothing.
#[derive(Clone, Debug, Default, Args)]
pub struct CacheArgs {
    /// The directory of compiled components [default: the user's cache directory]
    #[arg(long, value_name = "DIR", env = "LACEWING_CACHE_DIR", value_hint = ValueHint::DirPath)]
    pub cache_dir: Option<PathBuf>,
}

impl CacheArgs {
    /// The settings of a host without a host file.
    pub fn settings(&self) -> Settings {
        Settings::new(self.cache_dir.clone().unwrap_or_else(default_cache_dir))
    }
}

/// The command without its empty variables: compose files and units set them for want of a value.
pub(super) fn without_empty(command: Command) -> Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|v| v.is_empty());
    command.mut_subcommands(|command| {
        command.mut_args(|argument| match argument.get_env() {
            Some(name) if is_empty(name) => argument.env(Resettable::Reset),
            _ => argument,
        })
    })
}

/// Has an error about a value name the variable that it came from, instead of an option that was
/// not given.
pub(super) fn naming_variable(
    mut error: clap::Error,
    command: &Command,
    args: &[OsString],
) -> clap::Error {
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
        return error;
    }
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let option = option.split_whitespace().next().unwrap_or_default().to_owned();
    let given = args.iter().filter_map(|argument| argument.to_str());
    if given.map(|argument| argument.split('=').next()).any(|name| name == Some(&option)) {
        return error;
    }
    let arguments = command.get_subcommands().flat_map(Command::get_arguments);
    let mut named = arguments.filter(|one| one.get_long() == option.strip_prefix("--"));
    if let Some(variable) = named.find_map(|argument| argument.get_env()) {
        let text = format!("environment variable {}", variable.to_string_lossy());
        error.insert(ContextKind::InvalidArg, ContextValue::String(text));
    }
    error
}
