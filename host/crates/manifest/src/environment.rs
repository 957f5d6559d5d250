//! Environment variables: values that a manifest says, and values from outside of the manifest.
//!
//! ```text
//!   CURRENCY = "EUR"                          the value itself
//!   TOKEN = { from_env = "SHOP_TOKEN" }       a variable of the host's own environment
//!   KEY = { from_file = "secrets/key" }       a file, without the line feed at its end
//! ```
//!
//! Where the developer of an app is the operator, every variable and file may be named. In a host
//! of many tenants, a tenant reads the variables and folders that the operator has named for that
//! tenant, and the files of its app's own folder.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use lacewing_base::file::{OpenError, Reach};

use super::{
    Diagnostic,
    findings::Findings,
    raw::{RawEnv, RawEnvSource},
    spanned::{At, Entries},
};

/// The most that the environment of one function may have, in bytes of names and values: it is
/// copied into every sandbox.
pub(crate) const MAX_ENV_BYTES: usize = 64 * 1024;

/// The prefix of the names of the variables that the host sets in every sandbox: a function can
/// believe them.
pub const RESERVED_ENV: &str = "LACEWING_";

/// The prefix of the variables of the host's environment that give values of secrets:
/// `LACEWING_SECRET_STRIPE_KEY` gives `STRIPE_KEY`. Only where the developer of the app is the
/// operator.
pub const SECRET_ENV: &str = "LACEWING_SECRET_";

/// The part of a function's environment that its manifest does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// Whether there is any. Such an environment is written to no disk.
    pub is_used: bool,
    /// The files that values come from.
    pub files: Vec<PathBuf>,
}

/// The variables of the host's environment that a manifest may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvNames(Vec<String>);

impl EnvNames {
    /// Names, and beginnings of names with a star behind them.
    pub fn new(patterns: Vec<String>) -> EnvNames {
        EnvNames(patterns)
    }

    fn allow(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == pattern,
        })
    }
}

/// The place and the terms of a manifest whose variables are read.
pub(super) struct Surroundings<'a> {
    pub(super) root: &'a Path,
    /// The variables that may be read. `None`: all.
    pub(super) names: Option<&'a EnvNames>,
    /// Where files may lie.
    pub(super) reach: Reach,
}

impl Surroundings<'_> {
    fn variable(&self, name: &str) -> Result<String, Diagnostic> {
        if self.names.is_some_and(|names| !names.allow(name)) {
            let help = format!(
                "the operator allows it with `env = {{ names = [{name:?}] }}` of the tenant in the host file"
            );
            let message = format!("the app may not read `{name}` of the host's environment");
            return Err(Diagnostic::error(message).help(help));
        }
        std::env::var(name).map_err(|error| match error {
            std::env::VarError::NotPresent => {
                Diagnostic::error(format!("the environment of the host has no `{name}`"))
                    .help("set the variable where `lacewing` is started")
            }
            std::env::VarError::NotUnicode(_) => {
                Diagnostic::error(format!("`{name}` of the host's environment is not UTF-8"))
            }
        })
    }

    fn file(&self, path: &Path) -> Result<String, Diagnostic> {
        let located = self.reach.locate(path);
        let bytes = located.and_then(|file| file.open()?.read(MAX_ENV_BYTES as u64));
        let bytes = bytes.map_err(|error| {
            let finding =
                Diagnostic::error(format!("`{}` gives no value: {error}", path.display()));
            match error {
                OpenError::Outside => finding.help(
                    "a file is in the app's folder, or in one that the operator names with `env = { dirs = [...] }` of the tenant in the host file",
                ),
                _ => finding,
            }
        })?;
        let not_text = || Diagnostic::error(format!("`{}` is not UTF-8", path.display()));
        let mut text = String::from_utf8(bytes).map_err(|_| not_text())?;
        for end in ['\n', '\r'] {
            if text.ends_with(end) {
                text.pop();
            }
        }
        Ok(text)
    }
}

/// The environment of a function, or that of all by default.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    pub(super) variables: Vec<(String, String)>,
    pub(super) outside: Outside,
}

impl Environment {
    pub(super) fn read(
        raw: &Entries<At<RawEnv>>,
        surroundings: &Surroundings<'_>,
        findings: &mut Findings,
    ) -> Environment {
        let mut env = Environment::default();
        for (name, value) in &raw.0 {
            if let Some(wrong) = wrong_name(&name.value) {
                findings.at(&name.span, wrong);
            }
            let text = match env.value(name, value, surroundings) {
                Ok(text) => text,
                Err(finding) => {
                    findings.at(&value.span, finding);
                    continue;
                }
            };
            if text.contains('\0') {
                let message = "the value of an environment variable cannot hold NUL";
                findings.at(&value.span, Diagnostic::error(message));
            }
            if let RawEnv::Text(text) = &value.value
                && let Some(warning) = placeholder(&name.value, text)
            {
                findings.at(&value.span, warning);
            }
            env.variables.push((name.value.clone(), text));
        }
        env
    }

    fn value(
        &mut self,
        name: &At<String>,
        value: &At<RawEnv>,
        surroundings: &Surroundings<'_>,
    ) -> Result<String, Diagnostic> {
        let RawEnvSource { from_env, from_file } = match &value.value {
            RawEnv::Text(text) => return Ok(text.clone()),
            RawEnv::From(source) => source,
        };
        self.outside.is_used = true;
        match (from_env, from_file) {
            (Some(variable), None) => surroundings.variable(&variable.value),
            (None, Some(file)) => {
                let path = surroundings.root.join(&file.value);
                let text = surroundings.file(&path);
                self.outside.files.push(path);
                text
            }
            _ => {
                let name = &name.value;
                let help = format!("write `{name} = {{ from_env = {name:?} }}`");
                let message = "a value comes from either `from_env` or `from_file`";
                Err(Diagnostic::error(message).help(help))
            }
        }
    }

    /// These variables on top of those that every function has.
    pub(super) fn over(self, defaults: &Environment) -> Environment {
        let names: Vec<String> = self.variables.iter().map(|(name, _)| name.clone()).collect();
        let mut own: HashMap<String, String> = self.variables.into_iter().collect();
        let mut variables: Vec<(String, String)> = defaults
            .variables
            .iter()
            .cloned()
            .map(|(name, value)| own.remove_entry(&name).unwrap_or((name, value)))
            .collect();
        variables.extend(names.iter().filter_map(|name| own.remove_entry(name)));
        let mut outside = self.outside;
        outside.is_used |= defaults.outside.is_used;
        outside.files.extend(defaults.outside.files.iter().cloned());
        Environment { variables, outside }
    }

    /// The bytes that the variables take in the host's memory.
    pub(super) fn held_bytes(&self) -> usize {
        let bytes = |(name, value): &(String, String)| name.len() + value.len();
        size_of_val(&*self.variables) + self.variables.iter().map(bytes).sum::<usize>()
    }
}

fn wrong_name(name: &str) -> Option<Diagnostic> {
    let problem = match name {
        "" => "the name of an environment variable is empty",
        _ if name.contains('=') => "the name of an environment variable cannot hold `=`",
        _ if name.contains('\0') => "the name of an environment variable cannot hold NUL",
        _ if name.starts_with(RESERVED_ENV) => return Some(reserved(name)),
        _ => return None,
    };
    Some(Diagnostic::error(problem))
}

fn reserved(name: &str) -> Diagnostic {
    let own = name.trim_start_matches(RESERVED_ENV);
    let own =
        if own.is_empty() { "a name of your own" } else { &format!("`{own}` or `APP_{own}`") };
    Diagnostic::error(format!(
        "`{name}` is reserved: the host sets all variables that begin with `{RESERVED_ENV}`"
    ))
    .help(format!("call the variable {own}"))
}

/// The warning about `${NAME}` in a value, which means the value of a variable to a shell, and is
/// plain text here.
fn placeholder(key: &str, text: &str) -> Option<Diagnostic> {
    let (_, rest) = text.split_once("${")?;
    let (inner, _) = rest.split_once('}')?;
    let name = inner.split(':').next().unwrap_or(inner);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let message = format!("`${{{inner}}}` is passed as it is: nothing is put in its place");
    let help = format!(
        "for a variable of the host's environment, write `{key} = {{ from_env = {name:?} }}`"
    );
    Some(Diagnostic::warning(message).help(help))
}

#[cfg(test)]
mod tests;
